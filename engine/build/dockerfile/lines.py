"""A Dockerfile's text as instructions: directives, continued lines, comments, heredocs, flags, argument forms.

Owns the shape of an instruction; what each one means and may have is ``parse``'s business. Follows BuildKit's
parser (frontend/dockerfile/parser), whose rules differ from instruction to instruction.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import msgspec

from engine.build.dockerfile.errors import DockerfileError
from engine.build.dockerfile.words import Lexer, go_quote

MAX_LINE = 65535
_SPACES = re.compile(r"[\t\v\f\r ]+")
_DIRECTIVE = re.compile(r"([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*", re.DOTALL)
_HEREDOC = re.compile(r"(\d*)<<(-?)\s*([^<]*)", re.ASCII)
_DIRECTIVES = ("syntax", "escape", "check")
_WITH_HEREDOC = ("add", "copy", "run")
_MAYBE_JSON = ("cmd", "entrypoint", "run", "shell")
_JSON_OR_WORDS = ("add", "copy", "volume")
_WORDS = ("expose", "from")
_ONE_STRING = ("maintainer", "stopsignal", "user", "workdir")
INSTRUCTIONS = (
    "add", "arg", "cmd", "copy", "entrypoint", "env", "expose", "from", "healthcheck", "label", "maintainer", "onbuild",
    "run", "shell", "stopsignal", "user", "volume", "workdir",
)  # fmt: skip


@dataclass(frozen=True)
class Heredoc:
    """A document behind an instruction. ``expand`` is false when its word was quoted; ``chomp`` is for ``<<-``."""

    name: str
    expand: bool = True
    chomp: bool = False
    descriptor: int = 0
    content: str = ""


@dataclass(frozen=True)
class Line:
    """One instruction as it is written. Lines count from 1; ``arguments`` are not expanded yet.

    ENV and LABEL have their arguments in threes: name, value, and ``=`` or "" (the old form without it).
    """

    keyword: str
    arguments: list[str]
    flags: list[str] = field(default_factory=list)
    is_json: bool = False
    original: str = ""
    heredocs: list[Heredoc] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    start_line: int = 0
    end_line: int = 0


@dataclass(frozen=True)
class Notice:
    """Something that is allowed and probably not meant."""

    rule: str
    message: str
    line: int


@dataclass
class Text:
    """A Dockerfile taken apart."""

    lines: list[Line] = field(default_factory=list)
    escape: str = "\\"
    directives: dict[str, str] = field(default_factory=dict)
    warnings: list[Notice] = field(default_factory=list)


def read_lines(text: str) -> Text:
    """Take a Dockerfile apart; raises DockerfileError with BuildKit's text and the line."""
    return _TextReader(text).read()


