"""Measures the window under the X server of DISPLAY: ``python -m tests.bench.window``.

First paint from exec (five starts), memory and CPU while idle with an engine that answers, and the longest
stall with 500 containers of which ten change a second. The engine is a small server of our own in another process,
so that nothing but the window is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from aiohttp import web

STARTS = 5
IDLE_S = 20.0
CHANGING_S = 15.0
CONTAINERS = 500
CHANGES_A_SECOND = 10
LIMITS = {"first paint, ms": 250.0, "idle PSS, MB": 60.0, "idle CPU, %": 0.1, "longest stall, ms": 50.0}


class Peer:
    """An engine that has containers and nothing else."""

    def __init__(self, containers: int, changes_a_second: int) -> None:
        """``changes_a_second`` containers change by turns, each with its event."""
        self._rate = changes_a_second
        self._items: dict[str, dict[str, Any]] = {}
        for number in range(containers):
            container_id = f"{number:064x}"
            self._items[container_id] = {
                "Id": container_id, "Names": [f"/job-{number:03d}"], "Image": f"example.com/batch:{number % 9}",
                "ImageID": "sha256:" + "0" * 64, "Created": int(time.time()) - number * 60, "State": "running",
                "Status": "Up 3 hours", "Labels": {}, "Mounts": [],
                "Ports": [{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 20_000 + number, "Type": "tcp"}],
            }  # fmt: skip

    def application(self) -> web.Application:
        """Return the server."""
        app = web.Application()
        for prefix in ("", "/v{version}"):
            app.router.add_get(f"{prefix}/_ping", self._ping)
            app.router.add_get(f"{prefix}/version", self._version)
            app.router.add_get(f"{prefix}/containers/json", self._containers)
            app.router.add_get(f"{prefix}/images/json", self._images)
            app.router.add_get(f"{prefix}/events", self._events)
        return app

    async def _ping(self, _: web.Request) -> web.Response:
        return web.Response(text="OK", headers={"Api-Version": "1.51", "Ostype": "linux"})

    async def _version(self, _: web.Request) -> web.Response:
        return web.json_response({"Platform": {"Name": "Portside Engine"}, "Version": "0", "ApiVersion": "1.51"})

    async def _images(self, _: web.Request) -> web.Response:
        return web.json_response([])

    async def _containers(self, request: web.Request) -> web.Response:
        wanted = json.loads(request.query.get("filters", "{}")).get("id")
        ids = wanted if isinstance(wanted, list) else list(wanted) if wanted else None
        return web.json_response([item for key, item in self._items.items() if ids is None or key in ids])

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        keys = list(self._items)
        number = 0
        while True:
            await asyncio.sleep(1 / self._rate if self._rate else 3600)
            key = keys[number * 37 % len(keys)]
            number += 1
            item = self._items[key]
            is_running = item["State"] == "running"
            item["State"] = "exited" if is_running else "running"
            item["Status"] = "Exited (0) Less than a second ago" if is_running else "Up Less than a second"
            event = {"Type": "container", "Action": "die" if is_running else "start", "Actor": {"ID": key}}
            try:
                await response.write(json.dumps(event | {"time": int(time.time())}).encode() + b"\n")
            except ConnectionError:
                return response


def serve(path: str, containers: int, changes_a_second: int) -> None:
    """Serve a Peer on a socket until killed."""
    web.run_app(Peer(containers, changes_a_second).application(), path=path, print=None, handle_signals=True)


def first_paint_ms() -> tuple[list[float], list[float]]:
    """Return the time from exec to the first frame, and the CPU time in it, of several starts but the first."""
    found, used = [], []
    for _ in range(STARTS + 1):
        began = time.monotonic()
        with subprocess.Popen(
            [sys.executable, "-m", "desktop", "-H", "unix:///nowhere.sock", "--first-paint"], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            moment, cpu = map(float, process.stdout.readline().split())
            found.append((moment - began) * 1000)
            used.append(cpu * 1000)
            process.kill()
    return found[1:], used[1:]


def pss_mb(pid: int) -> float:
    """Return a process's proportional memory."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) * 1024 / 1e6


