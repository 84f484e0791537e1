"""From a container's record to the OCI runtime's configuration (runtime-spec 1.0.2, config.json).

Changes nothing and starts nothing; it reads device nodes and the mount table of the host where an option
names them. Defaults are those of moby 28: capabilities, masked paths, devices, mounts, sysctls.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from engine.errors import InvalidArgument, NotSupported, Unavailable
from engine.model.base import given
from engine.model.container import HostConfig
from engine.model.execution import ExecCreateRequest
from engine.model.record import ContainerRecord, MountRecord
from engine.model.resources import Ulimit
from engine.runtime import capabilities, cgroups, devices, seccomp
from engine.runtime.apparmor import DEFAULT_PROFILE
from engine.runtime.host import DEFAULT_SYSCTLS, UNLIMITED, HostFacts
from engine.runtime.security import SecurityOptions, parse_security_options
from engine.runtime.specmounts import MountInputs, build_mounts
from engine.runtime.usernamespaces import IdMap
from engine.runtime.users import ResolvedUser

OCI_VERSION = "1.0.2"
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INIT_PATH = "/sbin/docker-init"
_INFINITY = 2**64 - 1

MASKED_PATHS: tuple[str, ...] = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
READONLY_PATHS: tuple[str, ...] = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


class SourcedMount(Protocol):
    """A mount of a container and where on the host it really comes from."""

    @property
    def mount(self) -> MountRecord:
        """What was planned."""

    @property
    def source(self) -> Path:
        """The path to bind; meaningless for a tmpfs."""


@dataclass(frozen=True)
class SpecDefaults:
    """What the engine's configuration says of every container.

    ``seccomp`` is a profile's JSON, ``unconfined`` or empty for the built-in one.
    """

    init: bool = False
    init_path: Path | None = None
    no_new_privileges: bool = False
    ulimits: tuple[Ulimit, ...] = ()
    seccomp: str = ""
    apparmor_profile: str = DEFAULT_PROFILE
    cdi_folders: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Remapped:
    """What is particular to a container with a user namespace.

    ``user_path`` is the namespace's, ``files_dir`` that of hosts, hostname and resolv.conf with shifted IDs.
    """

    user_path: Path
    mapping: IdMap
    files_dir: Path


@dataclass(frozen=True)
class SpecInputs:
    """All that the configuration of one container is made of.

    ``netns_path`` is the namespace to join, or None for the host's. ``ipc_path`` and ``pid_path`` are those
    of joined containers (``/proc/<pid>/ns/ipc``). ``files_dir`` holds hosts, hostname and resolv.conf;
    the ones that are absent are not mounted. ``shm_path`` is a tmpfs on the host that other containers may
    share; without it the container has one of its own. ``cgroups_path`` starts with a slash.
    """

    record: ContainerRecord
    rootfs: Path
    files_dir: Path
    user: ResolvedUser
    cgroups_path: str
    host: HostFacts
    mounts: Sequence[SourcedMount] = ()
    netns_path: Path | str | None = None
    ipc_path: Path | str | None = None
    pid_path: Path | str | None = None
    shm_path: Path | None = None
    data_root: Path | None = None
    remapped: Remapped | None = None
    defaults: SpecDefaults = field(default_factory=SpecDefaults)


def build_spec(inputs: SpecInputs) -> dict[str, Any]:
    """Return ``config.json`` as a dictionary.

    Raises InvalidArgument for a device or a propagation that the host does not have, NotSupported or
    Unavailable for what it lacks.
    """
    record, host = inputs.record, inputs.host
    config, host_config = record.config, record.host_config
    security = parse_security_options(
        host_config.security_opt or [], no_new_privileges=inputs.defaults.no_new_privileges
    )
    caps = capabilities.effective(
        host_config.cap_add or [], host_config.cap_drop or [], host.capabilities, privileged=host_config.privileged
    )
    init = _init_program(inputs)
    mounts, propagation = build_mounts(_mount_inputs(inputs, security, init))
    linux: dict[str, Any] = {
        "namespaces": _namespaces(inputs),
        "cgroupsPath": inputs.cgroups_path,
        "resources": cgroups.resources(host_config),
        "sysctl": _sysctls(inputs),
    }
    if propagation:
        linux["rootfsPropagation"] = propagation
    if inputs.remapped is not None:
        mapping = inputs.remapped.mapping
        for key, ranges in (("uidMappings", mapping.uids), ("gidMappings", mapping.gids)):
            linux[key] = [{"containerID": item.inside, "hostID": item.outside, "size": item.count} for item in ranges]
    linux["devices"], linux["resources"]["devices"] = _devices(host_config)
    for key, paths, default in (
        ("maskedPaths", host_config.masked_paths, [*MASKED_PATHS, *host.thermal_paths]),
        ("readonlyPaths", host_config.readonly_paths, list(READONLY_PATHS)),
    ):
        linux[key] = paths if paths is not None else [] if host_config.privileged else default
    profile = _seccomp(inputs, security, caps)
    if profile is not None:
        linux["seccomp"] = profile
    arguments = [record.path, *record.args]
    process = _process(inputs, security, caps, [INIT_PATH, "--", *arguments] if init else arguments)
    spec: dict[str, Any] = {
        "ociVersion": OCI_VERSION,
        "process": process,
        "root": {"path": str(inputs.rootfs), "readonly": host_config.readonly_rootfs},
        "mounts": mounts,
        "linux": linux,
        "annotations": dict(given(host_config.annotations, {})),
    }
    if host_config.uts_mode != "host":
        spec["hostname"] = config.hostname
    if host_config.device_requests:
        from engine.runtime.devicerequests import add_devices  # few containers ask for such

        add_devices(spec, host_config.device_requests, inputs.defaults.cdi_folders)
    return spec


# The process


def build_environment(record: ContainerRecord, *, tty: bool) -> list[str]:
    """Return a container's environment without HOME: Docker's three, then its own in place or behind."""
    base = [f"PATH={DEFAULT_PATH}", f"HOSTNAME={record.config.hostname}"]
    if tty:
        base.append("TERM=xterm")
    return merge_environment([*base, *record.link_environment], record.config.env or [])


def merge_environment(base: Sequence[str], changes: Sequence[str]) -> list[str]:
    """Return ``base`` with ``changes``: ``A=b`` replaces in place or is appended, ``A`` alone removes."""
    merged = {item.partition("=")[0]: item for item in base}
    for item in changes:
        name, found, _ = item.partition("=")
        if found:
            merged[name] = item
        else:
            merged.pop(name, None)
    return list(merged.values())


def _with_home(environment: list[str], home: str) -> list[str]:
    if any(item.startswith("HOME=") and item != "HOME=" for item in environment):
        return environment
    return [*(item for item in environment if item != "HOME="), f"HOME={home or '/'}"]


def _process(inputs: SpecInputs, security: SecurityOptions, caps: list[str], arguments: list[str]) -> dict[str, Any]:
    record = inputs.record
    environment = build_environment(record, tty=record.config.tty)
    process = _common_process(inputs, record, inputs.user, caps)
    process |= {
        "terminal": record.config.tty,
        "args": arguments,
        "cwd": record.config.working_dir or "/",
        "env": _with_home(environment, inputs.user.home),
        "noNewPrivileges": security.no_new_privileges,
    }
    size = record.host_config.console_size
    if record.config.tty and len(size) == 2 and all(size):
        process["consoleSize"] = {"height": size[0], "width": size[1]}
    return process


class _Environment(Protocol):
    @property
    def host(self) -> HostFacts: ...

    @property
    def defaults(self) -> SpecDefaults: ...


def _common_process(
    inputs: _Environment, record: ContainerRecord, user: ResolvedUser, caps: list[str]
) -> dict[str, Any]:
    process: dict[str, Any] = {
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.additional_gids)},
        "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
        "rlimits": rlimits(record.host_config.ulimits or [], inputs.defaults.ulimits, inputs.host),
        "oomScoreAdj": max(record.host_config.oom_score_adj, inputs.host.oom_score_floor),
    }
    if inputs.host.apparmor:
        process["apparmorProfile"] = apparmor_profile(record, inputs.defaults)
    return process


def apparmor_profile(record: ContainerRecord, defaults: SpecDefaults) -> str:
    """Return the name of the AppArmor profile that a container runs under."""
    if record.app_armor_profile:
        return record.app_armor_profile
    return "unconfined" if record.host_config.privileged else defaults.apparmor_profile


@dataclass(frozen=True)
class ExecInputs:
    """What the process of an exec is made of."""

    record: ContainerRecord
    user: ResolvedUser
    host: HostFacts
    defaults: SpecDefaults = field(default_factory=SpecDefaults)


def build_exec_process(inputs: ExecInputs, request: ExecCreateRequest) -> dict[str, Any]:
    """Return the OCI process of an exec: the container's environment and limits, its own command and user."""
    record = inputs.record
    host_config = record.host_config
    caps = capabilities.effective(
        host_config.cap_add or [],
        host_config.cap_drop or [],
        inputs.host.capabilities,
        privileged=host_config.privileged or request.privileged,
    )
    security = parse_security_options(
        host_config.security_opt or [], no_new_privileges=inputs.defaults.no_new_privileges
    )
    environment = merge_environment(build_environment(record, tty=request.tty), request.env or [])
    process = _common_process(inputs, record, inputs.user, caps)
    process |= {
        "terminal": request.tty,
        "args": list(request.cmd or []),
        "cwd": request.working_dir or record.config.working_dir or "/",
        "env": _with_home(environment, inputs.user.home),
        "noNewPrivileges": security.no_new_privileges,
    }
    size = given(request.console_size, [])
    if request.tty and len(size) == 2 and all(size):
        process["consoleSize"] = {"height": size[0], "width": size[1]}
    return process


