"""The folders of control groups: finding, listing and removing a group in every hierarchy of this host."""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress
from pathlib import Path

from engine.errors import Internal

_ROOT = Path("/sys/fs/cgroup")


def hierarchies() -> list[Path]:
    """Return the mount points of all hierarchies (one on a host with cgroup v2 alone)."""
    if (_ROOT / "cgroup.controllers").exists():
        return [_ROOT]
    return [path for path in _ROOT.iterdir() if path.is_dir() and not path.is_symlink()]


def remove_group(path: str, *, timeout_s: float = 2.0) -> bool:
    """Remove a group (``/portside/<id>``) and what is beneath it from every hierarchy (blocking).

    Returns false when something in it still lives after ``timeout_s``.
    """
    relative = path.lstrip("/")
    if not relative:
        raise Internal("the root control group is never removed")
    deadline = time.monotonic() + timeout_s
    pending = [folder for folder in (root / relative for root in hierarchies()) if folder.is_dir()]
    while pending:
        pending = [folder for folder in pending if not _remove(folder)]
        if pending and time.monotonic() > deadline:
            return False
        if pending:
            time.sleep(0.005)
    return True


def remove_empty(path: str) -> None:
    """Remove a group from every hierarchy where nothing is in it (blocking)."""
    relative = path.strip("/")
    for root in hierarchies() if relative else ():
        with suppress(OSError):  # not there, or in use
            (root / relative).rmdir()


def _remove(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
            raise Internal(f"control group {folder}: {error.strerror}") from error
        try:
            children = [Path(entry.path) for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            return True
        left = [child for child in children if not _remove(child)]
        if not children or left:
            return False
        return _remove(folder) if not _has_processes(folder) else False
    return True


def _has_processes(folder: Path) -> bool:
    try:
        return bool((folder / "cgroup.procs").read_bytes())
    except OSError:
        return False


def members(path: str) -> list[int]:
    """Return the PIDs in a group and beneath it, from whichever hierarchy has it."""
    relative = path.lstrip("/")
    found: set[int] = set()
    for root in hierarchies():
        top = root / relative
        if not top.is_dir():
            continue
        for folder, _, _ in os.walk(top):
            try:
                found.update(int(word) for word in (Path(folder) / "cgroup.procs").read_text().split())
            except OSError:
                continue
        if found:
            break
    return sorted(found)


def groups_beneath(parent: str) -> set[str]:
    """Return the names of all groups right beneath ``parent`` in any hierarchy."""
    relative = parent.strip("/")
    names: set[str] = set()
    for root in hierarchies():
        folder = root / relative
        if folder.is_dir():
            names.update(entry.name for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False))
    return names


_UNLIMITED = {"pids": (("pids.max", "max"),), "quota": (("cpu.cfs_quota_us", "-1"), ("cpu.max", "max"))}


def lift_limit(path: str, kind: str) -> None:
    """Take the limit of ``pids`` or the CPU ``quota`` off a group (blocking): crun 1.8 cannot, in an update."""
    for root in hierarchies():
        for name, value in _UNLIMITED[kind]:
            file = root / path.lstrip("/") / name
            if file.exists():
                try:
                    file.write_text(value)
                except OSError as error:
                    raise Internal(f"{file}: {error.strerror}") from error


def process_group(pid: int) -> list[str]:
    """Return the paths of the groups that a process is in; empty when it has gone."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return []
    return [line.split(":", 2)[2] for line in lines]
