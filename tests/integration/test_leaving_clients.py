"""Clients that go away in the middle of a stream: the engine lets go of everything, the container goes on."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine_process import EngineProcess

_UPGRADE = "Connection: Upgrade\r\nUpgrade: tcp\r\n"


def open_stream(engine: EngineProcess, method: str, path: str, extra: str = "", body: str = "") -> socket.socket:
    """Send a request and return its connection once the answer's head has come."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(20)
    connection.connect(str(engine.socket))
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\n{extra}"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    connection.sendall(f"{head}\r\n{body}".encode())
    received = b""
    while b"\r\n\r\n" not in received:
        block = connection.recv(1024)
        assert block, received
        received += block
    assert received.split(b" ", 2)[1] in (b"101", b"200"), received
    return connection


def open_files(engine: EngineProcess) -> int:
    """Return how many descriptors the engine has open."""
    return sum(1 for _ in Path(f"/proc/{engine.pid}/fd").iterdir())


@pytest.fixture
def talker(engine: EngineProcess) -> Iterator[str]:
    """A container that prints and reads, and must still run when the test is over."""
    script = "while :; do echo line; sleep 0.02; done"
    engine.docker("run", "-d", "-i", "--name", "talker", "--net", "none", "busybox", "sh", "-c", script)
    yield "talker"
    assert engine.api("GET", "/containers/talker/json")[1]["State"]["Running"]
    engine.docker("rm", "-f", "talker")


@pytest.mark.parametrize(
    ("method", "path", "extra"),
    [
        ("POST", "/containers/talker/attach?stream=1&stdin=1&stdout=1&stderr=1&logs=1", _UPGRADE),
        ("GET", "/containers/talker/logs?stdout=1&follow=1", ""),
        ("GET", "/containers/talker/stats", ""),
        ("GET", "/events?since=1", ""),
        ("POST", "/containers/talker/wait", ""),
    ],
)
def test_the_engine_lets_go(engine: EngineProcess, talker: str, method: str, path: str, extra: str) -> None:
    open_stream(engine, method, path, extra).close()  # what is opened once and kept
    time.sleep(0.5)
    before = open_files(engine)
    streams = [open_stream(engine, method, path, extra) for _ in range(20)]
    assert open_files(engine) >= before + 20
    for stream in streams:
        stream.close()
    deadline = time.monotonic() + 10
    while open_files(engine) > before + 2:
        assert time.monotonic() < deadline, f"{open_files(engine) - before} descriptors more than before"
        time.sleep(0.1)
    assert engine.api("GET", "/info")[1]["NEventsListener"] == 0


def test_an_exec_whose_client_leaves_goes_on(engine: EngineProcess, talker: str) -> None:
    words = {"Cmd": ["sh", "-c", "for i in 1 2 3 4 5; do echo $i; sleep 0.2; done; echo done >/tmp/done"]}
    exec_id = engine.api("POST", f"/containers/{talker}/exec", {**words, "AttachStdout": True})[1]["Id"]
    open_stream(engine, "POST", f"/exec/{exec_id}/start", _UPGRADE, json.dumps({"Detach": False})).close()
    time.sleep(2)
    assert engine.docker("exec", talker, "cat", "/tmp/done").stdout == "done\n"
    assert engine.api("GET", f"/exec/{exec_id}/json")[1]["Running"] is False


_MANY_BYTES = 50_000_000
_LINE = "a line of a log as programs write them, with some eighty characters in all, say"


def test_a_client_that_never_reads_holds_nobody_else_up(engine: EngineProcess) -> None:
    writes = f"yes '{_LINE}' | head -c {_MANY_BYTES}; exec sleep 1000"
    engine.docker("run", "-d", "--name", "writer", "--net", "none", "busybox", "sh", "-c", writes)
    before = open_files(engine)
    stuck = [open_stream(engine, "GET", "/containers/writer/logs?stdout=1&follow=1") for _ in range(3)]
    try:
        # A client that does read gets all of it, whoever else does not.
        with open_stream(engine, "GET", "/containers/writer/logs?stdout=1&follow=1&tail=all") as reading:
            reading.settimeout(60)
            received = 0
            while received < _MANY_BYTES:
                block = reading.recv(1 << 20)
                assert block
                received += len(block)
        assert engine.api("GET", "/_ping")[0] == 200
        assert engine.docker("logs", "--tail", "1", "writer").stdout.strip() in _LINE
        assert engine.docker("exec", "writer", "echo", "here").stdout == "here\n"
        assert pss_kib(engine) < 64 * 1024
    finally:
        for stream in stuck:
            stream.close()
    deadline = time.monotonic() + 10
    while open_files(engine) > before:
        assert time.monotonic() < deadline, f"{open_files(engine) - before} descriptors more than before"
        time.sleep(0.05)
    engine.docker("rm", "-f", "writer")


def test_a_log_that_is_written_all_the_time_ends_for_who_does_not_follow(engine: EngineProcess) -> None:
    options = ("--log-opt", "max-size=20m", "--log-opt", "max-file=2")  # an endless writer fills no disk
    engine.docker(
        "run", "-d", "--name", "endless", "--net", "none", *options, "busybox", "sh", "-c", f"exec yes '{_LINE}'"
    )
    try:
        for _ in range(3):
            assert len(engine.docker("logs", "--tail", "5", "endless").stdout.splitlines()) >= 5
        assert engine.api("GET", "/containers/endless/logs?stdout=1&tail=1")[0] == 200
    finally:
        engine.docker("rm", "-f", "endless")


def pss_kib(engine: EngineProcess) -> int:
    """Return the engine's proportional memory."""
    rollup = Path(f"/proc/{engine.pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
