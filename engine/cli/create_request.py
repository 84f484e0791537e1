"""From the flags of ``run`` and ``create`` to the request that creates a container.

Owns the checks that Docker's client makes; they raise ValueError with its texts. Reads env files, label files
and seccomp profiles; asks no engine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from msgspec import UNSET

from engine.cli.flags import Parsed, quote
from engine.cli.limit_values import is_cdi_name, parse_device, parse_restart
from engine.cli.mount_values import parse_volume
from engine.cli.network_values import NetworkChoice, check_mac, is_user_network
from engine.cli.port_values import parse_expose, parse_publish
from engine.model.container import ContainerCreateRequest, HealthConfig, HostConfig, LogConfig
from engine.model.mount import Mount
from engine.model.network import EndpointIPAMConfig, EndpointSettings, NetworkingConfig
from engine.model.resources import DeviceRequest, ThrottleDevice, Ulimit, WeightDevice

T = TypeVar("T")

LINK_LOCAL_WORDS = "per-network link-local IP addresses"


def build_request(parsed: Parsed, environ: Mapping[str, str], proxies: Mapping[str, str]) -> ContainerCreateRequest:
    """Return the request of a command line whose arguments are image and command; raises ValueError.

    ``proxies`` are variables that the configuration gives every container, where ``-e`` says nothing else.
    """
    attach = parsed.items("attach")
    opens_stdin = parsed.on("interactive")
    exposed, bindings = parse_publish(parsed.items("publish"))
    for port in (port for text in parsed.items("expose") for port in parse_expose(text)):
        exposed.setdefault(port, {})
    binds, anonymous = _volumes(parsed.items("volume"))
    host = _host_config(parsed)
    host.port_bindings = bindings
    host.binds = binds or None
    if parsed.on("rm") and host.restart_policy.name not in ("", "no"):
        raise ValueError("conflicting options: cannot specify both --restart and --rm")
    given = read_variables(parsed.items("env-file"), parsed.items("env"), environ)
    names = {entry.partition("=")[0] for entry in given}
    labels = read_labels(parsed.items("label-file"), parsed.items("label"))
    request = ContainerCreateRequest(
        hostname=parsed.text("hostname"),
        domainname=parsed.text("domainname"),
        user=parsed.text("user"),
        attach_stdin="stdin" in attach or opens_stdin,
        attach_stdout=not attach or "stdout" in attach,
        attach_stderr=not attach or "stderr" in attach,
        exposed_ports=exposed,
        tty=parsed.on("tty"),
        open_stdin=opens_stdin,
        env=[f"{name}={value}" for name, value in proxies.items() if name not in names] + given,
        cmd=parsed.args[1:] or None,
        image=parsed.args[0],
        volumes={target: {} for target in anonymous},
        working_dir=parsed.text("workdir"),
        entrypoint=[parsed.text("entrypoint")] if parsed.is_set("entrypoint") else None,
        labels=labels,
        host_config=host,
        networking_config=NetworkingConfig(endpoints_config=_endpoints(parsed)),
    )
    request.stdin_once = request.open_stdin and request.attach_stdin
    if parsed.text("stop-signal"):
        request.stop_signal = parsed.text("stop-signal")
    if parsed.is_set("stop-timeout"):
        request.stop_timeout = parsed.number("stop-timeout")
    health = _health(parsed)
    if health is not None:
        request.healthcheck = health
    mac = check_mac(parsed.text("mac-address"))
    endpoints = request.networking_config.endpoints_config if request.networking_config else None
    endpoint = (endpoints or {}).get(host.network_mode)
    if endpoint is not None and endpoint.mac_address:
        mac = endpoint.mac_address
    if mac:
        request.mac_address = mac
    return request


def _of(kind: type[T], values: list[object]) -> list[T] | None:
    return [value for value in values if isinstance(value, kind)] or None


def _volumes(specs: list[str]) -> tuple[list[str], list[str]]:
    """Return binds and the targets of anonymous volumes."""
    binds, anonymous = [], []
    for spec in dict.fromkeys(specs):
        bind = parse_volume(spec)
        if bind is None:
            anonymous.append(spec)
        else:
            binds.append(bind)
    return binds, anonymous


def _host_config(parsed: Parsed) -> HostConfig:
    """Return the host's part, but for ports and binds; raises ValueError."""
    swappiness = parsed.number("memory-swappiness")
    if swappiness != -1 and not 0 <= swappiness <= 100:
        raise ValueError(f"invalid value: {swappiness}. Valid memory swappiness range is 0-100")
    _check_modes(parsed)
    security, is_unconfined = _security_options(parsed.items("security-opt"))
    devices = [device for device in parsed.items("device") if not is_cdi_name(device)]
    cdi = [device for device in parsed.items("device") if is_cdi_name(device)]
    requests = _of(DeviceRequest, parsed.objects("gpus")) or []
    if cdi:
        requests.append(DeviceRequest(driver="cdi", device_ids=cdi))
    host = HostConfig(
        cpu_shares=parsed.number("cpu-shares"),
        memory=parsed.number("memory"),
        nano_cpus=parsed.number("cpus"),
        cgroup_parent=parsed.text("cgroup-parent"),
        blkio_weight=parsed.number("blkio-weight"),
        blkio_weight_device=_of(WeightDevice, parsed.objects("blkio-weight-device")),
        blkio_device_read_bps=_of(ThrottleDevice, parsed.objects("device-read-bps")),
        blkio_device_write_bps=_of(ThrottleDevice, parsed.objects("device-write-bps")),
        blkio_device_read_iops=_of(ThrottleDevice, parsed.objects("device-read-iops")),
        blkio_device_write_iops=_of(ThrottleDevice, parsed.objects("device-write-iops")),
        cpu_period=parsed.number("cpu-period"),
        cpu_quota=parsed.number("cpu-quota"),
        cpu_realtime_period=parsed.number("cpu-rt-period"),
        cpu_realtime_runtime=parsed.number("cpu-rt-runtime"),
        cpuset_cpus=parsed.text("cpuset-cpus"),
        cpuset_mems=parsed.text("cpuset-mems"),
        devices=[parse_device(device) for device in devices] or None,
        device_cgroup_rules=parsed.items("device-cgroup-rule") or None,
        device_requests=requests or None,
        memory_reservation=parsed.number("memory-reservation"),
        memory_swap=parsed.number("memory-swap"),
        memory_swappiness=swappiness,
        oom_kill_disable=parsed.on("oom-kill-disable"),
        pids_limit=parsed.number("pids-limit"),
        ulimits=_ulimits(parsed),
        cpu_count=parsed.number("cpu-count"),
        cpu_percent=parsed.number("cpu-percent"),
        io_maximum_iops=parsed.number("io-maxiops"),
        io_maximum_bandwidth=parsed.number("io-maxbandwidth"),
        container_id_file=parsed.text("cidfile"),
        log_config=_log_config(parsed),
        network_mode=_network_mode(parsed),
        restart_policy=parse_restart(parsed.text("restart")),
        auto_remove=parsed.on("rm"),
        volume_driver=parsed.text("volume-driver"),
        volumes_from=parsed.items("volumes-from") or None,
        cap_add=_capabilities(parsed.items("cap-add")),
        cap_drop=_capabilities(parsed.items("cap-drop")),
        cgroupns_mode=parsed.text("cgroupns"),
        dns=parsed.items("dns"),
        dns_options=parsed.items("dns-option"),
        dns_search=parsed.items("dns-search"),
        extra_hosts=parsed.items("add-host") or None,
        group_add=parsed.items("group-add") or None,
        ipc_mode=parsed.text("ipc"),
        links=parsed.items("link") or None,
        oom_score_adj=parsed.number("oom-score-adj"),
        pid_mode=parsed.text("pid"),
        privileged=parsed.on("privileged"),
        publish_all_ports=parsed.on("publish-all"),
        readonly_rootfs=parsed.on("read-only"),
        security_opt=security or None,
        uts_mode=parsed.text("uts"),
        userns_mode=parsed.text("userns"),
        shm_size=parsed.number("shm-size"),
        isolation=parsed.text("isolation"),
    )
    _optional_host_config(parsed, host)
    if is_unconfined:
        host.masked_paths, host.readonly_paths = [], []
    return host


