"""What the configuration says about networks, as the composition root hands it over."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Network

Pool = tuple[IPv4Network, int]
"""A base network and the prefix length of the subnets that are cut out of it."""

ANYWHERE = IPv4Address(0)  # where Docker publishes ports by default

DEFAULT_POOLS: tuple[Pool, ...] = (
    (IPv4Network("172.17.0.0/16"), 16),
    (IPv4Network("172.18.0.0/16"), 16),
    (IPv4Network("172.19.0.0/16"), 16),
    (IPv4Network("172.20.0.0/14"), 16),
    (IPv4Network("172.24.0.0/14"), 16),
    (IPv4Network("172.28.0.0/14"), 16),
    (IPv4Network("192.168.0.0/16"), 20),
)


@dataclass(frozen=True)
class NetworkSettings:
    """Docker's daemon.json keys, by their meaning.

    ``bip`` address and subnet of the default bridge (``bip``); ``fixed_cidr`` the part of it that addresses
    are given out of; ``default_gateway`` what containers use instead of the bridge; ``pools`` and ``pools6``
    ``default-address-pools`` (none of IPv6: a prefix of the engine's own); ``bridge_mtu`` ``mtu``, 0 for the
    kernel's; ``icc`` containers of the default bridge reach one another; ``default_ip`` where ports are
    published without an address (``ip``);
    ``ip_forward``, ``ip_masq``; ``ipv6`` with ``fixed_cidr_v6`` gives the default bridge IPv6;
    ``dns*`` for containers that name none; ``host_gateway_ips`` what ``host-gateway`` stands for;
    ``userland_proxy`` False leaves IPv6 host addresses of containers without IPv6 unserved.
    """

    bip: IPv4Interface | None = None
    fixed_cidr: IPv4Network | None = None
    default_gateway: IPv4Address | None = None
    pools: tuple[Pool, ...] = DEFAULT_POOLS
    pools6: tuple[tuple[IPv6Network, int], ...] = ()
    bridge_mtu: int = 0
    icc: bool = True
    default_ip: IPv4Address | IPv6Address = ANYWHERE
    ip_forward: bool = True
    ip_masq: bool = True
    ipv6: bool = False
    fixed_cidr_v6: IPv6Network | None = None
    userland_proxy: bool = True
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    host_gateway_ips: tuple[IPv4Address | IPv6Address, ...] = field(default=())
