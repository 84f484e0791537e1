"""The mounts of an OCI configuration: the kernel's file systems, the user's, and the files of the network.

Sorted by depth, so that none hides another; what the user mounts takes the place of a default.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import InvalidArgument, NotSupported
from engine.model.base import given
from engine.model.container import HostConfig
from engine.model.record import MountRecord
from engine.runtime.mountinfo import mount_of
from engine.runtime.tmpfs import merged_options, split_options

_SAFE = ["nosuid", "noexec", "nodev"]
_ALWAYS_WRITABLE = frozenset({"/proc", "/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"})
_NETWORK_FILES = {"resolv.conf": "/etc/resolv.conf", "hostname": "/etc/hostname", "hosts": "/etc/hosts"}
_SHARED = frozenset({"shared", "rshared"})
_SLAVE = frozenset({"slave", "rslave"})


@dataclass(frozen=True)
class MountInputs:
    """What the mounts are made of; ``init`` is the program on the host and its place in the container."""

    host_config: HostConfig
    mounts: Sequence[tuple[MountRecord, Path]]
    files_dir: Path
    shm_path: Path | None
    init: tuple[Path, str] | None
    writable_cgroups: bool
    recursive_read_only: bool
    data_root: Path | None = None


def build_mounts(inputs: MountInputs) -> tuple[list[dict[str, Any]], str]:
    """Return OCI's mounts and the propagation of the root that they need (empty for the runtime's default).

    Raises InvalidArgument with moby's text when a source is not shared as its propagation wants.
    """
    own = _user_mounts(inputs)
    taken = {mount["destination"] for mount in own}
    network = [mount for mount in _network_mounts(inputs) if mount["destination"] not in taken]
    shared_memory = [mount for mount in _shared_memory(inputs) if mount["destination"] not in taken]
    behind = sorted(own + network + shared_memory, key=lambda mount: mount["destination"].count("/"))
    overridden = {mount["destination"] for mount in behind}
    defaults = [
        mount
        for mount in _default_mounts(inputs)
        if mount["destination"] not in overridden and not ("/dev" in taken and mount["destination"].startswith("/dev/"))
    ]
    if inputs.host_config.readonly_rootfs:
        for mount in defaults:
            if mount["destination"] not in _ALWAYS_WRITABLE and "ro" not in mount["options"]:
                mount["options"].append("ro")
    if inputs.init:
        program, place = inputs.init
        defaults.append({"destination": place, "type": "bind", "source": str(program), "options": ["bind", "ro"]})
    return defaults + behind, _root_propagation(inputs)


def _default_mounts(inputs: MountInputs) -> list[dict[str, Any]]:
    config = inputs.host_config
    found: list[tuple[str, str, str, list[str]]] = [
        ("/proc", "proc", "proc", [*_SAFE]),
        ("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        ("/dev/pts", "devpts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        ("/sys", "sysfs", "sysfs", [*_SAFE] if config.privileged else [*_SAFE, "ro"]),
        ("/sys/fs/cgroup", "cgroup", "cgroup", [*_SAFE] if inputs.writable_cgroups else ["ro", *_SAFE]),
        ("/dev/mqueue", "mqueue", "mqueue", [*_SAFE]),
    ]
    if config.ipc_mode != "none":
        found.append(("/dev/shm", "tmpfs", "shm", [*_SAFE, "mode=1777", f"size={config.shm_size}"]))
    return [
        {"destination": destination, "type": kind, "source": source, "options": options}
        for destination, kind, source, options in found
    ]


def _shared_memory(inputs: MountInputs) -> list[dict[str, Any]]:
    mode = inputs.host_config.ipc_mode
    source = Path("/dev/shm") if mode == "host" else inputs.shm_path
    if mode in ("none", "private") or source is None:
        return []
    return [{"destination": "/dev/shm", "type": "bind", "source": str(source), "options": ["rbind", "rprivate"]}]


def _network_mounts(inputs: MountInputs) -> list[dict[str, Any]]:
    options = ["rbind", "rprivate", *(["ro"] if inputs.host_config.readonly_rootfs else [])]
    return [
        {"destination": place, "type": "bind", "source": str(inputs.files_dir / name), "options": options}
        for name, place in _NETWORK_FILES.items()
        if (inputs.files_dir / name).exists()
    ]


def _user_mounts(inputs: MountInputs) -> list[dict[str, Any]]:
    found = []
    for destination, text in given(inputs.host_config.tmpfs, {}).items():
        options = merged_options(split_options(text))
        found.append({"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options})
    for mount, source in inputs.mounts:
        if mount.type == "tmpfs":
            entry = {"type": "tmpfs", "source": "tmpfs", "options": mount.options or merged_options([])}
        else:
            entry = {"type": "bind", "source": str(source), "options": _bind_options(mount, source, inputs)}
        found.append({"destination": mount.destination, **entry})
    return found


def _bind_options(mount: MountRecord, source: Path, inputs: MountInputs) -> list[str]:
    options = ["bind" if mount.non_recursive else "rbind"]
    if not mount.read_write:
        recursive = inputs.recursive_read_only and not mount.read_only_non_recursive and not mount.non_recursive
        if mount.read_only_force_recursive and not inputs.recursive_read_only:
            raise NotSupported("rro is not supported: kernel is older than 5.12", hint="use a plain read-only mount")
        # crun opens what it makes read-only recursively as a folder; beneath a file nothing can be mounted anyway.
        options.append("rro" if recursive and source.is_dir() else "ro")
    propagation = mount.propagation or "rprivate"
    # crun takes the r of a propagation for a recursive bind; on a mount without others in it both mean the same.
    options.append(propagation.removeprefix("r") if mount.non_recursive else propagation)
    return options


def _root_propagation(inputs: MountInputs) -> str:
    wanted = ""
    for mount, source in inputs.mounts:
        if mount.type == "tmpfs" or mount.propagation not in _SHARED | _SLAVE:
            continue
        entry = mount_of(source)
        place, optional = (entry.place, entry.optional) if entry else ("/", ())
        is_shared = any(word.startswith("shared:") for word in optional)
        is_slave = any(word.startswith("master:") for word in optional)
        if mount.propagation in _SHARED:
            if not is_shared:
                raise InvalidArgument(f"path {source} is mounted on {place} but it is not a shared mount")
            wanted = "shared"
        elif is_shared or is_slave:
            wanted = wanted or "rslave"
        elif not _touches(source, inputs.data_root):
            raise InvalidArgument(f"path {source} is mounted on {place} but it is not a shared or slave mount")
    return wanted


def _touches(source: Path, data_root: Path | None) -> bool:
    # Such mounts were made slaves by the engine, not by the user: they may fall back.
    return data_root is not None and (source.is_relative_to(data_root) or data_root.is_relative_to(source))
