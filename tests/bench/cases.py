"""What is measured. Each case measures the sides in turns and returns the median of each, in its own unit."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from tests.bench.bigimage import REPOSITORY, Registry
from tests.bench.builds import builds, many_steps, one_changed_file
from tests.bench.names import names
from tests.bench.sides import Side

Figures = dict[str, float]
"""The median of each side, by its name."""

_BURST = 50
_LOG_BYTES = 200_000_000
_STORED = 300
_LISTED = 1000
_PULLS = 3


@dataclass(frozen=True)
class Result:
    """A line of the table. ``limit`` bounds ours divided by dockerd's, ``absolute`` ours alone.

    With a ``baseline`` ours is divided by that, a figure of our own, and dockerd's is not needed.
    """

    what: str
    unit: str
    figures: Figures
    limit: float
    absolute: float | None = None
    baseline: float | None = None


def in_turns(sides: Sequence[Side], rounds: int, measure: Callable[[Side], float], warm: int = 1) -> Figures:
    """Measure each side once a round; the first ``warm`` rounds do not count."""
    taken: dict[str, list[float]] = {side.name: [] for side in sides}
    for number in range(warm + rounds):
        for side in sides if number % 2 else reversed(sides):
            spent = measure(side)
            if number >= warm:
                taken[side.name].append(spent)
    return {name: statistics.median(values) for name, values in taken.items()}


def timed(work: Callable[[], object]) -> float:
    """Return the seconds of a piece of work."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _ms(figures: Figures) -> Figures:
    return {name: value * 1000 for name, value in figures.items()}


def _create(side: Side, *command: str, name: str = "") -> str:
    wire = side.wire()
    made = wire.call(
        "POST", f"/containers/create{f'?name={name}' if name else ''}", {"Image": "busybox", "Cmd": command}
    )
    wire.close()
    return str(made["Id"])


def run_command(sides: Sequence[Side]) -> list[Result]:
    """``docker run --rm busybox true``, without and with a published port."""
    plain = in_turns(sides, 15, lambda side: side.docker("run", "--rm", "busybox", "true"), warm=3)
    ports = in_turns(sides, 10, lambda side: side.docker("run", "--rm", "-p", "18080:80", "busybox", "true"))
    return [
        Result("docker run --rm busybox true", "ms", _ms(plain), 0.30),
        Result("the same with -p", "ms", _ms(ports), 0.30),
    ]


def raw_cycle(sides: Sequence[Side]) -> list[Result]:
    """Create, start, wait, remove by the raw API on a kept connection."""

    def cycle(side: Side) -> float:
        wire = wires[side.name]
        begun = time.perf_counter()
        container = wire.call("POST", "/containers/create", {"Image": "busybox", "Cmd": ["true"]})["Id"]
        wire.call("POST", f"/containers/{container}/start")
        wire.call("POST", f"/containers/{container}/wait")
        wire.call("DELETE", f"/containers/{container}")
        return time.perf_counter() - begun

    wires = {side.name: side.wire() for side in sides}
    return [Result("create, start, wait, remove", "ms", _ms(in_turns(sides, 20, cycle, warm=3)), 0.20)]


def burst(sides: Sequence[Side]) -> list[Result]:
    """50 containers created and started at once, then removed at once."""
    removals: dict[str, list[float]] = {side.name: [] for side in sides}

    def start_one(side: Side) -> str:
        container = _create(side, "sleep", "1000")
        wire = side.wire()
        wire.call("POST", f"/containers/{container}/start")
        wire.close()
        return container

    def remove_one(side: Side, container: str) -> None:
        wire = side.wire()
        wire.call("DELETE", f"/containers/{container}?force=1")
        wire.close()

    def measure(side: Side) -> float:
        with ThreadPoolExecutor(_BURST) as pool:
            begun = time.perf_counter()
            made = list(pool.map(lambda _: start_one(side), range(_BURST)))
            spent = time.perf_counter() - begun
            removals[side.name].append(timed(lambda: list(pool.map(lambda item: remove_one(side, item), made))))
        return spent

    started = in_turns(sides, 3, measure, warm=1)
    removed = {name: statistics.median(values[1:]) for name, values in removals.items()}
    return [
        Result("50 created and started at once", "s", started, 0.15),
        Result("50 removed at once", "s", removed, 0.15),
    ]


def exec_command(sides: Sequence[Side]) -> list[Result]:
    """``docker exec`` of true in a running container."""
    for side in sides:
        side.docker("run", "-d", "--name", "host-of-exec", "busybox", "sleep", "1000")
    figures = in_turns(sides, 15, lambda side: side.docker("exec", "host-of-exec", "true"), warm=2)
    for side in sides:
        side.docker("rm", "-f", "host-of-exec")
    return [Result("docker exec true", "ms", _ms(figures), 0.80)]


def pull(sides: Sequence[Side]) -> list[Result]:
    """Pull of a big image from a registry on loopback.

    Every pull is of another image and nothing is deleted in between: ext4 without a journal hands no inode out
    again for a minute, and looks for another one so slowly that the figures would be about that.
    """
    registry = Registry(sides[0].folder.parent, _PULLS)
    pulled = {side.name: 0 for side in sides}

    def measure(side: Side) -> float:
        pulled[side.name] += 1
        wire = side.wire()
        os.sync()  # what the other side left in memory is not this one's to write
        spent = timed(lambda: wire.call("POST", f"/images/create?fromImage={REPOSITORY}&tag={pulled[side.name]}"))
        wire.close()
        return spent

    try:
        figures = in_turns(sides, _PULLS, measure, warm=0)
    finally:
        registry.close()
    for side in sides:
        side.docker("rmi", *(f"{REPOSITORY}:{number}" for number in range(1, _PULLS + 1)))
    what = f"pull of {registry.packed_bytes / 1e6:.0f} MB gzip ({registry.layer_bytes / 1e6:.0f} MB)"
    return [Result(what, "s", figures, 0.70)]


