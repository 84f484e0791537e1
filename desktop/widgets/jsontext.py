"""JSON as people read it: indented, its parts told apart by colour. Without Qt."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

_PART = re.compile(
    r'(?P<text>"(?:[^"\\]|\\.)*")(?P<colon>\s*:)?|(?P<word>\btrue\b|\bfalse\b|\bnull\b)|(?P<number>-?\d[\d.eE+-]*)'
)


def pretty(data: bytes) -> str:
    """Return JSON indented; what is none stays as it is."""
    try:
        value: Any = msgspec.json.decode(data)
    except msgspec.DecodeError:
        return data.decode(errors="replace")
    return json.dumps(value, indent=2, ensure_ascii=False)


def spans(line: str) -> list[tuple[int, int, str]]:
    """Return the coloured parts of a line as (begin, end, token)."""
    found: list[tuple[int, int, str]] = []
    for match in _PART.finditer(line):
        if match["text"] is not None:
            end = match.end("text")
            found.append((match.start(), end, "text" if match["colon"] is not None else "green"))
        else:
            found.append((match.start(), match.end(), "accent" if match["word"] is not None else "amber"))
    return found
