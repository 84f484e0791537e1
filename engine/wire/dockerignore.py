""".dockerignore: which files of a context are left out, by the rules of Docker's pattern matcher. Without I/O.

Shared by the builder and the command line. Source: moby/patternmatcher.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

from engine.errors import InvalidArgument

MAX_PATTERN = 4096
_MAX_STARS = 3  # more of them in one expression could be tried in too many ways
_CLASS = re.compile(r"\[(\^?)((?:\\.|[^\]\\])+)\]", re.DOTALL)


def read_patterns(text: str) -> list[str]:
    """Return the patterns of a file: comments and empty lines left out, paths cleaned."""
    patterns: list[str] = []
    for number, raw in enumerate(text.split("\n")):
        line = raw.removeprefix("\ufeff") if not number else raw
        if line.startswith("#"):
            continue
        line = line.strip()
        if not line:
            continue
        mark, line = ("!", line[1:].strip()) if line.startswith("!") else ("", line)
        if line:
            line = _clean(line)
            if len(line) > 1 and line.startswith("/"):
                line = line[1:]
        patterns.append(mark + line)
    return patterns


def _clean(path: str) -> str:
    """Return a path as Go's filepath.Clean does."""
    cleaned = posixpath.normpath(path)
    return "/" + cleaned.lstrip("/") if path.startswith("/") else cleaned


class _Pattern:
    def __init__(self, text: str, *, is_exception: bool) -> None:
        self.is_exception = is_exception
        self.text = text
        self._tokens = _tokens(text)
        stars = sum(token in ("*", "**", "**/") for token in self._tokens)
        self._expression = re.compile(_expression(self._tokens), re.DOTALL) if stars <= _MAX_STARS else None
        self._prefix = text[:-2] if text.endswith("**") and not set(text[:-2]) & set("*?[]\\") else None
        if text.startswith("**") and not set(text[2:]) & set("*?[]\\"):
            self._suffix: str | None = text[2:]
        else:
            self._suffix = None

    def matches(self, path: str) -> bool:
        if self._suffix:
            return path.endswith(self._suffix) or (self._suffix[0] == "/" and path == self._suffix[1:])
        if self._prefix is not None and self._prefix:
            return path.startswith(self._prefix)
        if self._expression is not None:
            return self._expression.fullmatch(path) is not None
        return _simulate(self._tokens, path)


def _tokens(text: str) -> list[str]:
    """Return the parts of a pattern: ``*``, ``**``, ``**/``, ``?``, ``[…]``, other characters behind a backslash."""
    found: list[str] = []
    at = 0
    while at < len(text):
        char = text[at]
        if text.startswith("**", at):
            at += 2
            if text.startswith("/", at):
                at += 1
            found.append("**/" if at < len(text) else "**")
            continue
        if char in "*?":
            found.append(char)
        elif char == "\\":
            at += 1
            if at == len(text):
                raise InvalidArgument("syntax error in pattern")
            found.append("\\" + text[at])
        elif char == "[":
            group = _CLASS.match(text, at)
            if group is None:
                raise InvalidArgument("syntax error in pattern")
            found.append(group[0])
            at = group.end()
            continue
        else:
            found.append("\\" + char)
        at += 1
    return found


def _expression(tokens: list[str]) -> str:
    return "".join(map(_part, tokens))


def _part(token: str) -> str:
    special = {"*": "[^/]*", "?": "[^/]", "**": ".*", "**/": "(?:.*/)?"}
    if token in special:
        return special[token]
    if not token.startswith("["):
        return re.escape(token[1:])
    group = _CLASS.fullmatch(token)
    if group is None:
        raise InvalidArgument("syntax error in pattern")
    inside = re.sub(r"(\\?.)", lambda found: _in_class(found[1]), group[2], flags=re.DOTALL)
    try:
        re.compile(f"[{group[1]}{inside}]")
    except re.error:
        raise InvalidArgument("syntax error in pattern") from None
    return f"[{group[1]}{inside}]"


