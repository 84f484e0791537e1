"""stats and top of real containers, as the docker command line and the API show them."""

from __future__ import annotations

import json
import time

import pytest

from tests.engine_process import EngineProcess


def test_stats_tell_memory_processes_and_network(engine: EngineProcess) -> None:
    engine.docker("run", "-d", "--name", "measured", "-m", "64m", "busybox", "sh", "-c", "sleep 100 & exec sleep 101")
    time.sleep(0.3)  # until the shell has started both
    status, body = engine.api("GET", "/containers/measured/stats?stream=0")
    assert status == 200
    assert body["memory_stats"]["limit"] == 64 * 1024 * 1024
    assert 0 < body["memory_stats"]["usage"] < 64 * 1024 * 1024
    assert body["pids_stats"]["current"] == 2
    assert "eth0" in body["networks"]
    assert body["precpu_stats"]["system_cpu_usage"] < body["cpu_stats"]["system_cpu_usage"]
    assert body["preread"] < body["read"]
    row = json.loads(engine.docker("stats", "--no-stream", "--format", "json", "measured").stdout)
    assert (row["Name"], row["PIDs"]) == ("measured", "2")
    assert row["MemUsage"].endswith("/ 64MiB")
    once = engine.api("GET", "/containers/measured/stats?stream=0&one-shot=1")[1]
    assert once["preread"] == "0001-01-01T00:00:00Z"
    status, body = engine.api("GET", "/containers/measured/stats?one-shot=1")
    assert (status, body["message"]) == (400, "cannot have stream=true and one-shot=true")
    engine.docker("rm", "-f", "measured")


def test_stats_of_what_does_not_run_are_empty(engine: EngineProcess) -> None:
    engine.docker("create", "--name", "still", "busybox", "true")
    status, body = engine.api("GET", "/containers/still/stats?stream=0")
    assert (status, body["memory_stats"], body["read"]) == (200, {}, "0001-01-01T00:00:00Z")
    engine.docker("rm", "still")


EXPECTED = [["sleep", "12345"], ["sleep", "54321"]]


@pytest.mark.parametrize("arguments", [(), ("aux",), ("-o", "pid,cmd"), ("-eo", "pid,args", "f")])
def test_top_shows_the_containers_processes_alone(engine: EngineProcess, arguments: tuple[str, ...]) -> None:
    engine.docker("run", "-d", "--name", "busy", "busybox", "sh", "-c", "sleep 12345 & exec sleep 54321")
    try:
        deadline = time.monotonic() + 10
        while True:  # the shell takes a moment to become what it starts
            titles, *rows = engine.docker("top", "busy", *arguments).stdout.splitlines()
            if [row.split()[-2:] for row in sorted(rows, key=lambda row: row[-5:])] == EXPECTED:
                break
            assert time.monotonic() < deadline, rows
            time.sleep(0.1)
        assert "PID" in titles
    finally:
        engine.docker("rm", "-f", "busy")


def test_top_says_why_not(engine: EngineProcess) -> None:
    engine.docker("create", "--name", "idle", "busybox", "true")
    status, body = engine.api("GET", "/containers/idle/top")
    assert status == 409
    assert body["message"].endswith(" is not running")
    engine.docker("rm", "idle")
    engine.docker("run", "-d", "--name", "busy", "busybox", "sleep", "100")
    assert "PID" in engine.docker("top", "busy", "-o", "cmd", check=False).stderr
    assert engine.docker("top", "busy", "--nonsense", check=False).returncode == 1
    engine.docker("rm", "-f", "busy")
