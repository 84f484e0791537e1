"""Words of a Dockerfile: quotes, escapes and variables, as BuildKit's shell lexer reads them.

Owns one word's (or one line's) expansion; which variables there are is the caller's business. Every
expansion ends: substitutions nest at most ``_MAX_DEPTH`` deep, and a result has at most ``MAX_WORD`` characters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.build.dockerfile.errors import DockerfileError
from engine.build.dockerfile.patterns import BadPattern, replace_pattern, trim_prefix, trim_suffix

MAX_WORD = 1 << 20
_MAX_DEPTH = 100
_SPECIAL = "@*#?-$!0"
_HEREDOC_SPACE = "\t\r "


@dataclass(frozen=True)
class Lexer:
    """How words are read: the escape character, and what is kept as it is written.

    ``raw_quotes`` and ``raw_escapes`` keep quotes and escapes, ``keep_quotes`` gives them no meaning at all,
    ``keep_unset`` leaves variables that are not set as they stand.
    """

    escape: str = "\\"
    raw_quotes: bool = False
    raw_escapes: bool = False
    keep_quotes: bool = False
    keep_unset: bool = False

    def expand(self, text: str, variables: Mapping[str, str], unset: set[str] | None = None) -> str:
        """Return a word with its variables replaced and its quotes taken off.

        Names that are not set go into ``unset``. Raises DockerfileError with BuildKit's text.
        """
        return _Reader(self, text, variables, unset).process()[0]

    def split(self, text: str, variables: Mapping[str, str]) -> list[str]:
        """Return the words of a text after replacing its variables; quoted spaces do not part words."""
        return _Reader(self, text, variables, None).process()[1]


@dataclass
class _Words:
    """Words that grow by characters."""

    found: list[str] = field(default_factory=list)
    buffer: list[str] = field(default_factory=list)
    inside: bool = False

    def add(self, text: str) -> None:
        """Add characters, of which spaces end a word."""
        for char in text:
            if not char.isspace():
                self.add_raw(char)
            elif self.inside and any(self.buffer):
                self.end()

    def add_raw(self, text: str) -> None:
        """Add characters that are part of a word whatever they are."""
        self.buffer.append(text)
        self.inside = True

    def end(self) -> None:
        """End the present word."""
        self.found.append("".join(self.buffer))
        self.buffer.clear()
        self.inside = False

    def finish(self) -> list[str]:
        """Return all words."""
        if any(self.buffer):
            self.end()
        return self.found


class _Reader:
    """One pass over a text."""

    def __init__(self, lexer: Lexer, text: str, variables: Mapping[str, str], unset: set[str] | None) -> None:
        self._lexer = lexer
        self._text = text
        self._at = 0
        self._variables = variables
        self._unset = unset
        self._raw_escapes = lexer.raw_escapes
        self._depth = 0
        self._size = 0

    def process(self) -> tuple[str, list[str]]:
        try:
            return self._until("", self._raw_escapes)
        except DockerfileError as error:
            raise DockerfileError(f"failed to process {go_quote(self._text)}: {error.message}") from error

    def _peek(self) -> str:
        return self._text[self._at] if self._at < len(self._text) else ""

    def _next(self) -> str:
        char = self._peek()
        self._at += 1
        return char

    def _until(self, stop: str, raw_escapes: bool) -> tuple[str, list[str]]:
        """Read to ``stop`` ("" for the end); returns what it means as one word and as words."""
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise DockerfileError("syntax error: substitutions are nested too deeply")
        before, self._raw_escapes = self._raw_escapes, raw_escapes
        result: list[str] = []
        words = _Words()
        try:
            while char := self._peek():
                if char == stop:
                    self._at += 1
                    return "".join(result), words.finish()
                if char == "$":
                    value = self._bounded(self._dollar())
                    result.append(value)
                    words.add(value)
                elif char == "<" or (char in "'\"" and not self._lexer.keep_quotes):
                    value = self._special(char)
                    result.append(value)
                    words.add_raw(value)
                else:
                    self._plain(result, words)
            if stop:
                raise DockerfileError(f"unexpected end of statement while looking for matching {stop}")
            return "".join(result), words.finish()
        finally:
            self._raw_escapes = before
            self._depth -= 1

    def _bounded(self, value: str) -> str:
        self._size += len(value)
        if self._size > MAX_WORD:
            raise DockerfileError(f"the expansion is longer than {MAX_WORD} characters")
        return value

    def _plain(self, result: list[str], words: _Words) -> None:
        char = self._next()
        if char != self._lexer.escape:
            words.add(char)
            result.append(char)
            return
        if self._raw_escapes:
            words.add_raw(char)
            result.append(char)
        char = self._next()
        if char:
            words.add_raw(char)
            result.append(char)

    def _special(self, char: str) -> str:
        if char == "'":
            return self._single_quoted()
        return self._double_quoted() if char == '"' else self._possible_heredoc()

    def _single_quoted(self) -> str:
        self._at += 1
        end = self._text.find("'", self._at)
        if end < 0:
            self._at = len(self._text)
            raise DockerfileError("unexpected end of statement while looking for matching single-quote")
        inside = self._text[self._at : end]
        self._at = end + 1
        return f"'{inside}'" if self._lexer.raw_quotes else inside

    def _double_quoted(self) -> str:
        self._at += 1
        result = ['"'] if self._lexer.raw_quotes else []
        while char := self._peek():
            if char == '"':
                self._at += 1
                if self._lexer.raw_quotes:
                    result.append(char)
                return "".join(result)
            if char == "$":
                result.append(self._bounded(self._dollar()))
                continue
            self._at += 1
            if char == self._lexer.escape:
                if self._raw_escapes:
                    result.append(char)
                following = self._peek()
                if not following:
                    continue
                if following in ('"', "$", self._lexer.escape):
                    char = self._next()
            result.append(char)
        raise DockerfileError("unexpected end of statement while looking for matching double-quote")

    def _possible_heredoc(self) -> str:
        """Read ``<<`` with the spaces behind it, which then do not part it from its word."""
        self._at += 1
        if self._peek() != "<":
            return "<"
        self._at += 1
        start = self._at
        while self._peek() and self._peek() in _HEREDOC_SPACE:
            self._at += 1
        return "<<" + self._text[start : self._at]

    def _name(self) -> str:
        start = self._at
        char = self._peek()
        if char.isdecimal():
            while self._peek().isdecimal():
                self._at += 1
        elif char and char in _SPECIAL:
            self._at += 1
        else:
            while (char := self._peek()) and (char.isalpha() or char.isdecimal() or char == "_"):
                self._at += 1
        return self._text[start : self._at]

    def _value(self, name: str) -> str | None:
        value = self._variables.get(name)
        if value is None and self._unset is not None:
            self._unset.add(name)
        return value

    def _dollar(self) -> str:
        self._at += 1
        if self._peek() != "{":
            name = self._name()
            if not name:
                return "$"
            value = self._value(name)
            if value is None:
                return f"${name}" if self._lexer.keep_unset else ""
            return value
        self._at += 1
        first = self._peek()
        if not first:
            raise DockerfileError("syntax error: missing '}'")
        if first in "{}:":
            raise DockerfileError("syntax error: bad substitution")
        name = self._name()
        char = self._next()
        if char == "}":
            value = self._value(name)
            if value is None:
                return f"${{{name}}}" if self._lexer.keep_unset else ""
            return value
        if char == "/":
            return self._replacement(name)
        colon = ""
        if char == ":":
            colon, char = ":", self._next()
        if not char or char not in "+-?#%" or (colon and char in "#%"):
            raise DockerfileError(f"unsupported modifier ({colon}{char}) in substitution")
        return self._modified(name, colon, char)

    def _modified(self, name: str, colon: str, char: str) -> str:
        word = self._operand("}", char in "#%", "}")
        value = self._value(name)
        if value is None and self._lexer.keep_unset:
            return f"${{{name}{colon}{char}{word}}}"
        is_given = value is not None and not (colon and value == "")
        if char == "-":
            return value if is_given and value is not None else word
        if char == "+":
            return word if is_given else ""
        if char == "?":
            if value is None:
                raise DockerfileError(f"{name}: {word or 'is not allowed to be unset'}")
            if not is_given:
                raise DockerfileError(f"{name}: {word or 'is not allowed to be empty'}")
            return value
        is_longest = word.startswith(char)
        pattern = word[1:] if is_longest else word
        trim = trim_prefix if char == "#" else trim_suffix
        try:
            return trim(value or "", pattern, longest=is_longest)
        except BadPattern as error:
            raise DockerfileError(f"invalid pattern ({word}) in substitution: {error}") from error

    def _replacement(self, name: str) -> str:
        every = self._peek() == "/"
        if every:
            self._at += 1
        pattern = self._operand("/", True, "/' in ${")
        replacement = self._operand("}", True, "}")
        value = self._value(name)
        if value is None and self._lexer.keep_unset:
            return f"${{{name}/{pattern}/{replacement}}}"
        try:
            return replace_pattern(value or "", pattern, replacement, every=every, limit=MAX_WORD)
        except BadPattern as error:
            raise DockerfileError(f"invalid pattern ({pattern}) in substitution: {error}") from error

    def _operand(self, stop: str, raw: bool, missing: str) -> str:
        try:
            return self._until(stop, raw)[0]
        except DockerfileError as error:
            if not self._peek():
                end = "'" if missing == "}" else "}"
                raise DockerfileError(f"syntax error: missing '{missing}{end}") from error
            raise


def go_quote(text: str) -> str:
    """Return a string as Go's ``%q`` prints it."""
    parts = ['"']
    for char in text:
        if char in '"\\':
            parts.append("\\" + char)
        elif char in _ESCAPES:
            parts.append(_ESCAPES[char])
        elif "\udc80" <= char <= "\udcff":
            parts.append(f"\\x{ord(char) - 0xDC00:02x}")
        elif char.isprintable():
            parts.append(char)
        elif ord(char) < 0x80:
            parts.append(f"\\x{ord(char):02x}")
        else:
            parts.append(f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}")
    parts.append('"')
    return "".join(parts)


_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
