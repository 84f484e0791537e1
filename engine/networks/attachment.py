"""What a container has of the network while it runs: its leases, its ports, its namespace. Memory only."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface

from engine.model.container import PortBinding, PortMap
from engine.model.network import EndpointSettings, NetworkContainer
from engine.networks.addresses import Address
from engine.networks.ports import PublishedPort
from engine.networks.wiring import Wiring

_MAX_INTERFACE_NAME = 15


@dataclass
class Endpoint:
    """A container at one network.

    ``name`` is what its interface is to be called, empty for the network's way; ``link_local`` are addresses
    that it gets besides those of the network; ``replaces`` is the link that had its static address before;
    ``announced`` says that clients were told.
    """

    network_id: str
    network: str
    settings: EndpointSettings
    addresses: list[Address] = field(default_factory=list)
    wiring: Wiring | None = None
    name: str = ""
    sysctls: tuple[tuple[str, str], ...] = ()
    link_local: tuple[IPv4Interface | IPv6Interface, ...] = ()
    replaces: str = ""
    announced: bool = False

    def address(self, version: int) -> Address | None:
        """Return its address of a version."""
        return next((address for address in self.addresses if address.version == version), None)

    def describe(self, name: str) -> NetworkContainer:
        """Return it as a network's inspect shows it, under the container's present name."""
        settings = self.settings
        shown = NetworkContainer(name=name, endpoint_id=settings.endpoint_id, mac_address=settings.mac_address)
        if settings.ip_address:
            shown.ipv4_address = f"{settings.ip_address}/{settings.ip_prefix_len}"
        if settings.global_ipv6_address:
            shown.ipv6_address = f"{settings.global_ipv6_address}/{settings.global_ipv6_prefix_len}"
        return shown


@dataclass
class Attachment:
    """One container that runs or starts, with its networks.

    ``endpoints`` in the order of its interfaces. ``netns_fd`` keeps the namespace alive until the
    container's process does; -1 where there is none of ours. ``sockets`` hold the ports until the helper
    has them; ``ruled`` says that the rules were asked for. ``is_host`` for one in the host's namespace.
    ``named`` says that the name server knows it.
    """

    container_id: str
    container_name: str
    endpoints: list[Endpoint] = field(default_factory=list)
    ports: list[PublishedPort] = field(default_factory=list)
    sockets: list[socket.socket] = field(default_factory=list)
    netns_fd: int = -1
    ruled: bool = False
    is_host: bool = False
    named: bool = False

    def endpoint_on(self, network_id: str) -> Endpoint | None:
        """Return the endpoint on a network."""
        return next((endpoint for endpoint in self.endpoints if endpoint.network_id == network_id), None)

    def veths(self) -> list[str]:
        """Return its links at the host."""
        return [veth_name(endpoint.settings.endpoint_id) for endpoint in self.endpoints if endpoint.addresses]

    def close(self) -> None:
        """Let go of the namespace and of sockets that were not handed over."""
        for held in self.sockets:
            held.close()
        self.sockets = []
        if self.netns_fd >= 0:
            with suppress(OSError):
                os.close(self.netns_fd)
            self.netns_fd = -1


def veth_name(endpoint_id: str) -> str:
    """Return the name of an endpoint's link at the bridge: derived, so that a crash loses nothing."""
    return f"veth{endpoint_id}"[:_MAX_INTERFACE_NAME]


def port_map(ports: list[PublishedPort], exposed: list[str]) -> PortMap:
    """Return published ports as inspect shows them; exposed ones that are not published map to None."""
    shown: PortMap = {}
    for port in ports:
        places = shown.setdefault(f"{port.container_port}/{port.protocol}", [])
        if places is not None:
            host_port = str(port.host_port) if port.host_port else ""
            places.append(PortBinding(host_ip=str(port.host_address), host_port=host_port))
    for key in exposed:
        number, _, protocol = key.partition("/")
        shown.setdefault(f"{number}/{protocol or 'tcp'}", None)
    return shown
