"""Takes the application through a life: up, health, scale, logs, exec, run, cp, restart, watch, kill -9 of the engine.

Each step says what it saw and raises AssertionError when that is wrong. ``Compose`` is one of the real programs.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.composeapp import PROJECT
from tests.engine_process import EngineProcess

TIMEOUT_S = 180.0
Say = Callable[[str], None]


class Compose:
    """A Compose program that drives ``engine``, in the application's ``folder``."""

    def __init__(self, program: Path, engine: EngineProcess, folder: Path) -> None:
        """Nothing runs yet."""
        self.engine = engine
        self.folder = folder
        self._program = program
        self.environment = {
            **os.environ, "DOCKER_HOST": engine.url, "DOCKER_CONFIG": str(folder / "docker"), "FROM_FILE": "file",
            "COMPOSE_PROJECT_NAME": PROJECT, "COMPOSE_MENU": "0", "COMPOSE_ANSI": "never",
        }  # fmt: skip
        # 1.29.2 wants a field of images that the API has up to 1.44: with Docker 26 and later it needs this as well.
        self.environment["COMPOSE_API_VERSION"] = "1.41"
        for name in ("DOCKER_CONTEXT", "DOCKER_API_VERSION"):
            self.environment.pop(name, None)

    def __call__(self, *words: str, check: bool = True, timeout_s: float = TIMEOUT_S) -> str:
        """Run a command; return its output. Raises AssertionError with both when it fails."""
        done = subprocess.run(
            [str(self._program), "-f", "compose.yaml", *words], cwd=self.folder, env=self.environment,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, check=False,
        )  # fmt: skip
        if check and done.returncode:
            raise AssertionError(
                f"compose {' '.join(words)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
            )
        return done.stdout if check else f"{done.returncode}\n{done.stdout}{done.stderr}"

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command that goes on."""
        return subprocess.Popen(
            [str(self._program), "-f", "compose.yaml", *words], cwd=self.folder, env=self.environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def containers(self, service: str) -> list[dict[str, Any]]:
        """Return the containers of a service, by their numbers."""
        labels = [f"com.docker.compose.project={PROJECT}", f"com.docker.compose.service={service}"]
        filters = quote(json.dumps({"label": labels}))
        status, found = self.engine.api("GET", f"/containers/json?all=1&filters={filters}")
        assert status == 200, found
        kept = [item for item in found if item["Labels"].get("com.docker.compose.oneoff", "False") != "True"]
        return sorted(kept, key=lambda item: int(item["Labels"]["com.docker.compose.container-number"]))

    def names(self, service: str) -> list[str]:
        """Return the names of a service's containers."""
        return [item["Names"][0].lstrip("/") for item in self.containers(service)]

    def page(self, path: str) -> dict[str, Any]:
        """Return what the proxy's published port serves; raises AssertionError when it serves nothing for long."""
        address = self.engine.docker("port", self.names("proxy")[0], "80").stdout.split()[0]
        deadline = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
                    found: dict[str, Any] = json.loads(answer.read())
                    return found
            except (urllib.error.URLError, ValueError, OSError) as error:
                if time.monotonic() > deadline:
                    raise AssertionError(f"http://{address}{path}: {error}") from error
                time.sleep(0.2)


