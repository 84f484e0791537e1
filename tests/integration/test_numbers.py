"""Every number that a container's options have: negative, zero, huge, and no number at all."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine_process import EngineProcess

HUGE = 2**63 - 1
HOST_NUMBERS = (
    "CpuShares", "Memory", "NanoCpus", "BlkioWeight", "CpuPeriod", "CpuQuota", "CpuRealtimePeriod",
    "CpuRealtimeRuntime", "KernelMemory", "KernelMemoryTCP", "MemoryReservation", "MemorySwap", "MemorySwappiness",
    "PidsLimit", "CpuCount", "CpuPercent", "IOMaximumIOps", "IOMaximumBandwidth", "OomScoreAdj", "ShmSize",
)  # fmt: skip
VALUES = (-HUGE - 1, -2, -1, 0, 1, HUGE)


def create(engine: EngineProcess, host_config: dict[str, Any], **config: Any) -> tuple[int, dict[str, Any]]:
    body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": host_config, **config}
    status, answer = engine.api("POST", "/containers/create", body)
    assert isinstance(answer, dict)
    return status, answer


@pytest.mark.parametrize("name", HOST_NUMBERS)
@pytest.mark.parametrize("value", VALUES)
def test_a_number_is_taken_or_refused_and_nothing_breaks(engine: EngineProcess, name: str, value: int) -> None:
    status, answer = create(engine, {name: value})
    if status != 201:
        assert (status, bool(answer["message"])) == (400, True), answer
        return
    made = answer["Id"]
    status, answer = engine.api("POST", f"/containers/{made}/start")
    # What only the kernel finds out is told as Docker tells a runtime's failure.
    assert status == 204 or "OCI runtime create failed" in answer["message"], answer
    if status == 204:
        assert engine.api("POST", f"/containers/{made}/wait")[0] == 200
    assert engine.api("DELETE", f"/containers/{made}?force=1")[0] == 204


@pytest.mark.parametrize("name", HOST_NUMBERS)
@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 10**30, 1.5, "1", True, [], {}])
def test_what_is_no_number_of_64_bits(engine: EngineProcess, name: str, value: Any) -> None:
    status, answer = create(engine, {name: value})
    assert (status, answer.get("message", "")[:12]) == (400, "invalid JSON")


MB = 1 << 20


@pytest.mark.parametrize(
    ("host_config", "text"),
    [
        ({"Memory": -1}, "Minimum memory limit allowed is 6MB"),
        ({"Memory": 6 * MB - 1}, "Minimum memory limit allowed is 6MB"),
        ({"MemorySwap": HUGE}, "You should always set the Memory limit when using Memoryswap limit, see usage"),
        (
            {"Memory": 8 * MB, "MemorySwap": 7 * MB},
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ),
        ({"MemorySwappiness": -2}, "Invalid value: -2, valid memory swappiness range is 0-100"),
        ({"MemorySwappiness": 101}, "Invalid value: 101, valid memory swappiness range is 0-100"),
        ({"MemoryReservation": 1}, "Minimum memory reservation allowed is 6MB"),
        ({"NanoCpus": -1}, "range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"),
        ({"NanoCpus": HUGE}, "range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"),
        ({"CpuShares": -1}, "invalid CPU shares (-1): value must be a positive integer"),
        (
            {"CpuPeriod": 1_000_001},
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ),
        ({"CpuPeriod": -1}, "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"),
        ({"CpuQuota": 999}, "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
        ({"IOMaximumIOps": 1}, "invalid option: QoS maximum IOPs configuration is not supported on linux"),
        ({"OomScoreAdj": -1001}, "Invalid value -1001, range for oom score adj is [-1000, 1000]"),
        ({"OomScoreAdj": 1001}, "Invalid value 1001, range for oom score adj is [-1000, 1000]"),
        ({"ShmSize": -1}, "SHM size can not be less than 0"),
        (
            {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": -1}},
            "invalid restart policy: maximum retry count cannot be negative",
        ),
        (
            {"RestartPolicy": {"Name": "always", "MaximumRetryCount": -1}},
            "invalid restart policy: maximum retry count can only be used with 'on-failure' and cannot be negative",
        ),
    ],
)
def test_texts_are_docker_s(engine: EngineProcess, host_config: dict[str, Any], text: str) -> None:
    cpus = engine.api("GET", "/info")[1]["NCPU"]
    status, answer = create(engine, host_config)
    assert (status, answer["message"]) == (400, text.replace("{cpus}", str(cpus)))


@pytest.mark.parametrize("name", ["Interval", "Timeout", "StartPeriod", "StartInterval"])
@pytest.mark.parametrize("value", [-1, 1, 999_999])
def test_times_of_a_health_check(engine: EngineProcess, name: str, value: int) -> None:
    status, answer = create(engine, {}, Healthcheck={"Test": ["CMD", "true"], name: value})
    assert (status, answer["message"]) == (400, f"{name} in Healthcheck cannot be less than 1ms")


@pytest.mark.parametrize("value", [-1, 0, HUGE])
def test_time_to_stop(engine: EngineProcess, value: int) -> None:
    status, answer = create(engine, {}, StopTimeout=value)
    assert status == 201
    made = answer["Id"]
    engine.api("POST", f"/containers/{made}/start")
    assert engine.api("POST", f"/containers/{made}/wait")[0] == 200
    assert engine.api("DELETE", f"/containers/{made}")[0] == 204


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/stop?t=x", 'strconv.Atoi: parsing "x": invalid syntax'),
        ("/stop?t=99999999999999999999", 'strconv.Atoi: parsing "99999999999999999999": value out of range'),
        ("/restart?t=1.5", 'strconv.Atoi: parsing "1.5": invalid syntax'),
    ],
)
def test_times_of_a_query(engine: EngineProcess, path: str, message: str) -> None:
    made = create(engine, {})[1]["Id"]
    status, answer = engine.api("POST", f"/containers/{made}{path}")
    assert (status, answer["message"]) == (400, message)


def test_limits_of_disks(engine: EngineProcess) -> None:
    device = "/dev/vda"
    limits: dict[str, Any] = {
        "BlkioDeviceReadBps": [{"Path": device, "Rate": MB}],
        "BlkioDeviceWriteIOps": [{"Path": device, "Rate": 100}],
    }
    status, answer = create(engine, limits)
    assert status == 201, answer
    for path, text in (("/dev/nothing", "no such file or directory"),):
        made = create(engine, {"BlkioDeviceReadBps": [{"Path": path, "Rate": 1}]})[1]["Id"]
        status, answer = engine.api("POST", f"/containers/{made}/start")
        assert status >= 400
        assert text in answer["message"]
    for rate in (-1, 2**64):
        assert create(engine, {"BlkioDeviceReadBps": [{"Path": device, "Rate": rate}]})[0] in (201, 400)
