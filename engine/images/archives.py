"""Loading, saving and importing images as archives: Docker's and OCI's layout in one tar, as Docker 25 writes them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from engine.errors import InvalidArgument, NotFound
from engine.images.blobs import digest_of
from engine.images.changes import apply_changes
from engine.images.intake import Contents, in_thread, store_archive, store_blob
from engine.images.layers import LayerRecord, chain_id
from engine.images.manager import ImageManager, matches_platform, names_of
from engine.images.manifests import (
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
    Manifest,
    choose_platform,
)
from engine.images.records import ImageRecord, decode_file
from engine.lean import give_back_memory
from engine.model.image import ImageConfig
from engine.wire.references import Reference, parse_reference
from engine.wire.times import format_ns

_MAX_DEPTH = 4

Progress = Callable[[dict[str, Any]], Awaitable[None]]


class _ArchiveEntry(msgspec.Struct, kw_only=True, rename="pascal"):
    config: str
    repo_tags: list[str] | None = None
    layers: list[str] | None = None


class ImageArchives:
    """Archives in and out."""

    def __init__(self, images: ImageManager) -> None:
        """Work on ``images``."""
        self._images = images

    # In

    async def load(self, source: AsyncIterator[bytes], progress: Progress, platform: str = "") -> None:
        """Load every image of an archive (Docker's or OCI's layout, compressed or not), or those for ``platform``.

        Raises InvalidArgument for what is no such archive; images before a damaged one stay.
        """
        async with self._images.working(), _tidy():
            contents = await in_thread(source, lambda reader: store_archive(reader, self._images.blobs))
            if "manifest.json" in contents.small:
                entries = _decode(contents.small["manifest.json"], list[_ArchiveEntry], "manifest.json")
                for entry in entries:
                    await self._load_entry(entry, contents, progress, platform)
            elif "index.json" in contents.small:
                index = _decode(contents.small["index.json"], Manifest, "index.json")
                for item in index.manifests or []:
                    await self._load_manifest(item, contents, progress, platform)
            else:
                raise InvalidArgument("invalid archive: does not contain a manifest.json")

    async def _load_entry(self, entry: _ArchiveEntry, contents: Contents, progress: Progress, platform: str) -> None:
        config = await asyncio.to_thread(contents.data, entry.config)
        layers = [await asyncio.to_thread(contents.digest, name) for name in entry.layers or []]
        references = []
        for tag in entry.repo_tags or []:
            reference = parse_reference(tag)
            if not reference.tag:
                raise InvalidArgument(f'invalid tag "{tag}"')
            references.append(reference)
        if not platform or matches_platform(decode_file(config), platform):
            await self._store(config, layers, references, None, progress)

    async def _load_manifest(
        self, item: Descriptor, contents: Contents, progress: Progress, platform: str, depth: int = 0
    ) -> None:
        data = await asyncio.to_thread(contents.data, f"blobs/sha256/{item.digest.removeprefix('sha256:')}")
        manifest = _decode(data, Manifest, item.digest)
        if manifest.manifests is not None:
            there = [child for child in manifest.manifests if contents.has(_blob_name(child.digest))]
            child = _best(there, platform, item.digest)
            child.annotations = child.annotations or item.annotations
            if depth > _MAX_DEPTH:
                raise InvalidArgument(f"invalid archive: indexes within indexes at {item.digest}")
            await self._load_manifest(child, contents, progress, platform, depth + 1)
            return
        if manifest.config is None:
            raise InvalidArgument(f"invalid archive: manifest {item.digest} has no config")
        config = await asyncio.to_thread(
            contents.data, f"blobs/sha256/{manifest.config.digest.removeprefix('sha256:')}"
        )
        layers = [contents.digest(f"blobs/sha256/{layer.digest.removeprefix('sha256:')}") for layer in manifest.layers]
        notes = item.annotations or {}
        name = notes.get("io.containerd.image.name") or notes.get("org.opencontainers.image.ref.name", "")
        references = []
        if name and ("/" in name or ":" in name):
            references.append(parse_reference(name).with_default_tag())
        if not platform or matches_platform(decode_file(config), platform):
            await self._store(config, layers, references, data, progress)

    async def _store(
        self,
        config: bytes,
        blobs: list[str],
        references: list[Reference],
        manifest: bytes | None,
        progress: Progress,
    ) -> None:
        file = decode_file(config)
        if file.os not in ("", "linux"):
            raise InvalidArgument(f"cannot load {file.os} image on linux")
        diff_ids = file.rootfs.diff_ids
        if len(diff_ids) != len(blobs):
            raise InvalidArgument(
                f"invalid manifest, layers length mismatch: expected {len(diff_ids)}, got {len(blobs)}"
            )
        layers: list[LayerRecord] = []
        for diff_id, blob in zip(diff_ids, blobs, strict=True):
            parent = layers[-1].chain_id if layers else ""
            present = self._images.layers.get(chain_id(parent, diff_id))
            if present is not None:
                layers.append(present)
                continue
            size = self._images.blobs.size(blob)
            name = diff_id.removeprefix("sha256:")[:12]
            await progress({"status": "Loading layer", "progressDetail": {"current": 0, "total": size}, "id": name})
            layers.append(await self._images.layers.unpack(parent, diff_id, blob))
            await progress({"status": "Loading layer", "progressDetail": {"current": size, "total": size}, "id": name})
        record, lost = await self._images.add(config, layers, references, manifest)
        for old in lost:
            name = references[0].familiar
            await progress(
                {"stream": f"The image {name} already exists, renaming the old one with ID {old.id} to empty string\n"}
            )
        for reference in references:
            await progress({"stream": f"Loaded image: {reference.familiar}\n"})
        if not references:
            await progress({"stream": f"Loaded image ID: {record.id}\n"})
        self._images.publish("load", record.id, record.id)

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
        async with self._images.working(), _tidy():
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

        A repository without a tag means all of its tags. Raises NotFound, for an image that is not for
        ``platform`` too.
        """
        chosen: dict[str, tuple[ImageRecord, list[Reference]]] = {}
        for name in names:
            for record, references in self._matching(name):
                self._images.find(record.id, platform)
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
        record = table.referenced(reference.with_default_tag())
        if record is not None:
            return [(record, [reference] if reference.tag else [])]
        return [(table.find(name), [])]

    async def save(self, images: list[tuple[ImageRecord, list[Reference]]]) -> AsyncIterator[bytes]:
        """Yield one tar with images: OCI layout and Docker's manifest.json over the same blobs."""
        async with _tidy():
            async for block in self._save(images):
                yield block

    async def _save(self, images: list[tuple[ImageRecord, list[Reference]]]) -> AsyncIterator[bytes]:
        index: list[dict[str, Any]] = []
        entries: list[dict[str, Any]] = []
        small: dict[str, bytes] = {}
        large: dict[str, int] = {}
        for record, references in images:
            config = self._images.blobs.read(record.id)
            layers = [await self._images.changesets.with_blob(self._layer(chain)) for chain in record.layers]
            manifest = self._manifest(record, config, layers)
            digest = digest_of(manifest)
            small |= {record.id: config, digest: manifest}
            large |= {layer.blob: self._images.blobs.size(layer.blob) for layer in layers}
            file = decode_file(config)
            descriptor: dict[str, Any] = {
                "mediaType": OCI_MANIFEST,
                "digest": digest,
                "size": len(manifest),
                "platform": {"architecture": file.architecture, "os": file.os},
            }
            tags, _ = names_of(references)
            for reference in references:
                notes = {
                    "io.containerd.image.name": reference.full,
                    "org.opencontainers.image.ref.name": reference.tag,
                }
                index.append({**descriptor, "annotations": notes})
            if not references:
                index.append(descriptor)
            entries.append(
                {
                    "Config": _blob_name(record.id),
                    "RepoTags": tags or None,
                    "Layers": [_blob_name(layer.blob) for layer in layers],
                }
            )
        for digest in sorted(set(small) | set(large)):
            if digest in small:
                yield tar_member(_blob_name(digest), small[digest])
            else:
                async for block in self._blob(digest, large[digest]):
                    yield block
        yield tar_member(
            "index.json", msgspec.json.encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": index})
        )
        yield tar_member("manifest.json", msgspec.json.encode(entries))
        yield tar_member("oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        yield bytes(1024)

    def _layer(self, chain: str) -> LayerRecord:
        layer = self._images.layers.get(chain)
        if layer is None:
            raise NotFound(f"layer {chain} is not in the store")
        return layer

    def _manifest(self, record: ImageRecord, config: bytes, layers: list[LayerRecord]) -> bytes:
        if record.manifest and self._images.blobs.has(record.manifest):
            return self._images.blobs.read(record.manifest)
        blobs = self._images.blobs
        return msgspec.json.encode(
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": {"mediaType": OCI_CONFIG, "digest": record.id, "size": len(config)},
                "layers": [
                    {
                        "mediaType": OCI_LAYER + blob_suffix(blobs.path(layer.blob)),
                        "digest": layer.blob,
                        "size": blobs.size(layer.blob),
                    }
                    for layer in layers
                ],
            }
        )

    async def _blob(self, digest: str, size: int) -> AsyncIterator[bytes]:
        yield tar_head(_blob_name(digest), size)
        with self._images.blobs.path(digest).open("rb") as file:
            while block := await asyncio.to_thread(file.read, 1 << 20):
                yield block
        yield bytes(-size % 512)


def _best(items: list[Descriptor], platform: str, index: str) -> Descriptor:
    """Return the image for a platform, or else for this machine, or else the first that is no attestation."""
    if not items:
        raise InvalidArgument(f"invalid archive: no manifest of the index {index} is in it")
    try:
        return choose_platform(items, platform or f"linux/{os.uname().machine}")
    except NotFound:
        if platform:
            raise
        images = [item for item in items if (item.platform or {}).get("os") != "unknown"]
        return (images or items)[0]


@asynccontextmanager
async def _tidy() -> AsyncIterator[None]:
    """Give the memory of large work back when it is over."""
    try:
        yield
    finally:
        give_back_memory()


def blob_suffix(path: Path) -> str:
    """Return what a layer's media type says of its compression."""
    with path.open("rb") as file:
        head = file.read(4)
    if head.startswith(b"\x1f\x8b"):
        return "+gzip"
    return "+zstd" if head == b"\x28\xb5\x2f\xfd" else ""


def _blob_name(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


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


def _decode(data: bytes, kind: Any, name: str) -> Any:  # noqa: ANN401 - msgspec's own type of a type
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
        raise InvalidArgument(f"invalid archive: {name}: {error}") from error
