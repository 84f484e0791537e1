"""Plugins on the host: found where dockerd finds them, volumes of theirs in containers, and all that goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from engine.errors import Conflict, Internal, InvalidArgument, NotFound, PortsideError, Unavailable
from engine.plugins.discovery import PluginAddress, PluginPlaces
from engine.plugins.protocol import PluginCatalog
from engine.plugins.volumes import PluginVolumeDrivers
from engine.store.database import Database
from engine.volumes.manager import VolumeManager


class Events:
    """Notes what is published."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def publish(
        self,
        kind: str,
        action: str,
        actor_id: str,
        attributes: dict[str, str] | None = None,
        *,
        time_ns: int | None = None,
    ) -> None:
        self.told.append(f"{kind} {action} {actor_id} {(attributes or {}).get('driver', '')}".rstrip())


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose name is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="psd-") as name:
        yield Path(name)


@contextlib.contextmanager
def plugin(folder: Path, mood: str = "good", name: str = "depot") -> Iterator[subprocess.Popen[bytes]]:
    """Run a plugin whose socket is ``folder``/NAME.sock."""
    place = folder / f"{name}.sock"
    command = [sys.executable, "-m", "tests.fakes.volume_plugin", str(place), str(folder), mood]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 20
            while not place.exists():
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.02)
            yield process
        finally:
            process.kill()
            process.wait()
            place.unlink(missing_ok=True)


@contextlib.asynccontextmanager
async def volumes(folder: Path, call_timeout_s: float = 10) -> AsyncIterator[VolumeManager]:
    """A volume manager that finds plugins in ``folder``."""
    database = Database(folder / "db")
    manager = VolumeManager(folder / "own", database, Events())
    manager.drivers = PluginVolumeDrivers(PluginCatalog(PluginPlaces(folder, [folder / "specs"]), call_timeout_s))
    manager.load()
    try:
        yield manager
    finally:
        database.close()


def calls(folder: Path) -> list[str]:
    """Return what the plugin was asked."""
    return (folder / "calls").read_text().splitlines()


async def test_a_volume_of_a_plugin_lives_its_life(folder: Path) -> None:
    with plugin(folder):
        async with volumes(folder) as manager:
            made = await manager.create("data", "depot", {"size": "3"}, {"a": "b"})
            assert (made.driver, made.mountpoint, made.labels) == ("depot", "", {"a": "b"})
            place = await manager.mount("data", "c1")
            assert place == folder / "volumes" / "data"
            assert manager.get("data").mountpoint == str(place)
            with pytest.raises(Conflict):
                await manager.remove("data")
            await manager.unmount("data", "c1")
            assert manager.get("data").mountpoint == ""
            await manager.remove("data")
            with pytest.raises(NotFound):
                manager.get("data")
    assert calls(folder) == [
        "Plugin.Activate {}",
        'VolumeDriver.Create {"Name": "data", "Opts": {"size": "3"}}',
        'VolumeDriver.Mount {"ID": "c1", "Name": "data"}',
        'VolumeDriver.Unmount {"ID": "c1", "Name": "data"}',
        'VolumeDriver.Remove {"Name": "data"}',
    ]


async def test_it_is_known_to_the_next_engine_and_never_pruned(folder: Path) -> None:
    with plugin(folder):
        async with volumes(folder) as manager:
            await manager.create("data", "depot")
        async with volumes(folder) as manager:
            assert [item.name for item in manager.all({"driver": ["depot"]})] == ["data"]
            assert (await manager.prune({"all": ["true"]})).volumes_deleted == []
            assert not (folder / "own" / "data").exists()
            await manager.remove("data")


async def test_a_name_belongs_to_one_driver(folder: Path) -> None:
    with plugin(folder):
        async with volumes(folder) as manager:
            await manager.create("data")
            with pytest.raises(
                Conflict, match="create data: driver 'local' already has volume 'data': volume name must be unique"
            ):
                await manager.create("data", "depot")


async def test_a_driver_that_is_not_there(folder: Path) -> None:
    async with volumes(folder) as manager:
        with pytest.raises(NotFound) as raised:
            await manager.create("data", "depot")
        wanted = 'create data: error looking up volume plugin depot: plugin "depot" not found'
        assert raised.value.message == wanted
        assert manager.all() == []
        for name in ("../depot", "a/../../b", "", "x" * 300, "a\0b"):
            with pytest.raises(NotFound):
                await manager.drivers.find(name)


BAD = [
    ("hangs", Unavailable, "plugin depot does not answer VolumeDriver.Create within 0.3 s"),
    ("dies", Unavailable, "plugin depot cannot be reached for VolumeDriver.Create"),
    ("nonsense", Internal, "plugin depot answers VolumeDriver.Create with what is no answer"),
    ("refuses", Internal, "VolumeDriver.Create: the array is offline"),
    (
        "elsewhere",
        Internal,
        'Plugin does not implement the requested driver: plugin="depot", requested implementation=',
    ),
]


