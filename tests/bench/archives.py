"""``docker save`` and ``docker load`` of a big image."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tests.bench.bigimage import build_layer, marked
from tests.bench.cases import Result, in_turns
from tests.bench.sides import Side
from tests.fakes.images import image_archive

_ROUNDS = 3


def save_load(sides: Sequence[Side]) -> list[Result]:
    """``docker load`` and ``docker save`` of 530 MB, uncompressed; another image each time (see ``pull``)."""
    folder = sides[0].folder.parent / "archives"
    folder.mkdir()
    layer = build_layer()
    for number in range(_ROUNDS):
        archive = image_archive([marked(layer, number)], [f"bench/archive:{number}"])
        (folder / f"{number}.tar").write_bytes(archive)
    loaded = {side.name: 0 for side in sides}
    saved = {side.name: 0 for side in sides}

    def load(side: Side) -> float:
        loaded[side.name] += 1
        os.sync()
        return side.docker("load", "-i", str(folder / f"{loaded[side.name] - 1}.tar"))

    def save(side: Side) -> float:
        saved[side.name] += 1
        os.sync()
        out = folder / f"{side.name}-{saved[side.name]}.tar"
        return side.docker("save", "-o", str(out), f"bench/archive:{saved[side.name] - 1}")

    loads = in_turns(sides, _ROUNDS, load, warm=0)
    saves = in_turns(sides, _ROUNDS, save, warm=0)
    for side in sides:
        side.docker("rmi", *(f"bench/archive:{number}" for number in range(_ROUNDS)))
    size = f"{len(layer) / 1e6:.0f} MB"
    return [Result(f"docker load of {size}", "s", loads, 0.60), Result(f"docker save of {size}", "s", saves, 0.60)]
