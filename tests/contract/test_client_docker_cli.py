"""``portside`` beside the stock docker CLI: the same requests, the same output, the same exit codes.

The requests are compared on an engine that only writes them down, the output on a real dockerd. What is said
about Docker by name is said about Portside by ours; hints of ours are lines of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.client_engines import RealEngine, run_dockerd

API_VERSION = "1.48"
_AGE = re.compile(r"(?:About a|Less than a|\d+) (?:second|minute)s?")
PORTSIDE = [sys.executable, "-m", "engine.cli"]


def docker_cli() -> str:
    """Return a docker CLI of version 28 or later; skips without one."""
    for path in ("/usr/local/bin/docker", shutil.which("docker") or ""):
        if path and Path(path).exists():
            words = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout.split()
            if int(words[2].split(".")[0]) >= 28:
                return path
    pytest.skip("needs docker CLI 28")


class RecordingEngine:
    """An engine that accepts every container and writes its request down; it runs in a thread of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.requests: list[tuple[str, dict[str, Any]]] = []

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                method, target, _ = head.split("\r\n")[0].split(" ")
                fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
                body = await reader.readexactly(int(fields.get("content-length", "0")))
                answer = b"{}"
                if "/containers/create" in target:
                    self.requests.append((target.partition("/containers")[2], json.loads(body)))
                    answer = json.dumps({"Id": "0" * 64, "Warnings": []}).encode()
                lines = (
                    f"HTTP/1.1 200 OK\r\nApi-Version: {API_VERSION}\r\nOstype: linux\r\nContent-Type: application/json"
                )
                writer.write(f"{lines}\r\nContent-Length: {len(answer)}\r\n\r\n".encode())
                writer.write(b"" if method == "HEAD" else answer)
                await writer.drain()
        writer.close()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        loop = asyncio.new_event_loop()
        server = loop.run_until_complete(asyncio.start_unix_server(self.handle, self.path))
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            yield
        finally:
            server.close()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.run_until_complete(asyncio.sleep(0.05))
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))
            loop.run_until_complete(server.wait_closed())
            loop.close()


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RecordingEngine]:
    engine = RecordingEngine(tmp_path_factory.mktemp("recorder") / "engine.sock")
    with engine.running():
        yield engine


def without_zeros(value: Any) -> Any:
    """Return JSON without what Go and we leave out differently: null, empty and zero."""
    if isinstance(value, dict):
        kept = {key: without_zeros(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in (None, {}, [], "", 0, False)}
    return [without_zeros(item) for item in value] if isinstance(value, list) else value


def sort_binds(body: dict[str, Any]) -> dict[str, Any]:
    """Return a request with its binds in order: the docker CLI sends them in the order of a Go map."""
    if body.get("HostConfig", {}).get("Binds"):
        body["HostConfig"]["Binds"].sort()
    return body


CREATES = Path(__file__).with_name("client_creates.txt").read_text(encoding="utf-8").splitlines()
COMPARED = Path(__file__).with_name("client_commands.txt").read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def work_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    (folder / "envf").write_text("A=1\n# c\nB\nC=x y\n")
    (folder / "labf").write_text("l1=v1\nl2\nl3=\n")
    (folder / "sec.json").write_text('{"defaultAction": "SCMP_ACT_ALLOW",\n "syscalls": []}\n')
    return folder


@pytest.mark.parametrize("line", [line for line in CREATES if line and not line.startswith("#")])
def test_create_asks_for_the_same(line: str, recorder: RecordingEngine, work_folder: Path) -> None:
    results = []
    for program in ([docker_cli()], PORTSIDE):
        recorder.requests.clear()
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(work_folder), "PYTHONPATH": str(Path.cwd())}
        finished = subprocess.run(
            [*program, "-H", f"unix://{recorder.path}", "create", *shlex.split(line)],
            cwd=work_folder, env=environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        requests = [(target, sort_binds(without_zeros(body))) for target, body in recorder.requests]
        errors = [part for part in as_ours(finished.stderr).splitlines() if not part.startswith("Hint: ")]
        results.append((finished.returncode, errors, requests))
    assert results[0] == results[1]


@pytest.fixture(scope="module")
def dockerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealEngine]:
    folder = tmp_path_factory.mktemp("dockerd")
    with run_dockerd(folder) as running:
        for line in (
            "run -d --name c1 --network none -l a=b -v vol1:/z --restart always --health-cmd true -e FOO=bar "
            "busybox sleep 1000",
            "create --name c2 --expose 90-92 --network none busybox sh -c 'echo a very long command line here'",
            "run --name c3 --network none busybox sh -c 'echo out; echo err >&2; exit 3'",
            "tag busybox foo/bar:1.2",
        ):
            arguments = [docker_cli(), "-H", running.endpoint, *shlex.split(line)]
            subprocess.run(arguments, capture_output=True, timeout=60, check=False)
        yield running


def as_ours(text: str) -> str:
    """Return Docker's words about itself as ours."""
    return text.replace("docker", "portside")


@pytest.mark.parametrize("line", [line for line in COMPARED if line and not line.startswith("#")])
def test_output_errors_and_exit_codes_are_dockers(line: str, dockerd: RealEngine, work_folder: Path) -> None:
    arguments = ["-H", dockerd.endpoint, *shlex.split(line)]
    results: list[tuple[int, list[str], list[str]]] = []
    # A second between the two may turn "4 seconds ago" into 5: then once more.
    for _ in range(3):
        results = []
        for program in ([docker_cli()], PORTSIDE):
            environment = {"PATH": "/usr/bin:/bin", "HOME": str(work_folder), "PYTHONPATH": str(Path.cwd())}
            finished = subprocess.run(
                [*program, *arguments], cwd=work_folder, env=environment, stdin=subprocess.DEVNULL,
                capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            errors = [part for part in as_ours(finished.stderr).splitlines() if not part.startswith("Hint: ")]
            results.append((finished.returncode, as_ours(finished.stdout).splitlines(), errors))
        if results[0] == results[1]:
            return
    # On a busy machine each takes longer than a second: then all but the ages, and the width that they take.
    assert without_ages(results[0]) == without_ages(results[1])


def without_ages(result: tuple[int, list[str], list[str]]) -> tuple[int, list[str], list[str]]:
    """Return a result with every age in seconds or minutes, and every run of spaces, the same."""
    code, lines, errors = result
    return code, [re.sub(r" {2,}", "  ", _AGE.sub("AGE", line)) for line in lines], errors
