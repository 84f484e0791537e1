"""Published ports: what was asked for, and which host ports are given out. Memory only, no I/O.

Which ports the rest of the host uses shows only when they are bound (``holding.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from engine.errors import Conflict, InvalidArgument, Unavailable
from engine.model.container import PortMap
from engine.networks.settings import ANYWHERE

Address = IPv4Address | IPv6Address
PROTOCOLS = ("tcp", "udp", "sctp")
DEFAULT_RANGE = (49153, 65535)
"""What Docker falls back to where the kernel does not tell its range of ephemeral ports."""

ANY4 = ANYWHERE
ANY6 = IPv6Address("::")


@dataclass(frozen=True)
class PortRequest:
    """One container port that is to be published on one or more host addresses, on the same host port.

    ``first`` to ``last`` is the range that the host port comes from; 0 for an ephemeral one.
    """

    protocol: str
    container_port: int
    addresses: tuple[Address, ...]
    first: int = 0
    last: int = 0

    @property
    def exact(self) -> bool:
        """Whether the host port was named."""
        return self.first != 0 and self.first == self.last


@dataclass(frozen=True)
class PublishedPort:
    """One container port as it is published on one host address."""

    protocol: str
    host_address: Address
    host_port: int
    container_address: Address
    container_port: int

    def __str__(self) -> str:
        """Return it as moby words it: ``0.0.0.0:8080:172.17.0.2:80/tcp``."""
        host = bracketed(self.host_address)
        inner = bracketed(self.container_address)
        return f"{host}:{self.host_port}:{inner}:{self.container_port}/{self.protocol}"


def opened_port(port: PublishedPort) -> PublishedPort:
    """Return a port as it is open at the container's own address, without a host port."""
    anywhere = ANY4 if port.container_address.version == 4 else ANY6
    return PublishedPort(port.protocol, anywhere, 0, port.container_address, port.container_port)


def bracketed(address: Address) -> str:
    """Return an address as it stands before a port."""
    return f"[{address}]" if address.version == 6 else str(address)


def parse_port(key: str) -> tuple[int, str]:
    """Return number and protocol of a container port such as ``80/tcp``; raises InvalidArgument."""
    text, _, protocol = key.partition("/")
    protocol = (protocol or "tcp").lower()
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        raise InvalidArgument(f"invalid port: '{text}': invalid syntax")
    if protocol not in PROTOCOLS:
        raise InvalidArgument(f"invalid protocol: {protocol}")
    return int(text), protocol


def parse_host_port(text: str) -> tuple[int, int]:
    """Return first and last of a host port or range; (0, 0) for an ephemeral one. Raises InvalidArgument."""
    if not text:
        return 0, 0
    first, dash, last = text.partition("-")
    numbers = []
    for part in (first, last) if dash else (first, first):
        if not part.isascii() or not part.isdigit() or int(part) > 65535:
            raise InvalidArgument(f'invalid port specification: "{text}"')
        numbers.append(int(part))
    if numbers[1] < numbers[0]:
        raise InvalidArgument(f'invalid port range: "{text}": the start port cannot be greater than the end port')
    return numbers[0], numbers[1]


def parse_host_address(text: str) -> Address | None:
    """Return a host address, None for the default one; raises InvalidArgument."""
    bare = text.removeprefix("[").removesuffix("]")
    if not bare:
        return None
    try:
        address = ip_address(bare)
    except ValueError as error:
        raise InvalidArgument(f"invalid IP address: {text}") from error
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


def read_requests(
    bindings: PortMap,
    exposed: Iterable[str],
    *,
    publish_all: bool,
    default_address: Address,
    has_ipv6: bool,
) -> list[PortRequest]:
    """Return what a container wants published, in the order in which ports are given out.

    Bindings that differ only in the host address become one request, so that they get the same port.
    Named ports come first, so that ranges do not take them. ``has_ipv6`` says that the host listens on
    IPv6: then a port without a host address is published there too, as Docker does it.
    """
    grouped: dict[tuple[int, str, int, int], list[Address]] = {}
    wanted: list[tuple[str, str, str]] = []
    for key, places in bindings.items():
        wanted += [(key, place.host_ip, place.host_port) for place in places or []]
        if publish_all and not places:
            wanted.append((key, "", ""))
    if publish_all:
        wanted += [(key, "", "") for key in exposed if key not in bindings]
    for key, host_ip, host_port in wanted:
        number, protocol = parse_port(key)
        first, last = parse_host_port(host_port)
        found = grouped.setdefault((number, protocol, first, last), [])
        address = parse_host_address(host_ip)
        if address is not None:
            found.append(address)
        elif default_address == ANY4:
            found += [ANY4, ANY6] if has_ipv6 else [ANY4]
        else:
            found.append(default_address)
    requests = [
        PortRequest(protocol, number, tuple(dict.fromkeys(found)), first, last)
        for (number, protocol, first, last), found in grouped.items()
    ]
    return sorted(requests, key=_order)


def _order(request: PortRequest) -> tuple[bool, int, int, int, int]:
    protocol = PROTOCOLS.index(request.protocol)
    return (not request.exact, request.container_port, protocol, request.first, request.last)


class PortAllocator:
    """Which host ports are out, by address and protocol; the unspecified address excludes all of its family."""

    def __init__(self, ephemeral: tuple[int, int] = DEFAULT_RANGE) -> None:
        """``ephemeral`` are the first and last port for those who name none."""
        self._ephemeral = ephemeral
        self._taken: dict[tuple[str, int], set[Address]] = {}
        self._last: dict[tuple[str, int, int], int] = {}

    def blocker(self, addresses: Iterable[Address], protocol: str, port: int) -> Address | None:
        """Return the address on which a port is out, or None when it is free on all of ``addresses``."""
        taken = self._taken.get((protocol, port))
        if not taken:
            return None
        for address in addresses:
            unspecified = ANY4 if address.version == 4 else ANY6
            for held in taken:
                if held.version == address.version and (held in (address, unspecified) or address == unspecified):
                    return held
        return None

    def candidates(self, request: PortRequest) -> Iterable[int]:
        """Yield the free host ports for a request in the order in which they are tried.

        Raises Conflict for a named one that is out, Unavailable after the last one: moby's texts.
        """
        first, last = (request.first, request.last) if request.first else self._ephemeral
        if request.exact:
            held = self.blocker(request.addresses, request.protocol, first)
            if held is not None:
                raise Conflict(f"Bind for {held}:{first} failed: port is already allocated")
            yield first
            return
        key = (request.protocol, first, last)
        start = self._last.get(key, last)
        count = last - first + 1
        for step in range(1, count + 1):
            port = first + (start - first + step) % count
            if self.blocker(request.addresses, request.protocol, port) is None:
                yield port
        raise Unavailable("all ports are allocated")

    def take(self, request: PortRequest, port: int) -> None:
        """Give out a port on all addresses of a request."""
        self.adopt(request.addresses, request.protocol, port)
        if not request.exact:
            first, last = (request.first, request.last) if request.first else self._ephemeral
            self._last[(request.protocol, first, last)] = port

    def adopt(self, addresses: Sequence[Address], protocol: str, port: int) -> None:
        """Give out a port that a running container has."""
        self._taken.setdefault((protocol, port), set()).update(addresses)

    def give_back(self, address: Address, protocol: str, port: int) -> None:
        """Take a port back; one that is not out is no error."""
        taken = self._taken.get((protocol, port))
        if taken is None:
            return
        taken.discard(address)
        if not taken:
            del self._taken[(protocol, port)]
