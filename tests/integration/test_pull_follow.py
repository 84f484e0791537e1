"""Layers that are unpacked while they come: what has arrived is used at once, and only what proves right stays."""

from __future__ import annotations

import asyncio
import gzip
import os
import secrets
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import zstandard
from aiohttp import web

from engine.errors import Internal
from engine.images import layers as layers_module
from engine.images.programs import ProgramResult
from tests.fakes.registry import FakeRegistry, cut_off
from tests.integration.images_world import ImagesWorld, head, tar_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="unpacking needs root")

FIRST, SECOND = secrets.token_bytes(3_000_000), secrets.token_bytes(3_000_000)
BIG = tar_of([("first", FIRST), ("second", SECOND)])
HALF = 4_500_000


@pytest.fixture
async def registry() -> AsyncIterator[FakeRegistry]:
    async with FakeRegistry() as registry:
        yield registry


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[ImagesWorld]:
    world = ImagesWorld(tmp_path / "data")
    yield world
    world.close()
    assert world.leftovers() == []


class Held:
    """A registry that sends the first half of a blob, then waits for ``gate``."""

    def __init__(self, registry: FakeRegistry, digest: str) -> None:
        """Hold ``digest``."""
        self._blob = registry.blobs[digest]
        self._digest = digest
        self.gate = asyncio.Event()
        registry.fault = self.answer

    async def answer(self, request: web.Request) -> web.StreamResponse | None:
        if not request.path.endswith(self._digest):
            return None
        response = web.StreamResponse(headers={"Content-Length": str(len(self._blob))})
        await response.prepare(request)
        await response.write(self._blob[:HALF])
        await self.gate.wait()
        await response.write(self._blob[HALF:])
        return response


async def unpacked(world: ImagesWorld) -> Path:
    """Wait until the first file of a layer on its way is there whole; return the layer's folder."""
    async with asyncio.timeout(20):
        while True:
            for path in world.images.layers.root.glob("*/first"):
                if path.stat().st_size == len(FIRST):
                    return path.parent
            await asyncio.sleep(0.01)


def never(*_: object) -> ProgramResult:
    """Stand in for unpacking a blob that is whole, where that must not happen."""
    raise AssertionError("unpacked from its beginning")


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstandard.ZstdCompressor().compress])
async def test_a_layer_is_unpacked_while_it_comes(
    world: ImagesWorld,
    registry: FakeRegistry,
    monkeypatch: pytest.MonkeyPatch,
    compress: Callable[[bytes], bytes],
) -> None:
    monkeypatch.setattr(layers_module, "run_untar", never)
    registry.put_image("app", "1", [BIG], compress=compress)
    held = Held(registry, *registry.layer_digests("app", "1"))
    pull = asyncio.ensure_future(world.pull(f"{registry.host}/app:1"))
    folder = await unpacked(world)
    assert world.images.layers.all() == []
    assert not pull.done()
    held.gate.set()
    await pull
    assert world.layer(f"{registry.host}/app:1") == folder
    assert (folder / "second").read_bytes() == SECOND


async def test_a_blob_that_proves_wrong_takes_its_layer_with_it(world: ImagesWorld, registry: FakeRegistry) -> None:
    registry.put_image("app", "1", [BIG], compress=bytes)
    (digest,) = registry.layer_digests("app", "1")
    registry.blobs[digest] = registry.blobs[digest][:-1] + b"x"  # behind the archive's end: its content is right
    held = Held(registry, digest)
    pull = asyncio.ensure_future(world.pull(f"{registry.host}/app:1"))
    await unpacked(world)
    held.gate.set()
    with pytest.raises(Internal, match="filesystem layer verification failed"):
        await pull
    assert world.content() == (0, 0)
    assert world.images.layers.all() == []


async def test_a_damaged_archive_is_told_as_the_wrong_blob_that_it_is(
    world: ImagesWorld, registry: FakeRegistry
) -> None:
    registry.put_image("app", "1", [BIG])
    (digest,) = registry.layer_digests("app", "1")
    good = registry.blobs[digest]
    registry.blobs[digest] = good[:2_000_000] + bytes(1000) + good[2_001_000:]
    with pytest.raises(Internal, match="filesystem layer verification failed"):
        await world.pull(f"{registry.host}/app:1")
    assert world.content() == (0, 0)


