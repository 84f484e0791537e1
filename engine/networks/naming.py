"""The engine's side of the name server that containers on networks of their own have at 127.0.0.11.

Makes the two sockets and the translation of port 53 in a container's network namespace and hands them to
the process that answers (``resolver.py``), which lives on without the engine. It is started with the first
container that needs it and ended when there has been none for a while. Knows no network and no record.
"""

from __future__ import annotations

import asyncio
import logging
import marshal
import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import Conflict, PortsideError, Unavailable
from engine.networks import resolver
from engine.networks.companion import Companion
from engine.networks.namesockets import NAME_SERVER, open_sockets

if TYPE_CHECKING:
    from engine.networks.nameserver.zones import EndpointState, State

_log = logging.getLogger(__name__)
Address = IPv4Address | IPv6Address

__all__ = ["NAME_SERVER", "ContainerNames", "EndpointNames", "NameService", "RunningNames", "Upstream"]
_SOCKET_NAME = "names.sock"
_UPSTREAMS = 3
_PART_BYTES = 30_000
_OPENERS = 4
_ANSWER_TIMEOUT_S = 3.0
_IDLE_S = 30.0
_RESTART_S = 1.0


@dataclass(frozen=True)
class EndpointNames:
    """What one endpoint of a container contributes to the names of its network, and what it adds for itself.

    ``names`` are without dots of the network (``web``, aliases, short ID, host name, in this order); the
    first is told by reverse look-ups, as ``web.NETWORK``. ``links`` maps an alias that only this container
    knows to a name in the same network. Upper and lower case are the same everywhere.
    """

    network_id: str
    network_name: str
    addresses: tuple[Address, ...]
    names: tuple[str, ...]
    links: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Upstream:
    """A server that is asked for names that no network has; ``from_host`` in the host's namespace.

    As with Docker, those of the host's resolv.conf are asked from the host, those that a user gave
    (``--dns``, daemon.json) from the container.
    """

    address: Address
    from_host: bool
    port: int = 53


@dataclass(frozen=True)
class ContainerNames:
    """All that the name server knows of a container.

    ``endpoints`` in the order in which they are searched: those on user-defined networks only. ``upstreams``
    (the first three count). ``forwards`` is False when no network of the container leads outside: then
    servers are not asked from the host. ``ndots_set``: the resolv.conf had an ``ndots`` of its own, so that
    names without a dot are not forwarded.
    """

    endpoints: tuple[EndpointNames, ...]
    upstreams: tuple[Upstream, ...] = ()
    forwards: bool = True
    ndots_set: bool = False


@dataclass(frozen=True)
class RunningNames:
    """A running container whose names are wanted: ``netns`` is a path of its namespace (``/proc/PID/ns/net``)."""

    netns: Path
    names: ContainerNames


@dataclass
class _Member:
    """A container that has its name server. ``namespace`` is ours to close, ``ports`` are those of its sockets."""

    names: ContainerNames
    namespace: int
    inode: int
    ports: tuple[int, int] = (0, 0)


