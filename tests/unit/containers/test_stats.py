"""Figures of containers: which file of a control group becomes which field, in both versions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from engine.containers.stats import StatsReader, memory_total, network_counters, no_figures, with_previous


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def read(root: Path, version: int) -> dict[str, Any]:
    return StatsReader("/portside/c", version=version, root=root).read(os.getpid())


def test_the_first_version_of_control_groups(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "cpu/portside/c/cpu.stat": "nr_periods 3\nnr_throttled 2\nthrottled_time 99\n",
            "cpuacct/portside/c/cpuacct.usage": "3000\n",
            "cpuacct/portside/c/cpuacct.usage_percpu": "1000 2000 \n",
            "cpuacct/portside/c/cpuacct.stat": "user 2\nsystem 1\n",
            "memory/portside/c/memory.usage_in_bytes": "4096\n",
            "memory/portside/c/memory.max_usage_in_bytes": "8192\n",
            "memory/portside/c/memory.limit_in_bytes": "1048576\n",
            "memory/portside/c/memory.stat": "cache 1\ntotal_inactive_file 7\nswap 9\n",
            "memory/portside/c/memory.failcnt": "0\n",
            "pids/portside/c/pids.current": "5\n",
            "pids/portside/c/pids.max": "max\n",
            "blkio/portside/c/blkio.throttle.io_service_bytes": "8:0 Read 11\n8:0 Write 12\nTotal 23\n",
        },
    )
    body = read(tmp_path, 1)
    tick = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    assert body["cpu_stats"]["cpu_usage"] == {
        "total_usage": 3000,
        "percpu_usage": [1000, 2000],
        "usage_in_kernelmode": tick,
        "usage_in_usermode": 2 * tick,
    }
    assert body["cpu_stats"]["throttling_data"] == {"periods": 3, "throttled_periods": 2, "throttled_time": 99}
    assert body["cpu_stats"]["online_cpus"] == os.cpu_count()
    assert body["memory_stats"] == {
        "usage": 4096,
        "max_usage": 8192,
        "limit": 1048576,
        "stats": body["memory_stats"]["stats"],
    }
    table = body["memory_stats"]["stats"]
    assert (len(table), table["cache"], table["total_inactive_file"], table["rss"]) == (32, 1, 7, 0)
    assert body["pids_stats"] == {"current": 5}
    assert body["blkio_stats"]["io_service_bytes_recursive"] == [
        {"major": 8, "minor": 0, "op": "read", "value": 11},
        {"major": 8, "minor": 0, "op": "write", "value": 12},
    ]
    assert body["blkio_stats"]["sectors_recursive"] == []


def test_the_second_version_of_control_groups(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "portside/c/cpu.stat": "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 1\nnr_throttled 0\n"
            "throttled_usec 4\n",
            "portside/c/memory.current": "4096\n",
            "portside/c/memory.max": "max\n",
            "portside/c/memory.stat": "anon 5\ninactive_file 7\n",
            "portside/c/memory.events": "oom 2\noom_kill 1\n",
            "portside/c/pids.current": "5\n",
            "portside/c/pids.max": "64\n",
            "portside/c/io.stat": "8:16 rbytes=1 wbytes=2 rios=3 wios=4\n",
        },
    )
    body = read(tmp_path, 2)
    assert body["cpu_stats"]["cpu_usage"] == {
        "total_usage": 30_000,
        "usage_in_kernelmode": 10_000,
        "usage_in_usermode": 20_000,
    }
    assert body["cpu_stats"]["throttling_data"]["throttled_time"] == 4000
    assert body["memory_stats"] == {
        "usage": 4096,
        "stats": body["memory_stats"]["stats"],
        "failcnt": 2,
        "limit": memory_total(),
    }
    table = body["memory_stats"]["stats"]
    assert (len(table), table["anon"], table["inactive_file"], table["slab"]) == (31, 5, 7, 0)
    assert body["pids_stats"] == {"current": 5, "limit": 64}
    assert body["blkio_stats"]["io_service_bytes_recursive"] == [
        {"major": 8, "minor": 16, "op": "read", "value": 1},
        {"major": 8, "minor": 16, "op": "write", "value": 2},
    ]
    assert body["blkio_stats"]["io_serviced_recursive"] is None


def test_what_is_unlimited_shows_the_hosts_memory_and_no_limit_of_processes(tmp_path: Path) -> None:
    write(tmp_path, {"memory/portside/c/memory.limit_in_bytes": "9223372036854771712\n"})
    assert read(tmp_path, 1)["memory_stats"]["limit"] == memory_total()
    write(tmp_path, {"portside/c/pids.max": "max\n"})
    assert read(tmp_path, 2)["pids_stats"] == {"limit": 2**64 - 1}


def test_a_control_group_that_has_gone_reads_as_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, 1)["memory_stats"].get("usage", 0) == 0
    assert read(tmp_path, 2)["cpu_stats"]["cpu_usage"]["total_usage"] == 0


def test_a_process_that_has_gone_has_no_networks() -> None:
    assert network_counters(2**22 + 1) == {}
    assert "lo" not in network_counters(os.getpid())


def test_a_reading_carries_the_one_before() -> None:
    before = {"read": "2026-11-24T11:45:53Z", "cpu_stats": {"system_cpu_usage": 1}}
    body = with_previous({"read": "2026-11-24T11:45:54Z", "cpu_stats": {}}, before, "web", "c1")
    assert (body["name"], body["id"]) == ("/web", "c1")
    assert (body["preread"], body["precpu_stats"]) == (before["read"], before["cpu_stats"])
    assert with_previous({}, None, "web", "c1")["preread"] == "0001-01-01T00:00:00Z"


def test_what_is_stopped_has_empty_figures() -> None:
    body = with_previous(no_figures(), None, "web", "c1")
    assert body["memory_stats"] == body["pids_stats"] == {}
    assert body["read"] == body["preread"] == "0001-01-01T00:00:00Z"
    assert set(body["blkio_stats"].values()) == {None}
