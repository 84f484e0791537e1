"""``completion``: scripts for bash, zsh and fish, and the hidden ``__complete`` that they call.

The scripts are thin: they hand the words to ``portside __complete``, which prints one candidate a line. Names of
containers, images, volumes and networks come from the engine, within a second or not at all.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from engine.cli.command import Command
from engine.cli.commands import COMMANDS as TREE
from engine.cli.commands import GROUPS, SHORTCUTS, SUB_ALIASES
from engine.cli.failures import CommandError
from engine.cli.flags import Parsed
from engine.errors import PortsideError

if TYPE_CHECKING:
    from engine.cli.session import Session

ENGINE_TIMEOUT_S = 1.0

BASH = """# bash completion for portside
_portside() {
    local IFS=$'\\n'
    COMPREPLY=($(compgen -W "$(portside __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)" \\
        -- "${COMP_WORDS[COMP_CWORD]}"))
    if [ ${#COMPREPLY[@]} -eq 0 ]; then
        COMPREPLY=($(compgen -f -- "${COMP_WORDS[COMP_CWORD]}"))
    fi
}
complete -F _portside portside
"""

ZSH = """#compdef portside
_portside() {
    local -a candidates
    candidates=(${(f)"$(portside __complete "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    if (( ${#candidates} )); then
        compadd -a candidates
    else
        _files
    fi
}
compdef _portside portside
"""

FISH = """# fish completion for portside
function __portside_complete
    set -l words (commandline -opc) (commandline -ct)
    portside __complete $words[2..-1] 2>/dev/null
end
complete -c portside -f -a '(__portside_complete)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


async def run_completion(session: Session, parsed: Parsed) -> int:
    """Print the script of a shell."""
    shell = parsed.args[0]
    if shell not in SCRIPTS:
        raise CommandError(f"unknown shell {shell!r}: use bash, zsh or fish")
    session.console.out(SCRIPTS[shell])
    return 0


async def candidates(session: Session, words: list[str]) -> list[str]:
    """Return what the last of ``words`` may become."""
    *before, current = words or [""]
    path, rest = _path_of(before)
    if path is None:
        return sorted(word for word in rest if word.startswith(current))
    from engine.cli.main import load_command

    command = load_command(path)
    if current.startswith("-"):
        shown = [f"--{flag.name}" for flag in command.flags if not flag.is_hidden]
        return sorted(flag for flag in [*shown, "--help"] if flag.startswith(current))
    if path == "completion":
        return [shell for shell in SCRIPTS if shell.startswith(current)]
    if not command.interspersed and len(_arguments(rest, command.flags)) > 0:
        return []
    kinds = command.completes.split(" ")
    kind = kinds[min(len(_arguments(rest, command.flags)), len(kinds) - 1)]
    return [name for name in await _names(session, kind) if name.startswith(current)]


def _path_of(words: list[str]) -> tuple[str | None, list[str]]:
    """Return a command's path and what follows it, or None and the words that may come."""
    if not words:
        return None, [*SHORTCUTS, *(path for path in TREE if " " not in path), *GROUPS]
    first, rest = words[0], words[1:]
    if first in GROUPS:
        if not rest:
            return None, [path.split(" ")[1] for path in TREE if path.startswith(f"{first} ")]
        path = f"{first} {rest[0]}"
        path = SUB_ALIASES.get(path, path)
        return (path, rest[1:]) if path in TREE else (None, [])
    path = SHORTCUTS.get(first, first)
    return (path, rest) if path in TREE else (None, [])


def _arguments(words: list[str], flags: object) -> list[str]:
    """Return the arguments among words, flags and their values left out."""
    assert isinstance(flags, tuple | list)
    takes_value = {name for flag in flags if flag.kind != "bool" for name in (f"--{flag.name}", f"-{flag.short}")}
    arguments, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word.startswith("-"):
            skip = word in takes_value
        else:
            arguments.append(word)
    return arguments


async def _names(session: Session, kind: str) -> list[str]:
    """Return the names of a kind of objects, none when the engine does not answer at once."""
    names: list[str] = []
    with contextlib.suppress(PortsideError, TimeoutError):
        async with asyncio.timeout(ENGINE_TIMEOUT_S):
            if kind == "container":
                found = await session.client.containers.list(all=True)
                names = [name.removeprefix("/") for container in found for name in container.names]
            elif kind == "image":
                names = [tag for image in await session.client.images.list() for tag in image.repo_tags or ()]
            elif kind == "volume":
                names = [volume.name for volume in (await session.client.volumes.list()).volumes]
            elif kind == "network":
                names = [network.name for network in await session.client.networks.list()]
    return sorted(names)


async def run_complete(session: Session, parsed: Parsed) -> int:
    """Print candidates, a line each."""
    session.console.out("".join(f"{candidate}\n" for candidate in await candidates(session, parsed.args)))
    return 0


COMMANDS = {
    "completion": Command(
        "bash|zsh|fish", "Print the completion script for a shell", run_completion, min_args=1, max_args=1
    ),
}

COMPLETE = Command("[WORDS...]", "Print what the last word may become", run_complete)
