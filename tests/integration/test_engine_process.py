"""The engine as a process: what it refuses at its start, signals, sockets, reloading, TLS, many clients."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.engine_process import EngineProcess

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or shutil.which("conmon") is None, reason="needs root and conmon")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose name is short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="portside-test-"))
    yield folder
    shutil.rmtree(folder)


def portsided(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run an engine that is expected to end by itself, by default under ``folder``/other."""
    command = [sys.executable, "-m", "engine"]
    for flag, value in (
        ("-H", f"unix://{folder}/other.sock"),
        ("--data-root", str(folder / "other")),
        ("--exec-root", str(folder / "other-exec")),
    ):
        if flag not in arguments:
            command += [flag, value]
    if "--config-file" not in arguments:
        command += ["--config-file", str(_settings(folder, {}))]
    return subprocess.run(
        [*command, *arguments], capture_output=True, text=True, timeout=30, check=False, env=os.environ | environment
    )


def _settings(folder: Path, settings: dict[str, Any], name: str = "other.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(settings))
    return path


def _wait_for(condition: Callable[[], object], what: str, timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come within {timeout_s} s"
        time.sleep(0.01)


def _send(path: Path, data: bytes) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(20)
    connection.connect(str(path))
    connection.sendall(data)
    return connection


def _read_all(connection: socket.socket) -> bytes:
    received = bytearray()
    with connection:
        while block := connection.recv(65536):
            received += block
    return bytes(received)


def test_a_second_engine_on_the_data_root_says_who_has_it(folder: Path) -> None:
    with EngineProcess(folder) as engine:
        done = portsided(folder, "--data-root", str(engine.data_root))
        assert done.returncode == 1
        assert f"is used by the engine with process ID {engine.pid} (" in done.stderr
        assert engine.api("GET", "/_ping") == (200, "OK")


def test_a_second_engine_on_the_socket_leaves_it_alone(folder: Path) -> None:
    with EngineProcess(folder) as engine:
        done = portsided(folder, "-H", engine.url)
        assert done.returncode == 1
        assert f"another engine listens on {engine.socket}" in done.stderr
        assert engine.api("GET", "/_ping") == (200, "OK")


def test_the_socket_is_for_root_and_the_group_and_a_stale_one_is_replaced(folder: Path) -> None:
    with EngineProcess(folder, "--group", "daemon") as engine:
        mode = engine.socket.stat()
        assert stat.S_IMODE(mode.st_mode) == 0o660
        assert (mode.st_uid, mode.st_gid) == (0, 1)
        engine.kill()
        assert engine.socket.exists()
        engine.start()
        assert engine.stop() == 0
        assert not engine.socket.exists()


def test_a_group_that_is_not_there_leaves_the_socket_to_root(folder: Path) -> None:
    with EngineProcess(folder, "--group", "no-such-group") as engine:
        assert stat.S_IMODE(engine.socket.stat().st_mode) == 0o600
        assert "there is no group no-such-group" in engine.log.read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--colour"], 2, "unrecognized arguments: --colour"),
        (["--data-root", "relative"], 2, "an absolute path is expected"),
        (["-H", "tcp://0.0.0.0:2375"], 2, "gives root on this machine"),
        (["-H", "/run/x.sock"], 2, "unix:///path, tcp://address:port or fd:// is expected"),
        (["--runtime", "kata"], 2, "runtime kata is neither"),
        (["--bip", "10.0.0.0/8"], 2, "is not a host's address"),
        (["--config-file", "/nonexistent.json"], 2, "/nonexistent.json: no such file"),
        (["--data-root", "/proc/nope"], 1, "data root /proc/nope: No such file or directory (choose another"),
        (["--exec-root", "/proc/nope"], 1, "exec root /proc/nope: No such file or directory (choose another"),
        (["-H", "unix:///proc/nope/x.sock"], 1, "socket /proc/nope/x.sock: No such file or directory (choose another"),
        (["-H", "unix:///etc/passwd"], 1, "/etc/passwd is there and is no socket"),
        (["--pidfile", "/proc/nope"], 1, "pidfile /proc/nope: No such file or directory (choose another"),
        (["-H", "fd://"], 1, "systemd passed no sockets"),
    ],
)
def test_what_cannot_work_is_told_in_one_line(folder: Path, arguments: list[str], code: int, text: str) -> None:
    done = portsided(folder, *arguments)
    assert done.returncode == code
    told = [line for line in done.stderr.splitlines() if not line.startswith(("WARNING", "INFO"))]
    assert len(told) == 1
    assert told[0].startswith("portsided: ")
    assert text in told[0]
    assert str(folder) not in Path("/proc/self/mountinfo").read_text()
    assert not list(folder.glob("*.sock"))


