"""Operations tagged Image (API 1.51), but for build, commit and search."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import msgspec
from aiohttp import web

from engine.errors import Forbidden, InvalidArgument, PortsideError
from engine.images.archives import ImageArchives
from engine.images.listing import ALLOWED_FILTERS, PRUNE_FILTERS, ImageListing
from engine.images.manager import ImageManager
from engine.images.progress import progress_bar
from engine.images.pull import Puller
from engine.images.removal import ImageRemover
from engine.model.base import given
from engine.registry.download import opened, parse_address
from engine.server.http import JsonStream, Route, api_version, empty_response, json_response, query_bool
from engine.server.registryauth import decode_auth
from engine.server.system import go_arch
from engine.wire.filters import parse_filters
from engine.wire.references import Reference, parse_reference

_BLOCK = 1 << 18
_PROGRESS_EVERY_S = 0.1
_CONFIG_FIELDS: dict[str, Any] = {  # always in an inspected configuration, set or not
    **dict.fromkeys(("Cmd", "Entrypoint", "Env", "Labels", "OnBuild", "Volumes")),
    "User": "",
    "WorkingDir": "",
}
_OLD_CONFIG_FIELDS: dict[str, Any] = {  # what containers had and images never: before API 1.50
    **dict.fromkeys(("AttachStderr", "AttachStdin", "AttachStdout", "OpenStdin", "StdinOnce", "Tty"), False),
    **dict.fromkeys(("Domainname", "Hostname", "Image"), ""),
    **_CONFIG_FIELDS,
}
_PLATFORM_PART = re.compile(r"[A-Za-z0-9_.-]+")


class ImagesApi:
    """Handlers over an ImageManager and what works on it."""

    def __init__(self, images: ImageManager, archives: ImageArchives, listing: ImageListing, puller: Puller) -> None:
        """Serve ``images``."""
        self._images = images
        self._archives = archives
        self._listing = listing
        self._puller = puller
        self._remover = ImageRemover(images)

    def routes(self) -> list[Route]:
        """Return the operations."""
        return [
            Route("GET", "/images/json", self.list),
            Route("POST", "/images/create", self.create),
            Route("POST", "/images/load", self.load),
            Route("POST", "/images/prune", self.prune, since=(1, 25)),
            Route("GET", "/images/get", self.save),
            Route("GET", "/images/{name:.+}/get", self.save),
            Route("GET", "/images/{name:.+}/json", self.inspect),
            Route("GET", "/images/{name:.+}/history", self.history),
            Route("POST", "/images/{name:.+}/tag", self.tag),
            Route("DELETE", "/images/{name:.+}", self.remove),
        ]

    async def list(self, request: web.Request) -> web.StreamResponse:
        """``ImageList``."""
        version = api_version(request)
        filters = parse_filters(request.query.get("filters", ""), ALLOWED_FILTERS)
        if version < (1, 41) and request.query.get("filter"):
            filters.setdefault("reference", []).append(request.query["filter"])
        rows = self._listing.rows(
            filters,
            shared_size=version >= (1, 42) and query_bool(request, "shared-size"),
            containers=version >= (1, 51),
            intermediate=query_bool(request, "all"),
            manifests=version >= (1, 47) and query_bool(request, "manifests"),
        )
        if version < (1, 48):
            for item in rows:
                item.descriptor = msgspec.UNSET
        if version >= (1, 44):
            return json_response(rows)
        old = msgspec.to_builtins(rows)
        for row in old:
            row["VirtualSize"] = row["Size"]
            if version < (1, 43) and not row["RepoTags"] and not row["RepoDigests"]:
                row["RepoTags"], row["RepoDigests"] = ["<none>:<none>"], ["<none>@<none>"]
        return json_response(old)

    async def inspect(self, request: web.Request) -> web.StreamResponse:
        """``ImageInspect``."""
        version = api_version(request)
        manifests = version >= (1, 48) and query_bool(request, "manifests")
        platform = decode_platform(request.query.get("platform", "")) if version >= (1, 49) else ""
        if manifests and platform:
            raise InvalidArgument("conflicting options: manifests and platform options cannot both be set")
        record, file = self._images.find(request.match_info["name"], platform)
        body = self._images.view(record, of_platform=bool(platform), manifests=manifests)
        if version < (1, 48):
            body.descriptor = msgspec.UNSET
        view = msgspec.to_builtins(body)
        view["Config"] = (_CONFIG_FIELDS if version >= (1, 50) else _OLD_CONFIG_FIELDS) | view["Config"]
        if version < (1, 45):
            view["ContainerConfig"] = _OLD_CONFIG_FIELDS | given(file.container_config, {})
            if container_id := given(file.container, ""):
                view["Container"] = container_id
        if version < (1, 44):
            view["VirtualSize"] = view["Size"]
            view.setdefault("Created", "0001-01-01T00:00:00Z")
        return json_response(view)

    async def history(self, request: web.Request) -> web.StreamResponse:
        """``ImageHistory``."""
        platform = decode_platform(request.query.get("platform", "")) if api_version(request) >= (1, 48) else ""
        return json_response(self._images.history(request.match_info["name"], platform))

    async def tag(self, request: web.Request) -> web.StreamResponse:
        """``ImageTag``: 201."""
        repository = request.query.get("repo", "")
        await self._images.tag(request.match_info["name"], repository, request.query.get("tag", ""))
        return empty_response(201)

    async def remove(self, request: web.Request) -> web.StreamResponse:
        """``ImageDelete``."""
        name = request.match_info["name"]
        if not name.strip():
            raise InvalidArgument("image name cannot be blank")
        force = query_bool(request, "force")
        asked = request.query.getall("platforms", []) if api_version(request) >= (1, 50) else []
        platforms = [decode_platform(text, needed=True) for text in asked]
        if platforms:
            done = await self._remover.remove_platforms(name, platforms, force=force)
        else:
            done = await self._remover.remove(name, force=force, prune=not query_bool(request, "noprune"))
        return json_response(done)

    async def prune(self, request: web.Request) -> web.StreamResponse:
        """``ImagePrune``."""
        filters = parse_filters(request.query.get("filters", ""), PRUNE_FILTERS)
        return json_response(await self._listing.prune(filters))

    async def create(self, request: web.Request) -> web.StreamResponse:
        """``ImageCreate``: pull with ``fromImage``, import with ``fromSrc``."""
        name, source = request.query.get("fromImage", ""), request.query.get("fromSrc", "")
        stream = JsonStream(request)
        if not name:
            return await self._import(request, stream, source)
        reference = _pulled(name, request.query.get("tag", ""))
        if reference.familiar_name == "scratch":
            raise Forbidden("'scratch' is a reserved name")
        credentials = decode_auth(request.headers.get("X-Registry-Auth", ""))
        platform = request.query.get("platform", "") if api_version(request) >= (1, 32) else ""
        check_platform(platform)
        try:
            if reference.tag or reference.digest:
                await self._puller.pull(reference, platform, credentials, stream.send)
            else:
                await self._puller.pull_all(reference, platform, credentials, stream.send)
        except PortsideError as error:
            if not stream.started:
                raise
            await stream.send_error(error.message)
        await stream.start()
        await stream.response.write_eof()
        return stream.response

    async def _import(self, request: web.Request, stream: JsonStream, source: str) -> web.StreamResponse:
        repository, tag = request.query.get("repo", ""), request.query.get("tag", "")
        reference = None
        if repository:
            reference = parse_reference(repository)
            if reference.digest:
                raise InvalidArgument("cannot import digest reference")
            reference = reference.with_tag(tag) if tag else reference.with_default_tag()
        platform = request.query.get("platform", "") if api_version(request) >= (1, 32) else ""
        check_platform(platform)
        system, _, machine = platform.partition("/")
        options = (
            reference,
            request.query.getall("changes", []),
            request.query.get("message", "") or f"Imported from {source}",
            (system or "linux", machine or go_arch()),
        )
        if source == "-":
            image_id = await self._archives.import_layer(body_blocks(request), *options)
        else:
            address = parse_address(source)
            try:
                async with opened(address, self._puller.settings()) as (blocks, total):
                    await stream.send({"status": f"Downloading from {address}"})
                    image_id = await self._archives.import_layer(_told(blocks, total, stream), *options)
            except PortsideError as error:
                if not stream.started:
                    raise
                await stream.send_error(error.message)
                image_id = ""
        if image_id:
            await stream.send({"status": image_id})
        await stream.response.write_eof()
        return stream.response

    async def load(self, request: web.Request) -> web.StreamResponse:
        """``ImageLoad``: progress, then what was loaded."""
        stream = JsonStream(request)
        quiet = query_bool(request, "quiet", default=True)
        platform = self._archive_platform(request)

        async def progress(item: dict[str, Any]) -> None:
            if not quiet or "stream" in item:
                await stream.send(item)

        try:
            await self._archives.load(body_blocks(request), progress, platform)
        except PortsideError as error:
            await stream.send_error(error.message)  # in a 200, as moby answers
        await stream.start()
        await stream.response.write_eof()
        return stream.response

    async def save(self, request: web.Request) -> web.StreamResponse:
        """``ImageGet`` and ``ImageGetAll``: a tar."""
        name = request.match_info.get("name")
        names = [name] if name else request.query.getall("names", [])
        platform = self._archive_platform(request)
        async with self._images.working():  # what is being sent stays, even when it is deleted meanwhile
            images = self._archives.plan(names, platform)
            response = web.StreamResponse(headers={"Content-Type": "application/x-tar"})
            await response.prepare(request)
            async with aclosing(self._archives.save(images, is_whole=not platform)) as blocks:
                async for block in blocks:
                    await response.write(block)
        await response.write_eof()
        for record, _ in images:
            self._images.publish("save", record.id, record.id)
        return response

    def _archive_platform(self, request: web.Request) -> str:
        asked = request.query.getall("platform", []) if api_version(request) >= (1, 48) else []
        if len(asked) > 1:
            raise InvalidArgument("multiple platform parameters not supported")
        return decode_platform(asked[0]) if asked else ""


def _pulled(name: str, tag: str) -> Reference:
    """Return what ``fromImage`` and ``tag``, which may be a digest, mean together."""
    reference = parse_reference(name.removesuffix(":"))
    if not tag:
        return reference
    if ":" in tag:
        return parse_reference(f"{reference.name}@{tag}")
    return reference.with_tag(tag)


async def _told(blocks: AsyncIterator[bytes], total: int, stream: JsonStream) -> AsyncIterator[bytes]:
    """Pass a download on and tell the client how far it is."""
    current, shown_s = 0, 0.0
    async for block in blocks:
        current += len(block)
        if total and (time.monotonic() - shown_s > _PROGRESS_EVERY_S or current == total):
            shown_s = time.monotonic()
            detail = {"current": current, "total": total}
            await stream.send(
                {"status": "Importing", "progressDetail": detail, "progress": progress_bar(current, total)}
            )
        yield block


def check_platform(platform: str) -> None:
    """Raise InvalidArgument for a platform that is not ``os[/architecture[/variant]]``."""
    parts = platform.split("/")
    if platform and (len(parts) > 3 or not all(_PLATFORM_PART.fullmatch(part) for part in parts)):
        raise InvalidArgument(
            f'"{platform}" is an invalid component of "{platform}": platform specifier component must match '
            '"^[A-Za-z0-9_.-]+$": invalid argument'
        )


def decode_platform(text: str, *, needed: bool = False) -> str:
    """Return a platform that is sent as JSON as ``os/architecture[/variant]``, "" for none unless it is ``needed``.

    Raises InvalidArgument with moby's texts.
    """
    if not text and not needed:
        return ""
    try:
        platform = msgspec.json.decode(text, type=_Platform)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise InvalidArgument(f"failed to parse platform: {_go_words(text, error)}") from error
    if not platform.os and not platform.architecture and (platform.variant or platform.os_version):
        raise InvalidArgument("optional platform fields provided, but OS and Architecture are missing")
    if not platform.os or not platform.architecture:
        raise InvalidArgument("both OS and Architecture must be provided")
    return "/".join(part for part in (platform.os, platform.architecture, platform.variant) if part)


def _go_words(text: str, error: Exception) -> str:
    """Return what Go says of text that is no JSON at all; what it says of anything else is near enough."""
    text = text.strip()
    if not text:
        return "unexpected end of JSON input"
    if text[0] not in '{["-0123456789tfn':
        return f"invalid character '{text[0]}' looking for beginning of value"
    return str(error)


class _Platform(msgspec.Struct):
    os: str = ""
    architecture: str = ""
    variant: str = ""
    os_version: str = msgspec.field(name="os.version", default="")


async def body_blocks(request: web.Request) -> AsyncIterator[bytes]:
    """Yield a request's body as it comes."""
    async for block in request.content.iter_chunked(_BLOCK):
        yield block