def save_load(sides: Sequence[Side]) -> list[Result]:
    """``docker load`` and ``docker save`` of a big image."""
    from tests.bench import archives

    return archives.save_load(sides)


def logs(sides: Sequence[Side]) -> list[Result]:
    """``docker logs`` of 200 MB."""
    line = "a line of a log as programs write them, with some eighty characters in all, say"
    for side in sides:
        script = f"yes '{line}' | head -c {_LOG_BYTES}"
        side.docker("run", "--name", "talkative", "--log-driver", "json-file", "busybox", "sh", "-c", script)
    figures = in_turns(sides, 3, lambda side: side.docker("logs", "talkative"), warm=0)
    for side in sides:
        side.docker("rm", "talkative")
    return [Result("docker logs of 200 MB", "s", figures, 0.30)]


def memory(sides: Sequence[Side]) -> list[Result]:
    """Proportional memory of an engine that has been used, then with 50 containers running."""
    for side in sides:
        for _ in range(5):
            side.docker("run", "--rm", "busybox", "true")
    time.sleep(3)  # conmon and the shims of the last containers end
    idle = {side.name: side.pss_mib() for side in sides}
    for side in sides:
        for number in range(_BURST):
            side.docker("run", "-d", "--name", f"m{number}", "busybox", "sleep", "1000")
    time.sleep(2)
    busy = {side.name: side.pss_mib() for side in sides}
    for side in sides:
        side.docker("rm", "-f", *[f"m{number}" for number in range(_BURST)])
    return [Result("memory (PSS) after use", "MiB", idle, 0.60), Result("the same, 50 running", "MiB", busy, 0.45)]


def many(sides: Sequence[Side]) -> list[Result]:
    """Start with 300 containers in the store; a list of 1,000."""
    _fill(sides, 0, _STORED)

    def restart(side: Side) -> float:
        side.stop()
        return side.start()

    ready = in_turns(sides, 5, restart, warm=1)
    _fill(sides, _STORED, _LISTED)
    wires = {side.name: side.wire() for side in sides}
    listed = in_turns(
        sides, 20, lambda side: timed(lambda: wires[side.name].call("GET", "/containers/json?all=1")), warm=2
    )
    return [
        Result("ready after start, 300 in its store", "s", ready, 1.0, absolute=0.50),
        Result("list of 1,000 containers", "ms", _ms(listed), 0.25),
    ]


def _fill(sides: Sequence[Side], low: int, high: int) -> None:
    for side in sides:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(partial(_create_numbered, side), range(low, high)))


def _create_numbered(side: Side, number: int) -> str:
    return _create(side, "true", name=f"c{number}")


def _crowd(name: str) -> Callable[[Sequence[Side]], list[Result]]:
    def run(sides: Sequence[Side]) -> list[Result]:
        from tests.bench import crowd

        found: list[Result] = getattr(crowd, name)(sides)
        return found

    run.__doc__ = {
        "stats": "CPU seconds of an engine while 50 containers' figures are streamed.",
        "list_filters": "A list of 1,000 containers with filters.",
        "thousand": "Start of a container beside 1,000 running ones.",
        "churn": "Memory of the engine after 10,000 containers came and went.",
    }[name]
    return run


def _networks(name: str) -> Callable[[Sequence[Side]], list[Result]]:
    def run(sides: Sequence[Side]) -> list[Result]:
        from tests.bench import ownnetworks

        found: list[Result] = getattr(ownnetworks, name)(sides)
        return found

    run.__doc__ = {
        "network": "Create and remove a network.",
        "three_networks": "Start a container that is on three networks.",
    }[name]
    return run


def _copies(sides: Sequence[Side]) -> list[Result]:
    """``docker cp`` of 300 MB and of 20,000 small files, both ways."""
    from tests.bench.copying import copy_files

    return copy_files(sides)


def _commits(name: str) -> Callable[[Sequence[Side]], list[Result]]:
    def case(sides: Sequence[Side]) -> list[Result]:
        from tests.bench import commits

        chosen: Callable[[Sequence[Side]], list[Result]] = getattr(commits, name)
        return chosen(sides)

    case.__doc__ = {"commit": "``docker commit`` of 450 MB.", "push": "``docker push`` of 450 MB."}[name]
    return case


CASES: dict[str, tuple[Callable[[Sequence[Side]], list[Result]], bool]] = {
    "run": (run_command, False),
    "raw": (raw_cycle, False),
    "exec": (exec_command, False),
    "burst": (burst, False),
    "memory": (memory, False),
    "logs": (logs, True),
    "pull": (pull, True),
    "save_load": (save_load, True),
    "commit": (_commits("commit"), True),
    "push": (_commits("push"), True),
    "cp": (_copies, True),
    "many": (many, True),
    "names": (names, False),
    "builds": (builds, True),
    "context": (one_changed_file, True),
    "steps": (many_steps, True),
    "network": (_networks("network"), False),
    "three_networks": (_networks("three_networks"), False),
    "stats": (_crowd("stats"), False),
    "list_filters": (_crowd("list_filters"), True),
    "thousand": (_crowd("thousand"), True),
    "churn": (_crowd("churn"), True),
}
"""Every case with whether it takes minutes, in the order in which they run."""
