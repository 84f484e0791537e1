"""Logs that are sent on to a syslog and to journald, and logs that are compressed, on a real engine."""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine_process import EngineProcess


class Receiver:
    """A datagram socket that remembers what it was sent."""

    def __init__(self, family: int, address: str | tuple[str, int]) -> None:
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.socket.bind(address)
        self.received: list[bytes] = []

    def wait_for(self, count: int, timeout_s: float = 8) -> list[bytes]:
        deadline = time.monotonic() + timeout_s
        while len(self.received) < count and (left := deadline - time.monotonic()) > 0:
            if select.select([self.socket], [], [], left)[0]:
                self.received.append(self.socket.recv(1 << 16))
        return self.received

    def nothing_more(self) -> bool:
        return not select.select([self.socket], [], [], 0.7)[0]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver(socket.AF_INET, ("127.0.0.1", 0))
    yield made
    made.socket.close()


def options(receiver: Receiver, *more: str) -> list[str]:
    address = f"syslog-address=udp://127.0.0.1:{receiver.socket.getsockname()[1]}"
    words = ["--log-driver", "syslog", "--log-opt", address]
    for item in more:
        words += ["--log-opt", item]
    return words


def texts(found: list[bytes]) -> list[str]:
    return [item.decode().split("]: ", 1)[1].rstrip() for item in found]


def test_lines_arrive_and_can_be_read_here_too(engine: EngineProcess, receiver: Receiver) -> None:
    words = [*options(receiver, "tag={{.Name}}", "syslog-facility=local1"), "busybox", "sh", "-c"]
    engine.docker("run", "--name", "told", *words, "echo out; sleep 0.1; echo err >&2")
    out, err = receiver.wait_for(2)
    assert out.startswith(b"<142>")
    assert err.startswith(b"<139>")
    assert b" told[" in out
    assert texts([out, err]) == ["out", "err"]
    logs = engine.docker("logs", "told")
    assert (logs.stdout, logs.stderr) == ("out\n", "err\n")
    engine.docker("start", "-a", "told")
    receiver.wait_for(4)
    assert texts(receiver.received[2:]) == ["out", "err"]  # nothing of the first run again
    assert receiver.nothing_more()
    engine.docker("rm", "told")


def test_a_container_that_is_gone_at_once_has_told_all(engine: EngineProcess, receiver: Receiver) -> None:
    engine.docker("run", "--rm", *options(receiver), "busybox", "seq", "1", "500")
    assert texts(receiver.wait_for(500)) == [str(number) for number in range(1, 501)]


def test_what_is_written_while_the_engine_is_dead_arrives(own_engine: EngineProcess, receiver: Receiver) -> None:
    engine = own_engine
    script = "echo before; while ! [ -e /signal/go ]; do sleep 0.05; done; echo meanwhile; sleep 1000"
    (engine.folder / "signal").mkdir()
    words = [*options(receiver), "-v", f"{engine.folder}/signal:/signal", "busybox"]
    made = engine.docker("run", "-d", *words, "sh", "-c", script).stdout.strip()
    receiver.wait_for(1)
    engine.kill()
    (engine.folder / "signal/go").touch()
    assert texts(receiver.wait_for(2)) == ["before", "meanwhile"]
    engine.start()
    engine.docker("exec", made, "sh", "-c", "echo again > /proc/1/fd/1")
    assert texts(receiver.wait_for(3)) == ["before", "meanwhile", "again"]
    engine.docker("rm", "-f", made)


def test_another_process_goes_on_where_a_killed_one_stopped(engine: EngineProcess, receiver: Receiver) -> None:
    script = "for i in $(seq 1 40); do echo line $i; sleep 0.05; done"
    engine.docker("run", "-d", "--name", "going-on", *options(receiver), "busybox", "sh", "-c", script)
    receiver.wait_for(5)
    os.kill(int((engine.data_root / "forwarding/lock").read_text()), signal.SIGKILL)
    count = 40
    while "line 40" not in (found := texts(receiver.wait_for(count))) and count < 80:
        count += 1  # what the killed one had sent and not noted comes twice
    assert sorted(set(found), key=found.index) == [f"line {number}" for number in range(1, 41)]
    engine.docker("rm", "-f", "going-on")


def test_a_long_line_comes_in_pieces(engine: EngineProcess, receiver: Receiver) -> None:
    engine.docker(
        "run", "--rm", *options(receiver), "busybox", "sh", "-c", "head -c 40000 /dev/zero | tr '\\0' x; echo"
    )
    assert [len(text) for text in texts(receiver.wait_for(3))] == [16384, 16384, 40000 - 2 * 16384]


def test_tcp_waits_for_a_receiver_that_comes_back(engine: EngineProcess) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        words = ["--log-driver", "syslog", "--log-opt", f"syslog-address=tcp://127.0.0.1:{port}"]
        script = "echo one; while ! [ -e /go ]; do sleep 0.05; done; echo two; sleep 1; echo three; sleep 1000"
        made = engine.docker("run", "-d", *words, "busybox", "sh", "-c", script).stdout.strip()
        server.settimeout(20)
        while True:  # the first connection is the check at the start
            connection, _ = server.accept()
            data = connection.recv(1000)
            if data:
                break
            connection.close()
        assert data.endswith(b"]: one\n")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
        engine.docker("exec", made, "touch", "/go")
        server.settimeout(20)
        connection, _ = server.accept()
        with connection, connection.makefile("rb") as lines:
            assert lines.readline().endswith((b"]: two\n", b"]: three\n"))
    engine.docker("rm", "-f", made)


