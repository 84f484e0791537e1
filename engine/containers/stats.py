"""What a container uses: CPU, memory, network, disks, processes, in Docker's JSON; cgroup v1 and v2.

Source: Engine API, ``ContainerStats``; moby's daemon/stats_unix.go for which kernel value goes where.
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


def _number(path: Path) -> int:
    try:
        text = path.read_text().strip()
    except OSError:
        return 0
    return int(text) if text.isdigit() else 0


def _table(path: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    with suppress(OSError):
        for line in path.read_text().splitlines():
            name, _, value = line.partition(" ")
            if value.strip().isdigit():
                found[name] = int(value)
    return found


def memory_total() -> int:
    """Return the host's memory in bytes."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0


def system_cpu_ns() -> int:
    """Return the CPU time of all CPUs of the host since it was started, nanoseconds."""
    with Path("/proc/stat").open() as file:
        fields = file.readline().split()
    return sum(int(value) for value in fields[1:8]) * _TICKS_NS


def network_counters(pid: int) -> dict[str, dict[str, int]]:
    """Return the counters of a process's network interfaces but the loopback's."""
    names = ("rx_bytes", "rx_packets", "rx_errors", "rx_dropped")
    sent = ("tx_bytes", "tx_packets", "tx_errors", "tx_dropped")
    found: dict[str, dict[str, int]] = {}
    try:
        lines = Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]
    except OSError:
        return found
    for line in lines:
        name, _, rest = line.partition(":")
        values = [int(value) for value in rest.split()]
        if name.strip() != "lo" and len(values) >= 12:
            found[name.strip()] = dict(zip(names, values[:4], strict=True)) | dict(zip(sent, values[8:12], strict=True))
    return found


class StatsReader:
    """Reads one container's figures."""

    def __init__(self, cgroup: str, *, version: int, root: Path = _CGROUP) -> None:
        """``cgroup`` is its path (``/portside/<id>``) below ``root``, ``version`` that of the host's groups."""
        self._root = root
        self._path = cgroup.lstrip("/")
        self._version = version
        self._total = memory_total()

    def read(self, pid: int) -> dict[str, Any]:
        """Return the figures of this moment, without name and ID (blocking, some reads)."""
        body = self._read_v2() if self._version == 2 else self._read_v1()
        body["read"] = format_ns(time.time_ns())
        body["num_procs"] = 0
        body["cpu_stats"]["system_cpu_usage"] = system_cpu_ns()
        body["cpu_stats"]["online_cpus"] = os.cpu_count() or 1
        networks = network_counters(pid)
        if networks:
            body["networks"] = networks
        return body

    def _read_v1(self) -> dict[str, Any]:
        cpu, account = self._root / "cpu" / self._path, self._root / "cpuacct" / self._path
        memory, blkio, pids = (self._root / name / self._path for name in ("memory", "blkio", "pids"))
        throttling = _table(cpu / "cpu.stat")
        split = _table(account / "cpuacct.stat")
        each: list[int] = []
        with suppress(OSError, ValueError):
            each = [int(value) for value in (account / "cpuacct.usage_percpu").read_text().split()]
        limit = _number(memory / "memory.limit_in_bytes")
        return {
            "cpu_stats": {
                "cpu_usage": {
                    "total_usage": _number(account / "cpuacct.usage"),
                    "percpu_usage": each,
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
                "usage": _number(memory / "memory.usage_in_bytes"),
                "max_usage": _number(memory / "memory.max_usage_in_bytes"),
                "stats": _table(memory / "memory.stat"),
                **_unless_zero("failcnt", _number(memory / "memory.failcnt")),
                "limit": self._total if limit == 0 or limit > min(self._total, _UNLIMITED) else limit,
            },
            "blkio_stats": {
                **{key: [] for key in _BLKIO},
                "io_service_bytes_recursive": _blkio_v1(blkio / "blkio.throttle.io_service_bytes"),
                "io_serviced_recursive": _blkio_v1(blkio / "blkio.throttle.io_serviced"),
            },
            "pids_stats": _pids(pids),
        }

    def _read_v2(self) -> dict[str, Any]:
        group = self._root / self._path
        cpu = _table(group / "cpu.stat")
        limit = _number(group / "memory.max")
        events = _table(group / "memory.events")
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
                "usage": _number(group / "memory.current"),
                "stats": _table(group / "memory.stat"),
                **_unless_zero("failcnt", events.get("oom", 0)),
                "limit": limit or self._total,
            },
            "blkio_stats": {
                **dict.fromkeys(_BLKIO),
                "io_service_bytes_recursive": _blkio_v2(group / "io.stat"),
            },
            "pids_stats": {"limit": _NO_LIMIT, **_pids(group)},
        }


def _pids(group: Path) -> dict[str, int]:
    return {"current": _number(group / "pids.current"), **_unless_zero("limit", _number(group / "pids.max"))}


def _unless_zero(name: str, value: int) -> dict[str, int]:
    return {name: value} if value else {}


def _blkio_v1(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    with suppress(OSError, ValueError):
        for line in path.read_text().splitlines():
            fields = line.split()
            if len(fields) == 3:
                major, minor = fields[0].split(":")
                entry = {"major": int(major), "minor": int(minor), "op": fields[1].lower(), "value": int(fields[2])}
                found.append(entry)
    return found


def _blkio_v2(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    with suppress(OSError, ValueError):
        for line in path.read_text().splitlines():
            device, *pairs = line.split()
            major, minor = device.split(":")
            values = dict(pair.split("=") for pair in pairs)
            for name, op in (("rbytes", "read"), ("wbytes", "write")):
                entry = {"major": int(major), "minor": int(minor), "op": op, "value": int(values.get(name, 0))}
                found.append(entry)
    return found


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


def stopped(name: str, container_id: str) -> dict[str, Any]:
    """Return the figures of a container that does not run."""
    body = {"read": ZERO_TIME, "num_procs": 0, "cpu_stats": empty_cpu(), "memory_stats": {}}
    body["blkio_stats"] = dict.fromkeys(_BLKIO)
    return with_previous(body | {"pids_stats": {}}, None, name, container_id)