def _optional_host_config(parsed: Parsed, host: HostConfig) -> None:
    """Set the fields that are only sent when they were asked for."""
    mounts = _of(Mount, parsed.objects("mount"))
    if mounts:
        host.mounts = mounts
    if parsed.items("tmpfs"):
        host.tmpfs = {target: options for target, _, options in (text.partition(":") for text in parsed.items("tmpfs"))}
    if parsed.items("sysctl"):
        host.sysctls = key_values(parsed.items("sysctl"))
    if parsed.items("annotation"):
        host.annotations = key_values(parsed.items("annotation"))
    if parsed.items("storage-opt"):
        if any("=" not in option for option in parsed.items("storage-opt")):
            raise ValueError("invalid storage option")
        host.storage_opt = key_values(parsed.items("storage-opt"))
    if parsed.text("runtime"):
        host.runtime = parsed.text("runtime")
    if parsed.number("kernel-memory"):
        host.kernel_memory = parsed.number("kernel-memory")
    if parsed.is_set("init"):
        host.init = parsed.on("init")


def _ulimits(parsed: Parsed) -> list[Ulimit] | None:
    """Return the last limit of each name, sorted."""
    limits = {limit.name: limit for limit in _of(Ulimit, parsed.objects("ulimit")) or ()}
    return [limits[name] for name in sorted(limits)] or None


