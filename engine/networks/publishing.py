"""Publishing containers' ports on the host: which ones, on which addresses, bound at once.

Owns the host ports that are given out and the process that holds them. Ports go with the networks that
lead out (``gateways.py``). Knows no firewall; of a container only what its record asks for.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address

from engine.errors import Conflict, Internal, PortsideError, Unavailable
from engine.model.base import given
from engine.model.record import ContainerRecord
from engine.networks.attachment import Attachment
from engine.networks.gateways import Way
from engine.networks.holding import PortBusyError, PortHolder, bind
from engine.networks.live import BridgeNetwork, LiveNetwork
from engine.networks.ports import (
    ANY4,
    ANY6,
    PortAllocator,
    PortRequest,
    PublishedPort,
    parse_host_address,
    parse_host_port,
    parse_port,
    read_requests,
)
from engine.networks.ruleset import ROUTED
from engine.networks.settings import NetworkSettings
from engine.networks.validation import SETUP_FAILED

_BIND_ATTEMPTS = 64


class Publisher:
    """The published ports of all containers."""

    def __init__(
        self, settings: NetworkSettings, holder: PortHolder, ephemeral: tuple[int, int], *, host_has_ipv6: bool
    ) -> None:
        """``ephemeral`` are the host's first and last; ``host_has_ipv6`` whether it listens on IPv6."""
        self._settings = settings
        self._holder = holder
        self._host_has_ipv6 = host_has_ipv6
        self._allocator = PortAllocator(ephemeral)

    def publish(self, item: Attachment, record: ContainerRecord, way: Way, networks: Mapping[str, LiveNetwork]) -> None:
        """Choose and bind the ports that a container asks for.

        Raises Internal with moby's texts; what was bound by then is in ``item``, for ``forget``.
        """
        outlets = _Outlets(way, networks)
        if not outlets:
            return
        for request in read_requests(
            record.host_config.port_bindings or {},
            given(record.config.exposed_ports, {}),
            publish_all=record.host_config.publish_all_ports,
            default_address=outlets.binding or self._settings.default_ip,
            has_ipv6=self._host_has_ipv6 and (self._settings.userland_proxy or way.ipv6 is not None),
        ):
            item.ports += outlets.opened(request)
            closed = outlets.translated(request)
            if closed.addresses:
                self._bind(item, closed, outlets)

    def _bind(self, item: Attachment, request: PortRequest, outlets: _Outlets) -> None:
        busy: PortBusyError | None = None
        try:
            for attempt, port in enumerate(self._allocator.candidates(request)):
                places = outlets.places(request, port)
                try:
                    sockets = _bind_all(places, ranged=not request.exact)
                except PortBusyError as error:
                    busy = error
                    if request.exact or attempt == _BIND_ATTEMPTS:
                        raise Internal(error.message) from error
                    continue
                self._allocator.take(request, port)
                item.ports += places
                item.sockets += sockets
                return
        except (Conflict, Internal, Unavailable) as error:
            raise _port_error(item, error, busy) from error

    def hand_over(self, item: Attachment) -> None:
        """Give the bound sockets to the process that holds them."""
        held = [port for port in item.ports if port.host_port]
        if held and item.sockets:
            sockets, item.sockets = item.sockets, []
            self._holder.hold(item.container_id, held, sockets)

    def adopt(self, item: Attachment, record: ContainerRecord, way: Way) -> None:
        """Take over the ports of a container that runs already."""
        inner = {version: address for version in (4, 6) if (address := _address_of(way, version)) is not None}
        if not inner:
            return
        for key, places in record.ports.items():
            number, protocol = parse_port(key)
            for place in places or []:
                host = parse_host_address(place.host_ip)
                first, _ = parse_host_port(place.host_port)
                if host is not None:
                    address = inner.get(host.version) or next(iter(inner.values()))
                    item.ports.append(PublishedPort(protocol, host, first, address, number))
                    if first:
                        self._allocator.adopt([host], protocol, first)

    async def restore(self, items: Sequence[Attachment]) -> list[PublishedPort]:
        """At start: hold what is to be held; return the ports that somebody else has taken meanwhile."""
        held = {
            item.container_id: ports for item in items if (ports := [port for port in item.ports if port.host_port])
        }
        return await self._holder.restore(held)

    async def release(self, item: Attachment, ports: Sequence[PublishedPort], *, handed_over: bool) -> None:
        """Give ports back, when the helper has closed them where it had them."""
        if handed_over:
            await self._holder.drop(item.container_id)
        self.give_back(ports)

    def give_back(self, ports: Sequence[PublishedPort]) -> None:
        """Let others have ports that are closed."""
        for port in ports:
            if port.host_port:
                self._allocator.give_back(port.host_address, port.protocol, port.host_port)

    def close(self, *, keep: bool) -> None:
        """Let go of the helper: it lives on with what it has when ``keep``."""
        self._holder.close(keep=keep)


