"""``save``, ``load`` and ``import``: images in and out of archives."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from engine.cli.command import Command
from engine.cli.console import STDIN, STDOUT, read_file
from engine.cli.failures import CommandError
from engine.cli.flags import Flag, Parsed
from engine.cli.progress import ProgressDisplay
from engine.client import Stream
from engine.errors import InvalidArgument
from engine.wire.references import parse_reference

if TYPE_CHECKING:
    from engine.cli.session import Session


async def run_save(session: Session, parsed: Parsed) -> int:
    """Write images into a file, at once or not at all, or to standard output."""
    target = parsed.text("output")
    if not target and session.console.is_terminal(STDOUT):
        raise CommandError("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    async with session.client.images.save(parsed.args, parsed.text("platform")) as stream:
        if target:
            await save_to(Path(target), stream, "failed to save image")
        else:
            async for data in stream:
                await session.console.write_async(STDOUT, data)
    return 0


async def save_to(target: Path, stream: Stream[bytes], failure: str) -> None:
    """Write a stream into a file, at once or not at all; raises CommandError, which begins with ``failure``."""
    try:
        if target.exists() and not target.is_file():
            with target.open("wb", buffering=0) as file:  # a device or pipe
                async for data in stream:
                    file.write(data)
            return
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                async for data in stream:
                    file.write(data)
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise CommandError(f"{failure}: {error.strerror}: {target}") from error


def _opened(path: str) -> AsyncIterator[bytes]:
    """Return a file's pieces; raises CommandError with Go's text when it cannot be opened."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        raise CommandError(f"open {path}: {(error.strerror or str(error)).lower()}") from error
    return read_file(path)


async def run_load(session: Session, parsed: Parsed) -> int:
    """Load images from a file or standard input."""
    source = parsed.text("input")
    if not source and session.console.is_terminal(STDIN):
        raise CommandError(
            "requested load from stdin, but stdin is empty", hint="portside load -i FILE, or portside load < FILE"
        )
    body = _opened(source) if source else session.console.read_stdin()
    quiet = parsed.on("quiet") or not session.console.is_terminal(STDOUT)
    stream = session.client.images.load(body, quiet=quiet, platform=parsed.text("platform"))
    await ProgressDisplay(session.console, STDOUT).show(stream)
    return 0


async def run_import(session: Session, parsed: Parsed) -> int:
    """Make an image of a root file system's archive: a file, ``-`` or a URL that the engine fetches."""
    source, name = parsed.args[0], parsed.args[1] if len(parsed.args) > 1 else ""
    repository = tag = ""
    if name:
        try:
            reference = parse_reference(name)
        except InvalidArgument as error:
            raise CommandError(str(error)) from error
        repository, tag = reference.familiar_name, reference.tag
    body: AsyncIterator[bytes] | str
    if source.startswith(("http://", "https://")):
        body = source
    else:
        body = session.console.read_stdin() if source == "-" else _opened(source)
    stream = session.client.images.import_(
        body,
        repo=repository,
        tag=tag,
        message=parsed.text("message"),
        changes=parsed.items("change"),
        platform=parsed.text("platform"),
    )
    await ProgressDisplay(session.console, STDOUT).show(stream)
    return 0


_PLATFORM = Flag("platform", kind="string", usage="Platform of the image (linux/arm64)")

COMMANDS = {
    "image save": Command(
        "[OPTIONS] IMAGE [IMAGE...]",
        "Write images into an archive or to standard output",
        run_save,
        (Flag("output", "o", "string", "Write to this file"), _PLATFORM),
        min_args=1,
        aliases=("image save", "save"),
        completes="image",
    ),
    "image load": Command(
        "[OPTIONS]",
        "Load images from an archive or standard input",
        run_load,
        (
            Flag("input", "i", "string", "Read from this file"),
            _PLATFORM,
            Flag("quiet", "q", usage="Show no progress"),
        ),
        max_args=0,
        aliases=("image load", "load"),
    ),
    "image import": Command(
        "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
        "Make an image from a root file system's archive",
        run_import,
        (
            Flag("change", "c", "list", "Apply an instruction of a Dockerfile"),
            Flag("message", "m", "string", "Comment of the image"),
            _PLATFORM,
        ),
        min_args=1,
        aliases=("image import", "import"),
    ),
}
