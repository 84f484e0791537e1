"""The default bridge: its subnets, which the configuration says or the host leaves free.

Decides only; the kernel is ``fabric.py``'s. The record of this network has no pools: they are chosen anew at
each start of the engine, unless containers run on it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path

from engine.errors import InvalidArgument
from engine.networks.addresses import Address, AddressPool, choose_subnet
from engine.networks.bridgeoptions import BridgeOptions
from engine.networks.links import Interface
from engine.networks.live import BridgeNetwork
from engine.networks.record import NetworkRecord
from engine.networks.settings import NetworkSettings
from engine.runtime.netlink import Network

_log = logging.getLogger(__name__)


def default_bridge(
    record: NetworkRecord,
    bridge: str,
    settings: NetworkSettings,
    instance: str,
    leased: Sequence[IPv4Interface],
    present: Sequence[Interface],
    foreign: Iterable[Network],
) -> BridgeNetwork:
    """Return the default bridge's network.

    ``leased`` are the addresses of containers that run already, ``present`` those of the bridge, ``foreign``
    the networks that the host uses. Raises InvalidArgument when no pool is free or settings contradict one another.
    """
    gateway = _choose_gateway(settings, leased, present, foreign)
    own: list[Interface] = [gateway]
    reserved: list[Address] = [gateway.ip]
    if settings.default_gateway is not None:
        if settings.default_gateway not in gateway.network:
            raise InvalidArgument(f"default-gateway {settings.default_gateway} is not inside {gateway.network}")
        reserved.append(settings.default_gateway)
    pools = [AddressPool(gateway.network, part=settings.fixed_cidr, reserved=reserved)]
    gateways: dict[int, Address] = {4: settings.default_gateway or gateway.ip}
    if settings.ipv6:
        subnet = settings.fixed_cidr_v6 or next(own_prefix(instance).subnets(new_prefix=64))
        gateway6 = IPv6Interface((subnet[1], subnet.prefixlen))
        own.append(gateway6)
        gateways[6] = gateway6.ip
        pools.append(AddressPool(subnet, reserved=[gateway6.ip]))
    options = BridgeOptions(
        bridge=bridge,
        mtu=settings.bridge_mtu,
        icc=settings.icc,
        masquerade=settings.ip_masq,
        binding=settings.default_ip,
    )
    return BridgeNetwork(record, options, pools, own, gateways)


def _choose_gateway(
    settings: NetworkSettings,
    leased: Sequence[IPv4Interface],
    present: Sequence[Interface],
    foreign: Iterable[Network],
) -> IPv4Interface:
    bip, part = settings.bip, settings.fixed_cidr
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
    subnet = choose_subnet(settings.pools, foreign)
    return IPv4Interface((subnet[1], subnet.prefixlen))


def host_gateways(settings: NetworkSettings, network: BridgeNetwork) -> list[IPv4Address | IPv6Address]:
    """Return the addresses by which containers reach the host."""
    return list(settings.host_gateway_ips) or [item.ip for item in network.own]


def own_prefix(instance: str) -> IPv6Network:
    """Return a unique local prefix (RFC 4193) of 48 bits that stays the same for one engine on one host."""
    try:
        machine = Path("/etc/machine-id").read_text()
    except OSError:
        machine = ""
    digest = hashlib.sha256(f"{machine}{instance}".encode()).digest()
    return IPv6Network((b"\xfd" + digest[:5] + bytes(10), 48))
