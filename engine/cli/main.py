"""The ``portside`` command: global flags, the way to a command's module, and the edge where errors are printed.

Imports as little as it can: a command's module is imported when it is called, asyncio and the client with it.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from engine import __version__
from engine.cli.command import Command, check_arguments, command_help, flag_error, flag_help, nearest
from engine.cli.commands import COMMANDS, GROUPS, LATER, LATER_IN_GROUPS, SHORTCUTS, SUB_ALIASES
from engine.cli.failures import PROGRAM, CommandError, hint_of, sentence
from engine.cli.flags import Flag, FlagError, HelpWanted, Parsed, parse_flags
from engine.errors import PortsideError

if TYPE_CHECKING:
    from engine.cli.session import Session
    from engine.client.endpoint import TlsFiles

INTERRUPTED_CODE = 130

GLOBAL_FLAGS = (
    Flag("config", kind="string", usage="Location of client config files"),
    Flag("debug", "D", usage="Enable debug mode"),
    Flag("host", "H", "list", "Engine socket to connect to"),
    Flag("context", "c", "string", is_hidden=True),
    Flag("log-level", "l", "string", is_hidden=True, default="info"),
    Flag("tls", usage="Use TLS; implied by --tlsverify"),
    Flag("tlscacert", kind="string", usage="Trust certs signed only by this CA"),
    Flag("tlscert", kind="string", usage="Path to TLS certificate file"),
    Flag("tlskey", kind="string", usage="Path to TLS key file"),
    Flag("tlsverify", usage="Use TLS and verify the remote"),
    Flag("version", "v", usage="Print version information and quit"),
)


def main() -> None:
    """Run the command of ``sys.argv`` and exit with its code."""
    try:
        code = run(sys.argv[1:], os.environ)
    except KeyboardInterrupt:
        code = INTERRUPTED_CODE
    except BrokenPipeError:
        # Whoever read our output has gone; nothing more can be said, not even at interpreter exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 1
    sys.exit(code)


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run one command line and return its exit code; errors are printed."""
    try:
        return _run(arguments, environ)
    except CommandError as error:
        _print_error(error.message, error.hint)
        return error.code
    except PortsideError as error:
        _print_error(sentence(error), hint_of(error))
        return 1


def _print_error(message: str, hint: str) -> None:
    if message:
        sys.stderr.write(f"{message}\n")
    if hint:
        sys.stderr.write("".join(f"Hint: {line}\n" for line in hint.splitlines()))
    sys.stderr.flush()


def _run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    try:
        options = parse_flags(GLOBAL_FLAGS, arguments, interspersed=False)
    except HelpWanted:
        sys.stdout.write(top_help())
        return 0
    except FlagError as error:
        text = f"{error}\n\nUsage:  {PROGRAM} [OPTIONS] COMMAND\n\nRun '{PROGRAM} --help' for more information"
        raise CommandError(text, 125) from error
    if options.on("version"):
        sys.stdout.write(f"Portside version {__version__}\n")
        return 0
    words = options.args
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
        if len(words) == 1:
            words = []
    if not words:
        sys.stdout.write(top_help())
        return 0
    if words[0] == "__complete":
        from engine.cli.completion import COMPLETE

        # What is completed is data, whatever it looks like.
        return _run_command(COMPLETE, words[0], Parsed(args=words[1:]), options, environ)
    return _dispatch(words, options, environ)


def _dispatch(words: list[str], options: Parsed, environ: Mapping[str, str]) -> int:
    """Find the command that words name and run it with what follows them."""
    first = words[0]
    if first in GROUPS:
        found = _in_group(first, words[1:])
        if found is None:
            return 0
        path, shown, rest = found
    else:
        path, shown, rest = SHORTCUTS.get(first, first), first, words[1:]
    if path not in COMMANDS:
        raise _unknown(first)
    command = load_command(path)
    try:
        parsed = parse_flags(command.flags, rest, interspersed=command.interspersed)
    except HelpWanted:
        sys.stdout.write(command_help(command, shown, _width()))
        return 0
    except FlagError as error:
        raise flag_error(command, shown, str(error)) from error
    check_arguments(command, shown, parsed.args)
    return _run_command(command, shown, parsed, options, environ)


def _in_group(group: str, rest: list[str]) -> tuple[str, str, list[str]] | None:
    """Return a group's command, its shown path and what follows; None when only the group's help was wanted."""
    if not rest or rest[0] in ("--help", "-h"):
        (sys.stdout if rest else sys.stderr).write(group_help(group))
        return None
    word = rest[0]
    shown = f"{group} {word}"
    path = SUB_ALIASES.get(shown, shown)
    if word in LATER_IN_GROUPS[group]:
        raise _not_yet(shown)
    if word.startswith("-"):
        text = (
            f"unknown flag: {word}\n\nUsage:  {PROGRAM} {group}\n\nRun '{PROGRAM} {group} --help' for more information"
        )
        raise CommandError(text, 125)
    if path not in COMMANDS:
        known = [name.split(" ")[1] for name in COMMANDS if name.startswith(f"{group} ")]
        text = f"{PROGRAM}: unknown command: {PROGRAM} {shown}\n\nUsage:  {PROGRAM} {group}\n"
        raise CommandError(text + _suggestion(word, known) + f"\nRun '{PROGRAM} {group} --help' for more information")
    return path, shown, rest[1:]


