"""Names as users meet them: containers of a real engine, the stock command line, and the engine killed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine_process import EngineProcess
from tests.integration.names_lab import process_behind


@pytest.fixture
def app(own_engine: EngineProcess) -> Iterator[EngineProcess]:
    """An engine with a network ``app`` and the containers ``web`` and ``db`` on it, which share an alias."""
    own_engine.docker("network", "create", "app")
    for name in ("web", "db"):
        own_engine.docker(
            "run", "-d", "--name", name, "--network", "app", "--network-alias", "srv", "busybox", "sleep", "1000"
        )  # fmt: skip
    yield own_engine
    for item in own_engine.api("GET", "/containers/json?all=1")[1]:
        own_engine.docker("rm", "-f", item["Id"])
    own_engine.docker("network", "prune", "-f")


def address(engine: EngineProcess, name: str, network: str = "app") -> str:
    networks = engine.api("GET", f"/containers/{name}/json")[1]["NetworkSettings"]["Networks"]
    return str(networks[network]["IPAddress"])


def found(engine: EngineProcess, container: str, name: str) -> set[str]:
    """Return the addresses that nslookup in a container finds."""
    return parse(engine.docker("exec", container, "nslookup", name, check=False).stdout)


def parse(output: str) -> set[str]:
    _, _, answers = output.partition("\n\n")
    return {line.split(": ", 1)[1] for line in answers.splitlines() if line.startswith("Address: ")}


def pid_of(engine: EngineProcess, container: str) -> int:
    return int(engine.api("GET", f"/containers/{container}/json")[1]["State"]["Pid"])


def found_without_engine(pid: int, name: str) -> set[str]:
    """Return what nslookup finds that is started in a container's namespaces past the engine."""
    words = ["nsenter", "-t", str(pid), "-m", "-n", "/bin/busybox", "nslookup", name]
    return parse(subprocess.run(words, capture_output=True, text=True, timeout=30, check=False).stdout)


def test_containers_are_found_by_all_their_names(app: EngineProcess) -> None:
    web, db = address(app, "web"), address(app, "db")
    short = app.docker("inspect", "-f", "{{.Id}}", "web").stdout[:12]
    for name in ("web", "WEB", "web.app", "web.app.", short):
        assert found(app, "db", name) == {web}
    assert found(app, "db", "srv") == {web, db}
    assert "name = db.app" in app.docker("exec", "web", "nslookup", db).stdout
    assert app.docker("exec", "web", "ping", "-c1", "-w5", "db").returncode == 0
    settings = app.docker("exec", "web", "cat", "/etc/resolv.conf").stdout
    assert "nameserver 127.0.0.11\n" in settings
    assert "options ndots:0\n" in settings


def test_names_follow_connections_and_renames(app: EngineProcess) -> None:
    app.docker("network", "create", "--internal", "hidden")
    app.docker("run", "-d", "--name", "lone", "--network", "hidden", "busybox", "sleep", "1000")
    assert found(app, "lone", "web") == set()
    app.docker("network", "connect", "--alias", "shop", "hidden", "web")
    assert found(app, "lone", "web") == found(app, "lone", "shop") == {address(app, "web", "hidden")}
    assert found(app, "web", "lone") == {address(app, "lone", "hidden")}
    app.docker("rename", "web", "www")
    assert found(app, "db", "www") == {address(app, "www")}
    assert found(app, "db", "web") == set()
    app.docker("network", "disconnect", "hidden", "www")
    assert found(app, "lone", "www") == set()
    app.docker("network", "disconnect", "app", "db")
    app.docker("network", "connect", "--link", "www:store", "app", "db")
    assert found(app, "db", "store") == {address(app, "www")}
    assert found(app, "www", "store") == set()
    app.docker("stop", "-t0", "db")
    assert found(app, "www", "db") == set()
    app.docker("start", "db")
    assert found(app, "www", "db") == {address(app, "db")}
    assert found(app, "db", "store") == {address(app, "www")}


def test_a_container_on_the_default_bridge_gets_names_when_it_is_connected(app: EngineProcess) -> None:
    app.docker("run", "-d", "--name", "late", "busybox", "sleep", "1000")
    assert "127.0.0.11" not in app.docker("exec", "late", "cat", "/etc/resolv.conf").stdout
    for _ in range(2):
        app.docker("network", "connect", "app", "late")
        assert found(app, "late", "web") == {address(app, "web")}
        assert found(app, "web", "late") == {address(app, "late")}
        app.docker("network", "disconnect", "app", "late")
        assert found(app, "web", "late") == set()


def test_names_go_on_while_the_engine_is_dead_and_after_it(app: EngineProcess) -> None:
    web = address(app, "web")
    pid = pid_of(app, "db")
    process = process_behind(app.exec_root, maker=app.pid)
    assert process
    app.kill()
    assert found_without_engine(pid, "web") == {web}
    assert found_without_engine(pid, "srv.app") == {web, found_without_engine(pid, "db").pop()}
    app.start()
    assert process_behind(app.exec_root, maker=app.pid) == process
    assert found(app, "db", "web") == {web}
    app.docker("run", "-d", "--name", "new", "--network", "app", "busybox", "sleep", "1000")
    assert found(app, "db", "new") == {address(app, "new")}
    assert found(app, "new", "db") == {address(app, "db")}


def test_names_come_back_when_their_process_is_killed_with_or_without_the_engine(app: EngineProcess) -> None:
    app.expect_log("the name server has died: it is started anew")
    os.kill(process_behind(app.exec_root, maker=app.pid), signal.SIGKILL)
    assert found(app, "db", "web") == {address(app, "web")}
    process = process_behind(app.exec_root, maker=app.pid)
    app.kill()
    os.kill(process, signal.SIGKILL)
    app.start()
    assert found(app, "db", "web") == {address(app, "web")}
    assert found(app, "web", "db") == {address(app, "db")}


def test_a_rename_outlives_the_engine(app: EngineProcess) -> None:
    app.docker("rename", "web", "www")
    app.kill()
    app.start()
    assert found(app, "db", "www") == {address(app, "www")}
    assert found(app, "db", "web") == set()


def test_the_process_ends_with_the_engine_when_nothing_runs(app: EngineProcess) -> None:
    process = process_behind(app.exec_root, maker=app.pid)
    app.docker("rm", "-f", "web", "db")
    app.stop()
    for _ in range(500):
        if not Path(f"/proc/{process}").exists():
            break
        time.sleep(0.01)
    else:
        pytest.fail(f"it runs on: {Path(f'/proc/{process}/stat').read_text()}")
    app.start()
