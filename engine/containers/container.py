"""One container in memory: its record, and who waits for it or is attached to it while the engine lives."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

from engine.errors import Conflict, NotFound, Unavailable
from engine.model.record import ContainerRecord
from engine.runtime.conmon import AttachSocket

RUNNING_STATES = frozenset({"running", "paused"})


class Container:
    """A container. ``record`` is what the store keeps; the rest lasts as long as the engine.

    ``lock`` orders start, exit and removal of this container. It is held across their I/O, against the
    rule, because each of them is one step for everyone else; every wait inside it is bounded.
    """

    def __init__(self, record: ContainerRecord) -> None:
        """Wrap a record."""
        self.record = record
        self.lock = asyncio.Lock()
        self.exec_ids: list[str] = []
        self.removing = False
        self.is_kept = False  # while a person restarts it: its end is not followed by its automatic removal
        self.pidfd = -1
        self.restart_timer: asyncio.Task[None] | None = None
        self.restart_delay_s = 0.0
        self.started = asyncio.Event()
        self.exited = asyncio.Event()
        self.removed = asyncio.Event()
        self._attaching: set[asyncio.Future[AttachSocket]] = set()
        self._exit_waiters: set[asyncio.Future[int]] = set()
        self._removal_waiters: set[asyncio.Future[int]] = set()

    @property
    def id(self) -> str:
        """The full ID."""
        return self.record.id

    @property
    def name(self) -> str:
        """The name without a slash."""
        return self.record.name

    @property
    def is_running(self) -> bool:
        """Whether its process lives (paused or not); a container between two restarts does not."""
        return self.record.state.status in RUNNING_STATES

    @property
    def removes_itself(self) -> bool:
        """Whether the end of its process is followed by its removal."""
        return self.record.host_config.auto_remove and not self.is_kept

    @property
    def is_starting(self) -> bool:
        """Whether its process is being made."""
        return self.record.state.status == "starting"

    @property
    def is_restarting(self) -> bool:
        """Whether it waits for its next start by the restart policy."""
        return self.record.state.status == "restarting"

    def require_running(self) -> None:
        """Raise Conflict with moby's text unless it runs."""
        if not self.is_running:
            raise Conflict(f"container {self.id} is not running", hint=f"start it: portside start {self.name}")

    def signal(self, number: int) -> bool:
        """Send a signal to the first process; false when it has gone."""
        try:
            if self.pidfd >= 0:
                signal.pidfd_send_signal(self.pidfd, number)
            elif self.record.state.pid > 0:
                os.kill(self.record.state.pid, number)
            else:
                return False
        except ProcessLookupError:
            return False
        return True

    def track(self, pid: int) -> bool:
        """Take a descriptor of the first process; false when it has gone."""
        self.untrack()
        try:
            self.pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return False
        return True

    def untrack(self) -> None:
        """Give the descriptor of the first process back."""
        if self.pidfd >= 0:
            with suppress(OSError):
                os.close(self.pidfd)
            self.pidfd = -1

    def next_exit(self) -> asyncio.Future[int]:
        """Return a future of the exit code of the next exit; cancel it when it is no longer wanted."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._exit_waiters.add(future)
        future.add_done_callback(self._exit_waiters.discard)
        return future

    def announce_exit(self, exit_code: int) -> None:
        """Wake everyone who waits for an exit."""
        for future in list(self._exit_waiters):
            if not future.done():
                future.set_result(exit_code)

    def next_removal(self) -> asyncio.Future[int]:
        """Return a future of the exit code, known when the container is removed; it fails when a removal fails."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._removal_waiters.add(future)
        future.add_done_callback(self._removal_waiters.discard)
        return future

    def announce_removal(self) -> None:
        """Wake everyone who waits for the removal."""
        self.removed.set()
        for future in list(self._removal_waiters):
            if not future.done():
                future.set_result(self.record.state.exit_code)

    def fail_removal(self, error: BaseException) -> None:
        """Tell everyone who waits for the removal that it has failed."""
        for future in list(self._removal_waiters):
            if not future.done():
                future.set_exception(Unavailable(str(error)))

    def next_attachment(self) -> asyncio.Future[AttachSocket]:
        """Return a future of a connection to the next process, made before its program runs."""
        future: asyncio.Future[AttachSocket] = asyncio.get_running_loop().create_future()
        self._attaching.add(future)
        future.add_done_callback(self._attaching.discard)
        return future

    def open_attachments(self, bundle: Path) -> None:
        """Connect everyone who waits, between the runtime's create and its start."""
        for future in list(self._attaching):
            if future.done():
                continue
            try:
                future.set_result(AttachSocket.connect(bundle))
            except NotFound as error:
                future.set_exception(error)

    def drop_attachments(self, reason: str) -> None:
        """Tell everyone who waits that there will be no process."""
        for future in list(self._attaching):
            if not future.done():
                future.set_exception(NotFound(reason))
