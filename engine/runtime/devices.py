"""Host devices for containers: nodes to make, and the rules of the device control group."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engine.errors import InvalidArgument
from engine.model.resources import DeviceMapping

_RULE = re.compile(r"([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})")
_SKIPPED_FOLDERS = frozenset({"pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"})
_DEFAULT_ALLOWED = ((1, 5), (1, 3), (1, 9), (1, 8), (5, 0), (5, 1))
_MAX_RULE_NUMBER = 2**63 - 1


def default_rules() -> list[dict[str, Any]]:
    """Return the rules of every container: zero, null, urandom, random, tty and console; fuse is not."""
    rules: list[dict[str, Any]] = [{"allow": False, "access": "rwm"}]
    rules += [
        {"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"}
        for major, minor in _DEFAULT_ALLOWED
    ]
    rules.append({"allow": False, "type": "c", "major": 10, "minor": 229, "access": "rwm"})
    return rules


def rules_from(texts: Iterable[str]) -> list[dict[str, Any]]:
    """Return the rules of ``--device-cgroup-rule``; raises InvalidArgument with moby's text."""
    rules = []
    for text in texts:
        match = _RULE.fullmatch(text)
        if match is None:
            raise InvalidArgument(f"invalid device cgroup rule format: '{text}'")
        numbers = {}
        for key, word in (("major", match[2]), ("minor", match[3])):
            if word != "*" and int(word) > _MAX_RULE_NUMBER:
                raise InvalidArgument(f"invalid {key} value in device cgroup rule format: '{text}'")
            numbers[key] = -1 if word == "*" else int(word)
        rules.append({"allow": True, "type": match[1], **numbers, "access": match[4]})
    return rules


def device_at(path: str) -> dict[str, Any] | None:
    """Return the OCI device of a node, or None when it is no block, character or fifo node.

    Raises OSError when there is nothing.
    """
    info = os.lstat(path)
    kind = {stat.S_IFBLK: "b", stat.S_IFCHR: "c", stat.S_IFIFO: "p"}.get(stat.S_IFMT(info.st_mode))
    if kind is None:
        return None
    return {
        "path": path,
        "type": kind,
        "major": os.major(info.st_rdev),
        "minor": os.minor(info.st_rdev),
        "fileMode": stat.S_IMODE(info.st_mode),
        "uid": info.st_uid,
        "gid": info.st_gid,
    }


def mapped(mapping: DeviceMapping) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the nodes and the rules of one ``--device``; a folder stands for the devices in it.

    Raises InvalidArgument with moby's text when there is no device.
    """
    host, inside = mapping.path_on_host, mapping.path_in_container or mapping.path_on_host
    resolved = os.path.realpath(host) if Path(host).is_symlink() else host
    access = mapping.cgroup_permissions or "rwm"
    try:
        device = device_at(resolved)
    except OSError as error:
        raise _gathering(host, f"{error.strerror and error.strerror.lower()}") from error
    devices = []
    if device is not None:
        devices = [{**device, "path": inside}]
    elif Path(resolved).is_dir():
        devices = [
            {**found, "path": inside + found["path"].removeprefix(resolved)} for found in _beneath(Path(resolved))
        ]
    if not devices:
        raise _gathering(host, "not a device node")
    return devices, [rule_for(found, access) for found in devices]


def _gathering(path: str, reason: str) -> InvalidArgument:
    return InvalidArgument(f'error gathering device information while adding custom device "{path}": {reason}')


def _beneath(folder: Path) -> Iterable[dict[str, Any]]:
    for top, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            try:
                device = device_at(str(Path(top) / name))
            except OSError:
                continue
            if device is not None:
                yield device


def rule_for(device: dict[str, Any], access: str) -> dict[str, Any]:
    """Return the rule that allows a device."""
    kind = "c" if device["type"] == "p" else device["type"]
    return {"allow": True, "type": kind, "major": device["major"], "minor": device["minor"], "access": access}


def host_devices(folder: str = "/dev") -> list[dict[str, Any]]:
    """Return every block and character device of the host but for consoles and pseudo file systems."""
    found: list[dict[str, Any]] = []
    for top, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED_FOLDERS)
        for name in sorted(names):
            if name == "console":
                continue
            try:
                device = device_at(str(Path(top) / name))
            except OSError:
                continue  # it went away while we looked
            if device is not None and device["type"] != "p":
                found.append(device)
    return found
