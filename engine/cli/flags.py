"""Command-line flags as the docker CLI reads them (Go's pflag), from a table.

It is our own because neither argparse nor click has these rules: options that stop at the first argument
(``run``, ``exec``), ``-itd`` and ``-p80:80`` and ``-t=false``, ``--flag=false``, a value that begins with a
dash, and pflag's error texts. Owns parsing only; what a flag means is its command's business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from engine.cli.quantities import parse_duration_ns, parse_go_bool, parse_go_int, parse_size_bytes

Converter = Callable[[str], object]


@dataclass(frozen=True)
class Flag:
    """One flag. ``kind`` is the type that help shows and that chooses the conversion, see ``KINDS``.

    ``check`` reads one value instead of the kind's own conversion; it raises ValueError with the reason.
    """

    name: str
    short: str = ""
    kind: str = "bool"
    usage: str = ""
    default: object = None
    check: Converter | None = None
    is_hidden: bool = False
    alias_of: str = ""


@dataclass(frozen=True)
class Kind:
    """How values of a kind are read: the conversion, the value without the flag, whether it may be repeated."""

    convert: Converter
    zero: object
    is_list: bool = False


def _text(value: str) -> object:
    return value


def _filter(value: str) -> object:
    if value and "=" not in value:
        raise ValueError("bad format of filter (expected name=value)")
    return value


def _bounded_int(function: str, low: int, high: int) -> Converter:
    def convert(value: str) -> object:
        return parse_go_int(value, function, low, high)

    return convert


def _decimal(value: str) -> object:
    try:
        return float(value)
    except ValueError:
        raise ValueError(f"strconv.ParseFloat: parsing {quote(value)}: invalid syntax") from None


KINDS: dict[str, Kind] = {
    "bool": Kind(parse_go_bool, False),
    "string": Kind(_text, ""),
    "int": Kind(_bounded_int("ParseInt", -(2**63), 2**63 - 1), 0),
    "uint": Kind(_bounded_int("ParseUint", 0, 2**64 - 1), 0),
    "uint16": Kind(_bounded_int("ParseUint", 0, 2**16 - 1), 0),
    "float": Kind(_decimal, 0.0),
    "duration": Kind(parse_duration_ns, 0),
    "bytes": Kind(parse_size_bytes, 0),
    "decimal": Kind(_text, 0),
    "list": Kind(_text, (), is_list=True),
    "filter": Kind(_filter, (), is_list=True),
    "map": Kind(_text, (), is_list=True),
    "stringArray": Kind(_text, (), is_list=True),
    "strings": Kind(_text, (), is_list=True),
    "mount": Kind(_text, (), is_list=True),
    "network": Kind(_text, (), is_list=True),
    "ulimit": Kind(_text, (), is_list=True),
    "gpu-request": Kind(_text, (), is_list=True),
}


class FlagError(Exception):
    """A command line that cannot be read; the message is pflag's."""


def quote(text: str) -> str:
    """Return a string in double quotes as Go's ``%q`` prints it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


@dataclass
class Parsed:
    """What a command line said: values by the flag's name, which flags were given, and the arguments."""

    values: dict[str, object] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    args: list[str] = field(default_factory=list)

    def on(self, name: str) -> bool:
        """Return a boolean flag."""
        return bool(self.values[name])

    def text(self, name: str) -> str:
        """Return a string flag."""
        return str(self.values[name])

    def number(self, name: str) -> int:
        """Return a flag of a whole number, bytes or nanoseconds."""
        value = self.values[name]
        assert isinstance(value, int)
        return value

    def items(self, name: str) -> list[str]:
        """Return the values of a flag that may be repeated."""
        value = self.values[name]
        assert isinstance(value, list | tuple)
        return [str(item) for item in value]

    def objects(self, name: str) -> list[object]:
        """Return the converted values of a flag that may be repeated."""
        value = self.values[name]
        assert isinstance(value, list | tuple)
        return list(value)

    def is_set(self, name: str) -> bool:
        """Whether the flag was given."""
        return name in self.changed


class _Parser:
    """One run over a command line."""

    def __init__(self, flags: Sequence[Flag]) -> None:
        self.by_name = {flag.name: flag for flag in flags}
        self.by_short = {flag.short: flag for flag in flags if flag.short}
        self.result = Parsed()
        for flag in flags:
            if not flag.alias_of:
                self.result.values[flag.name] = KINDS[flag.kind].zero if flag.default is None else flag.default

    def set(self, flag: Flag, value: str, shown: str) -> None:
        """Store a value; ``shown`` is how the error names the flag."""
        kind = KINDS[flag.kind]
        try:
            converted = kind.convert(value) if flag.check is None else flag.check(value)
        except ValueError as error:
            raise FlagError(f"invalid argument {quote(value)} for {quote(shown)} flag: {error}") from error
        name = flag.alias_of or flag.name
        if kind.is_list:
            earlier = self.result.values[name] if name in self.result.changed else ()
            assert isinstance(earlier, list | tuple)
            added = list(converted) if isinstance(converted, list) else [converted]
            self.result.values[name] = [*earlier, *added]
        else:
            self.result.values[name] = converted
        self.result.changed.add(name)

    def long(self, argument: str, rest: list[str]) -> None:
        """Read ``--name``, ``--name=value`` or ``--name value``."""
        name, equals, value = argument[2:].partition("=")
        if not name or name.startswith("-"):
            raise FlagError(f"bad flag syntax: {argument}")
        flag = self.by_name.get(name)
        if flag is None:
            if name == "help":
                raise HelpWanted
            raise FlagError(f"unknown flag: --{name}")
        if not equals:
            if flag.kind == "bool":
                value = "true"
            elif rest:
                value = rest.pop(0)
            else:
                raise FlagError(f"flag needs an argument: --{name}")
        self.set(flag, value, shown_name(flag))

    def shorts(self, argument: str, rest: list[str]) -> None:
        """Read ``-abc``, ``-p80``, ``-p=80``, ``-p 80`` or ``-t=false``."""
        letters = argument[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            flag = self.by_short.get(letter)
            if flag is None:
                if letter == "h":
                    raise HelpWanted
                raise FlagError(f"unknown shorthand flag: '{letter}' in {argument}")
            if letters.startswith("=") and len(letters) > 1:
                value, letters = letters[1:], ""
            elif flag.kind == "bool":
                value = "true"
            elif letters:
                value, letters = letters, ""
            elif rest:
                value = rest.pop(0)
            else:
                raise FlagError(f"flag needs an argument: '{letter}' in {argument}")
            self.set(flag, value, shown_name(flag))


class HelpWanted(Exception):
    """``--help`` was given."""


def shown_name(flag: Flag) -> str:
    """Return a flag as errors name it: ``-p, --publish``."""
    return f"-{flag.short}, --{flag.name}" if flag.short else f"--{flag.name}"


def parse_flags(flags: Sequence[Flag], arguments: Sequence[str], *, interspersed: bool = True) -> Parsed:
    """Read a command line; raises FlagError with pflag's text, HelpWanted for ``--help``.

    Without ``interspersed`` flags end at the first argument, as for ``run IMAGE COMMAND -flags``.
    """
    parser = _Parser(flags)
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "--":
            parser.result.args += rest
            break
        if argument.startswith("--"):
            parser.long(argument, rest)
        elif argument.startswith("-") and argument != "-":
            parser.shorts(argument, rest)
        else:
            parser.result.args.append(argument)
            if not interspersed:
                parser.result.args += rest
                break
    return parser.result
