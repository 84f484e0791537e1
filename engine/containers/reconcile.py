"""What became of the containers while no engine watched: judged at start, before anything is served.

The store says what was promised, the kernel and conmon's files say what is. Nothing here waits for a
process; 200 containers take well under a second.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from engine.containers.container import RUNNING_STATES
from engine.containers.failures import EXIT_LOST
from engine.containers.launcher import Launcher
from engine.containers.paths import ContainerPaths
from engine.errors import PortsideError
from engine.model.record import ContainerRecord
from engine.runtime import cgrouptree
from engine.runtime.mounts import mount_points, unmount

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verdict:
    """What became of one container.

    ``outcome`` is running, exited (with its code and time), lost (nobody saw its end), unstarted (made
    but never let go), removing, or still (it did not run and does not).
    """

    outcome: str
    pid: int = 0
    exit_code: int = 0
    time_ns: int = 0


def judge(record: ContainerRecord, paths: ContainerPaths, state_dir: Path) -> Verdict:
    """Return what became of a container (blocking, a few reads)."""
    status = record.state.status
    if status == "removing":
        return Verdict("removing")
    if status != "starting" and status not in RUNNING_STATES:
        return Verdict("still")
    exit_file = paths.exits / record.id
    with suppress(OSError, ValueError):
        text = exit_file.read_text()
        return Verdict("exited", exit_code=int(text or EXIT_LOST), time_ns=exit_file.stat().st_mtime_ns)
    pid = _read_pid(paths.bundle(record.id) / "pidfile")
    if pid and _belongs(pid, record.id):
        if status == "starting" and (state_dir / "exec.fifo").exists():
            return Verdict("unstarted", pid=pid)
        return Verdict("running", pid=pid)
    if status == "starting":
        return Verdict("unstarted")
    return Verdict("lost", exit_code=EXIT_LOST, time_ns=time.time_ns())


def _read_pid(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


def _belongs(pid: int, container_id: str) -> bool:
    """Whether a PID is still the container's: its number may have been used again since."""
    if any(container_id in group for group in cgrouptree.process_group(pid)):
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
        except OSError:
            return False
    return False


def started_ns(pid: int) -> int:
    """Return when a process was started, in nanoseconds since 1970; now when it has gone."""
    try:
        ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
        uptime_s = float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return time.time_ns()
    age_s = max(0.0, uptime_s - ticks / os.sysconf("SC_CLK_TCK"))
    return time.time_ns() - int(age_s * 1e9)


def sweep(paths: ContainerPaths, known: set[str], running: set[str], cgroup_parent: str) -> None:
    """Remove what belongs to no container, and what belongs to one that does not run (blocking).

    ``known`` are the IDs in the store, ``running`` those that run. Groups with processes in them are
    killed first: whatever is beneath our own parent group is ours.
    """
    for name in cgrouptree.groups_beneath(cgroup_parent) - running:
        group = f"/{cgroup_parent.strip('/')}/{name}"
        for pid in cgrouptree.members(group):
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
        if not cgrouptree.remove_group(group):
            log.warning("control group %s of a container that is gone is busy", group)
    for point in mount_points(paths.bundles):
        owner = point.relative_to(paths.bundles).parts[:1]
        if owner and owner[0] not in running:
            try:
                unmount(point)
            except PortsideError as error:
                log.warning("%s", error.message)
    for folder in [paths.bundles, *_subfolders(paths.runtime_state)]:
        for entry in list(folder.iterdir()) if folder.is_dir() else []:
            if entry.name not in running:
                shutil.rmtree(entry, ignore_errors=True)
    for entry in list(paths.exits.iterdir()):
        if entry.name not in running:
            entry.unlink(missing_ok=True)
    for entry in list(paths.containers.iterdir()):
        if entry.name not in known:
            entry.rename(paths.trash / entry.name)


def _subfolders(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if entry.is_dir()] if folder.is_dir() else []


async def empty_trash(paths: ContainerPaths) -> None:
    """Delete what earlier removals and crashes left."""
    for entry in list(paths.trash.iterdir()):
        await asyncio.to_thread(shutil.rmtree, entry, ignore_errors=True)


def judge_all(records: list[ContainerRecord], launcher: Launcher) -> dict[str, Verdict]:
    """Return what became of every container (blocking)."""
    verdicts: dict[str, Verdict] = {}
    for record in records:
        try:
            state_dir = launcher.runtime(record).state_dir(record.id)
        except PortsideError:  # its runtime is not configured any more
            state_dir = Path("/nonexistent")
        verdicts[record.id] = judge(record, launcher.paths, state_dir)
    return verdicts
