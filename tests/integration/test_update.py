"""Changing the limits of a container, while it runs and while it does not, seen in the kernel's own files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.runtime.host import probe_cgroups
from tests.engine_process import EngineProcess

MB = 1 << 20
V1 = probe_cgroups().version == 1
pytestmark = pytest.mark.skipif(not V1, reason="reads the files of control groups v1")


@pytest.fixture(params=["crun", "runc"])
def running(engine: EngineProcess, request: pytest.FixtureRequest) -> str:
    words = ["--runtime", request.param, "-m", "64m", "--memory-swap", "128m", "--cpu-shares", "512", "--pids-limit=50"]
    return engine.docker("run", "-d", *words, "busybox", "sleep", "1000").stdout.strip()


def limit(engine: EngineProcess, container_id: str, name: str) -> str:
    controller = name.partition(".")[0]
    return Path(f"/sys/fs/cgroup/{controller}/{engine.instance}/{container_id}/{name}").read_text().strip()


def update(engine: EngineProcess, container_id: str, version: str = "v1.51", **fields: object) -> tuple[int, Any]:
    return engine.api("POST", f"/{version}/containers/{container_id}/update", fields)


def host_config(engine: EngineProcess, container_id: str) -> dict[str, Any]:
    shown = engine.api("GET", f"/containers/{container_id}/json")[1]["HostConfig"]
    assert isinstance(shown, dict)
    return shown


def test_every_limit_changes_at_once(engine: EngineProcess, running: str) -> None:
    status, body = update(
        engine, running, Memory=100 * MB, MemorySwap=300 * MB, MemoryReservation=50 * MB, CpuShares=300,
        CpuPeriod=50_000, CpuQuota=25_000, CpusetCpus="0", CpusetMems="0", PidsLimit=33,
        RestartPolicy={"Name": "on-failure", "MaximumRetryCount": 3},
    )  # fmt: skip
    assert (status, body) == (200, {"Warnings": None})
    wanted = {
        "memory.limit_in_bytes": 100 * MB, "memory.memsw.limit_in_bytes": 300 * MB,
        "memory.soft_limit_in_bytes": 50 * MB, "cpu.shares": 300, "cpu.cfs_period_us": 50_000,
        "cpu.cfs_quota_us": 25_000, "cpuset.cpus": 0, "cpuset.mems": 0, "pids.max": 33,
    }  # fmt: skip
    assert {name: int(limit(engine, running, name)) for name in wanted} == wanted
    shown = host_config(engine, running)
    assert (shown["Memory"], shown["MemorySwap"], shown["PidsLimit"]) == (100 * MB, 300 * MB, 33)
    assert shown["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}


def test_limits_grow_and_shrink(engine: EngineProcess, running: str) -> None:
    for memory, swap in ((32, 64), (256, 512), (16, 20), (512, -1), (20, 40)):
        swap_bytes = swap * MB if swap > 0 else swap
        status, body = update(engine, running, Memory=memory * MB, MemorySwap=swap_bytes)
        assert status == 200, body
        assert int(limit(engine, running, "memory.limit_in_bytes")) == memory * MB
        shown = int(limit(engine, running, "memory.memsw.limit_in_bytes"))
        assert shown == swap_bytes or (swap < 0 and shown > 1 << 60)
    assert update(engine, running, PidsLimit=-1)[0] == 200
    assert limit(engine, running, "pids.max") == "max"
    assert host_config(engine, running)["PidsLimit"] == 0
    assert update(engine, running, NanoCpus=1_500_000_000)[0] == 200
    assert (limit(engine, running, "cpu.cfs_period_us"), limit(engine, running, "cpu.cfs_quota_us")) == (
        "100000",
        "150000",
    )
    assert update(engine, running, CpuQuota=-1)[0] == 200
    assert limit(engine, running, "cpu.cfs_quota_us") == "-1"


def test_what_is_not_named_stays(engine: EngineProcess, running: str) -> None:
    assert update(engine, running, CpuShares=77)[0] == 200
    assert limit(engine, running, "cpu.shares") == "77"
    assert int(limit(engine, running, "memory.limit_in_bytes")) == 64 * MB
    assert limit(engine, running, "pids.max") == "50"


def test_a_stopped_container_has_them_when_it_starts(engine: EngineProcess) -> None:
    container_id = engine.docker("create", "-m", "64m", "busybox", "sleep", "1000").stdout.strip()
    assert update(engine, container_id, Memory=80 * MB, MemorySwap=160 * MB, CpuShares=99, PidsLimit=7)[0] == 200
    engine.docker("start", container_id)
    assert int(limit(engine, container_id, "memory.limit_in_bytes")) == 80 * MB
    assert (limit(engine, container_id, "cpu.shares"), limit(engine, container_id, "pids.max")) == ("99", "7")


def test_a_paused_container_changes(engine: EngineProcess, running: str) -> None:
    engine.docker("pause", running)
    assert update(engine, running, CpuShares=88)[0] == 200
    assert limit(engine, running, "cpu.shares") == "88"
    engine.docker("unpause", running)


@pytest.mark.parametrize(
    ("fields", "status", "text"),
    [
        ({"Memory": 1}, 400, "Minimum memory limit allowed is 6MB"),
        ({"Memory": -5}, 400, "Minimum memory limit allowed is 6MB"),
        ({"MemoryReservation": 1}, 400, "Minimum memory reservation allowed is 6MB"),
        ({"NanoCpus": -1}, 400, "range of CPUs is from 0.01 to"),
        ({"CpuPeriod": 5}, 400, "CPU cfs period can not be less than 1ms"),
        ({"CpusetCpus": "900"}, 400, "Requested CPUs are not available"),
        ({"IOMaximumIOps": 5}, 400, "Invalid QoS settings: linux does not support Maximum IO Bandwidth or Maximum"),
        ({"RestartPolicy": {"Name": "sometimes"}}, 400, "invalid restart policy: unknown policy 'sometimes'"),
        (
            {"RestartPolicy": {"Name": "always", "MaximumRetryCount": 2}},
            400,
            "invalid restart policy: maximum retry count can only be used with 'on-failure'",
        ),
        ({"Memory": 500 * MB}, 409, "Memory limit should be smaller than already set memoryswap limit"),
    ],
)
def test_refusals(engine: EngineProcess, fields: dict[str, Any], status: int, text: str) -> None:
    container_id = engine.docker("create", "-m", "64m", "busybox", "true").stdout.strip()
    before = host_config(engine, container_id)
    found, body = update(engine, container_id, **fields)
    assert (found, text in body["message"]) == (status, True), body
    if status == 409:
        assert body["message"].startswith(f"Cannot update container {container_id}: ")
    assert host_config(engine, container_id) == before


def test_the_policy_of_one_that_removes_itself(engine: EngineProcess) -> None:
    container_id = engine.docker("create", "--rm", "busybox", "true").stdout.strip()
    assert update(engine, container_id, RestartPolicy={"Name": "no"})[0] == 200
    found, body = update(engine, container_id, RestartPolicy={"Name": "always"})
    assert (found, body["message"]) == (
        409,
        f"Cannot update container {container_id}: "
        "Restart policy cannot be updated because AutoRemove is enabled for the container",
    )


def test_kernel_memory_is_only_spoken_of_to_old_clients(engine: EngineProcess) -> None:
    container_id = engine.docker("create", "busybox", "true").stdout.strip()
    assert update(engine, container_id, KernelMemory=50 * MB) == (200, {"Warnings": None})
    (warning,) = update(engine, container_id, version="v1.41", KernelMemory=50 * MB)[1]["Warnings"]
    assert warning.startswith("Your kernel does not support kernel memory limit capabilities")


def test_a_limit_that_the_kernel_refuses_changes_nothing(engine: EngineProcess, running: str) -> None:
    # More memory is in use than the limit allows, and it cannot be given back.
    engine.docker("exec", running, "sh", "-c", "mkdir /dev/shm/x; dd if=/dev/zero of=/dev/shm/f bs=1M count=30")
    before = host_config(engine, running)
    status, body = update(engine, running, Memory=7 * MB, MemorySwap=7 * MB)
    assert status == 500
    assert body["message"].startswith(f"Cannot update container {running}: ")
    assert host_config(engine, running) == before


def test_the_command_line(engine: EngineProcess, running: str) -> None:
    done = engine.docker("update", "--cpus", "0.5", "--memory", "80m", "--memory-swap", "90m", running)
    assert done.stdout == f"{running}\n"
    assert json.loads(engine.docker("inspect", running).stdout)[0]["HostConfig"]["NanoCpus"] == 500_000_000
    assert limit(engine, running, "cpu.cfs_quota_us") == "50000"
