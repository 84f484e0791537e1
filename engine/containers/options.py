"""From ``POST /containers/create`` to a record: image configuration merged, defaults filled in, all checked.

Decides only: nothing is made and nothing is looked up but what the caller hands in. Mounts are planned by
``mounts``. The order of checks is moby's, so that of several faults the same one is named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from msgspec import UNSET

from engine.containers import validate
from engine.containers.imageconfig import merge_image_config, settle_command
from engine.containers.interfaces import ResolvedImage
from engine.containers.logoptions import settle_log_config
from engine.containers.mountspec import check_mounts
from engine.containers.resources import verify_resources
from engine.errors import InvalidArgument, NotFound
from engine.model.base import given
from engine.model.container import ContainerConfig, ContainerCreateRequest, HostConfig, LogConfig
from engine.model.network import EndpointSettings, NetworkingConfig
from engine.model.record import ContainerRecord
from engine.model.resources import Ulimit
from engine.runtime.apparmor import DEFAULT_PROFILE
from engine.runtime.host import HostFacts
from engine.runtime.security import parse_security_options
from engine.runtime.spec import MASKED_PATHS, READONLY_PATHS

DEFAULT_SHM_BYTES = 64 * 1024 * 1024
_LATEST = (1, 51)


@dataclass(frozen=True)
class CreateDefaults:
    """What the engine's configuration says of containers that say nothing; ``runtimes`` are the known names."""

    runtime: str = "crun"
    runtimes: frozenset[str] = frozenset({"crun", "runc"})
    log: LogConfig = field(default_factory=lambda: LogConfig(type="json-file", config={}))
    shm_size_bytes: int = DEFAULT_SHM_BYTES
    ipc_mode: str = "private"
    cgroupns_mode: str = ""
    ulimits: tuple[Ulimit, ...] = ()
    remaps: bool = False


FindContainer = Callable[[str], ContainerRecord]


@dataclass(frozen=True)
class _Request:
    """A request in progress: its parts, which are its own and may be changed, and the warnings so far."""

    config: ContainerConfig
    host_config: HostConfig
    endpoints: dict[str, EndpointSettings]
    api_version: tuple[int, int]
    warnings: list[str]


def build_record(
    request: ContainerCreateRequest,
    *,
    name: str,
    container_id: str,
    created_ns: int,
    image: ResolvedImage | None,
    defaults: CreateDefaults,
    host: HostFacts,
    find_container: FindContainer | None = None,
    api_version: tuple[int, int] = _LATEST,
    platform: str | None = None,
    ipv4_forwarding: bool = True,
) -> tuple[ContainerRecord, list[str]]:
    """Return the record of a new container, without its mounts, and the warnings of its creation.

    ``find_container`` turns names in ``container:<name>`` modes into IDs, which renaming does not change.
    ``platform`` is what the client asked for, if it did; ``ipv4_forwarding`` whether the host forwards.
    Raises InvalidArgument, NotFound and NotSupported with moby's texts.
    """
    work = _take_apart(request, api_version)
    host_config, config = work.host_config, work.config
    _normalize(work)
    validate.check_namespaces(config, host_config)
    validate.refuse_unsupported(host_config)
    validate.check_config(config)
    check_mounts(given(host_config.mounts, []), api_version)
    work.warnings.extend(_mount_warnings(host_config, api_version))
    validate.check_host_config(host_config, host)
    work.warnings.extend(verify_resources(host_config, host))
    if defaults.remaps:
        validate.check_remapped(host_config)
    _check_runtime(host_config, defaults)
    if not ipv4_forwarding and host_config.network_mode not in ("host", "none"):
        work.warnings.append("IPv4 forwarding is disabled. Networking will not work.")
    _host_warnings(work, host)
    if image is not None:
        if not platform and image.architecture not in ("", host.architecture):
            work.warnings.append(
                f"The requested image's platform ({image.os or 'linux'}/{image.architecture}) does not match the "
                f"detected host platform (linux/{host.architecture}) and no specific platform was requested"
            )
        merge_image_config(config, image.config)
    program, arguments = settle_command(config)
    validate.check_config(config)
    _fill_in(work, container_id, defaults, host, find_container)
    record = ContainerRecord(
        id=container_id,
        name=name,
        created_ns=created_ns,
        image_id=image.id if image else "",
        path=program,
        args=arguments,
        config=config,
        host_config=host_config,
        networks=_networks(work),
        app_armor_profile=_apparmor_profile(host_config, host),
    )
    return record, work.warnings


