"""``portside commit``, ``diff``, ``export``, ``push``, ``search``, ``login`` beside the stock docker command line."""

from __future__ import annotations

import http.server
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.debian_registry import PASSWORD, USER, DebianRegistry
from tests.engine_process import EngineProcess

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("docker-registry") is None, reason="needs root and docker-registry"
)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DebianRegistry]:
    with DebianRegistry(tmp_path_factory.mktemp("registry"), "htpasswd") as registry:
        yield registry


@pytest.fixture(scope="module")
def box(engine: EngineProcess) -> str:
    engine.docker("run", "--name", "box", "--network", "none", "busybox", "sh", "-c", "echo 1 > /new; rm /bin/cat")
    return "box"


def portside(engine: EngineProcess, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "DOCKER_HOST": engine.url, "DOCKER_CONFIG": str(engine.folder / "portside")}
    environment.pop("PORTSIDE_CONFIG", None)
    command = [sys.executable, "-m", "engine.cli", *words]
    return subprocess.run(command, input=stdin, capture_output=True, env=environment, timeout=60, check=False)


def test_diff_is_docker_s(engine: EngineProcess, box: str) -> None:
    done = portside(engine, "diff", box)
    assert sorted(done.stdout.decode().splitlines()) == ["A /new", "C /bin", "D /bin/cat"]
    assert sorted(done.stdout.decode().splitlines()) == sorted(engine.docker("diff", box).stdout.splitlines())
    assert portside(engine, "container", "diff", "absent").returncode == 1


def test_commit_prints_the_id(engine: EngineProcess, box: str) -> None:
    done = portside(engine, "commit", "-a", "me", "-m", "why", "-c", "ENV A=1", "-c", 'CMD ["x"]', box, "a/b")
    found = json.loads(engine.docker("image", "inspect", "a/b:latest").stdout)[0]
    assert done.stdout.decode().strip() == found["Id"]
    assert (found["Author"], found["Comment"]) == ("me", "why")
    assert found["Config"]["Env"] == ["A=1"]
    assert found["Config"]["Cmd"] == ["x"]
    engine.docker("rmi", "a/b")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["commit", "absent"], 1, "No such container: absent"),
        (["commit", "box", "UPPER"], 1, "must be lowercase"),
        (["commit", "-c", "RUN x", "box"], 1, "RUN is not a valid change command"),
        (["commit"], 1, "requires at least 1"),
        (["export", "absent"], 1, "No such container: absent"),
        (["export", "-o", "/nonexistent/x", "box"], 1, "failed to export container"),
        (["push", "busybox:absent"], 1, "tag does not exist: busybox:absent"),
        (["push", "nothing/here"], 1, "An image does not exist locally with the tag: nothing/here"),
        (["push", "-a", "busybox:1"], 1, "tag can't be used with --all-tags/-a"),
        (["search", "--limit", "500", "127.0.0.1:1/x"], 1, "limit 500 is outside the range of [1, 100]"),
        (["search", "-f", "color=red", "x"], 1, "invalid filter 'color'"),
        (["search"], 1, "requires 1 argument"),
    ],
)
def test_what_cannot_be(engine: EngineProcess, box: str, words: list[str], code: int, told: str) -> None:
    done = portside(engine, *words)
    assert done.returncode == code
    assert told in done.stderr.decode()


def test_export_to_a_file_and_a_pipe(engine: EngineProcess, box: str, tmp_path: Path) -> None:
    assert portside(engine, "export", "-o", str(tmp_path / "x.tar"), box).returncode == 0
    for data in ((tmp_path / "x.tar").read_bytes(), portside(engine, "export", box).stdout):
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            names = archive.getnames()
        assert "new" in names
        assert "bin/cat" not in names


def test_login_push_logout(engine: EngineProcess, registry: DebianRegistry) -> None:
    name = f"{registry.host}/team/box"
    engine.docker("tag", "busybox", f"{name}:latest")
    assert portside(engine, "push", name).returncode == 1
    wrong = portside(engine, "login", "-u", USER, "--password-stdin", registry.host, stdin=b"wrong")
    assert wrong.returncode == 1
    assert "401 Unauthorized" in wrong.stderr.decode()
    done = portside(engine, "login", "-u", USER, "--password-stdin", registry.host, stdin=PASSWORD.encode())
    assert "Login Succeeded" in done.stdout.decode()
    out = portside(engine, "push", name).stdout.decode().splitlines()
    assert out[0] == "Using default tag: latest"
    assert out[1] == f"The push refers to repository [{name}]"
    assert out[-1].startswith("latest: digest: sha256:")
    assert portside(engine, "push", "-q", name).stdout.decode() == f"{name}:latest\n"
    engine.docker("tag", "busybox", f"{name}:2")
    assert portside(engine, "push", "-a", name).returncode == 0
    assert registry.tags("team/box") == ["2", "latest"]
    assert portside(engine, "logout", registry.host).returncode == 0
    refused = portside(engine, "push", name)
    assert "no basic auth credentials" in refused.stderr.decode()
    engine.docker("rmi", f"{name}:latest", f"{name}:2")


class _Index(http.server.BaseHTTPRequestHandler):
    """A registry of the first version, which can search."""

    asked: list[str] = []  # noqa: RUF012 - one for the module's tests

    def do_GET(self) -> None:
        self.asked.append(self.path)
        results = [
            {"name": "web", "description": "Serves\npages " + "x" * 60, "star_count": 12, "is_official": True},
            {"name": "me/web", "description": "", "star_count": 1, "is_official": False, "is_automated": True},
        ]
        data = json.dumps({"results": results, "num_results": 2}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's word
        """Say nothing."""


@pytest.fixture(scope="module")
def index() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Index) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--no-trunc"],
        ["--limit", "7"],
        ["--format", "{{.Name}} {{.StarCount}} {{.IsOfficial}}"],
        ["--format", "json"],
        ["-f", "is-official=true"],
        ["-f", "stars=10"],
        ["-f", "is-official=false"],
        ["-f", "is-automated=true"],
    ],
)
def test_search_looks_like_docker_s(engine: EngineProcess, index: str, options: list[str]) -> None:
    ours = portside(engine, "search", *options, f"{index}/web")
    theirs = engine.docker("search", *options, f"{index}/web")
    assert ours.stdout.decode() == theirs.stdout
    assert ours.returncode == 0
    assert "q=web" in _Index.asked[-1]
    assert "n=7" in _Index.asked[-1] or "--limit" not in options


def test_names_are_completed(engine: EngineProcess, box: str) -> None:
    for command in ("commit", "diff", "export"):
        assert portside(engine, "__complete", command, "bo").stdout.decode() == "box\n"
    assert portside(engine, "__complete", "push", "busy").stdout.decode() == "busybox:latest\n"
    assert "--pause" in portside(engine, "__complete", "commit", "--").stdout.decode()