def test_receivers_that_are_not_there(engine: EngineProcess) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    words = ["--log-driver", "syslog", "--log-opt", f"syslog-address=tcp://127.0.0.1:{port}"]
    done = engine.docker("run", "--rm", *words, "busybox", "true", check=False)
    assert done.returncode == 125 or done.returncode == 128
    assert "failed to initialize logging driver" in done.stderr
    assert "refused" in done.stderr
    done = engine.docker(
        "create", "--log-driver", "syslog", "--log-opt", "syslog-address=unix:///nope", "busybox", check=False
    )
    assert "stat /nope: no such file or directory" in done.stderr


@pytest.fixture
def journal() -> Iterator[Receiver]:
    place = Path("/run/systemd/journal/socket")
    if place.exists():
        pytest.skip("a journald runs here")
    made_parent = not place.parent.exists()
    place.parent.mkdir(parents=True, exist_ok=True)
    made = Receiver(socket.AF_UNIX, str(place))
    yield made
    made.socket.close()
    place.unlink()
    if made_parent:
        place.parent.rmdir()


def test_journald(engine: EngineProcess, journal: Receiver) -> None:
    words = ["--log-driver", "journald", "--log-opt", "labels=team", "--label", "team=a", "busybox"]
    engine.docker("run", "--name", "kept", *words, "sh", "-c", "echo hello; sleep 0.1; echo bad >&2")
    first, second = (
        {line.partition(b"=")[0]: line.partition(b"=")[2] for line in item.split(b"\n")} for item in journal.wait_for(2)
    )
    assert (first[b"MESSAGE"], first[b"PRIORITY"], first[b"TEAM"]) == (b"hello", b"6", b"a")
    assert (first[b"CONTAINER_NAME"], first[b"IMAGE_NAME"]) == (b"kept", b"busybox")
    assert len(first[b"CONTAINER_ID"]) == 12
    assert (second[b"MESSAGE"], second[b"PRIORITY"], second[b"CONTAINER_LOG_ORDINAL"]) == (b"bad", b"3", b"2")
    assert engine.docker("logs", "kept").stdout == "hello\n"
    engine.docker("rm", "kept")


def test_no_journald(engine: EngineProcess) -> None:
    if Path("/run/systemd/journal/socket").exists():
        pytest.skip("a journald runs here")
    done = engine.docker("run", "--rm", "--log-driver", "journald", "busybox", "true", check=False)
    assert "failed to initialize logging driver: journald is not enabled on this host" in done.stderr


def test_old_files_are_compressed_and_read(engine: EngineProcess) -> None:
    name = secrets.token_hex(4)
    lines = 30_000
    step = "echo line $i; i=$((i+1)); [ $((i % 1500)) -eq 0 ] && sleep 0.25"
    script = f"i=0; while [ $i -lt {lines} ]; do {step}; done; sleep 1000"
    words = ["--log-driver", "local", "--log-opt", "max-size=200k", "--log-opt", "max-file=50", "busybox"]
    made = engine.docker("run", "-d", "--name", name, *words, "sh", "-c", script).stdout.strip()
    expected = "".join(f"line {number}\n" for number in range(lines))
    assert engine.docker("logs", "-f", "--until", "60s", name, check=False).stdout[:6] in ("line 0", "")
    folder = engine.data_root / "containers" / made
    deadline = time.monotonic() + 30
    while engine.docker("logs", "--tail", "1", name).stdout != f"line {lines - 1}\n" or list(
        folder.glob("*.log.[0-9]")
    ):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert len(list(folder.glob("*.log.*.gz"))) >= 2
    assert engine.docker("logs", name).stdout == expected
    assert (
        engine.docker("logs", "--tail", "20000", name).stdout == expected[expected.index(f"line {lines - 20_000}\n") :]
    )
    engine.docker("rm", "-f", name)


def test_a_follower_sees_every_line_while_files_are_compressed_and_dropped(engine: EngineProcess) -> None:
    script = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); [ $((i % 1000)) -eq 0 ] && sleep 0.25; done"
    words = ["--log-opt", "max-size=60k", "--log-opt", "max-file=2", "--log-opt", "compress=true", "busybox"]
    engine.docker("run", "-d", "--name", "squeezed", *words, "sh", "-c", script)
    assert engine.docker("logs", "-f", "squeezed").stdout == "".join(f"line {number}\n" for number in range(20_000))
    engine.docker("rm", "squeezed")


def test_what_info_tells(engine: EngineProcess) -> None:
    assert {"syslog", "journald"} <= set(engine.api("GET", "/info")[1]["Plugins"]["Log"])
    body = {"Image": "busybox", "HostConfig": {"LogConfig": {"Type": "gelf"}}}
    status, answer = engine.api("POST", "/containers/create", body)
    assert (status, answer["message"]) == (400, "logger: no log driver named 'gelf' is registered")
    assert json.dumps(answer)
