"""Loading, saving and importing images as archives: Docker's and OCI's layout in one tar, as Docker 25 writes them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import msgspec

from engine.errors import Internal, InvalidArgument, NotFound
from engine.images.blobs import digest_of
from engine.images.changes import apply_changes
from engine.images.intake import in_thread, store_blob
from engine.images.layers import LayerRecord
from engine.images.loading import ImageLoader, Progress, blob_name, tidy
from engine.images.manager import ImageManager, names_of
from engine.images.manifests import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from engine.images.records import ImageRecord
from engine.images.variants import blobs_of
from engine.model.image import ImageConfig
from engine.wire.references import Reference, parse_reference
from engine.wire.times import format_ns


class ImageArchives:
    """Archives in and out."""

    def __init__(self, images: ImageManager) -> None:
        """Work on ``images``."""
        self._images = images

    # In

    async def load(self, source: AsyncIterator[bytes], progress: Progress, platform: str = "") -> None:
        """Load every image of an archive (see ``loading``), or those for ``platform``."""
        await ImageLoader(self._images).load(source, progress, platform)

    async def import_layer(
        self,
        source: AsyncIterator[bytes],
        reference: Reference | None,
        changes: list[str],
        message: str,
        platform: tuple[str, str],
    ) -> str:
        """Make an image of one layer out of a tar; return its ID. ``platform`` is (os, architecture)."""
        config = ImageConfig()
        apply_changes(config, changes)
        async with self._images.working(), tidy():
            blob = await in_thread(source, lambda reader: store_blob(reader, self._images.blobs))
            layer = await self._images.layers.unpack("", "", blob)
            created = format_ns(time.time_ns())
            comment = message or "Imported from -"
            file = {
                "architecture": platform[1],
                "os": platform[0],
                "created": created,
                "config": msgspec.to_builtins(config),
                "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
                "history": [{"created": created, "comment": comment}],
                "comment": comment,
            }
            references = [reference] if reference else []
            record, _ = await self._images.add(msgspec.json.encode(file), [layer], references)
        if reference is not None:
            self._images.publish("tag", record.id, reference.familiar)
        self._images.publish("import", record.id, record.id)
        return record.id

    # Out

    def plan(self, names: list[str], platform: str = "") -> list[tuple[ImageRecord, list[Reference]]]:
        """Return the images that names mean, each once, with the tags to be written.

        A repository without a tag means all of its tags. Raises NotFound, and Internal with moby's text for an image
        that is not there for ``platform``.
        """
        chosen: dict[str, tuple[ImageRecord, list[Reference]]] = {}
        for name in names:
            for named, references in self._matching(name):
                record = self._images.variants.matching(named, platform) if platform else named
                if record is None:
                    raise Internal(f"no suitable export target found for platform {platform}")
                tags = chosen.setdefault(record.id, (record, []))[1]
                tags.extend(item for item in references if item not in tags)
        return list(chosen.values())

    def _matching(self, name: str) -> list[tuple[ImageRecord, list[Reference]]]:
        table = self._images.table
        try:
            reference = parse_reference(name)
        except InvalidArgument:
            return [(table.find(name), [])]
        if not reference.tag and not reference.digest:
            found = [
                (record, [item])
                for record in table.all()
                for item in table.references(record.id)
                if item.name == reference.name and item.tag
            ]
            if found:
                return found
        if not (reference.tag or reference.digest) or reference.familiar_name == "sha256":  # an ID or part of one
            try:
                return [(table.find(name), [])]
            except NotFound as error:
                raise NotFound(f"No such image: {name}") from error
        record = table.referenced(reference)
        if record is None:
            raise NotFound("reference does not exist", hint=f"there is no image {reference.familiar} here")
        return [(record, [reference] if reference.tag else [])]

    async def save(
        self, images: list[tuple[ImageRecord, list[Reference]]], *, is_whole: bool = True
    ) -> AsyncGenerator[bytes, None]:
        """Yield one tar with images: OCI layout and Docker's manifest.json over the same blobs.

        ``is_whole`` adds the other images of their indexes that are here, and the attestations. To be closed
        (``aclosing``) by who may leave before its end: it holds a file.
        """
        async with tidy():
            content = _Content(self._images)
            for record, references in images:
                await content.add(record, references, is_whole=is_whole)
            for digest in sorted(set(content.small) | set(content.large)):
                if digest in content.small:
                    yield tar_member(blob_name(digest), content.small[digest])
                    continue
                yield tar_head(blob_name(digest), content.large[digest])
                with self._images.blobs.path(digest).open("rb") as file:
                    while block := await asyncio.to_thread(file.read, 1 << 20):
                        yield block
                yield bytes(-content.large[digest] % 512)
            index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": content.index}
            yield tar_member("index.json", msgspec.json.encode(index))
            yield tar_member("manifest.json", msgspec.json.encode(content.entries))
            yield tar_member("oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
            yield bytes(1024)


class _Content:
    """What an archive is to hold: blobs in memory and on the disk, the entries of both layouts."""

    def __init__(self, images: ImageManager) -> None:
        self._images = images
        self.small: dict[str, bytes] = {}
        self.large: dict[str, int] = {}
        self.index: list[dict[str, Any]] = []
        self.entries: list[dict[str, Any]] = []

    async def add(self, record: ImageRecord, references: list[Reference], *, is_whole: bool) -> None:
        """Take an image in."""
        digest, layers = await self._image(record)
        file = self._images.file(record)
        descriptor: dict[str, Any] = {
            "mediaType": OCI_MANIFEST,
            "digest": digest,
            "size": len(self.small[digest]),
            "platform": {"architecture": file.architecture, "os": file.os},
        }
        members = self._images.variants.members(record)[1:] if is_whole else []
        if is_whole and digest == record.manifest and (members or record.extras):
            descriptor = self._images.variants.descriptor(record) or descriptor
            self.small[record.index] = self._images.blobs.read(record.index)
            for member in members:
                await self._image(member)
            for extra in {extra for item in (record, *members) for extra in item.extras}:
                self.large[extra] = self._images.blobs.size(extra)
        for reference in references:
            notes = {
                "io.containerd.image.name": reference.full,
                "org.opencontainers.image.ref.name": reference.tag,
            }
            self.index.append({**descriptor, "annotations": notes})
        if not references:
            self.index.append(descriptor)
        tags, _ = names_of(references)
        self.entries.append(
            {"Config": blob_name(record.id), "RepoTags": tags or None, "Layers": [blob_name(blob) for blob in layers]}
        )

    async def _image(self, record: ImageRecord) -> tuple[str, list[str]]:
        """Take the blobs of one image in; return the digests of its manifest and its layers."""
        config = self._images.blobs.read(record.id)
        layers = [await self._images.changesets.with_blob(self._layer(chain)) for chain in record.layers]
        blobs = [layer.blob for layer in layers]
        manifest = self._manifest(record, config, blobs)
        digest = digest_of(manifest)
        self.small |= {record.id: config, digest: manifest}
        self.large |= {blob: self._images.blobs.size(blob) for blob in blobs}
        return digest, blobs

    def _layer(self, chain: str) -> LayerRecord:
        layer = self._images.layers.get(chain)
        if layer is None:
            raise NotFound(f"layer {chain} is not in the store")
        return layer

    def _manifest(self, record: ImageRecord, config: bytes, layers: list[str]) -> bytes:
        """Return the manifest that an image came with, or one that fits to the blobs that are here."""
        blobs = self._images.blobs
        if record.manifest and blobs.has(record.manifest):
            manifest = blobs.read(record.manifest)
            if blobs_of(manifest) == [record.id, *layers]:
                return manifest
        return msgspec.json.encode(
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": {"mediaType": OCI_CONFIG, "digest": record.id, "size": len(config)},
                "layers": [
                    {
                        "mediaType": OCI_LAYER + blob_suffix(blobs.path(layer)),
                        "digest": layer,
                        "size": blobs.size(layer),
                    }
                    for layer in layers
                ],
            }
        )


def blob_suffix(path: Path) -> str:
    """Return what a layer's media type says of its compression."""
    with path.open("rb") as file:
        head = file.read(4)
    if head.startswith(b"\x1f\x8b"):
        return "+gzip"
    return "+zstd" if head == b"\x28\xb5\x2f\xfd" else ""


def tar_head(name: str, size: int) -> bytes:
    """Return a ustar head of a regular file; ``name`` has at most 100 bytes."""
    head = bytearray(512)
    head[0 : len(name)] = name.encode()
    head[100:108] = b"0000644\0"
    head[108:116] = head[116:124] = b"0000000\0"
    if size < 8**11:
        head[124:136] = b"%011o\0" % size
    else:
        head[124:136] = b"\x80" + size.to_bytes(11, "big")
    head[136:148] = b"00000000000\0"
    head[156:157] = b"0"
    head[257:265] = b"ustar\x0000"
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


def tar_member(name: str, data: bytes) -> bytes:
    """Return a whole member."""
    return tar_head(name, len(data)) + data + bytes(-len(data) % 512)
