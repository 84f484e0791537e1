"""kill -9 of a real engine in the middle of pulls: what it acknowledged is whole, what it did not leaves nothing."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import time

import pytest

from tests.engine_process import DOCKER, EngineProcess
from tests.fakes.images import busybox_rootfs_tar
from tests.fakes.registry import FakeRegistry
from tests.integration.images_world import tar_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="an engine needs root")

ROUNDS = 6


def on_disk(engine: EngineProcess) -> tuple[int, int, int]:
    """Return how many blobs, layers and unfinished blobs there are."""
    return (
        len(list((engine.data_root / "blobs/sha256").iterdir())),
        len(list((engine.data_root / "layers").iterdir())),
        len(list((engine.data_root / "ingest").iterdir())),
    )


def wait_swept(engine: EngineProcess, wanted: tuple[int, int, int]) -> None:
    """Wait until the sweep after a start is done."""
    deadline = time.monotonic() + 10
    while on_disk(engine) != wanted and time.monotonic() < deadline:
        time.sleep(0.02)
    assert on_disk(engine) == wanted


async def test_kills_in_the_middle_of_pulls(own_engine: EngineProcess) -> None:
    engine = own_engine
    before = on_disk(engine)
    layers = [busybox_rootfs_tar()]
    layers += [tar_of([(f"{n}-{i}", secrets.token_bytes(20_000)) for i in range(100)]) for n in range(4)]
    chance = random.Random(7)
    acknowledged = False
    async with FakeRegistry() as registry:
        registry.put_image("app", "1", layers, compress=bytes)
        name = f"{registry.host}/app:1"
        for round_number in range(ROUNDS):
            process = await asyncio.create_subprocess_exec(
                DOCKER,
                "pull",
                "-q",
                name,
                env={**os.environ, "DOCKER_HOST": engine.url, "DOCKER_CONFIG": str(engine.folder / "docker")},
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            await asyncio.sleep(0.1 + chance.random() * 0.4 * (round_number % 3 + 1))
            engine.kill()
            acknowledged = await process.wait() == 0 or acknowledged
            await asyncio.to_thread(engine.start)
            _, images = await asyncio.to_thread(engine.api, "GET", "/images/json")
            has_it = any(name in image["RepoTags"] for image in images)
            assert has_it or not acknowledged
            blobs, folders, _ = before
            new = len(layers) - 1  # the lowest is that of the engine's own busybox
            wanted = (blobs + new + 2, folders + new, 0) if has_it else before
            await asyncio.to_thread(wait_swept, engine, wanted)
            if has_it:
                done = await asyncio.to_thread(
                    engine.docker, "run", "--rm", "--net", "none", name, "sh", "-c", "cat /[0-9]-* | wc -c"
                )
                assert done.stdout.strip() == str(4 * 100 * 20_000)
                await asyncio.to_thread(engine.docker, "rmi", name)
                acknowledged = False
    assert on_disk(engine) == before


def test_an_image_forced_away_is_freed_with_its_last_container(own_engine: EngineProcess) -> None:
    engine = own_engine
    engine.docker("create", "--name", "c1", "--net", "none", "busybox", "true")
    assert "Deleted: sha256:" in engine.docker("rmi", "-f", "busybox").stdout
    assert engine.docker("images", "-aq").stdout == ""
    engine.docker("start", "-a", "c1")
    engine.docker("rm", "c1")
    wait_swept(engine, (0, 0, 0))
