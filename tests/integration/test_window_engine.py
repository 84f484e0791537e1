"""The window's control of this machine's engine: started detached, found again by its pid file, stopped; without Qt."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

from desktop.actions import ClientActions, ImageClientActions
from desktop.enginecontrol import LocalEngine
from desktop.state.door import ClientDoor
from engine.client import EngineClient
from engine.errors import NotFound, Unavailable
from engine.model.container import ContainerCreateRequest
from tests.engine_process import EngineProcess

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or shutil.which("conmon") is None, reason="needs root and conmon")


async def test_it_starts_an_engine_and_stops_it_again(tmp_path: Path) -> None:
    harness = EngineProcess(tmp_path)
    pidfile, log = tmp_path / "run" / "engine.pid", tmp_path / "log"
    program = [sys.executable, "-m", "engine", "--pidfile", str(pidfile), "-H", harness.url]
    program += ["--data-root", str(harness.data_root), "--exec-root", str(harness.exec_root)]
    control = LocalEngine(["env", f"PYTHONPATH={Path(__file__).parents[2]}", *program], pidfile, log)
    steps: list[str] = []
    try:
        await control.start(steps.append)
        async with EngineClient(harness.url) as client:
            for _ in range(100):
                try:
                    assert (await client.system.version()).version
                    break
                except Unavailable:
                    await asyncio.sleep(0.1)
            else:
                pytest.fail(log.read_text())
        assert steps == ["its program is being started"]
        await control.stop()
        with pytest.raises(Unavailable):
            await control.stop()
    finally:
        harness.remove_leftovers()


async def test_the_window_reads_and_acts_through_the_client(engine: EngineProcess) -> None:
    client = EngineClient(engine.url)
    actions, images, door = ClientActions(client), ImageClientActions(client), ClientDoor(client, engine.url)
    command = ["sh", "-c", "echo out; echo err >&2; sleep 60"]
    made = await images.run(ContainerCreateRequest(image="busybox:latest", cmd=command), "read-me")
    found: dict[bool, bytes] = {}
    async for data, is_error in actions.logs(made, timestamps=False):
        found[is_error] = data
        if len(found) == 2:
            break
    assert found == {False: b"out\n", True: b"err\n"}
    assert [item.state for item in await door.containers([made])] == ["running"]
    async with actions.stats(made) as samples:
        sample = await anext(aiter(samples))
    assert sample["memory_stats"]["usage"] > 0
    await actions.remove(made, force=True)
    assert await door.containers([made]) == []
    broken = ContainerCreateRequest(image="busybox:latest", cmd=["/no/such/program"])
    with pytest.raises(Exception, match="no such file"):
        await images.run(broken, "broken")
    with pytest.raises(NotFound):
        await actions.inspect("broken")
    await client.aclose()
