"""Checks of what is asked for when a container is created, but for limits (``resources``) and mounts.

Texts are moby's, since clients and people look for them. What Portside lacks is refused by name.
"""

from __future__ import annotations

import ipaddress
import os
import re

from engine.containers.signals import parse_signal
from engine.errors import Internal, InvalidArgument, NotSupported
from engine.model.base import given
from engine.model.container import ContainerConfig, HealthConfig, HostConfig, RestartPolicy
from engine.runtime import capabilities, devices, seccomp
from engine.runtime.host import HostFacts
from engine.runtime.security import parse_security_options

_MIN_DURATION_NS = 1_000_000
_MAX_HOSTNAME = 64
_PORT_RANGE = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")
_IPC_SYSCTLS = frozenset(
    f"kernel.{name}" for name in ("msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced")
)
_INTERFACE_SYSCTL = re.compile(r"net\.[^.]+\.[^.]+\.eth[^.]*\..+")


def is_container_mode(mode: str) -> bool:
    """Whether a namespace mode is ``container:…``."""
    return mode.startswith("container:")


def check_config(config: ContainerConfig) -> None:
    """Check a container's own configuration and make its working directory canonical."""
    if config.working_dir:
        if not config.working_dir.startswith("/"):
            raise InvalidArgument(
                f"the working directory '{config.working_dir}' is invalid, it needs to be an absolute path"
            )
        config.working_dir = "/" + os.path.normpath(config.working_dir).lstrip("/")
    if given(config.stop_signal, ""):
        parse_signal(given(config.stop_signal, ""))
    for item in config.env or []:
        if not item.partition("=")[0]:
            raise InvalidArgument(f"invalid environment variable: {item}")
    check_health(given(config.healthcheck, HealthConfig()))
    for port in given(config.exposed_ports, {}):
        _check_port_key(port)
    if len(config.hostname.encode()) > _MAX_HOSTNAME:
        raise InvalidArgument(f"invalid hostname format: {config.hostname}", hint="use at most 64 bytes")
    for text in (config.hostname, config.domainname, config.working_dir, config.user, *(config.env or [])):
        if "\0" in text:
            raise InvalidArgument("a NUL byte is not allowed in the container's configuration")
    for word in (*(config.cmd or []), *(config.entrypoint or [])):
        if "\0" in word:
            raise InvalidArgument("a NUL byte is not allowed in the container's command")


def check_health(health: HealthConfig) -> None:
    """Check the times of a health check."""
    for name, value in (("Interval", health.interval), ("Timeout", health.timeout)):
        _check_duration(name, given(value, 0))
    if given(health.retries, 0) < 0:
        raise InvalidArgument("Retries in Healthcheck cannot be negative")
    for name, value in (("StartPeriod", health.start_period), ("StartInterval", health.start_interval)):
        _check_duration(name, given(value, 0))


def _check_duration(name: str, value_ns: int) -> None:
    if value_ns and value_ns < _MIN_DURATION_NS:
        raise InvalidArgument(f"{name} in Healthcheck cannot be less than 1ms")


