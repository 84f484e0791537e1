"""The layer that pulled images have: 4 MB that compress badly and tell damage."""

from __future__ import annotations

import hashlib
import io
import tarfile

from tests.fakes.images import add_file

SIZE_BYTES = 4 << 20


def layer(seed: str) -> bytes:
    """Return a layer's tar with /payload."""
    block = b"".join(hashlib.sha256(f"{seed} {number}".encode()).digest() for number in range(4096))
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        add_file(archive, "payload", (block * (SIZE_BYTES // len(block) + 1))[:SIZE_BYTES])
    return output.getvalue()
