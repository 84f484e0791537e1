"""The images that are pulled: 2 MB each that compress badly and tell damage, in a registry's folder."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
import time
from pathlib import Path

from tests.fakes.images import add_file, busybox_rootfs_tar, image_archive

SIZE_BYTES = 2 << 20
IMAGES_A_ROUND = 5
_ADDRESS = "127.0.0.1:5006"


def layer(seed: str) -> bytes:
    """Return a layer's tar with /payload."""
    block = b"".join(hashlib.sha256(f"{seed} {number}".encode()).digest() for number in range(4096))
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        add_file(archive, "payload", (block * (SIZE_BYTES // len(block) + 1))[:SIZE_BYTES])
    return output.getvalue()


def registry_config(storage: Path, address: str) -> str:
    """Return the configuration of a docker-registry."""
    return (
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {storage}}}}}\nhttp: {{addr: '{address}'}}\n"
        "log: {level: error, accesslog: {disabled: true}}\n"
    )


def fill_registry(storage: Path, rounds: int) -> None:
    """Put the images of all rounds into a registry's folder, on the host."""
    storage.mkdir(parents=True, exist_ok=True)
    config = storage.parent / "registry.yml"
    config.write_text(registry_config(storage, _ADDRESS))
    server = subprocess.Popen(
        ["docker-registry", "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        time.sleep(1)
        archive = storage.parent / "image.tar"
        for number in range(rounds):
            for count in range(IMAGES_A_ROUND):
                tag = f"r{number}-{count}"
                archive.write_bytes(image_archive([busybox_rootfs_tar(), layer(tag)], [f"payload:{tag}"]))
                words = ["skopeo", "copy", "-q", "--insecure-policy", "--dest-tls-verify=false"]
                target = f"docker://{_ADDRESS}/payload:{tag}"
                subprocess.run([*words, f"docker-archive:{archive}", target], check=True)
        archive.unlink()
    finally:
        server.terminate()
        server.wait(10)
