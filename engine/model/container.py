"""Bodies of the Container operations (API 1.51): what a container is made of, and short answers."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, UnsetType, field

from engine.model.base import Body
from engine.model.mount import Mount
from engine.model.network import NetworkingConfig
from engine.model.resources import Resources

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


class IdResponse(Body):
    """An answer that is only an ID."""

    id: str = ""
