"""``commit``, ``diff`` and ``export``: a container's file system as an image, as a list, as an archive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engine.cli.command import Command
from engine.cli.console import STDOUT
from engine.cli.failures import CommandError
from engine.cli.flags import Flag, Parsed
from engine.cli.image_archive import save_to
from engine.errors import InvalidArgument
from engine.wire.references import parse_reference

if TYPE_CHECKING:
    from engine.cli.session import Session

_KINDS = ("C", "A", "D")


async def run_commit(session: Session, parsed: Parsed) -> int:
    """Make an image of a container and print its ID."""
    repository = tag = ""
    if len(parsed.args) > 1:
        try:
            reference = parse_reference(parsed.args[1])
        except InvalidArgument as error:
            raise CommandError(str(error)) from error
        if reference.digest:
            raise CommandError("refusing to create a tag with a digest reference")
        repository, tag = reference.familiar_name, reference.tag or "latest"
    image_id = await session.client.containers.commit(
        parsed.args[0],
        repo=repository,
        tag=tag,
        author=parsed.text("author"),
        comment=parsed.text("message"),
        changes=parsed.items("change"),
        pause=parsed.on("pause"),
    )
    session.out(image_id)
    return 0


async def run_diff(session: Session, parsed: Parsed) -> int:
    """Print a container's changes, a line each."""
    changes = await session.client.containers.changes(parsed.args[0])
    lines = [f"{_KINDS[change.kind] if 0 <= change.kind < len(_KINDS) else ''} {change.path}\n" for change in changes]
    session.console.out("".join(lines))
    return 0


async def run_export(session: Session, parsed: Parsed) -> int:
    """Write a container's file system into a file, at once or not at all, or to standard output."""
    target = parsed.text("output")
    if not target and session.console.is_terminal(STDOUT):
        raise CommandError("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    async with session.client.containers.export(parsed.args[0]) as stream:
        if target:
            await save_to(Path(target), stream, "failed to export container")
        else:
            async for data in stream:
                await session.console.write_async(STDOUT, data)
    return 0


COMMANDS = {
    "container commit": Command(
        "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
        "Make an image of what a container has changed",
        run_commit,
        (
            Flag("author", "a", "string", 'Who made it ("John Hannibal Smith <hannibal@a-team.com>")'),
            Flag("change", "c", "list", "Apply an instruction of a Dockerfile"),
            Flag("message", "m", "string", "Comment of the image"),
            Flag("pause", "p", usage="Pause the container meanwhile", default=True),
        ),
        min_args=1,
        max_args=2,
        interspersed=False,
        aliases=("container commit", "commit"),
        completes="container",
    ),
    "container diff": Command(
        "CONTAINER",
        "Show what a container has changed of its image's files",
        run_diff,
        min_args=1,
        max_args=1,
        aliases=("container diff", "diff"),
        completes="container",
    ),
    "container export": Command(
        "[OPTIONS] CONTAINER",
        "Write a container's file system into an archive",
        run_export,
        (Flag("output", "o", "string", "Write to this file"),),
        min_args=1,
        max_args=1,
        aliases=("container export", "export"),
        completes="container",
    ),
}