def _apparmor_profile(host_config: HostConfig, host: HostFacts) -> str:
    asked = parse_security_options(host_config.security_opt or []).apparmor
    if asked or not host.apparmor:
        return asked
    return "unconfined" if host_config.privileged else DEFAULT_PROFILE


def _take_apart(request: ContainerCreateRequest, api_version: tuple[int, int]) -> _Request:
    config = ContainerConfig(**{name: getattr(request, name) for name in ContainerConfig.__struct_fields__})
    host_config = request.host_config if isinstance(request.host_config, HostConfig) else HostConfig()
    networking = request.networking_config
    endpoints: dict[str, EndpointSettings] = {}
    if isinstance(networking, NetworkingConfig):
        for network, settings in (networking.endpoints_config or {}).items():
            if settings is None:
                raise InvalidArgument(f"invalid config for network {network}: EndpointsConfig is nil")
            endpoints[network] = settings
    if api_version < (1, 44) and len(endpoints) > 1:
        raise InvalidArgument(
            f"Container cannot be created with multiple network endpoints: {', '.join(sorted(endpoints))}"
        )
    return _Request(config, host_config, endpoints, api_version, [])


def _normalize(work: _Request) -> None:
    """Bring what older versions of the API meant into today's form."""
    host_config, config, version = work.host_config, work.config, work.api_version
    if host_config.network_mode in ("", "default"):
        host_config.network_mode = "bridge"
        if "default" in work.endpoints:
            work.endpoints["bridge"] = work.endpoints.pop("default")
    if given(config.network_disabled, False):
        host_config.network_mode = "none"
    if version < (1, 25):
        host_config.auto_remove = False
    if version < (1, 40) and not host_config.ipc_mode:
        host_config.ipc_mode = "shareable"
    if version < (1, 42):
        host_config.console_size = [0, 0]
    else:
        host_config.kernel_memory = UNSET
    if version < (1, 43):
        host_config.annotations = UNSET
    health = config.healthcheck
    if version < (1, 44) and health:
        health.start_interval = UNSET
    if not host_config.restart_policy.name:
        host_config.restart_policy.name = "no"
    if host_config.pids_limit is not None and host_config.pids_limit <= 0:
        host_config.pids_limit = None
    if len(host_config.console_size) != 2:
        host_config.console_size = [0, 0]
    _move_mac_address(work)


def _move_mac_address(work: _Request) -> None:
    address, mode = given(work.config.mac_address, ""), work.host_config.network_mode
    if not address:
        return
    takes_one = mode not in ("host", "none") and not validate.is_container_mode(mode)
    if not takes_one and work.api_version < (1, 44):
        raise InvalidArgument("conflicting options: mac-address and the network mode")
    if takes_one:
        if work.endpoints and mode not in work.endpoints and work.api_version >= (1, 44):
            raise InvalidArgument(
                "unable to migrate container-wide MAC address to a specific network: "
                "HostConfig.NetworkMode must match the identity of a network in NetworkSettings.Networks"
            )
        endpoint = work.endpoints.setdefault(mode, EndpointSettings())
        if endpoint.mac_address not in ("", address):
            raise InvalidArgument(
                "the container-wide MAC address must match the endpoint-specific MAC address for the main "
                "network, or be left empty"
            )
        endpoint.mac_address = address
    if work.api_version >= (1, 44):
        work.config.mac_address = UNSET
        work.warnings.append(
            "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead."
        )


def _mount_warnings(host_config: HostConfig, version: tuple[int, int]) -> list[str]:
    if not host_config.volume_driver or version < (1, 48):
        return []
    for mount in given(host_config.mounts, []):
        driver = given(mount.volume_options.driver_config, None) if mount.volume_options else None
        if mount.type == "volume" and not (driver and given(driver.name, "")):
            return [
                "WARNING: the container-wide volume-driver configuration is ignored for volumes specified via "
                "'mount'. Use '--mount type=volume,volume-driver=...' instead"
            ]
    return []


