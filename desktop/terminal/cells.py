"""What stands on a terminal's screen: rows of cells with their looks. Without Qt."""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

BLANK = " "
RGB = 1 << 24
"""Added to a colour of 24 bits; without it a colour is one of the palette's 256."""


class Look(NamedTuple):
    """How a cell is drawn: colours (None is the theme's own) and what SGR switches on."""

    foreground: int | None = None
    background: int | None = None
    bold: bool = False
    faint: bool = False
    italic: bool = False
    underline: bool = False
    inverse: bool = False
    struck: bool = False
    hidden: bool = False


PLAIN = Look()


class Row:
    """One line: a character (or a cluster, or "" behind a wide one) and a look for each column."""

    __slots__ = ("chars", "looks", "wraps")

    def __init__(self, columns: int, look: Look = PLAIN) -> None:
        """Begin blank; ``wraps`` is set where the text goes on in the next row."""
        self.chars = [BLANK] * columns
        self.looks = [look] * columns
        self.wraps = False

    def clear(self, first: int, end: int, look: Look) -> None:
        """Make columns blank."""
        count = end - first
        if count > 0:
            self.chars[first:end] = [BLANK] * count
            self.looks[first:end] = [look] * count

    def resize(self, columns: int) -> None:
        """Become longer or shorter."""
        extra = columns - len(self.chars)
        if extra > 0:
            self.chars += [BLANK] * extra
            self.looks += [PLAIN] * extra
        else:
            del self.chars[columns:]
            del self.looks[columns:]

    def text(self) -> str:
        """Return the line without the blanks at its end, unless it goes on in the next row."""
        joined = "".join(self.chars)
        return joined if self.wraps else joined.rstrip()


def width_of(character: str) -> int:
    """Return how many columns a character takes: 0 (it joins the one before), 1 or 2."""
    if character < "\u0300":
        return 1
    if unicodedata.combining(character) or character in "\u200b\u200c\u200d\ufe0e\ufe0f":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
