"""Debian's docker-registry with small images under Docker Hub's names, as a mirror for tests that pull from there.

There is no Internet: ``alpine``, ``busybox`` and the others are all made of busybox-static.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import signal
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.fakes.images import add_file, busybox_rootfs_tar, image_archive

READY_TIMEOUT_S = 30.0
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Mirror:
    """A running registry."""

    host: str

    @property
    def settings(self) -> dict[str, object]:
        """What an engine's daemon.json needs to use it."""
        return {"registry-mirrors": [f"http://{self.host}"], "insecure-registries": [self.host]}


def small_image(name: str, command: list[str]) -> bytes:
    """Return a Docker archive of a small image; each name gets a layer of its own above busybox."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        folder = tarfile.TarInfo("var/opt")  # what tests expect of Alpine: this folder, the user postgres
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(folder)
        add_file(archive, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\npostgres:x:70:70::/var/lib:/bin/sh\n")
        add_file(archive, "etc/made-for", name.encode())
    return image_archive([busybox_rootfs_tar(), output.getvalue()], [name], {"Cmd": command, "Env": [PATH]})


@contextlib.contextmanager
def run_registry(folder: Path, namespaces_of: int | None = None, port: int = 0) -> Iterator[Mirror]:
    """Run docker-registry on the loopback; ``namespaces_of`` is a process whose network it runs in."""
    folder.mkdir(parents=True, exist_ok=True)
    port = port or _free_port()
    settings = folder / "registry.yml"
    settings.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}/blobs}}, "
        f"delete: {{enabled: true}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n"
    )
    words = ["docker-registry", "serve", str(settings)]
    if namespaces_of is not None:
        words = ["nsenter", "-t", str(namespaces_of), "-n", *words]
    with (folder / "registry.log").open("ab") as log:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while namespaces_of is None and not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"docker-registry does not answer: {(folder / 'registry.log').read_text()}")
            time.sleep(0.02)
        yield Mirror(f"127.0.0.1:{port}")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def fill(mirror: Mirror, folder: Path, names: Iterable[str]) -> None:
    """Push small images under Docker Hub's names (``alpine:3.10``) into a registry, by skopeo."""
    archive = folder / "image.tar"
    for name in names:
        archive.write_bytes(small_image(name, ["/hello"] if name.startswith("hello-world") else ["/bin/sh"]))
        target = f"docker://{mirror.host}/library/{name}"
        command = ["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", f"docker-archive:{archive}"]
        subprocess.run([*command, target], check=True, stdout=subprocess.DEVNULL)
    archive.unlink()


def why_not() -> str:
    """Return which program is missing; empty when it can run."""
    missing = [name for name in ("docker-registry", "skopeo") if shutil.which(name) is None]
    return f"{' and '.join(missing)} not installed" if missing else ""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
