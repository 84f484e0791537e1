"""What many containers cost: figures of 50, a list of 1,000, a start beside 1,000, and 10,000 that came and went."""

from __future__ import annotations

import json
import os
import statistics
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from urllib.parse import quote

from tests.bench.cases import Result, in_turns, timed
from tests.bench.sides import Side

_WATCHED = 50
_WATCH_S = 20.0
_LISTED = 1000
_RUNNING = int(os.environ.get("PORTSIDE_BENCH_RUNNING", "1000"))
_CHURN = int(os.environ.get("PORTSIDE_BENCH_CHURN", "10000"))
_SETTLE_S = 5.0


def _start(side: Side, number: int, labels: bool = False) -> str:
    wire = side.wire()
    body = {"Image": "busybox", "Cmd": ["sleep", "100000"], "Labels": {"n": str(number % 10)} if labels else {}}
    made = str(wire.call("POST", f"/containers/create?name=c{number}", body)["Id"])
    wire.call("POST", f"/containers/{made}/start")
    wire.close()
    return made


def _remove_all(side: Side) -> None:
    wire = side.wire()
    names = [item["Id"] for item in wire.call("GET", "/containers/json?all=1")]
    wire.close()

    def remove(name: str) -> None:
        own = side.wire()
        own.call("DELETE", f"/containers/{name}?force=1")
        own.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(remove, names))


def stats(sides: Sequence[Side]) -> list[Result]:
    """CPU seconds of an engine while 50 containers' figures are streamed."""
    figures: dict[str, float] = {}
    for side in sides:
        with ThreadPoolExecutor(8) as pool:
            names = list(pool.map(partial(_start, side), range(_WATCHED)))
        ends = threading.Event()
        lines = [0] * _WATCHED

        def watch(number: int, name: str, side: Side, ends: threading.Event, lines: list[int]) -> None:
            wire = side.wire()
            wire.request("GET", f"/containers/{name}/stats")
            answer = wire.getresponse()
            while not ends.is_set():
                json.loads(answer.readline())
                lines[number] += 1
            wire.close()

        threads = [threading.Thread(target=watch, args=(*item, side, ends, lines)) for item in enumerate(names)]
        for thread in threads:
            thread.start()
        time.sleep(3)
        before, counted = side.cpu_seconds(), sum(lines)
        time.sleep(_WATCH_S)
        spent, seen = side.cpu_seconds() - before, sum(lines) - counted
        ends.set()
        for thread in threads:
            thread.join()
        _remove_all(side)
        # An engine that reads less often must not win by that.
        figures[side.name] = spent / seen * _WATCHED * _WATCH_S
    return [Result(f"CPU of 50 streams of stats, {_WATCH_S:.0f} s", "s", figures, 0.50)]


def list_filters(sides: Sequence[Side]) -> list[Result]:
    """A list of 1,000 containers with filters."""

    def create(side: Side, number: int) -> None:
        wire = side.wire()
        body = {"Image": "busybox", "Cmd": ["true"], "Labels": {"n": str(number % 10), "kind": "listed"}}
        wire.call("POST", f"/containers/create?name=l{number}", body)
        wire.close()

    for side in sides:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(partial(create, side), range(_LISTED)))
    wires = {side.name: side.wire() for side in sides}
    asked = [
        {"label": ["kind=listed"], "status": ["created"]},
        {"label": ["n=3"]},
        {"name": ["l99"], "label": ["kind"]},
        {"ancestor": ["busybox"], "network": ["bridge"]},
    ]

    def measure(side: Side) -> float:
        begun = time.perf_counter()
        for filters in asked:
            wires[side.name].call("GET", f"/containers/json?all=1&filters={quote(json.dumps(filters))}")
        return (time.perf_counter() - begun) * 1000 / len(asked)

    figures = in_turns(sides, 20, measure, warm=2)
    for side in sides:
        _remove_all(side)
    return [Result("list of 1,000 containers with filters", "ms", figures, 0.25)]


def thousand(sides: Sequence[Side]) -> list[Result]:
    """Start of a container beside 1,000 running ones."""
    side = next(item for item in sides if item.name == "portside")
    wire = side.wire()

    def once() -> float:
        body = {"Image": "busybox", "Cmd": ["sleep", "100000"]}
        made = wire.call("POST", "/containers/create", body)["Id"]
        spent = timed(lambda: wire.call("POST", f"/containers/{made}/start"))
        wire.call("DELETE", f"/containers/{made}?force=1")
        return spent * 1000

    first = statistics.median([once() for _ in range(12)][2:])
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(partial(_start, side), range(_RUNNING)))
    time.sleep(_SETTLE_S)
    following = statistics.median([once() for _ in range(12)][2:])
    _remove_all(side)
    wire.close()
    return [Result(f"start beside {_RUNNING} running", "ms", {"portside": following}, 1.5, baseline=first)]


def churn(sides: Sequence[Side]) -> list[Result]:
    """Memory of the engine after 10,000 containers came and went."""
    side = next(item for item in sides if item.name == "portside")
    wire = side.wire()

    def cycle() -> None:
        made = wire.call("POST", "/containers/create", {"Image": "busybox", "Cmd": ["true"]})["Id"]
        wire.call("POST", f"/containers/{made}/start")
        wire.call("POST", f"/containers/{made}/wait")
        wire.call("DELETE", f"/containers/{made}")

    for _ in range(200):
        cycle()
    time.sleep(_SETTLE_S)
    before = side.pss_mib()
    for _ in range(_CHURN):
        cycle()
    time.sleep(_SETTLE_S)
    grown = max(0.1, side.pss_mib() - before)
    wire.close()
    return [Result(f"grown by {_CHURN} containers", "MiB", {"portside": grown}, 1.0, baseline=5.0)]
