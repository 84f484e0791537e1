"""The default bridge: its subnet, the leases out of it, its rules, and the watch over them.

Knows attachments, not containers' records. All blocking work is done by ``plumbing.py``.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, IPv6Network, ip_address
from pathlib import Path

from engine.errors import InvalidArgument, NotSupported, PortsideError
from engine.networks import files
from engine.networks.addresses import Address, AddressPool, choose_subnet, mac_of
from engine.networks.attachment import Attachment, veth_name
from engine.networks.coexistence import NFNLGRP_NFTABLES, Coexistence, Passage, is_foreign_change
from engine.networks.links import Interface, Wiring, enable_ip_forwarding, ip_forwarding
from engine.networks.plumbing import Plumbing, Tools
from engine.networks.ports import PublishedPort
from engine.networks.ruleset import BridgeRules, build_removal, build_table
from engine.networks.settings import NetworkSettings
from engine.runtime.netlink import MulticastSocket, Network
from engine.runtime.nftables import NftablesError

_log = logging.getLogger(__name__)
_NETLINK_NETFILTER = 12
_SETTLE_S = 0.1
_CHECK_S = 30.0


class DefaultBridge:
    """The bridge of one engine, with everything that makes its containers reachable."""

    def __init__(
        self,
        name: str,
        table: str,
        settings: NetworkSettings,
        published: Callable[[], list[PublishedPort]],
        veths: Callable[[], set[str]],
    ) -> None:
        """Touch nothing. ``published`` returns all ports that are published, ``veths`` all links of containers."""
        self.name = name
        self._table = table
        self._settings = settings
        self._published = published
        self._veths = veths
        self._strangers: set[int] = set()
        self._plumbing = Plumbing(name, table)
        self._coexistence = Coexistence(Passage(name, f"portside:{table}"), ("ip", "ip6") if settings.ipv6 else ("ip",))
        self._pools: list[AddressPool] = []
        self.gateways: list[Interface] = []
        self._watch: MulticastSocket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._check: asyncio.Future[None] | None = None
        self._table_gone = False
        self._sweep: asyncio.Future[None] | None = None

    # Subnets and leases

    async def prepare(self, leased: Sequence[IPv4Interface]) -> None:
        """Choose the subnets; ``leased`` are the addresses of containers that run already.

        Raises Unavailable when no pool is free, InvalidArgument for settings that contradict one another.
        """
        present, foreign = await self._plumbing.call(
            lambda tools: (tools.bridge.present_addresses(), tools.bridge.foreign_networks())
        )
        self.gateways = [self._choose_gateway(leased, present, [*foreign, *_nameserver_networks()])]
        reserved: list[Address] = [self.gateways[0].ip]
        if self._settings.default_gateway is not None:
            if self._settings.default_gateway not in self.gateways[0].network:
                raise InvalidArgument(
                    f"default-gateway {self._settings.default_gateway} is not inside {self.gateways[0].network}"
                )
            reserved.append(self._settings.default_gateway)
        part = self._settings.fixed_cidr
        self._pools = [AddressPool(self.gateways[0].network, part=part, reserved=reserved)]
        if self._settings.ipv6:
            subnet = self._settings.fixed_cidr_v6 or _own_prefix(self._table)
            gateway = IPv6Interface((subnet[1], subnet.prefixlen))
            self.gateways.append(gateway)
            self._pools.append(AddressPool(subnet, reserved=[gateway.ip]))

    def _choose_gateway(
        self, leased: Sequence[IPv4Interface], present: Sequence[Interface], foreign: Iterable[Network]
    ) -> IPv4Interface:
        bip, part = self._settings.bip, self._settings.fixed_cidr
        now = [item for item in present if isinstance(item, IPv4Interface) and not item.is_link_local]
        if leased:
            # Containers run with a gateway that they know: it stays until they have ended.
            fitting = [item for item in now if item.network == leased[0].network]
            gateway = fitting[0] if fitting else IPv4Interface((leased[0].network[1], leased[0].network.prefixlen))
            if bip is not None and bip != gateway:
                _log.warning("bip %s takes effect when no container runs: they use %s", bip, gateway)
            return gateway
        if bip is not None:
            return bip
        if part is not None:
            for item in now:
                if part.subnet_of(item.network):
                    return item
            return IPv4Interface((part[1], part.prefixlen))
        if now:
            return now[0]
        subnet = choose_subnet(self._settings.pools, foreign)
        return IPv4Interface((subnet[1], subnet.prefixlen))

    def host_gateways(self) -> list[IPv4Address | IPv6Address]:
        """Return the addresses by which containers reach the host."""
        return list(self._settings.host_gateway_ips) or [gateway.ip for gateway in self.gateways]

    def lease(self, item: Attachment) -> None:
        """Give a container its addresses and its MAC, and write them into its settings.

        Raises Unavailable when there is no address left.
        """
        settings = item.settings
        item.addresses = []
        for pool in self._pools:
            item.addresses.append(pool.lease())
        first = item.addresses[0]
        settings.ip_address, settings.ip_prefix_len = str(first), self._pools[0].subnet.prefixlen
        settings.gateway = str(self._settings.default_gateway or self.gateways[0].ip)
        if len(item.addresses) > 1:
            settings.ipv6_gateway = str(self.gateways[1].ip)
            settings.global_ipv6_address = str(item.addresses[1])
            settings.global_ipv6_prefix_len = self._pools[1].subnet.prefixlen
        if not settings.mac_address and isinstance(first, IPv4Address):
            settings.mac_address = mac_of(first)

    def wire(self, item: Attachment) -> None:
        """Work out how a container with leases and ports is to be wired."""
        settings = item.settings
        gateways = [text for text in (settings.gateway, settings.ipv6_gateway) if text]
        prefixes = [pool.subnet.prefixlen for pool in self._pools]
        item.wiring = Wiring(
            veth_name(settings.endpoint_id),
            settings.mac_address,
            tuple(map(_interface, item.addresses, prefixes)),
            tuple(ip_address(text) for text in gateways),
            mtu=self._settings.bridge_mtu,
            isolated=not self._settings.icc,
            hairpin=bool(item.ports),
        )

    def adopt(self, address: Address) -> bool:
        """Lease an address that a running container has; False when it is no address of this bridge."""
        return any(pool.adopt(address) for pool in self._pools)

    def give_back(self, addresses: Iterable[Address], ports: Sequence[PublishedPort]) -> None:
        """Take addresses back and take ports out of the rules with the next transaction."""
        self._plumbing.unpublish(ports)
        for address in addresses:
            for pool in self._pools:
                if address in pool.subnet:
                    pool.give_back(address)

    # The kernel

    async def put_in_place(self) -> None:
        """Make bridge and rules as they should be; links at the bridge that belong to no container go.

        Raises NotSupported or Unavailable when this host cannot.
        """
        self._watch_rules()
        ports, veths = self._published(), self._veths()
        stale = await self._plumbing.call(lambda tools: self._install(tools, ports, veths))
        if stale:
            self._sweep = asyncio.ensure_future(self._plumbing.call(lambda tools: _remove_links(tools, stale)))
        self._check_later(_CHECK_S)

    def _install(self, tools: Tools, ports: Sequence[PublishedPort], veths: set[str]) -> list[int]:
        forwarded = self._enable_forwarding()
        tools.bridge.ensure(self.gateways, mtu=self._settings.bridge_mtu)
        try:
            tools.nftables.run(build_table(self._rules(), ports))
        except NftablesError as error:
            raise NotSupported(
                f"the kernel does not take the firewall's rules: {error.message}",
                hint="it needs nf_tables with nat, masquerade, fib and conntrack for family inet",
            ) from error
        for family in forwarded:
            self._coexistence.close_forwarding(tools.nftables, family)
        self._coexistence.ensure(tools.nftables)
        return tools.bridge.gather(veths)

    def _enable_forwarding(self) -> list[str]:
        if not self._settings.ip_forward:
            return []
        switched: list[str] = []
        for version, family in ((4, "ip"), (6, "ip6")):
            if (version == 4 or self._settings.ipv6) and not ip_forwarding(version):
                enable_ip_forwarding(version)
                switched.append(family)
        return switched

    def _rules(self) -> BridgeRules:
        return BridgeRules(
            self._table,
            self.name,
            tuple(gateway.network for gateway in self.gateways),
            icc=self._settings.icc,
            masquerade=self._settings.ip_masq,
        )

    async def connect(self, wiring: Wiring, ports: Sequence[PublishedPort]) -> int:
        """Make a wired namespace with its ports published; return a descriptor that the caller closes."""
        return await self._plumbing.connect(wiring, ports)

    async def isolate(self) -> int:
        """Make a namespace with nothing but loopback; return a descriptor that the caller closes."""
        return await self._plumbing.isolate()

    async def disconnect(self, wiring: Wiring | None, endpoint_id: str) -> None:
        """Remove a container's link although its namespace lives on: other containers have joined it."""
        name = wiring.veth if wiring is not None else veth_name(endpoint_id)
        await self._plumbing.call(lambda tools: tools.bridge.remove_veth(name))

    async def aclose(self, *, keep: bool) -> None:
        """Stop watching; unless containers still need them, remove rules and bridge."""
        if self._timer is not None:
            self._timer.cancel()
        if self._watch is not None:
            asyncio.get_running_loop().remove_reader(self._watch)
            self._watch.close()
            self._watch = None
        for task in (self._check, self._sweep):
            if task is not None:
                await asyncio.wait([task])
        await self._plumbing.drain()
        if not keep:
            await self._plumbing.call(self._remove)
        await self._plumbing.aclose()

    def _remove(self, tools: Tools) -> None:
        tools.nftables.run(build_removal(self._table))
        self._coexistence.remove(tools.nftables)
        tools.bridge.remove()

    # The watch

    def _watch_rules(self) -> None:
        self._watch = MulticastSocket(_NETLINK_NETFILTER, [NFNLGRP_NFTABLES])
        asyncio.get_running_loop().add_reader(self._watch, self._hear)

    def _hear(self) -> None:
        foreign = gone = False
        while self._watch is not None:
            answers = self._watch.receive()
            if answers == []:
                break
            other, own = is_foreign_change(answers, self._table)
            foreign, gone = foreign or other, gone or own
        self._table_gone = self._table_gone or gone
        if foreign or gone:
            self._check_later(_SETTLE_S)

    def _check_later(self, delay_s: float) -> None:
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            if self._timer.when() <= loop.time() + delay_s:  # sooner already
                return
            self._timer.cancel()
        self._timer = loop.call_later(delay_s, self._begin_check)

    def _begin_check(self) -> None:
        self._timer = None
        if self._check is None or self._check.done():
            self._check = asyncio.ensure_future(self.check_rules())
        else:
            self._check_later(_SETTLE_S)

    async def check_rules(self) -> None:
        """Put back what somebody removed of our table and of our rules in other chains."""
        gone, self._table_gone = self._table_gone, False
        ports, veths = self._published(), self._veths()
        try:
            await self._plumbing.call(lambda tools: self._restore_rules(tools, ports, veths, gone=gone))
        except PortsideError as error:
            _log.warning("the rules could not be checked: %s", error.message)
        if self._watch is not None:
            self._check_later(_CHECK_S)

    def _restore_rules(self, tools: Tools, ports: Sequence[PublishedPort], veths: set[str], *, gone: bool) -> None:
        # Our own replacing of the table is announced as its deletion, so it is looked for first.
        if gone and not tools.nftables.has_table(self._table):
            _log.warning("the table of rules was deleted by somebody: it is put back")
            tools.nftables.run(build_table(self._rules(), ports))
        self._coexistence.ensure(tools.nftables)
        # The kernel removes a container's link by and by: only what is still there at the next look is a stray.
        found = set(tools.bridge.gather(veths))
        _remove_links(tools, found & self._strangers)
        self._strangers = found - self._strangers


def _remove_links(tools: Tools, indexes: Iterable[int]) -> None:
    for index in indexes:
        tools.bridge.remove_link(index)


def _interface(address: Address, prefix: int) -> Interface:
    if isinstance(address, IPv4Address):
        return IPv4Interface((address, prefix))
    return IPv6Interface((address, prefix))


def _nameserver_networks() -> list[Network]:
    """Return the host's nameservers, so that no subnet is chosen that would hide them."""
    found = files.read_host_resolv_conf().nameservers
    return [_interface(ip_address(text), 32 if ":" not in text else 128).network for text in found]


def _own_prefix(table: str) -> IPv6Network:
    """Return a unique local prefix (RFC 4193) that stays the same for one engine on one host."""
    try:
        machine = Path("/etc/machine-id").read_text()
    except OSError:
        machine = ""
    digest = hashlib.sha256(f"{machine}{table}".encode()).digest()
    return IPv6Network((b"\xfd" + digest[:5] + bytes(10), 64))