def _capabilities(names: list[str]) -> list[str] | None:
    """Return capabilities in the kernel's spelling, each once, sorted."""
    full = {name.strip().upper() for name in names}
    return sorted(name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}" for name in full) or None


def _check_modes(parsed: Parsed) -> None:
    """Raise ValueError for a namespace mode that Docker's client refuses."""
    pid = parsed.text("pid")
    if pid not in ("", "host") and not (pid.startswith("container:") and pid != "container:"):
        raise ValueError("--pid: invalid PID mode")
    for flag, word in (("uts", "UTS"), ("userns", "USER")):
        if parsed.text(flag) not in ("", "host"):
            raise ValueError(f"--{flag}: invalid {word} mode")
    if parsed.text("cgroupns") not in ("", "host", "private"):
        raise ValueError("--cgroupns: invalid CGROUP mode")


def _log_config(parsed: Parsed) -> LogConfig:
    driver, options = parsed.text("log-driver"), parsed.items("log-opt")
    if driver == "none" and options:
        raise ValueError(f"invalid logging opts for driver {driver}")
    return LogConfig(type=driver, config=key_values(options))


def _security_options(options: list[str]) -> tuple[list[str], bool]:
    """Return the options with seccomp profiles read in, and whether system paths are unconfined."""
    result = []
    for option in options:
        key, mark, value = option.partition("=")
        if not mark and key != "no-new-privileges":
            key, mark, value = option.partition(":")
        if key != "no-new-privileges" and (not mark or not value):
            raise ValueError(f"Invalid --security-opt: {quote(option)}")
        if key == "seccomp" and value not in ("builtin", "unconfined"):
            result.append(f"seccomp={_seccomp_profile(value)}")
        else:
            result.append(option)
    unconfined = "systempaths=unconfined"
    return [option for option in result if option != unconfined], unconfined in result


def _seccomp_profile(path: str) -> str:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"opening seccomp profile ({path}) failed: {open_error(path, error)}") from error
    try:
        return json.dumps(json.loads(text), separators=(",", ":"))
    except ValueError as error:
        raise ValueError(f"compacting json for seccomp profile ({path}) failed: {error}") from error


def _health(parsed: Parsed) -> HealthConfig | None:
    durations = ("health-interval", "health-timeout", "health-start-period", "health-start-interval")
    numbers = {name: parsed.number(name) for name in (*durations, "health-retries")}
    command = parsed.text("health-cmd")
    is_asked = bool(command) or any(numbers.values())
    if parsed.on("no-healthcheck"):
        if is_asked:
            raise ValueError("--no-healthcheck conflicts with --health-* options")
        return HealthConfig(test=["NONE"])
    if not is_asked:
        return None
    for name, number in numbers.items():
        if number < 0:
            raise ValueError(f"--{name} cannot be negative")
    return HealthConfig(
        test=["CMD-SHELL", command] if command else UNSET,
        interval=numbers["health-interval"] or UNSET,
        timeout=numbers["health-timeout"] or UNSET,
        start_period=numbers["health-start-period"] or UNSET,
        start_interval=numbers["health-start-interval"] or UNSET,
        retries=numbers["health-retries"] or UNSET,
    )


def _network_mode(parsed: Parsed) -> str:
    choices = _of(NetworkChoice, parsed.objects("network"))
    return choices[0].target if choices else "default"


def _endpoints(parsed: Parsed) -> dict[str, EndpointSettings | None]:
    """Return what each network's endpoint asks for; the flags without a network apply to the first one."""
    choices = _of(NetworkChoice, parsed.objects("network"))
    endpoints: dict[str, EndpointSettings | None] = {}
    is_plain = choices is None or len(choices) == 1
    for index, choice in enumerate(choices or [NetworkChoice(target="default")]):
        links: list[str] = []
        if index == 0:
            links = _apply_container_flags(choice, parsed)
        endpoint = _endpoint(choice, links)
        if choice.target in endpoints:
            raise ValueError(f"network {quote(choice.target)} is specified multiple times")
        # A single network that asks for nothing is left to the engine, as old engines expect.
        if choices is not None and is_plain and endpoint == EndpointSettings():
            continue
        endpoints[choice.target] = endpoint
    if len({is_user_network(choice.target) for choice in choices or ()}) > 1:
        kinds = "user-defined and non-user-defined network-modes"
        raise ValueError(f"conflicting options: cannot attach both {kinds}")
    return endpoints


