"""Pulling images: manifest, configuration, layers at once, with Docker's progress.

Downloads of the same blob are shared; a blob that broke off goes on where it stopped. Nothing is an
image before everything is verified, unpacked and on the disk. A pull that nobody waits for any more stops.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import msgspec

from engine.errors import Internal, InvalidArgument, NotFound, NotSupported, PortsideError, Unavailable
from engine.images.archives import DOCKER_INDEX, OCI_INDEX, Descriptor, Manifest
from engine.images.blobs import check_digest
from engine.images.layers import LayerRecord, chain_id
from engine.images.manager import ImageManager
from engine.images.records import decode_file
from engine.model.system import AuthConfig
from engine.registry.client import RegistryProblem, Repository, explain
from engine.registry.hosts import RegistrySettings
from engine.wire.references import Reference

log = logging.getLogger(__name__)

Progress = Callable[[dict[str, Any]], Awaitable[None]]

_ATTEMPTS = 5
_FIRST_PAUSE_S = 0.2
_PROGRESS_EVERY_S = 0.1
_WRITE_BYTES = 1 << 20
_MAX_CONFIG_BYTES = 8 * 1024 * 1024
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1"
_FOREIGN = ("foreign", "nondistributable")


class Puller:
    """Pulls images into an ImageManager."""

    def __init__(
        self, images: ImageManager, settings: Callable[[], RegistrySettings], architecture: str, downloads: int
    ) -> None:
        """``settings`` are read anew for each pull; ``downloads`` go on at once in the whole engine."""
        self._images = images
        self._settings = settings
        self._architecture = architecture
        self._slots = asyncio.Semaphore(downloads)
        self._unpacking = asyncio.Semaphore(2)
        self._downloads: dict[str, _Download] = {}

    async def pull(
        self, reference: Reference, platform: str, credentials: AuthConfig | None, progress: Progress
    ) -> None:
        """Pull one reference, ``latest`` when it has neither tag nor digest.

        ``progress`` gets Docker's JSON messages; it raises when the client has gone, which stops the pull.
        Raises NotFound, Unavailable and so on with moby's texts.
        """
        reference = reference.with_default_tag()
        wanted = platform or f"linux/{self._architecture}"
        settings = self._settings()
        try:
            async with Repository(reference.domain, reference.path, settings, credentials) as repository:
                with self._images.pin():
                    await self._pull(repository, reference, wanted, progress)
        except RegistryProblem as problem:
            raise explain(problem, reference.familiar, reference.familiar_name) from problem

    async def _pull(self, repository: Repository, reference: Reference, platform: str, progress: Progress) -> None:
        data, media_type, digest = await repository.manifest(reference.digest or reference.tag)
        shown = reference.tag or reference.digest
        await progress({"status": f"Pulling from {reference.path}", "id": shown})
        manifest = parse_manifest(data, media_type)
        if manifest.manifests is not None:
            chosen = choose_platform(manifest.manifests, platform)
            data, media_type, _ = await repository.manifest(check_digest(chosen.digest))
            manifest = parse_manifest(data, media_type)
        if manifest.config is None or manifest.manifests is not None:
            raise InvalidArgument(f"manifest of {reference.familiar} is no image")
        names = [reference, reference.with_digest(digest)] if reference.tag else [reference]
        present = self._images.table.get(manifest.config.digest)
        before = self._images.table.referenced(reference)
        if present is None or before is not present:
            config = await self._config(repository, manifest.config)
            layers = await self._layers(repository, config, manifest.layers, progress)
            record, _ = await self._images.add(config, layers, names, data)
            self._images.publish("pull", record.id, reference.familiar)
        else:
            for layer in manifest.layers:
                await progress({"status": "Already exists", "progressDetail": {}, "id": _short(layer.digest)})
            await self._images.table.put(present, names)
        await progress({"status": f"Digest: {digest}"})
        news = "Image is up to date for" if before is not None and before is present else "Downloaded newer image for"
        await progress({"status": f"Status: {news} {reference.familiar}"})

    async def _config(self, repository: Repository, item: Descriptor) -> bytes:
        if item.size > _MAX_CONFIG_BYTES:
            raise InvalidArgument(f"image configuration {item.digest} is larger than {_MAX_CONFIG_BYTES} bytes")
        await self._download(repository, item, None)
        return await asyncio.to_thread(self._images.blobs.read, item.digest)

    async def _layers(
        self, repository: Repository, config: bytes, items: list[Descriptor], progress: Progress
    ) -> list[LayerRecord]:
        diff_ids = decode_file(config).rootfs.diff_ids
        if len(diff_ids) != len(items):
            raise InvalidArgument(f"invalid image: {len(items)} layers and {len(diff_ids)} diff IDs")
        for item in items:
            check_digest(item.digest)
            if item.urls or any(word in item.media_type for word in _FOREIGN):
                raise NotSupported(f"layer {item.digest} is a foreign layer, which is not in the registry")
        parents = [""]
        for diff_id in diff_ids:
            parents.append(chain_id(parents[-1], check_digest(diff_id)))
        reporter = _Reporter(progress)
        layers: list[LayerRecord] = []
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(reporter.run())
                work = [
                    tasks.create_task(self._layer(repository, item, parent, diff_id, reporter))
                    for item, parent, diff_id in zip(items, parents[:-1], diff_ids, strict=True)
                ]
                layers = [await task for task in work]
                reporter.finish()
        except* (PortsideError, ConnectionError) as group:
            raise _first(group) from None
        return layers

    async def _layer(
        self, repository: Repository, item: Descriptor, parent: str, diff_id: str, reporter: _Reporter
    ) -> LayerRecord:
        name = _short(item.digest)
        present = self._images.layers.get(chain_id(parent, diff_id))
        if present is not None:
            reporter.say(name, "Already exists")
            return present
        reporter.say(name, "Pulling fs layer")
        await self._download(repository, item, reporter)
        reporter.say(name, "Download complete")
        async with self._unpacking:
            reporter.say(name, "Extracting", item.size, item.size)
            layer = await self._images.layers.unpack(parent, diff_id, item.digest, item.media_type)
        reporter.say(name, "Pull complete")
        return layer

    async def _download(self, repository: Repository, item: Descriptor, reporter: _Reporter | None) -> None:
        """Get a blob, together with whoever wants it too; the last one to leave stops it."""
        if self._images.blobs.has(item.digest):
            return
        download = self._downloads.get(item.digest)
        if download is None:
            download = _Download()
            download.task = asyncio.ensure_future(self._fetch(repository, item, download))
            self._downloads[item.digest] = download
        if reporter is not None:
            download.reporters.append(reporter)
        download.waiters += 1
        try:
            await asyncio.shield(download.task)
        finally:
            download.waiters -= 1
            if reporter is not None:
                download.reporters.remove(reporter)
            if download.task.done() or not download.waiters:
                download.task.cancel()
                if self._downloads.get(item.digest) is download:
                    del self._downloads[item.digest]
                with suppress(asyncio.CancelledError, PortsideError):
                    await download.task

    async def _fetch(self, repository: Repository, item: Descriptor, download: _Download) -> None:
        name = _short(item.digest)
        async with self._slots:
            with self._images.blobs.writer() as writer:
                pause_s = _FIRST_PAUSE_S
                for attempt in range(_ATTEMPTS):
                    try:
                        async with repository.blob(item.digest, writer.size) as (blocks, start):
                            if start != writer.size:
                                writer.restart()
                            pending = bytearray()
                            async for block in blocks:
                                pending += block
                                if writer.size + len(pending) > item.size:
                                    raise Internal(
                                        f"blob {item.digest} is longer than the {item.size} bytes it should have"
                                    )
                                if len(pending) >= _WRITE_BYTES:
                                    await asyncio.to_thread(writer.write, bytes(pending))
                                    pending.clear()
                                    download.say(name, "Downloading", writer.size, item.size)
                            await asyncio.to_thread(writer.write, bytes(pending))
                        _check_whole(item, writer.size)
                        break
                    except Unavailable as error:
                        if attempt == _ATTEMPTS - 1 or "writing a blob" in error.message:
                            raise
                        download.say(name, f"Retrying in {max(1, round(pause_s))} second{'s' if pause_s >= 2 else ''}")
                        await asyncio.sleep(pause_s)
                        pause_s *= 3
                download.say(name, "Verifying Checksum")
                if writer.digest != item.digest:
                    raise Internal(f"filesystem layer verification failed for digest {item.digest}")
                await asyncio.to_thread(writer.commit)


class _Download:
    """A blob on its way and who waits for it."""

    def __init__(self) -> None:
        self.task: asyncio.Future[None]
        self.waiters = 0
        self.reporters: list[_Reporter] = []

    def say(self, name: str, status: str, current: int = 0, total: int = 0) -> None:
        for reporter in self.reporters:
            reporter.say(name, status, current, total)


class _Reporter:
    """Sends a pull's progress: every change of a layer's status, its bytes at most ten times a second."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._last: dict[str, tuple[str, float]] = {}

    def say(self, name: str, status: str, current: int = 0, total: int = 0) -> None:
        """Note what a layer is doing."""
        now = time.monotonic()
        before = self._last.get(name)
        if before is not None and before[0] == status and now - before[1] < _PROGRESS_EVERY_S:
            return
        self._last[name] = (status, now)
        item: dict[str, Any] = {"status": status, "progressDetail": {}, "id": name}
        if total:
            item["progressDetail"] = {"current": current, "total": total}
            item["progress"] = progress_bar(current, total)
        self._queue.put_nowait(item)

    def finish(self) -> None:
        """End ``run`` when everything is sent."""
        self._queue.put_nowait(None)

    async def run(self) -> None:
        """Send until ``finish``; raises what the client's going away raises."""
        while (item := await self._queue.get()) is not None:
            await self._progress(item)


