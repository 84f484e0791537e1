"""The engines that are compared, each with folders and a socket of its own.

The processes that count as an engine's are told by their names, since both run in a process namespace that
has nothing else in it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.bench.wire import Wire

READY_TIMEOUT_S = 60.0


class Side:
    """An engine under ``folder``; subclasses say its command line and its processes' names."""

    name = ""
    process_names: tuple[str, ...] = ()

    def __init__(self, folder: Path) -> None:
        """Nothing runs before ``start``."""
        folder.mkdir(parents=True)
        self.folder = folder
        self.socket = str(folder / "engine.sock")
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """Return what starts the engine."""
        raise NotImplementedError

    def start(self) -> float:
        """Start the engine; return the seconds until it answered."""
        with (self.folder / "log").open("ab") as log:
            begun = time.perf_counter()
            self._process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        while time.perf_counter() - begun < READY_TIMEOUT_S:
            with contextlib.suppress(OSError):
                wire = Wire(self.socket)
                wire.call("GET", "/_ping")
                wire.close()
                return time.perf_counter() - begun
            if self._process.poll() is not None:
                break
            time.sleep(0.002)
        raise RuntimeError(f"{self.name} does not answer:\n{(self.folder / 'log').read_text()[-3000:]}")

    def stop(self) -> None:
        """Stop the engine in order."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(60)
            self._process = None

    def wire(self) -> Wire:
        """Return a new connection."""
        return Wire(self.socket)

    def docker(self, *words: str) -> float:
        """Run the docker command line; return its seconds. Raises RuntimeError when it fails."""
        begun = time.perf_counter()
        done = subprocess.run(
            [shutil.which("docker") or "docker", "-H", f"unix://{self.socket}", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=600,
            check=False,
        )
        spent = time.perf_counter() - begun
        if done.returncode:
            raise RuntimeError(f"{self.name}: docker {' '.join(words)}: {done.stderr.decode()}")
        return spent

    def pss_mib(self) -> float:
        """Return the proportional memory of the engine and all its helpers, without the containers' programs."""
        total_kib = 0
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if any(name in command for name in self.process_names):
                    rollup = (entry / "smaps_rollup").read_text()
                    total_kib += int(rollup.split("\nPss:")[1].split()[0])
            except (OSError, IndexError):
                continue
        return total_kib / 1024

    def cpu_seconds(self) -> float:
        """Return the CPU time of the engine and all its helpers until now, without the containers' programs."""
        ticks = 0
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if any(name in command for name in self.process_names):
                    ticks += sum(map(int, (entry / "stat").read_text().rpartition(")")[2].split()[11:13]))
            except OSError:
                continue
        return ticks / os.sysconf("SC_CLK_TCK")


class Portside(Side):
    """Our engine, out of this checkout."""

    name = "portside"
    process_names = ("-m engine", "conmon ", "portholder", "networks/resolver.py", "engine/images/untar")

    def command(self) -> list[str]:
        """Return what starts portsided."""
        settings = self.folder / "daemon.json"
        settings.write_text("{}")
        return [
            sys.executable, "-m", "engine", "-H", f"unix://{self.socket}", "--config-file", str(settings),
            "--data-root", str(self.folder / "data"),
            "--exec-root", str(self.folder / "exec"),
        ]  # fmt: skip


class Dockerd(Side):
    """Debian's dockerd, which starts a containerd of its own."""

    name = "dockerd"
    process_names = ("dockerd ", "containerd ", "containerd-shim", "docker-proxy")

    def command(self) -> list[str]:
        """Return what starts dockerd."""
        settings = self.folder / "daemon.json"
        settings.write_text("{}")
        return [
            "dockerd", "-H", f"unix://{self.socket}", "--config-file", str(settings),
            "--pidfile", str(self.folder / "pid"), "--data-root", str(self.folder / "data"),
            "--exec-root", str(self.folder / "exec"),
        ]  # fmt: skip
