"""``portside build`` against a real engine: contexts, what changed of them, errors with their place, files by HTTP."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine_process import EngineProcess
from tests.integration.test_build import context

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A context with files that are old enough for nobody to suspect them."""
    folder = tmp_path / "context"
    (folder / "sub").mkdir(parents=True)
    for name in ("a", "b", "sub/c"):
        (folder / name).write_text(name)
        os.utime(folder / name, (1_500_000_000, 1_500_000_000))
    return folder


def portside(
    engine: EngineProcess, *words: str, stdin: str = "", cache: Path | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run the portside command."""
    environment = {**os.environ, "DOCKER_HOST": engine.url, "DOCKER_CONFIG": str(engine.folder / "docker")}
    environment |= {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(cache or engine.folder / "cache")}
    done = subprocess.run(
        [sys.executable, "-m", "engine.cli", *words],
        input=stdin, capture_output=True, text=True, timeout=100, env=environment, check=False,
    )  # fmt: skip
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def build(engine: EngineProcess, folder: Path, text: str, *words: str, check: bool = True) -> str:
    """Build a folder with a Dockerfile and return what was shown."""
    (folder / "Dockerfile").write_text(text)
    done = portside(engine, "build", "--network", "none", "-t", "x", *words, str(folder), check=check)
    return done.stderr


def listed(engine: EngineProcess) -> dict[str, str]:
    """Return the files beneath /c in the image ``x``."""
    command = "cd /c; for f in $(find . -type f); do echo $f $(cat $f); done"
    printed = engine.docker("run", "--rm", "--network", "none", "x", "sh", "-c", command).stdout
    return {line.partition(" ")[0]: line.partition(" ")[2] for line in printed.splitlines() if "Dockerfile" not in line}


def test_only_changes_are_sent(engine: EngineProcess, folder: Path) -> None:
    """After the first build what changed, came and went is sent, and the image is what a whole context makes."""
    text = "FROM busybox\nCOPY . /c\n"
    time.sleep(2.1)  # younger files are sent again, since they may change within the clock's tick
    build(engine, folder, text)
    assert listed(engine) == {"./a": "a", "./b": "b", "./sub/c": "sub/c"}
    (folder / "a").write_text("changed")
    (folder / "b").unlink()
    (folder / "new").write_text("new")
    build(engine, folder, text)
    assert listed(engine) == {"./a": "changed", "./sub/c": "sub/c", "./new": "new"}
    (folder / "new").unlink()
    shutil.rmtree(folder / "sub")
    (folder / "sub").write_text("a file now")
    build(engine, folder, text)
    assert listed(engine) == {"./a": "changed", "./sub": "a file now"}
    (folder / "a").chmod(0o755)
    assert "CACHED" not in build(engine, folder, text)
    assert "CACHED" in build(engine, folder, text)
    contexts = list((engine.data_root / "build" / "contexts").iterdir())
    assert len(contexts) == 1


def test_a_lost_context_costs_one_transfer(engine: EngineProcess, folder: Path) -> None:
    """When the engine has lost what the client counts on, everything is sent, and nobody notices."""
    text = "FROM busybox\nCOPY . /c\n"
    build(engine, folder, text)
    engine.api("POST", "/build/prune?all=1")
    (folder / "a").write_text("after prune")
    build(engine, folder, text)
    assert listed(engine)["./a"] == "after prune"
    for kept in (engine.data_root / "build" / "contexts").iterdir():
        (kept / "id").write_text("somebody else's")
    (folder / "b").write_text("after loss")
    build(engine, folder, text)
    assert listed(engine) == {"./a": "after prune", "./b": "after loss", "./sub/c": "sub/c"}


def test_ignored_files_are_not_sent(engine: EngineProcess, folder: Path) -> None:
    """.dockerignore and Dockerfile.dockerignore; the second wins."""
    (folder / ".dockerignore").write_text("sub\n.dockerignore\n")
    build(engine, folder, "FROM busybox\nCOPY . /c\n")
    assert listed(engine) == {"./a": "a", "./b": "b"}
    (folder / "Dockerfile.dockerignore").write_text("*\n!a\n")
    build(engine, folder, "FROM busybox\nCOPY a /c/\n")
    assert listed(engine) == {"./a": "a"}


def test_errors_show_the_place_and_the_way_out(engine: EngineProcess, folder: Path) -> None:
    """The failing lines are marked, and it is said what would help."""
    shown = build(engine, folder, "FROM busybox\n\nRUN echo out && \\\n  exit 3\nRUN never\n", check=False)
    assert "Dockerfile:3\n" in shown
    assert "   3 | >>> RUN echo out && \\\n   4 | >>>   exit 3\n   5 |     RUN never" in shown
    assert "returned a non-zero code: 3" in shown
    assert "out" in shown
    shown = build(engine, folder, "FROM busybox\nCOPPY a /\n", check=False)
    assert "   2 | >>> COPPY a /" in shown
    assert "(did you mean COPY?)" in shown
    (folder / ".dockerignore").write_text("b\n")
    shown = build(engine, folder, "FROM busybox\nCOPY b /\n", check=False)
    assert "Hint: b is there, but .dockerignore leaves it out: b" in shown
    (folder / "sub/settings.json").write_text("{}")
    shown = build(engine, folder, "FROM busybox\nCOPY sub/setings.json /\n", check=False)
    assert "did you mean settings.json?" in shown
    shown = build(engine, folder, "FROM busybox AS one\n", "--target", "two", check=False)
    assert 'target stage "two" could not be found' in shown
    done = portside(engine, "build", str(folder / "nothing"), check=False)
    assert (done.returncode, "not found" in done.stderr) == (1, True)


def test_progress_and_results(engine: EngineProcess, folder: Path, tmp_path: Path) -> None:
    """Quiet prints the ID alone, JSON one object a line; files get the ID and what else is known; steps explain."""
    text = "FROM busybox\nARG V=1\nRUN echo $V > /v\nCOPY a /a\n"
    (folder / "Dockerfile").write_text(text)
    words: tuple[str, ...] = ("build", "--network", "none", "-t", "x", "--iidfile", str(tmp_path / "iid"))
    words += ("--metadata-file", str(tmp_path / "meta"), str(folder))
    quiet = portside(engine, "build", "-q", "--network", "none", str(folder))
    assert re.fullmatch(r"sha256:[0-9a-f]{64}\n", quiet.stdout)
    assert quiet.stderr == ""
    shown = portside(engine, *words)
    assert (tmp_path / "iid").read_text() == quiet.stdout.strip() == shown.stdout.strip()
    assert json.loads((tmp_path / "meta").read_text())["image.name"] == "docker.io/library/x:latest"
    lines = portside(engine, "build", "--progress", "json", "--network", "none", str(folder)).stderr.splitlines()
    assert any(json.loads(line).get("step", {}).get("state") == "cached" for line in lines)
    (folder / "a").write_text("other")
    shown = portside(engine, "build", "--explain", "--build-arg", "V=2", *words[1:])
    assert "rebuilt: changed: argument V" in shown.stderr
    assert "rebuilt: changed: parent, source a" in shown.stderr


def test_standard_input(engine: EngineProcess, folder: Path) -> None:
    """A Dockerfile alone, one beside a folder, a whole archive."""
    portside(
        engine, "build", "--network", "none", "-t", "x", "-", stdin="FROM busybox\nRUN mkdir /c; echo 1 > /c/alone\n"
    )
    assert listed(engine) == {"./alone": "1"}
    portside(engine, "build", "--network", "none", "-t", "x", "-f", "-", str(folder), stdin="FROM busybox\nCOPY . /c\n")
    assert listed(engine) == {"./a": "a", "./b": "b", "./sub/c": "sub/c"}
    environment = {**os.environ, "DOCKER_HOST": engine.url, "PYTHONPATH": str(ROOT)}
    data = context("FROM busybox\nCOPY f /c/\n", {"f": "tar"})
    command = [sys.executable, "-m", "engine.cli", "build", "--network", "none", "-t", "x", "-"]
    subprocess.run(command, input=data, env=environment, check=True, capture_output=True, timeout=60)
    assert listed(engine) == {"./f": "tar"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The URL of a web server with some files."""
    root = tmp_path / "web"
    root.mkdir()
    (root / "file").write_text("by http")
    (root / "Dockerfile").write_text("FROM busybox\nRUN mkdir /c; echo url > /c/u\n")
    (root / "context.tar").write_bytes(context("FROM busybox\nCOPY f /c/\n", {"f": "url tar"}))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{web.server_port}"
        web.shutdown()
        thread.join()


def test_files_and_contexts_by_http(engine: EngineProcess, folder: Path, server: str) -> None:
    """ADD of URLs with checksums, a Dockerfile and an archive as context."""
    digest = hashlib.sha256(b"by http").hexdigest()
    build(engine, folder, f"FROM busybox\nADD --checksum=sha256:{digest} --chmod=644 {server}/file /c/\n")
    assert listed(engine) == {"./file": "by http"}
    shown = build(engine, folder, f"FROM busybox\nADD --checksum=sha256:{'0' * 64} {server}/file /c/\n", check=False)
    assert "digest mismatch" in shown
    shown = build(engine, folder, f"FROM busybox\nADD {server}/absent /c/\n", check=False)
    assert "with status 404" in shown
    portside(engine, "build", "--network", "none", "-t", "x", f"{server}/Dockerfile")
    assert listed(engine) == {"./u": "url"}
    portside(engine, "build", "--network", "none", "-t", "x", f"{server}/context.tar")
    assert listed(engine) == {"./f": "url tar"}


def test_records_of_builds(engine: EngineProcess, folder: Path) -> None:
    """Each build is listed, shown with its log, and can be forgotten."""
    build(engine, folder, "FROM busybox\nRUN echo remembered-words\n", "--no-cache")
    listing = portside(engine, "builder", "history").stdout.splitlines()
    identifier = listing[1].split()[0]
    assert "completed" in listing[1]
    assert "remembered-words" in portside(engine, "builder", "logs", identifier[:10]).stdout
    status, record = engine.api("GET", f"/builds/{identifier}/json")
    assert status == 200
    assert [step["Text"] for step in record["Steps"]] == ["FROM busybox", "RUN echo remembered-words"]
    assert engine.api("DELETE", f"/builds/{identifier}")[0] == 204
    assert engine.api("GET", f"/builds/{identifier}/json")[0] == 404


def test_interrupt_leaves_nothing(engine: EngineProcess, folder: Path) -> None:
    """Ctrl-C ends the build at once, with the exit code of an interrupted command."""
    (folder / "Dockerfile").write_text("FROM busybox\nRUN echo begun; sleep 1000\n")
    environment = {**os.environ, "DOCKER_HOST": engine.url, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "engine.cli", "build", "--network", "none", "--no-cache", str(folder)]
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as run:
        assert run.stderr is not None
        while "begun" not in (line := run.stderr.readline()) or "RUN" in line:
            assert line
        run.send_signal(signal.SIGINT)
        run.stderr.read()
        assert run.wait(20) == 130
    deadline = time.monotonic() + 20
    while list((engine.data_root / "containers").iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    _, records = engine.api("GET", "/builds/json")
    assert records[0]["Status"] == "canceled"


@pytest.mark.skipif(not Path("/usr/lib/git-core/git-daemon").exists(), reason="git has no daemon here")
def test_git_contexts(engine: EngineProcess, tmp_path: Path) -> None:
    """A repository as context: its default branch, a tag, a folder in it; what is none is told."""
    repository = tmp_path / "repositories" / "project"
    (repository / "sub").mkdir(parents=True)

    def git(*words: str) -> None:
        identity = ("-c", "user.name=x", "-c", "user.email=x@x")
        subprocess.run(["git", *identity, *words], cwd=repository, check=True, capture_output=True)

    git("init", "-q")
    (repository / "Dockerfile").write_text("FROM busybox\nCOPY f /c/\n")
    (repository / "f").write_text("first")
    (repository / "sub/Dockerfile").write_text("FROM busybox\nCOPY g /c/\n")
    (repository / "sub/g").write_text("in a folder")
    git("add", "-A")
    git("commit", "-qm", "one")
    git("tag", "v1")
    (repository / "f").write_text("second")
    git("commit", "-qam", "two")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["git", "daemon", "--export-all", f"--base-path={repository.parent}", "--listen=127.0.0.1"]
    with subprocess.Popen([*command, f"--port={port}", "--reuseaddr"], stderr=subprocess.DEVNULL) as daemon:
        try:
            url = f"git://127.0.0.1:{port}/project/.git"
            _wait_for_port(port)
            for fragment, files in (
                ("", {"./f": "second"}),
                ("#v1", {"./f": "first"}),
                ("#:sub", {"./g": "in a folder"}),
            ):
                portside(engine, "build", "--network", "none", "-t", "x", f"{url}{fragment}")
                assert listed(engine) == files
            for fragment in ("#nothing", "#--upload-pack=x", "#:../.."):
                assert portside(engine, "build", f"{url}{fragment}", check=False).returncode == 1
        finally:
            daemon.terminate()
            daemon.wait(10)


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", port)):
                return
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_state_before_a_failed_step_can_be_entered(engine: EngineProcess, folder: Path) -> None:
    """It is kept as an image without a name, and it is said how to get in."""
    text = "FROM busybox\nENV A=b\nRUN echo here > /before\nRUN echo half > /half; exit 3\n"
    shown = build(engine, folder, text, "--debug", check=False)
    found = re.search(r"portside run --rm -it ([0-9a-f]{12}) /bin/sh", shown)
    assert found is not None
    printed = engine.docker(
        "run", "--rm", "--network", "none", found[1], "sh", "-c", "cat /before; ls /; echo $A"
    ).stdout
    assert printed.startswith("here\n")
    assert "half" not in printed
    assert printed.endswith("b\n")
