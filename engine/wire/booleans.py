"""Booleans as Go's strconv.ParseBool reads them."""

from __future__ import annotations

_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


def parse_go_bool(text: str) -> bool | None:
    """Return what a text says, None when it says nothing that Go takes."""
    if text in _TRUE:
        return True
    return False if text in _FALSE else None
