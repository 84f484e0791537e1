"""Limits that a container asks for: checked, and dropped with a warning where this host lacks them.

Used when a container is created and when it is updated. Texts are moby's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from engine.errors import Conflict, InvalidArgument
from engine.model.base import given
from engine.model.resources import Resources, Ulimit
from engine.runtime.host import CgroupFacts, HostFacts

MIN_MEMORY_BYTES = 6 * 1024 * 1024
_NANO = 1_000_000_000
_MAX_CPUS = 8192
_CPU_LIST = re.compile(r"\d{1,6}(-\d{1,6})?(,\d{1,6}(-\d{1,6})?)*")
_ULIMITS = frozenset(
    "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack".split()  # noqa: SIM905
)


def verify_resources(wanted: Resources, host: HostFacts, *, update: bool = False) -> list[str]:
    """Check limits, drop from ``wanted`` what this host lacks and return the warnings about it.

    Raises InvalidArgument with moby's text.
    """
    check = _Check(wanted, host.cgroups, [])
    if not update:
        check.quality_of_service()
        check.realtime()
    check.memory(update=update)
    check.oom_and_pids()
    check.cpu(host.cpu_count)
    check.cpuset()
    check.block_io()
    check.ulimits(host)
    return check.warnings


@dataclass
class _Check:
    wanted: Resources
    cgroups: CgroupFacts
    warnings: list[str]

    def memory(self, *, update: bool) -> None:
        wanted, cgroups = self.wanted, self.cgroups
        if wanted.memory_swappiness == -1:
            wanted.memory_swappiness = None
        if wanted.memory and wanted.memory < MIN_MEMORY_BYTES:
            raise InvalidArgument("Minimum memory limit allowed is 6MB")
        if wanted.memory > 0 and not cgroups.memory_limit:
            self._lacks("memory limit capabilities or the cgroup is not mounted. Limitation discarded.")
            wanted.memory, wanted.memory_swap = 0, -1
        if wanted.memory > 0 and wanted.memory_swap != -1 and not cgroups.swap_limit:
            self._lacks("swap limit capabilities or the cgroup is not mounted. Memory limited without swap.")
            wanted.memory_swap = -1
        if wanted.memory > 0 and 0 < wanted.memory_swap < wanted.memory:
            raise InvalidArgument("Minimum memoryswap limit should be larger than memory limit, see usage")
        if wanted.memory == 0 and wanted.memory_swap > 0 and not update:
            raise InvalidArgument("You should always set the Memory limit when using Memoryswap limit, see usage")
        self._swappiness()
        self._reservation()
        self._kernel_memory()

    def _lacks(self, what: str) -> None:
        self.warnings.append(f"Your kernel does not support {what}")

    def _swappiness(self) -> None:
        value = self.wanted.memory_swappiness
        if value is None:
            return
        if not self.cgroups.memory_swappiness:
            self._lacks("memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.")
            self.wanted.memory_swappiness = None
        elif not 0 <= value <= 100:
            raise InvalidArgument(f"Invalid value: {value}, valid memory swappiness range is 0-100")

    def _reservation(self) -> None:
        wanted = self.wanted
        if wanted.memory_reservation > 0 and not self.cgroups.memory_reservation:
            self._lacks("memory soft limit capabilities or the cgroup is not mounted. Limitation discarded.")
            wanted.memory_reservation = 0
        if 0 < wanted.memory_reservation < MIN_MEMORY_BYTES:
            raise InvalidArgument("Minimum memory reservation allowed is 6MB")
        if 0 < wanted.memory < wanted.memory_reservation:
            raise InvalidArgument("Minimum memory limit can not be less than memory reservation limit, see usage")

    def _kernel_memory(self) -> None:
        # The kernel took this limit out in 5.4; API 1.42 and later ignore it, older clients are told.
        if given(self.wanted.kernel_memory, 0) > 0:
            self._lacks("kernel memory limit capabilities or the cgroup is not mounted. Limitation discarded.")
            self.wanted.kernel_memory = 0
        if given(self.wanted.kernel_memory_tcp, 0) > 0 and not self.cgroups.kernel_memory_tcp:
            self._lacks("kernel memory TCP limit capabilities or the cgroup is not mounted. Limitation discarded.")
            self.wanted.kernel_memory_tcp = 0

    def oom_and_pids(self) -> None:
        wanted = self.wanted
        if wanted.oom_kill_disable is not None and not self.cgroups.oom_kill_disable:
            if wanted.oom_kill_disable:
                self._lacks("OomKillDisable. OomKillDisable discarded.")
            wanted.oom_kill_disable = None
        if wanted.oom_kill_disable and wanted.memory == 0:
            self.warnings.append(
                "OOM killer is disabled for the container, but no memory limit is set, this can result in the "
                "system running out of resources."
            )
        if wanted.pids_limit is not None and not self.cgroups.pids_limit:
            if wanted.pids_limit > 0:
                self._lacks("PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.")
            wanted.pids_limit = None

    def cpu(self, cpu_count: int) -> None:
        wanted, cgroups = self.wanted, self.cgroups
        if wanted.nano_cpus > 0 and wanted.cpu_period > 0:
            raise InvalidArgument("Conflicting options: Nano CPUs and CPU Period cannot both be set")
        if wanted.nano_cpus > 0 and wanted.cpu_quota > 0:
            raise InvalidArgument("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
        if wanted.nano_cpus > 0 and not cgroups.cpu_cfs:
            raise InvalidArgument(
                "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler "
                "or the cgroup is not mounted"
            )
        if not 0 <= wanted.nano_cpus <= cpu_count * _NANO:
            raise InvalidArgument(
                f"range of CPUs is from 0.01 to {cpu_count}.00, as there are only {cpu_count} CPUs available"
            )
        if wanted.cpu_shares > 0 and not cgroups.cpu_shares:
            self._lacks("CPU shares or the cgroup is not mounted. Shares discarded.")
            wanted.cpu_shares = 0
        if wanted.cpu_shares < 0:
            raise InvalidArgument(f"invalid CPU shares ({wanted.cpu_shares}): value must be a positive integer")
        if (wanted.cpu_period or wanted.cpu_quota) and not cgroups.cpu_cfs:
            self._lacks("CPU CFS scheduler. CPU period/quota discarded.")
            wanted.cpu_period = wanted.cpu_quota = 0
        if wanted.cpu_period and not 1000 <= wanted.cpu_period <= 1_000_000:
            raise InvalidArgument(
                "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
            )
        if 0 < wanted.cpu_quota < 1000:
            raise InvalidArgument("CPU cfs quota can not be less than 1ms (i.e. 1000)")
        if wanted.cpu_percent > 0:
            self.warnings.append("linux does not support CPU percent. Percent discarded.")
            wanted.cpu_percent = 0
        if wanted.cpu_count > 0:
            self.warnings.append("linux does not support CPU count. Count discarded.")
            wanted.cpu_count = 0

    def quality_of_service(self) -> None:
        if self.wanted.io_maximum_bandwidth:
            raise InvalidArgument("invalid option: QoS maximum bandwidth configuration is not supported on linux")
        if self.wanted.io_maximum_iops:
            raise InvalidArgument("invalid option: QoS maximum IOPs configuration is not supported on linux")

    def realtime(self) -> None:
        period, runtime = self.wanted.cpu_realtime_period, self.wanted.cpu_realtime_runtime
        if (period or runtime) and not self.cgroups.cpu_realtime:
            raise InvalidArgument("kernel does not support CPU real-time scheduler")
        if period and runtime and runtime > period:
            raise InvalidArgument("cpu real-time runtime cannot be higher than cpu real-time period")

    def cpuset(self) -> None:
        wanted, cgroups = self.wanted, self.cgroups
        if (wanted.cpuset_cpus or wanted.cpuset_mems) and not cgroups.cpuset:
            self._lacks("cpuset or the cgroup is not mounted. Cpuset discarded.")
            wanted.cpuset_cpus = wanted.cpuset_mems = ""
        for asked, available, kind, name in (
            (wanted.cpuset_cpus, cgroups.cpus, "cpus", "CPUs"),
            (wanted.cpuset_mems, cgroups.mems, "mems", "memory nodes"),
        ):
            if not asked:
                continue
            if not _numbers(asked, kind) <= _numbers(available, kind):
                raise InvalidArgument(f"Requested {name} are not available - requested {asked}, available: {available}")

    def block_io(self) -> None:
        wanted, cgroups = self.wanted, self.cgroups
        if wanted.blkio_weight > 0 and not cgroups.blkio_weight:
            self._lacks("Block I/O weight or the cgroup is not mounted. Weight discarded.")
            wanted.blkio_weight = 0
        if wanted.blkio_weight and not 10 <= wanted.blkio_weight <= 1000:
            raise InvalidArgument("Range of blkio weight is from 10 to 1000")
        if wanted.io_maximum_bandwidth or wanted.io_maximum_iops:
            raise InvalidArgument(
                "Invalid QoS settings: linux does not support Maximum IO Bandwidth or Maximum IO IOps"
            )
        for name, available, what in (
            ("blkio_weight_device", cgroups.blkio_weight_device, ("Block I/O weight_device", "Weight-device")),
            ("blkio_device_read_bps", cgroups.blkio_read_bps, ("BPS Block I/O read limit", "Block I/O BPS read limit")),
            (
                "blkio_device_write_bps",
                cgroups.blkio_write_bps,
                ("BPS Block I/O write limit", "Block I/O BPS write limit"),
            ),
            ("blkio_device_read_iops", cgroups.blkio_read_iops, ("IOPS Block read limit", "Block I/O IOPS read limit")),
            (
                "blkio_device_write_iops",
                cgroups.blkio_write_iops,
                ("IOPS Block write limit", "Block I/O IOPS write limit"),
            ),
        ):
            if getattr(wanted, name) and not available:
                self._lacks(f"{what[0]} or the cgroup is not mounted. {what[1]} discarded.")
                setattr(wanted, name, [])

    def ulimits(self, host: HostFacts) -> None:
        for limit in self.wanted.ulimits or []:
            self._check_ulimit(limit)
            own = host.hard_rlimits.get(limit.name.lower(), -1)
            if not host.can_raise_rlimits and own >= 0 and (limit.hard < 0 or limit.hard > own):
                self.warnings.append(
                    f"ulimit {limit.name}={limit.soft}:{limit.hard} is above the engine's own hard limit of {own}, "
                    f"which this host does not let it raise. Limited to {own}."
                )

    def _check_ulimit(self, limit: Ulimit) -> None:
        if limit.name.lower() not in _ULIMITS:
            raise InvalidArgument(f"invalid ulimit type: {limit.name}")
        if limit.hard >= 0 and limit.soft < 0:
            raise InvalidArgument(
                f"ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: {limit.hard}"
            )
        if limit.hard >= 0 and limit.soft > limit.hard:
            raise InvalidArgument(
                f"ulimit soft limit must be less than or equal to hard limit: {limit.soft} > {limit.hard}"
            )


def _numbers(text: str, kind: str) -> set[int]:
    """Return the numbers of a list such as ``0-3,8``."""
    if not text:
        return set()
    found: set[int] = set()
    if _CPU_LIST.fullmatch(text):
        for word in text.split(","):
            low, _, high = word.partition("-")
            last = int(high or low)
            if int(low) > last or last > _MAX_CPUS:
                break
            found.update(range(int(low), last + 1))
        else:
            return found
    raise InvalidArgument(f"Invalid value {text} for cpuset {kind}: invalid format: {text}")


def apply_update(current: Resources, changes: Resources) -> None:
    """Put the limits that ``changes`` names into ``current``; zero values change nothing.

    Raises Conflict with moby's text when they contradict what the container has.
    """
    if changes.nano_cpus > 0 and current.cpu_period > 0:
        raise Conflict("Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set")
    if changes.nano_cpus > 0 and current.cpu_quota > 0:
        raise Conflict("Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set")
    if changes.cpu_period > 0 and current.nano_cpus > 0:
        raise Conflict("Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set")
    if changes.cpu_quota > 0 and current.nano_cpus > 0:
        raise Conflict("Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set")
    if changes.memory and not changes.memory_swap and current.memory_swap < changes.memory:
        raise Conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
        )
    for name in _UPDATABLE:
        value = getattr(changes, name)
        if value:
            setattr(current, name, value)
    if changes.pids_limit is not None:
        current.pids_limit = max(0, changes.pids_limit)  # zero and less are unlimited


_UPDATABLE = (
    "blkio_weight",
    "cpu_shares",
    "nano_cpus",
    "cpu_period",
    "cpu_quota",
    "cpuset_cpus",
    "cpuset_mems",
    "memory",
    "memory_swap",
    "memory_reservation",
    "cpu_realtime_period",
    "cpu_realtime_runtime",
)
