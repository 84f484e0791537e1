"""A small process of ours that outlives the engine: found again or started, spoken to, ended.

It listens on a SOCK_SEQPACKET socket in the exec root, which the engine makes before it starts the process,
so that both can be connected at once. Knows nothing of what is said.
"""

from __future__ import annotations

import array
import asyncio
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from engine.errors import Internal, Unavailable
from engine.runtime import syscalls

_REAP_S = 0.2
_DEATH_S = 2.0
_URGENT_BY = 5
_SLICE_NS = 100_000  # the least
_PACKET_LIMIT = 1 << 18


class Companion:
    """The way to one such process. All calls are from the loop's thread and none blocks but its start."""

    def __init__(
        self,
        folder: Path,
        name: str,
        program: str,
        hear: Callable[[bytes], None],
        lost: Callable[[], None],
        *,
        is_urgent: bool = False,
    ) -> None:
        """``folder/name`` is the socket, ``program`` a script; ``hear`` gets packets, ``lost`` its death.

        ``is_urgent`` for one that has little to do and is waited for: on a busy machine its turns come soon.
        """
        self._folder = folder
        self._name = name
        self._program = program
        self._hear = hear
        self._lost = lost
        self._is_urgent = is_urgent
        self._control: socket.socket | None = None
        self._pid = 0
        self._queue: deque[tuple[bytes, list[socket.socket]]] = deque()
        self._writing = False
        self._reaping: asyncio.TimerHandle | None = None
        self._dying: tuple[int, asyncio.TimerHandle] | None = None
        self._closed = False

    @property
    def is_connected(self) -> bool:
        """Whether there is a process to speak to."""
        return self._control is not None

    def connect(self) -> bool:
        """Connect to a process that runs; False when there is none."""
        control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        try:
            folder = os.open(self._folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                control.connect(f"/proc/self/fd/{folder}/{self._name}")
            finally:
                os.close(folder)
        except OSError:
            control.close()
            return False
        control.setblocking(False)
        self._control = control
        asyncio.get_running_loop().add_reader(control, self._read)
        return True

    def connect_or_start(self) -> None:
        """Have a process; raises Unavailable when it cannot be started.

        When the one before is just dying, ``lost`` is called first.
        """
        if self._dying is not None:
            self._hasten()
            with suppress(OSError):  # its socket may still take connections
                (self._folder / self._name).unlink(missing_ok=True)
            self._tell()
        if self._control is not None or self.connect():
            return
        self._start()
        if not self.connect():
            raise Internal(f"the process behind {self._name} cannot be reached")

    def _start(self) -> None:
        self._folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        folder = os.open(self._folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        try:
            (self._folder / self._name).unlink(missing_ok=True)
            listener.bind(f"/proc/self/fd/{folder}/{self._name}")
            (self._folder / self._name).chmod(0o600)
            listener.listen(8)
            actions = [(os.POSIX_SPAWN_DUP2, null, target) for target in (0, 1, 2)]
            actions.append((os.POSIX_SPAWN_DUP2, listener.fileno(), 3))
            self._pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", self._program, str(self._folder)],  # the folder says whose it is
                {"LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
                file_actions=actions,
                # A session of its own would make a scheduling group of it (autogroup), where priority means nothing.
                setpgroup=0,
                setsigdef=(signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
            )
        except OSError as error:
            raise Unavailable(f"cannot start the process behind {self._name}: {error.strerror}") from error
        finally:
            os.close(null)
            os.close(folder)
            listener.close()
        if self._is_urgent:
            with suppress(OSError):  # it serves all the same
                own = os.getpriority(os.PRIO_PROCESS, 0)
                os.setpriority(os.PRIO_PROCESS, self._pid, max(own - _URGENT_BY, -20))
                syscalls.set_time_slice(self._pid, _SLICE_NS)

    def send(self, data: bytes, sockets: Sequence[socket.socket] = ()) -> None:
        """Send a packet, with sockets that are closed here once they are on their way; dropped with no process."""
        if self._control is None:
            for held in sockets:
                held.close()
            return
        self._queue.append((data, list(sockets)))
        if not self._writing:
            self._flush()

    def quit(self, word: bytes) -> None:
        """Send the last word and let go of it; its socket goes."""
        if self._control is not None:
            self.send(word)
            self.disconnect()
            with suppress(OSError):
                (self._folder / self._name).unlink(missing_ok=True)
            self._reap()

    def kill(self) -> None:
        """End a process that does not answer."""
        if self._control is not None:
            victim = self._peer(self._control)
            if victim:
                with suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
        self.disconnect()
        with suppress(OSError):
            (self._folder / self._name).unlink(missing_ok=True)
        self._reap()

    def _peer(self, control: socket.socket) -> int:
        """Return the ID of the process: who listens, once it has begun to, and before that who made the socket."""
        credentials = control.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        peer = int.from_bytes(credentials[:4], sys.byteorder)
        return self._pid if peer == os.getpid() else peer

    def disconnect(self) -> None:
        """Let go of the process, which goes on; what was not sent is dropped."""
        control, self._control = self._control, None
        if control is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(control)
            loop.remove_writer(control)
            control.close()
        self._writing = False
        for _, sockets in self._queue:
            for held in sockets:
                held.close()
        self._queue.clear()

    def close(self) -> None:
        """Let go of it for good."""
        self._closed = True
        self.disconnect()
        self._stop_mourning()
        if self._reaping is not None:
            self._reaping.cancel()
        if self._pid:
            with suppress(ChildProcessError):
                os.waitpid(self._pid, os.WNOHANG)

    def _reap(self) -> None:
        self._reaping = None
        if not self._pid:
            return
        try:
            ended = os.waitpid(self._pid, os.WNOHANG)[0] != 0
        except ChildProcessError:
            ended = True
        if ended:
            self._pid = 0
        elif not self._closed:
            self._reaping = asyncio.get_running_loop().call_later(_REAP_S, self._reap)

    def _flush(self) -> None:
        control = self._control
        loop = asyncio.get_running_loop()
        while self._queue and control is not None:
            data, sockets = self._queue[0]
            fds = array.array("i", [held.fileno() for held in sockets])
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)] if fds else []
            try:
                control.sendmsg([data], rights)
            except BlockingIOError:
                if not self._writing:
                    self._writing = True
                    loop.add_writer(control, self._flush)
                return
            except OSError:
                loop.call_soon(self._end, control)
                return
            self._queue.popleft()
            for held in sockets:
                held.close()
        if self._writing and control is not None:
            self._writing = False
            loop.remove_writer(control)

    def _read(self) -> None:
        control = self._control
        if control is None:
            return
        try:
            data = control.recv(_PACKET_LIMIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._hear(data)
        else:
            self._end(control)

    def _end(self, control: socket.socket) -> None:
        """Tell of the death when it is complete: a process that is dying closes one socket after the other."""
        if self._control is not control:
            return
        peer = self._peer(control)
        self.disconnect()
        try:
            fd = os.pidfd_open(peer)
        except OSError:
            self._tell()
            return
        self._stop_mourning()
        loop = asyncio.get_running_loop()
        self._dying = (fd, loop.call_later(_DEATH_S, self._hasten))
        loop.add_reader(fd, self._tell)

    def _hasten(self) -> None:
        """End a process that let go of us and lives on: nobody knows any more what it has."""
        if self._dying is not None:
            with suppress(OSError):
                signal.pidfd_send_signal(self._dying[0], signal.SIGKILL)

    def _tell(self) -> None:
        self._stop_mourning()
        self._reap()
        self._lost()

    def _stop_mourning(self) -> None:
        dying, self._dying = self._dying, None
        if dying is not None:
            asyncio.get_running_loop().remove_reader(dying[0])
            dying[1].cancel()
            os.close(dying[0])
