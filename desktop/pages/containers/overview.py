"""What the Overview tab tells of a container: sections of (name, value), out of its inspection. Without Qt."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from desktop.state.sizes import memory_text


@dataclass(frozen=True)
class Section:
    """A heading with lines beneath; a line is (name, value)."""

    title: str
    lines: tuple[tuple[str, str], ...]


def overview(data: dict[str, Any]) -> list[Section]:
    """Return the sections that have something to say."""
    config, host, state = _dict(data, "Config"), _dict(data, "HostConfig"), _dict(data, "State")
    sections = [
        Section("Container", tuple(_container(data, config, host, state))),
        Section("Network", tuple(_network(_dict(data, "NetworkSettings"), host))),
        Section("Mounts", tuple(_mounts(data.get("Mounts") or []))),
        Section("Limits", tuple(_limits(host))),
        Section("Environment", tuple(_pairs(config.get("Env") or []))),
        Section("Labels", tuple(sorted((config.get("Labels") or {}).items()))),
    ]
    return [section for section in sections if section.lines]


def _dict(data: dict[str, Any], key: str) -> dict[str, Any]:
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def _container(
    data: dict[str, Any], config: dict[str, Any], host: dict[str, Any], state: dict[str, Any]
) -> Iterable[tuple[str, str]]:
    yield "ID", str(data.get("Id", ""))
    yield "Image", f"{config.get('Image', '')}"
    command = [str(data.get("Path", "")), *map(str, data.get("Args") or [])]
    yield "Command", " ".join(_quoted(word) for word in command if word)
    yield "Created", moment(str(data.get("Created", "")))
    if started := moment(str(state.get("StartedAt", ""))):
        yield "Started", started
    if not state.get("Running") and (finished := moment(str(state.get("FinishedAt", "")))):
        yield "Ended", f"{finished}, with code {state.get('ExitCode', 0)}"
    if state.get("OOMKilled"):
        yield "Killed", "it used more memory than it may"
    if state.get("Error"):
        yield "Error", str(state["Error"])
    if state.get("Running") and state.get("Pid"):
        yield "Process", str(state["Pid"])
    if health := _dict(state, "Health"):
        yield "Health", str(health.get("Status", ""))
    policy = _dict(host, "RestartPolicy")
    if (name := str(policy.get("Name") or "no")) != "no":
        count = policy.get("MaximumRetryCount") or 0
        yield "Restart policy", f"{name}, {count} times at most" if count else name
    if data.get("RestartCount"):
        yield "Restarts", str(data["RestartCount"])
    if host.get("AutoRemove"):
        yield "Auto-remove", "deleted when it ends"
    if user := config.get("User"):
        yield "User", str(user)
    if folder := config.get("WorkingDir"):
        yield "Working folder", str(folder)


def _network(settings: dict[str, Any], host: dict[str, Any]) -> Iterable[tuple[str, str]]:
    networks = settings.get("Networks") or {}
    for name, entry in sorted(networks.items()):
        yield name, str((entry or {}).get("IPAddress") or "no address")
    if not networks and host.get("NetworkMode"):
        yield "Mode", str(host["NetworkMode"])
    for port, bindings in sorted((settings.get("Ports") or {}).items()):
        places = [f"{item.get('HostIp') or '0.0.0.0'}:{item.get('HostPort', '')}" for item in bindings or []]
        yield f"Port {port}", ", ".join(places) or "not published"


def _mounts(mounts: list[dict[str, Any]]) -> Iterable[tuple[str, str]]:
    for mount in mounts:
        source = mount.get("Name") if mount.get("Type") == "volume" else mount.get("Source")
        mode = "" if mount.get("RW", True) else ", read-only"
        yield str(mount.get("Destination", "")), f"{mount.get('Type', '')} {source or ''}{mode}".strip()


def _limits(host: dict[str, Any]) -> Iterable[tuple[str, str]]:
    if memory := host.get("Memory"):
        yield "Memory", memory_text(int(memory))
    if cpus := host.get("NanoCpus"):
        yield "CPUs", f"{int(cpus) / 1e9:g}"
    if (pids := host.get("PidsLimit")) and int(pids) > 0:
        yield "Processes", str(pids)
    if host.get("Privileged"):
        yield "Privileged", "yes: it may do what root may"
    if added := host.get("CapAdd"):
        yield "Added capabilities", ", ".join(map(str, added))
    if host.get("ReadonlyRootfs"):
        yield "Root file system", "read-only"


def _pairs(entries: list[str]) -> Iterable[tuple[str, str]]:
    for entry in entries:
        name, _, value = str(entry).partition("=")
        yield name, value


def _quoted(word: str) -> str:
    return f"'{word}'" if not word or any(sign in word for sign in " \t\n\"'$;|&") else word


def moment(text: str) -> str:
    """Return a time of the API in this machine's time; "" for none."""
    if not text or text.startswith("0001-"):
        return ""
    head, _, rest = text.partition(".")
    zone = rest.lstrip("0123456789") if rest else ""
    try:
        found = datetime.fromisoformat((head + zone).replace("Z", "+00:00"))
    except ValueError:
        return text
    found = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    return found.astimezone().strftime("%Y-%m-%d %H:%M:%S")
