"""Devices by the Container Device Interface (CDI 1.0): read from spec files, put into an OCI configuration.

Source: the CDI specification; texts are those of its Go library, which Docker shows. Spec files are read anew each
time, since whoever installs a driver writes them at any moment. PyYAML is loaded when a YAML file is there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from engine.errors import Internal, InvalidArgument
from engine.runtime.devices import device_at, rule_for

DEFAULT_FOLDERS = (Path("/etc/cdi"), Path("/var/run/cdi"))
_VERSIONS = frozenset({"0.2.0", "0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0"})
_KIND_WORD = re.compile(r"[A-Za-z]([A-Za-z0-9_.-]*[A-Za-z0-9])?")
_DEVICE_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.:-]*[A-Za-z0-9])?")
_HOOKS = frozenset({"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"})
_MAX_FILE_BYTES = 16 * 1024 * 1024


class _Part(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    pass


class DeviceNode(_Part):
    """A device node to make."""

    path: str
    host_path: str = ""
    type: str = ""
    major: int = 0
    minor: int = 0
    file_mode: int | None = None
    permissions: str = ""
    uid: int | None = None
    gid: int | None = None


class Mount(_Part):
    """A mount to make."""

    host_path: str
    container_path: str
    options: list[str] = []
    type: str = ""


class Hook(_Part):
    """A program that the runtime calls."""

    hook_name: str
    path: str
    args: list[str] = []
    env: list[str] = []
    timeout: int | None = None


class IntelRdt(_Part):
    """Intel's resource director."""

    clos_id: str = msgspec.field(name="closID", default="")
    l3_cache_schema: str = ""
    mem_bw_schema: str = ""
    schemata: list[str] = []
    enable_monitoring: bool = False
    enable_cmt: bool = msgspec.field(name="enableCMT", default=False)
    enable_mbm: bool = msgspec.field(name="enableMBM", default=False)


class ContainerEdits(_Part):
    """What changes in a container's configuration."""

    env: list[str] = []
    device_nodes: list[DeviceNode] = []
    net_devices: list[dict[str, str]] = []
    mounts: list[Mount] = []
    hooks: list[Hook] = []
    intel_rdt: IntelRdt | None = None
    additional_gids: list[int] = []


class _Device(_Part):
    name: str
    annotations: dict[str, str] = {}
    container_edits: ContainerEdits = msgspec.field(default_factory=ContainerEdits)


class _Spec(_Part):
    cdi_version: str
    kind: str
    annotations: dict[str, str] = {}
    devices: list[_Device] = []
    container_edits: ContainerEdits = msgspec.field(default_factory=ContainerEdits)


@dataclass
class Inventory:
    """The devices of all spec files by qualified name, and the faults of files by path."""

    devices: dict[str, tuple[_Spec, _Device]] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)

    def names(self, kind: str = "") -> list[str]:
        """Return the qualified names, sorted; only those of a ``vendor/class`` when given."""
        return sorted(name for name in self.devices if not kind or name.startswith(f"{kind}="))


def read_inventory(folders: Iterable[Path] = DEFAULT_FOLDERS) -> Inventory:
    """Read all spec files (blocking). A later folder wins; what two files of one folder both name is nobody's."""
    found = Inventory()
    for folder in folders:
        here: dict[str, tuple[_Spec, _Device, str]] = {}
        conflicts: set[str] = set()
        for path in _files(folder):
            try:
                spec = _parse(path)
            except (OSError, ValueError, RecursionError) as error:
                found.faults[str(path)] = f"failed to load CDI Spec {path}: {error}"
                continue
            for device in spec.devices:
                name = f"{spec.kind}={device.name}"
                if name in here:
                    conflicts.add(name)
                    text = f'conflicting device "{name}" (specs "{path}", "{here[name][2]}")'
                    found.faults[str(path)] = found.faults[here[name][2]] = text
                here[name] = (spec, device, str(path))
        for name, (spec, device, _) in here.items():
            if name in conflicts:
                found.devices.pop(name, None)
            else:
                found.devices[name] = (spec, device)
    return found


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix in (".json", ".yaml"))
    except OSError:
        return []


def _parse(path: Path) -> _Spec:
    with path.open("rb") as file:
        data = file.read(_MAX_FILE_BYTES + 1)
    if len(data) > _MAX_FILE_BYTES:
        raise ValueError(f"larger than {_MAX_FILE_BYTES} bytes")
    try:
        spec = msgspec.json.decode(data, type=_Spec) if path.suffix == ".json" else _parse_yaml(data)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error
    _check(spec)
    return spec


def _parse_yaml(data: bytes) -> _Spec:
    import yaml

    try:
        return msgspec.convert(yaml.safe_load(data), _Spec)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _check(spec: _Spec) -> None:
    if spec.cdi_version.removeprefix("v") not in _VERSIONS:
        raise ValueError(f'invalid CDI Spec: unknown version "{spec.cdi_version}"')
    vendor, found, kind = spec.kind.partition("/")
    if not found or not _KIND_WORD.fullmatch(vendor) or not _KIND_WORD.fullmatch(kind):
        raise ValueError(f'invalid CDI Spec: invalid kind "{spec.kind}"')
    _check_edits(spec.container_edits)
    names: set[str] = set()
    for device in spec.devices:
        if not _DEVICE_NAME.fullmatch(device.name):
            raise ValueError(f'invalid CDI Spec: invalid device name "{device.name}"')
        if device.name in names:
            raise ValueError(f'invalid CDI Spec: invalid spec, multiple device "{device.name}"')
        if device.container_edits == ContainerEdits():
            raise ValueError(f'invalid CDI Spec: invalid device "{device.name}", empty device edits')
        names.add(device.name)
        _check_edits(device.container_edits)


