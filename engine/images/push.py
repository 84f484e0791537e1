"""Pushing images: layers at once, with Docker's progress, to a registry that may break off, refuse or forget.

A layer that has no blob for registries is packed first; what the registry has is not sent, what another of its
repositories has is taken over from there. The manifest goes last: a push that fails has named nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from engine.errors import InvalidArgument, NotFound
from engine.images.blobs import digest_of
from engine.images.layers import LayerRecord
from engine.images.manager import ImageManager
from engine.images.manifests import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
    Manifest,
    parse_manifest,
)
from engine.images.progress import Reporter, first_of, short_name
from engine.images.records import ImageRecord
from engine.lean import give_back_memory
from engine.model.system import AuthConfig
from engine.registry.connection import RegistryProblem
from engine.registry.hosts import RegistrySettings
from engine.registry.upload import PushRepository, Retrying, StoredBlob, explain_push
from engine.wire.references import Reference

log = logging.getLogger(__name__)

Progress = Callable[[dict[str, Any]], Awaitable[None]]

_MOUNT_ATTEMPTS = 4


class _Layer(msgspec.Struct):
    """One layer to be sent; ``blob`` is "" until it is packed."""

    record: LayerRecord
    blob: str
    media_type: str
    size: int


class Pusher:
    """Pushes images out of an ImageManager."""

    def __init__(self, images: ImageManager, settings: Callable[[], RegistrySettings], uploads: int) -> None:
        """``settings`` are read anew for each push; ``uploads`` go on at once in the whole engine."""
        self._images = images
        self._settings = settings
        self._slots = asyncio.Semaphore(uploads)
        self._packing = asyncio.Semaphore(2)
        self._has_repacked = False

    def limit(self, uploads: int) -> None:
        """Let ``uploads`` go on at once from now on; those that go on already do not count."""
        self._slots = asyncio.Semaphore(uploads)

    async def push(
        self, reference: Reference, platform: str, credentials: AuthConfig | None, progress: Progress
    ) -> None:
        """Push one tag, or every tag of a repository when the reference has none; ``platform`` chooses among variants.

        ``progress`` gets Docker's JSON messages; it raises when the client has gone, which stops the push.
        Raises with moby's texts. A push that fails leaves no name and no upload at the registry.
        """
        if platform:
            self._images.find(reference.familiar, platform)
        await progress({"status": f"The push refers to repository [{reference.name}]"})
        tags = self._tags(reference)
        if platform:
            tags = [(tag, self._images.find(reference.with_tag(tag).familiar, platform)[0]) for tag, _ in tags]
        async with self._opened(reference, credentials) as repository:
            done: dict[str, Descriptor] = {}
            for tag, record in tags:
                await self._push(repository, reference.with_tag(tag), record, done, progress)
        self._images.publish("push", reference.familiar, reference.familiar_name, tags[0][1].id)
        if self._has_repacked:
            self._has_repacked = False
            await self._images.collect()  # the blobs that were packed anew

    def _tags(self, reference: Reference) -> list[tuple[str, ImageRecord]]:
        table = self._images.table
        named = [
            (item.tag, record)
            for record in table.all()
            for item in table.references(record.id)
            if item.name == reference.name
        ]
        if not named:
            raise NotFound(f"An image does not exist locally with the tag: {reference.familiar_name}")
        if reference.digest:
            raise InvalidArgument("cannot push a digest reference")
        if reference.tag:
            found = [(tag, record) for tag, record in named if tag == reference.tag]
            if not found:
                raise NotFound(f"tag does not exist: {reference.familiar}")
            return found
        tags = sorted(((tag, record) for tag, record in named if tag), key=lambda item: item[0])
        if not tags:
            raise NotFound(f"no tags to push for {reference.familiar_name}")
        return tags

    @asynccontextmanager
    async def _opened(self, reference: Reference, credentials: AuthConfig | None) -> AsyncIterator[PushRepository]:
        try:
            async with (
                PushRepository(
                    reference.domain, reference.path, self._settings(), credentials, actions="push,pull"
                ) as repository,
                self._images.working(),
            ):
                await repository.settle()
                yield repository
        except RegistryProblem as problem:
            raise explain_push(problem) from problem
        finally:
            give_back_memory()

    async def _push(
        self,
        repository: PushRepository,
        reference: Reference,
        record: ImageRecord,
        done: dict[str, Descriptor],
        progress: Progress,
    ) -> None:
        """Push one tag; ``done`` has what the repository is known to have, by diff ID."""
        manifest, layers = await self._plan(record)
        items = await self._send_layers(repository, reference, layers, done, progress)
        config = await asyncio.to_thread(self._images.blobs.read, record.id)
        await repository.put_bytes(config, record.id)
        media_type = DOCKER_MANIFEST
        if manifest is not None:
            data = await asyncio.to_thread(self._images.blobs.read, record.manifest)
            media_type = manifest.media_type or OCI_MANIFEST
        else:
            data, media_type = _build_manifest(record.id, len(config), items)
        digest = digest_of(data)
        await repository.put_manifest(reference.tag, data, media_type)
        await progress({"status": f"{reference.tag}: digest: {digest} size: {len(data)}"})
        await self._images.pushed(record, reference.with_digest(digest), data)
        aux = {"Tag": reference.tag, "Digest": digest, "Size": len(data)}
        await progress({"progressDetail": {}, "aux": aux})

    async def _plan(self, record: ImageRecord) -> tuple[Manifest | None, list[_Layer]]:
        """Return the manifest that the image came with, if it can be sent as it is, and the layers to send."""
        records = [self._layer(chain) for chain in record.layers]
        blobs = self._images.blobs
        if record.manifest and blobs.has(record.manifest):
            manifest = parse_manifest(await asyncio.to_thread(blobs.read, record.manifest), "")
            if len(manifest.layers) == len(records) and all(blobs.has(item.digest) for item in manifest.layers):
                layers = [
                    _Layer(layer, item.digest, item.media_type, item.size)
                    for layer, item in zip(records, manifest.layers, strict=True)
                ]
                return manifest, layers
        return None, [_Layer(layer, "", "", 0) for layer in records]

    def _layer(self, chain: str) -> LayerRecord:
        layer = self._images.layers.get(chain)
        if layer is None:
            raise NotFound(f"failed to get top layer from image: layer {chain} is not in the store")
        return layer

    async def _send_layers(
        self,
        repository: PushRepository,
        reference: Reference,
        layers: list[_Layer],
        done: dict[str, Descriptor],
        progress: Progress,
    ) -> list[Descriptor]:
        reporter = Reporter(progress)
        for layer in reversed(layers):
            reporter.say(short_name(layer.record.diff_id), "Preparing")
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(reporter.run())
                work: dict[str, asyncio.Task[Descriptor]] = {}
                for layer in reversed(layers):
                    diff_id = layer.record.diff_id
                    if diff_id not in work:
                        sending = self._send(repository, reference, layer, done.get(diff_id), reporter)
                        work[diff_id] = tasks.create_task(sending)
                for diff_id, task in work.items():
                    done[diff_id] = await task
                reporter.finish()
        except BaseExceptionGroup as group:  # one layer's failure ended the others: that is what is told
            raise first_of(group) from group
        return [done[layer.record.diff_id] for layer in layers]

    async def _send(
        self,
        repository: PushRepository,
        reference: Reference,
        layer: _Layer,
        known: Descriptor | None,
        reporter: Reporter,
    ) -> Descriptor:
        name = short_name(layer.record.diff_id)
        if known is not None and layer.blob in ("", known.digest):
            reporter.say(name, "Layer already exists")
            return known
        if self._slots.locked():
            reporter.say(name, "Waiting")
        async with self._slots:
            if not layer.blob and await self._is_packed(layer.record):
                self._take(layer, layer.record)

            async def retry(seconds: int) -> None:
                for left in range(seconds, 0, -1):
                    reporter.say(name, f"Retrying in {left} second{'s' if left > 1 else ''}")
                    await asyncio.sleep(1)

            if not layer.blob:
                await self._pack_and_send(repository, layer, reporter, retry)
                return Descriptor(media_type=layer.media_type, digest=layer.blob, size=layer.size)
            item = Descriptor(media_type=layer.media_type, digest=layer.blob, size=layer.size)
            if await repository.has_blob(layer.blob):
                reporter.say(name, "Layer already exists")
                return item
            for source in self._sources(reference, layer):
                if await repository.mount(layer.blob, source):
                    reporter.say(name, f"Mounted from {source}")
                    return item
            await repository.put_blob(
                StoredBlob(self._images.blobs.path(layer.blob), layer.blob, layer.size),
                lambda sent: reporter.say(name, "Pushing", sent, layer.size),
                retry,
            )
            reporter.say(name, "Pushed")
            return item

    async def _is_packed(self, layer: LayerRecord) -> bool:
        """Whether a layer has a blob as registries want it."""
        blobs = self._images.blobs
        if not layer.blob or not blobs.has(layer.blob):
            return False
        return await asyncio.to_thread(blobs.compression, layer.blob) != ""

    def _take(self, layer: _Layer, packed: LayerRecord) -> None:
        self._has_repacked |= layer.record.blob not in ("", packed.blob)
        blobs = self._images.blobs
        layer.record, layer.blob, layer.size = packed, packed.blob, blobs.size(packed.blob)
        layer.media_type = DOCKER_LAYER if blobs.compression(packed.blob) == "gzip" else f"{OCI_LAYER}+zstd"

    async def _pack_and_send(
        self, repository: PushRepository, layer: _Layer, reporter: Reporter, retry: Retrying
    ) -> None:
        """Send a layer's blob while it is being made; figures are those of the layer itself, as Docker has them."""
        name, size = short_name(layer.record.diff_id), layer.record.size
        async with self._packing, self._images.changesets.packing(layer.record) as packing:

            def tell(sent: int) -> None:
                current = packing.read * sent // packing.written if packing.written else 0
                reporter.say(name, "Pushing", min(current, size), size)

            await repository.put_blob(packing, tell, retry)
        self._take(layer, packing.layer)
        reporter.say(name, "Pushed")

    def _sources(self, reference: Reference, layer: _Layer) -> list[str]:
        """Return other repositories of the registry that should have a layer's blob, likeliest first."""
        found: dict[str, None] = {}
        table = self._images.table
        for record in table.all():
            if layer.record.chain_id not in record.layers:
                continue
            for item in table.references(record.id):
                if item.digest and item.domain == reference.domain and item.path != reference.path:
                    found[item.path] = None
        wanted = reference.path.split("/")
        return sorted(found, key=lambda path: -_common(path.split("/"), wanted))[:_MOUNT_ATTEMPTS]


def _common(parts: list[str], wanted: list[str]) -> int:
    """Return how many parts two paths share at their beginning."""
    count = 0
    for left, right in zip(parts, wanted, strict=False):
        if left != right:
            break
        count += 1
    return count


def _build_manifest(config: str, size: int, layers: list[Descriptor]) -> tuple[bytes, str]:
    """Return a manifest and its media type: Docker's, or OCI's where a layer is none of Docker's."""
    is_docker = all(item.media_type == DOCKER_LAYER for item in layers)
    media_type = DOCKER_MANIFEST if is_docker else OCI_MANIFEST
    if not is_docker:
        for item in layers:
            if item.media_type == DOCKER_LAYER:
                item.media_type = f"{OCI_LAYER}+gzip"
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": {"mediaType": DOCKER_CONFIG if is_docker else OCI_CONFIG, "size": size, "digest": config},
        "layers": [{"mediaType": item.media_type, "size": item.size, "digest": item.digest} for item in layers],
    }
    return msgspec.json.format(msgspec.json.encode(manifest), indent=3), media_type