@pytest.mark.parametrize("settings", [{"data-rot": "/x"}, {"debug": "perhaps"}, {"mtu": -1}, {"bip": 5}])
def test_a_bad_setting_touches_nothing(folder: Path, settings: dict[str, Any]) -> None:
    done = portsided(folder, "--config-file", str(_settings(folder, settings, "bad.json")))
    assert done.returncode == 2
    assert re.match(rf"portsided: {re.escape(str(folder))}/bad.json:1:2: ", done.stderr)
    assert sorted(entry.name for entry in folder.iterdir()) == ["bad.json"]


def test_validate_checks_and_touches_nothing(folder: Path) -> None:
    path = _settings(folder, {"labels": ["a=b"], "log-opts": {"max-size": "10m"}})
    done = portsided(folder, "--validate", "--config-file", str(path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "configuration OK\n", "")
    assert [entry.name for entry in folder.iterdir()] == [path.name]


def test_a_database_that_is_none_is_told_and_left(folder: Path) -> None:
    (folder / "other").mkdir()
    (folder / "other/engine.db").write_bytes(b"no database" * 1000)
    done = portsided(folder)
    assert done.returncode == 1
    assert "file is not a database (restore it" in done.stderr
    assert (folder / "other/engine.db").read_bytes() == b"no database" * 1000


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_ends_streams_and_leaves_containers(folder: Path, number: signal.Signals) -> None:
    pidfile = folder / "engine.pid"
    with EngineProcess(folder, "--pidfile", str(pidfile)) as engine:
        assert pidfile.read_text() == f"{engine.pid}\n"
        engine.load_busybox()
        engine.docker("run", "-d", "--name", "web", "busybox", "sleep", "1000")
        pid = engine.api("GET", "/containers/web/json")[1]["State"]["Pid"]
        streams = [
            _send(engine.socket, head.encode() + b" HTTP/1.1\r\nHost: x\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\n")
            for head in ("GET /events", "GET /containers/web/logs?stdout=1&follow=1", "GET /containers/web/stats",
                         "POST /containers/web/wait", "POST /containers/web/attach?stream=1&stdout=1", "GET /ev")
        ]  # fmt: skip
        for stream in streams[:-1]:
            assert stream.recv(12) in (b"HTTP/1.1 200", b"HTTP/1.1 101")
        started = time.monotonic()
        assert engine.stop(number) == 0
        assert time.monotonic() - started < 5
        for stream in streams:
            _read_all(stream)
        assert Path(f"/proc/{pid}").exists()
        assert not pidfile.exists()
        engine.start()
        assert engine.api("GET", "/containers/web/json")[1]["State"]["Pid"] == pid


def test_a_reload_takes_what_can_change_and_says_what_cannot(folder: Path) -> None:
    with EngineProcess(folder, settings={"labels": ["a=1"]}) as engine:
        assert engine.api("GET", "/info")[1]["Labels"] == ["a=1"]
        settings = {
            "labels": ["b=2"],
            "debug": True,
            "registry-mirrors": ["https://mirror.example"],
            "insecure-registries": ["10.0.0.0/8"],
            "mtu": 1400,
        }
        (folder / "daemon.json").write_text(json.dumps(settings))
        os.kill(engine.pid, signal.SIGHUP)
        _wait_for(lambda: engine.api("GET", "/info")[1]["Labels"] == ["b=2"], "the reload")
        info = engine.api("GET", "/info")[1]
        assert info["Debug"] is True
        assert info["RegistryConfig"]["Mirrors"] == ["https://mirror.example/"]
        assert "10.0.0.0/8" in info["RegistryConfig"]["InsecureRegistryCIDRs"]
        assert "these settings change only with a restart: mtu" in engine.log.read_text()
        status, event = engine.api("GET", f"/events?since=1&until={time.time():.3f}&filters=" + '{"type":["daemon"]}')
        assert (status, event["Action"]) == (200, "reload")
        assert event["Actor"]["Attributes"]["labels"] == '["b=2"]'

        (folder / "daemon.json").write_text('{"labels": ["c"]}')
        os.kill(engine.pid, signal.SIGHUP)
        _wait_for(lambda: "settings are not reloaded" in engine.log.read_text(), "the refusal")
        assert engine.api("GET", "/info")[1]["Labels"] == ["b=2"]


def test_systemd_is_told_when_the_engine_serves(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(folder / "notify"))
        notify.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(folder / "notify"))
        with EngineProcess(folder):
            assert notify.recv(100) == b"READY=1"