def _apply_container_flags(choice: NetworkChoice, parsed: Parsed) -> list[str]:
    """Give a network the flags that name none; raises ValueError when both say something. Returns its links."""
    clashes = (
        (choice.aliases, parsed.items("network-alias"), "--network-alias and per-network alias"),
        (choice.ipv4_address, parsed.text("ip"), "--ip and per-network IPv4 address"),
        (choice.ipv6_address, parsed.text("ip6"), "--ip6 and per-network IPv6 address"),
        (choice.mac_address, parsed.text("mac-address"), "--mac-address and per-network MAC address"),
        (
            choice.link_local_ips,
            parsed.items("link-local-ip"),
            "--link-local-ip and per-network link-local IP addresses",
        ),
    )
    for own, flag, words in clashes:
        if own and flag:
            raise ValueError(f"conflicting options: cannot specify both {words}")
    choice.aliases = parsed.items("network-alias") or choice.aliases
    choice.ipv4_address = parsed.text("ip") or choice.ipv4_address
    choice.ipv6_address = parsed.text("ip6") or choice.ipv6_address
    choice.mac_address = parsed.text("mac-address") or choice.mac_address
    choice.link_local_ips = parsed.items("link-local-ip") or choice.link_local_ips
    return parsed.items("link") if is_user_network(choice.target) else []


def _endpoint(choice: NetworkChoice, links: list[str]) -> EndpointSettings:
    if not choice.target.strip():
        raise ValueError("no name set for network")
    if choice.aliases and not is_user_network(choice.target):
        raise ValueError("network-scoped aliases are only supported for user-defined networks")
    endpoint = EndpointSettings(
        links=links or None,
        aliases=choice.aliases or None,
        mac_address=check_mac(choice.mac_address),
        driver_opts=choice.driver_opts or None,
        gw_priority=choice.gw_priority,
    )
    if choice.ipv4_address or choice.ipv6_address or choice.link_local_ips:
        endpoint.ipam_config = EndpointIPAMConfig(
            ipv4_address=choice.ipv4_address or UNSET,
            ipv6_address=choice.ipv6_address or UNSET,
            link_local_ips=choice.link_local_ips or UNSET,
        )
    return endpoint


def key_values(entries: list[str]) -> dict[str, str]:
    """Return ``key=value`` entries as a dict; one without ``=`` has an empty value."""
    return {key: value for key, _, value in (entry.partition("=") for entry in entries)}


def read_variables(files: list[str], entries: list[str], environ: Mapping[str, str]) -> list[str]:
    """Return environment variables: the files', then the flags'; a bare name takes this process's value.

    Raises ValueError for files that cannot be read or are malformed.
    """
    variables = []
    for path in files:
        variables += _read_pairs(path, environ)
    for entry in entries:
        name, equals, _ = entry.partition("=")
        if equals:
            variables.append(entry)
        else:
            # A name that is set nowhere is sent bare: the engine then takes it away.
            variables.append(f"{name}={environ[name]}" if name in environ else name)
    return variables


def read_labels(files: list[str], entries: list[str]) -> dict[str, str]:
    """Return labels: the files', then the flags'; raises ValueError."""
    pairs = [pair for path in files for pair in _read_pairs(path, None)]
    return key_values([*pairs, *entries])


def _read_pairs(path: str, environ: Mapping[str, str] | None) -> list[str]:
    """Read a file of ``NAME=value`` lines; without a value the name's own is looked up in ``environ``."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(open_error(path, error)) from error
    try:
        text = data.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError:
        raise ValueError(f"invalid env file ({path}): invalid utf8 bytes") from None
    pairs = []
    for raw in text.split("\n"):
        line = raw.removesuffix("\r").lstrip()
        if not line or line.startswith("#"):
            continue
        name, equals, _ = line.partition("=")
        if not name:
            raise ValueError(f"invalid env file ({path}): no variable name on line '{line}'")
        if " " in name or "\t" in name:
            raise ValueError(f"invalid env file ({path}): variable '{name}' contains whitespaces")
        if equals:
            pairs.append(line)
        elif environ is None:
            pairs.append(f"{name}=")
        elif name in environ:
            pairs.append(f"{name}={environ[name]}")
    return pairs


def open_error(path: str, error: OSError) -> str:
    """Return a failed open as Go prints it."""
    return f"open {path}: {(error.strerror or str(error)).lower()}"
