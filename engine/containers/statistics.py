"""The streams of figures: one round a second reads every container that somebody looks at, in one thread.

However many look at a container, it is read once and its JSON is made once. A listener that does not keep up loses
the older figures, never the newest.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import msgspec

from engine.containers.container import Container
from engine.containers.stats import StatsReader, memory_total, no_figures, with_previous

ROUND_S = 1.0
_WAITING = 4

Spawn = Callable[[Awaitable[None], str], object]


class _Listener:
    """Someone who looks at a container. ``is_new`` until it has had one reading."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue(_WAITING)
        self.is_new = True

    def give(self, item: bytes | None) -> None:
        while self.queue.full():
            self.queue.get_nowait()
        self.queue.put_nowait(item)


class _Watched:
    """A container that somebody looks at, with its reading of the round before."""

    def __init__(self, container: Container, reader: StatsReader) -> None:
        self.container = container
        self.reader = reader
        self.before: dict[str, Any] | None = None
        self.listeners: set[_Listener] = set()

    def read(self) -> dict[str, Any]:
        """Return the figures of now (blocking); none when it does not run."""
        record = self.container.record
        return self.reader.read(record.state.pid) if self.container.is_running else no_figures()

    def publish(self, body: dict[str, Any]) -> None:
        container = self.container
        first = following = b""
        for listener in self.listeners:
            if listener.is_new:
                first = first or _encode(body, None, container)
                listener.is_new = False
                listener.give(first)
            else:
                following = following or _encode(body, self.before, container)
                listener.give(following)
        self.before = body


def _encode(body: dict[str, Any], before: dict[str, Any] | None, container: Container) -> bytes:
    return msgspec.json.encode(with_previous(body, before, container.name, container.id)) + b"\n"


class Statistics:
    """Figures of containers, once or as a stream."""

    def __init__(self, cgroup: Callable[[Container], str], version: int, spawn: Spawn) -> None:
        """``cgroup`` returns the path of a container's group, ``spawn`` runs the rounds in the background."""
        self._cgroup = cgroup
        self._version = version
        self._spawn = spawn
        self._total = 0
        self._watched: dict[str, _Watched] = {}
        self._is_running = False

    def _watch(self, container: Container) -> _Watched:
        self._total = self._total or memory_total()
        reader = StatsReader(
            self._cgroup(container),
            version=self._version,
            total_bytes=self._total,
            has_networks=container.record.host_config.network_mode != "host",
        )
        return _Watched(container, reader)

    async def once(self, container: Container) -> bytes:
        """Return the figures of now with nothing before them, as ``one-shot`` has them."""
        watched = self._watch(container)
        return _encode(await asyncio.to_thread(watched.read), None, container)

    async def stream(self, container: Container) -> AsyncGenerator[bytes, None]:
        """Yield figures as JSON once a second until the container is removed; the first has nothing before it."""
        watched = self._watched.get(container.id)
        if watched is None:
            watched = self._watched[container.id] = self._watch(container)
        listener = _Listener()
        watched.listeners.add(listener)
        try:
            self._begin()
            while (item := await listener.queue.get()) is not None:
                yield item
        finally:
            watched.listeners.discard(listener)
            if not watched.listeners and self._watched.get(container.id) is watched:
                del self._watched[container.id]

    def _begin(self) -> None:
        if not self._is_running:
            self._is_running = True
            self._spawn(self._rounds(), "reading figures of containers")

    async def _rounds(self) -> None:
        try:
            while self._watched:
                watched = list(self._watched.values())
                bodies = await asyncio.to_thread(_read_all, watched)
                for item, body in zip(watched, bodies, strict=True):
                    if item.container.removed.is_set():
                        for listener in item.listeners:
                            listener.give(None)
                    else:
                        item.publish(body)
                await asyncio.sleep(ROUND_S)
        finally:
            self._is_running = False
            for item in self._watched.values():
                for listener in item.listeners:
                    listener.give(None)


def _read_all(watched: list[_Watched]) -> list[dict[str, Any]]:
    return [item.read() for item in watched]
