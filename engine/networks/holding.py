"""The engine's side of the process that holds published ports: binding, handing over, taking back.

Ports are bound here, at once, so that a taken one is known before anything else happens; then the
sockets go to the helper (``portholder.py``), which lives on without the engine. It is started with the
first port and ended when there has been none for a while. Knows no firewall and no container record.
"""

from __future__ import annotations

import array
import asyncio
import errno
import logging
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from engine.errors import Internal, NotSupported, PortsideError, Unavailable
from engine.networks import portholder
from engine.networks.ports import PublishedPort

_log = logging.getLogger(__name__)
_FDS_A_PACKET = 200
_ANSWER_TIMEOUT_S = 3.0
_IDLE_S = 30.0
_REAP_S = 0.2
_SOCKET_NAME = "ports.sock"


class PortBusyError(Exception):
    """A port could not be bound; ``message`` is what moby says."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def bind(port: PublishedPort, *, ranged: bool = False) -> socket.socket:
    """Return a socket bound to a host port, not listening yet.

    Raises PortBusyError when it is taken or may not be used, NotSupported for a protocol that the kernel lacks,
    Unavailable when the engine may open no more sockets.
    """
    family = socket.AF_INET if port.host_address.version == 4 else socket.AF_INET6
    kind = socket.SOCK_DGRAM if port.protocol == "udp" else socket.SOCK_STREAM
    number = socket.IPPROTO_SCTP if port.protocol == "sctp" else 0
    try:
        held = socket.socket(family, kind | socket.SOCK_CLOEXEC, number)
    except OSError as error:
        if error.errno in (errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.ESOCKTNOSUPPORT):
            raise NotSupported(f"port {port} cannot be published: the kernel has no {port.protocol} sockets") from error
        raise Unavailable(f"cannot hold port {port}: {error.strerror}", hint="raise the limit of open files") from error
    try:
        if port.protocol == "tcp":
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        held.bind((str(port.host_address), port.host_port))
        if port.protocol == "tcp":
            # SO_REUSEADDR lets two sockets be bound to one port as long as neither listens.
            held.listen(0)
    except OSError as error:
        held.close()
        what = f"failed to bind host port {port.host_port} for" if ranged else "failed to bind host port for"
        reason = _GO_WORDS.get(error.errno or 0, (error.strerror or str(error)).lower())
        raise PortBusyError(f"{what} {port}: {reason}") from error
    return held


_GO_WORDS = {
    errno.EADDRINUSE: "address already in use",
    errno.EADDRNOTAVAIL: "cannot assign requested address",
    errno.EACCES: "permission denied",
}


@dataclass
class _Batch:
    """A packet that waits to be sent, with the sockets that go along."""

    data: bytes
    sockets: list[socket.socket] = field(default_factory=list)


class PortHolder:
    """The helper of one engine. Used from the event loop only; nothing here blocks but the start of the process."""

    def __init__(self, folder: Path, python: str = sys.executable) -> None:
        """``folder`` is where its socket lies."""
        self._folder = folder
        self._python = python
        self._held: dict[str, list[PublishedPort]] = {}
        self._control: socket.socket | None = None
        self._pid = 0
        self._queue: deque[_Batch] = deque()
        self._writing = False
        self._drops: dict[str, list[asyncio.Future[None]]] = {}
        self._listing: asyncio.Future[dict[str, set[PublishedPort]]] | None = None
        self._listed: dict[str, set[PublishedPort]] = {}
        self._idle: asyncio.TimerHandle | None = None
        self._reaping: asyncio.TimerHandle | None = None
        self._closed = False

    # What the manager asks for

    def hold(self, key: str, ports: Sequence[PublishedPort], sockets: Sequence[socket.socket]) -> None:
        """Hand over bound sockets under a key; they are closed here once they are on their way."""
        self._held.setdefault(key, []).extend(ports)
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        self._connect_or_start()
        for at in range(0, len(ports), _FDS_A_PACKET):
            some = ports[at : at + _FDS_A_PACKET]
            lines = [_line_of(port) for port in some]
            self._send(_Batch("\n".join([f"hold {key}", *lines]).encode(), list(sockets[at : at + _FDS_A_PACKET])))

    async def drop(self, key: str) -> None:
        """Free the ports of a key; returns when they can be bound again."""
        if self._held.pop(key, None) is None:
            return
        await self._drop_in_helper(key)
        if not self._held:
            self._wait_for_idleness()

    async def _drop_in_helper(self, key: str) -> None:
        if self._control is None:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._drops.setdefault(key, []).append(done)
        self._send(_Batch(f"drop {key}".encode()))
        try:
            await asyncio.wait_for(done, _ANSWER_TIMEOUT_S)
        except TimeoutError:
            _log.warning("the process that holds ports does not answer: it is started anew")
            self._kill()

    async def restore(self, wanted: dict[str, list[PublishedPort]]) -> list[PublishedPort]:
        """At start: take over a helper that runs, free what is not wanted, hold what is missing.

        Returns the ports that somebody else has taken meanwhile.
        """
        held = await self._list() if self._connect() else {}
        for key in held.keys() - wanted.keys():
            await self._drop_in_helper(key)
        lost: list[PublishedPort] = []
        for key, ports in wanted.items():
            have = held.get(key, set())
            if have - set(ports):
                await self._drop_in_helper(key)
                have = set()
            self._held[key] = [port for port in ports if port in have]
            lost += self._hold_again(key, [port for port in ports if port not in have])
        if not self._held and self._control is not None:
            self._quit()
        return lost

    def _hold_again(self, key: str, ports: Iterable[PublishedPort]) -> list[PublishedPort]:
        bound: list[PublishedPort] = []
        sockets: list[socket.socket] = []
        lost: list[PublishedPort] = []
        for port in ports:
            try:
                sockets.append(bind(port))
                bound.append(port)
            except (PortBusyError, PortsideError):
                lost.append(port)
        if bound:
            self.hold(key, bound, sockets)
        return lost

    def close(self, *, keep: bool) -> None:
        """Let go of the helper: it lives on with what it holds when ``keep``, else it ends."""
        self._closed = True
        for timer in (self._idle, self._reaping):
            if timer is not None:
                timer.cancel()
        if not keep:
            self._quit()
        self._disconnect()
        if self._pid:
            with suppress(ChildProcessError):
                os.waitpid(self._pid, os.WNOHANG)

    # The process

    def _connect(self) -> bool:
        """Connect to a helper that runs; False when there is none."""
        control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        try:
            folder = os.open(self._folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                control.connect(f"/proc/self/fd/{folder}/{_SOCKET_NAME}")
            finally:
                os.close(folder)
        except OSError:
            control.close()
            return False
        control.setblocking(False)
        self._control = control
        asyncio.get_running_loop().add_reader(control, self._read)
        return True

    def _connect_or_start(self) -> None:
        if self._control is not None or self._connect():
            return
        self._start()
        if not self._connect():
            raise Internal("the process that holds ports cannot be reached")

    def _start(self) -> None:
        # The socket is made here, so that it can be connected to while the process still starts.
        self._folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        folder = os.open(self._folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        try:
            (self._folder / _SOCKET_NAME).unlink(missing_ok=True)
            listener.bind(f"/proc/self/fd/{folder}/{_SOCKET_NAME}")
            (self._folder / _SOCKET_NAME).chmod(0o600)
            listener.listen(8)
            actions = [(os.POSIX_SPAWN_DUP2, null, target) for target in (0, 1, 2)]
            actions.append((os.POSIX_SPAWN_DUP2, listener.fileno(), 3))
            self._pid = os.posix_spawn(
                self._python,
                [self._python, "-I", "-S", portholder.__file__],
                {"LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
                file_actions=actions,
                setsid=True,
                setsigdef=(signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
            )
        except OSError as error:
            raise Unavailable(f"cannot start the process that holds ports: {error.strerror}") from error
        finally:
            os.close(null)
            os.close(folder)
            listener.close()

    def _wait_for_idleness(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(_IDLE_S, self._quit_if_idle)

    def _quit_if_idle(self) -> None:
        self._idle = None
        if not self._held:
            self._quit()

    def _quit(self) -> None:
        if self._control is not None:
            self._send(_Batch(b"quit"))
            self._disconnect()
            with suppress(OSError):
                (self._folder / _SOCKET_NAME).unlink(missing_ok=True)
            self._reap()

    def _kill(self) -> None:
        """End a helper that does not answer; the sockets close with it and are bound anew."""
        if self._control is not None:
            credentials = self._control.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            peer = int.from_bytes(credentials[:4], sys.byteorder)
            # The peer's credentials are those of whoever listened first, which may be an engine.
            if self._pid and peer in (self._pid, os.getpid()):
                with suppress(ProcessLookupError):
                    os.kill(self._pid, signal.SIGKILL)
        self._lost()

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

    def _disconnect(self) -> None:
        control, self._control = self._control, None
        if control is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(control)
            loop.remove_writer(control)
            control.close()
        self._writing = False
        for batch in self._queue:
            for held in batch.sockets:
                held.close()
        self._queue.clear()
        for futures in self._drops.values():
            for future in futures:
                if not future.done():
                    future.set_result(None)
        self._drops.clear()
        if self._listing is not None and not self._listing.done():
            self._listing.set_result(self._listed)

    def _lost(self) -> None:
        """The helper has died: its ports are held again by a new one."""
        self._disconnect()
        self._reap()
        held, self._held = self._held, {}
        for key, ports in held.items():
            try:
                lost = self._hold_again(key, ports)
            except PortsideError as error:
                _log.warning("published ports are not held: %s", error.message)
                self._held[key] = ports
                continue
            for port in lost:
                _log.warning("port %s could not be held again: it is taken", port)

    # The wire

    def _send(self, batch: _Batch) -> None:
        self._queue.append(batch)
        if not self._writing:
            self._flush()

    def _flush(self) -> None:
        control = self._control
        loop = asyncio.get_running_loop()
        while self._queue and control is not None:
            batch = self._queue[0]
            fds = array.array("i", [held.fileno() for held in batch.sockets])
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)] if fds else []
            try:
                control.sendmsg([batch.data], rights)
            except BlockingIOError:
                if not self._writing:
                    self._writing = True
                    loop.add_writer(control, self._flush)
                return
            except OSError:
                loop.call_soon(self._lost_if, control)
                return
            self._queue.popleft()
            for held in batch.sockets:
                held.close()
        if self._writing and control is not None:
            self._writing = False
            loop.remove_writer(control)

    def _lost_if(self, control: socket.socket) -> None:
        if self._control is control:
            self._lost()

    def _read(self) -> None:
        control = self._control
        if control is None:
            return
        try:
            data = control.recv(portholder.CONTROL_LIMIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lost()
            return
        head, *lines = data.decode().splitlines()
        verb, _, key = head.partition(" ")
        if verb == "dropped":
            futures = self._drops.get(key, [])
            if futures:
                done = futures.pop(0)
                if not done.done():
                    done.set_result(None)
            if not futures:
                self._drops.pop(key, None)
        elif verb == "held":
            self._listed.setdefault(key, set()).update(_parse_line(line) for line in lines)
        elif verb == "end" and self._listing is not None and not self._listing.done():
            self._listing.set_result(self._listed)

    async def _list(self) -> dict[str, set[PublishedPort]]:
        self._listed = {}
        self._listing = asyncio.get_running_loop().create_future()
        self._send(_Batch(b"list"))
        try:
            return await asyncio.wait_for(self._listing, _ANSWER_TIMEOUT_S)
        except TimeoutError:
            _log.warning("the process that holds ports does not answer")
            self._disconnect()
            return {}
        finally:
            self._listing = None


def _line_of(port: PublishedPort) -> str:
    return f"{port.protocol} {port.host_address} {port.host_port} {port.container_address} {port.container_port}"


def _parse_line(line: str) -> PublishedPort:
    protocol, host, host_port, address, container_port = line.split(" ")
    return PublishedPort(protocol, ip_address(host), int(host_port), ip_address(address), int(container_port))
