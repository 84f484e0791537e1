"""Names of containers: what is allowed."""

from __future__ import annotations

import re

from engine.errors import InvalidArgument

NAME_CHARACTERS = "[a-zA-Z0-9][a-zA-Z0-9_.-]"
_NAME = re.compile(NAME_CHARACTERS + "+")


def parse_container_name(text: str) -> str:
    """Return a name without its leading slash; raises InvalidArgument with moby's text."""
    name = text.removeprefix("/")
    if _NAME.fullmatch(name) is None:
        raise InvalidArgument(f"Invalid container name ({text}), only {NAME_CHARACTERS} are allowed")
    return name
