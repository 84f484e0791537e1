"""``POST /build`` in its classic form, ``/build/prune`` and ``/build/cancel`` (API 1.51, operations of tag Image).

Source: moby's api/server/router/build and its classic builder's output.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from collections.abc import AsyncIterator
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from engine.build.build import StepError
from engine.build.context import Context
from engine.build.dockerfile.errors import DockerfileError
from engine.build.download import is_git, is_url
from engine.build.manager import Builder
from engine.build.options import BuildOptions
from engine.build.output import printable
from engine.build.records import describe
from engine.build.remote import fetch_context
from engine.build.workspace import Workspace
from engine.errors import Conflict, Internal, InvalidArgument, NotFound, NotSupported, PortsideError
from engine.model.resources import Ulimit
from engine.model.system import AuthConfig
from engine.server.http import JsonStream, api_version, json_response, query_bool, query_int
from engine.server.images import check_platform
from engine.wire.filters import parse_filters
from engine.wire.references import Reference, parse_reference

log = logging.getLogger(__name__)

T = TypeVar("T")

DETAILS = "X-Portside-Build"
SECRETS = "X-Portside-Secrets"
AGENTS = "X-Portside-Agents"
CONTEXT = "X-Portside-Context"
BASE = "X-Portside-Base"
_BLOCK = 1 << 18
_MAX_TAGS = 1000
_PRUNE_FILTERS = frozenset(
    ("until", "id", "parent", "type", "description", "inuse", "shared", "private", "unused-for", "label", "label!")
)


class BuildApi:
    """Handlers over a Builder; ``buildroutes`` has their paths."""

    def __init__(self, builder: Builder) -> None:
        """Serve ``builder``."""
        self._builder = builder
        self._running: dict[str, asyncio.Task[object]] = {}

    async def build(self, request: web.Request) -> web.StreamResponse:
        """``ImageBuild``: the output as a stream; what fails before the first step is a status."""
        options = build_options(request)
        identifier = request.query.get("buildid", "")
        task = asyncio.current_task()
        if identifier and task is not None:
            self._running[identifier] = task
        try:
            return await self._build(request, options)
        finally:
            if identifier and self._running.get(identifier) is task:
                del self._running[identifier]

    async def _build(self, request: web.Request, options: BuildOptions) -> web.StreamResponse:
        output = _Output(JsonStream(request), quiet=query_bool(request, "q"), detailed=DETAILS in request.headers)
        try:
            async with self._builder.workspace() as workspace:
                context, name, text = await self._source(request, options, workspace, output)
                try:
                    image_id = await self._builder.build(options, context, name, text, workspace, output.send)
                finally:
                    await self._keep(request, context, output)
        except PortsideError as error:
            if not await output.fail(error):
                raise
        else:
            await output.succeed(image_id)
        await output.stream.response.write_eof()
        return output.stream.response

    async def _keep(self, request: web.Request, context: Context, output: _Output) -> None:
        """Keep the context when the client says by what name; tell it how the next build may refer to it."""
        key = request.headers.get(CONTEXT, "")
        if key and not request.query.get("remote", ""):
            output.context = await asyncio.shield(self._builder.keep_context(context, key))

    async def _source(
        self, request: web.Request, options: BuildOptions, workspace: Workspace, output: _Output
    ) -> tuple[Context, str, str]:
        """Return the context, and the name and text of the Dockerfile."""
        remote = request.query.get("remote", "")
        if not remote:
            key, base = request.headers.get(CONTEXT, ""), request.headers.get(BASE, "")
            try:
                context = await self._builder.receive(workspace, _blocks(request), key, base)
            except Conflict:
                async for _ in _blocks(request):
                    pass  # the client reads no answer before it has sent everything
                raise
        elif remote == "client-session":
            raise InvalidArgument(
                "experimental session with v1 builder is no longer supported, use builder version v2 (BuildKit) instead"
            )
        elif is_git(remote) or is_url(remote):
            async for _ in _blocks(request):
                pass  # what is sent besides is not a context
            context, text = await fetch_context(remote, workspace, output.send)
            if text:
                return context, options.dockerfile or "Dockerfile", text
        else:
            raise Internal(f"remoteURL ({remote}) could not be recognized as URL")
        name, text = await asyncio.to_thread(context.dockerfile, options.dockerfile)
        return context, name, text

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        """``BuildCancel``."""
        identifier = request.query.get("id", "")
        if not identifier:
            raise InvalidArgument("build ID not provided")
        task = self._running.get(identifier)
        if task is None:
            raise NotFound(f"no such build: {identifier}")
        task.cancel()
        return web.Response(status=204)

    async def records(self, request: web.Request) -> web.StreamResponse:
        """Return the builds of the past, newest first, without their steps and logs (not in Docker's API)."""
        return json_response([describe(record, is_short=True) for record in self._builder.records.all()])

    async def record(self, request: web.Request) -> web.StreamResponse:
        """Return one build of the past with its steps and its log (not in Docker's API)."""
        return json_response(describe(self._builder.records.get(request.match_info["id"])))

    async def delete_record(self, request: web.Request) -> web.StreamResponse:
        """Forget one build of the past (not in Docker's API)."""
        await self._builder.records.delete(request.match_info["id"])
        return web.Response(status=204)

    async def prune(self, request: web.Request) -> web.StreamResponse:
        """``BuildPrune``."""
        filters = parse_filters(request.query.get("filters", ""), _PRUNE_FILTERS)
        is_new = api_version(request) >= (1, 48)
        names = ("reserved-space", "keep-storage", "max-used-space", "min-free-space") if is_new else ("keep-storage",)
        sizes = {name: _size(request, name) for name in names}
        keep = sizes.get("reserved-space", 0) or sizes["keep-storage"]
        deleted, freed = await self._builder.prune(
            filters,
            every=query_bool(request, "all"),
            reserved=keep,
            most=sizes.get("max-used-space", 0),
            least_free=sizes.get("min-free-space", 0),
        )
        return json_response({"CachesDeleted": deleted or None, "SpaceReclaimed": freed})


class _Output:
    """The answer: a stream of messages, held back when it is to be quiet."""

    def __init__(self, stream: JsonStream, *, quiet: bool, detailed: bool) -> None:
        self.stream = stream
        self._quiet = quiet
        self._detailed = detailed
        self._held: list[dict[str, Any]] = []
        self.context = ""

    async def send(self, message: dict[str, Any]) -> None:
        """Take one message of the build."""
        if self._quiet:
            self._held.append(message)
        else:
            await self.stream.send(message)

    async def succeed(self, image_id: str) -> None:
        """End well."""
        if self._quiet:
            await self.stream.send({"stream": f"{image_id}\n"})
        if self.context:
            await self.stream.send({"context": self.context})
        await self.stream.start()

    async def fail(self, error: PortsideError) -> bool:
        """Tell an error in the stream; false when nothing was sent yet, so that it can be a status."""
        for held in self._held:
            await self.stream.send(held)
        if not self.stream.started and (not self._detailed or isinstance(error, Conflict)):
            return False
        if self.context:
            await self.stream.send({"context": self.context})
        message = printable(error.message)
        detail: dict[str, object] = {"message": message}
        if isinstance(error, StepError):
            detail = {"code": error.code, **detail}
        if self._detailed:
            detail["hint"] = error.hint
            if isinstance(error, DockerfileError):
                detail |= {"startLine": error.start_line, "endLine": error.end_line}
        await self.stream.send({"errorDetail": detail, "error": message})
        return True


async def _blocks(request: web.Request) -> AsyncIterator[bytes]:
    async for block in request.content.iter_chunked(_BLOCK):
        yield block


def _size(request: web.Request, name: str) -> int:
    text = request.query.get(name, "")
    try:
        return query_int(request, name) or 0
    except InvalidArgument as error:
        raise InvalidArgument(f"{name} is in bytes and expects an integer, got {text}: {error.message}") from error


def _number(request: web.Request, name: str) -> int:
    """Return a number of the query; what is none counts as 0, as moby reads these."""
    try:
        return query_int(request, name) or 0
    except InvalidArgument:
        return 0


def _json(request: web.Request, name: str, kind: type[T], what: str) -> T | None:
    text = request.query.get(name, "")
    if text.strip() in ("", "null"):
        return None
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError, UnicodeEncodeError) as error:
        raise InvalidArgument(f"{what}: {error}") from error