class NameService:
    """The process that answers, and what it is to know. Synchronous calls only note what is sent."""

    def __init__(self, folder: Path) -> None:
        """Touch nothing; ``folder`` is where the process's socket will lie (the exec root)."""
        self._members: dict[str, _Member] = {}
        self._joining: dict[str, object] = {}
        self._process = Companion(folder, _SOCKET_NAME, resolver.__file__, self._hear, self._lost, is_urgent=True)
        self._told: set[str] = set()  # what the present process serves
        self._openers = asyncio.Semaphore(_OPENERS)
        self._listed: dict[str, int] = {}
        self._listing: asyncio.Future[int] | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._recovery: asyncio.Task[None] | None = None
        self._closed = False

    # What the networks ask for

    async def restore(self, wanted: Mapping[str, RunningNames]) -> None:
        """At start: take over a process that runs, drop what is not wanted, give it what is missing or has changed.

        Starts a process only when something is wanted. A namespace that is gone is left out, with a warning.
        """
        for container_id, running in wanted.items():
            try:
                namespace = os.open(running.netns, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                _log.warning("container %s has no names: its namespace is gone: %s", container_id[:12], error.strerror)
                continue
            self._members[container_id] = _Member(running.names, namespace, os.fstat(namespace).st_ino)
        present = await self._list() if self._process.connect() else {}
        for container_id in present.keys() - self._members.keys():
            self._send("leave", container_id)
        if not self._members:
            self._process.quit(_pack("quit")[0])
            return
        for container_id, member in self._members.items():
            if present.get(container_id) == member.inode:
                self._told.add(container_id)
                self._send("know", container_id, _state_of(member.names))
        await self._tell(self._untold())

    async def join(self, container_id: str, netns_fd: int, names: ContainerNames) -> None:
        """Give a container its name server, before its process starts; loopback must be up in the namespace.

        ``netns_fd`` is only borrowed. When this returns a query is answered (it may wait until the process
        has started). A second call replaces the first. Raises Unavailable or NotSupported; then nothing is
        left of it. When cancelled, ``leave`` must follow.
        """
        self.leave(container_id)
        token = self._joining[container_id] = object()
        try:
            namespace = os.dup(netns_fd)
        except OSError as error:
            raise Unavailable(f"cannot make a name server for the container: {error.strerror}") from error
        member = _Member(names, namespace, os.fstat(namespace).st_ino)
        try:
            sockets = await self._open(member, fresh=True)
            try:
                self._check_joining(container_id, token)
                self._cancel_idle()
                self._process.connect_or_start()
            except BaseException:
                _close_all(sockets)
                raise
        except BaseException:
            os.close(namespace)
            if self._joining.get(container_id) is token:
                del self._joining[container_id]
            raise
        del self._joining[container_id]
        self._members[container_id] = member
        self._tell_one(container_id, member, sockets)
        self._recover_if_needed()

    def _check_joining(self, container_id: str, token: object) -> None:
        if self._joining.get(container_id) is not token:
            raise Conflict("the container was taken down while its name server was made")

    def update(self, container_id: str, names: ContainerNames) -> None:
        """Replace what is known of a container (a network connected or left, a rename); unknown ones are no error.

        No query is lost meanwhile.
        """
        member = self._members.get(container_id)
        if member is not None and member.names != names:
            member.names = names
            self._send("know", container_id, _state_of(names))

    def leave(self, container_id: str) -> None:
        """Forget a container and let go of its namespace; one that has none is no error."""
        self._joining.pop(container_id, None)
        member = self._members.pop(container_id, None)
        if member is None:
            return
        os.close(member.namespace)
        self._told.discard(container_id)
        self._send("leave", container_id)
        if not self._members:
            self._cancel_idle()
            self._idle = asyncio.get_running_loop().call_later(_IDLE_S, self._quit_if_idle)

    def close(self, *, keep: bool) -> None:
        """Let go of the process: it lives on with what it has when ``keep``, else it ends."""
        self._closed = True
        self._cancel_idle()
        if self._recovery is not None:
            self._recovery.cancel()
        if not keep:
            self._process.quit(_pack("quit")[0])
        self._process.close()
        for member in self._members.values():
            os.close(member.namespace)
        self._members.clear()

    # The process

    def _cancel_idle(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _quit_if_idle(self) -> None:
        self._idle = None
        if not self._members and not self._joining:
            self._process.quit(_pack("quit")[0])

    def _send(self, *command: object, sockets: list[socket.socket] | None = None) -> None:
        *parts, last = _pack(*command)
        for part in parts:
            self._process.send(part)
        self._process.send(last, sockets or ())

    def _hear(self, packet: bytes) -> None:
        verb, value = marshal.loads(packet)
        if verb == "has":
            self._listed.update(value)
        elif verb == "end" and self._listing is not None and not self._listing.done():
            self._listing.set_result(value)
        elif verb == "trouble":
            _log.warning("the name server had an error: %s", value)

    async def _list(self) -> dict[str, int]:
        """Return what a process of another engine serves; one that cannot be understood is ended."""
        self._listed = {}
        self._listing = asyncio.get_running_loop().create_future()
        self._send("list")
        try:
            version = await asyncio.wait_for(self._listing, _ANSWER_TIMEOUT_S)
        except TimeoutError:
            _log.warning("the name server does not answer: it is started anew")
            self._process.kill()
            return {}
        finally:
            self._listing = None
        if version != resolver.VERSION:
            self._process.quit(_pack("quit")[0])
            return {}
        return self._listed

    def _lost(self) -> None:
        """The process has died: another gets all that it knew."""
        if self._listing is not None and not self._listing.done():
            self._listing.set_result(resolver.VERSION - 1)
            return
        self._told.clear()
        if self._members and not self._closed:
            _log.warning("the name server has died: it is started anew")
            self._recover_if_needed()

    def _untold(self) -> list[str]:
        return [container_id for container_id in self._members if container_id not in self._told]

    def _recover_if_needed(self) -> None:
        if self._untold() and not self._closed and (self._recovery is None or self._recovery.done()):
            self._recovery = asyncio.get_running_loop().create_task(self._recover())

    async def _recover(self) -> None:
        while untold := self._untold():
            try:
                await self._tell(untold)
            except PortsideError as error:
                _log.warning("the name server cannot be started: %s", error.message)
            await asyncio.sleep(_RESTART_S)  # one that dies at once must not be started all the time

    async def _tell(self, container_ids: Iterable[str]) -> None:
        """Give running containers new sockets on the ports that the old ones had, so that rules stay."""
        work = [self._open_again(container_id) for container_id in container_ids]
        if work:
            self._process.connect_or_start()
            await asyncio.gather(*work)

    async def _open_again(self, container_id: str) -> None:
        member = self._members.get(container_id)
        if member is None:
            return
        try:
            sockets = await self._open(member, fresh=False)
        except PortsideError as error:
            _log.warning("container %s has no names: %s", container_id[:12], error.message)
            self._told.add(container_id)  # nothing more can be done
            return
        if self._members.get(container_id) is member:
            self._tell_one(container_id, member, sockets)
        else:
            _close_all(sockets)

    def _tell_one(self, container_id: str, member: _Member, sockets: list[socket.socket]) -> None:
        if self._process.is_connected:
            self._told.add(container_id)
        self._send("join", container_id, member.inode, _state_of(member.names), sockets=sockets)

    async def _open(self, member: _Member, *, fresh: bool) -> list[socket.socket]:
        """Return the two sockets of a container, with the rules that lead to them in place."""
        async with self._openers:
            sockets = await open_sockets(member.namespace, member.ports, fresh=fresh)
        member.ports = (sockets[0].getsockname()[1], sockets[1].getsockname()[1])
        return sockets


def _close_all(sockets: Iterable[socket.socket]) -> None:
    for held in sockets:
        held.close()


def _pack(*command: object) -> list[bytes]:
    """Return a command as packets."""
    data = marshal.dumps(command, 2)  # type: ignore[arg-type]
    parts = [data[at : at + _PART_BYTES] for at in range(0, len(data), _PART_BYTES)]
    return [b"+" + part for part in parts[:-1]] + [b"." + parts[-1]]


def _state_of(names: ContainerNames) -> State:
    """Return what the process is told of a container."""
    upstreams = [
        (str(server.address), server.port, server.from_host)
        for server in names.upstreams
        if server.from_host or server.address != NAME_SERVER
    ]
    endpoints = tuple(_endpoint_state(endpoint) for endpoint in names.endpoints)
    return endpoints, tuple(upstreams[:_UPSTREAMS]), names.forwards, names.ndots_set


def _endpoint_state(endpoint: EndpointNames) -> EndpointState:
    return (
        _encode(endpoint.network_id),
        _encode(endpoint.network_name),
        tuple(address.packed for address in endpoint.addresses if address.version == 4),
        tuple(address.packed for address in endpoint.addresses if address.version == 6),
        tuple(dict.fromkeys(_encode(name) for name in endpoint.names if name)),
        tuple((_encode(alias), _encode(target)) for alias, target in endpoint.links),
    )


def _encode(name: str) -> bytes:
    return name.encode(errors="replace").lower().rstrip(b".")
