"""Loading archives of images: Docker's layout, OCI's, or both over the same blobs; one image or several.

Of a multi-platform image every platform that is whole in the archive is loaded. The names go to the one for this
machine, the others belong to it (see ``variants``).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from engine.errors import InvalidArgument, NotFound
from engine.images.blobs import digest_of
from engine.images.intake import Contents, in_thread, store_archive
from engine.images.layers import LayerRecord, chain_id
from engine.images.manager import ImageManager, Origin
from engine.images.manifests import Descriptor, Manifest, choose_platform
from engine.images.records import decode_file
from engine.images.variants import attested_by, blobs_of, index_items, matches_platform
from engine.lean import give_back_memory
from engine.wire.references import Reference, parse_reference

_MAX_DEPTH = 4

Progress = Callable[[dict[str, Any]], Awaitable[None]]


class _ArchiveEntry(msgspec.Struct, kw_only=True, rename="pascal"):
    config: str
    repo_tags: list[str] | None = None
    layers: list[str] | None = None


@dataclass
class _Found:
    """An image of an OCI layout: its manifest, the index that has it, and the name that it is given there."""

    manifest: bytes
    config: str
    layers: list[str]
    origin: Origin | None = None
    name: str = ""


class ImageLoader:
    """Loads archives into an ImageManager."""

    def __init__(self, images: ImageManager) -> None:
        """Work on ``images``."""
        self._images = images

    async def load(self, source: AsyncIterator[bytes], progress: Progress, platform: str = "") -> None:
        """Load every image of an archive, compressed or not, or those for ``platform``.

        Raises InvalidArgument for what is no such archive; images before a damaged one stay.
        """
        async with self._images.working(), tidy():
            contents = await in_thread(source, lambda reader: store_archive(reader, self._images.blobs))
            small = contents.small
            if "manifest.json" in small:
                entries = decode_json(small["manifest.json"], list[_ArchiveEntry], "manifest.json")
                known = await asyncio.to_thread(_known, contents)
                for entry in entries:
                    await self._load_entry(entry, contents, known, progress, platform)
            elif "index.json" in small:
                for item in decode_json(small["index.json"], Manifest, "index.json").manifests or []:
                    group = await asyncio.to_thread(_group, item, contents, platform)
                    await self._load_group(group, [], contents, progress, platform)
            else:
                raise InvalidArgument("invalid archive: does not contain a manifest.json")

    async def _load_entry(
        self,
        entry: _ArchiveEntry,
        contents: Contents,
        known: dict[str, list[_Found]],
        progress: Progress,
        platform: str,
    ) -> None:
        """Load an image that manifest.json tells of, with what the OCI layout beside it knows of it."""
        config = await asyncio.to_thread(contents.data, entry.config)
        layers = [await asyncio.to_thread(contents.digest, name) for name in entry.layers or []]
        references = []
        for tag in entry.repo_tags or []:
            reference = parse_reference(tag)
            if not reference.tag:
                raise InvalidArgument(f'invalid tag "{tag}"')
            references.append(reference)
        group = _at_end(digest_of(config), layers, known)
        if platform:
            others = [found for found in group if await asyncio.to_thread(_is_for, found, platform, contents)]
            group = others[-1:]
            if not group and not matches_platform(decode_file(config), platform):
                return
        if group:
            await self._load_group(group, references, contents, progress, platform)
        else:
            await self._store(config, layers, references, None, progress)

    async def _load_group(
        self, group: list[_Found], references: list[Reference], contents: Contents, progress: Progress, platform: str
    ) -> None:
        """Load the images of an index; the last one gets the names and is told of."""
        for position, found in enumerate(group):
            is_last = position == len(group) - 1
            config = await asyncio.to_thread(contents.data, blob_name(found.config))
            if platform and not matches_platform(decode_file(config), platform):
                continue
            names = list(references) if is_last else []
            if is_last and not references and found.name:
                names.append(parse_reference(found.name).with_default_tag())
            told = progress if is_last else _silent
            layers = [contents.digest(blob_name(digest)) for digest in found.layers]
            await self._store(config, layers, names, found.manifest, told, found.origin)

    async def _store(
        self,
        config: bytes,
        blobs: list[str],
        references: list[Reference],
        manifest: bytes | None,
        progress: Progress,
        origin: Origin | None = None,
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
        record, lost = await self._images.add(config, layers, references, manifest, origin=origin)
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


def _known(contents: Contents) -> dict[str, list[_Found]]:
    """Return the images of an OCI layout by the digests of their configurations, each with those of its index.

    Where the layout is broken, manifest.json alone counts.
    """
    known: dict[str, list[_Found]] = {}
    with suppress(InvalidArgument):
        items = decode_json(contents.small.get("index.json", b"{}"), Manifest, "index.json").manifests or []
        for item in items:
            if contents.has(blob_name(item.digest)):
                group = _group(item, contents, "")
                known |= {found.config: group for found in group}
    return known


def _at_end(config: str, layers: list[str], known: dict[str, list[_Found]]) -> list[_Found]:
    """Return the images of the index that has an image with these layers, that one last; none where no index has it."""
    group = known.get(config, [])
    own = [found for found in group if found.config == config and found.layers == layers]
    return [found for found in group if found.config != config] + own[:1] if own else []


def _is_for(found: _Found, platform: str, contents: Contents) -> bool:
    return matches_platform(decode_file(contents.data(blob_name(found.config))), platform)


def _group(item: Descriptor, contents: Contents, platform: str, depth: int = 0) -> list[_Found]:
    """Return the images of a manifest or an index that are in an archive, the best for this machine last."""
    data = contents.data(blob_name(item.digest))
    manifest = decode_json(data, Manifest, item.digest)
    notes = item.annotations or {}
    name = notes.get("io.containerd.image.name") or notes.get("org.opencontainers.image.ref.name", "")
    name = name if "/" in name or ":" in name else ""
    if manifest.manifests is None:
        return [_found(item.digest, data, manifest, name=name)]
    if depth > _MAX_DEPTH:
        raise InvalidArgument(f"invalid archive: indexes within indexes at {item.digest}")
    there = [child for child in manifest.manifests if contents.has(blob_name(child.digest))]
    best = _best(there, platform, item.digest)
    best.annotations = best.annotations or item.annotations
    if "index" in best.media_type or "manifest.list" in best.media_type:
        return _group(best, contents, platform, depth + 1)
    origin = Origin(data, _attestations(data, [child.digest for child in there], contents))
    found: list[_Found] = []
    for child in [*(child for child in there if child is not best and _is_image(child)), best]:
        data = contents.data(blob_name(child.digest))
        manifest = decode_json(data, Manifest, child.digest)
        if child is best or (manifest.config is not None and _is_whole(data, contents)):
            found.append(_found(child.digest, data, manifest, origin, name if child is best else ""))
    return found


def _found(digest: str, data: bytes, manifest: Manifest, origin: Origin | None = None, name: str = "") -> _Found:
    if manifest.config is None:
        raise InvalidArgument(f"invalid archive: manifest {digest} has no config")
    return _Found(data, manifest.config.digest, [layer.digest for layer in manifest.layers], origin, name)


def _is_image(item: Descriptor) -> bool:
    return (item.platform or {}).get("os") != "unknown"


def _is_whole(manifest: bytes, contents: Contents) -> bool:
    return all(contents.has(blob_name(digest)) for digest in blobs_of(manifest))


def _attestations(index: bytes, manifests: list[str], contents: Contents) -> list[str]:
    """Return the digests of an archive's attestations of some manifests, with all they consist of."""
    found: list[str] = []
    for digest in attested_by(index_items(index), manifests):
        if contents.has(blob_name(digest)):
            found += [digest, *blobs_of(contents.data(blob_name(digest)))]
    return [digest for digest in found if contents.has(blob_name(digest))]


def _best(items: list[Descriptor], platform: str, index: str) -> Descriptor:
    """Return the image for a platform, or else for this machine, or else the first that is no attestation."""
    if not items:
        raise InvalidArgument(f"invalid archive: no manifest of the index {index} is in it")
    try:
        return choose_platform(items, platform or f"linux/{os.uname().machine}")
    except NotFound:
        if platform:
            raise
        images = [item for item in items if _is_image(item)]
        return (images or items)[0]


async def _silent(item: dict[str, Any]) -> None:
    """Tell nobody of the images that come with one that is told of."""


@asynccontextmanager
async def tidy() -> AsyncIterator[None]:
    """Give the memory of large work back when it is over."""
    try:
        yield
    finally:
        give_back_memory()


def blob_name(digest: str) -> str:
    """Return where a blob is in an OCI layout."""
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def decode_json(data: bytes, kind: Any, name: str) -> Any:  # noqa: ANN401 - msgspec's own type of a type
    """Return what a file of an archive says; raises InvalidArgument when it is not of that kind."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
        raise InvalidArgument(f"invalid archive: {name}: {error}") from error