def _check_runtime(host_config: HostConfig, defaults: CreateDefaults) -> None:
    name = given(host_config.runtime, "") or defaults.runtime
    if name not in defaults.runtimes:
        raise InvalidArgument(f"unknown or invalid runtime name: {name}")
    host_config.runtime = name


def _host_warnings(work: _Request, host: HostFacts) -> None:
    host_config = work.host_config
    if host_config.network_mode == "host" and host_config.port_bindings:
        work.warnings.append("Published ports are discarded when using host network mode")
    if host_config.cgroupns_mode == "private" and not host.cgroups.namespaces:
        work.warnings.append("Your kernel does not support cgroup namespaces.  Cgroup namespace setting discarded.")
    if host_config.oom_score_adj < host.oom_score_floor:
        work.warnings.append(
            f"oom-score-adj {host_config.oom_score_adj} is below what the engine may set on this host. "
            f"Raised to {host.oom_score_floor}."
        )


def _fill_in(
    work: _Request,
    container_id: str,
    defaults: CreateDefaults,
    host: HostFacts,
    find_container: FindContainer | None,
) -> None:
    config, host_config = work.config, work.host_config
    if host_config.memory > 0 and host_config.memory_swap == 0:
        host_config.memory_swap = host_config.memory * 2
    host_config.shm_size = host_config.shm_size or defaults.shm_size_bytes
    host_config.ipc_mode = host_config.ipc_mode or defaults.ipc_mode
    host_config.cgroupns_mode = host_config.cgroupns_mode or _cgroupns_mode(host_config, defaults, host)
    if find_container is not None:
        for attribute in ("pid_mode", "ipc_mode", "network_mode"):
            mode = _by_id(getattr(host_config, attribute), find_container)
            if attribute != "network_mode" and mode.startswith("container:"):
                find_container(mode.removeprefix("container:"))  # of these two moby wants it now
            setattr(host_config, attribute, mode)
        shared = _shared(host_config.network_mode, find_container)
        if shared is not None:
            config.hostname, config.domainname = shared.config.hostname, shared.config.domainname
    host_config.oom_kill_disable = bool(host_config.oom_kill_disable)
    host_config.log_config = settle_log_config(host_config.log_config, defaults.log)
    if not host_config.privileged:
        if host_config.masked_paths is None:
            host_config.masked_paths = [*MASKED_PATHS, *host.thermal_paths]
        if host_config.readonly_paths is None:
            host_config.readonly_paths = list(READONLY_PATHS)
    if not config.hostname:
        shares_host = host_config.network_mode == "host" or host_config.uts_mode == "host"
        config.hostname = host.hostname if shares_host else container_id[:12]


def _cgroupns_mode(host_config: HostConfig, defaults: CreateDefaults, host: HostFacts) -> str:
    if host_config.privileged and host.cgroups.version == 1:
        return "host"
    return defaults.cgroupns_mode or ("private" if host.cgroups.version == 2 else "host")


def _by_id(mode: str, find_container: FindContainer) -> str:
    """Return a mode with its container's ID, which a new name does not change; a missing one may come yet."""
    shared = _shared(mode, find_container)
    return f"container:{shared.id}" if shared is not None else mode


def _shared(mode: str, find_container: FindContainer) -> ContainerRecord | None:
    if not validate.is_container_mode(mode):
        return None
    with suppress(NotFound, InvalidArgument):
        return find_container(mode.removeprefix("container:"))
    return None


def _networks(work: _Request) -> dict[str, EndpointSettings]:
    mode = work.host_config.network_mode
    if validate.is_container_mode(mode):
        if work.endpoints:
            raise InvalidArgument(
                "container sharing network namespace with another container or host cannot be connected to any "
                "other network"
            )
        return {}
    networks: Mapping[str, EndpointSettings] = work.endpoints
    return dict(networks) if networks else {mode: EndpointSettings()}
