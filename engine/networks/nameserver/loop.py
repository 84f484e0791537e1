"""Sockets that are waited for and deadlines that pass, without asyncio. Knows no DNS."""

from __future__ import annotations

import _socket
import select
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Expiring(Protocol):
        """What a deadline is for."""

        def expire(self) -> None:
            """Called when its time has passed."""


IN, OUT, GONE = select.EPOLLIN, select.EPOLLOUT, select.EPOLLHUP | select.EPOLLERR
_RETRY_S = 0.5
_AT_ONCE = 64


class Deadlines:
    """Things that all have the same time left when they are put in: the first is always the next."""

    def __init__(self, seconds: float) -> None:
        """None yet."""
        self._seconds = seconds
        self._due: dict[Expiring, float] = {}

    def restart(self, item: Expiring) -> None:
        """Give something its full time (again)."""
        self._due.pop(item, None)
        self._due[item] = monotonic() + self._seconds

    def stop(self, item: Expiring) -> None:
        """Forget something."""
        self._due.pop(item, None)

    def pass_by(self) -> float:
        """Expire what is due; return the seconds until the next, -1 for never."""
        while self._due:
            item, due = next(iter(self._due.items()))
            left = due - monotonic()
            if left > 0:
                return left
            del self._due[item]
            item.expire()
        return -1.0


class Loop:
    """Sockets waited for, with what to call for each."""

    def __init__(self, complain: Callable[[Exception], None]) -> None:
        """Nothing yet; ``complain`` hears of errors that nobody expected."""
        self._epoll = select.epoll()
        self._calls: dict[int, Callable[[int], None]] = {}
        self._resting: list[tuple[float, int]] = []
        self._complain = complain
        self.deadlines: list[Deadlines] = []

    def deadlines_of(self, seconds: float) -> Deadlines:
        """Return deadlines that this loop watches."""
        made = Deadlines(seconds)
        self.deadlines.append(made)
        return made

    def watch(self, raw: _socket.socket, mask: int, call: Callable[[int], None]) -> None:
        """Call ``call(events)`` when a socket is ready."""
        fd = raw.fileno()
        if fd in self._calls:
            self._epoll.modify(fd, mask)
        else:
            self._epoll.register(fd, mask)
        self._calls[fd] = call

    def close(self, raw: _socket.socket) -> None:
        """Wait for a socket no more and close it."""
        fd = raw.fileno()
        if fd >= 0 and self._calls.pop(fd, None) is not None:
            self._epoll.unregister(fd)
        raw.close()

    def rest(self, raw: _socket.socket) -> None:
        """Leave a listener alone for a moment: there are no descriptors for what it has."""
        fd = raw.fileno()
        self._epoll.modify(fd, 0)
        self._resting.append((monotonic() + _RETRY_S, fd))

    def turn(self, timeout_s: float = -1.0) -> None:
        """Wait once and call what is ready or due."""
        for deadlines in self.deadlines:
            left = deadlines.pass_by()
            if left >= 0 and (timeout_s < 0 or left < timeout_s):
                timeout_s = left
        if self._resting:
            timeout_s = min(timeout_s, _RETRY_S) if timeout_s >= 0 else _RETRY_S
            self._wake_resting()
        for fd, events in self._epoll.poll(timeout_s, _AT_ONCE):
            call = self._calls.get(fd)
            if call is None:
                continue
            try:
                call(events)
            except Exception as error:  # noqa: BLE001 - nothing that a container sends may end the process
                self._complain(error)

    def _wake_resting(self) -> None:
        now = monotonic()
        for entry in [entry for entry in self._resting if entry[0] <= now]:
            self._resting.remove(entry)
            if entry[1] in self._calls:
                self._epoll.modify(entry[1], IN)


def nonblocking(raw: _socket.socket) -> _socket.socket:
    """Return the socket, never blocking."""
    raw.setblocking(False)
    return raw


def accept(listener: _socket.socket) -> _socket.socket | None:
    """Return the next connection; None when there is none any more."""
    try:
        fd, _ = listener._accept()  # type: ignore[attr-defined]
    except (BlockingIOError, ConnectionAbortedError):
        return None
    return nonblocking(_socket.socket(listener.family, listener.type, listener.proto, fd))
