"""``stop``, ``restart``, ``kill``, ``pause``, ``unpause``, ``rm``, ``rename``, ``wait`` and ``container prune``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from engine.cli.command import Command
from engine.cli.failures import CommandError, hint_of, join_errors, sentence
from engine.cli.filters import parse_filters, prune_filters
from engine.cli.flags import Flag, Parsed
from engine.cli.quantities import human_size
from engine.errors import InvalidArgument, NotFound, PortsideError

if TYPE_CHECKING:
    from engine.cli.session import Session

PARALLEL = 50

Operation = Callable[[str], Awaitable[None]]


async def for_each(session: Session, refs: list[str], operation: Operation, *, passes_missing: bool = False) -> int:
    """Do something to each object at once, print each name that worked in order; raises the others' errors.

    ``passes_missing`` prints that one is not there and goes on, as ``rm -f`` does.
    """
    gate = asyncio.Semaphore(PARALLEL)

    async def attempt(ref: str) -> PortsideError | None:
        async with gate:
            try:
                await operation(ref)
            except PortsideError as error:
                return error
        return None

    errors: list[PortsideError] = []
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(attempt(ref)) for ref in refs]
        for ref, task in zip(refs, tasks, strict=True):
            error = await task
            if error is None:
                session.out(ref)
            elif passes_missing and isinstance(error, NotFound):
                session.err(sentence(error))
            else:
                errors.append(error)
    if errors:
        raise join_errors(errors)
    return 0


def _timeout_s(parsed: Parsed) -> int | None:
    if parsed.is_set("time") and parsed.is_set("timeout"):
        raise CommandError("conflicting options: cannot specify both --timeout and --time")
    if parsed.is_set("time"):
        return parsed.number("time")
    return parsed.number("timeout") if parsed.is_set("timeout") else None


async def run_stop(session: Session, parsed: Parsed) -> int:
    """Stop containers."""
    timeout_s = _timeout_s(parsed)

    async def stop(ref: str) -> None:
        await session.client.containers.stop(ref, timeout_s=timeout_s, signal=parsed.text("signal"))

    return await for_each(session, parsed.args, stop)


async def run_restart(session: Session, parsed: Parsed) -> int:
    """Restart containers."""
    timeout_s = _timeout_s(parsed)

    async def restart(ref: str) -> None:
        await session.client.containers.restart(ref, timeout_s=timeout_s, signal=parsed.text("signal"))

    return await for_each(session, parsed.args, restart)


async def run_kill(session: Session, parsed: Parsed) -> int:
    """Send a signal to containers."""

    async def kill(ref: str) -> None:
        await session.client.containers.kill(ref, signal=parsed.text("signal"))

    return await for_each(session, parsed.args, kill)


async def run_pause(session: Session, parsed: Parsed) -> int:
    """Freeze containers."""
    return await for_each(session, parsed.args, session.client.containers.pause)


async def run_unpause(session: Session, parsed: Parsed) -> int:
    """Thaw containers."""
    return await for_each(session, parsed.args, session.client.containers.unpause)


async def run_rm(session: Session, parsed: Parsed) -> int:
    """Remove containers."""

    async def remove(ref: str) -> None:
        name = ref.strip("/")
        if not name:
            raise InvalidArgument("container name cannot be empty")
        await session.client.containers.remove(
            name, force=parsed.on("force"), volumes=parsed.on("volumes"), link=parsed.on("link")
        )

    return await for_each(session, parsed.args, remove, passes_missing=parsed.on("force"))


async def run_rename(session: Session, parsed: Parsed) -> int:
    """Give a container another name."""
    old, new = (word.strip() for word in parsed.args)
    if not old or not new:
        raise CommandError("Error: Neither old nor new names may be empty")
    try:
        await session.client.containers.rename(old, new)
    except PortsideError as error:
        text = f"{sentence(error)}\nError: failed to rename container named {old}"
        raise CommandError(text, hint=hint_of(error)) from error
    return 0


async def run_wait(session: Session, parsed: Parsed) -> int:
    """Wait for containers in turn and print their exit codes."""
    errors: list[PortsideError] = []
    for ref in parsed.args:
        try:
            session.out(str((await session.client.containers.wait(ref)).status_code))
        except PortsideError as error:
            errors.append(error)
    if errors:
        raise join_errors(errors)
    return 0


async def run_prune(session: Session, parsed: Parsed) -> int:
    """Remove stopped containers, after a question."""
    filters = prune_filters(session, parse_filters(parsed.items("filter")))
    if not parsed.on("force"):
        question = "WARNING! This will remove all stopped containers.\nAre you sure you want to continue?"
        if not session.console.confirm(question):
            raise CommandError("container prune has been cancelled")
    report = await session.client.containers.prune(filters)
    if report.containers_deleted:
        session.out("Deleted Containers:\n" + "".join(f"{name}\n" for name in report.containers_deleted))
    session.out(f"Total reclaimed space: {human_size(report.space_reclaimed)}")
    return 0


_SIGNAL = Flag("signal", "s", "string", "Signal to send")
_STOP_FLAGS = (
    _SIGNAL,
    Flag("timeout", "t", "int", "Seconds to wait before it is killed"),
    Flag("time", kind="int", is_hidden=True),
)


def _command(path: str, summary: str, run: Callable[[Session, Parsed], Awaitable[int]], *flags: Flag) -> Command:
    usage = "[OPTIONS] CONTAINER [CONTAINER...]" if flags else "CONTAINER [CONTAINER...]"
    aliases = [path, path.removeprefix("container ")]
    if path == "container rm":
        aliases.insert(1, "container remove")
    return Command(usage, summary, run, flags, min_args=1, aliases=tuple(aliases), completes="container")


COMMANDS = {
    "container stop": _command("container stop", "Stop running containers", run_stop, *_STOP_FLAGS),
    "container restart": _command("container restart", "Stop and start containers", run_restart, *_STOP_FLAGS),
    "container kill": _command(
        "container kill", "Send a signal to running containers, KILL by default", run_kill, _SIGNAL
    ),
    "container pause": _command("container pause", "Freeze all processes of containers", run_pause),
    "container unpause": _command("container unpause", "Let frozen containers go on", run_unpause),
    "container wait": _command("container wait", "Wait for containers to stop and print their exit codes", run_wait),
    "container rm": _command(
        "container rm",
        "Remove containers",
        run_rm,
        Flag("force", "f", usage="Kill a running container first"),
        Flag("link", "l", usage="Remove the link of this name, not the container"),
        Flag("volumes", "v", usage="Remove its anonymous volumes too"),
    ),
    "container rename": Command(
        "CONTAINER NEW_NAME",
        "Give a container another name",
        run_rename,
        min_args=2,
        max_args=2,
        aliases=("container rename", "rename"),
        completes="container",
    ),
    "container prune": Command(
        "[OPTIONS]",
        "Remove all stopped containers",
        run_prune,
        (
            Flag("filter", kind="filter", usage="Which to remove (until=<timestamp>, label=<label>)"),
            Flag("force", "f", usage="Do not ask"),
        ),
        max_args=0,
    ),
}
