"""Compares the answers of two engines, and holds the list of what may differ, each with its reason.

``differences.txt``: a line is ``WHICH | OPERATION | PLACE | REASON``. WHICH is 28, 20 or ``*`` (the engine compared
with), OPERATION a pattern of method and path as the session writes them, PLACE a pattern of what the comparison names:
``status 200 400`` (theirs, ours), ``status 500 400 alone`` (the message is the same), ``header content-type``,
``.Config.Image``, ``[].Names``. A ``*`` stands for any text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

DIFFERENCES = Path(__file__).with_name("differences.txt")


@dataclass(frozen=True)
class Difference:
    """One place where two answers differ."""

    step: str
    operation: str
    place: str
    theirs: str
    ours: str

    def __str__(self) -> str:
        """Return it for a person."""
        return f"{self.step}\n    {self.place}\n      theirs: {self.theirs}\n      ours:   {self.ours}"


@dataclass(frozen=True)
class Allowance:
    """A line of the list."""

    which: str
    operation: str
    place: str
    reason: str

    def covers(self, difference: Difference, which: str) -> bool:
        """Whether it allows a difference from the engine ``which``."""
        if self.which not in ("*", which):
            return False
        return _matches(self.operation, difference.operation) and _matches(self.place, difference.place)


def load_allowances(path: Path = DIFFERENCES) -> list[Allowance]:
    """Return the list; raises ValueError for a line without a reason."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            words = [word.strip() for word in line.split(" | ")]
            if len(words) != 4 or not all(words):
                raise ValueError(f"no WHICH | OPERATION | PLACE | REASON: {line}")
            found.append(Allowance(*words))
    return found


def compare(theirs: dict[str, Any], ours: dict[str, Any], operation: str) -> list[Difference]:
    """Return where two answers to the same step differ (in the form of a recording)."""
    found: list[tuple[str, Any, Any]] = []
    if theirs["status"] != ours["status"]:
        place = f"status {theirs['status']} {ours['status']}{' alone' if theirs['body'] == ours['body'] else ''}"
        found.append((place, theirs["body"], ours["body"]))
    else:
        for name in sorted({*theirs["headers"], *ours["headers"]}):
            if theirs["headers"].get(name) != ours["headers"].get(name):
                found.append((f"header {name}", theirs["headers"].get(name), ours["headers"].get(name)))
        found += _compare_values(theirs["body"], ours["body"], "")
    return [Difference(theirs["step"], operation, place, _shown(left), _shown(right)) for place, left, right in found]


def _compare_values(theirs: Any, ours: Any, where: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for name in [*theirs, *(name for name in ours if name not in theirs)]:
            place = f"{where}.{name}"
            if name not in ours:
                yield place, theirs[name], "(missing)"
            elif name not in theirs:
                yield place, "(missing)", ours[name]
            else:
                yield from _compare_values(theirs[name], ours[name], place)
    elif isinstance(theirs, list) and isinstance(ours, list):
        if len(theirs) != len(ours):
            yield f"{where}[]", _named(theirs), _named(ours)
        else:
            for left, right in zip(theirs, ours, strict=True):
                yield from _compare_values(left, right, f"{where}[]")
    elif theirs != ours or type(theirs) is not type(ours):
        yield where or ".", theirs, ours


def _named(items: list[Any]) -> list[str]:
    """Return what tells the items of a list apart, so that what is missing can be seen."""
    return [_name_of(item) for item in items]


def _name_of(item: Any) -> str:
    if not isinstance(item, dict):
        return str(item)[:60]
    if isinstance(item.get("Actor"), dict):
        return f"{item.get('Action')} {item['Actor'].get('ID')}"
    known = [str(item[key]) for key in ("Names", "Name", "RepoTags", "Id") if key in item]
    return known[0] if known else str(item)[:60]


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 900 else f"{text[:700]} … {text[-190:]}"


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile("".join(".*" if part == "*" else re.escape(part) for part in re.split(r"(\*)", text)))


def _matches(pattern: str, text: str) -> bool:
    return _pattern(pattern).fullmatch(text) is not None
