"""What a container's network costs, without the container: ``python -m tests.bench.networks`` as root.

Runs on a host of its own (a network namespace); nothing is compared, so this is for finding regressions.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median

from engine.model.record import ContainerRecord
from tests.integration.networks_lab import Lab, lab, published

_ROUNDS = 50


async def _one_after_another(host: Lab, records: Iterable[ContainerRecord]) -> tuple[float, float]:
    starts, stops = [], []
    for record in records:
        begun = time.perf_counter()
        await host.start(record)
        started = time.perf_counter()
        await host.stop(record)
        starts.append(started - begun)
        stops.append(time.perf_counter() - started)
    return median(starts) * 1000, median(stops) * 1000


async def _at_once(host: Lab, records: list[ContainerRecord]) -> tuple[float, float]:
    begun = time.perf_counter()
    await asyncio.gather(*(host.start(record) for record in records))
    started = time.perf_counter()
    await asyncio.gather(*(host.stop(record) for record in records))
    return (started - begun) * 1000, (time.perf_counter() - started) * 1000


async def main() -> None:
    """Print the figures in milliseconds."""
    with tempfile.TemporaryDirectory() as folder:
        async with lab(Path(folder)) as host:
            keeper = await host.run("keeper", ports=published("::80/tcp"))  # so that the helper runs already
            print(f"{'':34}{'connect':>9}{'release':>9}  ms")
            for title, ports in (("one", {}), ("one with a port", published("::80/tcp"))):
                records = [host.record(f"c{number}", ports=ports) for number in range(_ROUNDS)]
                print(f"{title:34}{'%9.2f%9.2f' % await _one_after_another(host, records)}")
            for title, ports in (("50 at once", {}), ("50 at once with a port each", published("::80/tcp"))):
                records = [host.record(f"c{number}", ports=ports) for number in range(50)]
                print(f"{title:34}{'%9.1f%9.1f' % await _at_once(host, records)}")
            await host.stop(keeper)


if __name__ == "__main__":
    asyncio.run(main())
