"""What clients of old API versions get, as moby gives it to them."""

from __future__ import annotations

import json
import socket
import threading
import time
from typing import Any

import pytest

from tests.engine_process import EngineProcess


def create(engine: EngineProcess, **changes: Any) -> str:
    """Create a container that waits, without a network; return its ID."""
    body = {"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": "none"}, **changes}
    status, answer = engine.api("POST", "/containers/create", body)
    assert status == 201, answer
    return str(answer["Id"])


def exchange(engine: EngineProcess, request: str, until: bytes = b"\r\n\r\n") -> bytes:
    """Send a request as it is and return what comes back up to ``until``."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(engine.socket))
        connection.sendall(request.encode())
        received = b""
        while until not in received:
            block = connection.recv(4096)
            if not block:
                break
            received += block
        return received


def test_a_stop_signal_is_known_from_1_42_on(engine: EngineProcess) -> None:
    script = "trap 'exit 5' USR1; trap 'exit 6' TERM; echo ready; while :; do sleep 0.1; done"
    for version, code in (("1.41", 6), ("1.42", 5)):
        container = create(engine, Cmd=["sh", "-c", script])
        engine.api("POST", f"/containers/{container}/start")
        while "ready" not in str(engine.api("GET", f"/containers/{container}/logs?stdout=1")[1]):
            time.sleep(0.05)
        assert engine.api("POST", f"/v{version}/containers/{container}/stop?signal=USR1&t=5")[0] == 204
        assert engine.api("GET", f"/containers/{container}/json")[1]["State"]["ExitCode"] == code
        engine.api("DELETE", f"/containers/{container}")


@pytest.mark.parametrize(("version", "comes_at_once"), [("1.29", False), ("1.30", True)])
def test_the_head_of_a_wait_comes_at_once_from_1_30_on(
    engine: EngineProcess, version: str, comes_at_once: bool
) -> None:
    container = create(engine)
    engine.api("POST", f"/containers/{container}/start")
    arrived: list[float] = []

    def wait() -> None:
        exchange(engine, f"POST /v{version}/containers/{container}/wait HTTP/1.1\r\nHost: x\r\n\r\n")
        arrived.append(time.monotonic())

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.5)
    assert bool(arrived) is comes_at_once
    engine.api("DELETE", f"/containers/{container}?force=1")
    thread.join(10)
    assert arrived


def test_conditions_of_a_wait_are_not_known_before_1_30(engine: EngineProcess) -> None:
    container = create(engine)
    assert engine.api("POST", f"/v1.29/containers/{container}/wait?condition=nonsense") == (200, {"StatusCode": 0})
    status, body = engine.api("POST", f"/v1.30/containers/{container}/wait?condition=nonsense")
    assert (status, body["message"]) == (400, 'invalid condition: "nonsense"')
    engine.api("DELETE", f"/containers/{container}")


def test_annotations_are_listed_from_1_46_on(engine: EngineProcess) -> None:
    container = create(engine, HostConfig={"NetworkMode": "none", "Annotations": {"a": "b"}})
    for version, shown in (("1.45", False), ("1.46", True)):
        row = engine.api("GET", f"/v{version}/containers/json?all=1")[1][0]
        assert ("Annotations" in row["HostConfig"]) is shown
    engine.api("DELETE", f"/containers/{container}")


@pytest.mark.parametrize(
    ("version", "upgrade", "head"),
    [
        ("1.41", True, "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n"),
        ("1.42", True, "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\n"),
        ("1.42", False, "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n"),
    ],
)
def test_streams_are_named_as_the_version_knows_them(
    engine: EngineProcess, version: str, upgrade: bool, head: str
) -> None:
    container = create(engine, Cmd=["true"])
    extra = "Connection: Upgrade\r\nUpgrade: tcp\r\n" if upgrade else ""
    request = f"POST /v{version}/containers/{container}/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\n{extra}\r\n"
    assert exchange(engine, request).startswith(head.encode())
    engine.api("DELETE", f"/containers/{container}?force=1")


def test_logs_are_named_multiplexed_from_1_42_on(engine: EngineProcess) -> None:
    container = create(engine)
    for version, kind in (("1.41", b"raw-stream"), ("1.42", b"multiplexed-stream")):
        path = f"/v{version}/containers/{container}/logs?stdout=1"
        head = exchange(engine, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"Content-Type: application/vnd.docker." + kind in head
    engine.api("DELETE", f"/containers/{container}")


def test_old_defaults_of_create_are_kept(engine: EngineProcess) -> None:
    body = {"Image": "busybox", "HostConfig": {"NetworkMode": "none"}}
    for version, ipc in (("1.39", "shareable"), ("1.40", "private")):
        container = engine.api("POST", f"/v{version}/containers/create", body)[1]["Id"]
        assert engine.api("GET", f"/containers/{container}/json")[1]["HostConfig"]["IpcMode"] == ipc
        engine.api("DELETE", f"/containers/{container}")


def test_an_exec_takes_a_console_size_only_with_a_terminal_and_from_1_42_on(engine: EngineProcess) -> None:
    container = create(engine)
    engine.api("POST", f"/containers/{container}/start")
    for version, tty, takes_it in (("1.42", True, True), ("1.41", True, False), ("1.42", False, False)):
        words = {"Cmd": ["sh", "-c", "sleep 0.2; stty size"], "AttachStdout": True, "Tty": tty}
        exec_id = engine.api("POST", f"/containers/{container}/exec", words)[1]["Id"]
        start = json.dumps({"Tty": tty, "ConsoleSize": [44, 132]})
        head = f"POST /v{version}/exec/{exec_id}/start HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        found = exchange(engine, f"{head}Content-Length: {len(start)}\r\n\r\n{start}", until=b"never")
        assert found.startswith(b"HTTP/1.1 200 OK")
        assert found.endswith(b"\r\n44 132\r\n") is takes_it
    engine.api("DELETE", f"/containers/{container}?force=1")
