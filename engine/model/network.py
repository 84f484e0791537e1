"""Bodies of the Network operations (API 1.51)."""

from __future__ import annotations

from msgspec import UNSET, UnsetType, field

from engine.model.base import Body


class EndpointIPAMConfig(Body):
    """Addresses that a user asks for."""

    ipv4_address: str | UnsetType = field(name="IPv4Address", default=UNSET)
    ipv6_address: str | UnsetType = field(name="IPv6Address", default=UNSET)
    link_local_ips: list[str] | UnsetType | None = field(name="LinkLocalIPs", default=UNSET)


class EndpointSettings(Body):
    """A container's connection to one network: what was asked for and what it got."""

    ipam_config: EndpointIPAMConfig | None = field(name="IPAMConfig", default=None)
    links: list[str] | None = None
    aliases: list[str] | None = None
    mac_address: str = ""
    driver_opts: dict[str, str] | None = None
    gw_priority: int = 0
    network_id: str = field(name="NetworkID", default="")
    endpoint_id: str = field(name="EndpointID", default="")
    gateway: str = ""
    ip_address: str = field(name="IPAddress", default="")
    ip_prefix_len: int = field(name="IPPrefixLen", default=0)
    ipv6_gateway: str = field(name="IPv6Gateway", default="")
    global_ipv6_address: str = field(name="GlobalIPv6Address", default="")
    global_ipv6_prefix_len: int = field(name="GlobalIPv6PrefixLen", default=0)
    dns_names: list[str] | None = field(name="DNSNames", default=None)


class NetworkingConfig(Body):
    """The networks that a container is connected to when it is created."""

    endpoints_config: dict[str, EndpointSettings | None] | None = None


class IPAMConfig(Body):
    """One subnet of a network."""

    subnet: str | UnsetType = UNSET
    ip_range: str | UnsetType = field(name="IPRange", default=UNSET)
    gateway: str | UnsetType = UNSET
    auxiliary_addresses: dict[str, str] | UnsetType | None = UNSET


class IPAM(Body):
    """Address management of a network."""

    driver: str = "default"
    options: dict[str, str] | None = None
    config: list[IPAMConfig] | None = None


class ConfigReference(Body):
    """A network whose configuration is taken."""

    network: str = ""


class NetworkContainer(Body):
    """A container as a network's inspect shows it; addresses with their prefix length."""

    name: str = ""
    endpoint_id: str = field(name="EndpointID", default="")
    mac_address: str = ""
    ipv4_address: str = field(name="IPv4Address", default="")
    ipv6_address: str = field(name="IPv6Address", default="")


class NetworkInspect(Body):
    """A network; the list sends it with no containers."""

    name: str = ""
    id: str = ""
    created: str = ""
    scope: str = "local"
    driver: str = ""
    enable_ipv4: bool = field(name="EnableIPv4", default=True)
    enable_ipv6: bool = field(name="EnableIPv6", default=False)
    ipam: IPAM = field(name="IPAM", default_factory=IPAM)
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_from: ConfigReference = field(default_factory=ConfigReference)
    config_only: bool = False
    containers: dict[str, NetworkContainer] | None = None
    options: dict[str, str] | None = None
    labels: dict[str, str] | None = None


class NetworkCreateRequest(Body):
    """Body of ``POST /networks/create``."""

    name: str = ""
    driver: str = ""
    scope: str = ""
    enable_ipv4: bool | UnsetType = field(name="EnableIPv4", default=UNSET)
    enable_ipv6: bool | UnsetType = field(name="EnableIPv6", default=UNSET)
    ipam: IPAM | None = field(name="IPAM", default=None)
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_only: bool = False
    config_from: ConfigReference | None = None
    options: dict[str, str] | None = None
    labels: dict[str, str] | None = None


class NetworkCreateResponse(Body):
    """Answer of ``POST /networks/create``."""

    id: str = ""
    warning: str = ""


class NetworkConnectRequest(Body):
    """Body of ``POST /networks/{id}/connect``."""

    container: str = ""
    endpoint_config: EndpointSettings | None = None


class NetworkDisconnectRequest(Body):
    """Body of ``POST /networks/{id}/disconnect``."""

    container: str = ""
    force: bool = False


class NetworksPruneReport(Body):
    """Answer of ``POST /networks/prune``."""

    networks_deleted: list[str] | None = None
