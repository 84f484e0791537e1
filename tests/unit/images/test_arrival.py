"""A blob on its way: what readers are told, in which order, and when it is worth nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from engine.images.arrival import Arrival, ArrivalBroken

PATH = Path("/nowhere/blob")


async def started(*waits: asyncio.Future[Any]) -> None:
    """Let tasks run until they wait."""
    for _ in range(3):
        await asyncio.sleep(0)
    assert not any(wait.done() for wait in waits)


async def test_readers_are_told_how_far_it_has_got_and_when_it_is_whole() -> None:
    arrival = Arrival()
    arrival.begin(PATH, 30)
    seen: list[tuple[int, bool]] = []

    async def read() -> None:
        size, is_whole = 0, False
        while not is_whole:
            size, is_whole = await arrival.wait_beyond(size)
            seen.append((size, is_whole))

    readers = [asyncio.ensure_future(read()) for _ in range(2)]
    for size in (10, 20, 30):
        await asyncio.sleep(0.001)
        arrival.advance(size)
    await asyncio.gather(*readers)
    assert sorted(set(seen)) == [(10, False), (20, False), (30, True)]


async def test_whole_is_not_yet_right() -> None:
    arrival = Arrival()
    arrival.begin(PATH, 10)
    arrival.advance(10)
    assert await arrival.wait_beyond(0) == (10, True)
    waiting = asyncio.ensure_future(arrival.wait_complete())
    await started(waiting)
    arrival.complete()
    await waiting
    arrival.give_up()
    await arrival.wait_complete()
    assert arrival.is_complete


async def test_a_failure_wakes_everybody() -> None:
    arrival = Arrival()
    arrival.begin(PATH, 10)
    waits: list[asyncio.Future[Any]] = [
        asyncio.ensure_future(arrival.wait_beyond(0)),
        asyncio.ensure_future(arrival.wait_complete()),
    ]
    await started(*waits)
    arrival.give_up()
    for wait in waits:
        with pytest.raises(ArrivalBroken):
            await wait
    assert not arrival.is_complete


async def test_a_second_beginning_is_worth_nothing_to_those_who_read_the_first() -> None:
    arrival = Arrival()
    arrival.begin(PATH, 10)
    arrival.advance(5)
    waiting = asyncio.ensure_future(arrival.wait_beyond(5))
    await started(waiting)
    arrival.advance(0)
    arrival.advance(10)
    with pytest.raises(ArrivalBroken):
        await waiting
    arrival.complete()
    assert not arrival.is_complete
    with pytest.raises(ArrivalBroken):
        await arrival.wait_complete()


async def test_nobody_begins_to_follow_what_is_here_already() -> None:
    arrival = Arrival()
    arrival.begin(PATH, 10)
    arrival.complete()
    with pytest.raises(ArrivalBroken):
        await arrival.open()
