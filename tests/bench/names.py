"""Look-ups of names inside a container. As a script it is the client: ``names.py NAME COUNT`` in its namespace."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.bench.cases import Result
    from tests.bench.sides import Side

_COUNT = 3000
_NEIGHBOURS = 20


def names(sides: Sequence[Side]) -> list[Result]:
    """Look-ups of a name in a container: p50 and p99 of 3,000, each from a socket of its own as libc does it."""
    from tests.bench.cases import Result, in_turns

    pids = {side.name: _prepare(side) for side in sides}
    taken: dict[str, list[list[float]]] = {side.name: [] for side in sides}

    def measure(side: Side) -> float:
        found = look_up_inside(pids[side.name], "c1", _COUNT)
        taken[side.name].append(found)
        return found[1]

    p99 = in_turns(sides, 7, measure, warm=1)
    p50 = {name: sorted(found[0] for found in rounds[1:])[len(rounds) // 2] for name, rounds in taken.items()}
    for side in sides:
        side.docker("rm", "-f", *[f"c{number}" for number in range(_NEIGHBOURS)])
        side.docker("network", "rm", "names")
    return [
        Result("name look-up inside a container, p99", "us", p99, 1.0),
        Result("the same, p50", "us", p50, 1.0),
    ]


def _prepare(side: Side) -> int:
    side.docker("network", "create", "names")
    for number in range(_NEIGHBOURS):
        side.docker("run", "-d", "--name", f"c{number}", "--network", "names", "busybox", "sleep", "10000")
    wire = side.wire()
    pid = wire.call("GET", "/containers/c0/json")["State"]["Pid"]
    wire.close()
    return int(pid)


def look_up_inside(pid: int, name: str, count: int) -> list[float]:
    """Return p50 and p99 in microseconds of look-ups in the network namespace of a process."""
    words = ["nsenter", "-t", str(pid), "-n", sys.executable, "-I", __file__, name, str(count)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
    found: list[float] = json.loads(done.stdout)
    return found


def look_up(name: str, count: int) -> list[float]:
    """Ask the name server for a name; return p50 and p99 in microseconds. Raises when it is not found."""
    label = name.encode()
    question = bytes((len(label),)) + label + b"\0\0\1\0\1"
    spent = []
    for number in range(count):
        query = struct.pack("!6H", number & 0xFFFF, 0x0100, 1, 0, 0, 0) + question
        begun = time.perf_counter()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(5)
            asking.connect(("127.0.0.11", 53))
            asking.send(query)
            answer = asking.recv(512)
        spent.append(time.perf_counter() - begun)
        if answer[:2] != query[:2] or answer[6:8] != b"\0\1":
            raise RuntimeError(f"{name} is not found: {answer!r}")
    spent.sort()
    return [spent[count // 2] * 1e6, spent[count * 99 // 100] * 1e6]


if __name__ == "__main__":
    print(json.dumps(look_up(sys.argv[1], int(sys.argv[2]))))
