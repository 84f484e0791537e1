"""Bodies of the Container and Exec operations (API 1.51)."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType, field

from engine.model.base import Body
from engine.model.network import EndpointSettings, NetworkingConfig

EmptyObject = dict[str, Any]


class HealthConfig(Body):
    """How a container's health is checked; durations in nanoseconds, 0 inherits."""

    test: list[str] | UnsetType | None = UNSET
    interval: int | UnsetType = UNSET
    timeout: int | UnsetType = UNSET
    start_period: int | UnsetType = UNSET
    start_interval: int | UnsetType = UNSET
    retries: int | UnsetType = UNSET


class ContainerConfig(Body):
    """What a container runs, independent of the host (``ContainerConfig``)."""

    hostname: str = ""
    domainname: str = ""
    user: str = ""
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    exposed_ports: dict[str, EmptyObject] | UnsetType | None = UNSET
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    env: list[str] | None = None
    cmd: list[str] | None = None
    healthcheck: HealthConfig | UnsetType | None = UNSET
    args_escaped: bool | UnsetType = UNSET
    image: str = ""
    volumes: dict[str, EmptyObject] | None = None
    working_dir: str = ""
    entrypoint: list[str] | None = None
    network_disabled: bool | UnsetType = UNSET
    mac_address: str | UnsetType = UNSET
    on_build: list[str] | UnsetType | None = None
    labels: dict[str, str] | None = None
    stop_signal: str | UnsetType = UNSET
    stop_timeout: int | UnsetType | None = UNSET
    shell: list[str] | UnsetType | None = UNSET


class RestartPolicy(Body):
    """``no``, ``always``, ``unless-stopped`` or ``on-failure`` with a count."""

    name: str = ""
    maximum_retry_count: int = 0


class LogConfig(Body):
    """A log driver and its options."""

    type: str = ""
    config: dict[str, str] | None = None


class PortBinding(Body):
    """Where on the host a container's port is published; ``host_port`` may be a range ``8000-8010``."""

    host_ip: str = field(name="HostIp", default="")
    host_port: str = ""


PortMap = dict[str, list[PortBinding] | None]


class WeightDevice(Body):
    """A block device's weight."""

    path: str = ""
    weight: int = 0


class ThrottleDevice(Body):
    """A block device's limit in bytes or operations a second."""

    path: str = ""
    rate: int = 0


class DeviceMapping(Body):
    """A host device made available in a container; permissions out of ``rwm``."""

    path_on_host: str = ""
    path_in_container: str = ""
    cgroup_permissions: str = ""


class DeviceRequest(Body):
    """Devices asked for from a driver (GPUs, CDI)."""

    driver: str = ""
    count: int = 0
    device_ids: list[str] | None = field(name="DeviceIDs", default=None)
    capabilities: list[list[str]] | None = None
    options: dict[str, str] | None = None


class Ulimit(Body):
    """A resource limit by its name without ``RLIMIT_``."""

    name: str = ""
    hard: int = 0
    soft: int = 0


class BindOptions(Body):
    """Options of a bind mount."""

    propagation: str | UnsetType = UNSET
    non_recursive: bool | UnsetType = UNSET
    create_mountpoint: bool | UnsetType = UNSET
    read_only_non_recursive: bool | UnsetType = UNSET
    read_only_force_recursive: bool | UnsetType = UNSET


class DriverConfig(Body):
    """A volume driver and its options."""

    name: str | UnsetType = UNSET
    options: dict[str, str] | UnsetType | None = UNSET


class VolumeOptions(Body):
    """Options of a volume mount."""

    no_copy: bool | UnsetType = UNSET
    labels: dict[str, str] | UnsetType | None = UNSET
    subpath: str | UnsetType = UNSET
    driver_config: DriverConfig | UnsetType | None = UNSET


class ImageOptions(Body):
    """Options of an image mount."""

    subpath: str | UnsetType = UNSET


class TmpfsOptions(Body):
    """Options of a tmpfs mount: size in bytes, mode as an integer."""

    size_bytes: int | UnsetType = UNSET
    mode: int | UnsetType = UNSET
    options: list[list[str]] | UnsetType | None = UNSET


class Mount(Body):
    """A mount as asked for by ``HostConfig.Mounts``."""

    type: str | UnsetType = UNSET
    source: str | UnsetType = UNSET
    target: str | UnsetType = UNSET
    read_only: bool | UnsetType = UNSET
    consistency: str | UnsetType = UNSET
    bind_options: BindOptions | UnsetType | None = UNSET
    volume_options: VolumeOptions | UnsetType | None = UNSET
    image_options: ImageOptions | UnsetType | None = UNSET
    tmpfs_options: TmpfsOptions | UnsetType | None = UNSET
    cluster_options: EmptyObject | UnsetType | None = UNSET


class Resources(Body):
    """Limits of a container; also the body of ``/containers/{id}/update``."""

    cpu_shares: int = 0
    memory: int = 0
    nano_cpus: int = 0
    cgroup_parent: str = ""
    blkio_weight: int = 0
    blkio_weight_device: list[WeightDevice] | None = None
    blkio_device_read_bps: list[ThrottleDevice] | None = None
    blkio_device_write_bps: list[ThrottleDevice] | None = None
    blkio_device_read_iops: list[ThrottleDevice] | None = field(name="BlkioDeviceReadIOps", default=None)
    blkio_device_write_iops: list[ThrottleDevice] | None = field(name="BlkioDeviceWriteIOps", default=None)
    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_realtime_period: int = 0
    cpu_realtime_runtime: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    devices: list[DeviceMapping] | None = None
    device_cgroup_rules: list[str] | None = None
    device_requests: list[DeviceRequest] | None = None
    kernel_memory: int | UnsetType = UNSET
    kernel_memory_tcp: int | UnsetType = field(name="KernelMemoryTCP", default=UNSET)
    memory_reservation: int = 0
    memory_swap: int = 0
    memory_swappiness: int | None = None
    oom_kill_disable: bool | None = None
    pids_limit: int | None = None
    ulimits: list[Ulimit] | None = None
    cpu_count: int = 0
    cpu_percent: int = 0
    io_maximum_iops: int = field(name="IOMaximumIOps", default=0)
    io_maximum_bandwidth: int = field(name="IOMaximumBandwidth", default=0)


