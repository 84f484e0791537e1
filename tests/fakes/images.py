"""Small images for tests, made of Debian's busybox-static.

``python -m tests.fakes.images OUT.tar [name:tag]`` writes one as a Docker archive.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
from functools import cache
from pathlib import Path
from typing import Any

BUSYBOX = Path("/bin/busybox")
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
}


@cache
def busybox_rootfs_tar() -> bytes:
    """Return a tar of a root file system with busybox and its commands."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for name, mode in (("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("tmp", 0o1777), ("var", 0o755)):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, mode
            archive.addfile(folder)
        add_file(archive, "bin/busybox", BUSYBOX.read_bytes(), 0o755)
        listed = subprocess.run([str(BUSYBOX), "--list"], capture_output=True, text=True, check=True).stdout
        for command in listed.split():
            if command != "busybox":
                link = tarfile.TarInfo(f"bin/{command}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                archive.addfile(link)
        for name, text in _FILES.items():
            add_file(archive, name, text.encode())
    return output.getvalue()


def add_file(archive: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    """Add a regular file to an archive."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), mode
    archive.addfile(info, io.BytesIO(data))


def image_archive(layers: list[bytes], tags: list[str], config: dict[str, Any] | None = None) -> bytes:
    """Return a Docker archive (``docker save``'s older form) of one image with these layer tars, lowest first."""
    diff_ids = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    file = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2026-01-01T00:00:00Z",
        "config": {"Cmd": ["sh"], "Env": ["PATH=/bin:/sbin:/usr/bin"], **(config or {})},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [
            {"created": "2026-01-01T00:00:00Z", "created_by": f"layer {number}"} for number in range(len(layers))
        ],
    }
    data = json.dumps(file).encode()
    name = hashlib.sha256(data).hexdigest()
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        add_file(archive, f"{name}.json", data)
        paths = []
        for layer, diff_id in zip(layers, diff_ids, strict=True):
            paths.append(f"{diff_id.removeprefix('sha256:')}/layer.tar")
            add_file(archive, paths[-1], layer)
        manifest = [{"Config": f"{name}.json", "RepoTags": tags, "Layers": paths}]
        add_file(archive, "manifest.json", json.dumps(manifest).encode())
    return output.getvalue()


def busybox_archive(*tags: str) -> bytes:
    """Return a Docker archive of an image made of busybox."""
    return image_archive([busybox_rootfs_tar()], list(tags) or ["busybox:latest"])


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(busybox_archive(*sys.argv[2:]))
