"""Real engines for the client's contract: dockerd, podman's service and our own, each private to the test run.

Each one lives in a temporary folder with its own data, socket and no network, has the image ``busybox``, and is
ended by its process ID. One that is not installed is skipped with its reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine.client import EngineClient
from engine.errors import PortsideError

BUSYBOX = Path("/usr/bin/busybox")
START_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class RealEngine:
    """A running engine: its kind and its endpoint."""

    kind: str
    endpoint: str


def busybox_archive() -> bytes:
    """Return a root file system of busybox and its applets as a tar."""
    applets = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for folder in ("bin", "etc", "tmp", "root"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            archive.addfile(entry)
        archive.add(BUSYBOX, "bin/busybox")
        for applet in applets:
            if applet != "busybox":
                entry = tarfile.TarInfo(f"bin/{applet}")
                entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
                archive.addfile(entry)
        for name, text in (("passwd", "root:x:0:0:root:/root:/bin/sh\n"), ("group", "root:x:0:\n")):
            entry = tarfile.TarInfo(f"etc/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


async def _import_busybox(endpoint: str) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield busybox_archive()

    deadline = time.monotonic() + START_TIMEOUT_S
    async with EngineClient(endpoint) as client:
        while True:
            try:
                await client.system.ping()
                break
            except PortsideError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.05)
        changes = ['CMD ["sh"]', "ENV PATH=/bin"]
        async for _ in client.images.import_(body(), repo="busybox", tag="latest", changes=changes):
            pass


def _skip_unless(*programs: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if not BUSYBOX.exists():
        pytest.skip("needs busybox-static")
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")


@contextlib.contextmanager
def _process(arguments: list[str], log: Path, environment: dict[str, str] | None = None) -> Iterator[None]:
    """Run a daemon and end it; what it wrote is in ``log``."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            arguments, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env={**os.environ, **(environment or {})}
        )
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            unmount_below(log.parent)


def unmount_below(folder: Path) -> None:
    """Unmount what a daemon left mounted: podman its store, dockerd its network namespaces."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    points = [line.split(" ")[4] for line in lines]
    for point in reversed([point for point in points if point.startswith(f"{folder}/")]):
        subprocess.run(["umount", "-l", point], check=False)


@contextlib.contextmanager
def run_dockerd(folder: Path) -> Iterator[RealEngine]:
    """Run a private dockerd without networks."""
    _skip_unless("dockerd", "containerd")
    endpoint = f"unix://{folder}/docker.sock"
    arguments = [
        "dockerd", "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid",
        "-H", endpoint, "--iptables=false", "--bridge=none",
    ]  # fmt: skip
    with _process(arguments, folder / "log"):
        asyncio.run(_import_busybox(endpoint))
        yield RealEngine("dockerd", endpoint)


@contextlib.contextmanager
def run_podman(folder: Path) -> Iterator[RealEngine]:
    """Run a private podman service; limits stay below what a host without CAP_SYS_RESOURCE allows."""
    _skip_unless("podman")
    endpoint = f"unix://{folder}/podman.sock"
    settings = folder / "containers.conf"
    limits = '["nofile=1024:1024","nproc=1024:1024"]'
    settings.write_text(f'[containers]\ndefault_ulimits={limits}\n[engine]\nruntime="runc"\n')
    arguments = [
        "podman",
        "--root",
        f"{folder}/root",
        "--runroot",
        f"{folder}/run",
        "system",
        "service",
        "-t",
        "0",
        endpoint,
    ]
    with _process(arguments, folder / "log", {"CONTAINERS_CONF": str(settings)}):
        asyncio.run(_import_busybox(endpoint))
        yield RealEngine("podman", endpoint)


@contextlib.contextmanager
def run_portside(folder: Path) -> Iterator[RealEngine]:
    """Run our own engine from this source tree."""
    _skip_unless("crun", "conmon")
    # Sockets and helpers of the engine live below, and a path of a socket ends at 107 bytes.
    endpoint = f"unix://{folder}/e.sock"
    settings = folder / "daemon.json"
    settings.write_text("{}")
    arguments = [
        sys.executable, "-m", "engine", "--host", endpoint, "--data-root", f"{folder}/data",
        "--exec-root", f"{folder}/exec", "--config-file", str(settings),
    ]  # fmt: skip
    with _process(arguments, folder / "log"):
        asyncio.run(_import_busybox(endpoint))
        yield RealEngine("portside", endpoint)


@contextlib.contextmanager
def run_default(folder: Path) -> Iterator[RealEngine]:
    """Run the engine that the command line's own tests use."""
    with run_portside(folder) as running:
        yield running
