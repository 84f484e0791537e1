"""What a container uses: CPU, memory, network, disks, processes, in Docker's JSON; cgroup v1 and v2.

Source: Engine API, ``ContainerStats``; moby's daemon/stats_unix.go for which kernel value goes where. Read once a
second for many containers, so files are read by their descriptors without a Path in between.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from engine.wire.times import ZERO_TIME, format_ns

_CGROUP = Path("/sys/fs/cgroup")
_TICKS_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_UNLIMITED = 1 << 62
_NO_LIMIT = (1 << 64) - 1
_FILE_BYTES = 1 << 16
_BLKIO = (
    "io_service_bytes_recursive",
    "io_serviced_recursive",
    "io_queue_recursive",
    "io_service_time_recursive",
    "io_wait_time_recursive",
    "io_merged_recursive",
    "io_time_recursive",
    "sectors_recursive",
)
"""What Docker tells of disks; most of it only old schedulers knew."""
_OWN_V1 = (
    *("cache", "rss", "rss_huge", "mapped_file", "dirty", "writeback", "pgpgin", "pgpgout", "pgfault", "pgmajfault"),
    *("inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable"),
)
_MEMORY_V1 = (*_OWN_V1, "hierarchical_memory_limit", "hierarchical_memsw_limit", *(f"total_{name}" for name in _OWN_V1))
_MEMORY_V2 = (
    *("anon", "file", "kernel_stack", "slab", "sock", "shmem", "file_mapped", "file_dirty", "file_writeback"),
    *("anon_thp", "inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable", "slab_reclaimable"),
    *("slab_unreclaimable", "pgfault", "pgmajfault", "workingset_refault", "workingset_activate"),
    *("workingset_nodereclaim", "pgrefill", "pgscan", "pgsteal", "pgactivate", "pgdeactivate", "pglazyfree"),
    *("pglazyfreed", "thp_fault_alloc", "thp_collapse_alloc"),
)
"""Docker tells these of memory.stat and no others; what a kernel does not have is 0."""


def _read(path: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, _FILE_BYTES)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _number(path: str) -> int:
    text = _read(path).strip()
    return int(text) if text.isdigit() else 0


def _table(path: str) -> dict[str, int]:
    words = _read(path).decode().split()
    with suppress(ValueError):
        return dict(zip(words[::2], map(int, words[1::2]), strict=False))
    return {}


def memory_total() -> int:
    """Return the host's memory in bytes."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0


def system_cpu_ns() -> int:
    """Return the CPU time of all CPUs of the host since it was started, nanoseconds."""
    line = _read("/proc/stat").partition(b"\n")[0]
    return sum(map(int, line.split()[1:8])) * _TICKS_NS


def network_counters(pid: int) -> dict[str, dict[str, int]]:
    """Return the counters of a process's network interfaces but the loopback's."""
    found: dict[str, dict[str, int]] = {}
    for line in _read(f"/proc/{pid}/net/dev").decode(errors="replace").split("\n")[2:]:
        name, _, rest = line.partition(":")
        values = rest.split()
        if len(values) >= 12 and name.strip() != "lo":
            found[name.strip()] = {
                "rx_bytes": int(values[0]),
                "rx_packets": int(values[1]),
                "rx_errors": int(values[2]),
                "rx_dropped": int(values[3]),
                "tx_bytes": int(values[8]),
                "tx_packets": int(values[9]),
                "tx_errors": int(values[10]),
                "tx_dropped": int(values[11]),
            }
    return found


