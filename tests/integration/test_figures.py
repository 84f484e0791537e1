"""stats and top of real containers, as the docker command line and the API show them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from typing import IO, Any

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


def test_our_own_command_shows_what_comes_and_goes(engine: EngineProcess) -> None:
    command = [sys.executable, "-m", "engine.cli", "-H", engine.url, "stats", "--format", "{{.Name}} {{.PIDs}}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            os.set_blocking(process.stdout.fileno(), False)
            engine.docker("run", "-d", "--name", "newcomer", "busybox", "sleep", "1000")
            assert shows(process.stdout, "newcomer 1", True)
            engine.docker("rm", "-f", "newcomer")
            assert shows(process.stdout, "newcomer", False)
        finally:
            process.terminate()


def shows(stream: IO[bytes], text: str, wanted: bool) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        screens = (stream.read() or b"").decode().split("\x1b[H\x1b[J")
        if len(screens) > 1 and (text in screens[-1]) == wanted:
            return True
        time.sleep(0.6)
    return False


def test_many_look_at_one_container(engine: EngineProcess) -> None:
    made = engine.docker("run", "-d", "busybox", "sleep", "1000").stdout.strip()
    found: list[list[dict[str, Any]]] = []

    def look() -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(str(engine.socket))
            connection.sendall(f"GET /containers/{made}/stats HTTP/1.0\r\nHost: x\r\n\r\n".encode())
            with connection.makefile("rb") as answer:
                while answer.readline() != b"\r\n":
                    pass
                found.append([json.loads(answer.readline()) for _ in range(3)])

    threads = [threading.Thread(target=look) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 5
    for first, second, third in found:
        assert first["preread"] == "0001-01-01T00:00:00Z"
        assert first["precpu_stats"]["cpu_usage"]["total_usage"] == 0
        assert (second["preread"], third["preread"]) == (first["read"], second["read"])
        assert second["precpu_stats"] == first["cpu_stats"]
    engine.docker("rm", "-f", made)


def test_a_stream_ends_with_the_container(engine: EngineProcess) -> None:
    made = engine.docker("run", "-d", "busybox", "sleep", "1000").stdout.strip()
    threading.Timer(3.5, engine.docker, ("rm", "-f", made)).start()
    status, text = engine.api("GET", f"/containers/{made}/stats", timeout_s=20)
    assert status == 200
    assert str(text).count('"preread"') >= 2


def test_several_networks_have_figures_each(engine: EngineProcess) -> None:
    engine.docker("network", "create", "second")
    made = engine.docker("create", "--network", "second", "busybox", "sleep", "1000").stdout.strip()
    engine.docker("network", "connect", "bridge", made)
    engine.docker("start", made)
    networks = engine.api("GET", f"/containers/{made}/stats?stream=0&one-shot=1")[1]["networks"]
    assert set(networks) == {"eth0", "eth1"}
    engine.docker("rm", "-f", made)
    engine.docker("network", "rm", "second")
    made = engine.docker("run", "-d", "--network", "host", "busybox", "sleep", "1000").stdout.strip()
    assert "networks" not in engine.api("GET", f"/containers/{made}/stats?stream=0&one-shot=1")[1]
    engine.docker("rm", "-f", made)
