"""An image is deleted while a container is made from it: one of the two is refused, never half done."""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, UnixConnector

from engine.errors import NotFound
from tests.engine_process import EngineProcess
from tests.fakes.images import image_archive
from tests.integration.images_world import ImagesWorld, tar_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="unpacking needs root")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[ImagesWorld]:
    world = ImagesWorld(tmp_path / "data")
    yield world
    world.close()


def copying_archive(program: bytes) -> bytes:
    """Return an image whose containers take a while to be made: a volume gets copies of its files."""
    entry = tarfile.TarInfo("bin/busybox")
    entry.size, entry.mode = len(program), 0o755
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        archive.addfile(entry, io.BytesIO(program))
        for number in range(4000):
            archive.addfile(tarfile.TarInfo(f"data/file{number}"))
    return image_archive([output.getvalue()], ["slow:1"], config={"Volumes": {"/data": {}}})


def test_a_container_on_its_way_stands_against_the_deletion_of_its_image(own_engine: EngineProcess) -> None:
    engine = own_engine
    archive = engine.folder / "slow.tar"
    archive.write_bytes(copying_archive(Path("/bin/busybox").read_bytes()))
    engine.docker("load", "-i", str(archive))
    answers: list[tuple[int, Any]] = []
    mounted = {"Type": "image", "Source": "busybox", "Target": "/mounted"}
    host = {"NetworkMode": "none", "Mounts": [mounted]}
    body = {"Image": "slow:1", "Cmd": ["/bin/busybox", "true"], "HostConfig": host}
    creating = threading.Thread(target=lambda: answers.append(engine.api("POST", "/containers/create", body)))
    creating.start()
    try:
        while not list((engine.data_root / "volumes").glob("*/_data/*")):  # until the copying has begun
            assert creating.is_alive()
        status, answer = engine.api("DELETE", "/images/slow:1")
        assert (status, answers) == (409, [])
        assert "is using its referenced image" in answer["message"]
        assert engine.api("DELETE", "/images/busybox")[0] == 409
        status, answer = engine.api("DELETE", "/images/slow:1?force=1")
        assert status == 200
    finally:
        creating.join()
    assert answers[0][0] == 201
    container_id = answers[0][1]["Id"]
    assert engine.api("POST", f"/containers/{container_id}/start")[0] == 204
    assert engine.api("POST", f"/containers/{container_id}/wait")[1]["StatusCode"] == 0
    engine.api("DELETE", f"/containers/{container_id}?v=1")


async def test_an_image_that_is_being_deleted_is_not_found(world: ImagesWorld) -> None:
    await world.load(image_archive([tar_of([("base", b"b")])], ["app:1"]))
    image_id = world.images.resolve("app:1").id
    seen: list[str] = []
    delete = world.images.table.delete

    async def watched(image_id: str) -> None:
        for name in (image_id, image_id[7:19]):
            with pytest.raises(NotFound):
                world.images.resolve(name)
            seen.append(name)
        await delete(image_id)

    world.images.table.delete = watched  # type: ignore[method-assign]
    await world.remover.remove("app:1")
    assert len(seen) == 2
    assert world.images.table.all() == []
    await world.load(image_archive([tar_of([("base", b"b")])], ["app:1"]))
    assert world.images.resolve(image_id).id


async def test_an_image_that_is_being_saved_stays_until_it_is_sent(world: ImagesWorld) -> None:
    layers = [tar_of([(name, os.urandom(20_000_000))]) for name in ("one", "two")]
    await world.load(image_archive(layers, ["app:1"]))
    wanted = await world.save("app:1")
    async with (
        world.served() as server,
        ClientSession(connector=UnixConnector(str(server.socket))) as session,
        session.get("http://engine/images/app:1/get") as answer,
    ):
        begun = await answer.content.readexactly(1000)
        await world.remover.remove("app:1")
        assert begun + await answer.read() == wanted
        while world.content() != (0, 0):  # noqa: ASYNC110 - the deletion follows the answer
            await asyncio.sleep(0.01)
    assert world.leftovers() == []


async def test_a_client_that_leaves_in_the_middle_of_a_save_leaves_no_file_open(world: ImagesWorld) -> None:
    layers = [tar_of([("big", os.urandom(20_000_000))])]
    await world.load(image_archive(layers, ["app:1"]))
    async with world.served() as server:
        async with (
            ClientSession(connector=UnixConnector(str(server.socket))) as session,
            session.get("http://engine/images/app:1/get") as answer,
        ):
            await answer.content.readexactly(100_000)
            assert _open_blobs(world) == 1
            answer.close()
        async with asyncio.timeout(10):
            while _open_blobs(world):  # noqa: ASYNC110 - the end of a request has no event here
                await asyncio.sleep(0.01)
        await world.remover.remove("app:1")
    assert world.content() == (0, 0)


def _open_blobs(world: ImagesWorld) -> int:
    """Return how many blobs this process has open."""
    links = []
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            links.append(str(entry.readlink()))
    return sum(link.startswith(str(world.folder / "blobs")) for link in links)