def progress_bar(current: int, total: int) -> str:
    """Return Docker's bar of 50 characters with the sizes."""
    filled = min(50, 50 * current // total)
    bar = "=" * filled + (">" if filled < 50 else "")
    return f"[{bar:<50}]  {_size(current)}/{_size(total)}"


def _size(value: float) -> str:
    units = ("B", "kB", "MB", "GB", "TB")
    unit = 0
    while value >= 1000 and unit < len(units) - 1:
        value /= 1000
        unit += 1
    return f"{value:.4g}{units[unit]}"


def parse_manifest(data: bytes, media_type: str) -> Manifest:
    """Return a manifest or an index; raises NotSupported for schema 1, InvalidArgument for anything else."""
    if media_type.startswith(_SCHEMA_1):
        raise NotSupported(
            "Docker Image Format v1 and Docker Image manifest version 2, schema 1 are not supported: "
            "ask the author of the image to bring it up to date"
        )
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
        raise InvalidArgument(f"invalid manifest: {error}") from error
    if (manifest.media_type or media_type) in (OCI_INDEX, DOCKER_INDEX) and manifest.manifests is None:
        raise InvalidArgument("invalid manifest: an index without manifests")
    return manifest


def choose_platform(items: list[Descriptor], platform: str) -> Descriptor:
    """Return the manifest for ``os/architecture[/variant]`` out of an index; raises NotFound with moby's text."""
    parts = [*platform.split("/"), "", ""]
    system, machine, variant = parts[0], {"x86_64": "amd64", "aarch64": "arm64"}.get(parts[1], parts[1]), parts[2]
    fitting: list[Descriptor] = []
    for item in items:
        offered = item.platform or {}
        if offered.get("os") != system or (machine and offered.get("architecture") != machine):
            continue
        if variant and offered.get("variant") not in (None, "", variant):
            continue
        fitting.append(item)
    if not fitting:
        raise NotFound(f"no matching manifest for {platform} in the manifest list entries")
    if machine == "arm" and not variant:
        fitting.sort(key=lambda item: str((item.platform or {}).get("variant", "")), reverse=True)
    return fitting[0]


def _check_whole(item: Descriptor, size: int) -> None:
    if size < item.size:
        raise Unavailable(f"blob {item.digest} ended after {size} of {item.size} bytes")


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first
