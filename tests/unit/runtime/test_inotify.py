"""The engine's inotify descriptor: who is called for what, and what ends it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.errors import Unavailable
from engine.runtime.inotify import IN_CLOSE_WRITE, IN_CREATE, Inotify


@pytest.fixture
async def inotify() -> AsyncIterator[Inotify]:
    """A descriptor for one test."""
    made = Inotify()
    yield made
    made.close()


async def wait_called(event: asyncio.Event) -> None:
    async with asyncio.timeout(5):
        await event.wait()


async def test_a_folders_callbacks_are_told_names(inotify: Inotify, tmp_path: Path) -> None:
    first: list[str] = []
    done = asyncio.Event()
    inotify.watch(tmp_path, IN_CREATE, first.append)
    inotify.watch(tmp_path, IN_CLOSE_WRITE, lambda name: done.set() if name == "b" else None)
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").write_text("x")
    await wait_called(done)
    assert {"a", "b"} <= set(first)


async def test_a_file_is_told_of_once_whether_it_was_there_or_comes(inotify: Inotify, tmp_path: Path) -> None:
    calls: list[str] = []
    there, moved = asyncio.Event(), asyncio.Event()
    (tmp_path / "there").write_text("x")

    def told(name: str, event: asyncio.Event) -> None:
        calls.append(name)
        event.set()

    inotify.watch_file(tmp_path / "there", lambda: told("there", there))
    inotify.watch_file(tmp_path / "moved", lambda: told("moved", moved))
    await wait_called(there)
    (tmp_path / "temporary").write_text("x")
    (tmp_path / "temporary").rename(tmp_path / "moved")
    await wait_called(moved)
    (tmp_path / "moved").write_text("y")
    (tmp_path / "there").write_text("y")
    await asyncio.sleep(0.05)
    assert calls == ["there", "moved"]


async def test_a_callback_that_fails_does_not_end_the_others(
    inotify: Inotify, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(name: str) -> None:
        raise ValueError(name)

    done = asyncio.Event()
    inotify.watch(tmp_path, IN_CREATE, fail)
    inotify.watch(tmp_path, IN_CREATE, lambda _: done.set())
    with caplog.at_level(logging.CRITICAL, "engine.runtime.inotify"):
        (tmp_path / "a").write_text("x")
        await wait_called(done)


async def test_a_closed_watch_is_told_nothing(inotify: Inotify, tmp_path: Path) -> None:
    calls: list[str] = []
    done = asyncio.Event()
    watch = inotify.watch(tmp_path, IN_CREATE, calls.append)
    watch.close()
    watch.close()
    inotify.watch(tmp_path, IN_CREATE, lambda _: done.set())
    (tmp_path / "a").write_text("x")
    await wait_called(done)
    assert calls == []


async def test_a_folder_may_go_and_come_back(inotify: Inotify, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    watch = inotify.watch(folder, IN_CREATE, lambda _: None)
    folder.rmdir()
    await asyncio.sleep(0.05)
    watch.close()
    folder.mkdir()
    done = asyncio.Event()
    inotify.watch(folder, IN_CREATE, lambda _: done.set())
    (folder / "a").write_text("x")
    await wait_called(done)


async def test_lost_events_make_it_look_at_everything(
    inotify: Inotify, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "unseen").write_text("x")
    calls: list[str] = []
    inotify.watch(tmp_path, IN_CREATE, calls.append)
    with caplog.at_level(logging.CRITICAL, "engine.runtime.inotify"):
        inotify._scan()
    assert calls == ["unseen"]


async def test_what_is_not_there_cannot_be_watched(inotify: Inotify, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="No such file"):
        inotify.watch(tmp_path / "nope", IN_CREATE, lambda _: None)
