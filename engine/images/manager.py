"""The images of an engine: looking up, naming, deleting, telling.

Pulling is in ``pull``, archives in ``archives``; both hand finished images to ``add``.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Protocol

from msgspec import UNSET

from engine.containers.interfaces import ResolvedImage
from engine.errors import Conflict, InvalidArgument, NotFound
from engine.events import EventSink
from engine.images.blobs import BlobStore
from engine.images.layers import LayerRecord, LayerStore
from engine.images.records import ImageFile, ImageRecord, ImageTable, decode_file
from engine.model.base import given
from engine.model.container import DriverData
from engine.model.image import (
    HistoryItem,
    ImageConfig,
    ImageDelete,
    ImageInspect,
    ImageMetadata,
    RootFS,
)
from engine.store.database import Database
from engine.wire.references import Reference, is_image_id, parse_reference
from engine.wire.times import format_ns, parse_rfc3339


class ImageUsers(Protocol):
    """Who uses images."""

    def containers_using(self, image_id: str) -> list[tuple[str, str, bool]]:
        """Return (container ID, name, whether it runs) of each container made from an image."""


class NoUsers:
    """Nobody, until the composition root says otherwise."""

    def containers_using(self, image_id: str) -> list[tuple[str, str, bool]]:
        """Return nothing."""
        return []


class ImageManager:
    """All images."""

    def __init__(self, database: Database, root: Path, events: EventSink) -> None:
        """Keep everything under ``root`` (blobs, unpacked layers)."""
        self.blobs = BlobStore(root)
        self.layers = LayerStore(database, root / "layers", self.blobs)
        self.table = ImageTable(database)
        self.events = events
        self.users: ImageUsers = NoUsers()
        self._files: dict[str, ImageFile] = {}
        self._pins: dict[str, int] = {}
        self._change = asyncio.Lock()

    async def sweep(self) -> None:
        """At start: delete layers and blobs that belong to no image."""
        await self.layers.sweep()
        await self.collect()

    # Looking up

    def file(self, record: ImageRecord) -> ImageFile:
        """Return an image's configuration file."""
        if record.id not in self._files:
            if len(self._files) > 200:
                self._files.clear()
            self._files[record.id] = decode_file(self.blobs.read(record.id))
        return self._files[record.id]

    def resolve(self, image_ref: str, platform: str | None = None) -> ResolvedImage:
        """Return the image that a container is made from (see ImageSource)."""
        record = self.table.find(image_ref)
        file = self.file(record)
        if platform:
            has = "/".join(part for part in (file.os, file.architecture, given(file.variant, "")) if part)
            if not matches_platform(file, platform):
                raise NotFound(
                    f"image with reference {image_ref} was found but its platform ({has}) does not match "
                    f"the specified platform ({platform})"
                )
        return ResolvedImage(
            id=record.id, config=given(file.config, ImageConfig()), os=file.os, architecture=file.architecture
        )

    def lower_dirs(self, image_id: str) -> list[Path]:
        """Return an image's unpacked layers, topmost first (see ImageSource)."""
        record = self.table.get(image_id)
        if record is None:
            raise NotFound(f"No such image: {image_id}")
        return [self.layers.path(layer) for layer in reversed(self._layers_of(record))]

    def _layers_of(self, record: ImageRecord) -> list[LayerRecord]:
        found = [self.layers.get(chain) for chain in record.layers]
        missing = [chain for chain, layer in zip(record.layers, found, strict=True) if layer is None]
        if missing:
            raise NotFound(f"layer {missing[0]} of image {record.id} is not in the store")
        return [layer for layer in found if layer is not None]

    def reference_name(self, image_id: str) -> str:
        """Return a tag of the image, or its ID when it has none."""
        tags = [reference for reference in self.table.references(image_id) if reference.tag]
        return tags[0].familiar if tags else image_id

    def size_bytes(self, image_id: str) -> int:
        """Return the bytes of an image's unpacked layers."""
        record = self.table.get(image_id)
        if record is None:
            raise NotFound(f"No such image: {image_id}")
        return record.size

    @property
    def count(self) -> int:
        """How many images there are."""
        return len(self.table.all())

    # Telling

    def inspect(self, image_ref: str) -> ImageInspect:
        """Return what the API shows of an image."""
        record = self.table.find(image_ref)
        file = self.file(record)
        tags, digests = names_of(self.table.references(record.id))
        layers = self._layers_of(record)
        data = {"UpperDir": str(self.layers.path(layers[-1])) if layers else ""}
        if len(layers) > 1:
            data["LowerDir"] = ":".join(str(self.layers.path(layer)) for layer in reversed(layers[:-1]))
        return ImageInspect(
            id=record.id,
            repo_tags=tags,
            repo_digests=digests,
            parent=record.parent,
            comment=given(file.comment, ""),
            created=file.created if isinstance(file.created, str) else UNSET,
            docker_version=given(file.docker_version, ""),
            author=given(file.author, ""),
            config=given(file.config, ImageConfig()),
            architecture=file.architecture,
            variant=file.variant or UNSET,
            os=file.os,
            os_version=file.os_version or UNSET,
            size=record.size,
            graph_driver=DriverData(name="overlay2", data=data),
            root_fs=RootFS(type="layers", layers=file.rootfs.diff_ids or UNSET),
            metadata=ImageMetadata(last_tag_time=format_ns(record.tagged_ns)),
        )

    def history(self, image_ref: str) -> list[HistoryItem]:
        """Return the steps of an image's making, newest first."""
        record = self.table.find(image_ref)
        file = self.file(record)
        layers = iter(self._layers_of(record))
        items: list[HistoryItem] = []
        for entry in given(file.history, []):
            layer = None if given(entry.empty_layer, False) else next(layers, None)
            items.append(
                HistoryItem(
                    created=created_ns(given(entry.created, "")) // 1_000_000_000,
                    created_by=given(entry.created_by, ""),
                    comment=given(entry.comment, ""),
                    size=layer.size if layer else 0,
                )
            )
        items.reverse()
        if items:
            tags, _ = names_of(self.table.references(record.id))
            items[0].id = record.id
            items[0].tags = tags or None
        return items

    # Changing

    async def add(
        self,
        config: bytes,
        layers: list[LayerRecord],
        references: list[Reference],
        manifest: bytes | None = None,
    ) -> tuple[ImageRecord, list[ImageRecord]]:
        """Store an image whose layers are unpacked; return it and the images that lost a name by it.

        Everything is durable when it returns.
        """
        async with self._change:
            image_id = await asyncio.to_thread(self.blobs.add, config)
            manifest_digest = await asyncio.to_thread(self.blobs.add, manifest) if manifest else ""
            file = decode_file(config)
            present = self.table.get(image_id)
            record = ImageRecord(
                id=image_id,
                layers=[layer.chain_id for layer in layers],
                size=sum(layer.size for layer in layers),
                created_ns=created_ns(file.created if isinstance(file.created, str) else ""),
                tagged_ns=time.time_ns() if references else 0,
                manifest=manifest_digest or (present.manifest if present else ""),
            )
            if layers:
                await self.layers.commit(layers)
            lost = await self.table.put(record, references)
        return record, lost

    async def tag(self, image_ref: str, repository: str, tag: str) -> None:
        """Give an image another name; raises InvalidArgument with moby's texts for a malformed one."""
        record = self.table.find(image_ref)
        reference = parse_reference(repository)
        if reference.digest:
            raise InvalidArgument("refusing to create a tag with a digest reference")
        reference = reference.with_tag(tag) if tag else reference.with_default_tag()
        record.tagged_ns = time.time_ns()
        async with self._change:
            await self.table.put(record, [reference])
        self.publish("tag", record.id, reference.familiar)

    def publish(self, action: str, image_id: str, name: str) -> None:
        """Announce something about an image, with its labels."""
        attributes = {"name": name}
        record = self.table.get(image_id)
        if record is not None:
            config = given(self.file(record).config, ImageConfig())
            attributes = dict(given(config.labels, {})) | attributes
        self.events.publish("image", action, image_id if record is not None else name, attributes)

    async def remove(self, image_ref: str, *, force: bool = False) -> list[ImageDelete]:
        """Take a name from an image, or delete it, by Docker's rules; return what was done.

        Raises Conflict with moby's texts while containers use it.
        """
        async with self._change:
            record = self.table.find(image_ref)
            references = self.table.references(record.id)
            by_id = is_image_id(image_ref) or self._is_id(image_ref, record)
            done: list[ImageDelete] = []
            users = self.users.containers_using(record.id)
            if not by_id:
                named = parse_reference(image_ref).with_default_tag()
                rest = _without(references, named)
                if rest:
                    await self._untag(record, [item for item in references if item not in rest], done)
                    return done
                self._refuse_used(image_ref, record, users, force=force, by_name=True)
            else:
                if len(_tags_or_digests(references)) > 1 and not force:
                    raise Conflict(
                        f"conflict: unable to delete {short_id(record.id)} (must be forced) - "
                        "image is referenced in multiple repositories"
                    )
                self._refuse_used(image_ref, record, users, force=force, by_name=False)
            await self._untag(record, references, done)
            if users:
                return done
            await self._delete(record, done)
        await self.collect()
        return done

    def _is_id(self, image_ref: str, record: ImageRecord) -> bool:
        try:
            reference = parse_reference(image_ref).with_default_tag()
        except InvalidArgument:
            return True
        return self.table.referenced(reference) is not record

    def _refuse_used(
        self,
        image_ref: str,
        record: ImageRecord,
        users: list[tuple[str, str, bool]],
        *,
        force: bool,
        by_name: bool,
    ) -> None:
        if not users or (force and by_name):
            return
        if by_name:
            raise Conflict(
                f'conflict: unable to remove repository reference "{image_ref}" (must force) - '
                f"container {short_id(users[0][0])} is using its referenced image {short_id(record.id)}"
            )
        running = next((user for user in users if user[2]), None)
        if running is not None:
            raise Conflict(
                f"conflict: unable to delete {short_id(record.id)} (cannot be forced) - "
                f"image is being used by running container {short_id(running[0])}"
            )
        if not force:
            raise Conflict(
                f"conflict: unable to delete {short_id(record.id)} (must be forced) - "
                f"image is being used by stopped container {short_id(users[0][0])}"
            )

    async def _untag(self, record: ImageRecord, references: list[Reference], done: list[ImageDelete]) -> None:
        if not references:
            return
        await self.table.untag(references)
        for reference in references:
            done.append(ImageDelete(untagged=reference.familiar))
            self.publish("untag", record.id, record.id)

    async def _delete(self, record: ImageRecord, done: list[ImageDelete]) -> None:
        self.publish("delete", record.id, record.id)
        await self.table.delete(record.id)
        self._files.pop(record.id, None)
        done.append(ImageDelete(deleted=record.id))
        used = {chain for image in self.table.all() for chain in image.layers}
        for chain in reversed(record.layers):
            if chain not in used:
                done.append(ImageDelete(deleted=chain))

    async def collect(self) -> int:
        """Delete layers and blobs that no image has and nobody works with; return the bytes of the layers."""
        async with self._change:
            if self._pins:
                return 0  # somebody is storing an image: what it brings has no owner yet
            used = {chain for image in self.table.all() for chain in image.layers}
            freed = 0
            for layer in self.layers.all():
                if layer.chain_id not in used:
                    freed += await self.layers.delete(layer)
            kept = {image.id for image in self.table.all()} | {image.manifest for image in self.table.all()}
            kept |= {layer.blob for layer in self.layers.all()}
            for digest in await asyncio.to_thread(self.blobs.all):
                if digest not in kept:
                    await asyncio.to_thread(self.blobs.delete, digest)
            return freed

    def pin(self) -> Pin:
        """Keep ``collect`` from deleting what has no image yet, for the length of a context."""
        return Pin(self._pins)


