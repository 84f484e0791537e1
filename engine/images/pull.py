"""Pulling images: manifest, configuration, layers at once, with Docker's progress.

Downloads of the same blob are shared; a blob that broke off goes on where it stopped. Nothing is an
image before everything is verified, unpacked and on the disk. A pull that nobody waits for any more stops.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from engine.errors import Internal, InvalidArgument, NotSupported, PortsideError, Unavailable
from engine.images.arrival import Arrival, ArrivalBroken
from engine.images.blobs import BlobWriter, DiskFull, check_digest
from engine.images.layers import LayerRecord, chain_id
from engine.images.manager import ImageManager, Origin
from engine.images.manifests import Descriptor, check_media_type, choose_platform, parse_manifest
from engine.images.progress import Progress, Reporter, first_of, short_name
from engine.images.records import decode_file
from engine.images.variants import matches_platform, platform_mismatch
from engine.lean import give_back_memory
from engine.model.system import AuthConfig
from engine.registry.client import RegistryProblem, Repository, explain
from engine.registry.hosts import RegistrySettings
from engine.wire.references import Reference

log = logging.getLogger(__name__)

_ATTEMPTS = 5
_FIRST_PAUSE_S = 0.2
_WRITE_BYTES = 1 << 20
_FOLLOWED_BYTES = 1 << 20  # a smaller layer is here before an unpacker has started
_MAX_CONFIG_BYTES = 8 * 1024 * 1024
_FOREIGN = ("foreign", "nondistributable")


class Puller:
    """Pulls images into an ImageManager."""

    def __init__(
        self, images: ImageManager, settings: Callable[[], RegistrySettings], architecture: str, downloads: int
    ) -> None:
        """``settings`` are read anew for each pull; ``downloads`` go on at once in the whole engine."""
        self._images = images
        self.settings = settings
        self._architecture = architecture
        self._slots = asyncio.Semaphore(downloads)
        self._unpacking = asyncio.Semaphore(2)
        self._downloads: dict[str, _Download] = {}

    def limit(self, downloads: int) -> None:
        """Let ``downloads`` go on at once from now on; those that go on already do not count."""
        self._slots = asyncio.Semaphore(downloads)

    async def pull(
        self, reference: Reference, platform: str, credentials: AuthConfig | None, progress: Progress
    ) -> None:
        """Pull one reference, ``latest`` when it has neither tag nor digest.

        ``progress`` gets Docker's JSON messages; it raises when the client has gone, which stops the pull.
        Raises NotFound, Unavailable and so on with moby's texts. A pull that fails leaves nothing.
        """
        reference = reference.with_default_tag()
        async with self._opened(reference, credentials) as repository:
            is_news = await self._pull(repository, reference, platform, progress)
            await self._finish(reference, is_news=is_news, progress=progress)

    async def pull_all(
        self, reference: Reference, platform: str, credentials: AuthConfig | None, progress: Progress
    ) -> None:
        """Pull every tag of a repository, one after the other."""
        async with self._opened(reference, credentials) as repository:
            is_news = False
            for tag in await repository.tags():
                if await self._pull(repository, reference.with_tag(tag), platform, progress):
                    is_news = True
            await self._finish(reference, is_news=is_news, progress=progress)

    @asynccontextmanager
    async def _opened(self, reference: Reference, credentials: AuthConfig | None) -> AsyncIterator[Repository]:
        try:
            async with (
                Repository(reference.domain, reference.path, self.settings(), credentials) as repository,
                self._images.working(),
            ):
                try:
                    yield repository
                finally:
                    await self._let_others_finish(repository)
        except RegistryProblem as problem:
            raise explain(problem, reference.familiar, reference.familiar_name) from problem
        finally:
            give_back_memory()

    async def _let_others_finish(self, repository: Repository) -> None:
        """Keep a repository open while another pull waits for a blob that comes from it.

        When this is cancelled, those others begin anew on their own.
        """
        while downloads := [item.task for item in self._downloads.values() if item.repository is repository]:
            try:
                await asyncio.wait(downloads)
            except asyncio.CancelledError:
                for task in downloads:
                    task.cancel()
                raise

    async def _finish(self, reference: Reference, *, is_news: bool, progress: Progress) -> None:
        news = "Downloaded newer image for" if is_news else "Image is up to date for"
        await progress({"status": f"Status: {news} {reference.familiar}"})
        record = self._images.table.referenced(reference)
        image_id = record.id if record else ""
        self._images.publish("pull", reference.familiar, reference.familiar_name, image_id)

    async def _pull(self, repository: Repository, reference: Reference, platform: str, progress: Progress) -> bool:
        """Pull one reference; return whether it means another image now."""
        data, media_type, digest = await repository.manifest(reference.digest or reference.tag)
        shown = reference.tag if not reference.digest else reference.full
        await progress({"status": f"Pulling from {reference.path}", "id": shown})
        manifest = parse_manifest(data, media_type)
        origin: Origin | None = None
        if manifest.manifests is not None:
            origin = Origin(data)
            chosen = choose_platform(manifest.manifests, platform or f"linux/{self._architecture}")
            data, media_type, _ = await repository.manifest(check_digest(chosen.digest))
            manifest = parse_manifest(data, media_type)
        if manifest.config is None or manifest.manifests is not None:
            raise InvalidArgument(f"manifest of {reference.familiar} is no image")
        check_media_type(manifest.config.media_type)
        by_digest = reference.with_digest(digest)
        names = [by_digest] if reference.digest else [reference, by_digest]
        before = self._images.table.referenced(names[0])
        present = self._images.table.get(check_digest(manifest.config.digest))
        if present is None or present.hidden:
            config = await self._config(repository, manifest.config)
            layers = await self._layers(repository, config, manifest.layers, progress)
            record, _ = await self._images.add(config, layers, names, data, origin=origin)
        else:
            record = await self._images.name(present, names, data, origin)
        await progress({"status": f"Digest: {digest}"})
        file = self._images.file(record)
        if platform and not matches_platform(file, platform):
            await progress({"status": f"WARNING: {platform_mismatch(reference.familiar, file, platform)}"})
        return before is None or before.id != record.id

    async def _config(self, repository: Repository, item: Descriptor) -> bytes:
        if item.size > _MAX_CONFIG_BYTES:
            raise InvalidArgument(f"image configuration {item.digest} is larger than {_MAX_CONFIG_BYTES} bytes")
        await self._download(repository, item, None)
        config = await asyncio.to_thread(self._images.blobs.read, item.digest)
        file = decode_file(config)
        if file.os not in ("", "linux"):
            raise InvalidArgument(f"operating system is not supported: the image is for {file.os}")
        return config

    async def _layers(
        self, repository: Repository, config: bytes, items: list[Descriptor], progress: Progress
    ) -> list[LayerRecord]:
        diff_ids = decode_file(config).rootfs.diff_ids
        if len(diff_ids) != len(items):
            raise InvalidArgument(f"invalid image: {len(items)} layers and {len(diff_ids)} diff IDs")
        for item in items:
            check_digest(item.digest)
            check_media_type(item.media_type)
            if item.urls or any(word in item.media_type for word in _FOREIGN):
                raise NotSupported(f"layer {item.digest} is a foreign layer, which is not in the registry")
        parents = [""]
        for diff_id in diff_ids:
            parents.append(chain_id(parents[-1], check_digest(diff_id)))
        reporter = Reporter(progress)
        layers: list[LayerRecord] = []
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(reporter.run())
                work: list[asyncio.Task[LayerRecord]] = []
                for item, parent, diff_id in zip(items, parents[:-1], diff_ids, strict=True):
                    below = work[-1] if work else None
                    work.append(tasks.create_task(self._layer(repository, item, parent, diff_id, below, reporter)))
                layers = [await task for task in work]
                reporter.finish()
        except BaseExceptionGroup as group:  # one layer's failure ended the others: that is what is told
            raise first_of(group) from group
        return layers

    async def _layer(
        self,
        repository: Repository,
        item: Descriptor,
        parent: str,
        diff_id: str,
        below: asyncio.Task[LayerRecord] | None,
        reporter: Reporter,
    ) -> LayerRecord:
        name = short_name(item.digest)
        present = self._images.layers.get(chain_id(parent, diff_id))
        if present is not None:
            reporter.say(name, "Already exists")
            return present
        reporter.say(name, "Pulling fs layer")
        lacks_below = below is not None and not below.done()
        following = asyncio.ensure_future(self._follow(item, parent, diff_id))
        try:
            await self._download(repository, item, reporter)
            reporter.say(name, "Download complete")
            try:
                layer = await self._unpack(item, parent, diff_id, reporter, following)
            except InvalidArgument:
                if below is None or not lacks_below:
                    raise
                await below  # a hard link into a layer beneath that was not unpacked yet?
                layer = await self._unpack(item, parent, diff_id, reporter, None)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        reporter.say(name, "Pull complete")
        return layer

    async def _follow(self, item: Descriptor, parent: str, diff_id: str) -> LayerRecord | None:
        """Unpack a layer while it comes; None when it came too soon, or did not come in one piece."""
        download = self._downloads.get(item.digest)
        if download is None or item.size < _FOLLOWED_BYTES:
            return None
        with suppress(ArrivalBroken):
            return await self._images.layers.unpack(parent, diff_id, item.digest, item.media_type, download.arrival)
        return None

    async def _unpack(
        self,
        item: Descriptor,
        parent: str,
        diff_id: str,
        reporter: Reporter,
        following: asyncio.Future[LayerRecord | None] | None,
    ) -> LayerRecord:
        reporter.say(short_name(item.digest), "Extracting", item.size, item.size)
        if following is not None and (layer := await following):
            return layer
        async with self._unpacking:
            return await self._images.layers.unpack(parent, diff_id, item.digest, item.media_type)

    async def _download(self, repository: Repository, item: Descriptor, reporter: Reporter | None) -> None:
        """Get a blob, together with whoever wants it too; the last one to leave stops it."""
        while not self._images.blobs.has(item.digest):
            download = self._downloads.get(item.digest)
            if download is None:
                download = _Download(repository)
                download.task = asyncio.ensure_future(self._fetch(repository, item, download))
                self._downloads[item.digest] = download
            try:
                await self._join(download, item.digest, reporter)
            except (PortsideError, asyncio.CancelledError):
                if download.repository is repository or _is_cancelled():
                    raise
                # somebody else's registry or credentials did not give it: this pull tries its own

    async def _join(self, download: _Download, digest: str, reporter: Reporter | None) -> None:
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
                if self._downloads.get(digest) is download:
                    del self._downloads[digest]
                download.task.cancel()
                with suppress(asyncio.CancelledError, PortsideError):
                    await download.task

    async def _fetch(self, repository: Repository, item: Descriptor, download: _Download) -> None:
        name = short_name(item.digest)
        if self._slots.locked():
            download.say(name, "Waiting")
        async with self._slots:
            with self._images.blobs.writer() as writer:
                download.arrival.begin(writer.path, item.size)
                try:
                    await self._fetch_into(writer, repository, item, download)
                    await asyncio.to_thread(writer.commit)
                    download.arrival.complete()
                finally:
                    download.arrival.give_up()

    async def _fetch_into(
        self, writer: BlobWriter, repository: Repository, item: Descriptor, download: _Download
    ) -> None:
        """Get a blob with as many attempts as it takes while it goes on; raises Internal for one that is wrong."""
        name = short_name(item.digest)
        failures, pause_s, reached = 0, _FIRST_PAUSE_S, 0
        while True:
            try:
                await self._receive(repository, item, writer, download)
                break
            except (Unavailable, RegistryProblem) as error:
                if writer.size > reached:  # it broke off, but goes on: that may happen any number of times
                    failures, pause_s, reached = 0, _FIRST_PAUSE_S, writer.size
                failures += 1
                if failures >= _ATTEMPTS or not is_passing(error):
                    raise
                download.say(name, f"Retrying in {max(1, round(pause_s))} second{'s' if pause_s >= 2 else ''}")
                await asyncio.sleep(pause_s)
                pause_s *= 3
        download.say(name, "Verifying Checksum")
        if writer.digest != item.digest:
            raise Internal(
                f"filesystem layer verification failed for digest {item.digest}: what came is {writer.digest}"
            )

    async def _receive(self, repository: Repository, item: Descriptor, writer: BlobWriter, download: _Download) -> None:
        """Get what is missing of a blob; raises Unavailable when it ends too soon, Internal when it is too long."""
        async with repository.blob(item.digest, writer.size) as (blocks, start):
            if start != writer.size:
                writer.restart()
                download.arrival.advance(0)
            pending = bytearray()
            try:
                async for block in blocks:
                    pending += block
                    if writer.size + len(pending) > item.size:
                        raise Internal(f"blob {item.digest} is longer than the {item.size} bytes it should have")
                    if len(pending) >= _WRITE_BYTES:
                        await asyncio.to_thread(writer.write, pending)
                        download.arrival.advance(writer.size)
                        pending = bytearray()
                        download.say(short_name(item.digest), "Downloading", writer.size, item.size)
            finally:
                if pending and writer.size + len(pending) <= item.size:
                    await asyncio.to_thread(writer.write, pending)
                    download.arrival.advance(writer.size)
        if writer.size < item.size:
            raise Unavailable(f"blob {item.digest} ended after {writer.size} of {item.size} bytes: unexpected EOF")


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def is_passing(error: Unavailable | RegistryProblem) -> bool:
    """Whether a download that failed so may work later: not with a full disk, and not when it was refused."""
    if isinstance(error, RegistryProblem):
        return error.status == 429 or error.status >= 500
    return not isinstance(error, DiskFull)


class _Download:
    """A blob on its way and who waits for it."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.arrival = Arrival()
        self.task: asyncio.Future[None]
        self.waiters = 0
        self.reporters: list[Reporter] = []

    def say(self, name: str, status: str, current: int = 0, total: int = 0) -> None:
        for reporter in self.reporters:
            reporter.say(name, status, current, total)
