"""What a command is: its words, flags, arguments and function; how its help and its errors read.

Owns the texts around a command. What it does is its module's business.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engine.cli.failures import PROGRAM, CommandError
from engine.cli.flags import Flag, Parsed

if TYPE_CHECKING:
    from engine.cli.session import Session

Run = Callable[["Session", Parsed], Awaitable[int]]


@dataclass(frozen=True)
class Command:
    """One command. ``usage`` begins after its path: ``[OPTIONS] IMAGE [COMMAND] [ARG...]``."""

    usage: str
    summary: str
    run: Run
    flags: Sequence[Flag] = ()
    min_args: int = 0
    max_args: int | None = None
    interspersed: bool = True
    aliases: tuple[str, ...] = field(default=())
    completes: str = ""
    """What its arguments are, for the shell: ``container``, ``image``, ``volume``, ``network`` or nothing."""


def usage_line(command: Command, path: str) -> str:
    """Return the usage as help and errors show it."""
    return f"Usage:  {PROGRAM} {path} {command.usage}".rstrip()


def flag_error(command: Command, path: str, message: str) -> CommandError:
    """Return a wrong flag as Docker reports it, exit code 125."""
    text = f"{message}\n\n{usage_line(command, path)}\n\nRun '{PROGRAM} {path} --help' for more information"
    return CommandError(text, 125)


def check_arguments(command: Command, path: str, args: Sequence[str]) -> None:
    """Raise CommandError with Docker's text when there are too many or too few arguments."""
    low, high, count = command.min_args, command.max_args, len(args)
    if count >= low and (high is None or count <= high):
        return
    if high == 0:
        wanted = "accepts no arguments"
    elif low == high:
        wanted = f"requires {low} {_arguments(low)}"
    elif high is None:
        wanted = f"requires at least {low} {_arguments(low)}"
    elif low == 0:
        wanted = f"requires at most {high} {_arguments(high)}"
    else:
        wanted = f"requires at least {low} and at most {high} {_arguments(high)}"
    line = usage_line(command, path)
    word = "See" if high is None else "Run"
    text = f"{PROGRAM}: '{PROGRAM} {path}' {wanted}\n\n{line}\n\n{word} '{PROGRAM} {path} --help' for more information"
    raise CommandError(text)


def _arguments(count: int) -> str:
    return "argument" if count == 1 else "arguments"


def command_help(command: Command, path: str, width: int) -> str:
    """Return a command's help."""
    parts = [usage_line(command, path), command.summary]
    if command.aliases:
        parts.append("Aliases:\n  " + ", ".join(f"{PROGRAM} {alias}" for alias in command.aliases))
    flags = [flag for flag in command.flags if not flag.is_hidden and not flag.alias_of]
    if flags:
        parts.append("Options:\n" + flag_help(flags, width))
    return "\n\n".join(parts) + "\n"


def flag_help(flags: Sequence[Flag], width: int) -> str:
    """Return the table of flags, wrapped to a width."""
    heads = []
    for flag in sorted(flags, key=lambda flag: flag.name):
        short = f"-{flag.short}, " if flag.short else "    "
        kind = "" if flag.kind == "bool" else f" {flag.kind}"
        heads.append((f"  {short}--{flag.name}{kind}", flag))
    indent = max(len(head) for head, _ in heads) + 3
    lines = []
    for head, flag in heads:
        text = flag.usage + _default_text(flag)
        wrapped = _wrap(text, max(width - indent, 24))
        lines.append(head.ljust(indent) + wrapped[0])
        lines += [" " * indent + line for line in wrapped[1:]]
    return "\n".join(lines)


def _default_text(flag: Flag) -> str:
    if flag.default in (None, "", False, 0, ()):
        return ""
    return f' (default "{flag.default}")' if flag.kind == "string" else f" (default {str(flag.default).lower()})"


def _wrap(text: str, width: int) -> list[str]:
    import textwrap

    return [line for part in text.split("\n") for line in (textwrap.wrap(part, width) or [""])]


def nearest(word: str, known: Sequence[str]) -> list[str]:
    """Return known words that a mistyped one may mean, the nearest first."""
    import difflib

    close = difflib.get_close_matches(word, known, n=3, cutoff=0.6)
    return close + [name for name in known if word and name.startswith(word) and name not in close][: 3 - len(close)]
