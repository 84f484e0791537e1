"""User-defined networks: made and removed, and a container on three of them started."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tests.bench.cases import Result, in_turns
from tests.bench.sides import Side

_NAMES = ("alpha", "beta", "gamma")


def network(sides: Sequence[Side]) -> list[Result]:
    """Create and remove a network."""
    wires = {side.name: side.wire() for side in sides}

    def cycle(side: Side) -> float:
        wire = wires[side.name]
        begun = time.perf_counter()
        made = wire.call("POST", "/networks/create", {"Name": "bench", "CheckDuplicate": True})["Id"]
        wire.call("DELETE", f"/networks/{made}")
        return time.perf_counter() - begun

    found = in_turns(sides, 15, cycle, warm=2)
    return [Result("network create, remove", "ms", {name: value * 1000 for name, value in found.items()}, 0.50)]


def three_networks(sides: Sequence[Side]) -> list[Result]:
    """Start a container that is on three networks."""
    wires = {side.name: side.wire() for side in sides}
    for wire in wires.values():
        for name in _NAMES:
            wire.call("POST", "/networks/create", {"Name": name, "CheckDuplicate": True})

    def start(side: Side) -> float:
        wire = wires[side.name]
        # dockerd 20.10 takes but one network at creation
        body = {"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": _NAMES[0]}}
        container = wire.call("POST", "/containers/create", body)["Id"]
        for name in _NAMES[1:]:
            wire.call("POST", f"/networks/{name}/connect", {"Container": container})
        begun = time.perf_counter()
        wire.call("POST", f"/containers/{container}/start")
        spent = time.perf_counter() - begun
        wire.call("DELETE", f"/containers/{container}?force=1")
        return spent

    found = in_turns(sides, 10, start, warm=2)
    for wire in wires.values():
        for name in _NAMES:
            wire.call("DELETE", f"/networks/{name}")
    figures = {name: value * 1000 for name, value in found.items()}
    return [Result("a container on three networks, started", "ms", figures, 0.40)]
