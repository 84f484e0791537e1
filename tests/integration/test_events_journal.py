"""The journal of events: complete, in order, bounded, and kept over restarts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import events as events_module
from engine.events import EventBus
from engine.model.system import Event
from engine.store.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "engine.db")
    yield database
    database.close()


async def _collect(bus: EventBus, since_ns: int, until_ns: int, count: int = 1_000_000) -> list[str]:
    found: list[str] = []
    stream = bus.stream(since_ns, until_ns)
    async for event in stream:
        found.append(event.actor.id)
        if len(found) == count:
            break
    await stream.aclose()
    return found


async def test_the_past_comes_in_order_and_survives_a_restart(tmp_path: Path) -> None:
    database = Database(tmp_path / "engine.db")
    bus = EventBus(database)
    for number in range(1200):
        bus.publish("container", "start", str(number), {"name": "web"})
    database.close()
    database = Database(tmp_path / "engine.db")
    assert await _collect(EventBus(database), 1, time.time_ns()) == [str(number) for number in range(1200)]
    database.close()


async def test_times_bound_what_comes(database: Database) -> None:
    bus = EventBus(database)
    for second in (100, 200, 300):
        bus.publish("container", "die", str(second), time_ns=second * 10**9)
    assert await _collect(bus, 150 * 10**9, 300 * 10**9) == ["200", "300"]
    assert await _collect(bus, 0, 200 * 10**9) == ["100", "200"]
    assert await _collect(bus, 301 * 10**9, 400 * 10**9) == []


async def test_until_alone_brings_the_past_too_as_docker_does(database: Database) -> None:
    bus = EventBus(database)
    bus.publish("container", "start", "before")
    assert await _collect(bus, 0, time.time_ns() + 200_000_000) == ["before"]


async def test_without_since_and_until_only_new_events_come(database: Database) -> None:
    bus = EventBus(database)
    bus.publish("container", "start", "before")
    reader = asyncio.create_task(_collect(bus, 0, 0, count=1))
    await asyncio.sleep(0)
    assert bus.subscriber_count == 1
    bus.publish("container", "start", "after")
    assert await asyncio.wait_for(reader, 5) == ["after"]
    assert bus.subscriber_count == 0


async def test_nothing_is_lost_or_doubled_where_past_and_present_meet(database: Database) -> None:
    bus = EventBus(database)
    total = 1500

    async def publish() -> None:
        for number in range(total):
            bus.publish("container", "start", str(number))
            if number % 7 == 0:
                await asyncio.sleep(0)

    publishing = asyncio.create_task(publish())
    readers = []
    for _ in range(20):
        readers.append(asyncio.create_task(_collect(bus, 1, 0, count=total)))
        await asyncio.sleep(0.002)
    await publishing
    wanted = [str(number) for number in range(total)]
    for found in await asyncio.wait_for(asyncio.gather(*readers), 30):
        assert found == wanted


async def test_events_of_another_time_keep_their_place(database: Database) -> None:
    """A container that ended in the engine's absence gets its event with its true time, later."""
    bus = EventBus(database)
    bus.publish("container", "start", "now")
    bus.publish("container", "die", "earlier", time_ns=5 * 10**9)
    assert await _collect(bus, 1, time.time_ns()) == ["now", "earlier"]


async def test_the_journal_is_bounded(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "_KEPT", 100)
    bus = EventBus(database)
    for number in range(2000):
        bus.publish("container", "start", str(number))
    found = await _collect(bus, 1, time.time_ns())
    assert 100 <= len(found) <= 100 + events_module._TRIM_EVERY
    assert found[-1] == "1999"


async def test_a_client_too_slow_is_cut_off_and_costs_the_others_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_module, "_QUEUE_LENGTH", 10)
    bus = EventBus(database)
    slow = bus.subscribe()
    for number in range(30):
        bus.publish("container", "start", str(number))
    got = []
    while (event := await asyncio.wait_for(slow.next(), 1)) is not None:
        got.append(event.actor.id)
    assert got == [str(number) for number in range(10)]
    assert bus.subscriber_count == 0


async def test_closing_ends_all_followers(database: Database) -> None:
    bus = EventBus(database)
    readers = [asyncio.create_task(_collect(bus, since, 0)) for since in (0, 1)]
    await asyncio.sleep(0)
    assert bus.subscriber_count == 2
    bus.close()
    assert await asyncio.wait_for(asyncio.gather(*readers), 5) == [[], []]


async def test_publishing_never_raises_even_when_the_store_is_closed(tmp_path: Path) -> None:
    database = Database(tmp_path / "engine.db")
    bus = EventBus(database)
    heard: list[Event] = []
    bus.listen(heard.append)
    database.close()
    bus.publish("network", "disconnect", "x")
    assert [event.action for event in heard] == ["disconnect"]