def _unknown(word: str) -> CommandError:
    if word in LATER:
        return _not_yet(word)
    known = [*SHORTCUTS, *(path for path in COMMANDS if " " not in path), *GROUPS]
    text = f"{PROGRAM}: unknown command: {PROGRAM} {word}\n"
    return CommandError(text + _suggestion(word, known) + f"\nRun '{PROGRAM} --help' for more information")


def _not_yet(words: str) -> CommandError:
    return CommandError(f"{PROGRAM}: '{PROGRAM} {words}' is not supported yet")


def _suggestion(word: str, known: Sequence[str]) -> str:
    names = nearest(word, known)
    return "\nDid you mean this?\n" + "".join(f"\t{name}\n" for name in names) if names else ""


def load_command(path: str) -> Command:
    """Import the module of a command and return it."""
    module = importlib.import_module(f"engine.cli.{COMMANDS[path].module}")
    return cast("dict[str, Command]", module.COMMANDS)[path]


def _run_command(command: Command, shown: str, parsed: Parsed, options: Parsed, environ: Mapping[str, str]) -> int:
    import asyncio

    session = make_session(options, environ, shown)

    async def body() -> int:
        try:
            return await command.run(session, parsed)
        finally:
            session.console.restore()
            await session.aclose()

    return asyncio.run(body())


def make_session(options: Parsed, environ: Mapping[str, str], command_path: str = "") -> Session:
    """Return the surroundings that the global flags and the environment describe."""
    from engine.cli.session import Session
    from engine.client.endpoint import resolve_endpoint

    if options.text("context") not in ("", "default"):
        raise CommandError(f'{PROGRAM}: contexts are not supported yet: "{options.text("context")}"')
    hosts = options.items("host")
    if len(hosts) > 1:
        raise CommandError("Specify only one -H")
    home = environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - pathlib costs start-up time
    folder = options.text("config") or environ.get("DOCKER_CONFIG") or f"{home}/.docker"
    endpoint = resolve_endpoint(hosts[0] if hosts else None, environ, _tls_files(options, environ))
    return Session(environ, endpoint, folder, command_path=command_path, is_debug=options.on("debug"))


def _tls_files(options: Parsed, environ: Mapping[str, str]) -> TlsFiles | None:
    """Return the files of ``--tls`` or ``--tlsverify``, None when neither is given and the environment decides."""
    if not (options.on("tls") or options.on("tlsverify")):
        return None
    from dataclasses import replace
    from pathlib import Path

    from engine.client.endpoint import certificate_folder, tls_from_folder

    files = tls_from_folder(certificate_folder(environ), verify=options.on("tlsverify"))
    given = {name: Path(options.text(name)) for name in ("tlscacert", "tlscert", "tlskey") if options.text(name)}
    return replace(
        files,
        ca=given.get("tlscacert", files.ca),
        cert=given.get("tlscert", files.cert),
        key=given.get("tlskey", files.key),
    )


def _width() -> int:
    try:
        return os.get_terminal_size().columns or 80
    except OSError:
        return 80


def group_help(group: str) -> str:
    """Return the help of a group of commands."""
    rows = [(path.split(" ")[1], entry.summary) for path, entry in COMMANDS.items() if path.startswith(f"{group} ")]
    return (
        f"Usage:  {PROGRAM} {group} COMMAND\n\n{GROUPS[group]}\n\nCommands:\n{_rows(rows)}\n"
        f"Run '{PROGRAM} {group} COMMAND --help' for more information on a command.\n"
    )


def _rows(rows: Sequence[tuple[str, str]]) -> str:
    return "".join(f"  {name:<11} {summary}\n" for name, summary in rows)


def top_help() -> str:
    """Return the help of ``portside`` itself."""
    tops = {entry.shortcut or path: entry for path, entry in COMMANDS.items() if entry.shortcut or " " not in path}
    common = sorted((entry.rank, name, entry.summary) for name, entry in tops.items() if entry.rank)
    other = sorted((name, entry.summary) for name, entry in tops.items() if not entry.rank)
    return (
        f"Usage:  {PROGRAM} [OPTIONS] COMMAND\n\nContainers on this machine and on others\n\n"
        f"Common Commands:\n{_rows([(name, summary) for _, name, summary in common])}\n"
        f"Management Commands:\n{_rows(sorted(GROUPS.items()))}\n"
        f"Commands:\n{_rows(other)}\n"
        f"Global Options:\n{flag_help([flag for flag in GLOBAL_FLAGS if not flag.is_hidden], _width())}\n\n"
        f"Run '{PROGRAM} COMMAND --help' for more information on a command.\n"
    )


if __name__ == "__main__":
    main()
