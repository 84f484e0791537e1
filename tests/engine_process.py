"""A real engine for a test: its own folders, socket, bridge and table; everything is gone afterwards."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from engine.config import instance_name
from engine.networks.links import bridge_mac

READY_TIMEOUT_S = 30.0
EXPECTED_LOG = ("there is no group portside",)
"""What any engine of a test may warn of: the set-up makes the group, tests do not."""
_LOG_LINE = re.compile(r"(DEBUG|INFO|WARNING|ERROR|CRITICAL) ")
DOCKER = shutil.which("docker") or "/usr/bin/docker"


class EngineProcess:
    """A portsided under ``folder``. Use it as a context manager.

    ``docker`` runs the stock command line against it, ``api`` speaks HTTP to it, ``kill`` is kill -9 and
    ``start`` starts it again on the same folders. Leaving the context removes every container, mount,
    namespace, control group, bridge and table of its.
    """

    def __init__(self, folder: Path, *arguments: str, settings: dict[str, Any] | None = None) -> None:
        """Nothing runs before ``start``."""
        self.folder = folder
        self.data_root = folder / "data"
        self.exec_root = folder / "exec"
        self.socket = folder / "s.sock"
        self.log = folder / "engine.log"
        self._settings = folder / "daemon.json"
        self._settings.write_text(json.dumps(settings or {}))
        self._arguments = arguments
        self._expected = [re.compile(pattern) for pattern in EXPECTED_LOG]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> EngineProcess:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop it and clean up."""
        try:
            self.clean()
        finally:
            self.remove_leftovers()

    @property
    def pid(self) -> int:
        """The engine's process ID."""
        if self._process is None:
            raise RuntimeError("the engine is not started")
        return self._process.pid

    @property
    def url(self) -> str:
        """The address for ``docker -H``."""
        return f"unix://{self.socket}"

    @property
    def instance(self) -> str:
        """The name of its table and its parent control group."""
        return instance_name(self.data_root)

    def expect_log(self, pattern: str) -> None:
        """Say that a test provokes a warning; any other one in the log fails it (tests/conftest.py)."""
        self._expected.append(re.compile(pattern))

    def unexpected_log(self) -> list[str]:
        """Return the warnings and errors in the log that no test expected, with what follows each."""
        found: list[str] = []
        is_kept = False
        for line in self.log.read_text(errors="replace").splitlines():
            if _LOG_LINE.match(line):
                is_kept = not line.startswith(("DEBUG", "INFO")) and not any(one.search(line) for one in self._expected)
            if is_kept:
                found.append(line)
        return found

    def start(self) -> None:
        """Start the engine and wait until it answers; raises RuntimeError with its log when it does not."""
        command = [sys.executable, "-m", "engine", "-H", self.url, "--data-root", str(self.data_root)]
        command += ["--exec-root", str(self.exec_root), "--config-file", str(self._settings), *self._arguments]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"the engine ended with {self._process.returncode}:\n{self.log.read_text()}")
            if self._answers():
                return
            time.sleep(0.01)
        raise RuntimeError(f"the engine does not answer:\n{self.log.read_text()}")

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(5)
            try:
                probe.connect(str(self.socket))
                probe.sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                return probe.recv(100).startswith(b"HTTP/1.1 200")
            except OSError:
                return False

    def kill(self) -> None:
        """End it as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to stop and return its exit code."""
        if self._process is None:
            return 0
        self._process.send_signal(number)
        return self._process.wait(20)

    def docker(
        self, *words: str, stdin: bytes | None = None, check: bool = True, timeout_s: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run the stock ``docker`` command line against it."""
        environment = {**os.environ, "DOCKER_HOST": self.url, "DOCKER_CONFIG": str(self.folder / "docker")}
        done = subprocess.run(
            [DOCKER, *words], input=stdin, capture_output=True, timeout=timeout_s, env=environment, check=False
        )
        result = subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        )
        if check and result.returncode:
            raise AssertionError(f"docker {' '.join(words)} ended with {result.returncode}: {result.stderr}")
        return result

    def api(self, method: str, path: str, body: object = None, timeout_s: float = 60) -> tuple[int, Any]:
        """Send one request; return its status and its JSON (or text) body."""
        data = json.dumps(body).encode() if body is not None else b""
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(data)}\r\n"
        head += "Content-Type: application/json\r\n\r\n"
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout_s)
            connection.connect(str(self.socket))
            connection.sendall(head.encode() + data)
            received = bytearray()
            while block := connection.recv(65536):
                received += block
        headers, _, content = bytes(received).partition(b"\r\n\r\n")
        status = int(headers.split(b" ", 2)[1])
        if b"transfer-encoding: chunked" in headers.lower():
            content = _dechunk(content)
        try:
            return status, json.loads(content)
        except ValueError:
            return status, content.decode(errors="replace")

    def load_busybox(self, name: str = "busybox:latest") -> None:
        """Give it an image made of busybox-static."""
        from tests.fakes.images import busybox_rootfs_tar

        self.docker("import", "-c", 'CMD ["sh"]', "-", name, stdin=busybox_rootfs_tar())

    def clean(self) -> None:
        """Remove all containers, then stop."""
        if self._process is None or self._process.poll() is not None:
            return
        _, containers = self.api("GET", "/containers/json?all=1")
        for item in containers:
            self.api("DELETE", f"/containers/{item['Id']}?force=1&v=1")
        self.stop()

    def remove_leftovers(self) -> None:
        """Take away what is left when an engine was killed or failed to clean up."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        bridge = "psd-" + self.instance.removeprefix("portside-")
        for command in (
            ["nft", "delete", "table", "inet", self.instance],
            ["nft", "delete", "table", "ip", self.instance],
            *(["ip", "link", "delete", name] for name in {bridge, *self.bridges()}),
        ):
            subprocess.run(command, capture_output=True, check=False)
        for _ in range(3):
            for point in self.mounts():
                subprocess.run(["umount", "-l", point], capture_output=True, check=False)
        for group in self.cgroups():
            shutil.rmtree(group, ignore_errors=True)
            for path in sorted(Path(group).rglob("*"), reverse=True):
                if path.is_dir():
                    _try_rmdir(path)
            _try_rmdir(Path(group))

    def bridges(self) -> list[str]:
        """Return the bridges that it made."""
        shown = subprocess.run(["ip", "-j", "link", "show", "type", "bridge"], capture_output=True, check=False).stdout
        links = json.loads(shown or b"[]")
        return [link["ifname"] for link in links if link.get("address") == bridge_mac(self.instance, link["ifname"])]

    def mounts(self) -> list[str]:
        """Return the mount points beneath its folder, deepest first."""
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        found = [line.split()[4] for line in lines]
        return [point for point in reversed(found) if point.startswith(f"{self.folder}/")]

    def cgroups(self) -> list[str]:
        """Return its control groups."""
        return [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/{self.instance}")] + [
            str(path) for path in Path("/sys/fs/cgroup").glob(self.instance)
        ]

    def processes(self) -> list[int]:
        """Return the processes that were started for it: conmon, helpers, those in its control groups."""
        found: set[int] = set()
        needle = str(self.folder).encode()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                command = (entry / "cmdline").read_bytes()
                group = (entry / "cgroup").read_text()
            except OSError:
                continue
            is_ours = needle in command and (b"conmon" in command or b"engine" in command or b"holder" in command)
            if is_ours or f"/{self.instance}/" in group:
                found.add(int(entry.name))
        return sorted(found)


def _dechunk(data: bytes) -> bytes:
    content = bytearray()
    while data:
        head, _, rest = data.partition(b"\r\n")
        size = int(head.split(b";")[0] or b"0", 16)
        if not size:
            break
        content += rest[:size]
        data = rest[size + 2 :]
    return bytes(content)


def _try_rmdir(path: Path) -> None:
    try:
        path.rmdir()
    except OSError:
        return
