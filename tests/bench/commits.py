"""Images made of containers and sent away: ``docker commit`` and ``docker push`` of 450 MB."""

from __future__ import annotations

import io
import random
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.cases import Result, in_turns, timed
from tests.bench.sides import Side
from tests.debian_registry import DebianRegistry

_FILES = 4_500
_FILE_BYTES = 100_000
_ROUNDS = 3
_NAME = "writer"


def _build_content(target: Path) -> None:
    """Write a tar of 450 MB: texts, and programs that compress little."""
    chance = random.Random(20260102)
    words = [chance.randbytes(chance.randint(2, 9)).hex() for _ in range(3000)]
    text = " ".join(chance.choices(words, k=200_000)).encode()
    with tarfile.open(target, "w") as archive:
        for number in range(_FILES):
            start = chance.randrange(len(text) - _FILE_BYTES)
            noise = int(_FILE_BYTES * chance.random() * 0.5)
            body = chance.randbytes(noise) + text[start : start + _FILE_BYTES - noise]
            entry = tarfile.TarInfo(f"data/d{number % 97}/file{number}")
            entry.size = len(body)
            archive.addfile(entry, io.BytesIO(body))


def _prepare(sides: Sequence[Side]) -> None:
    folder = sides[0].folder.parent / "content"
    folder.mkdir(exist_ok=True)
    if not (folder / "content.tar").exists():
        _build_content(folder / "content.tar")
    for side in sides:
        side.docker("run", "-d", "--name", _NAME, "-v", f"{folder}:/content:ro", "busybox", "sleep", "100000")
        side.docker("exec", _NAME, "tar", "xf", "/content/content.tar", "-C", "/")


def commit(sides: Sequence[Side]) -> list[Result]:
    """Commit of a container that has written 450 MB."""
    _prepare(sides)

    def measure(side: Side) -> float:
        wire = side.wire()
        spent = timed(lambda: wire.call("POST", f"/commit?container={_NAME}&repo=made&tag=1"))
        wire.call("DELETE", "/images/made:1")
        wire.close()
        return spent

    try:
        figures = in_turns(sides, _ROUNDS, measure)
    finally:
        for side in sides:
            side.docker("rm", "-f", "-v", _NAME)
    return [Result("commit of 450 MB", "s", figures, 0.50)]


def push(sides: Sequence[Side]) -> list[Result]:
    """Push of an image with a new layer of 450 MB to a registry on loopback."""
    _prepare(sides)
    number = 0

    def measure(side: Side) -> float:
        nonlocal number
        number += 1
        repository = f"{registry.host}/bench/{side.name}{number}"
        side.docker("exec", _NAME, "sh", "-c", f"echo {time.time_ns()} > /data/stamp")  # a layer that nobody has yet
        wire = side.wire()
        wire.call("POST", f"/commit?container={_NAME}&repo={repository}&tag=1")
        wire.request("POST", f"/images/{repository}/push?tag=1", headers={"X-Registry-Auth": "e30="})
        begun = time.perf_counter()
        answer = wire.getresponse().read()
        spent = time.perf_counter() - begun
        if b'"aux"' not in answer:
            raise RuntimeError(f"{side.name}: push: {answer[-500:]!r}")
        wire.call("DELETE", f"/images/{repository}:1")
        wire.close()
        return spent

    try:
        with DebianRegistry(sides[0].folder.parent / "pushed") as registry:
            figures = in_turns(sides, _ROUNDS, measure, warm=0)
    finally:
        for side in sides:
            side.docker("rm", "-f", "-v", _NAME)
    return [Result("push of 450 MB", "s", figures, 0.40)]
