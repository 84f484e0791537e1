"""Rotating logs: conmon would throw old lines away, so its file is renamed and it is told to open a new one.

``container.log.1`` is the newest of the old files. Between the rename and conmon's reopening conmon goes on
writing to the renamed file, so no line is lost or doubled.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from engine.containers.container import Container
from engine.containers.lifecycle import Observer
from engine.containers.logoptions import parse_size
from engine.containers.paths import ContainerPaths
from engine.errors import PortsideError
from engine.model.record import ContainerRecord
from engine.runtime.conmon import reopen_log

log = logging.getLogger(__name__)

CHECK_EVERY_S = 1.0
LOCAL_MAX_BYTES = 20 * 1024 * 1024
LOCAL_MAX_FILES = 5


def limits_of(record: ContainerRecord) -> tuple[int, int] | None:
    """Return the largest size of a log file in bytes and how many there are; None for no limit."""
    config = record.host_config.log_config
    options = config.config or {}
    size = parse_size(options["max-size"]) if options.get("max-size") else 0  # checked at the creation
    if config.type == "local":
        return size or LOCAL_MAX_BYTES, int(options.get("max-file", LOCAL_MAX_FILES))
    if config.type != "json-file" or size <= 0:
        return None
    return size, int(options.get("max-file", 1))


def rotate(path: Path, max_files: int) -> None:
    """Rename a log out of the way, the older ones further on, the oldest out (blocking)."""
    if max_files <= 1:
        # One file alone: the old one stays readable until the next rotation, or a follower would lose its place.
        path.replace(path.with_name(f"{path.name}.1"))
        return
    for number in range(max_files - 1, 0, -1):
        source = path if number == 1 else path.with_name(f"{path.name}.{number - 1}")
        if source.exists():
            source.replace(path.with_name(f"{path.name}.{number}"))


class LogRotator(Observer):
    """Looks once a second at the logs that have a limit, and at no others."""

    def __init__(self, paths: ContainerPaths) -> None:
        """Nothing is looked at before a container with a limit runs."""
        self._paths = paths
        self._watched: dict[str, tuple[ContainerRecord, int, int]] = {}
        self._wake = asyncio.Event()

    def container_started(self, container: Container) -> None:
        """Look at a container's log from now on, if it has a limit."""
        limits = limits_of(container.record)
        if limits is not None:
            self._watched[container.id] = (container.record, *limits)
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
            for record, max_bytes, max_files in list(self._watched.values()):
                self._check(record, max_bytes, max_files)

    def _check(self, record: ContainerRecord, max_bytes: int, max_files: int) -> None:
        path = self._paths.log(record.id)
        try:
            if path.stat().st_size < max_bytes:
                return
            rotate(path, max_files)
            reopen_log(self._paths.bundle(record.id))
        except FileNotFoundError:
            return
        except (OSError, PortsideError) as error:
            log.warning("log of container %s is not rotated: %s", record.name, error)