def build_options(request: web.Request) -> BuildOptions:
    """Return what the query and the headers ask for; raises with moby's texts for what is wrong or not there."""
    query = request.query
    _refuse(request)
    platform = query.get("platform", "") if api_version(request) >= (1, 32) else ""
    _check_platform(platform)
    arguments: dict[str, str | None] | None = _json(
        request, "buildargs", dict[str, str | None], "error reading build args"
    )
    size = query.get("shmsize", "")
    return BuildOptions(
        dockerfile=query.get("dockerfile", ""),
        tags=_tags(query.getall("t", [])),
        target=query.get("target", ""),
        arguments=arguments or {},
        labels=_json(request, "labels", dict[str, str], "error reading labels") or {},
        platform=platform,
        no_cache=query_bool(request, "nocache"),
        cache_from=_json(request, "cachefrom", list[str], "error reading cache-from"),
        pull=query_bool(request, "pull"),
        remove=query_bool(request, "forcerm") or query_bool(request, "rm", default=True) or query.get("rm") == "",
        force_remove=query_bool(request, "forcerm"),
        network_mode=query.get("networkmode", ""),
        extra_hosts=query.getall("extrahosts", []),
        shm_size=(query_int(request, "shmsize") or 0) if size else 0,
        memory=_number(request, "memory"),
        memory_swap=_number(request, "memswap"),
        cpu_shares=_number(request, "cpushares"),
        cpu_period=_number(request, "cpuperiod"),
        cpu_quota=_number(request, "cpuquota"),
        cpuset_cpus=query.get("cpusetcpus", ""),
        cpuset_mems=query.get("cpusetmems", ""),
        cgroup_parent=query.get("cgroupparent", ""),
        ulimits=_json(request, "ulimits", list[Ulimit], "error reading ulimit settings") or [],
        credentials=_credentials(request.headers.get("X-Registry-Config", "")),
        secrets=_secrets(request.headers.get(SECRETS, "")),
        agents=_header(request.headers.get(AGENTS, ""), dict[str, str]) or {},
        is_detailed=DETAILS in request.headers,
        is_debug=request.headers.get(DETAILS, "") == "debug",
        is_check=request.headers.get(DETAILS, "") == "check",
        id=query.get("buildid", ""),
    )


