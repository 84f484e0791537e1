"""``cp``: files and folders between a container and here, or as a tar stream."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from engine.cli.command import Command
from engine.cli.console import STDERR, STDOUT
from engine.cli.copy_paths import (
    CopyEnd,
    check_output,
    local_path,
    local_source,
    local_target,
    plan_copy,
    rebased,
    renaming,
    split_argument,
    split_entry,
)
from engine.cli.failures import CommandError
from engine.cli.flags import Flag, Parsed
from engine.cli.quantities import human_size
from engine.errors import PortsideError
from engine.files.blocks import PipeReader
from engine.files.tartree import DescriptorSink, TarStream, TreeWriter
from engine.files.unpack import Place, TreeUnpacker, UnpackRules
from engine.model.archive import DEVICE_BIT, PathStat
from engine.wire.tarhead import TarError

if TYPE_CHECKING:
    from engine.cli.session import Session
    from engine.client.http import OpenResponse

_BLOCK_BYTES = 256 * 1024
_REDRAW_S = 0.075


class _Progress:
    """How much was copied, on a terminal."""

    def __init__(self, session: Session, title: str, *, quiet: bool) -> None:
        self.size_bytes = 0
        self._session = session
        self._title = title
        self._quiet = quiet
        self._is_terminal = session.console.is_terminal(STDERR) and not quiet
        self._drawn_s = 0.0

    def add(self, data: bytes) -> None:
        self.size_bytes += len(data)
        if self._is_terminal and time.monotonic() - self._drawn_s > _REDRAW_S:
            self._drawn_s = time.monotonic()
            self._session.console.err(f"\r\x1b[2K{self._title}{human_size(self.size_bytes, 3)}")

    def left_out(self, name: bytes, error: OSError) -> None:
        self._session.err(f"Can't add file {os.fsdecode(name)} to tar: {(error.strerror or str(error)).lower()}")

    def end(self, target: str, *, succeeded: bool) -> None:
        if self._is_terminal:
            self._session.console.err("\r\x1b[2K")
        if succeeded and not self._quiet:
            self._session.err(f"Successfully copied {human_size(self.size_bytes, 3)} to {target}")


async def run_cp(session: Session, parsed: Parsed) -> int:
    """Copy in the direction that the arguments say."""
    source, target = parsed.args
    if not source or not target:
        raise CommandError(f"{'source' if not source else 'destination'} can not be empty")
    (source_container, source_path), (target_container, target_path) = split_argument(source), split_argument(target)
    if source_container and target_container:
        raise CommandError(
            "copying between containers is not supported",
            hint=f"portside cp {source} - | portside cp - {target}",
        )
    quiet = parsed.on("quiet") if parsed.is_set("quiet") else not session.console.is_terminal(STDOUT)
    if source_container:
        await _copy_out(session, parsed, source_container, source_path, target_path, quiet=quiet)
    elif target_container:
        await _copy_in(session, parsed, source_path, target_container, target_path, quiet=quiet)
    else:
        raise CommandError("must specify at least one container source")
    return 0


# Out


async def _copy_out(session: Session, parsed: Parsed, container: str, path: str, target: str, *, quiet: bool) -> None:
    if target != "-":
        target = local_path(target)
        check_output(target)
    elif session.console.is_terminal(STDOUT):
        raise CommandError("cowardly refusing to copy to a terminal. Use a file or redirect")
    rebase = ""
    if parsed.on("follow-link"):
        path, rebase = await _followed(session, container, path)
    stat, response = await session.client.containers.copy_out(container, path)
    try:
        if target == "-":
            while block := await response.read():
                await session.console.write_async(STDOUT, block)
            return
        source = CopyEnd(path, is_folder=stat.is_folder, rebase=rebase)
        progress = _Progress(session, "Copying from container - ", quiet=quiet)
        await _unpack(response, source, local_target(target), progress, title=target)
    finally:
        await response.aclose()


async def _followed(session: Session, container: str, path: str) -> tuple[str, str]:
    """Return where a link in a container leads, and the name to use when that is another."""
    with suppress(PortsideError):
        stat = await session.client.containers.stat_path(container, path)
        if stat.is_link:
            return rebased(path, _beside(path, stat))
    return path, ""


def _beside(path: str, stat: PathStat) -> str:
    target = stat.link_target
    return target if target.startswith("/") else os.path.normpath(f"{split_entry(path)[0]}/{target}")


async def _unpack(response: OpenResponse, source: CopyEnd, target: CopyEnd, progress: _Progress, *, title: str) -> None:
    folder, base, name = plan_copy(source, target)
    inner = split_entry(source.path)[1]  # what the engine calls it
    rename = renaming(inner, name if base != name else source.rebase or inner)
    read, write = os.pipe()
    work = asyncio.create_task(asyncio.to_thread(_unpack_here, read, folder, rename))
    succeeded = False
    try:
        try:
            while block := await response.read():
                progress.add(block)
                if not await asyncio.to_thread(_write_all, write, block):
                    break
        finally:
            os.close(write)
        await work
        succeeded = True
    except (TarError, OSError) as error:
        raise CommandError(_words(error)) from error
    finally:
        with suppress(TarError, OSError):
            await work
        progress.end(title, succeeded=succeeded)


def _unpack_here(pipe: int, folder: str, rename: Callable[[bytes], bytes]) -> None:
    """Unpack what comes out of a pipe; links that lead out of the folder are not followed, whoever made them."""
    try:
        root = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            rules = UnpackRules(keeps_owner=False, no_overwrite=True)
            TreeUnpacker(Place(root, strict=True, title=os.path.normpath(folder)), rules, rename).unpack(
                PipeReader(pipe)
            )
        finally:
            os.close(root)
    finally:
        os.close(pipe)


def _write_all(descriptor: int, block: bytes) -> bool:
    view = memoryview(block)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except BrokenPipeError:
        return False
    return True


def _words(error: Exception) -> str:
    if isinstance(error, OSError):
        shown = f"{error.filename}: " if error.filename else ""
        return f"{shown}{(error.strerror or str(error)).lower()}"
    return str(error) or "unexpected EOF"


# In


async def _copy_in(
    session: Session, parsed: Parsed, path: str, container: str, target_path: str, *, quiet: bool
) -> None:
    source = None if path == "-" else local_source(local_path(path), follow=parsed.on("follow-link"))
    target = await _container_target(session, container, target_path)
    copy_owner = parsed.on("archive")
    if source is None:
        if not target.is_folder:
            raise CommandError(f'destination "{container}:{target_path}" must be a directory')
        body = session.console.read_stdin()
        await session.client.containers.copy_in(container, target.path, body, copy_owner=copy_owner)
        return
    folder, base, name = plan_copy(source, target)
    progress = _Progress(session, "Copying to container - ", quiet=quiet)
    succeeded = False
    try:
        await session.client.containers.copy_in(
            container, folder, _packed(source, name if name != base else base, progress), copy_owner=copy_owner
        )  # fmt: skip
        succeeded = True
    finally:
        progress.end(f"{container}:{target.path}", succeeded=succeeded)


async def _container_target(session: Session, container: str, path: str) -> CopyEnd:
    """Look at a target in a container, a link followed; whatever is wrong is found again by the copy."""
    given = path
    try:
        stat = await session.client.containers.stat_path(container, path)
        if stat.is_link:
            path = _beside(path, stat)
            stat = await session.client.containers.stat_path(container, path)
    except PortsideError:
        return CopyEnd(path, exists=False)
    if stat.mode & DEVICE_BIT:
        raise CommandError(f'destination "{container}:{given}" must be a directory or a regular file: got a device')
    return CopyEnd(path, is_folder=stat.is_folder)


async def _packed(source: CopyEnd, name: str, progress: _Progress) -> AsyncIterator[bytes]:
    read, write = os.pipe()
    work = asyncio.create_task(asyncio.to_thread(_pack_here, write, source, os.fsencode(name), progress.left_out))
    try:
        while block := await asyncio.to_thread(os.read, read, _BLOCK_BYTES):
            progress.add(block)
            yield block
    finally:
        os.close(read)
        with suppress(BrokenPipeError):  # the engine wants no more: its answer says why
            await work


def _pack_here(pipe: int, source: CopyEnd, name: bytes, on_left_out: Callable[[bytes, OSError], None]) -> None:
    try:
        stream = TarStream(DescriptorSink(pipe))
        writer = TreeWriter(stream, on_left_out=on_left_out)
        folder, entry = split_entry(source.path)
        if source.is_folder:
            descriptor = os.open(source.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                writer.write_tree(descriptor, name)
            finally:
                os.close(descriptor)
        else:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                writer.write_entry(descriptor, entry, name)
            finally:
                os.close(descriptor)
        stream.close()
    finally:
        os.close(pipe)


COMMANDS = {
    "container cp": Command(
        "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tportside cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
        "Copy files and folders between a container and here",
        run_cp,
        (
            Flag("archive", "a", usage="Give everything to the user that the container runs as"),
            Flag("follow-link", "L", usage="Copy what a link in SRC_PATH leads to"),
            Flag("quiet", "q", usage="Show no progress; without a terminal there is none anyway"),
        ),
        min_args=2,
        max_args=2,
        aliases=("container cp", "cp"),
        completes="container",
    ),
}