def rlimits(asked: Sequence[Ulimit], defaults: Sequence[Ulimit], host: HostFacts) -> list[dict[str, Any]]:
    """Return OCI's rlimits; a hard limit above the engine's own is lowered where the kernel would refuse it."""
    chosen = {limit.name.lower(): limit for limit in (*defaults, *asked)}
    result = []
    for name, limit in chosen.items():
        ceiling = _INFINITY if host.can_raise_rlimits else _unsigned(host.hard_rlimits.get(name, UNLIMITED))
        hard = min(_unsigned(limit.hard), ceiling)
        result.append({"type": f"RLIMIT_{name.upper()}", "hard": hard, "soft": min(_unsigned(limit.soft), hard)})
    return result


def _unsigned(value: int) -> int:
    return _INFINITY if value < 0 else value


# Around the process


def _init_program(inputs: SpecInputs) -> Path | None:
    host_config = inputs.record.host_config
    if host_config.pid_mode == "host" or host_config.pid_mode.startswith("container:"):
        return None  # such a namespace has its init already
    if not given(host_config.init, inputs.defaults.init):
        return None
    found = inputs.defaults.init_path or inputs.host.init_path
    if found is None or not found.exists():
        raise NotSupported(
            'exec: "docker-init": executable file not found in $PATH',
            hint="install the package tini or catatonit, or do without --init",
        )
    return found


