"""Events: published by the managers, kept in a journal that outlives the engine, followed by clients.

Source: Engine API, ``SystemEvents``; moby's daemon/events.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from typing import Protocol

import msgspec

from engine.errors import Unavailable
from engine.model.system import Event, EventActor
from engine.store.database import Database
from engine.wire.times import MAX_NS

_KEPT = 10_000
_TRIM_EVERY = 500
_QUEUE_LENGTH = 10_000
_PAGE = 500


class EventSink(Protocol):
    """Where the managers announce what happened."""

    def publish(
        self,
        kind: str,
        action: str,
        actor_id: str,
        attributes: dict[str, str] | None = None,
        *,
        time_ns: int | None = None,
    ) -> None:
        """Announce an event now (or at ``time_ns``, nanoseconds since 1970); never blocks or raises.

        ``kind`` is container, image, network, volume, daemon…; ``action`` Docker's (``create``, ``die``).
        """


class Subscription:
    """Events for one client, in order; a client that is 10,000 behind is cut off rather than lied to."""

    def __init__(self, owner: EventBus) -> None:
        """Belong to ``owner`` until ``close``."""
        self._owner = owner
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue(_QUEUE_LENGTH)
        self._cut_off = False

    def put(self, event: Event) -> None:
        """Queue an event."""
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            self._cut_off = True
            self.close()

    async def next(self) -> Event | None:
        """Return the next event, None when the subscription has ended."""
        if self._cut_off and self._queue.empty():
            return None
        return await self._queue.get()

    def close(self) -> None:
        """Take no more events; safe to repeat."""
        self._owner.drop(self)
        if not self._queue.full():
            self._queue.put_nowait(None)


class EventBus:
    """The engine's events: an EventSink with a journal and subscribers."""

    def __init__(self, database: Database) -> None:
        """Keep the journal in ``database``."""
        self._database = database
        self._subscriptions: set[Subscription] = set()
        self._listeners: list[Callable[[Event], None]] = []
        self._untrimmed = _TRIM_EVERY

    @property
    def subscriber_count(self) -> int:
        """How many clients follow."""
        return len(self._subscriptions)

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call ``listener``, which must be quick, with every event."""
        self._listeners.append(listener)

    def publish(
        self,
        kind: str,
        action: str,
        actor_id: str,
        attributes: dict[str, str] | None = None,
        *,
        time_ns: int | None = None,
    ) -> None:
        """Announce an event (see EventSink)."""
        moment = time.time_ns() if time_ns is None else time_ns
        event = Event(
            type=kind,
            action=action,
            actor=EventActor(id=actor_id, attributes=attributes or {}),
            time=moment // 1_000_000_000,
            time_nano=moment,
        )
        with suppress(Unavailable):  # the engine is stopping: nobody reads the journal before the next start
            self._write(moment, msgspec.json.encode(event))
        for subscription in list(self._subscriptions):
            subscription.put(event)
        for listener in self._listeners:
            listener(event)

    def _write(self, moment: int, data: bytes) -> None:
        self._database.write_soon(("INSERT INTO events (time_ns, record) VALUES (?, ?)", (moment, data)))
        self._untrimmed += 1
        if self._untrimmed >= _TRIM_EVERY:
            self._untrimmed = 0
            self._database.write_soon(
                ("DELETE FROM events WHERE seq <= (SELECT MAX(seq) FROM events) - ?", (_KEPT,)),
            )

    def subscribe(self) -> Subscription:
        """Return a subscription to what is published from now on."""
        subscription = Subscription(self)
        self._subscriptions.add(subscription)
        return subscription

    def drop(self, subscription: Subscription) -> None:
        """Forget a subscription."""
        self._subscriptions.discard(subscription)

    async def past(self, since_ns: int, until_ns: int, last: int | None = None) -> AsyncGenerator[Event, None]:
        """Yield the journal's events from ``since_ns`` to ``until_ns`` (0: no end), oldest first.

        ``last`` is the number of the last event to yield; None takes all.
        """
        first = 0
        limit = MAX_NS if last is None else last
        while True:  # in pages: a client that asks for the whole journal must not make it lie in memory
            rows = self._database.read(
                "SELECT seq, record FROM events WHERE seq > ? AND seq <= ? AND time_ns >= ? AND (? = 0 OR time_ns <= ?)"
                " ORDER BY seq LIMIT ?",
                (first, limit, since_ns, until_ns, until_ns, _PAGE),
            )
            for _, record in rows:
                yield _decoder.decode(record)
            if len(rows) < _PAGE:
                return
            first = rows[-1][0]

    async def stream(self, since_ns: int, until_ns: int) -> AsyncGenerator[Event, None]:
        """Yield past events when ``since_ns`` or ``until_ns`` asks for them, then new ones until ``until_ns``."""
        only_past = until_ns != 0 and until_ns < time.time_ns()
        subscription = self.subscribe()
        try:
            if since_ns or until_ns:
                # In line behind the writes of all that was published before, and before those of all that
                # the subscription gets: together the journal up to here and the subscription are complete.
                last = await self._database.write(_last_number)
                async with aclosing(self.past(since_ns, until_ns, last)) as events:
                    async for event in events:
                        yield event
            while not only_past:
                item = await _next_until(subscription, until_ns)
                if item is None:
                    return
                yield item
        finally:
            subscription.close()

    def close(self) -> None:
        """End all subscriptions."""
        for subscription in list(self._subscriptions):
            subscription.close()


async def _next_until(subscription: Subscription, until_ns: int) -> Event | None:
    """Return the next event; None after ``until_ns`` (0: never) or when the subscription has ended."""
    if not until_ns:
        return await subscription.next()
    try:
        event = await asyncio.wait_for(subscription.next(), max(0.0, (until_ns - time.time_ns()) / 1e9))
    except TimeoutError:
        return None
    return event if event is not None and event.time_nano <= until_ns else None


def _last_number(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT COALESCE(MAX(seq), 0) FROM events").fetchone()[0])


_decoder = msgspec.json.Decoder(Event)
