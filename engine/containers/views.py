"""What inspect and list show of a container, from its record alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from msgspec import UNSET
from msgspec.structs import replace

from engine.containers.mounts import mount_points
from engine.containers.paths import ContainerPaths
from engine.model.base import given
from engine.model.inspect import (
    ContainerInspect,
    ContainerState,
    ContainerSummary,
    DriverData,
    NetworkSettings,
    PortSummary,
    SummaryHostConfig,
    SummaryNetworkSettings,
)
from engine.model.record import ContainerRecord
from engine.wire.times import format_ns

_UNITS = ((60, "second"), (3600, "minute"))
_DEFAULT_BRIDGE = "bridge"


def human_duration(seconds: float) -> str:
    """Return a duration as Docker says it: ``Less than a second``, ``About a minute``, ``3 hours``."""
    whole = int(seconds)
    minutes, hours = whole // 60, (whole + 1800) // 3600
    if whole < 1:
        return "Less than a second"
    if whole < 60:
        return "1 second" if whole == 1 else f"{whole} seconds"
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    if hours == 1:
        return "About an hour"
    days = hours // 24
    for limit, size, unit in (
        (48, 1, "hours"),
        (24 * 7 * 2, 24, "days"),
        (24 * 60, 168, "weeks"),
        (24 * 730, 720, "months"),
    ):
        if hours < limit:
            return f"{hours // size} {unit}"
    return f"{days // 365} years"


def status_text(record: ContainerRecord, now_ns: int | None = None) -> str:
    """Return the list's status: ``Up 3 minutes (healthy)``, ``Exited (0) 2 hours ago``, ``Created``."""
    state = record.state
    now = time.time_ns() if now_ns is None else now_ns
    ran = human_duration(max(0, now - state.started_ns) / 1e9)
    ago = human_duration(max(0, now - state.finished_ns) / 1e9)
    if state.status == "paused":
        return f"Up {ran} (Paused)"
    if state.status == "restarting":
        return f"Restarting ({state.exit_code}) {ago} ago"
    if state.status == "running":
        health = state.health.status if state.health else "none"
        suffix = {"none": "", "starting": " (health: starting)"}.get(health, f" ({health})")
        return f"Up {ran}{suffix}"
    if state.status == "removing":
        return "Removal In Progress"
    if state.status == "dead":
        return "Dead"
    if state.started_ns == 0 or shown_status(record) == "created":
        return "Created"
    return f"Exited ({state.exit_code}) {ago} ago"


def shown_status(record: ContainerRecord) -> str:
    """Return the state's word; what is just being started is still what it was."""
    if record.state.status == "starting":
        return "exited" if record.state.finished_ns else "created"
    return record.state.status


def state_view(record: ContainerRecord) -> ContainerState:
    """Return ``State`` of inspect."""
    state = record.state
    status = shown_status(record)
    return ContainerState(
        status=status,
        running=status in ("running", "paused", "restarting"),
        paused=status == "paused",
        restarting=status == "restarting",
        oom_killed=state.oom_killed,
        dead=status == "dead",
        pid=state.pid if status in ("running", "paused") else 0,
        exit_code=state.exit_code,
        error=state.error,
        started_at=format_ns(state.started_ns),
        finished_at=format_ns(state.finished_ns),
        health=state.health if state.health is not None else UNSET,
    )


def network_settings(record: ContainerRecord, netns: Path) -> NetworkSettings:
    """Return ``NetworkSettings`` of inspect, the default bridge's endpoint repeated in its flat fields."""
    running = record.state.status in ("running", "paused")
    settings = NetworkSettings(networks=record.networks, ports=record.ports if running else {})
    if running:
        settings.sandbox_id = record.id
        settings.sandbox_key = str(netns)
    endpoint = record.networks.get(_DEFAULT_BRIDGE)
    if endpoint is not None:
        settings.endpoint_id = endpoint.endpoint_id
        settings.gateway = endpoint.gateway
        settings.ip_address = endpoint.ip_address
        settings.ip_prefix_len = endpoint.ip_prefix_len
        settings.mac_address = endpoint.mac_address
        settings.ipv6_gateway = endpoint.ipv6_gateway
        settings.global_ipv6_address = endpoint.global_ipv6_address
        settings.global_ipv6_prefix_len = endpoint.global_ipv6_prefix_len
    return settings