def _namespaces(inputs: SpecInputs) -> list[dict[str, str]]:
    host_config = inputs.record.host_config
    found = [{"type": "mount"}]
    if inputs.remapped is not None:
        found.append({"type": "user", "path": os.fspath(inputs.remapped.user_path)})
    if inputs.netns_path is not None:
        found.append({"type": "network", "path": os.fspath(inputs.netns_path)})
    if host_config.uts_mode != "host":
        found.append({"type": "uts"})
    for kind, mode, path in (
        ("ipc", host_config.ipc_mode, inputs.ipc_path),
        ("pid", host_config.pid_mode, inputs.pid_path),
    ):
        if mode.startswith("container:"):
            if path is None:
                raise Unavailable(f"failed to join {kind.upper()} namespace: {mode} does not run")
            found.append({"type": kind, "path": os.fspath(path)})
        elif mode != "host":
            found.append({"type": kind})
    if host_config.cgroupns_mode == "private" and inputs.host.cgroups.namespaces:
        found.append({"type": "cgroup"})
    return found


def _sysctls(inputs: SpecInputs) -> dict[str, str]:
    record = inputs.record
    mode = record.host_config.network_mode
    values: dict[str, str] = {}
    if mode != "host" and not mode.startswith("container:") and inputs.netns_path is not None:
        for name, value in DEFAULT_SYSCTLS.items():
            # The range of groups cannot be set by a user namespace that has not all of them.
            has_user_namespace = inputs.host.user_namespace or inputs.remapped is not None
            if name in inputs.host.sysctls and not (has_user_namespace and name.endswith("group_range")):
                values[name] = value
    if record.config.domainname and record.host_config.uts_mode != "host":
        values["kernel.domainname"] = record.config.domainname
    return values | given(record.host_config.sysctls, {})


def _devices(host_config: HostConfig) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    nodes: list[dict[str, Any]] = []
    rules = devices.default_rules()
    if host_config.privileged:
        nodes += devices.host_devices()
        rules.append({"allow": True, "access": "rwm"})
        for mapping in host_config.devices or []:
            if mapping.path_on_host != mapping.path_in_container:
                nodes += devices.mapped(mapping)[0]
        return nodes, rules
    for mapping in host_config.devices or []:
        found, allowed = devices.mapped(mapping)
        nodes += found
        rules += allowed
    return nodes, rules + devices.rules_from(host_config.device_cgroup_rules or [])


def _seccomp(inputs: SpecInputs, security: SecurityOptions, caps: list[str]) -> dict[str, Any] | None:
    asked = security.seccomp or ("" if inputs.record.host_config.privileged else inputs.defaults.seccomp)
    if asked == seccomp.UNCONFINED:
        return None
    if inputs.record.host_config.privileged and not asked:
        return None
    if not inputs.host.seccomp:
        if security.seccomp not in ("", seccomp.BUILTIN):
            raise InvalidArgument("seccomp is not enabled in your kernel, cannot run a custom seccomp profile")
        return None
    if asked in ("", seccomp.BUILTIN):
        return seccomp.default_profile(caps, inputs.host)
    return seccomp.custom_profile(asked, caps, inputs.host)


def _mount_inputs(inputs: SpecInputs, security: SecurityOptions, init: Path | None) -> MountInputs:
    host_config = inputs.record.host_config
    writable = security.writable_cgroups
    return MountInputs(
        host_config=host_config,
        mounts=[(item.mount, item.source) for item in inputs.mounts],
        files_dir=inputs.files_dir,
        shm_path=inputs.shm_path,
        init=(init, INIT_PATH) if init else None,
        writable_cgroups=host_config.privileged if writable is None else writable,
        recursive_read_only=inputs.host.recursive_read_only,
        data_root=inputs.data_root,
    )