class _TextReader:
    def __init__(self, text: str) -> None:
        self._rows = text.removeprefix("\ufeff").split("\n")
        if self._rows[-1] == "":
            self._rows.pop()
        self._at = 0  # the number of rows that were read
        self._result = Text()
        self._directives_over = False
        self._continuation = re.compile("")
        self._set_escape("\\")

    def _set_escape(self, char: str) -> None:
        if char not in ("`", "\\"):
            raise DockerfileError(f"invalid escape token '{char}' does not match ` or \\")
        self._result.escape = char
        token = re.escape(char)
        self._continuation = re.compile(rf"([^{token}]){token}[ \t]*\Z|\A{token}[ \t]*\Z", re.DOTALL)

    def _rows_left(self) -> Iterator[str]:
        while self._at < len(self._rows):
            row = self._rows[self._at]
            self._at += 1
            if len(row) >= MAX_LINE:
                raise DockerfileError(f"dockerfile line greater than max allowed size of {MAX_LINE}", self._at)
            yield row

    def _directive(self, row: str) -> bool:
        """Read a row as a parser directive; they end with the first row that is none."""
        if self._directives_over:
            return False
        found = _DIRECTIVE.fullmatch(row[1:].lstrip()) if row.startswith("#") else None
        name = found[1].lower() if found else ""
        if found is None or name not in _DIRECTIVES:
            self._directives_over = True
            return False
        if name in self._result.directives:
            raise DockerfileError(f"only one {name} parser directive can be used", self._at)
        self._result.directives[name] = found[2]
        if name == "escape":
            try:
                self._set_escape(found[2])
            except DockerfileError as error:
                raise error.at(self._at, self._at) from None
        return True

    def _cut_continuation(self, row: str) -> tuple[str, bool]:
        """Return a row without the continuation mark, and whether the instruction ends with it."""
        if self._continuation.search(row) is None:
            return row, True
        return self._continuation.sub(lambda found: found[1] or "", row), False

    def read(self) -> Text:
        comments: list[str] = []
        rows = self._rows_left()
        for raw in rows:
            row = raw.rstrip("\r\n").lstrip()
            if self._directive(row):
                continue
            if row.startswith("#"):
                comment = row[1:].strip()
                comments = [*comments, comment] if comment else []
                continue
            start = self._at
            piece, is_end = self._cut_continuation(row)
            if is_end and not piece:
                continue
            logical = self._continued(piece, is_end, rows)
            self._add(logical, comments, start, rows)
            comments = []
        if not self._result.lines:
            raise DockerfileError("file with no instructions", max(1, self._at))
        return self._result

    def _continued(self, piece: str, is_end: bool, rows: Iterator[str]) -> str:
        pieces = [piece]
        has_empty = False
        size = len(piece)
        while not is_end:
            raw = next(rows, None)
            if raw is None:
                break
            row = raw.rstrip("\r\n")
            if row.lstrip().startswith("#"):
                continue
            if not row.strip():
                has_empty = True
                continue
            piece, is_end = self._cut_continuation(row)
            pieces.append(piece)
            size += len(piece)
        logical = "".join(pieces)
        if has_empty:
            self._result.warnings.append(
                Notice("NoEmptyContinuation", f"Empty continuation line found in: {logical}", self._at)
            )
        return logical

    def _add(self, logical: str, comments: list[str], start: int, rows: Iterator[str]) -> None:
        try:
            line = _line(logical, self._result.escape, start)
            documents = _heredocs_of(line, logical)
        except DockerfileError as error:
            raise error.at(start, self._at) from None
        read = [self._document(item, start, rows) for item in documents]
        self._result.lines.append(replace(line, comments=comments, heredocs=read, start_line=start, end_line=self._at))

    def _document(self, document: Heredoc, start: int, rows: Iterator[str]) -> Heredoc:
        content: list[str] = []
        for raw in rows:
            row = raw.rstrip("\r\n")
            if (row.lstrip("\t") if document.chomp else row) == document.name:
                return replace(document, content="".join(content))
            content.append(raw + "\n")
        raise DockerfileError("unterminated heredoc", start, self._at)


def _line(logical: str, escape: str, start: int, depth: int = 0) -> Line:
    """Return one instruction, without what is behind its line."""
    keyword, _, rest = _cut_space(logical.strip())
    flags, rest = take_flags(rest, escape)
    rest = rest.strip()
    name = keyword.lower()
    arguments: list[str] = []
    is_json = False
    if name == "onbuild":
        if rest:
            if depth:  # refused later, with its own text; never read any deeper
                return Line(keyword, [_cut_space(rest)[0]], flags, original=logical)
            inner = _line(rest, escape, start, depth + 1)
            arguments = [inner.keyword, *inner.arguments]
            is_json = inner.is_json
    elif name in _MAYBE_JSON:
        if rest:
            found = _json_strings(rest)
            is_json, arguments = found is not None, [rest] if found is None else found
    elif name in _JSON_OR_WORDS:
        found = _json_strings(rest)
        is_json, arguments = found is not None, _split_spaces(rest) if found is None else found
    elif name in _WORDS:
        arguments = _split_spaces(rest)
    elif name in _ONE_STRING:
        arguments = [rest] if rest else []
    elif name in ("env", "label"):
        arguments = _name_values(rest, keyword.upper(), escape)
    elif name == "arg":
        arguments = quoted_words(rest, escape)
    elif name == "healthcheck":
        arguments, is_json = _health(rest)
    return Line(keyword, arguments, flags, is_json, logical)


def _cut_space(text: str) -> tuple[str, str, str]:
    parts = _SPACES.split(text, maxsplit=1)
    return parts[0], "", parts[1] if len(parts) > 1 else ""


def _split_spaces(rest: str) -> list[str]:
    return _SPACES.split(rest) if rest else []


def _json_strings(rest: str) -> list[str] | None:
    """Return the strings of a JSON array, None for what is no JSON array; raises DockerfileError for other items."""
    rest = rest.lstrip()
    if not rest.startswith("["):
        return None
    try:
        found = msgspec.json.decode(rest.encode("utf-8", "surrogateescape"))
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return None
    if not all(isinstance(item, str) for item in found):
        raise DockerfileError("when using JSON array syntax, arrays must be comprised of strings only")
    return list(found)