def cpu_s(pid: int) -> float:
    """Return the CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def with_peer(containers: int, changes_a_second: int, words: list[str]) -> tuple[SpawnProcess, list[str]]:
    """Start a Peer; return it, its address and the window's command."""
    path = str(Path(tempfile.mkdtemp(prefix="portside-bench-")) / "s.sock")
    peer = multiprocessing.get_context("spawn").Process(target=serve, args=(path, containers, changes_a_second))
    peer.start()
    while not Path(path).exists():
        time.sleep(0.02)
    return peer, [sys.executable, *words, "-H", f"unix://{path}"]


def idle() -> tuple[float, float]:
    """Return memory and CPU of a window over a quiet engine of 20 containers."""
    peer, command = with_peer(20, 0, ["-m", "desktop"])
    with subprocess.Popen(command) as process:
        try:
            time.sleep(9)  # the start is over when it has given back what only it needed
            before = cpu_s(process.pid)
            time.sleep(IDLE_S)
            used = (cpu_s(process.pid) - before) / IDLE_S * 100
            return pss_mb(process.pid), used
        finally:
            process.send_signal(signal.SIGKILL)
            peer.terminate()
            peer.join()


def stalls(host: str) -> None:
    """Run the window in this process and print how late its timer came, in milliseconds."""
    os.environ["QT_API"] = "pyside6"
    from PySide6.QtCore import QTimer
    from PySide6.QtWidgets import QApplication

    from desktop import loop
    from desktop.app import Desktop, parse_arguments

    app = QApplication(sys.argv[:1])
    desktop = Desktop(app, parse_arguments(["-H", host]))
    late: list[float] = []
    work: list[float] = []
    last = last_cpu = 0.0

    def tick() -> None:
        nonlocal last, last_cpu
        now, cpu = time.perf_counter(), time.thread_time()
        if last:
            late.append((now - last) * 1000 - 5)
            work.append((cpu - last_cpu) * 1000)
        last, last_cpu = now, cpu

    timer = QTimer()
    timer.setInterval(5)
    timer.timeout.connect(tick)

    async def whole() -> int:
        async def end() -> None:
            await asyncio.sleep(3)  # the start is measured by itself
            timer.start()
            await asyncio.sleep(CHANGING_S)
            timer.stop()
            desktop.quit()

        ending = asyncio.ensure_future(end())
        code = await desktop.run()
        await ending
        return code

    loop.run(app, whole, desktop.report)
    late.sort()
    found = {"longest": late[-1], "p99": late[len(late) * 99 // 100], "work": max(work), "ticks": len(late)}
    sys.stdout.write(json.dumps(found) + "\n")


def changing() -> dict[str, float]:
    """Return the stalls of a window over 500 containers that change."""
    peer, command = with_peer(CONTAINERS, CHANGES_A_SECOND, ["-m", "tests.bench.window", "--stalls"])
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
        found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return found
    finally:
        peer.terminate()
        peer.join()


def main() -> int:
    """Measure and print; 1 when a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stalls", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("-H", "--host", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stalls:
        stalls(arguments.host)
        return 0
    if not os.environ.get("DISPLAY"):
        parser.error("there is no X server: run this under xvfb-run")
    paints, paint_cpu = first_paint_ms()
    pss, cpu = idle()
    late = changing()
    figures = {
        "first paint, ms": statistics.median(paints),
        "idle PSS, MB": pss,
        "idle CPU, %": cpu,
        "longest stall, ms": late["longest"],
    }
    for name, value in figures.items():
        verdict = "" if value <= LIMITS[name] else "  MISSED"
        sys.stdout.write(f"{name:20} {value:8.2f}   at most {LIMITS[name]:g}{verdict}\n")
    load = os.getloadavg()[0]
    sys.stdout.write(
        f"On a machine with a load of {load:.1f} on {os.cpu_count()} processors. What the window itself used: "
        f"{statistics.median(paint_cpu):.0f} ms of CPU to the first paint, {late['work']:.1f} ms in its longest stall; "
        f"99 % of {late['ticks']:.0f} ticks were less than {late['p99']:.1f} ms late.\n"
    )
    return int(any(value > LIMITS[name] for name, value in figures.items()))


if __name__ == "__main__":
    sys.exit(main())
