"""What this host can do for containers: control groups, security modules, limits. Probed once, at start.

Only facts; what follows from them (warnings, refusals) is decided by whoever asks.
"""

from __future__ import annotations

import os
import platform
import resource
import shutil
import socket
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from engine.runtime.capabilities import names_in

CGROUP_ROOT = Path("/sys/fs/cgroup")
UNLIMITED = -1
_CAP_SYS_RESOURCE = "CAP_SYS_RESOURCE"
_INIT_PROGRAMS = ("docker-init", "tini-static", "catatonit")  # static: they run in any image
_INIT_FOLDERS = ("/usr/libexec/portside", "/usr/libexec/docker", "/usr/libexec/podman", "/usr/local/libexec/podman")
_MACHINES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "armv6l": "arm",
    "i686": "386",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
    "mips64": "mips64le",
    "loongarch64": "loong64",
}


@dataclass(frozen=True)
class CgroupFacts:
    """What the control groups of this host can limit. ``cpus`` and ``mems`` are lists such as ``0-3,8``."""

    version: int = 2
    controllers: frozenset[str] = frozenset()
    memory_limit: bool = True
    swap_limit: bool = True
    memory_reservation: bool = True
    oom_kill_disable: bool = False
    memory_swappiness: bool = False
    kernel_memory_tcp: bool = False
    cpu_shares: bool = True
    cpu_cfs: bool = True
    cpu_realtime: bool = False
    cpuset: bool = True
    cpus: str = ""
    mems: str = ""
    pids_limit: bool = True
    blkio_weight: bool = True
    blkio_weight_device: bool = True
    blkio_read_bps: bool = True
    blkio_write_bps: bool = True
    blkio_read_iops: bool = True
    blkio_write_iops: bool = True
    devices: bool = True
    namespaces: bool = True


@dataclass(frozen=True)
class HostFacts:
    """This host as the engine found it.

    ``architecture`` has Go's names (amd64). ``hard_rlimits`` are the engine's own by lower-case name, -1
    unlimited. ``oom_score_floor`` is the lowest score that may be asked for. ``sysctls`` are the names
    that exist out of those that every container gets.
    """

    cgroups: CgroupFacts = field(default_factory=CgroupFacts)
    architecture: str = "amd64"
    kernel: tuple[int, int] = (6, 1)
    kernel_release: str = "6.1"
    hostname: str = "localhost"
    cpu_count: int = 1
    memory_bytes: int = 0
    capabilities: tuple[str, ...] = ()
    apparmor: bool = False
    selinux: bool = False
    seccomp: bool = True
    hard_rlimits: dict[str, int] = field(default_factory=dict)
    can_raise_rlimits: bool = True
    oom_score_floor: int = -1000
    user_namespace: bool = False
    sysctls: frozenset[str] = frozenset()
    recursive_read_only: bool = True
    thermal_paths: tuple[str, ...] = ()
    init_path: Path | None = None


DEFAULT_SYSCTLS = {"net.ipv4.ping_group_range": "0 2147483647", "net.ipv4.ip_unprivileged_port_start": "0"}
"""Given to every network namespace that a container gets: both replace capabilities that programs would need."""


def probe_host() -> HostFacts:
    """Look at this host (blocking, a few milliseconds); what cannot be read counts as absent."""
    capabilities = names_in(_status_mask("CapEff"))
    release = platform.release()
    kernel = _kernel_version(release)
    can_raise = _CAP_SYS_RESOURCE in capabilities
    in_user_namespace = _in_user_namespace()
    return HostFacts(
        cgroups=probe_cgroups(),
        architecture=_MACHINES.get(platform.machine(), platform.machine()),
        kernel=kernel,
        kernel_release=release,
        hostname=socket.gethostname(),
        cpu_count=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        capabilities=capabilities,
        apparmor=_has_apparmor(),
        selinux=Path("/sys/fs/selinux/enforce").exists(),
        seccomp="Seccomp:" in _read("/proc/self/status"),
        hard_rlimits=_hard_rlimits(),
        can_raise_rlimits=can_raise and not in_user_namespace,
        oom_score_floor=-1000 if can_raise and not in_user_namespace else _own_oom_score(),
        user_namespace=in_user_namespace,
        sysctls=frozenset(name for name in DEFAULT_SYSCTLS if _sysctl_path(name).exists()),
        recursive_read_only=kernel >= (5, 12),
        thermal_paths=_thermal_paths(),
        init_path=find_init(),
    )


def has_ipv4_forwarding() -> bool:
    """Whether this host forwards packets now: the networks switch it on after the other facts are known."""
    try:
        return os.pread(_forwarding(), 2, 0).strip() == b"1"
    except OSError:
        return False


@cache
def _forwarding() -> int:
    # Held open: looking the name up takes longer with each network namespace that the host has.
    return os.open("/proc/sys/net/ipv4/ip_forward", os.O_RDONLY | os.O_CLOEXEC)


def find_init() -> Path | None:
    """Return a small init program for ``--init``, or None."""
    for name in _INIT_PROGRAMS:
        found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *_INIT_FOLDERS]))
        if found:
            return Path(found).resolve()
    return None


def probe_cgroups() -> CgroupFacts:
    """Find out what the control groups offer (blocking)."""
    if (CGROUP_ROOT / "cgroup.controllers").exists():
        return _probe_v2()
    return _probe_v1(_v1_mount_points())