def _refuse(request: web.Request) -> None:
    query = request.query
    if query.getall("securityopt", []):
        raise InvalidArgument("security options are not supported on linux")
    if query.get("isolation", "") not in ("", "default"):
        raise InvalidArgument(f'unsupported isolation: "{query["isolation"]}"')
    version = query.get("version", "")
    if version not in ("", "1", "2"):
        raise InvalidArgument(f'invalid version "{version}"')
    if version == "2":
        raise NotSupported(
            "BuildKit's API is not supported by Portside yet: use the builder version 1 (DOCKER_BUILDKIT=0), "
            "or portside build"
        )
    if query_bool(request, "squash"):
        raise InvalidArgument("squash is only supported with experimental mode")
    outputs: list[dict[str, Any]] | None = None
    if api_version(request) >= (1, 40):
        outputs = _json(request, "outputs", list[dict[str, Any]], "invalid outputs specified")
    for item in outputs or []:
        if item.get("Type") not in ("moby", "image", "docker"):
            raise NotSupported(f"build output of type {item.get('Type')} is not supported by Portside yet")


def _check_platform(platform: str) -> None:
    check_platform(platform)
    parts = platform.split("/")
    known = ("linux", "windows", "darwin", "freebsd")
    if platform and len(parts) == 1 and parts[0] not in known:
        raise InvalidArgument(f'"{platform}": unknown operating system or architecture: invalid argument')
    if platform and parts[0] != "linux":
        raise InvalidArgument(f'operating system is not supported: "{parts[0]}"')


def _tags(names: list[str]) -> list[Reference]:
    found: dict[str, Reference] = {}
    for name in names[:_MAX_TAGS]:
        if not name:
            continue
        reference = parse_reference(name)
        if reference.digest:
            raise Internal("build tag cannot contain a digest")
        reference = reference.with_default_tag()
        found.setdefault(reference.full, reference)
    return list(found.values())


def _header(text: str, kind: type[T]) -> T | None:
    if not text:
        return None
    try:
        data = base64.urlsafe_b64decode(text.replace("+", "-").replace("/", "_") + "=" * (-len(text) % 4))
        return msgspec.json.decode(data, type=kind)
    except (binascii.Error, ValueError, msgspec.DecodeError, msgspec.ValidationError):
        return None


def _credentials(text: str) -> dict[str, AuthConfig]:
    """Return the credentials by registry; none when they cannot be read, as moby does."""
    return _header(text, dict[str, AuthConfig]) or {}


def _secrets(text: str) -> dict[str, bytes]:
    found = _header(text, dict[str, str])
    if text and found is None:
        raise InvalidArgument(f"header {SECRETS} is not understood")
    try:
        return {name: base64.b64decode(value, validate=True) for name, value in (found or {}).items()}
    except binascii.Error as error:
        raise InvalidArgument(f"header {SECRETS} is not understood") from error
