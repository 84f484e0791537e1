"""What there is at this moment: networks, attached containers, and what the kernel is to have of both. Memory only.

Shared by the parts of the network manager; each change is made in one go, without waiting in between.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network

from engine.networks.addresses import Address
from engine.networks.attachment import Attachment, Endpoint, veth_name
from engine.networks.catalog import Catalog
from engine.networks.fabric import Wanted
from engine.networks.live import BridgeNetwork, LiveNetwork
from engine.networks.ports import PublishedPort, opened_port


class World:
    """Networks by ID, attachments by the container's ID."""

    def __init__(self, catalog: Catalog) -> None:
        """Nothing is there yet."""
        self.catalog = catalog
        self.live: dict[str, LiveNetwork] = {}
        self.attachments: dict[str, Attachment] = {}
        self.guests: dict[str, str] = {}  # who has joined whose namespace
        self.linking: set[str] = set()  # containers with links on the default bridge
        self.arriving: dict[str, LiveNetwork] = {}  # being made: already to be in the kernel
        self.leaving: dict[str, LiveNetwork] = {}  # being removed: their place is not free yet
        self.default: BridgeNetwork | None = None

    def all_networks(self) -> list[LiveNetwork]:
        """Return all networks, those too that are being made or removed."""
        return [*self.live.values(), *self.arriving.values(), *self.leaving.values()]

    def subnets(self) -> list[IPv4Network | IPv6Network]:
        """Return the subnets that are in use."""
        return [pool.subnet for network in self.all_networks() for pool in network.pools]

    def endpoints_on(self, network_id: str) -> Iterator[tuple[Attachment, Endpoint]]:
        """Yield the containers on a network with their endpoints."""
        for item in self.attachments.values():
            endpoint = item.endpoint_on(network_id)
            if endpoint is not None:
                yield item, endpoint

    def wanted(self) -> Wanted:
        """Return what is to be in the kernel; the default bridge comes first."""
        networks = [item for item in [*self.live.values(), *self.arriving.values()] if isinstance(item, BridgeNetwork)]
        networks.sort(key=lambda network: network is not self.default)
        return Wanted(
            tuple(network.spec() for network in networks),
            tuple(port for item in self.attachments.values() if item.ruled for port in self.ruled_ports(item)),
            {network.bridge: self._veths(network) for network in networks},
        )

    def ruled_ports(self, item: Attachment) -> list[PublishedPort]:
        """Return a container's ports as the rules have them.

        Where a network trusts links of the host, published ports are open at the container's own address as well.
        """
        trusting: set[Address] = set()
        for endpoint in item.endpoints:
            network = self.live.get(endpoint.network_id)
            if isinstance(network, BridgeNetwork) and network.options.trusted:
                trusting |= set(endpoint.addresses)
        opened = [opened_port(port) for port in item.ports if port.host_port and port.container_address in trusting]
        return [*item.ports, *dict.fromkeys(opened)]

    def _veths(self, network: BridgeNetwork) -> set[str]:
        return {
            veth_name(endpoint.settings.endpoint_id)
            for _, endpoint in self.endpoints_on(network.record.id)
            if endpoint.addresses
        }
