"""Images and their names in the database."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType, field

from engine.errors import InvalidArgument, NotFound
from engine.model.image import ImageConfig
from engine.store.database import Database
from engine.wire.references import Reference, is_image_id, parse_reference

_SHORT_ID = re.compile(r"[a-f0-9]{1,64}")


class HistoryEntry(msgspec.Struct, kw_only=True):
    """One step of an image's making (OCI image-spec, config.md)."""

    created: str | UnsetType = UNSET
    created_by: str | UnsetType = UNSET
    author: str | UnsetType = UNSET
    comment: str | UnsetType = UNSET
    empty_layer: bool | UnsetType = UNSET


class RootFsRecord(msgspec.Struct, kw_only=True):
    """The layers of an image by diff ID, lowest first."""

    type: str = "layers"
    diff_ids: list[str] = field(default_factory=list)


class ImageFile(msgspec.Struct, kw_only=True):
    """An image's configuration file, as far as the engine reads it."""

    created: str | UnsetType | None = UNSET
    author: str | UnsetType = UNSET
    architecture: str = ""
    variant: str | UnsetType = UNSET
    os: str = ""
    os_version: str | UnsetType = field(name="os.version", default=UNSET)
    comment: str | UnsetType = UNSET
    docker_version: str | UnsetType = UNSET
    container: str | UnsetType = UNSET
    container_config: dict[str, Any] | UnsetType = UNSET
    config: ImageConfig | UnsetType | None = UNSET
    rootfs: RootFsRecord = field(default_factory=RootFsRecord)
    history: list[HistoryEntry] | UnsetType | None = UNSET


class ImageRecord(msgspec.Struct, kw_only=True):
    """An image: its ID is the digest of its configuration file, a blob.

    ``layers`` are chain IDs, lowest first; ``size`` their files' bytes. ``manifest`` is the digest of the
    manifest it came with, a blob too, "" when it came without one; ``index`` that of the index which had the
    manifest; ``extras`` are further blobs that belong to it, attestations. ``hidden`` was deleted by force while
    stopped containers use it: nobody finds it any more, its layers stay.
    """

    id: str
    layers: list[str]
    size: int
    created_ns: int = 0
    tagged_ns: int = 0
    parent: str = ""
    manifest: str = ""
    index: str = ""
    extras: list[str] = field(default_factory=list)
    hidden: bool = False


