"""Limits: moby's texts, and what is dropped where the host lacks it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from engine.containers.resources import apply_update, verify_resources
from engine.errors import Conflict, InvalidArgument
from engine.model.container import HostConfig
from engine.model.resources import Resources
from engine.runtime.host import CgroupFacts, HostFacts

MB = 1 << 20
FULL = CgroupFacts(
    version=1, oom_kill_disable=True, memory_swappiness=True, cpus="0-3", mems="0", kernel_memory_tcp=True
)
NOTHING = CgroupFacts(
    version=2, memory_limit=False, swap_limit=False, memory_reservation=False, cpu_shares=False, cpu_cfs=False,
    cpuset=False, pids_limit=False, blkio_weight=False, blkio_weight_device=False, blkio_read_bps=False,
    blkio_write_bps=False, blkio_read_iops=False, blkio_write_iops=False,
)  # fmt: skip


def resources(**fields: Any) -> Resources:
    return msgspec.convert(fields, HostConfig)


def verify(wanted: Resources, cgroups: CgroupFacts = FULL, **facts: Any) -> list[str]:
    return verify_resources(wanted, HostFacts(cgroups=cgroups, cpu_count=4, **facts))


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"Memory": 5 * MB}, "Minimum memory limit allowed is 6MB"),
        ({"Memory": -1}, "Minimum memory limit allowed is 6MB"),
        (
            {"Memory": 20 * MB, "MemorySwap": 10 * MB},
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ),
        (
            {"MemorySwap": 10 * MB},
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        ),
        ({"MemorySwappiness": 101}, "Invalid value: 101, valid memory swappiness range is 0-100"),
        ({"MemoryReservation": MB}, "Minimum memory reservation allowed is 6MB"),
        (
            {"Memory": 10 * MB, "MemoryReservation": 20 * MB},
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        ),
        (
            {"NanoCpus": 1, "CpuPeriod": 1000},
            "Conflicting options: Nano CPUs and CPU Period cannot both be set",
        ),
        ({"NanoCpus": 1, "CpuQuota": 1000}, "Conflicting options: Nano CPUs and CPU Quota cannot both be set"),
        (
            {"NanoCpus": 5_000_000_000},
            "range of CPUs is from 0.01 to 4.00, as there are only 4 CPUs available",
        ),
        ({"NanoCpus": -1}, "range of CPUs is from 0.01 to 4.00, as there are only 4 CPUs available"),
        ({"CpuShares": -1}, "invalid CPU shares (-1): value must be a positive integer"),
        (
            {"CpuPeriod": 1},
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ),
        ({"CpuQuota": 1}, "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
        ({"CpusetCpus": "x"}, "Invalid value x for cpuset cpus: invalid format: x"),
        ({"CpusetCpus": "3-1"}, "Invalid value 3-1 for cpuset cpus: invalid format: 3-1"),
        ({"CpusetCpus": "0-999999"}, "Invalid value 0-999999 for cpuset cpus: invalid format: 0-999999"),
        ({"CpusetCpus": "0,7"}, "Requested CPUs are not available - requested 0,7, available: 0-3"),
        ({"CpusetMems": "1"}, "Requested memory nodes are not available - requested 1, available: 0"),
        ({"BlkioWeight": 9}, "Range of blkio weight is from 10 to 1000"),
        (
            {"IOMaximumBandwidth": 1},
            "invalid option: QoS maximum bandwidth configuration is not supported on linux",
        ),
        ({"CpuRealtimePeriod": 1}, "kernel does not support CPU real-time scheduler"),
        ({"Ulimits": [{"Name": "speed"}]}, "invalid ulimit type: speed"),
        (
            {"Ulimits": [{"Name": "nofile", "Soft": 3, "Hard": 2}]},
            "ulimit soft limit must be less than or equal to hard limit: 3 > 2",
        ),
        (
            {"Ulimits": [{"Name": "nofile", "Soft": -1, "Hard": 2}]},
            "ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: 2",
        ),
    ],
)
def test_bad_limits(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        verify(resources(**fields))
    assert raised.value.message == text


def test_good_limits_stay_as_they_are() -> None:
    wanted = resources(
        Memory=64 * MB, MemorySwap=-1, MemoryReservation=32 * MB, MemorySwappiness=0, OomKillDisable=True, PidsLimit=10,
        NanoCpus=4_000_000_000, CpuShares=2, CpusetCpus="0-1,3", CpusetMems="0", BlkioWeight=500,
    )  # fmt: skip
    before = msgspec.json.encode(wanted)
    assert verify(wanted) == []
    assert msgspec.json.encode(wanted) == before


def test_what_the_host_lacks_is_dropped_and_said() -> None:
    wanted = resources(
        Memory=64 * MB, MemoryReservation=32 * MB, MemorySwappiness=5, OomKillDisable=True, PidsLimit=10, CpuShares=2,
        CpuQuota=2000, CpusetCpus="0", BlkioWeight=500, BlkioDeviceReadBps=[{"Path": "/dev/x", "Rate": 1}],
        CpuPercent=5, KernelMemory=9 * MB,
    )  # fmt: skip
    lost = "or the cgroup is not mounted."
    assert verify(wanted, NOTHING) == [
        f"Your kernel does not support memory limit capabilities {lost} Limitation discarded.",
        f"Your kernel does not support memory swappiness capabilities {lost} Memory swappiness discarded.",
        f"Your kernel does not support memory soft limit capabilities {lost} Limitation discarded.",
        f"Your kernel does not support kernel memory limit capabilities {lost} Limitation discarded.",
        "Your kernel does not support OomKillDisable. OomKillDisable discarded.",
        f"Your kernel does not support PIDs limit capabilities {lost} PIDs limit discarded.",
        f"Your kernel does not support CPU shares {lost} Shares discarded.",
        "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.",
        "linux does not support CPU percent. Percent discarded.",
        f"Your kernel does not support cpuset {lost} Cpuset discarded.",
        f"Your kernel does not support Block I/O weight {lost} Weight discarded.",
        f"Your kernel does not support BPS Block I/O read limit {lost} Block I/O BPS read limit discarded.",
    ]
    assert (wanted.memory, wanted.memory_swap, wanted.memory_swappiness, wanted.memory_reservation) == (0, -1, None, 0)
    assert (wanted.oom_kill_disable, wanted.pids_limit, wanted.cpu_shares, wanted.cpu_quota) == (None, None, 0, 0)
    assert (wanted.cpuset_cpus, wanted.blkio_weight, wanted.blkio_device_read_bps, wanted.cpu_percent) == ("", 0, [], 0)


def test_swap_alone_may_be_missing() -> None:
    wanted = resources(Memory=64 * MB)
    assert verify(wanted, CgroupFacts(swap_limit=False)) == [
        "Your kernel does not support swap limit capabilities or the cgroup is not mounted. "
        "Memory limited without swap."
    ]
    assert wanted.memory_swap == -1


def test_a_switched_off_oom_killer_needs_a_limit() -> None:
    (warning,) = verify(resources(OomKillDisable=True))
    assert warning.startswith("OOM killer is disabled for the container, but no memory limit is set")


def test_a_limit_above_the_engine_s_own_is_said() -> None:
    wanted = resources(Ulimits=[{"Name": "nofile", "Soft": 10, "Hard": 2000}, {"Name": "core", "Soft": -1, "Hard": -1}])
    (warning,) = verify(wanted, hard_rlimits={"nofile": 1000, "core": -1}, can_raise_rlimits=False)
    assert "ulimit nofile=10:2000" in warning
    assert "Limited to 1000." in warning
    assert verify(wanted, hard_rlimits={"nofile": 1000}) == []


@pytest.mark.parametrize(
    ("current", "changes", "text"),
    [
        (
            {"CpuPeriod": 1000},
            {"NanoCpus": 1},
            "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set",
        ),
        (
            {"NanoCpus": 1},
            {"CpuQuota": 1000},
            "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set",
        ),
        (
            {"Memory": 10 * MB, "MemorySwap": 20 * MB},
            {"Memory": 30 * MB},
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        ),
    ],
)
def test_updates_that_contradict(current: dict[str, Any], changes: dict[str, Any], text: str) -> None:
    with pytest.raises(Conflict) as raised:
        apply_update(resources(**current), resources(**changes))
    assert raised.value.message == text


def test_an_update_changes_only_what_it_names() -> None:
    current = resources(Memory=10 * MB, MemorySwap=20 * MB, CpuShares=5, PidsLimit=3)
    apply_update(current, resources(Memory=15 * MB, PidsLimit=0))
    assert (current.memory, current.memory_swap, current.cpu_shares, current.pids_limit) == (15 * MB, 20 * MB, 5, 0)
