"""A log in memory: text in one bytearray, lines by their offsets, a limit on both. Without Qt."""

from __future__ import annotations

import re
from array import array

ANSI = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])|\r(?=\n)")
_LIMIT_BYTES = 128 * 1024 * 1024
_DROP_SHARE = 4


class LogBuffer:
    """Lines that are only ever added at the end; the oldest quarter goes when there are too many bytes."""

    def __init__(self, limit_bytes: int = _LIMIT_BYTES) -> None:
        """Begin empty."""
        self._text = bytearray()
        self._starts = array("Q", [0])
        self._limit = limit_bytes
        self.dropped = 0

    def __len__(self) -> int:
        """Return the number of lines; one without its end yet counts."""
        return len(self._starts) - (0 if self._text and self._text[-1] != 10 else 1) if self._text else 0

    def append(self, data: bytes) -> None:
        """Add bytes as they come; escape sequences are taken out."""
        clean = ANSI.sub(b"", data) if b"\x1b" in data or b"\r" in data else data
        base = len(self._text)
        self._text += clean
        position = clean.find(b"\n")
        while position >= 0:
            self._starts.append(base + position + 1)
            position = clean.find(b"\n", position + 1)
        if len(self._text) > self._limit:
            self._drop()

    def _drop(self) -> None:
        count = len(self._starts) // _DROP_SHARE
        if count == 0:
            return
        cut = self._starts[count]
        del self._text[:cut]
        self._starts = array("Q", (start - cut for start in self._starts[count:]))
        self.dropped += count

    def clear(self) -> None:
        """Forget everything."""
        self._text.clear()
        self._starts = array("Q", [0])
        self.dropped = 0

    def line(self, number: int) -> str:
        """Return a line without its end."""
        start = self._starts[number]
        end = self._starts[number + 1] - 1 if number + 1 < len(self._starts) else len(self._text)
        return self._text[start:end].decode(errors="replace").replace("\t", "    ")

    def text(self, first: int = 0, last: int | None = None) -> str:
        """Return lines ``first`` to ``last`` (not included)."""
        stop = len(self) if last is None else last
        return "\n".join(self.line(number) for number in range(first, stop))

    def find(self, words: str, *, after: int, backwards: bool = False) -> int:
        """Return the next line with ``words`` (case ignored) behind or before a line, going round; -1 for none."""
        if not words:
            return -1
        pattern = re.compile(re.escape(words.encode()), re.IGNORECASE)
        lines = [self._line_at(found.start()) for found in pattern.finditer(self._text)]
        if not lines:
            return -1
        if backwards:
            return next((number for number in reversed(lines) if number < after), lines[-1])
        return next((number for number in lines if number > after), lines[0])

    def count(self, words: str) -> int:
        """Return how many times ``words`` stands there, case ignored."""
        return len(re.findall(re.escape(words.encode()), self._text, re.IGNORECASE)) if words else 0

    def _line_at(self, offset: int) -> int:
        low, high = 0, len(self._starts)
        while low + 1 < high:
            middle = (low + high) // 2
            if self._starts[middle] <= offset:
                low = middle
            else:
                high = middle
        return low
