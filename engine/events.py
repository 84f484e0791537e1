"""Events: published by the managers, kept in a journal that outlives the engine, followed by clients.

Source: Engine API, ``SystemEvents``; moby's daemon/events.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from typing import Protocol

import msgspec

from engine.model.system import Event, EventActor
from engine.store.database import Database

_KEPT = 10_000
_TRIM_EVERY = 500
_QUEUE_LENGTH = 10_000


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
        data = msgspec.json.encode(event)
        self._database.write_soon(("INSERT INTO events (time_ns, record) VALUES (?, ?)", (moment, data)))
        self._untrimmed += 1
        if self._untrimmed >= _TRIM_EVERY:
            self._untrimmed = 0
            self._database.write_soon(
                ("DELETE FROM events WHERE seq <= (SELECT MAX(seq) FROM events) - ?", (_KEPT,)),
            )
        for subscription in list(self._subscriptions):
            subscription.put(event)
        for listener in self._listeners:
            listener(event)

    def subscribe(self) -> Subscription:
        """Return a subscription to what is published from now on."""
        subscription = Subscription(self)
        self._subscriptions.add(subscription)
        return subscription

    def drop(self, subscription: Subscription) -> None:
        """Forget a subscription."""
        self._subscriptions.discard(subscription)

    def past(self, since_ns: int, until_ns: int) -> list[Event]:
        """Return the journal's events from ``since_ns`` to ``until_ns`` (0: no end), oldest first."""
        rows = self._database.read(
            "SELECT record FROM events WHERE time_ns >= ? AND (? = 0 OR time_ns <= ?) ORDER BY seq",
            (since_ns, until_ns, until_ns),
        )
        return [_decoder.decode(row[0]) for row in rows]

    async def stream(self, since_ns: int, until_ns: int) -> AsyncGenerator[Event, None]:
        """Yield past events when ``since_ns`` or ``until_ns`` asks for them, then new ones until ``until_ns``."""
        subscription = self.subscribe()
        try:
            await self._database.write(lambda _: None)  # what was published before is in the journal now
            seen: set[tuple[int, str, str, str]] = set()
            if since_ns or (until_ns and until_ns < time.time_ns()):
                for event in self.past(since_ns, until_ns):
                    seen.add(_key(event))
                    yield event
            while True:
                remaining_s = (until_ns - time.time_ns()) / 1e9 if until_ns else None
                if remaining_s is not None and remaining_s <= 0:
                    return
                try:
                    item = await asyncio.wait_for(subscription.next(), remaining_s)
                except TimeoutError:
                    return
                if item is None:
                    return
                if _key(item) in seen:
                    continue  # sent out of the journal already
                yield item
        finally:
            subscription.close()

    def close(self) -> None:
        """End all subscriptions."""
        for subscription in list(self._subscriptions):
            subscription.close()


def _key(event: Event) -> tuple[int, str, str, str]:
    return event.time_nano, event.type, event.action, event.actor.id


_decoder = msgspec.json.Decoder(Event)
