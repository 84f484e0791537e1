"""The builder: a context and a Dockerfile become an image.

Stages are built when something asks for them, independent ones at once; what they share is in ``build``. Knows
nothing of where context, secrets and credentials come from.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from engine.build.build import Build, Shared
from engine.build.cache import BuildCache, Committer
from engine.build.context import Context, receive_context
from engine.build.contexts import KeptContexts
from engine.build.dockerfile.arguments import BuildArguments, platform_arguments
from engine.build.dockerfile.checks import check
from engine.build.dockerfile.parse import Dockerfile, parse_dockerfile
from engine.build.graph import StageGraph, add_labels, target_of
from engine.build.interfaces import Progress, Pulls
from engine.build.options import BuildOptions
from engine.build.output import BuildOutput, printable
from engine.build.pruning import cache_mounts, down_to, remove_cache_mounts, sweep_cache_mounts, wanted
from engine.build.records import BuildRecords, begin_record, end_record
from engine.build.runner import StepRunner
from engine.build.stage import short
from engine.build.state import State, begin
from engine.build.workspace import Workspace
from engine.containers.paths import ContainerPaths
from engine.errors import Internal, InvalidArgument, NotFound, PortsideError
from engine.images.changeset import Changesets
from engine.images.manager import ImageManager
from engine.lean import give_back_memory
from engine.model.image import ImageConfig
from engine.model.system import AuthConfig
from engine.runtime.mounts import Mounter
from engine.wire.references import is_image_id, parse_reference
from engine.wire.times import format_ns, parse_duration

log = logging.getLogger(__name__)

_LEAST_CACHE_BYTES = 2 << 30
DOCKER_HUB = "docker.io"
HUB_KEYS = ("https://index.docker.io/v1/", "index.docker.io", "docker.io")


@dataclass(frozen=True)
class Host:
    """The platform that builds run on, as Go calls it."""

    os: str
    architecture: str


class Builder:
    """Builds images."""

    def __init__(
        self,
        images: ImageManager,
        pulls: Pulls,
        cache: BuildCache,
        records: BuildRecords,
        runner: StepRunner,
        paths: ContainerPaths,
        mounter: Mounter,
        host: Host,
    ) -> None:
        """Make nothing yet; what an engine that was killed has left of cache mounts goes."""
        self._images = images
        self._pulls = pulls
        self.cache = cache
        self._runner = runner
        self._paths = paths
        self._mounter = mounter
        self._host = host
        self.records = records
        self._shared = Shared()
        self._changesets = Changesets(images.layers, images.blobs)
        self._mounts_root = paths.data_root / "build" / "mounts"
        self._contexts = KeptContexts(paths.data_root / "build" / "contexts")
        self._mounts_root.mkdir(mode=0o700, parents=True, exist_ok=True)
        sweep_cache_mounts(self._mounts_root)
        self.cache_limit_bytes = max(_LEAST_CACHE_BYTES, shutil.disk_usage(paths.data_root).total // 10)

    @asynccontextmanager
    async def workspace(self) -> AsyncIterator[Workspace]:
        """Yield the folders of one build; everything in them is gone afterwards."""
        workspace = Workspace(self._paths, self._mounter, self._images.layers)
        try:
            await workspace.open()
            yield workspace
        finally:
            await asyncio.shield(workspace.close())
            give_back_memory()

    async def receive(
        self, workspace: Workspace, source: AsyncIterator[bytes], key: str = "", base: str = ""
    ) -> Context:
        """Unpack a context that arrives; raises InvalidArgument for a damaged one, Unavailable for a full disk.

        With ``base`` what arrives are changes of the context that was kept by ``key``; raises Conflict when that
        is not here any more.
        """
        folder = workspace.folder / "context"
        if base:
            await asyncio.to_thread(self._contexts.take, key, base, folder)
        return await receive_context(folder, source, is_delta=bool(base))

    async def keep_context(self, context: Context, key: str) -> str:
        """Keep a context for the next build; return the ID that changes of it are sent with."""
        return await asyncio.to_thread(self._contexts.keep, key, context)

    async def build(
        self, options: BuildOptions, context: Context, name: str, text: str, workspace: Workspace, send: Progress
    ) -> str:
        """Build ``text``, the Dockerfile ``name``, and return the ID of its image.

        What the build checks find is told first; when nothing else was asked for the ID is "".
        ``send`` gets Docker's JSON messages; it raises when the client has gone, which ends the build, as
        cancelling does. Raises DockerfileError, StepError and the kinds of what a step needs; a failure leaves
        nothing but the cache of the steps before it.
        """
        dockerfile = parse_dockerfile(text, name)
        if not dockerfile.stages:
            raise Internal("No image was generated. Is your Dockerfile empty?")
        target = target_of(dockerfile, options.target)
        notices = check(text, dockerfile, context.ignored)
        if options.is_detailed:
            for item in notices:
                await send({"warning": {"rule": item.rule, "message": item.message, "line": item.line}})
        if options.is_check:
            return ""
        add_labels(dockerfile, target, options)
        platform = _platform(options.platform, self._host)
        arguments = BuildArguments(options.arguments, platform_arguments(*platform, options.target))
        async with self._images.working():
            image_id = await self._build(options, dockerfile, target, arguments, context, workspace, send)
        await self.limit_cache()
        return image_id

    async def _build(
        self,
        options: BuildOptions,
        dockerfile: Dockerfile,
        target: int,
        arguments: BuildArguments,
        context: Context,
        workspace: Workspace,
        send: Progress,
    ) -> str:
        hidden = [value.decode(errors="replace").strip() for value in options.secrets.values()]
        output = BuildOutput(send, is_detailed=options.is_detailed, hidden=hidden)
        committer = Committer(self.cache)
        run = StageGraph(self, options, dockerfile, output)
        run.build = Build(
            options=options,
            dockerfile=dockerfile,
            arguments=arguments,
            context=context,
            workspace=workspace,
            output=output,
            cache=self.cache,
            committer=committer,
            changesets=self._changesets,
            runner=self._runner,
            shared=self._shared,
            resolve=run.resolve,
            stage=run.stage,
            mounts_root=self._mounts_root,
        )
        if options.cache_from:
            run.build.has_sources = True
            run.build.sources = [state for name in options.cache_from if (state := self._present(name)) is not None]
        committing = asyncio.ensure_future(committer.run())
        record = begin_record(options)
        try:
            state = await run.run(target)
            committer.finish()
            await asyncio.shield(committing)  # then its layers need no other sync
            image_id = await self._store(state, options)
            record.status, record.image_id = "completed", image_id
        except BaseException as error:
            has_left = isinstance(error, asyncio.CancelledError | ConnectionError)
            record.status = "canceled" if has_left else "error"
            record.error = printable(error.message if isinstance(error, PortsideError) else str(error))
            if isinstance(error, PortsideError):
                await self._keep_for_debugging(run.build, output)
            raise
        finally:
            committer.finish()
            await asyncio.shield(committing)
            self.records.add(end_record(record, run.build.steps, output.log.text))
        await self._tell(output, arguments, image_id, options)
        return image_id

    async def _keep_for_debugging(self, build: Build, output: BuildOutput) -> None:
        """Make an image of what the step that failed began with, for who wants to look around in it."""
        state = build.before_failure
        if not build.options.is_debug or state is None or not state.layers:
            return
        record, _ = await self._images.add(state.file, list(state.layers), [])
        shell = ["/bin/sh"] if state.shell[:1] == ["/bin/sh"] else state.shell[:1]
        await output.send({"debug": {"image": record.id, "shell": shell}})

    async def _tell(self, output: BuildOutput, arguments: BuildArguments, image_id: str, options: BuildOptions) -> None:
        unused = arguments.unused()
        if unused:
            await output.send({"stream": f"[Warning] One or more build-args [{' '.join(unused)}] were not consumed\n"})
        await output.send({"stream": f"Successfully built {short(image_id)}\n"})
        for reference in options.tags:
            await output.send({"stream": f"Successfully tagged {reference.familiar}\n"})

    async def _store(self, state: State, options: BuildOptions) -> str:
        """Store the image and its names, durably; return its ID."""
        if not state.image_id:
            raise Internal("No image was generated. Is your Dockerfile empty?")
        present = self._images.table.get(state.image_id)
        if present is not None and not present.hidden:
            if options.tags:
                await self._images.name(present, options.tags)
        else:
            await self._images.add(state.file, list(state.layers), options.tags)
        for reference in options.tags:
            self._images.publish("tag", state.image_id, reference.familiar)
        return state.image_id

    # The cache

    async def usage(self) -> list[dict[str, Any]]:
        """Return the cache's records as ``GET /system/df`` shows them."""
        shared = self._shared_chains()
        shown = [
            {
                "ID": record.key[:25],
                "Parents": [parent.removeprefix("sha256:")[:25]] if (parent := record.parent_chain) else None,
                "Type": record.kind,
                "Description": record.description,
                "InUse": False,
                "Shared": record.chain_id in shared,
                "Size": record.size,
                "CreatedAt": format_ns(record.created_ns),
                "LastUsedAt": format_ns(record.used_ns),
                "UsageCount": record.uses,
            }
            for record in self.cache.all()
        ]
        shown += await asyncio.to_thread(self._contexts.usage)
        return shown + await asyncio.to_thread(cache_mounts, self._mounts_root)

    def _shared_chains(self) -> set[str]:
        return {chain for record in self._images.table.all() for chain in record.layers}

    async def prune(
        self, filters: Mapping[str, Sequence[str]], *, every: bool, reserved: int, most: int, least_free: int
    ) -> tuple[list[str], int]:
        """Delete records of the cache and return their IDs and the bytes that came free.

        ``reserved`` bytes stay; ``most`` and ``least_free``, where they are given, say how much is too much. With
        ``every`` those whose layers images have go too, and all cache mounts. Raises InvalidArgument.
        """
        shared = self._shared_chains()
        records = wanted(filters, self.cache.all(), shared)
        if not every:
            records = [record for record in records if record.chain_id not in shared]
        total = sum(record.size for record in self.cache.all() if record.chain_id not in shared)
        limits = [reserved] if reserved else []
        if most:
            limits.append(most)
        if least_free:
            free = await asyncio.to_thread(lambda: shutil.disk_usage(self._mounts_root.parents[1]).free)
            limits.append(max(0, total - max(0, least_free - free)))
        if limits:
            records = down_to(records, total, max(limits))
        await self.cache.delete(records)
        if every and not filters and not limits:
            await self.cache.delete_configuration_only()
        freed = await self._images.collect()
        names = [record.key[:25] for record in records]
        if not limits and not set(filters) - {"until", "unused-for"}:
            busy = {name for name, count in self._shared.mounts_in_use.items() if count}
            gone, bytes_ = await asyncio.to_thread(remove_cache_mounts, self._mounts_root, filters, busy)
            names += gone
            freed += bytes_
            age_ns = max([parse_duration(value) for values in filters.values() for value in values], default=0)
            gone, bytes_ = await asyncio.to_thread(self._contexts.prune, age_ns)
            names += gone
            freed += bytes_
        self._images.events.publish("builder", "prune", "", {"reclaimed": str(freed)})
        return names, freed

    async def limit_cache(self) -> None:
        """Delete what was not used for the longest time until the cache is within its limit."""
        shared = self._shared_chains()
        records = [record for record in self.cache.all() if record.chain_id not in shared]
        total = sum(record.size for record in records)
        going = down_to(records, total, self.cache_limit_bytes)
        if going:
            await self.cache.delete(going)
            await self._images.collect()

    # Images that steps begin with

    def _present(self, name: str, platform: str = "") -> State | None:
        try:
            record, file = self._images.find(name, platform or None)
        except (NotFound, InvalidArgument):
            return None
        layers = [self._images.layers.get(chain) for chain in record.layers]
        raw = msgspec.json.decode(self._images.blobs.read(record.id))
        history = [entry for entry in raw.get("history") or [] if isinstance(entry, dict)]
        return begin(file, record.id, [layer for layer in layers if layer is not None], history)

    async def resolve(self, name: str, platform: str, options: BuildOptions, send: Progress) -> State:
        """Return the state that an image is; it is pulled when it is not here or ``pull`` was asked for.

        Raises NotFound and so on with moby's texts.
        """
        if name == "scratch":
            system, architecture, variant = _platform(platform, self._host)
            return State(ImageConfig(), os=system, architecture=architecture, variant=variant)
        is_id = is_image_id(name)
        state = None if options.pull and not is_id else self._present(name, platform)
        if state is not None:
            return state
        if is_id:
            raise NotFound(f"No such image: {name}")
        reference = parse_reference(name).with_default_tag()
        await self._pulls.pull(reference, platform, _credentials(options, reference.domain), send)
        state = self._present(name, platform)
        if state is None:
            raise NotFound(f"No such image: {reference.familiar}")
        return state


def _platform(platform: str, host: Host) -> tuple[str, str, str]:
    parts = [*platform.split("/"), "", ""] if platform else []
    if not parts:
        return host.os, host.architecture, ""
    return parts[0], parts[1] or host.architecture, parts[2]


def _credentials(options: BuildOptions, domain: str) -> AuthConfig | None:
    """Return what X-Registry-Config has for a registry; Docker Hub has names of its own."""
    keys = HUB_KEYS if domain == DOCKER_HUB else (domain, f"https://{domain}", f"http://{domain}")
    for key in keys:
        for known, credentials in options.credentials.items():
            if known.rstrip("/") == key.rstrip("/") or known.rstrip("/").removesuffix("/v1") == key:
                return credentials
    return None
