"""Rotating logs: conmon would throw old lines away, so its file is renamed and it is told to open a new one.

``container.log.1`` is the newest of the old files, ``.1.gz`` when it is compressed. Between the rename and conmon's
reopening conmon goes on writing to the renamed file, so no line is lost or doubled; it is compressed when the new file
is there. With one file alone the old lines go, as Docker cuts such a log.
"""

from __future__ import annotations

import asyncio
import logging
import os
import zlib
from contextlib import suppress
from pathlib import Path

from engine.containers.container import Container
from engine.containers.lifecycle import Observer
from engine.containers.logoptions import Rotation, rotation_of
from engine.containers.paths import ContainerPaths
from engine.errors import PortsideError
from engine.model.record import ContainerRecord
from engine.runtime.conmon import reopen_log

log = logging.getLogger(__name__)

CHECK_EVERY_S = 1.0
_BLOCK_BYTES = 256 * 1024
_GZIP_WINDOW = 31


def rotate(path: Path, max_files: int) -> None:
    """Rename a log out of the way, the older ones further on, the oldest out (blocking)."""
    if max_files <= 1:
        path.unlink()
        return
    for suffix in ("", ".gz"):
        path.with_name(f"{path.name}.{max_files - 1}{suffix}").unlink(missing_ok=True)
    for number in range(max_files - 1, 0, -1):
        for suffix in ("", ".gz"):
            source = path.with_name(f"{path.name}.{number - 1}{suffix}")
            if number > 1 and source.exists():
                source.replace(path.with_name(f"{path.name}.{number}{suffix}"))
    path.replace(path.with_name(f"{path.name}.1"))


def compress(path: Path) -> None:
    """Put a file into a gzip file of its name and time, then remove it (blocking)."""
    made = path.with_name(f"{path.name}.gz")
    partial = path.with_name(f"{path.name}.gz.new")
    packer = zlib.compressobj(6, zlib.DEFLATED, _GZIP_WINDOW)
    with path.open("rb") as source, partial.open("wb") as target:
        while block := source.read(_BLOCK_BYTES):
            target.write(packer.compress(block))
        target.write(packer.flush())
        # A reader that is in the old file finds its place among the new ones by their times.
        info = os.fstat(source.fileno())
        target.flush()
        os.utime(target.fileno(), ns=(info.st_atime_ns, info.st_mtime_ns))
    partial.chmod(0o600)
    partial.replace(made)
    path.unlink()


class LogRotator(Observer):
    """Looks once a second at the logs that have a limit, and at no others."""

    def __init__(self, paths: ContainerPaths) -> None:
        """Nothing is looked at before a container with a limit runs."""
        self._paths = paths
        self._watched: dict[str, tuple[ContainerRecord, Rotation]] = {}
        self._wake = asyncio.Event()

    def container_started(self, container: Container) -> None:
        """Look at a container's log from now on, if it has a limit."""
        log_config = container.record.host_config.log_config
        rotation = rotation_of(log_config.type, log_config.config or {})  # checked at the creation
        if rotation is not None:
            self._watched[container.id] = (container.record, rotation)
            self._wake.set()

    def container_stopped(self, container: Container) -> None:
        """Look at it no more."""
        self._watched.pop(container.id, None)

    async def run(self) -> None:
        """Rotate until cancelled; sleeps without waking up while nothing has a limit."""
        while True:
            if not self._watched:
                self._wake.clear()
                await self._wake.wait()
            await asyncio.sleep(CHECK_EVERY_S)
            for record, rotation in list(self._watched.values()):
                path = self._paths.log(record.id)
                try:
                    if self._check(record, path, rotation) and rotation.compress:
                        await asyncio.to_thread(_compress_old, path)
                except (OSError, PortsideError) as error:
                    log.warning("log of container %s is not rotated: %s", record.name, error)

    def _check(self, record: ContainerRecord, path: Path, rotation: Rotation) -> bool:
        """Rotate a log that is full; returns whether conmon writes to the file at its path."""
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            size = -1  # an engine was killed before it told conmon, or conmon has not come to it yet
        if size >= rotation.max_bytes:
            rotate(path, rotation.max_files)
            size = -1
        if size < 0:
            with suppress(PortsideError):  # it has ended meanwhile
                reopen_log(self._paths.bundle(record.id))
        return size >= 0


def _compress_old(path: Path) -> None:
    for entry in path.parent.glob(f"{path.name}.*"):
        if entry.name.endswith(".gz.new"):
            entry.unlink(missing_ok=True)  # an engine was killed over it
        elif entry.suffix[1:].isdigit():
            compress(entry)