def _check_edits(edits: ContainerEdits) -> None:
    for item in (*edits.env, *(item for hook in edits.hooks for item in hook.env)):
        if item.find("=") <= 0:
            raise ValueError(f'invalid container edits: invalid environment variable "{item}"')
    for node in edits.device_nodes:
        if not node.path:
            raise ValueError("invalid (empty) device path")
        if node.type not in ("", "b", "c", "u", "p"):
            raise ValueError(f'device "{node.path}": invalid type "{node.type}"')
        if set(node.permissions) - set("rwm"):
            raise ValueError(f'device "{node.path}": invalid permissions "{node.permissions}"')
    for hook in edits.hooks:
        if hook.hook_name not in _HOOKS:
            raise ValueError(f'invalid hook name "{hook.hook_name}"')
        if not hook.path:
            raise ValueError(f'invalid hook "{hook.hook_name}" with empty path')
    for mount in edits.mounts:
        if not mount.host_path or not mount.container_path:
            raise ValueError(f"invalid mount, empty {'container' if mount.host_path else 'host'} path")
    if edits.net_devices:
        raise ValueError("netDevices (CDI 1.1) are not supported")
    if edits.intel_rdt is not None:
        raise ValueError("intelRdt is not supported")


def inject(spec: dict[str, Any], names: Sequence[str], inventory: Inventory) -> None:
    """Put devices by qualified name into an OCI configuration.

    Raises InvalidArgument for one that no spec file has, Internal for a device node that the host lacks.
    """
    missing = [name for name in names if name not in inventory.devices]
    if missing:
        raise InvalidArgument(f"CDI device injection failed: unresolvable CDI devices {', '.join(missing)}")
    seen: list[_Spec] = []
    for name in names:
        owner, device = inventory.devices[name]
        if not any(owner is other for other in seen):
            seen.append(owner)
            _apply(spec, owner.container_edits)
        _apply(spec, device.container_edits)
    spec["mounts"].sort(key=lambda item: len(PurePosixPath(item["destination"]).parts))


def _apply(spec: dict[str, Any], edits: ContainerEdits) -> None:
    process, linux = spec["process"], spec["linux"]
    for item in edits.env:
        name = item.partition("=")[0]
        process["env"] = [*(old for old in process["env"] if old.partition("=")[0] != name), item]
    for node in edits.device_nodes:
        device = _node(node, process["user"])
        linux["devices"] = [*(old for old in linux["devices"] if old["path"] != node.path), device]
        if device["type"] in ("b", "c"):
            linux["resources"]["devices"].append(rule_for(device, node.permissions or "rwm"))
    for mount in edits.mounts:
        made = {"destination": mount.container_path, "source": mount.host_path, "options": mount.options}
        made["type"] = mount.type or "bind"
        spec["mounts"] = [*(old for old in spec["mounts"] if old["destination"] != mount.container_path), made]
    for hook in edits.hooks:
        call: dict[str, Any] = {"path": hook.path}
        call |= {key: value for key, value in (("args", hook.args), ("env", hook.env)) if value}
        if hook.timeout is not None:
            call["timeout"] = hook.timeout
        spec.setdefault("hooks", {}).setdefault(hook.hook_name, []).append(call)
    groups = process["user"].setdefault("additionalGids", [])
    groups.extend(gid for gid in edits.additional_gids if gid and gid not in groups)


def _node(node: DeviceNode, user: dict[str, Any]) -> dict[str, Any]:
    kind, major, minor = node.type, node.major, node.minor
    if not (kind and (major or kind == "p")):
        place = node.host_path or node.path
        try:
            found = device_at(place)
        except OSError as error:
            raise _failed(f'failed to stat CDI host device "{place}": {(error.strerror or "").lower()}') from error
        if found is None:
            raise _failed(f'failed to stat CDI host device "{place}": not a device node')
        if kind and kind != found["type"]:
            raise _failed(f'CDI device ("{node.path}", "{place}"), host type mismatch ({kind}, {found["type"]})')
        kind = kind or found["type"]
        if not major and kind != "p":
            major, minor = found["major"], found["minor"]
    device: dict[str, Any] = {"path": node.path, "type": kind, "major": major, "minor": minor}
    for key, value in (("fileMode", node.file_mode), ("uid", node.uid), ("gid", node.gid)):
        if value is not None:
            device[key] = value
    if node.uid is None and user["uid"]:
        device["uid"] = user["uid"]
    if node.gid is None and user["gid"]:
        device["gid"] = user["gid"]
    return device


def _failed(reason: str) -> Internal:
    return Internal(f"CDI device injection failed: failed to inject devices: {reason}")
