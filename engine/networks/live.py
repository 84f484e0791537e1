"""A network while the engine runs: its addresses, and how a container's interface on it is to be wired.

Memory only. One class for each way of wiring: bridges, links on a parent (macvlan, ipvlan), and the
networks without addresses (host, none). Knows endpoints, not containers' records.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address

from engine.errors import Internal, InvalidArgument, Unavailable
from engine.networks.addresses import Address, AddressPool, Network, mac_of
from engine.networks.attachment import Endpoint, veth_name
from engine.networks.bridgeoptions import BridgeOptions
from engine.networks.fabric import BridgeSpec
from engine.networks.ipam import enabled_pools
from engine.networks.links import BridgePlan, Interface
from engine.networks.record import NetworkRecord
from engine.networks.ruleset import ISOLATED, BridgeRules, FamilyRules
from engine.networks.wiring import Wiring


class LiveNetwork:
    """A network without addresses of its own: host and none; the base of the others."""

    has_addresses = False
    bridge = ""

    def __init__(self, record: NetworkRecord, pools: Iterable[AddressPool] = ()) -> None:
        """``pools`` in the order in which they are used."""
        self.record = record
        self.pools = list(pools)

    def lease(self, endpoint: Endpoint, *, ipv6: bool) -> None:
        """Give an endpoint addresses and a MAC, and write them and the gateways into its settings.

        ``ipv6`` False for a container that has it switched off. Raises Forbidden, InvalidArgument and
        Internal with moby's texts.
        """

    def adopt(self, endpoint: Endpoint) -> None:
        """Lease the addresses that a running container has."""
        for text in (endpoint.settings.ip_address, endpoint.settings.global_ipv6_address):
            if text and any(pool.adopt(ip_address(text)) for pool in self.pools):
                endpoint.addresses.append(ip_address(text))

    def give_back(self, addresses: Iterable[Address]) -> None:
        """Take addresses back."""
        for address in addresses:
            for pool in self.pools:
                if address in pool.subnet:
                    pool.give_back(address)

    def retire(self, endpoint: Endpoint) -> None:
        """Take back what an endpoint had."""
        self.give_back(endpoint.addresses)

    def wire(self, endpoint: Endpoint, name: str, gateways: Iterable[int], *, hairpin: bool) -> None:
        """Work out an endpoint's interface: its name inside, and the versions of which it has the default route."""

    def gateway_versions(self, endpoint: Endpoint) -> tuple[int, ...]:
        """Return the versions in which an endpoint could be the way out."""
        texts = (endpoint.settings.gateway, endpoint.settings.ipv6_gateway)
        return tuple(version for version, text in zip((4, 6), texts, strict=True) if text)