class HostConfig(Resources):
    """What a container gets from its host (``HostConfig``)."""

    binds: list[str] | None = None
    container_id_file: str = field(name="ContainerIDFile", default="")
    log_config: LogConfig = field(default_factory=LogConfig)
    network_mode: str = ""
    port_bindings: PortMap | None = None
    restart_policy: RestartPolicy = field(default_factory=RestartPolicy)
    auto_remove: bool = False
    volume_driver: str = ""
    volumes_from: list[str] | None = None
    console_size: list[int] = field(default_factory=lambda: [0, 0])
    annotations: dict[str, str] | UnsetType | None = UNSET
    cap_add: list[str] | None = None
    cap_drop: list[str] | None = None
    cgroupns_mode: str = ""
    dns: list[str] | None = None
    dns_options: list[str] | None = None
    dns_search: list[str] | None = None
    extra_hosts: list[str] | None = None
    group_add: list[str] | None = None
    ipc_mode: str = ""
    cgroup: str = ""
    links: list[str] | None = None
    oom_score_adj: int = 0
    pid_mode: str = ""
    privileged: bool = False
    publish_all_ports: bool = False
    readonly_rootfs: bool = False
    security_opt: list[str] | None = None
    storage_opt: dict[str, str] | UnsetType | None = UNSET
    tmpfs: dict[str, str] | UnsetType | None = UNSET
    uts_mode: str = field(name="UTSMode", default="")
    userns_mode: str = ""
    shm_size: int = 0
    sysctls: dict[str, str] | UnsetType | None = UNSET
    runtime: str | UnsetType = UNSET
    isolation: str = ""
    mounts: list[Mount] | UnsetType | None = UNSET
    masked_paths: list[str] | None = None
    readonly_paths: list[str] | None = None
    init: bool | UnsetType | None = UNSET


class ContainerCreateRequest(ContainerConfig):
    """Body of ``POST /containers/create``."""

    host_config: HostConfig | UnsetType | None = UNSET
    networking_config: NetworkingConfig | UnsetType | None = UNSET


class ContainerCreateResponse(Body):
    """Answer of ``POST /containers/create``."""

    id: str = ""
    warnings: list[str] = field(default_factory=list)


class ContainerUpdateRequest(Resources):
    """Body of ``POST /containers/{id}/update``."""

    restart_policy: RestartPolicy = field(default_factory=RestartPolicy)


class ContainerUpdateResponse(Body):
    """Answer of ``POST /containers/{id}/update``."""

    warnings: list[str] | None = None


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


class MountPoint(Body):
    """A mount of a container as inspect and list show it."""

    type: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    source: str = ""
    destination: str = ""
    driver: str | UnsetType = UNSET
    mode: str = ""
    rw: bool = field(name="RW", default=False)
    propagation: str = ""


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


class WaitExitError(Body):
    """Why a wait failed."""

    message: str | UnsetType = UNSET


class WaitResponse(Body):
    """Answer of ``POST /containers/{id}/wait``."""

    error: WaitExitError | UnsetType | None = UNSET
    status_code: int = 0


class TopResponse(Body):
    """Answer of ``GET /containers/{id}/top``."""

    titles: list[str] = field(default_factory=list)
    processes: list[list[str]] = field(default_factory=list)


class ContainersPruneReport(Body):
    """Answer of ``POST /containers/prune``; bytes."""

    containers_deleted: list[str] | None = None
    space_reclaimed: int = 0


class ExecCreateRequest(Body):
    """Body of ``POST /containers/{id}/exec``; console size is height, width."""

    user: str = ""
    privileged: bool = False
    tty: bool = False
    console_size: list[int] | UnsetType | None = UNSET
    attach_stdin: bool = False
    attach_stderr: bool = False
    attach_stdout: bool = False
    detach_keys: str = ""
    env: list[str] | None = None
    working_dir: str = ""
    cmd: list[str] | None = None


class ExecStartRequest(Body):
    """Body of ``POST /exec/{id}/start``."""

    detach: bool = False
    tty: bool = False
    console_size: list[int] | UnsetType | None = UNSET


class ExecProcessConfig(msgspec.Struct, kw_only=True):
    """The process of an exec."""

    tty: bool = False
    entrypoint: str = ""
    arguments: list[str] = field(default_factory=list)
    privileged: bool | UnsetType = UNSET
    user: str | UnsetType = UNSET


class ExecInspect(Body):
    """Answer of ``GET /exec/{id}/json``."""

    id: str = field(name="ID", default="")
    running: bool = False
    exit_code: int | None = None
    process_config: ExecProcessConfig = field(default_factory=ExecProcessConfig)
    open_stdin: bool = False
    open_stderr: bool = False
    open_stdout: bool = False
    can_remove: bool = False
    container_id: str = field(name="ContainerID", default="")
    detach_keys: str = ""
    pid: int = 0


class IdResponse(Body):
    """An answer that is only an ID."""

    id: str = ""
