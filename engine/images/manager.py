"""The images of an engine: looking up, naming, deleting, telling.

Pulling is in ``pull``, archives in ``archives``; both hand finished images to ``add``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from msgspec import UNSET

from engine.containers.interfaces import ResolvedImage
from engine.errors import InvalidArgument, NotFound
from engine.events import EventSink
from engine.images.blobs import BlobStore
from engine.images.changeset import Changesets
from engine.images.layers import LayerRecord, LayerStore, delete_folders
from engine.images.records import ImageFile, ImageRecord, ImageTable, decode_file
from engine.images.variants import Variants, matches_platform, platform_mismatch
from engine.model.base import given
from engine.model.image import HistoryItem, ImageConfig, ImageInspect, ImageMetadata, RootFS
from engine.model.inspect import DriverData
from engine.store.database import Database
from engine.wire.references import Reference, parse_reference
from engine.wire.times import format_ns, parse_rfc3339


class ImageUsers(Protocol):
    """Who uses images."""

    def containers_using(self, image_id: str) -> list[tuple[str, str, bool]]:
        """Return (container ID, name, whether it runs) of each container made from an image."""


class LayerKeeper(Protocol):
    """Who needs layers that no image has (the build cache)."""

    def kept_chains(self) -> set[str]:
        """Return the chain IDs of the layers that must stay."""


class NoUsers:
    """Nobody, until the composition root says otherwise."""

    def containers_using(self, image_id: str) -> list[tuple[str, str, bool]]:
        """Return nothing."""
        return []

    def kept_chains(self) -> set[str]:
        """Return nothing."""
        return set()


@dataclass(frozen=True)
class Origin:
    """The index that an image was chosen from, and the blobs beside the image that came with it (attestations)."""

    index: bytes
    extras: Sequence[str] = ()


class ImageManager:
    """All images."""

    def __init__(self, database: Database, root: Path, events: EventSink) -> None:
        """Keep everything under ``root`` (blobs, unpacked layers)."""
        self.blobs = BlobStore(root)
        self.layers = LayerStore(database, root / "layers", self.blobs)
        self.changesets = Changesets(self.layers, self.blobs)
        self.table = ImageTable(database)
        self.events = events
        self.users: ImageUsers = NoUsers()
        self.variants = Variants(self)
        self.keeper: LayerKeeper = NoUsers()
        self._files: dict[str, ImageFile] = {}
        self._workers = 0
        self._is_collection_due = False
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
        record, file = self.find(image_ref, platform)
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

    def find(self, image_ref: str, platform: str | None = None) -> tuple[ImageRecord, ImageFile]:
        """Return an image and its configuration file: of those that came together the one for ``platform``.

        Raises NotFound when there is none.
        """
        record = self.table.find(image_ref)
        file = self.file(record)
        if platform and not matches_platform(file, platform):
            other = self.variants.matching(record, platform)
            if other is None:
                raise NotFound(platform_mismatch(image_ref, file, platform))
            return other, self.file(other)
        return record, file

    def inspect(self, image_ref: str, platform: str | None = None, *, manifests: bool = False) -> ImageInspect:
        """Return what the API shows of an image; with ``manifests`` also what there is of its index."""
        record, _ = self.find(image_ref, platform)
        return self.view(record, of_platform=bool(platform), manifests=manifests)

    def view(self, record: ImageRecord, *, of_platform: bool = False, manifests: bool = False) -> ImageInspect:
        """Return what the API shows of an image, and of those that belong to it unless ``of_platform``."""
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
            comment=_comment(file),
            created=file.created if isinstance(file.created, str) else UNSET,
            docker_version=given(file.docker_version, ""),
            author=given(file.author, ""),
            config=given(file.config, ImageConfig()),
            architecture=file.architecture,
            variant=file.variant or UNSET,
            os=file.os,
            os_version=file.os_version or UNSET,
            size=record.size if of_platform else self.variants.size(record),
            descriptor=self.variants.descriptor(record, of_index=not of_platform) or UNSET,
            manifests=self.variants.summaries(record) if manifests else UNSET,
            graph_driver=DriverData(name="overlay2", data=data),
            root_fs=RootFS(type="layers", layers=file.rootfs.diff_ids or UNSET),
            metadata=ImageMetadata(last_tag_time=format_ns(record.tagged_ns)),
        )

    def history(self, image_ref: str, platform: str | None = None) -> list[HistoryItem]:
        """Return the steps of an image's making, newest first."""
        record, file = self.find(image_ref, platform)
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
        step: ImageRecord | None = record
        for item in items:  # those that images here were made by, each on top of the one before
            if step is None:
                break
            item.id = step.id
            item.tags = names_of(self.table.references(step.id))[0] or None
            step = self.table.get(step.parent) if step.parent else None
        return items

    # Changing

    async def add(
        self,
        config: bytes,
        layers: list[LayerRecord],
        references: list[Reference],
        manifest: bytes | None = None,
        parent: str = "",
        origin: Origin | None = None,
    ) -> tuple[ImageRecord, list[ImageRecord]]:
        """Store an image whose layers are unpacked; return it and the images that lost a name by it.

        ``parent`` is the ID of the image that it was made from here, ``origin`` the index that it was chosen from.
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
                tagged_ns=time.time_ns() if references else (present.tagged_ns if present else 0),
                parent=parent or (present.parent if present else ""),
                manifest=manifest_digest or (present.manifest if present else ""),
                index=present.index if present else "",
                extras=present.extras if present else [],
            )
            if origin is not None:
                await self._set_origin(record, origin)
            if layers:
                await self.layers.commit(layers)
            lost = await self.table.put(record, references)
        return record, lost

    async def pushed(self, record: ImageRecord, reference: Reference, manifest: bytes) -> None:
        """Note the digest by which a registry knows an image now, and its manifest where it had none."""
        async with self._change:
            if self.table.get(record.id) is not record or record.hidden:
                return  # it was removed meanwhile
            is_news = self.table.referenced(reference) is not record
            if not record.manifest:
                record.manifest, is_news = await asyncio.to_thread(self.blobs.add, manifest), True
            if is_news:
                await self.table.put(record, [reference])

    async def name(
        self,
        record: ImageRecord,
        references: list[Reference],
        manifest: bytes | None = None,
        origin: Origin | None = None,
    ) -> ImageRecord:
        """Give an image that is there more names, durably, and note where it was found now."""
        async with self._change:
            is_news = any(self.table.referenced(item) is not record for item in references)
            if is_news:
                record.tagged_ns = time.time_ns()
            if manifest and not record.manifest:
                record.manifest, is_news = await asyncio.to_thread(self.blobs.add, manifest), True
            if origin is not None:
                is_news = await self._set_origin(record, origin) or is_news
            if is_news:
                await self.table.put(record, references)
        return record

    async def _set_origin(self, record: ImageRecord, origin: Origin) -> bool:
        """Note the index that an image is from; returns whether that is news."""
        index = await asyncio.to_thread(self.blobs.add, origin.index)
        before = (record.index, record.extras)
        extras = set(origin.extras) | set(record.extras if index == record.index else ())
        record.index, record.extras = index, sorted(extras)
        return before != (record.index, record.extras)

    async def tag(self, image_ref: str, repository: str, tag: str) -> None:
        """Give an image another name; raises InvalidArgument with moby's texts for a malformed one."""
        reference = parse_reference(repository)
        if reference.digest:
            raise InvalidArgument("cannot import digest reference")
        if reference.familiar_name == "sha256":
            raise InvalidArgument("refusing to create an ambiguous tag using digest algorithm as name")
        reference = reference.with_tag(tag) if tag else reference.with_default_tag()
        async with self._change:
            record = self.table.find(image_ref)
            record.tagged_ns = time.time_ns()
            await self.table.put(record, [reference])
        self.publish("tag", record.id, reference.familiar)

    def publish(self, action: str, actor_id: str, name: str, image_id: str = "") -> None:
        """Announce something about an image, with its labels while it is there.

        ``image_id`` is given where the actor is called by a reference.
        """
        attributes = {"name": name}
        record = self.table.get(image_id or actor_id)
        if record is not None and not record.hidden:
            config = given(self.file(record).config, ImageConfig())
            attributes = dict(given(config.labels, {})) | attributes
        self.events.publish("image", action, actor_id, attributes)

    def changing(self) -> asyncio.Lock:
        """Return the lock under which images are stored and deleted, a context manager."""
        return self._change

    async def collect(self) -> int:
        """Delete layers and blobs that nothing has and nobody works with; return the bytes of the layers.

        Waits for nobody: while somebody stores an image, whoever is the last of them does it.
        """
        async with self._change:
            if self._workers:
                self._is_collection_due = True
                return 0  # what somebody brings has no owner yet
            self._is_collection_due = False
            for record in self.table.hidden():
                if not self.users.containers_using(record.id):
                    await self.table.delete(record.id)
            images = [*self.table.all(), *self.table.hidden()]
            used = {chain for image in images for chain in image.layers} | self.keeper.kept_chains()
            unused = [layer for layer in self.layers.all() if layer.chain_id not in used]
            folders = await self.layers.forget(unused)
            kept = {digest for image in images for digest in (image.id, image.manifest, image.index, *image.extras)}
            kept |= {layer.blob for layer in self.layers.all()}
            for digest in await asyncio.to_thread(self.blobs.all):
                if digest not in kept:
                    await asyncio.to_thread(self.blobs.delete, digest)
            self._files = {key: file for key, file in self._files.items() if key in kept}
        await delete_folders(folders)
        return sum(layer.size for layer in unused)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Keep ``collect`` from deleting what has no image yet, for the length of a context.

        What was brought by work that failed or was cancelled is deleted when nobody works any more.
        """
        async with self._change:  # a collection that has begun does not know what is found from now on
            self._workers += 1
        try:
            yield
        except BaseException:
            self._is_collection_due = True
            raise
        finally:
            self._workers -= 1
            if self._is_collection_due and not self._workers:
                await asyncio.shield(self.collect())


def short_id(full: str) -> str:
    """Return the first twelve digits of an ID."""
    return full.removeprefix("sha256:")[:12]


def names_of(references: list[Reference]) -> tuple[list[str], list[str]]:
    """Return the familiar tags and digests of an image."""
    tags = [reference.familiar for reference in references if reference.tag]
    return tags, [reference.familiar for reference in references if reference.digest and not reference.tag]


def _comment(file: ImageFile) -> str:
    """Return an image's comment, that of its last step where it has none of its own."""
    history = given(file.history, [])
    return given(file.comment, "") or (given(history[-1].comment, "") if history else "")


def created_ns(text: str) -> int:
    """Return nanoseconds since 1970 of a time in a configuration file; 0 when it is none."""
    try:
        return max(0, parse_rfc3339(text)) if text else 0
    except InvalidArgument:
        return 0