def _in_class(char: str) -> str:
    return char if char == "-" else "\\" + char[-1] if not char[-1].isalnum() else char[-1]


def _simulate(tokens: list[str], path: str) -> bool:
    """Match all ways at once: the time is that of tokens times characters."""
    singles = [re.compile(_part(token), re.DOTALL) if token[0] in "?[\\" else None for token in tokens]
    states = _without_stars(tokens, {0}, may_leave_folder=True)
    for char in path:
        following: set[int] = set()
        for state in states:
            if state == len(tokens):
                continue
            single = singles[state]
            if single is None:
                if tokens[state] != "*" or char != "/":
                    following.add(state)
            elif single.fullmatch(char):
                following |= _without_stars(tokens, {state + 1}, may_leave_folder=True)
        states = _without_stars(tokens, following, may_leave_folder=char == "/")
    return len(tokens) in states


def _without_stars(tokens: list[str], states: set[int], *, may_leave_folder: bool) -> set[int]:
    """Add the states that are reached by letting stars fit nothing more; ``**/`` is left only where a folder ends."""
    found: set[int] = set()
    for first in states:
        state, is_first = first, True
        found.add(state)
        while state < len(tokens) and tokens[state] in ("*", "**", "**/"):
            if tokens[state] == "**/" and is_first and not may_leave_folder:
                break
            state, is_first = state + 1, False
            found.add(state)
    return found


class IgnoreRules:
    """The patterns of one context; the last one that fits decides."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Read ``patterns`` (see ``read_patterns``); raises InvalidArgument with moby's texts."""
        self._patterns: list[_Pattern] = []
        for item in patterns:
            text = item.strip()
            if not text:
                continue
            if len(text) > MAX_PATTERN:
                raise InvalidArgument(f"a pattern is longer than {MAX_PATTERN} characters")
            text = _clean(text)
            if text == "!":
                raise InvalidArgument('illegal exclusion pattern: "!"')
            is_exception = text.startswith("!")
            self._patterns.append(_Pattern(text[1:] if is_exception else text, is_exception=is_exception))

    @property
    def has_exceptions(self) -> bool:
        """Whether something beneath an ignored folder may still be wanted."""
        return any(item.is_exception for item in self._patterns)

    def ignores(self, path: str) -> bool:
        """Whether a file (relative, with slashes) is left out, by its own name or that of a folder above it."""
        if path in ("", "."):
            return False
        parts = path.split("/")
        places = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
        is_ignored = False
        for item in self._patterns:
            if item.is_exception == is_ignored and (item.matches(path) or any(item.matches(place) for place in places)):
                is_ignored = not item.is_exception
        return is_ignored

    def why(self, path: str) -> str:
        """Return the pattern that leaves a file out, "" when none does."""
        if not self.ignores(path):
            return ""
        parts = path.split("/")
        places = ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
        fitting = [
            item.text
            for item in self._patterns
            if not item.is_exception and any(item.matches(place) for place in places)
        ]
        return fitting[-1] if fitting else ""

    def may_skip(self, folder: str) -> bool:
        """Whether nothing beneath an ignored folder can be wanted."""
        prefix = f"{folder}/"
        return self.ignores(folder) and not any(
            item.is_exception and (f"{item.text}/".startswith(prefix) or set(item.text) & set("*?["))
            for item in self._patterns
        )


def match_name(pattern: str, name: str) -> bool:
    """Whether a pattern without slashes fits one name of a path; raises InvalidArgument for a broken pattern."""
    if not set(pattern) & set("*?[\\"):
        return pattern == name
    tokens = _tokens(pattern)
    if sum(token.startswith("*") for token in tokens) > _MAX_STARS:
        return _simulate(tokens, name)
    return re.fullmatch(_expression(tokens), name, re.DOTALL) is not None
