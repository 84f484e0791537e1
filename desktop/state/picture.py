"""The picture of one engine: its objects and the connection, kept true by events. Without Qt.

Lists are read once after each connection; then each event refreshes what it is about, many events
together. Listeners are told which parts have changed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Protocol

from desktop.state.connection import Connection, Stage, judge_failure
from engine.errors import Forbidden, Internal, NotFound, NotSupported, PortsideError, Unavailable
from engine.model.image import ImageSummary
from engine.model.inspect import ContainerSummary
from engine.model.network import NetworkInspect
from engine.model.system import Event, SystemVersion
from engine.model.volume import Volume

log = logging.getLogger(__name__)

CONNECTION, CONTAINERS, IMAGES, VOLUMES, NETWORKS = "connection", "containers", "images", "volumes", "networks"

_GATHER_S = 0.05
_FIRST_RETRY_S = 0.3
_LONGEST_RETRY_S = 3.0
_MANY = 20
_QUIET_ACTIONS = ("exec_", "attach", "detach", "resize", "top", "archive-path", "extract-to-dir")

Listener = Callable[[frozenset[str]], None]


class EngineDoor(Protocol):
    """What the picture asks of an engine; ``door.ClientDoor`` does it with the client."""

    @property
    def endpoint(self) -> str:
        """The address, as people write it."""

    async def version(self) -> SystemVersion:
        """Return the engine's version; raises a PortsideError when it does not answer."""

    async def containers(self, ids: list[str] | None = None) -> list[ContainerSummary]:
        """Return all containers, or those with these IDs."""

    async def images(self) -> list[ImageSummary]:
        """Return all images."""

    async def volumes(self) -> list[Volume]:
        """Return all volumes."""

    async def networks(self) -> list[NetworkInspect]:
        """Return all networks, without their containers."""

    def events(self) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        """Open the stream of events; it raises when the engine goes away."""


