"""Go's text/template: a parsed template applied to JSON-like data and rows of a list.

Owns evaluation, the functions of Docker's ``--format`` documentation and how values print. Data is what JSON
decodes to, ``GoStruct`` where fields are known, and ``Row`` for lists whose fields are computed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from engine.cli.template_parse import (
    Action,
    Branch,
    Fields,
    Jump,
    Literal,
    Node,
    Operand,
    Pipeline,
    Place,
    TemplateError,
    Text,
    Variable,
    Word,
    parse_template,
)

Value = Any
"""Anything that a template computes with."""


Functions = Mapping[str, Callable[..., Value]]


class Missing:
    """No value: what a map answers for a key that it lacks; prints as ``<no value>``."""

    def __bool__(self) -> bool:
        """Be false."""
        return False


MISSING = Missing()


class NilSlice(list[Value]):
    """A list that was never made: empty, ``[]`` when printed, ``null`` in JSON."""


class NilMap(dict[str, Value]):
    """A map that was never made: empty, ``map[]`` when printed, ``null`` in JSON."""


class NilPointer(Missing):
    """A pointer to nothing: ``<nil>`` when printed, ``null`` in JSON."""


NIL = NilPointer()


class GoStruct(dict[str, Value]):
    """A JSON object whose field names are known; ``zeros`` has those that the engine left out."""

    def __init__(
        self, values: Mapping[str, Value], type_name: str = "", zeros: Mapping[str, Value] | None = None
    ) -> None:
        """``type_name`` is Go's name of the type, for errors; empty reports a missing key instead."""
        super().__init__(values)
        self.type_name = type_name
        self.zeros = dict(zeros or {})


class OpenMap(dict[str, Value]):
    """A JSON object with keys of the user's: one that is missing is no error."""


class Row:
    """One row of a list: fields by name, computed when they are used."""

    type_name = ""
    fields: ClassVar[Mapping[str, Callable[[Any], Value]]] = {}
    """Functions of the row; the JSON form has them all, sorted."""
    methods: ClassVar[Mapping[str, Callable[..., Value]]] = {}
    """Functions of the row and arguments, such as ``.Label "name"``."""

    def field_function(self, name: str) -> Callable[[Any], Value] | None:
        """Return what computes a field, None when there is no such field."""
        return self.fields.get(name)


class _Exit(Exception):
    """A ``break`` or ``continue`` on its way to its range."""

    def __init__(self, keyword: str) -> None:
        super().__init__(keyword)
        self.keyword = keyword


class Template:
    """A format that was parsed and can be applied many times."""

    def __init__(
        self, source: str, name: str = "", functions: Mapping[str, Callable[..., Value]] | None = None
    ) -> None:
        """Parse; raises TemplateError with Go's text."""
        self.name = name
        self.functions: dict[str, Callable[..., Value]] = {**FUNCTIONS, **(functions or {})}
        self.nodes = parse_template(source, frozenset(self.functions) | {"and", "or"}, name)

    def render(self, data: Value) -> str:
        """Return the text for some data; raises TemplateError with Go's text."""
        run = _Run(self, data)
        run.walk(self.nodes, data)
        return "".join(run.output)

    def with_functions(self, functions: Functions) -> Template:
        """Return the same template with some functions replaced."""
        copy = object.__new__(Template)
        copy.name, copy.nodes = self.name, self.nodes
        copy.functions = {**self.functions, **functions}
        return copy