class StatsReader:
    """Reads one container's figures."""

    def __init__(
        self, cgroup: str, *, version: int, root: Path = _CGROUP, total_bytes: int = 0, has_networks: bool = True
    ) -> None:
        """``cgroup`` is its path (``/portside/<id>``) below ``root``, ``version`` that of the host's groups.

        ``total_bytes`` is the host's memory, read here when it is 0. A container in the host's network has none
        of its own to tell of.
        """
        path = cgroup.lstrip("/")
        self._version = version
        self._total = total_bytes or memory_total()
        self._has_networks = has_networks
        self._group = f"{root}/{path}"
        self._cpu, self._account, self._memory, self._blkio, self._pids = (
            f"{root}/{name}/{path}" for name in ("cpu", "cpuacct", "memory", "blkio", "pids")
        )

    def read(self, pid: int) -> dict[str, Any]:
        """Return the figures of this moment, without name and ID (blocking, some reads)."""
        body = self._read_v2() if self._version == 2 else self._read_v1()
        body["read"] = format_ns(time.time_ns())
        body["num_procs"] = 0
        body["cpu_stats"]["system_cpu_usage"] = system_cpu_ns()
        body["cpu_stats"]["online_cpus"] = os.cpu_count() or 1
        networks = network_counters(pid) if self._has_networks else {}
        if networks:
            body["networks"] = networks
        return body

    def _read_v1(self) -> dict[str, Any]:
        memory = self._memory
        throttling = _table(f"{self._cpu}/cpu.stat")
        split = _table(f"{self._account}/cpuacct.stat")
        each = [int(value) for value in _read(f"{self._account}/cpuacct.usage_percpu").split()]
        limit = _number(f"{memory}/memory.limit_in_bytes")
        table = _table(f"{memory}/memory.stat")
        return {
            "cpu_stats": {
                "cpu_usage": {
                    "total_usage": _number(f"{self._account}/cpuacct.usage"),
                    **({"percpu_usage": each} if each else {}),
                    "usage_in_kernelmode": split.get("system", 0) * _TICKS_NS,
                    "usage_in_usermode": split.get("user", 0) * _TICKS_NS,
                },
                "throttling_data": {
                    "periods": throttling.get("nr_periods", 0),
                    "throttled_periods": throttling.get("nr_throttled", 0),
                    "throttled_time": throttling.get("throttled_time", 0),
                },
            },
            "memory_stats": {
                **_unless_zero("usage", _number(f"{memory}/memory.usage_in_bytes")),
                **_unless_zero("max_usage", _number(f"{memory}/memory.max_usage_in_bytes")),
                "stats": {name: table.get(name, 0) for name in _MEMORY_V1},
                **_unless_zero("failcnt", _number(f"{memory}/memory.failcnt")),
                "limit": self._total if limit == 0 or limit > min(self._total, _UNLIMITED) else limit,
            },
            "blkio_stats": {
                **{key: [] for key in _BLKIO},
                "io_service_bytes_recursive": _blkio_v1(f"{self._blkio}/blkio.throttle.io_service_bytes"),
                "io_serviced_recursive": _blkio_v1(f"{self._blkio}/blkio.throttle.io_serviced"),
            },
            "pids_stats": _pids(self._pids),
        }

    def _read_v2(self) -> dict[str, Any]:
        group = self._group
        cpu = _table(f"{group}/cpu.stat")
        limit = _number(f"{group}/memory.max")
        table = _table(f"{group}/memory.stat")
        return {
            "cpu_stats": {
                "cpu_usage": {
                    "total_usage": cpu.get("usage_usec", 0) * 1000,
                    "usage_in_kernelmode": cpu.get("system_usec", 0) * 1000,
                    "usage_in_usermode": cpu.get("user_usec", 0) * 1000,
                },
                "throttling_data": {
                    "periods": cpu.get("nr_periods", 0),
                    "throttled_periods": cpu.get("nr_throttled", 0),
                    "throttled_time": cpu.get("throttled_usec", 0) * 1000,
                },
            },
            "memory_stats": {
                **_unless_zero("usage", _number(f"{group}/memory.current")),
                "stats": {name: table.get(name, 0) for name in _MEMORY_V2},
                **_unless_zero("failcnt", _table(f"{group}/memory.events").get("oom", 0)),
                "limit": min(limit, self._total) if limit else self._total,
            },
            "blkio_stats": {
                **dict.fromkeys(_BLKIO),
                "io_service_bytes_recursive": _blkio_v2(f"{group}/io.stat"),
            },
            "pids_stats": {"limit": _NO_LIMIT, **_pids(group)},
        }


def _pids(group: str) -> dict[str, int]:
    return {
        **_unless_zero("current", _number(f"{group}/pids.current")),
        **_unless_zero("limit", _number(f"{group}/pids.max")),
    }


def _unless_zero(name: str, value: int) -> dict[str, int]:
    return {name: value} if value else {}


def _blkio_v1(path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for line in _read(path).decode().split("\n"):
        fields = line.split()
        if len(fields) == 3:
            major, _, minor = fields[0].partition(":")
            found.append({"major": int(major), "minor": int(minor), "op": fields[1].lower(), "value": int(fields[2])})
    return found


def _blkio_v2(path: str) -> list[dict[str, Any]] | None:
    found: list[dict[str, Any]] = []
    for line in _read(path).decode().split("\n"):
        device, *pairs = line.split() or [""]
        major, colon, minor = device.partition(":")
        if not colon:
            continue
        values = dict(pair.partition("=")[::2] for pair in pairs)
        for name, op in (("rbytes", "read"), ("wbytes", "write")):
            found.append({"major": int(major), "minor": int(minor), "op": op, "value": int(values.get(name, 0))})
    return found or None


def empty_cpu() -> dict[str, Any]:
    """Return the CPU figures of a moment that nobody saw."""
    return {
        "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
        "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
    }


def with_previous(body: dict[str, Any], before: dict[str, Any] | None, name: str, container_id: str) -> dict[str, Any]:
    """Return the figures with those of the reading before, as a stream of them has them."""
    return {
        "name": f"/{name}",
        "id": container_id,
        "storage_stats": {},
        "preread": before["read"] if before else ZERO_TIME,
        "precpu_stats": before["cpu_stats"] if before else empty_cpu(),
        **body,
    }


def no_figures() -> dict[str, Any]:
    """Return the figures of a container that does not run."""
    body = {"read": ZERO_TIME, "num_procs": 0, "cpu_stats": empty_cpu(), "memory_stats": {}, "pids_stats": {}}
    return {**body, "blkio_stats": dict.fromkeys(_BLKIO)}