def wait_until(what: str, is_so: Callable[[], bool], timeout_s: float = 60) -> None:
    """Ask until it is so; raises AssertionError when it does not become so."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > deadline:
            raise AssertionError(f"never: {what}")
        time.sleep(0.2)


def drive(compose: Compose, say: Say, *, path: str, is_modern: bool) -> None:
    """Take the application through its life; everything of it is gone afterwards."""
    engine = compose.engine
    up = ["up", "-d", *(["--wait"] if is_modern else [])]
    # The migration ends, and --wait wants everything to run: it may end with 1 for that reason alone.
    said = compose(*up, check=False)
    if not is_modern:
        wait_until("the proxy runs", lambda: any(item["State"] == "running" for item in compose.containers("proxy")))
    try:
        page = compose.page(path)
    except (AssertionError, IndexError) as error:
        raise AssertionError(f"{said}\n{compose('logs', '--no-color', check=False)}") from error
    say(f"up: {page}")
    assert (page["greeting"], page["page"]) == ("hello", "first page")
    wait_until("the worker has done all jobs", lambda: (now := compose.page(path))["jobs"] == now["done"] > 0)
    assert "migrated" in compose("logs", "--no-color", "migrate")
    assert engine.docker("inspect", "-f", "{{.State.ExitCode}}", compose.names("migrate")[0]).stdout == "0\n"
    _networks(compose)
    _commands(compose, say, path)
    _scale(compose, say, path)
    if is_modern:
        _watch(compose, say, path)
    _survive(compose, say, path, up)
    _profiles(compose, is_modern=is_modern)
    compose("down", "-v", "--remove-orphans")
    left = [engine.docker(*words).stdout for words in (("ps", "-aq"), ("volume", "ls", "-q"))]
    networks = engine.docker("network", "ls", "-q", "--filter", "type=custom").stdout
    assert (left, networks) == (["", ""], ""), f"down -v left {left} {networks}"
    say("down -v: nothing is left")


def _networks(compose: Compose) -> None:
    """The internal network has no way out, and names resolve where they should."""
    worker, proxy = compose.names("worker")[0], compose.names("proxy")[0]
    routes = compose.engine.docker("exec", worker, "cat", "/proc/net/route").stdout
    assert "00000000" not in [line.split()[1] for line in routes.splitlines()], routes
    resolve = ["sh", "-c", "getent hosts $0 || nslookup $0"]
    assert compose.engine.docker("exec", proxy, *resolve, "frontend").stdout
    assert compose.engine.docker("exec", proxy, *resolve, "db", check=False).returncode, "db is on another network"


def _commands(compose: Compose, say: Say, path: str) -> None:
    assert "file yes" in compose("exec", "-T", "web", "sh", "-c", "echo $FROM_FILE $FROM_ENV_FILE")
    assert "swordfish" in compose("exec", "-T", "web", "cat", "/run/secrets/password")
    failed = compose("exec", "-T", "web", "sh", "-c", "exit 7", check=False)
    assert failed.startswith("7\n"), failed
    assert "one-off" in compose("run", "--rm", "-T", "--no-deps", "worker", "echo", "one-off")
    before = compose.page(path)["jobs"]
    compose("run", "--rm", "-T", "migrate")
    wait_until("the second migration's job is done", lambda: compose.page(path)["done"] == before + 1)
    (compose.folder / "in.txt").write_text("copied in\n")
    if "cp" in compose("--help"):
        compose("cp", "in.txt", "web:/tmp/in.txt")
        assert compose("exec", "-T", "web", "cat", "/tmp/in.txt") == "copied in\n"
        compose("cp", "web:/tmp/in.txt", "out.txt")
        assert (compose.folder / "out.txt").read_text() == "copied in\n"
    assert "did" in compose("logs", "--no-color", "--tail", "5", "worker")
    assert "web" in compose("ps")
    started = [_started_at(compose, name) for name in compose.names("worker")]
    compose("restart", "-t", "2", "worker")
    assert [_started_at(compose, name) for name in compose.names("worker")] != started
    compose("stop", "-t", "2", "worker")
    assert [item["State"] for item in compose.containers("worker")] == ["exited"]
    compose("start", "worker")
    compose("pause", "worker")
    assert [item["State"] for item in compose.containers("worker")] == ["paused"]
    compose("unpause", "worker")
    assert compose("top", "worker")
    say("exec, run, cp, logs, ps, restart, stop, start, pause, top: as they should")


def _started_at(compose: Compose, name: str) -> str:
    return compose.engine.docker("inspect", "-f", "{{.State.StartedAt}}", name).stdout


def _scale(compose: Compose, say: Say, path: str) -> None:
    compose("up", "-d", "--no-recreate", "--scale", "web=3", "--scale", "worker=2")
    assert (len(compose.containers("web")), len(compose.containers("worker"))) == (3, 2)
    hosts: set[str] = set()

    def have_all_answered() -> bool:
        hosts.add(compose.page(path)["host"])
        return len(hosts) == 3

    wait_until("all three answer behind one name", have_all_answered)
    say(f"scale 3: {sorted(hosts)} answer")
    compose("up", "-d", "--no-recreate", "--scale", "web=1", "--scale", "worker=1")
    assert len(compose.containers("web")) == 1


def _watch(compose: Compose, say: Say, path: str) -> None:
    watching = compose.start("watch", "--no-up")
    try:
        # Compose says when it watches, but not when its first look is over: write until the change arrives.
        number = 0

        def has_arrived() -> bool:
            nonlocal number
            number += 1
            (compose.folder / "site/page.txt").write_text(f"page {number}\n")
            time.sleep(0.5)
            assert watching.poll() is None, watching.stdout and watching.stdout.read()
            return str(compose.page(path)["page"]).startswith("page ")

        wait_until("a changed file is synchronized", has_arrived)
    finally:
        watching.terminate()
        watching.wait(20)
        if watching.stdout is not None:
            watching.stdout.close()
    say(f"watch: {compose.page(path)['page']} arrived")


def _survive(compose: Compose, say: Say, path: str, up: list[str]) -> None:
    """The application answers while the engine is dead, and Compose goes on with it afterwards."""
    ids = {name: [item["Id"] for item in compose.containers(name)] for name in ("db", "web", "proxy", "worker")}
    address = compose.engine.docker("port", compose.names("proxy")[0], "80").stdout.split()[0]
    compose.engine.kill()
    with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
        dead = json.loads(answer.read())
    compose.engine.start()
    say(f"kill -9: without an engine {dead['done']} of {dead['jobs']} done by {dead['host']}")
    compose(*up, check=False)
    assert {name: [item["Id"] for item in compose.containers(name)] for name in ids} == ids, "up made others"
    assert compose.page(path)["jobs"] >= dead["jobs"]
    compose("up", "-d", "--force-recreate", "--no-deps", "web")
    assert [item["Id"] for item in compose.containers("web")] != ids["web"]
    assert compose.page(path)["jobs"] >= dead["jobs"], "the proxy finds the new container by its name"
    say("and with it again: the same containers, and a new one takes its place")


def _profiles(compose: Compose, *, is_modern: bool) -> None:
    assert compose.containers("tools") == []
    compose("--profile", "tools", "up", "-d", "tools")
    assert len(compose.containers("tools")) == 1
    if is_modern:
        events = compose("config", "--services")
        assert set(events.split()) >= {"db", "web", "proxy", "worker", "migrate"}
    compose("--profile", "tools", "kill", "tools")
    compose("--profile", "tools", "rm", "-f", "tools")
    assert compose.containers("tools") == []