async def test_an_unpacker_waits_while_a_broken_connection_is_mended(
    world: ImagesWorld, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers_module, "run_untar", never)
    registry.put_image("app", "1", [BIG], compress=bytes)
    (digest,) = registry.layer_digests("app", "1")

    async def cut_twice(request: web.Request) -> web.StreamResponse | None:
        if request.path.endswith(digest) and len(registry.asked(digest)) < 3:
            return await cut_off(request, registry.blobs[digest], 2_000_000)
        return None

    registry.fault = cut_twice
    await world.pull(f"{registry.host}/app:1")
    assert len(registry.asked(digest)) == 3
    assert (world.layer(f"{registry.host}/app:1") / "second").read_bytes() == SECOND


async def test_a_download_that_begins_again_is_unpacked_again(world: ImagesWorld, registry: FakeRegistry) -> None:
    registry.has_ranges = False
    registry.put_image("app", "1", [BIG], compress=bytes)
    (digest,) = registry.layer_digests("app", "1")
    wrong = tar_of([("first", SECOND), ("planted", b"p")])

    async def cut_once(request: web.Request) -> web.StreamResponse | None:
        if request.path.endswith(digest) and len(registry.asked(digest)) == 1:
            return await cut_off(request, wrong, len(wrong) - 100)
        return None

    registry.fault = cut_once
    await world.pull(f"{registry.host}/app:1")
    layer = world.layer(f"{registry.host}/app:1")
    assert sorted(path.name for path in layer.iterdir()) == ["first", "second"]
    assert (layer / "first").read_bytes() == FIRST


async def test_a_pull_that_is_cancelled_leaves_no_unpacker(world: ImagesWorld, registry: FakeRegistry) -> None:
    registry.put_image("app", "1", [BIG], compress=bytes)
    Held(registry, *registry.layer_digests("app", "1"))
    pull = asyncio.ensure_future(world.pull(f"{registry.host}/app:1"))
    folder = await unpacked(world)
    pull.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pull
    assert not folder.exists()
    assert world.content() == (0, 0)


async def test_one_of_two_pulls_may_go_while_a_layer_comes(
    world: ImagesWorld, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers_module, "run_untar", never)
    registry.put_image("app", "1", [BIG], compress=bytes)
    held = Held(registry, *registry.layer_digests("app", "1"))
    first = asyncio.ensure_future(world.pull(f"{registry.host}/app:1"))
    folder = await unpacked(world)
    second = asyncio.ensure_future(world.pull(f"{registry.host}/app:1"))
    while len(registry.asked("/manifests/")) != 2:  # noqa: ASYNC110 - the fake registry has no event
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    first.cancel()
    await asyncio.sleep(0.1)
    held.gate.set()
    await second
    with pytest.raises(asyncio.CancelledError):
        await first
    assert len(registry.asked("/blobs/")) == 2  # configuration and layer, each once
    assert world.layer(f"{registry.host}/app:1") == folder
    assert (folder / "second").read_bytes() == SECOND


async def test_a_link_into_a_layer_that_comes_later_is_made_in_a_second_try(
    world: ImagesWorld, registry: FakeRegistry
) -> None:
    top = tar_of([("other", FIRST), head("again", b"1", "second"), ("third", b"3")])
    registry.put_image("app", "1", [BIG, top], compress=bytes)
    held = Held(registry, registry.layer_digests("app", "1")[0])
    pull = asyncio.ensure_future(world.pull(f"{registry.host}/app:1"))
    await unpacked(world)
    held.gate.set()
    await pull
    layer = world.layer(f"{registry.host}/app:1")
    assert (layer / "again").read_bytes() == SECOND
    assert (layer / "third").read_bytes() == b"3"


def test_layers_are_spread_over_an_ext4(world: ImagesWorld) -> None:
    asked = subprocess.run(["lsattr", "-d", world.images.layers.root], capture_output=True, text=True, check=False)
    if asked.returncode:
        pytest.skip("a file system without attributes")
    assert "T" in asked.stdout.split()[0]
