"""The ports of EXPOSE, as Docker reads them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from engine.build.dockerfile.errors import DockerfileError

_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(\w+))?", re.ASCII)
_LAST = 65535


def parse_ports(words: Iterable[str]) -> list[str]:
    """Return ``port/protocol`` of words such as ``80``, ``8000-8002/tcp``; raises DockerfileError with moby's texts."""
    found: list[str] = []
    for word in words:
        match = _PORT.fullmatch(word.rpartition(":")[2])
        if match is None or int(match[2] or match[1]) > _LAST:
            raise DockerfileError(f"invalid containerPort: {word}")
        protocol = (match[3] or "tcp").lower()
        if protocol not in ("tcp", "udp", "sctp"):
            raise DockerfileError(f"invalid proto: {match[3]}")
        first, last = int(match[1]), int(match[2] or match[1])
        if first > last:
            raise DockerfileError(f"invalid range specified for port: {word}")
        found += [f"{port}/{protocol}" for port in range(first, last + 1)]
    return found