def _probe_v2() -> CgroupFacts:
    controllers = frozenset(_read(CGROUP_ROOT / "cgroup.controllers").split())
    own = next((line[3:] for line in _read("/proc/self/cgroup").splitlines() if line.startswith("0::")), "/")
    has_memory, has_io = "memory" in controllers, "io" in controllers
    # The root group has no memory.swap.max: the engine's own or any child of the root shows it.
    candidates = [CGROUP_ROOT / own.strip("/"), *_first_children(CGROUP_ROOT)]
    return CgroupFacts(
        version=2,
        controllers=controllers,
        memory_limit=has_memory,
        swap_limit=has_memory and any((folder / "memory.swap.max").exists() for folder in candidates),
        memory_reservation=has_memory,
        cpu_shares="cpu" in controllers,
        cpu_cfs="cpu" in controllers,
        cpuset="cpuset" in controllers,
        cpus=_read(CGROUP_ROOT / "cpuset.cpus.effective").strip(),
        mems=_read(CGROUP_ROOT / "cpuset.mems.effective").strip(),
        pids_limit="pids" in controllers,
        blkio_weight=has_io,
        blkio_weight_device=has_io,
        blkio_read_bps=has_io,
        blkio_write_bps=has_io,
        blkio_read_iops=has_io,
        blkio_write_iops=has_io,
        devices=not _in_user_namespace(),
        namespaces=Path("/proc/self/ns/cgroup").exists(),
    )


def _first_children(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir())[:50] if path.is_dir()]


def _v1_mount_points() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for line in _read("/proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        kind, _, rest = after.partition(" ")
        if kind == "cgroup":
            for name in rest.split(" ")[-1].split(","):
                found.setdefault(name, Path(before.split(" ")[4]))
    return found


def _probe_v1(mounts: dict[str, Path]) -> CgroupFacts:
    known = ("memory", "cpu", "cpuacct", "cpuset", "blkio", "pids", "devices", "freezer", "hugetlb", "perf_event")

    def has(controller: str, name: str) -> bool:
        return controller in mounts and (mounts[controller] / name).exists()

    return CgroupFacts(
        version=1,
        controllers=frozenset(name for name in known if name in mounts),
        memory_limit="memory" in mounts,
        swap_limit=has("memory", "memory.memsw.limit_in_bytes"),
        memory_reservation=has("memory", "memory.soft_limit_in_bytes"),
        oom_kill_disable=has("memory", "memory.oom_control"),
        memory_swappiness=has("memory", "memory.swappiness"),
        kernel_memory_tcp=has("memory", "memory.kmem.tcp.limit_in_bytes"),
        cpu_shares=has("cpu", "cpu.shares"),
        cpu_cfs=has("cpu", "cpu.cfs_quota_us"),
        cpu_realtime=has("cpu", "cpu.rt_period_us"),
        cpuset="cpuset" in mounts,
        cpus=_read(mounts["cpuset"] / "cpuset.cpus").strip() if "cpuset" in mounts else "",
        mems=_read(mounts["cpuset"] / "cpuset.mems").strip() if "cpuset" in mounts else "",
        pids_limit="pids" in mounts,
        blkio_weight=has("blkio", "blkio.weight"),
        blkio_weight_device=has("blkio", "blkio.weight_device"),
        blkio_read_bps=has("blkio", "blkio.throttle.read_bps_device"),
        blkio_write_bps=has("blkio", "blkio.throttle.write_bps_device"),
        blkio_read_iops=has("blkio", "blkio.throttle.read_iops_device"),
        blkio_write_iops=has("blkio", "blkio.throttle.write_iops_device"),
        devices="devices" in mounts,
        namespaces=Path("/proc/self/ns/cgroup").exists(),
    )


def _read(path: Path | str) -> str:
    try:
        return Path(path).read_text(errors="surrogateescape")
    except OSError:
        return ""


def _status_mask(name: str) -> int:
    for line in _read("/proc/self/status").splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value, 16)
    return 0


def _kernel_version(release: str) -> tuple[int, int]:
    words = release.replace("-", ".").split(".")
    try:
        return int(words[0]), int(words[1])
    except (ValueError, IndexError):
        return 0, 0


def _hard_rlimits() -> dict[str, int]:
    limits = {}
    for name in dir(resource):
        if name.startswith("RLIMIT_"):
            hard = resource.getrlimit(getattr(resource, name))[1]
            limits[name.removeprefix("RLIMIT_").lower()] = hard
    return limits


def _own_oom_score() -> int:
    try:
        return int(_read("/proc/self/oom_score_adj") or "0")
    except ValueError:
        return 0


def _in_user_namespace() -> bool:
    return _read("/proc/self/uid_map").split() not in (["0", "0", "4294967295"], [])


def _has_apparmor() -> bool:
    # Without its parser no profile can be loaded: containers then run without one, as Docker's do. Neither can
    # they where the engine itself is in a container.
    has_parser = shutil.which("apparmor_parser", path=f"{os.environ.get('PATH', os.defpath)}:/sbin:/usr/sbin")
    if not has_parser or os.environ.get("container"):  # noqa: SIM112 - systemd's name for it
        return False
    if _read("/sys/module/apparmor/parameters/enabled").strip() != "Y":
        return False
    try:
        with Path("/sys/kernel/security/apparmor/profiles").open("rb"):
            return True
    except OSError:
        return False


def _sysctl_path(name: str) -> Path:
    return Path("/proc/sys") / name.replace(".", "/")


def _thermal_paths() -> tuple[str, ...]:
    top = Path("/sys/devices/system/cpu")
    return tuple(sorted(str(path) for path in top.glob("cpu[0-9]*/thermal_throttle")))
