"""Layers that are made here: what an overlay's upper directory becomes, and the blob that such a layer leaves by.

A layer that was made here needs no blob before it is pushed or saved: its folder is enough, since ``packing``
writes the same bytes for it each time. Knows no container and no builder; both bring an upper directory.
"""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

from engine.errors import Internal, Unavailable
from engine.images.blobs import BlobStore
from engine.images.layers import LayerRecord, LayerStore
from engine.images.manifests import DOCKER_LAYER
from engine.images.programs import ProgramResult, run_program

_NAME_LENGTH = 20


class Changesets:
    """Makes layers of upper directories, and blobs of layers."""

    def __init__(self, layers: LayerStore, blobs: BlobStore) -> None:
        """Work on an engine's ``layers`` and ``blobs``."""
        self._layers = layers
        self._blobs = blobs
        self._packing: dict[str, asyncio.Lock] = {}

    async def take(self, parent: str, upper: Path, *, is_moved: bool = False) -> LayerRecord:
        """Make a layer of an upper directory on the chain ``parent`` ("" for none).

        The directory may belong to a container that goes on running; it is copied. With ``is_moved`` it becomes
        the layer's folder itself: it must be on the same file system, unmounted, and is gone afterwards, also
        after a failure. The record is not durable before ``LayerStore.commit`` (``ImageManager.add`` does it);
        call it within ``ImageManager.working``. Containers can start from the layer at once.

        Raises Unavailable when there is no room, Internal when the directory cannot be read. A failure and
        cancelling leave nothing.
        """
        async with self._layers.folder() as path:
            if is_moved:
                await asyncio.to_thread(_move, upper, path)
                result = await _run("measure", path)
            else:
                result = await _run("take", upper, path)
            return await self._layers.register(parent, result.diff_id, path, result.size)

    async def with_blob(self, layer: LayerRecord) -> LayerRecord:
        """Return a layer that has a blob, making it when there is none. Durable when it returns."""
        return layer if layer.blob and self._blobs.has(layer.blob) else await self._packed(layer)

    async def with_packed_blob(self, layer: LayerRecord) -> LayerRecord:
        """Return a layer whose blob is gzip or zstd, as registries want it. Durable when it returns."""
        if layer.blob and self._blobs.has(layer.blob) and self._blobs.compression(layer.blob) in ("gzip", "zstd"):
            return layer
        return await self._packed(layer)

    async def _packed(self, layer: LayerRecord) -> LayerRecord:
        lock = self._packing.setdefault(layer.chain_id, asyncio.Lock())
        try:
            async with lock:
                present = self._layers.get(layer.chain_id)
                if present is not None and present.blob != layer.blob:
                    return present  # somebody else was faster
                return await self._pack(layer)
        finally:
            if not lock.locked():
                self._packing.pop(layer.chain_id, None)

    async def _pack(self, layer: LayerRecord) -> LayerRecord:
        has_blob = bool(layer.blob) and self._blobs.has(layer.blob)
        source = self._blobs.path(layer.blob) if has_blob else self._layers.path(layer)
        place = self._blobs.ingest_path(secrets.token_hex(_NAME_LENGTH // 2))
        try:
            result = await _run("pack", source, place)
            if result.diff_id != layer.diff_id:
                raise Internal(
                    f"layer {layer.diff_id} has changed on the disk: it is {result.diff_id} now",
                    hint="remove the image and make it again",
                )
            await asyncio.to_thread(self._blobs.adopt, place, result.digest)
        finally:
            place.unlink(missing_ok=True)
        return await self._layers.set_blob(layer, result.digest, DOCKER_LAYER)


def _move(upper: Path, path: Path) -> None:
    path.rmdir()
    upper.rename(path)
    path.chmod(0o755)


async def _run(word: str, *paths: Path) -> ProgramResult:
    result = await run_program("packing", word, *paths, what="making a layer")
    if result.is_disk_full:
        raise Unavailable(f"making a layer: {result.error}", hint="free disk space, then try again")
    if result.error:
        raise Internal(f"making a layer: {result.error}")
    return result