class Pin:
    """Holds off the collection of unused content while a context lasts."""

    def __init__(self, pins: dict[str, int]) -> None:
        """Count in ``pins``."""
        self._pins = pins

    def __enter__(self) -> None:
        """Begin."""
        self._pins["count"] = self._pins.get("count", 0) + 1

    def __exit__(self, *error: object) -> None:
        """End."""
        self._pins["count"] -= 1
        if not self._pins["count"]:
            del self._pins["count"]


def _without(references: list[Reference], named: Reference) -> list[Reference]:
    """Return what is left of an image's references when one is taken away.

    With a repository's last tag its digest goes too.
    """
    rest = [item for item in references if item.full != named.full]
    if not any(item.tag for item in rest if item.name == named.name):
        rest = [item for item in rest if item.name != named.name]
    return rest


def _tags_or_digests(references: list[Reference]) -> list[Reference]:
    """Return the names that count for an image: its tags, or its digests when it has none."""
    return [item for item in references if item.tag] or references


def short_id(full: str) -> str:
    """Return the first twelve digits of an ID."""
    return full.removeprefix("sha256:")[:12]


def names_of(references: list[Reference]) -> tuple[list[str], list[str]]:
    """Return the familiar tags and digests of an image."""
    tags = [reference.familiar for reference in references if reference.tag]
    return tags, [reference.familiar for reference in references if reference.digest and not reference.tag]


def created_ns(text: str) -> int:
    """Return nanoseconds since 1970 of a time in a configuration file; 0 when it is none."""
    try:
        return max(0, parse_rfc3339(text)) if text else 0
    except InvalidArgument:
        return 0


def matches_platform(file: ImageFile, platform: str) -> bool:
    """Whether an image is for ``os[/architecture[/variant]]`` or for an architecture alone."""
    parts = platform.split("/")
    if len(parts) == 1:
        return parts[0] in (file.os, file.architecture)
    if parts[0] != file.os or _architecture(parts[1]) != file.architecture:
        return False
    return len(parts) < 3 or not file.variant or parts[2] == file.variant


def _architecture(name: str) -> str:
    return {"x86_64": "amd64", "aarch64": "arm64", "x86-64": "amd64"}.get(name, name)