class AddressedNetwork(LiveNetwork):
    """A network whose containers have addresses out of its pools."""

    has_addresses = True

    def __init__(
        self, record: NetworkRecord, pools: Iterable[AddressPool], gateways: Mapping[int, Address], *, mtu: int = 0
    ) -> None:
        """``gateways`` are what containers route through, by version."""
        super().__init__(record, pools)
        self.gateways = dict(gateways)
        self.mtu = mtu

    def lease(self, endpoint: Endpoint, *, ipv6: bool) -> None:
        """Give an endpoint addresses and a MAC, and write them and the gateways into its settings."""
        settings, asked = endpoint.settings, endpoint.settings.ipam_config
        wanted = {
            4: asked.ipv4_address if asked and isinstance(asked.ipv4_address, str) else "",
            6: asked.ipv6_address if asked and isinstance(asked.ipv6_address, str) else "",
        }
        versions = [version for version in (4, 6) if any(pool.subnet.version == version for pool in self.pools)]
        for version in versions:
            if version == 6 and not ipv6:
                continue
            address, length = self._lease_one(version, wanted[version])
            endpoint.addresses.append(address)
            gateway = self.gateway_for(address)
            if version == 4:
                settings.ip_address, settings.ip_prefix_len = str(address), length
                settings.gateway = str(gateway) if gateway is not None else ""
            else:
                settings.global_ipv6_address, settings.global_ipv6_prefix_len = str(address), length
                settings.ipv6_gateway = str(gateway) if gateway is not None else ""
        if not settings.mac_address:
            settings.mac_address = _mac_for(endpoint.addresses[0]) if endpoint.addresses else ""

    def gateway_for(self, address: Address) -> Address | None:
        """Return what a container with an address routes through."""
        return self.gateways.get(address.version)

    def _lease_one(self, version: int, wanted: str) -> tuple[Address, int]:
        for pool in self.pools:
            if pool.subnet.version != version or (wanted and ip_address(wanted) not in pool.subnet):
                continue
            try:
                return pool.lease(wanted), pool.subnet.prefixlen
            except Unavailable:
                continue
        if wanted:
            raise InvalidArgument(f"invalid address {wanted}: It does not belong to any of this network's subnets")
        raise Internal(
            f"no available IPv{version} addresses on this network's address pools: "
            f"{self.record.name} ({self.record.id})",
            hint="stop containers or make a network with a larger subnet",
        )

    def _interfaces(self, endpoint: Endpoint) -> tuple[Interface, ...]:
        own = tuple(_interface(address, self._length_of(address)) for address in endpoint.addresses)
        return own + endpoint.link_local

    def _length_of(self, address: Address) -> int:
        return next(pool.subnet.prefixlen for pool in self.pools if address in pool.subnet)

    def _routes(self, endpoint: Endpoint, versions: Iterable[int]) -> tuple[Address, ...]:
        texts = {4: endpoint.settings.gateway, 6: endpoint.settings.ipv6_gateway}
        return tuple(ip_address(texts[version]) for version in versions if texts[version])

    def routes_of(self, endpoint: Endpoint, versions: Iterable[int]) -> list[tuple[Address, Address]]:
        """Return (own address, gateway) of the default routes that lead through an endpoint."""
        own = endpoint.addresses[0]
        return [(own, gateway) for gateway in self._routes(endpoint, versions)]


class BridgeNetwork(AddressedNetwork):
    """A network that is a bridge of the host."""

    def __init__(
        self,
        record: NetworkRecord,
        options: BridgeOptions,
        pools: Iterable[AddressPool],
        own: Iterable[Interface],
        gateways: Mapping[int, Address],
    ) -> None:
        """``own`` are the bridge's addresses; ``gateways`` what containers route through."""
        super().__init__(record, pools, gateways, mtu=options.mtu)
        self.options = options
        self.own = tuple(own)
        self.bridge = options.bridge or f"br-{record.short_id}"
        self._left: dict[Address, str] = {}  # the last link of each static address

    def lease(self, endpoint: Endpoint, *, ipv6: bool) -> None:
        """Give an endpoint addresses and a MAC, and write them and the gateways into its settings."""
        super().lease(endpoint, ipv6=ipv6)
        if self._left and endpoint.addresses:
            endpoint.replaces = self._left.pop(endpoint.addresses[0], "")

    def retire(self, endpoint: Endpoint) -> None:
        """Take back what an endpoint had; a static address may come again before its link has gone."""
        super().retire(endpoint)
        if endpoint.addresses and endpoint.settings.ipam_config is not None:
            self._left[endpoint.addresses[0]] = veth_name(endpoint.settings.endpoint_id)

    def spec(self) -> BridgeSpec:
        """Return the bridge and its rules."""
        families = tuple(
            FamilyRules(
                pool.subnet,
                self.options.mode(pool.subnet.version),
                self.options.source4 if pool.subnet.version == 4 else self.options.source6,
            )
            for pool in self.pools
        )
        rules = BridgeRules(
            self.record.short_id,
            self.bridge,
            families,
            icc=self.options.icc,
            masquerade=self.options.masquerade,
            internal=self.record.internal,
            trusted=self.options.trusted,
        )
        ipv6 = any(pool.subnet.version == 6 for pool in self.pools)
        return BridgeSpec(BridgePlan(self.bridge, self.own, self.options.mtu, ipv6), rules)

    def wire(self, endpoint: Endpoint, name: str, gateways: Iterable[int], *, hairpin: bool) -> None:
        """Work out an endpoint's veth pair."""
        endpoint.wiring = Wiring(
            veth_name(endpoint.settings.endpoint_id),
            endpoint.settings.mac_address,
            self._interfaces(endpoint),
            self._routes(endpoint, gateways),
            mtu=self.mtu,
            isolated=not self.options.icc,
            hairpin=hairpin,
            parent=self.bridge,
            name=name,
            replaces=endpoint.replaces,
            sysctls=endpoint.sysctls,
        )


