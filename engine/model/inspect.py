"""What inspect and list tell of a container (API 1.51)."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, UnsetType, field

from engine.model.base import Body
from engine.model.container import ContainerConfig, HostConfig, PortMap
from engine.model.mount import MountPoint
from engine.model.network import EndpointSettings


class HealthcheckResult(Body):
    """One check: RFC 3339 times; exit code 0 healthy, 1 unhealthy."""

    start: str = ""
    end: str = ""
    exit_code: int = 0
    output: str = ""


class Health(Body):
    """A container's health: ``starting``, ``healthy`` or ``unhealthy``, and the last five checks."""

    status: str = "none"
    failing_streak: int = 0
    log: list[HealthcheckResult] | None = None


class ContainerState(Body):
    """A container's state as inspect shows it; times in RFC 3339 with nanoseconds."""

    status: str = "created"
    running: bool = False
    paused: bool = False
    restarting: bool = False
    oom_killed: bool = field(name="OOMKilled", default=False)
    dead: bool = False
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    started_at: str = "0001-01-01T00:00:00Z"
    finished_at: str = "0001-01-01T00:00:00Z"
    health: Health | UnsetType | None = UNSET


class DriverData(Body):
    """A storage driver and what it knows of a root file system."""

    data: dict[str, str] | None = None
    name: str = ""


class Address(Body):
    """A secondary address."""

    addr: str = ""
    prefix_len: int = 0


class NetworkSettings(Body):
    """The networks of a container; the flat fields repeat the default bridge's (sent up to API 1.51)."""

    bridge: str = ""
    sandbox_id: str = field(name="SandboxID", default="")
    sandbox_key: str = ""
    ports: PortMap | None = None
    hairpin_mode: bool = False
    link_local_ipv6_address: str = field(name="LinkLocalIPv6Address", default="")
    link_local_ipv6_prefix_len: int = field(name="LinkLocalIPv6PrefixLen", default=0)
    secondary_ip_addresses: list[Address] | None = field(name="SecondaryIPAddresses", default=None)
    secondary_ipv6_addresses: list[Address] | None = field(name="SecondaryIPv6Addresses", default=None)
    endpoint_id: str = field(name="EndpointID", default="")
    gateway: str = ""
    global_ipv6_address: str = field(name="GlobalIPv6Address", default="")
    global_ipv6_prefix_len: int = field(name="GlobalIPv6PrefixLen", default=0)
    ip_address: str = field(name="IPAddress", default="")
    ip_prefix_len: int = field(name="IPPrefixLen", default=0)
    ipv6_gateway: str = field(name="IPv6Gateway", default="")
    mac_address: str = ""
    networks: dict[str, EndpointSettings] | None = None


class ContainerInspect(Body):
    """Answer of ``GET /containers/{id}/json``."""

    id: str = ""
    created: str = ""
    path: str = ""
    args: list[str] = field(default_factory=list)
    state: ContainerState = field(default_factory=ContainerState)
    image: str = ""
    resolv_conf_path: str = ""
    hostname_path: str = ""
    hosts_path: str = ""
    log_path: str = ""
    name: str = ""
    restart_count: int = 0
    driver: str = ""
    platform: str = ""
    mount_label: str = ""
    process_label: str = ""
    app_armor_profile: str = ""
    exec_ids: list[str] | None = field(name="ExecIDs", default=None)
    host_config: HostConfig = field(default_factory=HostConfig)
    graph_driver: DriverData = field(default_factory=DriverData)
    size_rw: int | UnsetType = UNSET
    size_root_fs: int | UnsetType = UNSET
    mounts: list[MountPoint] = field(default_factory=list)
    config: ContainerConfig = field(default_factory=ContainerConfig)
    network_settings: NetworkSettings = field(default_factory=NetworkSettings)
    image_manifest_descriptor: dict[str, Any] | UnsetType | None = UNSET


class PortSummary(Body):
    """A port as the list shows it."""

    ip: str | UnsetType = field(name="IP", default=UNSET)
    private_port: int = 0
    public_port: int | UnsetType = UNSET
    type: str = "tcp"


class SummaryHostConfig(Body):
    """The two fields of HostConfig that the list shows."""

    network_mode: str | UnsetType = UNSET
    annotations: dict[str, str] | UnsetType | None = UNSET


class SummaryNetworkSettings(Body):
    """The networks of a container in the list."""

    networks: dict[str, EndpointSettings] = field(default_factory=dict)


class ContainerSummary(Body):
    """One row of ``GET /containers/json``."""

    id: str = ""
    names: list[str] = field(default_factory=list)
    image: str = ""
    image_id: str = field(name="ImageID", default="")
    command: str = ""
    created: int = 0
    ports: list[PortSummary] = field(default_factory=list)
    size_rw: int | UnsetType = UNSET
    size_root_fs: int | UnsetType = UNSET
    labels: dict[str, str] = field(default_factory=dict)
    state: str = ""
    status: str = ""
    host_config: SummaryHostConfig = field(default_factory=SummaryHostConfig)
    network_settings: SummaryNetworkSettings = field(default_factory=SummaryNetworkSettings)
    mounts: list[MountPoint] = field(default_factory=list)