def _health(rest: str) -> tuple[list[str], bool]:
    parts = rest.split(maxsplit=1)
    if len(parts) < 2:
        return parts, False
    found = _json_strings(parts[1])
    return [parts[0], *([parts[1]] if found is None else found)], found is not None


def _name_values(rest: str, keyword: str, escape: str) -> list[str]:
    """Return names, values and ``=`` in threes; the old form ``NAME value`` has "" for the ``=``."""
    words = quoted_words(rest, escape)
    if not words:
        return []
    if "=" not in words[0]:
        parts = _SPACES.split(rest, maxsplit=1)
        if len(parts) < 2:
            raise DockerfileError(f"{keyword} must have two arguments")
        return [parts[0], parts[1], ""]
    found: list[str] = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise DockerfileError(f"Syntax error - can't find = in {go_quote(word)}. Must be of the form: name=value")
        found += [name, value, "="]
    return found


def quoted_words(rest: str, escape: str) -> list[str]:
    """Return words parted by spaces outside of quotes; quotes and escapes stay in them."""
    words: list[str] = []
    word: list[str] = []
    quote = ""
    at, size = 0, len(rest)
    is_word = False
    while at < size:
        char = rest[at]
        at += 1
        if not quote and char.isspace():
            if is_word:
                words.append("".join(word))
            word.clear()
            is_word = False
            continue
        if char == escape and quote != "'":
            if at == size:
                quote = ""
                continue  # an escape at the end means nothing
            word += [char, rest[at]]
            at += 1
            is_word = True
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        word.append(char)
        is_word = True
    if is_word:
        words.append("".join(word))
    return words


def take_flags(rest: str, escape: str) -> tuple[list[str], str]:
    """Return the ``--flags`` at the beginning of an instruction's arguments, and what follows them."""
    flags: list[str] = []
    at, size = 0, len(rest)
    while True:
        while at < size and rest[at].isspace():
            at += 1
        if not rest.startswith("--", at):
            return flags, rest[at:]
        word, at = _flag_word(rest, at, escape)
        if word == "--":
            return flags, rest[at:]
        flags.append(word)
        if at >= size:
            return flags, ""


def _flag_word(rest: str, at: int, escape: str) -> tuple[str, int]:
    word: list[str] = []
    quote = ""
    while at < len(rest):
        char = rest[at]
        if not quote and char.isspace():
            break
        at += 1
        if char == escape:
            if at < len(rest):
                word.append(rest[at])
                at += 1
            continue
        if quote and char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        else:
            word.append(char)
    return "".join(word), at


def parse_heredoc(word: str) -> Heredoc | None:
    """Return what a word such as ``<<EOF``, ``3<<-"EOF"`` announces, None when it announces nothing."""
    found = _HEREDOC.fullmatch(word)
    if found is None or not found[3]:
        return None
    words = Lexer(keep_unset=True).split(found[3], {})
    if len(words) != 1:
        return None
    raw = Lexer(keep_unset=True, raw_quotes=True).split(found[3], {})
    if len(raw) != 1:
        raise DockerfileError(f"internal lexing of heredoc produced inconsistent results: {found[3]}")
    is_quoted = sum(raw[0].count(mark) - words[0].count(mark) for mark in "'\"") > 0
    descriptor = int(found[1][:9]) if found[1] else 0
    return Heredoc(words[0], not is_quoted, found[2] == "-", descriptor)


def _heredocs_of(line: Line, logical: str) -> list[Heredoc]:
    name = line.keyword.lower()
    if name == "onbuild" and line.arguments:
        name = line.arguments[0].lower()
    if name not in _WITH_HEREDOC or line.is_json or "<<" not in logical:
        return []
    try:
        words = Lexer(keep_unset=True, raw_quotes=True, raw_escapes=True).split(logical, {})
    except DockerfileError:  # unbalanced quotes: then there is no document either
        return []
    found = [parse_heredoc(word) for word in words]
    return [item for item in found if item is not None]


def chomp(content: str) -> str:
    """Return a document of ``<<-`` without the tabs at the beginnings of its lines."""
    return re.sub(r"^\t+", "", content, flags=re.MULTILINE)
