"""The patterns of ``${name#pattern}`` and its kin: ``*``, ``?`` and escapes, in time that is linear in the value.

A pattern is cut at its stars into pieces that are searched for one after the other; nothing is tried twice.
"""

from __future__ import annotations

import re


class BadPattern(ValueError):
    """A pattern that means nothing."""


def _tokens(pattern: str) -> list[str]:
    """Return a pattern's characters; those that stand for themselves are escaped, ``*`` and ``?`` are not."""
    found: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char != "\\":
            found.append(char if char in "*?" else f"\\{char}")
            continue
        following = pattern[at : at + 1]
        if following and following in "}/":
            continue  # an escape of ${} itself is not part of the pattern
        if not following or following not in "*?\\":
            raise BadPattern(f"invalid escape '\\{following}'")
        found.append(f"\\{following}")
        at += 1
    return found


def _pieces(tokens: list[str]) -> list[re.Pattern[str]]:
    """Return what is between the stars as expressions without repetition."""
    pieces = [""]
    for token in tokens:
        if token == "*":
            pieces.append("")
        else:
            pieces[-1] += "." if token == "?" else re.escape(token[1:])
    return [re.compile(piece, re.DOTALL) for piece in pieces]


def _match(pieces: list[re.Pattern[str]], value: str, start: int, *, longest: bool) -> int:
    """Return where a match that begins at ``start`` ends, -1 for none."""
    first = pieces[0].match(value, start)
    if first is None:
        return -1
    end = first.end()
    for number, piece in enumerate(pieces[1:], 1):
        is_last = number == len(pieces) - 1
        found = _last(piece, value, end) if is_last and longest else piece.search(value, end)
        if found is None:
            return -1
        end = found.end()
    return end


def _last(piece: re.Pattern[str], value: str, start: int) -> re.Match[str] | None:
    length = _length(piece)
    if not length:
        return piece.match(value, len(value))
    found = None
    for position in range(len(value) - length, start - 1, -1):
        found = piece.match(value, position)
        if found is not None:
            break
    return found


def _length(piece: re.Pattern[str]) -> int:
    return len(re.sub(r"\\(.)", r"\1", piece.pattern, flags=re.DOTALL))


def trim_prefix(value: str, pattern: str, *, longest: bool) -> str:
    """Return a value without the shortest or longest beginning that a pattern fits."""
    end = _match(_pieces(_tokens(pattern)), value, 0, longest=longest)
    return value[end:] if end >= 0 else value


def trim_suffix(value: str, pattern: str, *, longest: bool) -> str:
    """Return a value without the shortest or longest end that a pattern fits."""
    backwards = _pieces(_tokens(pattern)[::-1])
    end = _match(backwards, value[::-1], 0, longest=longest)
    return value[: len(value) - end] if end >= 0 else value


def replace_pattern(value: str, pattern: str, replacement: str, *, every: bool, limit: int) -> str:
    """Return a value with the first place that a pattern fits, or every one, replaced.

    Raises BadPattern when the result would be longer than ``limit`` characters.
    """
    pieces = _pieces(_tokens(pattern))
    parts: list[str] = []
    at = size = 0
    while at <= len(value):
        found = pieces[0].search(value, at)
        # Where the first piece fits and the rest does not, the rest fits behind no later place either.
        end = _match(pieces, value, found.start(), longest=True) if found else -1
        if found is None or end < 0:
            break
        parts += [value[at : found.start()], replacement]
        size += len(replacement)
        if size > limit:
            raise BadPattern(f"the result is longer than {limit} characters")
        at = end
        if end == found.start():  # it fits nothing: go on behind the next character
            parts.append(value[at : at + 1])
            at += 1
        if not every:
            break
    return "".join(parts) + value[at:]