@pytest.mark.parametrize(("mood", "kind", "said"), BAD, ids=[mood for mood, _, _ in BAD])
async def test_a_plugin_that_fails_leaves_no_volume(
    mood: str, kind: type[PortsideError], said: str, folder: Path
) -> None:
    with plugin(folder, mood):
        async with volumes(folder, call_timeout_s=0.3) as manager:
            with pytest.raises(kind) as raised:
                await manager.create("data", "depot")
            assert said in raised.value.message
            assert raised.value.message.startswith("create data: ")
            assert manager.all() == []
        async with volumes(folder) as manager:
            assert manager.all() == [], "the next engine knows of none either"


async def test_a_place_that_is_none_is_not_mounted(folder: Path) -> None:
    with plugin(folder, "escapes"):
        async with volumes(folder) as manager:
            await manager.create("data", "depot")
            with pytest.raises(Internal, match="no place on the host"):
                await manager.mount("data", "c1")
            await manager.remove("data")


async def test_a_plugin_that_went_away_keeps_no_container_from_ending_and_may_come_back(folder: Path) -> None:
    async with volumes(folder) as manager:
        with plugin(folder) as process:
            await manager.create("data", "depot")
            await manager.mount("data", "c1")
            process.kill()
            process.wait()
            await manager.unmount("data", "c1")
            with pytest.raises(Unavailable, match="remove data: plugin depot cannot be reached"):
                await manager.remove("data")
            assert manager.get("data").name == "data", "what could not be removed is still there"
        with plugin(folder):
            await manager.remove("data")


def test_spec_files_name_sockets_hosts_and_certificates(folder: Path) -> None:
    specs = folder / "specs"
    (specs / "deep").mkdir(parents=True)
    places = PluginPlaces(folder / "sockets", [specs])
    (specs / "plain.spec").write_text("unix:///run/plain.sock\n")
    (specs / "deep" / "deep.spec").write_text("tcp://localhost:8080")
    (specs / "sure.json").write_text('{"Name":"sure","Addr":"https://store:9","TLSConfig":{"CAFile":"/ca.pem"}}')
    (specs / "broken.json").write_text("{")
    (specs / "odd.spec").write_text("gopher://x")
    assert places.find("plain") == PluginAddress("plain", socket=Path("/run/plain.sock"))
    assert places.find("deep") == PluginAddress("deep", url="http://localhost:8080")
    sure = places.find("sure")
    assert sure is not None
    assert sure.tls is not None
    assert (sure.url, sure.tls.ca_file) == ("https://store:9", "/ca.pem")
    assert places.find("none") is None
    for name in ("broken", "odd"):
        with pytest.raises(InvalidArgument, match=name):
            places.find(name)


def test_sockets_come_before_specs_and_files_are_no_sockets(folder: Path) -> None:
    (folder / "fake.sock").touch()
    (folder / "nested").mkdir()
    with socket.socket(socket.AF_UNIX) as nested:
        nested.bind(str(folder / "nested" / "nested.sock"))
        places = PluginPlaces(folder, [])
        assert places.find("fake") is None
        assert places.find("nested") == PluginAddress("nested", socket=folder / "nested" / "nested.sock")


@pytest.mark.skipif(os.geteuid() != 0, reason="the folder of plugins belongs to root")
async def test_a_container_writes_to_a_plugins_volume(folder: Path) -> None:
    from tests.conftest import can_run_engines
    from tests.engine_process import EngineProcess

    sockets = Path("/run/docker/plugins")
    if not can_run_engines():
        pytest.skip("an engine needs root and conmon")
    sockets.mkdir(parents=True, exist_ok=True)
    name = f"psd{os.getpid()}"
    with plugin(folder, name=name), EngineProcess(folder) as engine:
        link = sockets / f"{name}.sock"
        link.symlink_to(folder / f"{name}.sock")
        try:
            await asyncio.to_thread(engine.load_busybox)
            run = ["run", "--rm", "--volume-driver", name, "-v", "data:/data", "busybox", "sh", "-c"]
            await asyncio.to_thread(engine.docker, *run, "echo kept > /data/file")
            assert (folder / "volumes" / "data" / "file").read_text() == "kept\n"
            listed = await asyncio.to_thread(engine.docker, "volume", "ls", "--format", "{{.Driver}} {{.Name}}")
            assert listed.stdout == f"{name} data\n"
            await asyncio.to_thread(engine.docker, "volume", "rm", "data")
            assert not (folder / "volumes" / "data").exists()
        finally:
            link.unlink()
    told = [line.split(" ")[0] for line in calls(folder)]
    assert told == ["Plugin.Activate", *(f"VolumeDriver.{verb}" for verb in ("Create", "Mount", "Unmount", "Remove"))]
