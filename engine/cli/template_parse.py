"""Go's text/template: from text to a tree, for what Docker documents for ``--format``.

Owns the syntax and its error texts. ``define``, ``template`` and ``block`` are refused. Knows nothing of data.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field

_LEFT_TRIM = re.compile(r"\s+\Z")
_RIGHT_TRIM = re.compile(r"\A\s+")
_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<string>"(?:[^"\\\n]|\\.)*")
    |(?P<raw>`[^`]*`)
    |(?P<char>'(?:[^'\\\n]|\\.)+')
    |(?P<number>[+-]?(?:0[xX][0-9a-fA-F]+|[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|\.[0-9]+))
    |(?P<declare>:=)
    |(?P<variable>\$\w*)
    |(?P<field>\.\w+)
    |(?P<word>\w+)
    |(?P<punct>[.|(),=])""",
    re.VERBOSE,
)
KEYWORDS = frozenset(
    ("if", "else", "end", "range", "with", "define", "template", "block", "break", "continue", "nil", "true", "false")
)


class TemplateError(Exception):
    """A template that cannot be parsed or executed; the message is Go's, beginning with ``template:``."""


@dataclass(frozen=True)
class Place:
    """Where a node stands: line from 1, column from 0, and its text, for errors."""

    line: int
    column: int
    text: str


@dataclass(frozen=True)
class Literal:
    """A string, number, boolean or nil."""

    value: object
    place: Place


@dataclass(frozen=True)
class Fields:
    """A chain of fields on the dot (``base`` None), a variable or a parenthesised pipeline."""

    base: Variable | Pipeline | None
    names: tuple[str, ...]
    place: Place


@dataclass(frozen=True)
class Variable:
    """``$`` or ``$name``."""

    name: str
    place: Place


@dataclass(frozen=True)
class Word:
    """A function's name."""

    name: str
    place: Place


@dataclass(frozen=True)
class Pipeline:
    """Commands joined by ``|``; ``variables`` are declared or assigned."""

    commands: tuple[tuple[Operand, ...], ...]
    variables: tuple[str, ...] = ()
    is_assignment: bool = False
    place: Place = field(default_factory=lambda: Place(1, 0, ""))


Operand = Literal | Fields | Variable | Word | Pipeline


@dataclass(frozen=True)
class Text:
    """Text as it is."""

    text: str


@dataclass(frozen=True)
class Action:
    """A pipeline whose value is printed."""

    pipeline: Pipeline


@dataclass(frozen=True)
class Branch:
    """``if``, ``with`` or ``range``."""

    keyword: str
    pipeline: Pipeline
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...]


@dataclass(frozen=True)
class Jump:
    """``break`` or ``continue``."""

    keyword: str


Node = Text | Action | Branch | Jump


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    offset: int


def parse_template(source: str, functions: frozenset[str], name: str = "") -> tuple[Node, ...]:
    """Return a template's tree; raises TemplateError with Go's text."""
    return _Parser(source, functions, name).parse()