def inspect_view(
    record: ContainerRecord,
    paths: ContainerPaths,
    lower: Sequence[Path],
    netns: Path,
    exec_ids: Sequence[str] = (),
    size: tuple[int, int] | None = None,
) -> ContainerInspect:
    """Return the answer of inspect; ``size`` is (written bytes, bytes with the image)."""
    data = paths.data(record.id)
    was_started = record.state.started_ns != 0
    view = ContainerInspect(
        id=record.id,
        created=format_ns(record.created_ns),
        path=record.path,
        args=record.args,
        state=state_view(record),
        image=record.image_id,
        resolv_conf_path=str(data / "resolv.conf") if was_started else "",
        hostname_path=str(data / "hostname") if was_started else "",
        hosts_path=str(data / "hosts") if was_started else "",
        name=f"/{record.name}",
        restart_count=record.state.restart_count,
        driver="overlay2",
        platform=record.platform,
        app_armor_profile=record.app_armor_profile,
        exec_ids=list(exec_ids) or None,
        host_config=record.host_config,
        graph_driver=DriverData(
            name="overlay2",
            data={
                "ID": record.id,
                "LowerDir": ":".join(str(path) for path in [paths.init_layer, *lower]),
                "MergedDir": str(paths.merged(record.id)),
                "UpperDir": str(paths.upper(record.id)),
                "WorkDir": str(paths.work(record.id)),
            },
        ),
        mounts=mount_points(record),
        config=record.config,
        network_settings=network_settings(record, netns),
    )
    if size is not None:
        view.size_rw, view.size_root_fs = size
    return view


def port_summaries(record: ContainerRecord) -> list[PortSummary]:
    """Return the list's ports: published ones with their addresses, exposed ones without."""
    found: list[PortSummary] = []
    running = record.state.status in ("running", "paused")
    exposed = set(given(record.config.exposed_ports, {})) | set(record.host_config.port_bindings or {})
    bound = record.ports if running else {}
    for spec in sorted(exposed | set(bound)):
        number, _, protocol = spec.partition("/")
        if not number.isdigit():
            continue
        bindings = bound.get(spec)
        if not bindings:
            if running or spec in given(record.config.exposed_ports, {}):
                found.append(PortSummary(private_port=int(number), type=protocol or "tcp"))
            continue
        for binding in bindings:
            item = PortSummary(private_port=int(number), type=protocol or "tcp", ip=binding.host_ip)
            if binding.host_port:  # none where the network routes
                item.public_port = int(binding.host_port)
            found.append(item)
    return found if running else []


def command_text(record: ContainerRecord) -> str:
    """Return the list's command: words with a blank or quote in single quotes."""
    words = [record.path, *(f"'{word}'" if " " in word else word for word in record.args)]
    return " ".join(word for word in words if word)


def summary_view(
    record: ContainerRecord, image_name: str, now_ns: int | None = None, size: tuple[int, int] | None = None
) -> ContainerSummary:
    """Return one row of the list; ``image_name`` is what the image is called now."""
    host_config = SummaryHostConfig(network_mode=record.host_config.network_mode or UNSET)
    if record.host_config.annotations:
        host_config.annotations = record.host_config.annotations
    endpoints = {name: replace(endpoint, dns_names=None) for name, endpoint in record.networks.items()}
    view = ContainerSummary(
        id=record.id,
        names=[f"/{record.name}"],
        image=image_name,
        image_id=record.image_id,
        command=command_text(record),
        created=record.created_ns // 1_000_000_000,
        ports=port_summaries(record),
        labels=record.config.labels or {},
        state=shown_status(record),
        status=status_text(record, now_ns),
        host_config=host_config,
        network_settings=SummaryNetworkSettings(networks=endpoints),
        mounts=mount_points(record),
    )
    if size is not None:
        view.size_rw, view.size_root_fs = size[0] or UNSET, size[1]  # Go leaves out what is 0
    return view
