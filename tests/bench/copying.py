"""``docker cp``: a big file out and in, and a folder of many small ones."""

from __future__ import annotations

import itertools
import random
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tests.bench.cases import Result, in_turns
from tests.bench.sides import Side

_BIG_BYTES = 300_000_000
_SMALL_FILES = 20_000
_FOLDERS = 100
_CONTAINER = "host-of-copies"


def copy_files(sides: Sequence[Side]) -> list[Result]:
    """``docker cp`` of 300 MB out and in, and of 20,000 small files."""
    folder = sides[0].folder.parent / "copies"
    big, small = _make(folder)
    for side in sides:
        side.docker("run", "-d", "--name", _CONTAINER, "busybox", "sleep", "1000")

    # To a new name each time: ext4 is slow to use the inodes of files again that were removed just before.
    numbers = itertools.count()

    def into(source: Path, side: Side) -> float:
        return side.docker("cp", str(source), f"{_CONTAINER}:/copy-{next(numbers)}")

    def out(source: str, side: Side) -> float:
        return side.docker("cp", f"{_CONTAINER}:{source}", str(folder / f"out-{next(numbers)}"))

    for side in sides:
        side.docker("cp", str(big), f"{_CONTAINER}:/big")
        side.docker("cp", str(small), f"{_CONTAINER}:/small")
    big_out = in_turns(sides, 3, partial(out, "/big"))
    big_in = in_turns(sides, 3, partial(into, big))
    small_out = in_turns(sides, 3, partial(out, "/small"))
    small_in = in_turns(sides, 3, partial(into, small))
    for side in sides:
        side.docker("rm", "-f", _CONTAINER)
    shutil.rmtree(folder)
    return [
        Result("docker cp of 300 MB out", "s", big_out, 0.70),
        Result("docker cp of 300 MB in", "s", big_in, 0.70),
        Result("docker cp of 20,000 small files out", "s", small_out, 0.80),
        Result("docker cp of 20,000 small files in", "s", small_in, 0.80),
    ]


def _make(folder: Path) -> tuple[Path, Path]:
    chance = random.Random(20260102)
    big, small = folder / "big", folder / "small"
    small.mkdir(parents=True)
    with big.open("wb") as file:
        for _ in range(_BIG_BYTES // 1_000_000):
            file.write(chance.randbytes(1_000_000))
    for number in range(_SMALL_FILES):
        inner = small / f"folder-{number % _FOLDERS}"
        inner.mkdir(exist_ok=True)
        (inner / f"file-{number}").write_bytes(chance.randbytes(chance.randint(100, 4000)))
    return big, small
