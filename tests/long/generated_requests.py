"""Generated requests to a Portside engine for as long as one likes: no 500, no hang, no leak.

``python -m tests.long.generated_requests [--seconds 600] [--seed 1]`` as root, with the API's description beside the
checkout (PORTSIDE_API_YAML names it otherwise). Prints each fault with the request that caused it; ends with 1 when
there is one, or when the engine has more files open or much more memory than before.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.conftest import leaks_of
from tests.contract.schema import Description, find_description
from tests.engine_process import EngineProcess
from tests.generated import SETTINGS, Request, Sender, clear, requests_of

_BATCH = 500
_MORE_FILES = 8
_MORE_KIB = 30 * 1024


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def send_batch(sender: Sender, description: Description, count: int, number: int, until: float) -> None:
    """Send up to ``count`` generated requests, none after ``until`` (monotonic)."""

    @seed(number)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(requests_of(description))
    def send(request: Request) -> None:
        if time.monotonic() < until:
            sender.send(request)

    send()


def open_files(pid: int) -> int:
    """Return how many descriptors a process has."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def resident_kib(pid: int) -> int:
    """Return a process's memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def main(arguments: list[str]) -> int:
    """Run it; returns the exit code."""
    parser = argparse.ArgumentParser(prog="generated_requests", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(arguments)
    path = find_description()
    if path is None:
        say("the API's description is not beside the checkout; PORTSIDE_API_YAML names it")
        return 2
    description = Description(path)
    with tempfile.TemporaryDirectory(prefix="portside-gen-") as temporary:
        engine = EngineProcess(Path(temporary), settings=SETTINGS)
        with engine:
            return run(engine, description, chosen.seconds, chosen.seed)


def run(engine: EngineProcess, description: Description, seconds: float, first_seed: int) -> int:
    """Send for ``seconds``; returns the exit code."""
    engine.load_busybox()
    sender = Sender(engine)
    until = time.monotonic() + seconds
    # What is imported when it is first used, and caches, count as the beginning.
    send_batch(sender, description, _BATCH, first_seed, until)
    clear(engine)
    begun = (open_files(engine.pid), resident_kib(engine.pid))
    number = first_seed
    while time.monotonic() < until:
        number += 1
        send_batch(sender, description, _BATCH, number, until)
        clear(engine)
        shown = dict(sorted(sender.statuses.items()))
        say(f"seed {number}: {shown}, {open_files(engine.pid)} files, {resident_kib(engine.pid)} KiB")
    for fault in sender.faults.values():
        say(f"FAULT {fault}")
    files, kib = open_files(engine.pid), resident_kib(engine.pid)
    engine.clean()
    leaks = leaks_of(engine)
    say(f"{sum(sender.statuses.values())} requests, {len(sender.faults)} faults, leaks: {leaks}")
    say(f"files {begun[0]} → {files}, memory {begun[1]} → {kib} KiB")
    return 1 if sender.faults or leaks or files > begun[0] + _MORE_FILES or kib > begun[1] + _MORE_KIB else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
