"""Sending logs on to syslog and journald: what ``logforwarder``, a process that outlives the engine, is told.

A container has a task from its start on; at its end the task gets links to the log's files, so that what is not sent
yet survives the container's removal. Without such containers there is no process.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from engine.containers.container import Container
from engine.containers.lifecycle import Observer
from engine.containers.logoptions import FORWARDED
from engine.containers.logreceivers import receiver_task
from engine.containers.paths import ContainerPaths
from engine.errors import InvalidArgument

log = logging.getLogger(__name__)

_AGAIN_S = 1.0
_PACKAGES = Path(__file__).parents[2]
_PROGRAM = """\
import sys
sys.path.insert(0, sys.argv[1])
from engine.containers.logforwarder import main
sys.exit(main(sys.argv[2]))
"""


class LogForwarding(Observer):
    """Gives tasks to the forwarder and keeps it alive while there are some."""

    def __init__(self, paths: ContainerPaths) -> None:
        """Nothing is made before a container needs it."""
        self._paths = paths
        self._folder = paths.data_root / "forwarding"
        self._process = -1
        self._timer: asyncio.TimerHandle | None = None

    def container_started(self, container: Container) -> None:
        """Begin to send a container's log on, if it is to be."""
        record = container.record
        try:
            task = receiver_task(record)
        except InvalidArgument as error:  # its socket has gone since the container started
            log.warning("log of container %s is not sent on: %s", record.name, error.message)
            return
        if task is None:
            return
        self._folder.mkdir(mode=0o700, exist_ok=True)
        shutil.rmtree(self._folder / record.id, ignore_errors=True)
        self._write(record.id, {**task, "log": str(self._paths.log(record.id)), "ended": False})
        self._ensure()

    def container_stopped(self, container: Container) -> None:
        """Say that no more lines come, and keep those that are not sent yet."""
        if container.record.host_config.log_config.type in FORWARDED:
            self._end(container.id)

    def restore(self, running: Iterable[str]) -> None:
        """At the engine's start: end the tasks of containers that do not run, and start the process if need be."""
        if not self._folder.is_dir():
            return
        alive = set(running)
        tasks = {entry.stem for entry in self._folder.glob("*.task")}
        for container_id in tasks - alive:
            self._end(container_id)
        if tasks:
            self._ensure()

    def _end(self, container_id: str) -> None:
        try:
            task = json.loads((self._folder / f"{container_id}.task").read_text(errors="surrogateescape"))
        except (OSError, ValueError):
            return
        if task.get("ended"):
            return
        path = self._paths.log(container_id)
        links = self._folder / container_id
        links.mkdir(mode=0o700, exist_ok=True)
        for entry in path.parent.glob(f"{path.name}*"):
            with suppress(FileExistsError, FileNotFoundError):
                os.link(entry, links / entry.name)
        self._write(container_id, {**task, "log": str(links / path.name), "ended": True})

    def _write(self, container_id: str, task: dict[str, Any]) -> None:
        partial = self._folder / f".{container_id}"
        partial.write_text(json.dumps(task), errors="surrogateescape")
        partial.replace(self._folder / f"{container_id}.task")

    def _ensure(self) -> None:
        """Start the process unless it is there already, and watch it."""
        if self._process >= 0:
            return
        pid = self._present() or self._start()
        if pid:
            with suppress(OSError):  # it has just ended
                self._process = os.pidfd_open(pid)
                asyncio.get_running_loop().add_reader(self._process, self._ended, pid)

    def _present(self) -> int:
        """Return the process ID of the forwarder that an older engine has started, 0 when there is none."""
        try:
            lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return 0
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(lock, 20, 0)
            return int(text) if text.isdigit() else 0
        finally:
            os.close(lock)
        return 0

    def _start(self) -> int:
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        try:
            return os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", "-c", _PROGRAM, str(_PACKAGES), str(self._folder)],
                {"LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
                file_actions=[(os.POSIX_SPAWN_DUP2, null, target) for target in (0, 1, 2)],
                setsid=True,
                setsigdef=(signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
            )
        except OSError as error:
            log.warning("logs cannot be sent on: %s", error.strerror)
            return 0
        finally:
            os.close(null)

    def _ended(self, pid: int) -> None:
        asyncio.get_running_loop().remove_reader(self._process)
        os.close(self._process)
        self._process = -1
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        if any(self._folder.glob("*.task")):  # it was killed
            self._timer = asyncio.get_running_loop().call_later(_AGAIN_S, self._ensure)

    def close(self) -> None:
        """Let the process go on without this engine."""
        if self._timer is not None:
            self._timer.cancel()
        if self._process >= 0:
            asyncio.get_running_loop().remove_reader(self._process)
            os.close(self._process)
            self._process = -1
