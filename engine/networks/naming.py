"""The engine's side of the name server that containers on networks of their own have at 127.0.0.11.

Makes the two sockets and the translation of port 53 in a container's network namespace and hands them to
the process that answers (``resolver.py``), which lives on without the engine. It is started with the first
container that needs it and ended when there has been none for a while. Knows no network and no record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

Address = IPv4Address | IPv6Address

NAME_SERVER = IPv4Address("127.0.0.11")


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


class NameService:
    """The process that answers, and what it is to know. Synchronous calls only note what is sent."""

    def __init__(self, folder: Path) -> None:
        """Touch nothing; ``folder`` is where the process's socket will lie (the exec root)."""

    async def restore(self, wanted: Mapping[str, RunningNames]) -> None:
        """At start: take over a process that runs, drop what is not wanted, give it what is missing or has changed.

        Starts a process only when something is wanted. A namespace that is gone is left out, with a warning.
        """

    async def join(self, container_id: str, netns_fd: int, names: ContainerNames) -> None:
        """Give a container its name server, before its process starts; loopback must be up in the namespace.

        ``netns_fd`` is only borrowed. When this returns a query is answered (it may wait until the process
        has started). A second call replaces the first. Raises Unavailable or NotSupported; then nothing is
        left of it. When cancelled, ``leave`` must follow.
        """

    def update(self, container_id: str, names: ContainerNames) -> None:
        """Replace what is known of a container (a network connected or left, a rename); unknown ones are no error.

        No query is lost meanwhile.
        """

    def leave(self, container_id: str) -> None:
        """Forget a container and let go of its namespace; one that has none is no error."""

    def close(self, *, keep: bool) -> None:
        """Let go of the process: it lives on with what it has when ``keep``, else it ends."""
