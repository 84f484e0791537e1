"""The picture's door to an engine, over the client. Without Qt."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from engine.client import EngineClient
from engine.model.image import ImageSummary
from engine.model.inspect import ContainerSummary
from engine.model.network import NetworkInspect
from engine.model.system import Event, SystemVersion
from engine.model.volume import Volume


class ClientDoor:
    """An EngineDoor over an EngineClient."""

    def __init__(self, client: EngineClient, endpoint: str) -> None:
        """``endpoint`` is the address, as people write it."""
        self.client = client
        self._endpoint = endpoint

    @property
    def endpoint(self) -> str:
        """The address."""
        return self._endpoint

    async def version(self) -> SystemVersion:
        """Return the engine's version."""
        return await self.client.system.version()

    async def containers(self, ids: list[str] | None = None) -> list[ContainerSummary]:
        """Return all containers, or those with these IDs."""
        return await self.client.containers.list(all=True, filters={"id": ids} if ids else None)

    async def images(self) -> list[ImageSummary]:
        """Return all images."""
        return await self.client.images.list()

    async def volumes(self) -> list[Volume]:
        """Return all volumes."""
        return (await self.client.volumes.list()).volumes

    async def networks(self) -> list[NetworkInspect]:
        """Return all networks, without their containers."""
        return await self.client.networks.list()

    @asynccontextmanager
    async def events(self) -> AsyncIterator[AsyncIterator[Event]]:
        """Open the stream of events."""
        async with self.client.system.events() as stream:
            yield stream