class _Run:
    """One application of a template."""

    def __init__(self, template: Template, data: Value) -> None:
        self.template = template
        self.output: list[str] = []
        self.variables: list[tuple[str, Value]] = [("$", data)]

    def fail(self, place: Place, message: str) -> TemplateError:
        name = self.template.name
        where = f"template: {name}:{place.line}:{place.column}"
        return TemplateError(f'{where}: executing "{name}" at <{place.text}>: {message}')

    def walk(self, nodes: tuple[Node, ...], dot: Value) -> None:
        for node in nodes:
            if isinstance(node, Text):
                self.output.append(node.text)
            elif isinstance(node, Action):
                value = self.pipeline(node.pipeline, dot)
                if not node.pipeline.variables:
                    self.output.append(print_value(value))
            elif isinstance(node, Jump):
                raise _Exit(node.keyword)
            else:
                self.branch(node, dot)

    def branch(self, node: Branch, dot: Value) -> None:
        mark = len(self.variables)
        if node.keyword == "range":
            self.range(node, dot)
        else:
            value = self.pipeline(node.pipeline, dot)
            if is_true(value):
                self.walk(node.body, value if node.keyword == "with" else dot)
            else:
                self.walk(node.otherwise, dot)
        del self.variables[mark:]

    def range(self, node: Branch, dot: Value) -> None:
        mark = len(self.variables)
        value = self.pipeline(node.pipeline, dot, declares=False)
        names = node.pipeline.variables
        pairs = self.pairs(value, node.pipeline.place)
        for key, item in pairs:
            del self.variables[mark:]
            if len(names) == 1:
                self.variables.append((names[0], item))
            elif len(names) == 2:
                self.variables += [(names[0], key), (names[1], item)]
            try:
                self.walk(node.body, item)
            except _Exit as leave:
                if leave.keyword == "break":
                    break
        if not pairs:
            self.walk(node.otherwise, dot)

    def pairs(self, value: Value, place: Place) -> list[tuple[Value, Value]]:
        if value is None or isinstance(value, Missing):
            return []
        if isinstance(value, Mapping):
            return [(key, value[key]) for key in sorted(value)]
        if isinstance(value, Sequence) and not isinstance(value, str):
            return list(enumerate(value))
        if isinstance(value, int) and not isinstance(value, bool):
            return [(index, index) for index in range(value)]
        raise self.fail(place, f"range can't iterate over {print_value(value)}")

    def pipeline(self, pipeline: Pipeline, dot: Value, *, declares: bool = True) -> Value:
        value: Value = MISSING
        final: list[Value] = []
        for command in pipeline.commands:
            value = self.command(command, dot, final)
            final = [value]
        if declares:
            for name in pipeline.variables:
                self.assign(name, value, is_new=not pipeline.is_assignment)
        return value

    def assign(self, name: str, value: Value, *, is_new: bool) -> None:
        if not is_new:
            for index in range(len(self.variables) - 1, -1, -1):
                if self.variables[index][0] == name:
                    self.variables[index] = (name, value)
                    return
        self.variables.append((name, value))

    def command(self, command: tuple[Operand, ...], dot: Value, final: list[Value]) -> Value:
        first = command[0]
        if isinstance(first, Word):
            return self.call(first, command[1:], dot, final)
        if isinstance(first, Fields) and first.names:
            return self.fields(first, dot, command[1:], final)
        if len(command) > 1 or final:
            raise self.fail(_place_of(first), f"can't give argument to non-function {_place_of(first).text}")
        return self.operand(first, dot)

    def operand(self, operand: Operand, dot: Value) -> Value:
        if isinstance(operand, Literal):
            return operand.value
        if isinstance(operand, Variable):
            return next(value for name, value in reversed(self.variables) if name == operand.name)
        if isinstance(operand, Pipeline):
            return self.pipeline(operand, dot)
        if isinstance(operand, Word):
            return self.call(operand, (), dot, [])
        return self.fields(operand, dot, (), [])

    def fields(self, chain: Fields, dot: Value, arguments: tuple[Operand, ...], final: list[Value]) -> Value:
        value = dot if chain.base is None else self.operand(chain.base, dot)
        for name in chain.names[:-1]:
            value = self.field(value, name, chain.place, [])
        if not chain.names:
            return value
        given = [self.operand(argument, dot) for argument in arguments] + final
        return self.field(value, chain.names[-1], chain.place, given)

    def field(self, value: Value, name: str, place: Place, arguments: list[Value]) -> Value:
        if isinstance(value, Row):
            if name in value.methods:
                return value.methods[name](value, *arguments)
            function = value.field_function(name)
            if function is not None:
                if arguments:
                    raise self.fail(place, f"wrong number of args for {name}: want 0 got {len(arguments)}")
                return function(value)
            raise self.fail(place, f"can't evaluate field {name} in type {value.type_name}")
        if arguments:
            raise self.fail(place, f"{name} is not a method but has arguments")
        if isinstance(value, dict):
            return self.key(value, name, place)
        if value is None or isinstance(value, Missing):
            raise self.fail(place, f"nil pointer evaluating interface {{}}.{name}")
        raise self.fail(place, f"can't evaluate field {name} in type {go_type(value)}")

    def key(self, value: dict[str, Value], name: str, place: Place) -> Value:
        if name in value:
            return value[name]
        if isinstance(value, OpenMap | NilMap):
            return MISSING
        if isinstance(value, GoStruct):
            if name in value.zeros:
                return value.zeros[name]
            if value.type_name:
                raise self.fail(place, f"can't evaluate field {name} in type {value.type_name}")
        raise self.fail(place, f'map has no entry for key "{name}"')

    def call(self, word: Word, arguments: tuple[Operand, ...], dot: Value, final: list[Value]) -> Value:
        if word.name in ("and", "or"):
            return self.logic(word, arguments, dot, final)
        values = [self.operand(argument, dot) for argument in arguments] + final
        try:
            return self.template.functions[word.name](*values)
        except TemplateError:
            raise
        except (TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
            raise self.fail(word.place, f"error calling {word.name}: {error}") from error

    def logic(self, word: Word, arguments: tuple[Operand, ...], dot: Value, final: list[Value]) -> Value:
        """Return the first operand that decides, the others not evaluated."""
        if not arguments and not final:
            raise self.fail(word.place, f"wrong number of args for {word.name}: want at least 1 got 0")
        value: Value = MISSING
        for argument in arguments:
            value = self.operand(argument, dot)
            if is_true(value) == (word.name == "or"):
                return value
        return final[0] if final else value


def _place_of(operand: Operand) -> Place:
    place: Place = operand.place
    return place


def is_true(value: Value) -> bool:
    """Whether Go's ``if`` takes a value for true: not its type's zero value, nor empty."""
    return True if isinstance(value, GoStruct | Row) else bool(value)


def go_type(value: Value) -> str:
    """Return what Go calls a value's type, for errors."""
    names = {bool: "bool", int: "int", float: "float64", str: "string", list: "[]interface {}"}
    return names.get(type(value), "interface {}")


def print_value(value: Value, *, is_inner: bool = False) -> str:
    """Return a value as Go's ``%v`` prints it."""
    if value is NIL:
        return "<nil>"
    if value is None:
        return "<nil>" if is_inner else "<no value>"
    if value is MISSING:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return format_float(value)
    if isinstance(value, Mapping):
        if isinstance(value, GoStruct):
            return "{" + " ".join(print_value(item, is_inner=True) for item in value.values()) + "}"
        return "map[" + " ".join(f"{key}:{print_value(value[key], is_inner=True)}" for key in sorted(value)) + "]"
    if isinstance(value, Sequence):
        return "[" + " ".join(print_value(item, is_inner=True) for item in value) + "]"
    return json_text(value) if isinstance(value, Row) else str(value)


def format_float(value: float) -> str:
    """Return a number as Go's ``%v``: shortest form, an exponent from 1e+21 on."""
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    return repr(value).replace("e-0", "e-").replace("e+0", "e+")


def row_object(row: Row) -> dict[str, Value]:
    """Return a row's JSON form."""
    return {name: row.fields[name](row) for name in sorted(row.fields)}


def json_text(value: Value) -> str:
    """Return a value as compact JSON, its characters unescaped; a row escapes ``<``, ``>`` and ``&`` as Go does."""
    text = json.dumps(_plain_json(value), separators=(",", ":"), ensure_ascii=False)
    if isinstance(value, Row):
        for letter in "<>&":
            text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _plain_json(value: Value) -> Value:
    """Return a value with rows as objects and everything that is nil as null."""
    if isinstance(value, Missing | NilSlice | NilMap):
        return None
    if isinstance(value, Row):
        return {name: _plain_json(item) for name, item in row_object(value).items()}
    if isinstance(value, dict):
        return {key: _plain_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_json(item) for item in value]
    return value


def _length(value: Value) -> int:
    if value is None or isinstance(value, Missing):
        raise ValueError("len of nil pointer")
    if isinstance(value, str):
        return len(value.encode())
    return len(value)


def _index(value: Value, *keys: Value) -> Value:
    for key in keys:
        if value is None or isinstance(value, Missing):
            raise ValueError("index of untyped nil")
        if isinstance(value, Mapping):
            # A map answers with no value for a key that it lacks, whatever its fields are.
            zeros = value.zeros if isinstance(value, GoStruct) else {}
            value = value[key] if key in value else zeros.get(key, MISSING)
        else:
            if not isinstance(key, int):
                raise ValueError(f"cannot index slice/array with type {go_type(key)}")  # noqa: TRY004 - a Go text
            if not 0 <= key < len(value):
                raise ValueError(f"index out of range: {key}")
            value = value[key] if not isinstance(value, str) else value.encode()[key]
    return value


def _slice(value: Value, *bounds: int) -> Value:
    low = bounds[0] if bounds else 0
    high = bounds[1] if len(bounds) > 1 else len(value)
    if not 0 <= low <= high <= len(value):
        raise ValueError(f"slice index out of range: {high}")
    return value[low:high]


def _printf(form: str, *values: Value) -> str:
    """Format as Go's Printf for the verbs that formats use: v s d q t f g x X c %, with flags and width."""
    import re

    rest = list(values)

    def replace(match: re.Match[str]) -> str:
        flags, verb = match[1], match[2]
        if verb == "%":
            return "%"
        if not rest:
            return f"%!{verb}(MISSING)"
        value = rest.pop(0)
        if verb in "vs":
            return ("%" + flags.replace("#", "").replace("+", "") + "s") % print_value(value)
        if verb == "q":
            return ("%" + flags + "s") % json.dumps(
                value if isinstance(value, str) else print_value(value), ensure_ascii=False
            )
        if verb == "t":
            return print_value(value)
        if verb in "dxXoc" and isinstance(value, int) and not isinstance(value, bool):
            return ("%" + flags + verb) % value
        if verb in "xX" and isinstance(value, str):
            return ("%" + flags + "s") % (value.encode().hex() if verb == "x" else value.encode().hex().upper())
        if verb in "feEgG" and isinstance(value, int | float):
            return ("%" + flags + verb) % value
        return f"%!{verb}({go_type(value)}={print_value(value)})"

    text = re.sub(r"%([-+ #0]*[0-9]*(?:\.[0-9]+)?)([a-zA-Z%])", replace, form)
    if rest:
        text += "%!(EXTRA " + ", ".join(f"{go_type(value)}={print_value(value)}" for value in rest) + ")"
    return text


def _print(*values: Value) -> str:
    """Join as Go's Sprint: a space between two operands when neither is a string."""
    text = ""
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            text += " "
        text += print_value(value)
    return text


def _equal(first: Value, *others: Value) -> bool:
    if not others:
        raise ValueError("missing argument for comparison")
    for other in others:
        is_mixed = isinstance(first, str) != isinstance(other, str) or isinstance(first, bool) != isinstance(
            other, bool
        )
        if is_mixed and first not in (None, MISSING) and other not in (None, MISSING):
            raise ValueError("incompatible types for comparison")
        if first == other:
            return True
    return False


def _ordered(compare: Callable[[Value, Value], bool]) -> Callable[[Value, Value], bool]:
    def check(left: Value, right: Value) -> bool:
        if isinstance(left, str) != isinstance(right, str) or isinstance(left, bool) or isinstance(right, bool):
            raise ValueError("incompatible types for comparison")
        return compare(left, right)

    return check


def _join(items: Value, separator: str) -> str:
    return separator.join(print_value(item) for item in items or ())


def _truncate(text: str, length: int) -> str:
    return text[:length]


def _pad(text: str, before: int, after: int) -> str:
    return " " * before + text + " " * after if text else text


def _title(text: str) -> str:
    """Upper-case the first letter of each word."""
    return " ".join(word[:1].upper() + word[1:] for word in text.split(" "))


def _url_query(*values: Value) -> str:
    from urllib.parse import quote_plus

    return quote_plus(_print(*values))


FUNCTIONS: dict[str, Callable[..., Value]] = {
    "json": json_text,
    "split": lambda text, separator: text.split(separator) if separator else list(text),
    "join": _join,
    "title": _title,
    "lower": lambda text: text.lower(),
    "upper": lambda text: text.upper(),
    "pad": _pad,
    "truncate": _truncate,
    "len": _length,
    "index": _index,
    "slice": _slice,
    "not": lambda value: not is_true(value),
    "print": _print,
    "printf": _printf,
    "println": lambda *values: " ".join(print_value(value) for value in values) + "\n",
    "eq": _equal,
    "ne": lambda left, right: not _equal(left, right),
    "lt": _ordered(lambda left, right: bool(left < right)),
    "le": _ordered(lambda left, right: bool(left <= right)),
    "gt": _ordered(lambda left, right: bool(left > right)),
    "ge": _ordered(lambda left, right: bool(left >= right)),
    "urlquery": _url_query,
}