class ChildNetwork(AddressedNetwork):
    """A network whose interfaces sit on a link of the host: macvlan and ipvlan."""

    def __init__(
        self,
        record: NetworkRecord,
        pools: Iterable[AddressPool],
        gateways: Mapping[Network, Address],
        *,
        parent: str,
        mode: int,
        flags: int = 0,
        mtu: int = 0,
    ) -> None:
        """``gateways`` by subnet; ``parent`` is the link's name; ``mode`` and ``flags`` as the kernel numbers them."""
        super().__init__(record, pools, {}, mtu=mtu)
        self._gateways = dict(gateways)
        self.parent = parent
        self._mode = mode
        self._flags = flags

    def lease(self, endpoint: Endpoint, *, ipv6: bool) -> None:
        """Give an endpoint addresses; a way out without a gateway (ipvlan's l3) shows none."""
        super().lease(endpoint, ipv6=ipv6)
        settings = endpoint.settings
        if settings.gateway and ip_address(settings.gateway).is_unspecified:
            settings.gateway = ""
        if settings.ipv6_gateway and ip_address(settings.ipv6_gateway).is_unspecified:
            settings.ipv6_gateway = ""

    def gateway_for(self, address: Address) -> Address | None:
        """Return the gateway of the subnet that an address is in."""
        return next((gateway for subnet, gateway in self._gateways.items() if address in subnet), None)

    def gateway_versions(self, endpoint: Endpoint) -> tuple[int, ...]:
        """Return the versions in which an endpoint could be the way out."""
        return tuple(version for version in (4, 6) if self._routes(endpoint, (version,)))

    def _routes(self, endpoint: Endpoint, versions: Iterable[int]) -> tuple[Address, ...]:
        own = [address for version in versions if (address := endpoint.address(version)) is not None]
        return tuple(gateway for address in own if (gateway := self.gateway_for(address)) is not None)

    def wire(self, endpoint: Endpoint, name: str, gateways: Iterable[int], *, hairpin: bool) -> None:
        """Work out an endpoint's link."""
        endpoint.wiring = Wiring(
            "",
            endpoint.settings.mac_address,
            self._interfaces(endpoint),
            self._routes(endpoint, gateways),
            mtu=self.mtu,
            parent=self.parent,
            kind=self.record.driver,
            mode=self._mode,
            flags=self._flags,
            name=name,
            sysctls=endpoint.sysctls,
        )


def bridge_network(record: NetworkRecord, options: BridgeOptions, pools: Iterable[AddressPool]) -> BridgeNetwork:
    """Return the live network of a user-defined bridge from its record."""
    own: list[Interface] = []
    gateways: dict[int, Address] = {}
    for item in enabled_pools(record):
        address, version = item.gateway_address, item.network.version
        if address is None or options.mode(version) == ISOLATED:
            continue
        if not (options.inhibits_ipv4 and version == 4):
            own.append(_interface(address, item.network.prefixlen))
        if not record.internal:
            other = item.auxiliary.get(f"DefaultGatewayIPv{version}")
            gateways[version] = ip_address(other) if other else address
    return BridgeNetwork(record, options, pools, own, gateways)


def _mac_for(address: Address) -> str:
    if isinstance(address, IPv4Address):
        return mac_of(address)
    return "02:42:" + secrets.token_bytes(4).hex(":")


def _interface(address: Address, prefix: int) -> Interface:
    if isinstance(address, IPv4Address):
        return IPv4Interface((address, prefix))
    assert isinstance(address, IPv6Address)
    return IPv6Interface((address, prefix))
