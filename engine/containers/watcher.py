"""Seeing containers end: conmon leaves each one's exit code as a file in one folder."""

from __future__ import annotations

import logging

from engine.containers.failures import EXIT_LOST
from engine.containers.lifecycle import Lifecycle
from engine.containers.manager import ContainerManager
from engine.containers.paths import ContainerPaths
from engine.runtime.inotify import IN_CLOSE_WRITE, IN_MOVED_TO, Inotify, Watch

log = logging.getLogger(__name__)


class ExitWatcher:
    """Hands exits to the lifecycle."""

    def __init__(
        self, paths: ContainerPaths, manager: ContainerManager, lifecycle: Lifecycle, inotify: Inotify
    ) -> None:
        """Nothing is watched before ``start``."""
        self._paths = paths
        self._manager = manager
        self._lifecycle = lifecycle
        self._inotify = inotify
        self._watch: Watch | None = None

    def start(self) -> None:
        """Watch from now on, and look at what is there already."""
        self._watch = self._inotify.watch(self._paths.exits, IN_MOVED_TO | IN_CLOSE_WRITE, self._seen)
        for entry in list(self._paths.exits.iterdir()):
            self._seen(entry.name)

    def close(self) -> None:
        """Watch no more."""
        if self._watch is not None:
            self._watch.close()

    def _seen(self, name: str) -> None:
        container = self._manager.by_id(name)
        if container is None:
            return  # conmon's temporary name, or a container that is gone
        path = self._paths.exits / name
        try:
            text = path.read_text()
            time_ns = path.stat().st_mtime_ns
        except FileNotFoundError:
            return
        try:
            exit_code = int(text)
        except ValueError:
            log.warning("container %s: unreadable exit code %r", container.name, text[:20])
            exit_code = EXIT_LOST
        self._lifecycle.spawn(
            self._lifecycle.handle_exit(container, exit_code, time_ns), f"exit of container {container.name}"
        )