def check_restart_policy(policy: RestartPolicy) -> None:
    """Check a restart policy."""
    count = policy.maximum_retry_count
    if policy.name in ("no", "always", "unless-stopped"):
        if count:
            negative = " and cannot be negative" if count < 0 else ""
            raise InvalidArgument(
                f"invalid restart policy: maximum retry count can only be used with 'on-failure'{negative}"
            )
    elif policy.name == "on-failure":
        if count < 0:
            raise InvalidArgument("invalid restart policy: maximum retry count cannot be negative")
    elif policy.name:
        raise InvalidArgument(
            f"invalid restart policy: unknown policy '{policy.name}'; "
            "use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        )


def refuse_unsupported(host_config: HostConfig) -> None:
    """Raise NotSupported, naming the option, for what Portside lacks; StorageOpt as moby on a disk without quotas."""
    for name in given(host_config.storage_opt, {}):
        if name.lower() != "size":
            raise Internal(f"Unknown option {name.lower()}")
        raise Internal("--storage-opt is supported only for overlay over xfs with 'pquota' mount option")
    for name, value, hint in (("Cgroup", host_config.cgroup, ""),):
        if value:
            raise NotSupported(f"{name} is not supported", hint=hint)
    if host_config.userns_mode not in ("", "host"):
        raise InvalidArgument(f"invalid userns mode: {host_config.userns_mode}")


def check_host_config(host_config: HostConfig, host: HostFacts) -> None:
    """Check what is asked of the host, but for limits and mounts."""
    if host_config.isolation.lower() not in ("", "default"):
        raise InvalidArgument(f"invalid isolation ({host_config.isolation}): linux only supports 'default'")
    if host_config.auto_remove and host_config.restart_policy.name not in ("", "no"):
        raise InvalidArgument("can't create 'AutoRemove' container with restart policy")
    for item in host_config.extra_hosts or []:
        _check_extra_host(item)
    for address in host_config.dns or []:
        if not _is_address(address):
            raise InvalidArgument(f"{address} is not an ip address")
    _check_bindings(host_config)
    check_restart_policy(host_config.restart_policy)
    for name, asked in (("CapAdd", host_config.cap_add), ("CapDrop", host_config.cap_drop)):
        try:
            capabilities.normalize(asked or [], host.capabilities)
        except InvalidArgument as error:
            raise InvalidArgument(f"invalid {name}: {error.message}") from error
    if "" in given(host_config.annotations, {}):
        raise InvalidArgument("invalid Annotations: the empty string is not permitted as an annotation key")
    if seccomp.BPF_ANNOTATION in given(host_config.annotations, {}):
        raise InvalidArgument(f"annotation {seccomp.BPF_ANNOTATION} is the engine's own")
    if host_config.shm_size < 0:
        raise InvalidArgument("SHM size can not be less than 0")
    if not -1000 <= host_config.oom_score_adj <= 1000:
        raise InvalidArgument(f"Invalid value {host_config.oom_score_adj}, range for oom score adj is [-1000, 1000]")
    if "\0" in host_config.cgroup_parent or ".." in host_config.cgroup_parent.split("/"):
        raise InvalidArgument(f"invalid cgroup parent: {host_config.cgroup_parent}", hint="name a path without ..")
    devices.rules_from(host_config.device_cgroup_rules or [])
    _check_devices(host_config)
    _check_security(host_config, host)


def check_remapped(host_config: HostConfig) -> None:
    """Check what a container that gets a user namespace cannot have."""
    if host_config.userns_mode == "host":
        return
    if host_config.privileged:
        raise InvalidArgument(
            "privileged mode is incompatible with user namespaces.  You must run the container in the host "
            "namespace when running privileged mode"
        )
    if host_config.network_mode == "host":
        raise InvalidArgument("cannot share the host's network namespace when user namespaces are enabled")
    if host_config.pid_mode == "host":
        raise InvalidArgument("cannot share the host PID namespace when user namespaces are enabled")


def _check_devices(host_config: HostConfig) -> None:
    for mapping in host_config.devices or []:
        if not mapping.path_on_host.startswith("/"):
            raise InvalidArgument(f"{mapping.path_on_host} is not an absolute path")
        if mapping.path_in_container and not mapping.path_in_container.startswith("/"):
            raise InvalidArgument(f"{mapping.path_in_container} is not an absolute path")
        access = mapping.cgroup_permissions
        if set(access) - set("rwm") or len(set(access)) != len(access):
            raise InvalidArgument(f"invalid device mode: {access}")


def _check_security(host_config: HostConfig, host: HostFacts) -> None:
    options = parse_security_options(host_config.security_opt or [])
    if options.seccomp not in ("", seccomp.UNCONFINED, seccomp.BUILTIN):
        seccomp.custom_profile(options.seccomp, [], host)
    if options.writable_cgroups is not None and host.user_namespace:
        raise InvalidArgument("option WritableCgroups conflicts with user namespaces and rootless mode")


def check_namespaces(config: ContainerConfig, host_config: HostConfig) -> None:
    """Check the namespace modes, alone and together."""
    _check_network_mode(config, host_config)
    if host_config.ipc_mode not in ("", "none", "private", "host", "shareable") and not is_container_mode(
        host_config.ipc_mode
    ):
        raise InvalidArgument(f"invalid IPC mode: {host_config.ipc_mode}")
    pid = host_config.pid_mode
    if pid not in ("", "host") and not (is_container_mode(pid) and pid != "container:"):
        raise InvalidArgument(f"invalid PID mode: {pid}")
    if host_config.uts_mode not in ("", "host"):
        raise InvalidArgument(f"invalid UTS mode: {host_config.uts_mode}")
    if host_config.cgroupns_mode not in ("", "private", "host"):
        raise InvalidArgument(f"invalid cgroup namespace mode: {host_config.cgroupns_mode}")
    _check_sysctls(host_config)


def _check_network_mode(config: ContainerConfig, host_config: HostConfig) -> None:
    mode = host_config.network_mode
    if host_config.uts_mode == "host" and config.hostname:
        raise InvalidArgument("conflicting options: hostname and the UTS mode")
    if mode != "container" and not is_container_mode(mode):
        return
    if not mode.removeprefix("container").removeprefix(":"):
        raise InvalidArgument("invalid network mode: invalid container format container:<name|id>")
    for refused, what in (
        (config.hostname, "hostname and the network mode"),
        (host_config.dns, "dns and the network mode"),
        (host_config.extra_hosts, "custom host-to-IP mapping and the network mode"),
        (
            host_config.port_bindings or host_config.publish_all_ports,
            "port publishing and the container type network mode",
        ),
        (given(config.exposed_ports, {}), "port exposing and the container type network mode"),
    ):
        if refused:
            raise InvalidArgument(f"conflicting options: {what}")


def _check_sysctls(host_config: HostConfig) -> None:
    for name in given(host_config.sysctls, {}):
        if name.startswith("net."):
            if host_config.network_mode == "host":
                raise InvalidArgument(f'sysctl "{name}" not allowed in host network namespace')
            if _INTERFACE_SYSCTL.fullmatch(name):
                raise InvalidArgument(
                    f'interface specific sysctl setting "{name}" must be supplied using driver option '
                    "'com.docker.network.endpoint.sysctls'"
                )
        elif name in _IPC_SYSCTLS or name.startswith("fs.mqueue."):
            if host_config.ipc_mode == "host":
                raise InvalidArgument(f'sysctl "{name}" is not allowed in the hosts ipc namespace')
        elif name == "kernel.hostname":
            raise InvalidArgument(
                'sysctl "kernel.hostname" is not allowed as it conflicts with the OCI "hostname" field'
            )
        elif name != "kernel.domainname" or host_config.uts_mode == "host":
            raise InvalidArgument(f'sysctl "{name}" is not in a separate kernel namespace')


def _check_extra_host(item: str) -> None:
    name, found, address = item.partition(":")
    if not found or not name:
        raise InvalidArgument(f'bad format for add-host: "{item}"')
    if address != "host-gateway" and not _is_address(address):
        raise InvalidArgument(f'invalid IP address in add-host: "{address}"')


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.strip())
    except ValueError:
        return False
    return True


def _check_port_key(port: str) -> None:
    number, _, protocol = port.partition("/")
    if not _is_port_range(number) or protocol.lower() not in ("", "tcp", "udp", "sctp"):
        raise InvalidArgument(f'invalid port specification: "{port}"')


def _check_bindings(host_config: HostConfig) -> None:
    for port, bindings in (host_config.port_bindings or {}).items():
        number, _, protocol = port.partition("/")
        if not number.isascii() or not number.isdigit() or not 0 < int(number[:7]) < 65536:
            raise InvalidArgument(f'invalid port specification: "{number}"')
        if protocol.lower() not in ("", "tcp", "udp", "sctp"):
            raise InvalidArgument(f'invalid port specification: "{port}"')
        for binding in bindings or []:
            if binding.host_port and not _is_port_range(binding.host_port.partition("/")[0]):
                raise InvalidArgument(f'invalid port specification: "{binding.host_port}"')
            if binding.host_ip and not _is_address(binding.host_ip.strip("[]")):
                raise InvalidArgument(f"invalid IP address: {binding.host_ip}")


def _is_port_range(text: str) -> bool:
    match = _PORT_RANGE.fullmatch(text)
    return match is not None and int(match[1]) <= int(match[2] or match[1]) < 65536