class _Parser:
    """One run over a template's source."""

    def __init__(self, source: str, functions: frozenset[str], name: str) -> None:
        self.source = source
        self.functions = functions
        self.name = name
        self.pieces = self._split()
        self.piece = 0
        self.tokens: list[_Token] = []
        self.position = 0
        self.variables: list[str] = ["$"]
        self.range_depth = 0

    def fail(self, message: str, offset: int) -> TemplateError:
        """Return an error at a place."""
        line = self.source.count("\n", 0, offset) + 1
        return TemplateError(f"template: {self.name}:{line}: {message}")

    def _split(self) -> list[tuple[bool, str, int]]:
        """Return (is action, text, offset) pieces, with comments gone and ``{{-`` and ``-}}`` applied."""
        pieces: list[tuple[bool, str, int]] = []
        position, trim_next = 0, False
        while True:
            start = self.source.find("{{", position)
            text = self.source[position:] if start < 0 else self.source[position:start]
            if trim_next:
                text = _RIGHT_TRIM.sub("", text)
            if start < 0:
                pieces.append((False, text, position))
                return pieces
            inner = start + 2
            if self.source[inner : inner + 1] == "-" and self.source[inner + 1 : inner + 2].isspace():
                text = _LEFT_TRIM.sub("", text)
                inner += 2
            pieces.append((False, text, position))
            stripped = self.source[inner:].lstrip()
            if stripped.startswith("/*"):
                end = self.source.find("*/", inner)
                close = re.compile(r"\*/(\s-)?\}\}").match(self.source, end) if end >= 0 else None
                if close is None:
                    raise self.fail("unclosed comment" if end < 0 else "comment ends before closing delimiter", start)
                trim_next, position = close[1] is not None, close.end()
                continue
            end = self._action_end(inner, start)
            body = self.source[inner:end]
            trim_next = len(body) > 1 and body.endswith("-") and body[-2].isspace()
            pieces.append((True, body[:-1] if trim_next else body, inner))
            position = end + 2

    def _action_end(self, inner: int, start: int) -> int:
        """Return where the action's ``}}`` is, strings skipped."""
        position = inner
        while position < len(self.source):
            if self.source.startswith("}}", position):
                return position
            letter = self.source[position]
            if letter in "\"'`":
                match = re.compile(r""""(?:[^"\\\n]|\\.)*"|`[^`]*`|'(?:[^'\\\n]|\\.)*'""").match(self.source, position)
                if match is None:
                    kinds = {'"': "quoted string", "`": "raw quoted string", "'": "character constant"}
                    raise self.fail(f"unterminated {kinds[letter]}", start)
                position = match.end()
            else:
                position += 1
        raise self.fail("unclosed action", start)

    def parse(self) -> tuple[Node, ...]:
        """Return the whole template."""
        nodes, stop = self._nodes()
        if stop:
            raise self.fail(f"unexpected {{{{{stop}}}}}", self._offset())
        return nodes

    def _offset(self) -> int:
        index = min(self.piece, len(self.pieces)) - 1
        return self.pieces[index][2] if self.pieces else 0

    def _nodes(self) -> tuple[tuple[Node, ...], str]:
        """Return nodes up to ``{{end}}`` or ``{{else …}}``, whose word is returned, or to the end of the text."""
        nodes: list[Node] = []
        while self.piece < len(self.pieces):
            is_action, text, offset = self.pieces[self.piece]
            self.piece += 1
            if not is_action:
                if text:
                    nodes.append(Text(text))
                continue
            self._tokenize(text, offset)
            token = self._peek()
            if token is None:
                raise self.fail("missing value for command", offset)
            if token.text in ("end", "else"):
                self.position += 1
                return tuple(nodes), token.text
            nodes.append(self._action(token, offset))
        return tuple(nodes), ""

    def _action(self, token: _Token, offset: int) -> Node:
        if token.text in ("if", "with", "range"):
            self.position += 1
            return self._branch(token.text, offset)
        if token.text in ("break", "continue"):
            if not self.range_depth:
                raise self.fail(f"{{{{{token.text}}}}} outside {{{{range}}}}", offset)
            return Jump(token.text)
        if token.text in ("define", "template", "block"):
            raise self.fail(f"{{{{{token.text}}}}} is not supported in a format", offset)
        pipeline = self._pipeline(offset, "command")
        self._expect_end("command", offset)
        return Action(pipeline)

    def _branch(self, keyword: str, offset: int) -> Branch:
        mark = len(self.variables)
        pipeline = self._pipeline(offset, keyword)
        self._expect_end(keyword, offset)
        self.range_depth += keyword == "range"
        body, stop = self._nodes()
        self.range_depth -= keyword == "range"
        otherwise: tuple[Node, ...] = ()
        if stop == "else":
            following = self._peek()
            if following is not None and following.text in ("if", "with"):
                self.position += 1
                otherwise = (self._branch(following.text, offset),)
                del self.variables[mark:]
                return Branch(keyword, pipeline, body, otherwise)
            otherwise, stop = self._nodes()
            if stop == "else":
                raise self.fail("expected end; found {{else}}", self._offset())
        if stop != "end":
            raise self.fail("unexpected EOF", len(self.source))
        del self.variables[mark:]
        return Branch(keyword, pipeline, body, otherwise)

    def _tokenize(self, text: str, offset: int) -> None:
        self.tokens, self.position = [], 0
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise self.fail(f"unexpected {_quoted(text[position])} in operand", offset)
            self.tokens.append(_Token(match.lastgroup or "", match[0], offset + position))
            position = match.end()
        while self.tokens and self.tokens[-1].kind == "space":
            self.tokens.pop()

    def _peek(self, *, skip_space: bool = True) -> _Token | None:
        while skip_space and self.position < len(self.tokens) and self.tokens[self.position].kind == "space":
            self.position += 1
        return self.tokens[self.position] if self.position < len(self.tokens) else None

    def _expect_end(self, context: str, offset: int) -> None:
        token = self._peek()
        if token is not None:
            raise self.fail(f"unexpected {_quoted(token.text)} in {context}", offset)

    def _place(self, token: _Token, text: str) -> Place:
        line_start = self.source.rfind("\n", 0, token.offset) + 1
        return Place(self.source.count("\n", 0, token.offset) + 1, token.offset - line_start, text)

    def _pipeline(self, offset: int, context: str) -> Pipeline:
        start = self._peek()
        variables, is_assignment = self._declaration(context)
        commands: list[tuple[Operand, ...]] = []
        while True:
            operands = self._command(offset)
            if not operands:
                raise self.fail(f"missing value for {context}", offset)
            commands.append(operands)
            token = self._peek()
            if token is None or token.text != "|":
                break
            self.position += 1
        for command in commands[1:]:
            if not isinstance(command[0], Word | Fields):
                raise self.fail("non executable command in pipeline stage 2", offset)
        self.variables += [] if is_assignment else variables
        place = self._place(start, self._text_of(start)) if start is not None else Place(1, offset, "")
        return Pipeline(tuple(commands), tuple(variables), is_assignment, place)

    def _text_of(self, start: _Token) -> str:
        index = self.tokens.index(start)
        return "".join(token.text for token in self.tokens[index : self.position]).strip()

    def _declaration(self, context: str) -> tuple[list[str], bool]:
        """Read ``$x :=``, ``$x =`` or, for range, ``$i, $x :=``."""
        mark = self.position
        names: list[str] = []
        while (token := self._peek()) is not None and token.kind == "variable":
            names.append(token.text)
            self.position += 1
            following = self._peek()
            if following is not None and following.text in (":=", "="):
                self.position += 1
                return names, following.text == "="
            if following is None or following.text != "," or context != "range":
                break
            self.position += 1
        self.position = mark
        return [], False

    def _command(self, offset: int) -> tuple[Operand, ...]:
        operands: list[Operand] = []
        while (token := self._peek()) is not None and token.text not in ("|", ")"):
            operands.append(self._operand(token, offset))
        return tuple(operands)

    def _operand(self, token: _Token, offset: int) -> Operand:
        self.position += 1
        base: Operand
        if token.kind in ("string", "raw", "char", "number"):
            return Literal(self._literal(token), self._place(token, token.text))
        if token.kind == "field":
            self.position -= 1
            return self._chain(None, token)
        if token.text == ".":
            return Fields(None, (), self._place(token, "."))
        if token.kind == "variable":
            if token.text not in self.variables:
                raise self.fail(f"undefined variable {_quoted(token.text)}", token.offset)
            base = Variable(token.text, self._place(token, token.text))
            return self._chain(base, token)
        if token.text == "(":
            base = self._pipeline(offset, "parenthesized pipeline")
            closing = self._peek()
            if closing is None or closing.text != ")":
                raise self.fail("unclosed left paren", offset)
            self.position += 1
            return self._chain(base, token)
        if token.kind == "word":
            return self._word(token)
        raise self.fail(f"unexpected {_quoted(token.text)} in operand", offset)

    def _word(self, token: _Token) -> Operand:
        place = self._place(token, token.text)
        if token.text in ("true", "false"):
            return Literal(token.text == "true", place)
        if token.text == "nil":
            return Literal(None, place)
        if token.text in KEYWORDS:
            raise self.fail(f"unexpected <{token.text}> in operand", token.offset)
        if token.text not in self.functions:
            raise self.fail(f"function {_quoted(token.text)} not defined", token.offset)
        return Word(token.text, place)

    def _chain(self, base: Variable | Pipeline | None, token: _Token) -> Operand:
        """Read the fields that follow without a space; Go places a chain at its second field."""
        names: list[str] = []
        parts: list[_Token] = []
        while (part := self._peek(skip_space=False)) is not None and part.kind == "field":
            names.append(part.text[1:])
            parts.append(part)
            self.position += 1
        if base is not None and not names:
            return base
        text = (token.text if isinstance(base, Variable) else "") + "".join(part.text for part in parts)
        at = parts[1] if base is None and len(parts) > 1 else parts[0]
        return Fields(base, tuple(names), self._place(at, text))

    def _literal(self, token: _Token) -> object:
        if token.kind == "raw":
            return token.text[1:-1]
        if token.kind == "number":
            return (
                float(token.text) if re.search(r"[.eE]", token.text) and "x" not in token.text else int(token.text, 0)
            )
        try:
            text: str = ast.literal_eval(token.text)
        except (ValueError, SyntaxError) as error:
            raise self.fail(f"invalid syntax in {token.text}", token.offset) from error
        return ord(text) if token.kind == "char" and len(text) == 1 else text


def _quoted(text: str) -> str:
    return f'"{text}"'
