"""What the store keeps of a network, and the names that every engine has. No kernel, no containers' records."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import msgspec
from msgspec import field

BRIDGE, HOST, NONE = "bridge", "host", "none"
DRIVERS = {BRIDGE: "bridge", HOST: "host", NONE: "null"}
"""The networks that every engine has, with their drivers."""


class PoolRecord(msgspec.Struct, kw_only=True):
    """One subnet of a network.

    ``gateway`` is what is in use, ``asked_gateway`` what was asked for; ``is_asked`` says that a user named
    the subnet: inspect shows then what was asked.
    """

    subnet: str
    ip_range: str = ""
    gateway: str = ""
    asked_gateway: str = ""
    auxiliary: dict[str, str] = field(default_factory=dict)
    is_asked: bool = False

    @property
    def network(self) -> IPv4Network | IPv6Network:
        """The subnet."""
        return ip_network(self.subnet)

    @property
    def gateway_address(self) -> IPv4Address | IPv6Address | None:
        """The gateway's address, None where the network has none."""
        return ip_address(self.gateway) if self.gateway else None


class NetworkRecord(msgspec.Struct, kw_only=True):
    """All of a network but the default bridge's addresses, which the configuration says.

    ``pools`` of a configuration-only network are what was asked for; nothing is given out of them.
    """

    id: str
    name: str
    driver: str
    created_ns: int
    enable_ipv4: bool = True
    enable_ipv6: bool = False
    internal: bool = False
    attachable: bool = False
    config_only: bool = False
    config_from: str = ""
    options: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    ipam_driver: str = "default"
    ipam_options: dict[str, str] | None = None
    pools: list[PoolRecord] = field(default_factory=list)

    @property
    def is_predefined(self) -> bool:
        """Whether every engine has it."""
        return self.name in DRIVERS

    @property
    def short_id(self) -> str:
        """The first twelve digits of its ID."""
        return self.id[:12]