class ImageTable:
    """Images by ID and references to them; all of it in memory, every change durable."""

    def __init__(self, database: Database) -> None:
        """Load what is known."""
        self._database = database
        self._images: dict[str, ImageRecord] = {}
        self._references: dict[str, str] = {}
        self._named: dict[str, dict[str, Reference]] = {}
        self._condemned: set[str] = set()
        self._index_of: dict[str, str] = {}
        self._of_index: dict[str, dict[str, ImageRecord]] = {}
        for row in database.read("SELECT record FROM images"):
            record = _decoder.decode(row[0])
            self._keep(record)
        for reference, image_id in database.read("SELECT reference, image_id FROM tags"):
            if image_id in self._images:
                self._point(reference, image_id)

    def _keep(self, record: ImageRecord) -> None:
        self._part(record.id)
        self._images[record.id] = record
        if record.index:
            self._index_of[record.id] = record.index
            self._of_index.setdefault(record.index, {})[record.id] = record

    def _part(self, image_id: str) -> None:
        """Take an image out of those of its index."""
        index = self._index_of.pop(image_id, "")
        if index:
            del self._of_index[index][image_id]
            if not self._of_index[index]:
                del self._of_index[index]

    def of_index(self, digest: str) -> list[ImageRecord]:
        """Return the images that came out of an index, hidden ones too."""
        return list(self._of_index.get(digest, {}).values())

    def get(self, image_id: str) -> ImageRecord | None:
        """Return an image by its full ID, a hidden one too."""
        return self._images.get(image_id)

    def all(self) -> list[ImageRecord]:
        """Return every image but the hidden ones."""
        return [record for record in self._images.values() if not record.hidden]

    def hidden(self) -> list[ImageRecord]:
        """Return the images that are only kept for containers."""
        return [record for record in self._images.values() if record.hidden]

    async def hide(self, record: ImageRecord) -> None:
        """Let nobody find an image any more, durably."""
        record.hidden = True
        await self.put(record)

    @contextmanager
    def condemned(self, image_id: str) -> Iterator[None]:
        """Let nobody find an image while it is being deleted: no container may be made from it from now on."""
        self._condemned.add(image_id)
        try:
            yield
        finally:
            self._condemned.discard(image_id)

    def referenced(self, reference: Reference) -> ImageRecord | None:
        """Return the image that a complete reference names; a digest counts before a tag."""
        key = f"{reference.name}@{reference.digest}" if reference.digest else reference.full
        return self._images.get(self._references.get(key, ""))

    def references(self, image_id: str) -> list[Reference]:
        """Return all references to an image, sorted."""
        return [reference for _, reference in sorted(self._named.get(image_id, {}).items())]

    def _point(self, key: str, image_id: str | None) -> None:
        """Let a reference mean an image, or nothing any more."""
        before = self._references.pop(key, None)
        if before is not None:
            del self._named[before][key]
            if not self._named[before]:
                del self._named[before]
        if image_id is not None:
            self._references[key] = image_id
            self._named.setdefault(image_id, {})[key] = parse_reference(key)

    def find(self, image_ref: str) -> ImageRecord:
        """Return the image that a reference, an ID or the beginning of an ID means.

        Raises NotFound with moby's text, InvalidArgument for a malformed reference.
        """
        if is_image_id(image_ref):
            full = image_ref if image_ref.startswith("sha256:") else f"sha256:{image_ref}"
            found = self._images.get(full)
            if found is not None and self._is_found(found):
                return found
            raise NotFound(f"No such image: {full}")
        reference = parse_reference(image_ref).with_default_tag()
        record = self.referenced(reference)
        if record is not None and self._is_found(record):
            return record
        short = image_ref.removeprefix("sha256:")
        if _SHORT_ID.fullmatch(short):
            fitting = [
                image for image in self.all() if image.id.startswith(f"sha256:{short}") and self._is_found(image)
            ]
            if len(fitting) == 1:  # as with moby, an ambiguous one finds nothing
                return fitting[0]
        raise NotFound(f"No such image: {reference.familiar}")

    def _is_found(self, record: ImageRecord) -> bool:
        return not record.hidden and record.id not in self._condemned

    async def put(self, record: ImageRecord, references: Iterable[Reference] = ()) -> list[ImageRecord]:
        """Store an image with references to it, durably; return the images that lost one by that."""
        keys = [reference.full for reference in references]
        lost = [
            self._images[self._references[key]] for key in keys if self._references.get(key) not in (None, record.id)
        ]
        data = _encoder.encode(record)

        def change(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO images VALUES (?, ?)", (record.id, data))
            for key in keys:
                connection.execute("INSERT OR REPLACE INTO tags VALUES (?, ?, x'')", (key, record.id))

        await self._database.write(change)
        self._keep(record)
        for key in keys:
            self._point(key, record.id)
        return lost

    async def untag(self, references: Iterable[Reference]) -> None:
        """Take references away, durably."""
        keys = [reference.full for reference in references]
        await self._database.execute(*(("DELETE FROM tags WHERE reference = ?", (key,)) for key in keys))
        for key in keys:
            self._point(key, None)

    async def delete(self, image_id: str) -> None:
        """Forget an image and every reference to it, durably."""
        statements: list[tuple[str, tuple[Any, ...]]] = [
            ("DELETE FROM tags WHERE image_id = ?", (image_id,)),
            ("DELETE FROM images WHERE id = ?", (image_id,)),
        ]
        await self._database.execute(*statements)
        self._images.pop(image_id, None)
        self._part(image_id)
        for key in list(self._named.get(image_id, {})):
            self._point(key, None)


def decode_file(data: bytes) -> ImageFile:
    """Return a configuration file; raises InvalidArgument when it is none."""
    try:
        return msgspec.convert(_without_nulls(msgspec.json.decode(data)), ImageFile)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
        raise InvalidArgument(f"invalid image configuration: {error}") from error


def _without_nulls(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return JSON in which null means absent, as Go reads it."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(ImageRecord)
