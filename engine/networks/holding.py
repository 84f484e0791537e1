"""The engine's side of the process that holds published ports: binding, handing over, taking back.

Ports are bound here, at once, so that a taken one is known before anything else happens; then the
sockets go to the helper (``portholder.py``), which lives on without the engine. It is started with the
first port and ended when there has been none for a while. Knows no firewall and no container record.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from pathlib import Path

from engine.errors import NotSupported, PortsideError, Unavailable
from engine.networks import portholder
from engine.networks.companion import Companion
from engine.networks.ports import PublishedPort

_log = logging.getLogger(__name__)
_FDS_A_PACKET = 200
_ANSWER_TIMEOUT_S = 3.0
_IDLE_S = 30.0
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


class PortHolder:
    """The process that holds ports, started when it is first needed. No call blocks but its start."""

    def __init__(self, folder: Path) -> None:
        """``folder`` is where its socket lies."""
        self._process = Companion(folder, _SOCKET_NAME, portholder.__file__, self._hear, self._lost)
        self._held: dict[str, list[PublishedPort]] = {}
        self._drops: dict[str, list[asyncio.Future[None]]] = {}
        self._listing: asyncio.Future[dict[str, set[PublishedPort]]] | None = None
        self._listed: dict[str, set[PublishedPort]] = {}
        self._idle: asyncio.TimerHandle | None = None

    # What the manager asks for

    def hold(self, key: str, ports: Sequence[PublishedPort], sockets: Sequence[socket.socket]) -> None:
        """Hand over bound sockets under a key; they are closed here once they are on their way."""
        self._held.setdefault(key, []).extend(ports)
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        self._process.connect_or_start()
        for at in range(0, len(ports), _FDS_A_PACKET):
            some = ports[at : at + _FDS_A_PACKET]
            lines = [_line_of(port) for port in some]
            data = "\n".join([f"hold {key}", *lines]).encode()
            self._process.send(data, sockets[at : at + _FDS_A_PACKET])

    async def drop(self, key: str) -> None:
        """Free the ports of a key; returns when they can be bound again."""
        if self._held.pop(key, None) is None:
            return
        await self._drop_in_helper(key)
        if not self._held:
            self._wait_for_idleness()

    async def _drop_in_helper(self, key: str) -> None:
        if not self._process.is_connected:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._drops.setdefault(key, []).append(done)
        self._process.send(f"drop {key}".encode())
        try:
            await asyncio.wait_for(done, _ANSWER_TIMEOUT_S)
        except TimeoutError:
            _log.warning("the process that holds ports does not answer: it is started anew")
            self._process.kill()
            self._lost()

    async def restore(self, wanted: dict[str, list[PublishedPort]]) -> list[PublishedPort]:
        """At start: take over a helper that runs, free what is not wanted, hold what is missing.

        Returns the ports that somebody else has taken meanwhile.
        """
        held = await self._list() if self._process.connect() else {}
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
        if not self._held:
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
        if self._idle is not None:
            self._idle.cancel()
        if not keep:
            self._quit()
        self._process.close()
        self._settle()

    # The process

    def _wait_for_idleness(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(_IDLE_S, self._quit_if_idle)

    def _quit_if_idle(self) -> None:
        self._idle = None
        if not self._held:
            self._quit()

    def _quit(self) -> None:
        self._process.quit(b"quit")
        self._settle()

    def _settle(self) -> None:
        """Let go whoever waits for an answer: its process is gone, and its sockets with it."""
        for futures in self._drops.values():
            for future in futures:
                if not future.done():
                    future.set_result(None)
        self._drops.clear()
        if self._listing is not None and not self._listing.done():
            self._listing.set_result(self._listed)

    def _lost(self) -> None:
        """The helper has died: its ports are held again by a new one."""
        self._settle()
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

    def _hear(self, data: bytes) -> None:
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
        self._process.send(b"list")
        try:
            return await asyncio.wait_for(self._listing, _ANSWER_TIMEOUT_S)
        except TimeoutError:
            _log.warning("the process that holds ports does not answer")
            self._process.disconnect()
            return {}
        finally:
            self._listing = None


def _line_of(port: PublishedPort) -> str:
    return f"{port.protocol} {port.host_address} {port.host_port} {port.container_address} {port.container_port}"


def _parse_line(line: str) -> PublishedPort:
    protocol, host, host_port, address, container_port = line.split(" ")
    return PublishedPort(protocol, ip_address(host), int(host_port), ip_address(address), int(container_port))
