"""What is wrong with a Dockerfile, and where. Knows nothing of how one is read or built."""

from __future__ import annotations

from collections.abc import Iterable

from engine.errors import InvalidArgument

_MAX_DISTANCE = 2


class DockerfileError(InvalidArgument):
    """A Dockerfile that cannot be built; lines count from 1, ``start_line`` 0 means the file as a whole."""

    def __init__(self, message: str, start_line: int = 0, end_line: int = 0, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.start_line = start_line
        self.end_line = max(start_line, end_line)

    def at(self, start_line: int, end_line: int) -> DockerfileError:
        """Return the same error with lines, unless it has some."""
        if self.start_line:
            return self
        return DockerfileError(self.message, start_line, end_line, hint=self.hint)


def suggest(word: str, known: Iterable[str], *, fold: bool = False) -> str:
    """Return `` (did you mean X?)`` for the nearest known word at most two edits away, "" for none.

    ``fold`` compares without case and answers in the case in which ``word`` is written.
    """
    wanted = word.lower() if fold else word
    best, nearest = _MAX_DISTANCE + 1, ""
    for option in sorted(known):
        other = option.lower() if fold else option
        if other == wanted:
            return ""
        distance = _distance(wanted, other, best)
        if distance < best:
            best, nearest = distance, other
    if not nearest:
        return ""
    if fold and word == word.upper():
        nearest = nearest.upper()
    return f" (did you mean {nearest}?)"


def _distance(left: str, right: str, limit: int) -> int:
    """Return the edit distance of two words, ``limit`` when it is not less."""
    if abs(len(left) - len(right)) >= limit:
        return limit
    row = list(range(len(right) + 1))
    for number, char in enumerate(left, 1):
        above, row[0] = row[0], number
        for column, other in enumerate(right, 1):
            above, row[column] = row[column], min(row[column] + 1, row[column - 1] + 1, above + (char != other))
    return min(row[-1], limit)
