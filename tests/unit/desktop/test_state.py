"""The picture of an engine: lists once, events afterwards, states of the connection. Without Qt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from desktop.state.connection import Connection, Stage, judge_failure
from desktop.state.picture import CONNECTION, CONTAINERS, IMAGES, VOLUMES, Picture
from desktop.state.sizes import memory_text, size_text
from desktop.state.spans import age_text, state_text
from desktop.state.stats import usage_of
from engine.errors import Forbidden, NotFound, PortsideError, Unavailable
from engine.model.image import ImageSummary
from engine.model.inspect import ContainerSummary
from engine.model.network import NetworkInspect
from engine.model.system import ComponentVersion, Event, EventActor, Platform, SystemVersion
from engine.model.volume import Volume


class FakeDoor:
    endpoint = "unix:///run/portside/engine.sock"

    def __init__(self) -> None:
        self.here = {name: ContainerSummary(id=name, names=[f"/{name}"], state="running") for name in ("a", "b")}
        self.asked: list[list[str] | None] = []
        self.failure: PortsideError | None = None
        self.queue: asyncio.Queue[Event | PortsideError] = asyncio.Queue()
        self.platform = Platform(name="Portside Engine")
        self.components: list[ComponentVersion] = []
        self.volume_names = ["data"]
        self.refused: PortsideError | None = None

    async def version(self) -> SystemVersion:
        if self.failure is not None:
            raise self.failure
        return SystemVersion(platform=self.platform, version="0.1.0", components=self.components)

    async def containers(self, ids: list[str] | None = None) -> list[ContainerSummary]:
        self.asked.append(ids)
        return [item for key, item in self.here.items() if ids is None or key in ids]

    async def images(self) -> list[ImageSummary]:
        return [ImageSummary(id="sha256:1")]

    async def volumes(self) -> list[Volume]:
        if self.refused is not None:
            raise self.refused
        return [Volume(name=name) for name in self.volume_names]

    async def networks(self) -> list[NetworkInspect]:
        return [NetworkInspect(id="n1", name="bridge")]

    @asynccontextmanager
    async def events(self) -> AsyncIterator[AsyncIterator[Event]]:
        async def read() -> AsyncIterator[Event]:
            while True:
                item = await self.queue.get()
                if isinstance(item, PortsideError):
                    raise item
                yield item

        yield read()

    def tell(self, action: str, object_id: str, kind: str = "container") -> None:
        self.queue.put_nowait(Event(type=kind, action=action, actor=EventActor(id=object_id)))


@pytest.fixture
async def door() -> FakeDoor:
    return FakeDoor()


async def told(picture: Picture, part: str) -> None:
    """Wait until listeners are told of a part."""
    waiting = asyncio.Event()
    end = picture.listen(lambda parts: waiting.set() if part in parts else None)
    async with asyncio.timeout(5):
        await waiting.wait()
    end()


async def running(door: FakeDoor) -> tuple[Picture, asyncio.Task[None]]:
    picture = Picture(door, is_ours=True, is_installed=lambda: True)
    task = asyncio.ensure_future(picture.run())
    await told(picture, IMAGES)
    return picture, task


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_many_events_of_one_container_become_one_refresh_of_it(door: FakeDoor) -> None:
    picture, task = await running(door)
    for action in ("kill", "die", "stop"):
        door.tell(action, "a")
    door.here["a"] = ContainerSummary(id="a", names=["/a"], state="exited")
    await told(picture, CONTAINERS)
    await stop(task)
    assert picture.containers["a"].state == "exited"
    assert door.asked == [None, ["a"]]


async def test_what_is_gone_leaves_the_picture(door: FakeDoor) -> None:
    picture, task = await running(door)
    del door.here["b"]
    door.tell("destroy", "b")
    await told(picture, CONTAINERS)
    await stop(task)
    assert set(picture.containers) == {"a"}


async def test_a_flood_is_one_list(door: FakeDoor) -> None:
    picture, task = await running(door)
    for number in range(40):
        door.here[f"n{number}"] = ContainerSummary(id=f"n{number}")
        door.tell("create", f"n{number}")
    await told(picture, CONTAINERS)
    await stop(task)
    assert len(picture.containers) == 42
    assert door.asked == [None, None]


async def test_volumes_follow_their_events(door: FakeDoor) -> None:
    picture, task = await running(door)
    await told(picture, VOLUMES)
    assert set(picture.volumes) == {"data"}
    door.volume_names.append("more")
    door.tell("mount", "data", "volume")
    door.tell("create", "more", "volume")
    await told(picture, VOLUMES)
    await stop(task)
    assert set(picture.volumes) == {"data", "more"}


async def test_what_an_engine_does_not_serve_is_missing_with_the_reason(door: FakeDoor) -> None:
    door.refused = NotFound("page not found")
    picture, task = await running(door)
    await told(picture, VOLUMES)
    assert picture.missing == {VOLUMES: "page not found"}
    assert picture.connection.stage is Stage.RUNNING
    door.refused = None
    door.tell("create", "data", "volume")
    await told(picture, VOLUMES)
    await stop(task)
    assert picture.missing == {}


async def test_it_ends_also_when_it_is_cancelled_while_it_is_hurried(door: FakeDoor) -> None:
    door.failure = Unavailable("connection refused")
    picture = Picture(door)
    task = asyncio.ensure_future(picture.run())
    await told(picture, CONNECTION)
    await asyncio.sleep(0)
    picture.hurry()
    await asyncio.sleep(0)  # the wait is over, and whoever waits has not gone on yet
    task.cancel()
    await asyncio.wait([task], timeout=2)
    assert task.cancelled()


async def test_execs_refresh_nothing(door: FakeDoor) -> None:
    _, task = await running(door)
    door.tell("exec_start: ls", "a")
    await asyncio.sleep(0.1)
    await stop(task)
    assert door.asked == [None]


async def test_it_comes_back_with_what_is_there_then(door: FakeDoor) -> None:
    picture, task = await running(door)
    door.failure = Unavailable("connection refused")
    door.queue.put_nowait(Unavailable("connection reset"))
    await told(picture, CONNECTION)
    lost = picture.connection
    assert (lost.stage, lost.detail) == (Stage.LOST, "connection reset")
    assert set(picture.containers) == {"a", "b"}, "what was known stays on screen"
    del door.here["a"]
    door.failure = None
    picture.hurry()
    await told(picture, CONTAINERS)
    await stop(task)
    assert picture.connection.sentence == "Portside Engine 0.1.0 is running"
    assert set(picture.containers) == {"b"}


async def test_an_answer_that_is_not_understood_is_told_and_tried_again(
    door: FakeDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(ids: list[str] | None = None) -> list[ContainerSummary]:
        raise ValueError("no list")

    good = door.containers
    monkeypatch.setattr(door, "containers", broken)
    picture = Picture(door)
    task = asyncio.ensure_future(picture.run())
    await told(picture, CONNECTION)
    assert picture.connection.detail == "ValueError: no list"
    monkeypatch.setattr(door, "containers", good)
    await told(picture, CONTAINERS)
    await stop(task)
    assert set(picture.containers) == {"a", "b"}


async def test_podman_and_docker_are_named(door: FakeDoor) -> None:
    door.platform = Platform(name="linux/amd64/debian-12")
    door.components = [ComponentVersion(name="Podman Engine")]
    picture, task = await running(door)
    await stop(task)
    assert picture.connection.sentence == "Podman 0.1.0 is running"


def _failure(cause: OSError) -> Unavailable:
    error = Unavailable("cannot connect")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "was_running", "is_ours", "is_installed", "stage"),
    [
        (_failure(FileNotFoundError(2, "")), False, True, False, Stage.NOT_INSTALLED),
        (_failure(FileNotFoundError(2, "")), False, True, True, Stage.STOPPED),
        (_failure(ConnectionRefusedError(111, "")), True, True, True, Stage.STOPPED),
        (_failure(ConnectionRefusedError(111, "")), True, False, False, Stage.LOST),
        (_failure(FileNotFoundError(2, "")), False, False, False, Stage.STOPPED),
        (_failure(PermissionError(13, "")), False, True, True, Stage.REFUSED),
        (Forbidden("permission denied"), True, True, True, Stage.REFUSED),
        (Unavailable("no answer in 10 s"), False, True, True, Stage.LOST),
    ],
)
def test_what_a_failure_means(
    error: PortsideError, was_running: bool, is_ours: bool, is_installed: bool, stage: Stage
) -> None:
    assert judge_failure(error, was_running=was_running, is_ours=is_ours, is_installed=is_installed) is stage


@pytest.mark.parametrize(
    ("stage", "can_start", "button"),
    [
        (Stage.RUNNING, True, ""),
        (Stage.STOPPED, True, "Start the engine"),
        (Stage.LOST, False, "Try again now"),
        (Stage.NOT_INSTALLED, False, "How to install"),
        (Stage.REFUSED, False, "How to get access"),
        (Stage.STARTING, True, ""),
    ],
)
def test_the_one_button_that_helps(stage: Stage, can_start: bool, button: str) -> None:
    assert Connection(stage, 0.0, can_start=can_start).button == button


@pytest.mark.parametrize(
    ("state", "status", "later_s", "text"),
    [
        ("running", "Up 3 minutes (healthy)", 60, "Up 4 min · healthy"),
        ("running", "Up Less than a second", 0, "Running"),
        ("running", "Up About an hour (health: starting)", 0, "Up 1 hour · starting"),
        ("exited", "Exited (137) 2 days ago", 0, "Exited (137) 2 days ago"),
        ("paused", "Up 3 minutes (Paused)", 0, "Paused"),
        ("created", "Created", 0, "Created"),
        ("", "", 0, "Unknown"),
    ],
)
def test_a_state_in_words_goes_on_with_the_time(state: str, status: str, later_s: int, text: str) -> None:
    assert state_text(state, status, 1000.0, 1000.0 + later_s) == text


def test_ages_and_sizes() -> None:
    assert [age_text(value) for value in (1, 30, 90, 7300, 90_000, 86_400 * 20)] == [
        "now", "30 s", "1 min", "2 hours", "1 day", "2 weeks",
    ]  # fmt: skip
    assert [size_text(value) for value in (0, 999, 999_900, 48_200_000, 2_500_000_000)] == [
        "0 B", "999 B", "1 MB", "48.2 MB", "2.5 GB",
    ]  # fmt: skip
    assert [memory_text(value) for value in (512, 1024 * 740, 1024**2 * 21, 1024**3 * 3 // 2)] == [
        "512 B", "740 KiB", "21 MiB", "1.5 GiB",
    ]  # fmt: skip


def test_usage_counts_as_dockers_command_line_does() -> None:
    sample = {
        "cpu_stats": {"cpu_usage": {"total_usage": 400}, "system_cpu_usage": 3000, "online_cpus": 2},
        "precpu_stats": {"cpu_usage": {"total_usage": 200}, "system_cpu_usage": 2000},
        "memory_stats": {"usage": 1000, "stats": {"inactive_file": 300}},
    }
    found = usage_of(sample)
    assert found is not None
    assert (found.cpu_percent, found.memory_bytes) == (40.0, 700)
    assert usage_of({"memory_stats": {}}) is None
