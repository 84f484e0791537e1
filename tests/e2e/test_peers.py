"""The window over engines that are not ours: podman's service and dockerd, driven by mouse."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.client import EngineClient
from engine.errors import NotFound
from engine.model.container import ContainerCreateRequest, HostConfig
from tests.contract.client_engines import RealEngine, run_dockerd, run_podman
from tests.e2e.screen import FIRST_ROW_Y, NAME_X, QUICK_ACTION_X, QUICK_DELETE_X, Window, clipboard, until

pytestmark = [
    pytest.mark.skipif(not os.environ.get("DISPLAY"), reason="no X server: tests/run.sh e2e starts one"),
    pytest.mark.skipif(shutil.which("xdotool") is None, reason="xdotool is not installed"),
]
RUNNERS = {"podman": run_podman, "dockerd": run_dockerd}


@contextmanager
def _running(kind: str) -> Iterator[RealEngine]:
    # A path of its own: a socket's path ends at 107 bytes.
    with tempfile.TemporaryDirectory(prefix="psd-") as folder, RUNNERS[kind](Path(folder)) as engine:
        yield engine


@pytest.mark.parametrize("kind", sorted(RUNNERS))
def test_a_container_of_another_engine_is_started_read_and_deleted(kind: str, tmp_path: Path) -> None:
    async def create(endpoint: str) -> None:
        async with EngineClient(endpoint) as client:
            script = "while :; do echo tick; sleep 0.2; done"
            host = HostConfig(network_mode="none")
            request = ContainerCreateRequest(image="busybox", cmd=["sh", "-c", script], host_config=host)
            await client.containers.create(request, name="alone")

    async def state_of(endpoint: str) -> str:
        async with EngineClient(endpoint) as client:
            try:
                return (await client.containers.inspect("alone")).state.status
            except NotFound:
                return "gone"

    with _running(kind) as engine:
        asyncio.run(create(engine.endpoint))
        window = Window(engine.endpoint, tmp_path)
        try:

            def is_running() -> bool:
                window.click(QUICK_ACTION_X, FIRST_ROW_Y)
                time.sleep(1)
                return asyncio.run(state_of(engine.endpoint)) == "running"

            until(is_running, "the quick action starts it")
            window.click(NAME_X, FIRST_ROW_Y, twice=True)

            def copied() -> bool:
                window.key("ctrl+a", "ctrl+c")
                return "tick\ntick" in clipboard()

            until(copied, "its log is shown and copied")
            window.key("Escape")
            time.sleep(0.3)

            def is_gone() -> bool:
                window.click(QUICK_DELETE_X, FIRST_ROW_Y)
                time.sleep(0.7)
                window.key("Tab", "space")
                time.sleep(1)
                return asyncio.run(state_of(engine.endpoint)) == "gone"

            until(is_gone, "it is deleted after the question", 30)
            assert "Traceback" not in window.log
        finally:
            window.end()