class _Outlets:
    """Where a container's ports lead from: its addresses on the networks that are its way out."""

    def __init__(self, way: Way, networks: Mapping[str, LiveNetwork]) -> None:
        self._inner: dict[int, IPv4Address | IPv6Address] = {}
        self._routed: set[int] = set()
        self.binding: IPv4Address | IPv6Address | None = None
        for version in (4, 6):
            endpoint = way.of(version)
            network = networks[endpoint.network_id] if endpoint is not None else None
            address = _address_of(way, version)
            if not isinstance(network, BridgeNetwork) or address is None:
                continue
            self._inner[version] = address
            if network.options.mode(version) == ROUTED:
                self._routed.add(version)
            self.binding = self.binding or network.options.binding

    def __bool__(self) -> bool:
        return bool(self._inner)

    def opened(self, request: PortRequest) -> list[PublishedPort]:
        """Return what is opened without being bound on the host: gateway mode ``routed``."""
        versions = {address.version for address in request.addresses} & self._routed
        return [
            PublishedPort(
                request.protocol, ANY4 if version == 4 else ANY6, 0, self._inner[version], request.container_port
            )
            for version in sorted(versions)
        ]

    def translated(self, request: PortRequest) -> PortRequest:
        """Return the part of a request that is bound on the host."""
        # An IPv6 host address leads to a container without IPv6 through the helper; the other way it does not.
        versions = self._inner.keys() - self._routed
        if 6 not in self._inner:
            versions.add(6)
        fitting = tuple(address for address in request.addresses if address.version in versions)
        return PortRequest(request.protocol, request.container_port, fitting, request.first, request.last)

    def places(self, request: PortRequest, port: int) -> list[PublishedPort]:
        """Return a request as it is published on a host port."""
        return [
            PublishedPort(
                request.protocol,
                address,
                port,
                self._inner.get(address.version) or next(iter(self._inner.values())),
                request.container_port,
            )
            for address in request.addresses
        ]


def _address_of(way: Way, version: int) -> IPv4Address | IPv6Address | None:
    endpoint = way.of(version)
    return endpoint.address(version) if endpoint is not None else None


def _port_error(item: Attachment, error: PortsideError, busy: PortBusyError | None) -> PortsideError:
    # dockerd answers all of these with status 500, and tools look for its words.
    reason = busy.message if busy is not None and not isinstance(error, Conflict) else error.message
    endpoint = item.endpoints[0].settings.endpoint_id if item.endpoints else ""
    return Internal(
        f"{SETUP_FAILED}: driver failed programming external connectivity on endpoint "
        f"{item.container_name.removeprefix('/')} ({endpoint}): {reason}",
        hint="stop what uses the port or publish on another one",
    )


def _bind_all(places: Sequence[PublishedPort], *, ranged: bool) -> list[socket.socket]:
    """Bind all places or none; raises as ``bind`` does."""
    bound: list[socket.socket] = []
    try:
        for place in places:
            bound.append(bind(place, ranged=ranged))
    except BaseException:
        for held in bound:
            held.close()
        raise
    return bound
