"""A container's file system as a whole: an image made of it, its changes, its export."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec import structs

from engine.containers.announce import ContainerEvents
from engine.containers.changes import find_changes
from engine.containers.container import Container
from engine.containers.imageconfig import merge_image_config
from engine.containers.interfaces import ImageSource, NewImage
from engine.containers.launcher import Launcher
from engine.containers.manager import ContainerManager
from engine.errors import Conflict, Internal, NotFound, PortsideError
from engine.model.commit import FilesystemChange
from engine.model.container import ContainerConfig
from engine.model.image import ImageConfig
from engine.wire.references import Reference

log = logging.getLogger(__name__)


class ImageMaker(Protocol):
    """Makes images of what containers have written (engine/images)."""

    async def commit(self, wanted: NewImage, reference: Reference | None) -> str:
        """Make an image, named where there is a reference, durably; return its ID."""


class TreeExporter(Protocol):
    """Writes file systems as tars (engine/images)."""

    def export_layers(self, layers: list[Path]) -> AsyncGenerator[bytes, None]:
        """Yield a tar of what layers, topmost first, show together."""


@dataclass(frozen=True)
class CommitRequest:
    """What ``docker commit`` asks for.

    ``config`` replaces the container's own where it is given, ``change`` changes that further.
    """

    pause: bool = True
    config: ContainerConfig | None = None
    change: Callable[[ImageConfig], None] | None = None
    author: str = ""
    comment: str = ""
    reference: Reference | None = None


class ContainerSnapshots:
    """Makes images and archives of containers."""

    def __init__(
        self,
        containers: ContainerManager,
        launcher: Launcher,
        images: ImageSource,
        maker: ImageMaker,
        exporter: TreeExporter,
        events: ContainerEvents,
    ) -> None:
        """Work on those of ``containers``."""
        self._containers = containers
        self._launcher = launcher
        self._images = images
        self._maker = maker
        self._exporter = exporter
        self._events = events

    async def commit(self, container_ref: str, request: CommitRequest) -> str:
        """Make an image of what a container has written; return its ID.

        The container is paused meanwhile unless ``pause`` is off. Raises Conflict when it is being removed, and
        what ``change`` raises. A failure leaves nothing, and the container as it was.
        """
        container = self._containers.get(container_ref)
        _refuse_leaving(container, "commit")
        record = container.record
        wanted = NewImage(
            parent_id=record.image_id,
            upper=self._launcher.paths.upper(record.id),
            config=_config(request, record.config),
            container_id=record.id,
            created_by=" ".join(record.config.cmd or []),
            author=request.author,
            comment=request.comment,
            check=lambda: _refuse_leaving(container, "commit"),
        )
        async with self._paused(container, wanted=request.pause):
            image_id = await self._maker.commit(wanted, request.reference)
        self._events.publish(
            record,
            "commit",
            comment=request.comment,
            imageID=image_id,
            imageRef=request.reference.familiar if request.reference else "",
        )
        return image_id

    @asynccontextmanager
    async def _paused(self, container: Container, *, wanted: bool) -> AsyncIterator[None]:
        """Pause a container for the length of a context where it runs; one that does not is left as it is."""
        is_ours = False
        if wanted and container.is_running and container.record.state.status != "paused":
            try:
                await self._containers.pause(container.id)
                is_ours = True
            except PortsideError as error:  # it ended, or somebody else was faster; moby minds as little
                log.debug("container %s is not paused for its commit: %s", container.id, error.message)
        try:
            yield
        finally:
            if is_ours:
                await asyncio.shield(self._resume(container))

    async def _resume(self, container: Container) -> None:
        try:
            await self._containers.unpause(container.id)
        except (NotFound, Internal):  # it was killed or resumed by somebody else meanwhile
            if container.is_running and container.record.state.status == "paused":
                raise

    async def changes(self, container_ref: str) -> list[FilesystemChange]:
        """Return what a container has changed, sorted by path."""
        record = self._containers.get(container_ref).record
        layers = [self._launcher.paths.init_layer]
        layers += self._images.lower_dirs(record.image_id) if record.image_id else []
        try:
            return await asyncio.to_thread(find_changes, self._launcher.paths.upper(record.id), layers)
        except FileNotFoundError as error:
            raise NotFound(f"No such container: {container_ref}") from error
        except OSError as error:
            raise Internal(f"reading the changes of container {record.id}: {error.strerror}") from error

    async def export(self, container_ref: str) -> AsyncGenerator[bytes, None]:
        """Yield a tar of a container's root file system, without what is mounted in it.

        Raises Conflict before the first block when it is being removed.
        """
        container = self._containers.get(container_ref)
        _refuse_leaving(container, "export")
        record = container.record
        try:
            layers = [self._launcher.paths.upper(record.id), self._launcher.paths.init_layer]
            layers += self._images.lower_dirs(record.image_id) if record.image_id else []
            blocks = self._exporter.export_layers(layers)
            async with aclosing(blocks):
                async for block in blocks:
                    yield block
            _refuse_leaving(container, "export")  # files were going while they were read
        except PortsideError as error:
            raise type(error)(f"Error exporting container {container_ref}: {error.message}") from error
        self._events.publish(record, "export")


def _refuse_leaving(container: Container, verb: str) -> None:
    if container.record.state.status == "dead":
        raise Conflict(f"You cannot {verb} container {container.id} which is Dead")
    if container.removing or container.removed.is_set():
        raise Conflict(f"You cannot {verb} container {container.id} which is being removed")


def _config(request: CommitRequest, own: ContainerConfig) -> ImageConfig:
    """Return the image's configuration: what is asked for, then what it leaves open from the container's."""
    chosen = image_config(request.config or own)
    if request.change is not None:
        request.change(chosen)
    merged = msgspec.convert(msgspec.to_builtins(chosen), ContainerConfig)
    on_build = merged.on_build
    merge_image_config(merged, image_config(own))
    merged.on_build = on_build
    return image_config(merged)


def image_config(config: ContainerConfig) -> ImageConfig:
    """Return the part of a container's configuration that an image has; a copy."""
    names = {field.encode_name for field in structs.fields(ImageConfig)}
    plain = {key: value for key, value in msgspec.to_builtins(config).items() if key in names and value}
    return msgspec.convert(plain, ImageConfig)