class Picture:
    """One engine as it is now."""

    def __init__(
        self,
        door: EngineDoor,
        clock: Callable[[], float] = time.time,
        *,
        is_ours: bool = False,
        is_installed: Callable[[], bool] = lambda: False,
    ) -> None:
        """Nothing is asked before ``run``; ``is_ours`` and ``is_installed`` are about this machine's own engine."""
        self._is_ours = is_ours
        self._is_installed = is_installed
        self._door = door
        self._clock = clock
        self._listeners: list[Listener] = []
        self.containers: dict[str, ContainerSummary] = {}
        self.images: dict[str, ImageSummary] = {}
        self.volumes: dict[str, Volume] = {}
        self.networks: dict[str, NetworkInspect] = {}
        self.missing: dict[str, str] = {}
        """Why a part cannot be shown, for those that the engine does not serve."""
        self.seen_at: dict[str, float] = {}
        self.starts: dict[str, int] = {}
        self.is_loaded = False
        self.connection = Connection(Stage.CONNECTING, clock(), endpoint=door.endpoint)
        self._dirty: set[str] = set()
        self._dirty_lists: set[str] = set()
        self._wake = asyncio.Event()
        self._was_running = False
        self._hurry = asyncio.Event()

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` with the names of changed parts; return what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _tell(self, *parts: str) -> None:
        changed = frozenset(parts)
        for listener in list(self._listeners):
            listener(changed)

    def set_stage(self, stage: Stage, *, step: str = "", detail: str = "", can_start: bool = False) -> None:
        """Say where the connection stands; its time is kept while the stage stays the same."""
        before = self.connection
        since = before.since_s if before.stage is stage else self._clock()
        self.connection = replace(before, stage=stage, since_s=since, step=step, detail=detail, can_start=can_start)
        if self.connection != before:
            self._tell(CONNECTION)

    def starting(self, step: str) -> None:
        """Say that the engine is being started, and try to reach it more often."""
        self.set_stage(Stage.STARTING, step=step)
        self._hurry.set()

    def hurry(self) -> None:
        """Try to reach the engine now."""
        self._hurry.set()

    async def run(self) -> None:
        """Keep the picture true until cancelled."""
        pause_s = _FIRST_RETRY_S
        while True:
            try:
                await self._follow()
                failure: PortsideError = Unavailable("the engine ended the stream of events")
            except PortsideError as error:
                failure = error
            except Exception as error:  # the edge: one answer that is not understood must not end the picture for ever
                log.exception("the picture of the engine failed")
                failure = Internal(f"{type(error).__name__}: {error}")
            if self.connection.stage is Stage.RUNNING:
                pause_s = _FIRST_RETRY_S
            if self.connection.stage is not Stage.STARTING or self._clock() - self.connection.since_s > 30:
                installed = self._is_ours and self._is_installed()
                stage = judge_failure(
                    failure, was_running=self._was_running, is_ours=self._is_ours, is_installed=installed
                )
                self.set_stage(stage, detail=failure.message, can_start=installed)
            try:
                async with asyncio.timeout(pause_s):  # wait_for of 3.11 swallows a cancellation that comes with its end
                    await self._hurry.wait()
            except TimeoutError:
                pause_s = min(pause_s * 1.5, _LONGEST_RETRY_S)
            self._hurry.clear()

    async def _follow(self) -> None:
        version = await self._door.version()
        async with self._door.events() as events:
            await self._read_all(version)
            refreshing = asyncio.ensure_future(self._refresh())
            try:
                async for event in events:
                    self._note(event)
                    if refreshing.done():  # it only ends by failing: the connection begins anew
                        refreshing.result()
            finally:
                refreshing.cancel()
                await asyncio.gather(refreshing, return_exceptions=True)

    async def _read_all(self, version: SystemVersion) -> None:
        containers = await self._door.containers()
        images = await self._door.images()
        now = self._clock()
        self.containers = {item.id: item for item in containers}
        self.images = {item.id: item for item in images}
        self.seen_at = dict.fromkeys(self.containers, now)
        self.is_loaded = True
        self._was_running = True
        name = version.platform.name if version.platform.name.startswith("Portside") else _engine_name(version)
        self.connection = Connection(
            Stage.RUNNING, now, endpoint=self._door.endpoint, version=version.version, name=name
        )
        self._tell(CONNECTION, CONTAINERS, IMAGES)
        self._dirty_lists = {VOLUMES, NETWORKS}  # what no one looks at first comes after what is on the screen
        self._wake.set()

    def _note(self, event: Event) -> None:
        if event.type == "container":
            if event.action.startswith(_QUIET_ACTIONS):
                return
            self._dirty.add(event.actor.id)
            if event.action == "start":
                self.starts[event.actor.id] = self.starts.get(event.actor.id, 0) + 1
            if event.action in ("create", "destroy"):
                self._dirty_lists.add(IMAGES)
        elif event.type == "image":
            self._dirty_lists.add(IMAGES)
        elif event.type == "volume" and event.action not in ("mount", "unmount"):
            self._dirty_lists.add(VOLUMES)
        elif event.type == "network":
            if event.actor.attributes.get("container"):
                self._dirty.add(event.actor.attributes["container"])
            else:
                self._dirty_lists.add(NETWORKS)
        self._wake.set()

    async def _refresh(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(_GATHER_S)  # many events at once become one refresh
            self._wake.clear()
            dirty, self._dirty = self._dirty, set()
            lists, self._dirty_lists = self._dirty_lists, set()
            if dirty:
                await self._refresh_containers(dirty)
            for part in sorted(lists):
                await self._refresh_list(part)

    async def _refresh_list(self, part: str) -> None:
        try:
            if part == IMAGES:
                self.images = {item.id: item for item in await self._door.images()}
            elif part == VOLUMES:
                self.volumes = {item.name: item for item in await self._door.volumes()}
            else:
                self.networks = {item.id: item for item in await self._door.networks()}
            self.missing.pop(part, None)
        except (NotFound, NotSupported, Forbidden) as error:  # an engine that has no such thing: a podman, a proxy
            self.missing[part] = error.message
        self._tell(part)

    async def _refresh_containers(self, dirty: set[str]) -> None:
        now = self._clock()
        if len(dirty) > _MANY:
            found = await self._door.containers()
            self.containers = {item.id: item for item in found}
        else:
            found = await self._door.containers(sorted(dirty))
            for gone in dirty - {item.id for item in found}:
                self.containers.pop(gone, None)
                self.seen_at.pop(gone, None)
                self.starts.pop(gone, None)
            self.containers |= {item.id: item for item in found}
        self.seen_at |= dict.fromkeys((item.id for item in found), now)
        self._tell(CONTAINERS)


def _engine_name(version: SystemVersion) -> str:
    names = [component.name for component in version.components]
    if any("podman" in name.lower() for name in names):
        return "Podman"
    return "Docker"
