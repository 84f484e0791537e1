"""Layers that are made here: what an overlay's upper directory becomes, and the blob that such a layer leaves by.

A layer that was made here needs no blob before it is pushed or saved: its folder is enough, since ``packing``
writes the same bytes for it each time. Knows no container and no builder; both bring an upper directory.
"""

from __future__ import annotations

import asyncio
import io
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from engine.errors import Internal, PortsideError, Unavailable
from engine.images.blobs import BlobStore
from engine.images.layers import LayerRecord, LayerStore
from engine.images.manifests import DOCKER_LAYER
from engine.images.programs import TIMEOUT_S, ProgramResult, ending, parse_result, run_program, start_program

_NAME_LENGTH = 20


class Changesets:
    """Makes layers of upper directories, and blobs of layers."""

    def __init__(self, layers: LayerStore, blobs: BlobStore) -> None:
        """Work on an engine's ``layers`` and ``blobs``."""
        self._layers = layers
        self._blobs = blobs
        self._locks: dict[str, asyncio.Lock] = {}

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
            return await self._layers.register(parent, result.diff_id, path, result.size, is_synced=True)

    async def with_blob(self, layer: LayerRecord) -> LayerRecord:
        """Return a layer that has a blob, making it when there is none. Durable when it returns."""
        return layer if layer.blob and self._blobs.has(layer.blob) else await self._packed(layer)

    async def with_packed_blob(self, layer: LayerRecord) -> LayerRecord:
        """Return a layer whose blob is gzip or zstd, as registries want it. Durable when it returns."""
        if layer.blob and self._blobs.has(layer.blob) and self._blobs.compression(layer.blob) in ("gzip", "zstd"):
            return layer
        return await self._packed(layer)

    async def _packed(self, layer: LayerRecord) -> LayerRecord:
        async with self.packing(layer) as packing:
            pass
        return packing.layer

    @asynccontextmanager
    async def packing(self, layer: LayerRecord) -> AsyncIterator[Packing]:
        """Pack a layer into a gzip blob, which can be read while it grows.

        When the context ends in order, ``layer`` of what it yields has the blob, durably; an error in the context
        gives the packing up. Raises Unavailable when there is no room, Internal when the layer is damaged.
        """
        lock = self._locks.setdefault(layer.chain_id, asyncio.Lock())
        try:
            async with lock:
                present = self._layers.get(layer.chain_id)
                if present is not None and present.blob != layer.blob:  # somebody else was faster
                    yield Packing.done(present, self._blobs)
                    return
                packing = Packing(layer, self._blobs, self._blobs.ingest_path(secrets.token_hex(_NAME_LENGTH // 2)))
                work = asyncio.ensure_future(self._pack(packing))
                try:
                    yield packing
                    await work
                finally:
                    work.cancel()
                    await asyncio.gather(work, return_exceptions=True)
        finally:
            if not lock.locked():
                self._locks.pop(layer.chain_id, None)

    async def _pack(self, packing: Packing) -> None:
        layer, place = packing.layer, packing.path
        has_blob = bool(layer.blob) and self._blobs.has(layer.blob)
        source = self._blobs.path(layer.blob) if has_blob else self._layers.path(layer)
        try:
            await packing.run(source)
            await asyncio.to_thread(self._blobs.adopt, place, packing.digest)
            packing.layer = await self._layers.set_blob(layer, packing.digest, DOCKER_LAYER)
        except PortsideError as error:
            packing.fail(error)
            raise
        finally:
            place.unlink(missing_ok=True)


class _Line(ProgramResult):
    """A line of ``packing pack``: how far it is, and at last what it made."""

    read: int = 0
    written: int = 0


class Packing:
    """A blob that is being made of a layer: whoever sends it reads it while it grows."""

    def __init__(self, layer: LayerRecord, blobs: BlobStore, path: Path) -> None:
        """Nothing is written yet; it grows at ``path`` and becomes one of ``blobs``."""
        self._blobs = blobs
        self.layer = layer
        self.path = path
        self.digest = ""
        self.written = 0
        self.read = 0
        self.failure: PortsideError | None = None
        self._news = asyncio.Event()

    @classmethod
    def done(cls, layer: LayerRecord, blobs: BlobStore) -> Packing:
        """Return the one of a layer that has its blob already."""
        packing = cls(layer, blobs, blobs.path(layer.blob))
        packing.written, packing.read, packing.digest = blobs.size(layer.blob), layer.size, layer.blob
        return packing

    async def run(self, source: Path) -> None:
        """Pack a layer's folder or blob; the file is synced when this returns."""
        process = await start_program("packing", "pack", source, self.path)
        async with ending(process), asyncio.timeout(TIMEOUT_S):
            if process.stdout is None or process.stderr is None:
                raise Internal("a program was started without pipes")
            output = b""
            while line := await process.stdout.readline():
                output = line
                self._take(line)
            errors = await process.stderr.read()
            await process.wait()
        _check(parse_result(output, errors, process, "packing a layer"), "packing a layer")

    def _take(self, line: bytes) -> None:
        step = msgspec.json.decode(line, type=_Line)
        if step.digest and step.diff_id != self.layer.diff_id:
            raise Internal(
                f"layer {self.layer.diff_id} has changed on the disk: it is {step.diff_id} now",
                hint="remove the image and make it again",
            )
        self.read = max(self.read, step.read)
        self.written = step.size if step.digest else max(self.written, step.written)
        self.digest = step.digest
        self._news.set()

    def open(self) -> io.FileIO:
        """Open the blob, which may get its name just now."""
        try:
            return io.FileIO(self.path)
        except FileNotFoundError:
            return io.FileIO(self._blobs.path(self.digest))

    def fail(self, error: PortsideError) -> None:
        """Say why there is no more."""
        self.failure = error
        self._news.set()

    async def wait_beyond(self, position: int) -> None:
        """Wait until there are more than ``position`` bytes, or all, or a failure."""
        while self.written <= position and not self.digest and self.failure is None:
            self._news.clear()
            await self._news.wait()


def _move(upper: Path, path: Path) -> None:
    path.rmdir()
    upper.rename(path)
    path.chmod(0o755)


async def _run(word: str, *paths: Path) -> ProgramResult:
    result = await run_program("packing", word, *paths, what="making a layer")
    _check(result, "making a layer")
    return result


def _check(result: ProgramResult, what: str) -> None:
    if result.is_disk_full:
        raise Unavailable(f"{what}: {result.error}", hint="free disk space, then try again")
    if result.error:
        raise Internal(f"{what}: {result.error}")
