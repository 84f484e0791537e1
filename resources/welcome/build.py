"""Builds the welcome image as a Docker archive: a static busybox, a text and a page.

``python3 build.py BUSYBOX REVISION OUT``. Needs nothing beside Python: it runs before anything of ours is
installed. The same inputs give the same bytes, so the same image ID.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import subprocess
import sys
import tarfile
from pathlib import Path

HERE = Path(__file__).parent
TAG = "portside/welcome:latest"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_FOLDERS = (("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("tmp", 0o1777), ("www", 0o755))
_USERS = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
_GROUPS = b"root:x:0:\nnogroup:x:65534:\n"


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))


def build_layer(busybox: Path) -> bytes:
    """Return the image's only layer as a tar."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for name, mode in _FOLDERS:
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, mode
            archive.addfile(folder)
        _add(archive, "bin/busybox", busybox.read_bytes(), 0o755)
        listed = subprocess.run([str(busybox), "--list"], capture_output=True, text=True, check=True)
        for command in sorted(set(listed.stdout.split()) - {"busybox"}):
            link = tarfile.TarInfo(f"bin/{command}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
        _add(archive, "bin/welcome", (HERE / "welcome.sh").read_bytes(), 0o755)
        _add(archive, "www/index.html", (HERE / "index.html").read_bytes())
        _add(archive, "etc/passwd", _USERS)
        _add(archive, "etc/group", _GROUPS)
    return output.getvalue()


def build_archive(layer: bytes, revision: str) -> bytes:
    """Return a Docker archive with the image; ``revision`` becomes its label."""
    config = json.dumps(
        {
            "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "created": "2026-01-01T00:00:00Z",
            "config": {
                "Entrypoint": ["/bin/welcome"],
                "Env": ["PATH=/bin"],
                "ExposedPorts": {"80/tcp": {}},
                "Labels": {"org.opencontainers.image.revision": revision},
            },
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
            "history": [{"created": "2026-01-01T00:00:00Z", "created_by": "resources/welcome/build.py"}],
        },
        sort_keys=True,
    ).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": name, "RepoTags": [TAG], "Layers": ["layer.tar"]}]).encode()
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        _add(archive, "manifest.json", manifest)
        _add(archive, name, config)
        _add(archive, "layer.tar", layer)
    return output.getvalue()


if __name__ == "__main__":
    Path(sys.argv[3]).write_bytes(build_archive(build_layer(Path(sys.argv[1])), sys.argv[2]))
