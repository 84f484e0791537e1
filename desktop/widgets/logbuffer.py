"""A log in memory: text in one bytearray, lines by their offsets, a limit on both. Without Qt."""

from __future__ import annotations

import re
from array import array

ANSI = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])|\r(?=\n)")
_LIMIT_BYTES = 128 * 1024 * 1024
_DROP_SHARE = 4
_STEP_BYTES = 1024 * 1024
_MOST_COUNTED = 9_999


class LogBuffer:
    """Lines that are only ever added at the end; the oldest quarter goes when there are too many bytes."""

    def __init__(self, limit_bytes: int = _LIMIT_BYTES) -> None:
        """Begin empty."""
        self._text = bytearray()
        self._starts = array("Q", [0])
        self._marks = bytearray(1)
        self._limit = limit_bytes
        self.longest = 0
        self.dropped = 0

    def __len__(self) -> int:
        """Return the number of lines; one without its end yet counts."""
        if not self._text:
            return 0
        return len(self._starts) - (0 if self._text[-1] != 10 else 1)

    def append(self, data: bytes, *, marked: bool = False) -> None:
        """Add bytes as they come; escape sequences are taken out. ``marked`` lines are told apart (stderr)."""
        clean = ANSI.sub(b"", data) if b"\x1b" in data or b"\r" in data else data
        base = len(self._text)
        mark = int(marked)
        if self._starts[-1] == base:
            self._marks[-1] = mark
        self._text += clean
        before = self._starts[-1] - base
        position = clean.find(b"\n")
        while position >= 0:
            self._starts.append(base + position + 1)
            if position - before > self.longest:
                self.longest = position - before
            before = position + 1
            position = clean.find(b"\n", position + 1)
        self._marks.extend(bytes([mark]) * (len(self._starts) - len(self._marks)))
        self.longest = max(self.longest, len(self._text) - self._starts[-1])
        if len(self._text) > self._limit:
            self._drop()

    def _drop(self) -> None:
        count = len(self._starts) // _DROP_SHARE
        if count == 0:
            return
        cut = self._starts[count]
        del self._text[:cut]
        del self._marks[:count]
        self._starts = array("Q", (start - cut for start in self._starts[count:]))
        self.dropped += count

    def clear(self) -> None:
        """Forget everything."""
        self._text.clear()
        self._starts = array("Q", [0])
        self._marks = bytearray(1)
        self.longest = self.dropped = 0

    def line(self, number: int) -> str:
        """Return a line without its end."""
        start = self._starts[number]
        end = self._starts[number + 1] - 1 if number + 1 < len(self._starts) else len(self._text)
        return self._text[start:end].decode(errors="replace").replace("\t", "    ")

    def is_marked(self, number: int) -> bool:
        """Whether a line was marked."""
        return bool(self._marks[number])

    def text(self, first: int = 0, last: int | None = None) -> str:
        """Return lines ``first`` to ``last`` (not included)."""
        stop = len(self) if last is None else last
        return "\n".join(self.line(number) for number in range(first, stop))

    def find(self, words: str, *, after: int, backwards: bool = False) -> int:
        """Return the next line with ``words`` (case ignored) behind or before a line, going round; -1 for none."""
        if not words or not self._text:
            return -1
        pattern = _pattern(words)
        if backwards:
            end = self._starts[after] if 0 <= after < len(self._starts) else 0
            place = self._last_match(pattern, 0, end)
            place = self._last_match(pattern, end, len(self._text)) if place < 0 else place
            return self._line_at(place) if place >= 0 else -1
        begin = self._starts[after + 1] if 0 <= after + 1 < len(self._starts) else 0
        found = pattern.search(self._text, begin) or pattern.search(self._text, 0)
        return self._line_at(found.start()) if found else -1

    def _last_match(self, pattern: re.Pattern[bytes], begin: int, end: int) -> int:
        """Return the last match that begins in a range, looking at its end first."""
        stop = end
        while stop > begin:
            start = max(begin, stop - _STEP_BYTES)
            last = -1
            for found in pattern.finditer(self._text, start, min(len(self._text), stop + 256)):
                if found.start() < stop:
                    last = found.start()
            if last >= 0:
                return last
            stop = start
        return -1

    def count(self, words: str) -> tuple[int, bool]:
        """Return how many times ``words`` stands there (case ignored), and whether it is more than was counted."""
        if not words:
            return 0, False
        total = 0
        for _ in _pattern(words).finditer(self._text):
            total += 1
            if total > _MOST_COUNTED:
                return _MOST_COUNTED, True
        return total, False

    def _line_at(self, offset: int) -> int:
        low, high = 0, len(self._starts)
        while low + 1 < high:
            middle = (low + high) // 2
            if self._starts[middle] <= offset:
                low = middle
            else:
                high = middle
        return low


def _pattern(words: str) -> re.Pattern[bytes]:
    return re.compile(re.escape(words.encode()), re.IGNORECASE)
