"""Images of the size of a usual one, the same bytes each time, and a registry on loopback that has them."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import random
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any

from isal import igzip

FILES = 13_000
SIZE_BYTES = 530_000_000
PORT = 5000
REPOSITORY = f"127.0.0.1:{PORT}/bench/big"
_RANDOM_SHARE = 0.16  # of the content; makes the layer compress to about 190 MB


def build_layer() -> bytes:
    """Return an uncompressed layer: programs (random bytes) and texts in a tree of folders."""
    chance = random.Random(20260101)
    words = [chance.randbytes(chance.randint(2, 9)).hex() for _ in range(3000)]
    phrases = [" ".join(chance.choices(words, k=6)) for _ in range(200)]
    text = "\n".join(chance.choices(phrases, k=60_000)).encode()
    weights = [chance.lognormvariate(0, 1.3) for _ in range(FILES)]
    scale = SIZE_BYTES / sum(weights)
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for number, weight in enumerate(weights):
            size = int(weight * scale)
            noise = int(size * _RANDOM_SHARE)
            start = chance.randrange(len(text) - 1)
            body = (text[start:] + text * (size // len(text) + 1))[: size - noise]
            entry = tarfile.TarInfo(f"usr/share/p{number % 97}/d{number % 13}/file{number}")
            entry.size = size
            archive.addfile(entry, io.BytesIO(chance.randbytes(noise) + body))
    return output.getvalue()


def marked(layer: bytes, number: int) -> bytes:
    """Return the layer with one small file more in front, so that it is another layer."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.GNU_FORMAT) as archive:
        mark = tarfile.TarInfo("mark")
        mark.size = 1
        archive.addfile(mark, io.BytesIO(b"%d" % (number % 10)))
        end = archive.offset
    return output.getvalue()[:end] + layer


class Registry:
    """Debian's docker-registry with some images in it, tagged 1, 2 and so on, which share nothing."""

    def __init__(self, folder: Path, images: int = 1) -> None:
        """Start it and fill it."""
        settings = folder / "registry.yml"
        settings.write_text(
            f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}/registry}}}}\n"
            f"http: {{addr: '127.0.0.1:{PORT}'}}\n"
        )
        self._process = subprocess.Popen(
            ["docker-registry", "serve", str(settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(200):
            try:
                self._send("GET", "/v2/")
                break
            except OSError:
                time.sleep(0.05)
        layer = build_layer()
        for number in range(1, images + 1):
            self._fill(marked(layer, number), str(number))

    def _fill(self, layer: bytes, tag: str) -> None:
        packed = igzip.compress(layer, compresslevel=2)
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
                "history": [{"created_by": "bench"}],
            }
        ).encode()
        self.packed_bytes, self.layer_bytes = len(packed), len(layer)
        media_type = "application/vnd.docker.distribution.manifest.v2+json"
        manifest = {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": self._put(config, "application/vnd.docker.container.image.v1+json"),
            "layers": [self._put(packed, "application/vnd.docker.image.rootfs.diff.tar.gzip")],
        }
        body = json.dumps(manifest).encode()
        self._send("PUT", f"/v2/bench/big/manifests/{tag}", body, {"Content-Type": media_type})

    def _put(self, blob: bytes, media_type: str) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
        place = self._send("POST", "/v2/bench/big/blobs/uploads/", b"").headers["Location"]
        path = place.split(f":{PORT}", 1)[1]
        self._send("PUT", f"{path}&digest={digest}", blob, {"Content-Type": "application/octet-stream"})
        return {"mediaType": media_type, "size": len(blob), "digest": digest}

    def _send(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        content = response.read()
        if response.status >= http.client.BAD_REQUEST:
            raise RuntimeError(f"registry: {method} {path}: {response.status} {content[:300]!r}")
        return response

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(10)