def test_events_survive_the_engine(folder: Path) -> None:
    with EngineProcess(folder) as engine:
        engine.docker("volume", "create", "kept")
        engine.kill()
        engine.start()
        engine.docker("volume", "rm", "kept")
        until = f"{time.time():.6f}"
        shown = engine.docker("events", "--since", "1h", "--until", until, "--format", "{{.Type}} {{.Action}}").stdout
        assert shown.splitlines() == ["volume create", "volume destroy"]
        shown = engine.docker("events", "--since", "1h", "--until", until, "--filter", "event=destroy").stdout
        assert " volume destroy kept (driver=local)" in shown


def test_500_clients_at_once(folder: Path) -> None:
    with EngineProcess(folder) as engine:
        waiting = [_send(engine.socket, b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n") for _ in range(500)]
        for client in waiting:
            assert client.recv(12) == b"HTTP/1.1 200"
        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(lambda _: engine.api("GET", "/v1.41/info")[0], range(500)))
        assert answers == [200] * 500
        assert engine.api("GET", "/info")[1]["NEventsListener"] == 500
        engine.docker("volume", "create", "news")
        for client in waiting:
            received = b""
            while b'"create"' not in received:
                received += client.recv(65536)
            client.close()
        _wait_for(lambda: engine.api("GET", "/info")[1]["NEventsListener"] == 0, "the end of the subscriptions")
        assert "Traceback" not in engine.log.read_text()


def test_requests_that_stop_half_way_hold_nothing_up(folder: Path) -> None:
    with EngineProcess(folder) as engine:
        stuck = [
            _send(engine.socket, b"GET /_pi"),
            _send(
                engine.socket,
                b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: 1000\r\n\r\n{",
            ),
            _send(engine.socket, b"POST /images/load HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nabc"),
            _send(engine.socket, b""),
        ]
        assert engine.api("GET", "/_ping") == (200, "OK")
        stuck[2].close()
        started = time.monotonic()
        assert engine.stop() == 0
        assert time.monotonic() - started < 12
        for client in (stuck[0], stuck[1], stuck[3]):
            client.close()
        assert "Traceback" not in engine.log.read_text()


def test_clients_beyond_the_limit_of_open_files_wait_and_the_log_stays_short(folder: Path) -> None:
    with EngineProcess(folder) as engine:
        limits = resource.prlimit(engine.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(engine.pid, resource.RLIMIT_NOFILE, (100, limits[1]))
        clients = [_send(engine.socket, b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n") for _ in range(150)]
        _wait_for(lambda: "clients wait: Too many open files" in engine.log.read_text(), "the complaint")
        for client in clients:
            client.close()
        resource.prlimit(engine.pid, resource.RLIMIT_NOFILE, limits)
        assert engine.api("GET", "/_ping") == (200, "OK")
        log = engine.log.read_text()
        assert log.count("clients wait") == 1
        assert "Traceback" not in log


@pytest.mark.parametrize("cli", ["/usr/local/bin/docker", "/usr/bin/docker"])
def test_the_stock_command_lines_show_version_info_and_usage(folder: Path, cli: str) -> None:
    if not Path(cli).exists():
        pytest.skip(f"{cli} is not there")

    def docker(*words: str) -> str:
        command = [cli, "-H", f"unix://{folder}/s.sock", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    with EngineProcess(folder) as engine:
        engine.load_busybox()
        shown = docker("version", "--format", "{{.Server.APIVersion}} {{.Server.MinAPIVersion}} {{.Server.Os}}")
        assert shown == "1.51 1.24 linux\n"
        docker("version")
        shown = docker("info")
        assert f"Docker Root Dir: {engine.data_root}" in shown
        assert "Live Restore Enabled: true" in shown
        assert re.search(r"^ Kernel Version: " + re.escape(os.uname().release), shown, re.MULTILINE)
        assert re.search(rf"^ CPUs: {os.cpu_count()}$", shown, re.MULTILINE)
        docker("run", "-d", "--name", "web", "-v", "data:/data", "busybox", "sleep", "100")
        assert re.search(r"^Containers +1 +1 ", docker("system", "df"), re.MULTILINE)
        assert re.search(r"^data +1 ", docker("system", "df", "-v"), re.MULTILINE)
        done = subprocess.run(
            [cli, "-H", engine.url, "node", "ls"], capture_output=True, text=True, timeout=30, check=False
        )
        assert "This node is not a swarm manager." in done.stderr


def _certificates(folder: Path) -> None:
    """Make a CA, a server's and a client's certificate, and a client's of another CA."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=30)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for ca, names in (("ca", ("server", "client")), ("other", ("stranger",))):
        openssl("req", "-x509", *key, "-keyout", f"{ca}.key", "-out", f"{ca}.pem", "-days", "2", "-subj", f"/CN={ca}")
        for name in names:
            extensions = folder / f"{name}.ext"
            extensions.write_text(
                "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n"
                if name == "server"
                else "extendedKeyUsage=clientAuth\n"
            )
            openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
            openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key",
                    "-CAcreateserial", "-out", f"{name}.pem", "-days", "2", "-extfile", extensions.name)  # fmt: skip


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_tcp_serves_clients_with_a_certificate_and_nobody_else(folder: Path) -> None:
    _certificates(folder)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    arguments = ["-H", f"tcp://127.0.0.1:{port}", "--tlsverify", "--tlscacert", str(folder / "ca.pem")]
    arguments += ["--tlscert", str(folder / "server.pem"), "--tlskey", str(folder / "server.key")]

    def version(name: str, *program: str) -> subprocess.CompletedProcess[str]:
        command = [*program, "-H", f"tcp://127.0.0.1:{port}", "--tlsverify", "--tlscacert", str(folder / "ca.pem")]
        command += ["--tlscert", str(folder / f"{name}.pem"), "--tlskey", str(folder / f"{name}.key")]
        command += ["version", "--format", "{{.Server.Version}}"]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    with EngineProcess(folder, *arguments) as engine:
        for program in (["docker"], [sys.executable, "-m", "engine.cli"]):
            done = version("client", *program)
            assert (done.returncode, done.stdout) == (0, "0.1.0\n"), done.stderr
            done = version("stranger", *program)
            assert done.returncode == 1
            assert "0.1.0" not in done.stdout
        with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
            plain.sendall(b"GET /info HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"HTTP/1.1 200" not in plain.recv(1000)
        with socket.create_connection(("127.0.0.1", port), timeout=10):  # a handshake that never comes
            assert engine.api("GET", "/_ping") == (200, "OK")
        done = portsided(folder, *arguments)
        assert done.returncode == 1
        assert f"tcp://127.0.0.1:{port}: " in done.stderr
        assert "Traceback" not in engine.log.read_text()


def test_a_warning_that_nobody_expects_is_found_with_its_traceback(tmp_path: Path) -> None:
    process = EngineProcess(tmp_path)
    process.log.write_text(
        "INFO engine.engine: ready\n"
        "WARNING engine.server.listeners: there is no group portside: only root may use it\n"
        "ERROR engine.containers: it failed\n"
        "Traceback (most recent call last):\n"
        "INFO engine.engine: stopping\n"
        "WARNING engine.volumes: no room left\n"
    )
    found = ["ERROR engine.containers: it failed", "Traceback (most recent call last):"]
    assert process.unexpected_log() == [*found, "WARNING engine.volumes: no room left"]
    process.expect_log("no room left")
    assert process.unexpected_log() == found


def test_no_folder_is_left_below_the_hidden_hierarchy(own_engine: EngineProcess) -> None:
    """crun makes a container's group also where the hidden hierarchy would be: in a folder of ours, emptied again."""
    if not Path("/sys/fs/cgroup/unified/cgroup.procs").exists():
        pytest.skip("this host has no hybrid control groups")
    stand_in = own_engine.exec_root / "runtimes" / ".unified"
    own_engine.docker("run", "-d", "--name", "lasting", "busybox", "sleep", "60")
    own_engine.docker("run", "--rm", "busybox", "true")
    groups = [entry.name for entry in stand_in.glob("*/*")]
    assert groups == [own_engine.docker("inspect", "-f", "{{.Id}}", "lasting").stdout.strip()]
    own_engine.kill()
    own_engine.start()
    assert own_engine.docker("exec", "lasting", "echo", "still").stdout == "still\n"
    own_engine.docker("rm", "-f", "lasting")
    assert not list(stand_in.glob("*/*"))
