"""Operations tagged Image (API 1.51), but for build, commit and search."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from aiohttp import web

from engine.errors import InvalidArgument, NotSupported, PortsideError
from engine.images.archives import ImageArchives
from engine.images.listing import ALLOWED_FILTERS, PRUNE_FILTERS, ImageListing
from engine.images.manager import ImageManager
from engine.images.pull import Puller
from engine.model.system import AuthConfig
from engine.server.http import JsonStream, Route, api_version, empty_response, json_response, query_bool
from engine.server.status import status_of
from engine.server.system import go_arch
from engine.wire.filters import parse_filters
from engine.wire.references import parse_reference

_BLOCK = 1 << 18


class ImagesApi:
    """Handlers over an ImageManager and what works on it."""

    def __init__(self, images: ImageManager, archives: ImageArchives, listing: ImageListing, puller: Puller) -> None:
        """Serve ``images``."""
        self._images = images
        self._archives = archives
        self._listing = listing
        self._puller = puller

    def routes(self) -> list[Route]:
        """Return the operations."""
        return [
            Route("GET", "/images/json", self.list),
            Route("POST", "/images/create", self.create),
            Route("POST", "/images/load", self.load),
            Route("POST", "/images/prune", self.prune, since=(1, 25)),
            Route("GET", "/images/get", self.save),
            Route("GET", "/images/search", self.search),
            Route("GET", "/images/{name:.+}/get", self.save),
            Route("GET", "/images/{name:.+}/json", self.inspect),
            Route("GET", "/images/{name:.+}/history", self.history),
            Route("POST", "/images/{name:.+}/tag", self.tag),
            Route("POST", "/images/{name:.+}/push", self.push),
            Route("DELETE", "/images/{name:.+}", self.remove),
        ]

    async def list(self, request: web.Request) -> web.StreamResponse:
        """``ImageList``."""
        rows = self._listing.rows(
            parse_filters(request.query.get("filters", ""), ALLOWED_FILTERS),
            shared_size=query_bool(request, "shared-size"),
        )
        if api_version(request) >= (1, 44):
            return json_response(rows)
        old = msgspec.to_builtins(rows)
        for row in old:
            row["VirtualSize"] = row["Size"]
            if api_version(request) < (1, 43):
                row["RepoTags"] = row["RepoTags"] or ["<none>:<none>"]
                row["RepoDigests"] = row["RepoDigests"] or ["<none>@<none>"]
        return json_response(old)

    async def inspect(self, request: web.Request) -> web.StreamResponse:
        """``ImageInspect``."""
        if query_bool(request, "manifests"):
            raise NotSupported("listing the manifests of an image is not supported by Portside yet")
        view = msgspec.to_builtins(self._images.inspect(request.match_info["name"]))
        if api_version(request) < (1, 44):
            view["VirtualSize"] = view["Size"]
        return json_response(view)

    async def history(self, request: web.Request) -> web.StreamResponse:
        """``ImageHistory``."""
        return json_response(self._images.history(request.match_info["name"]))

    async def tag(self, request: web.Request) -> web.StreamResponse:
        """``ImageTag``: 201."""
        repository = request.query.get("repo", "")
        await self._images.tag(request.match_info["name"], repository, request.query.get("tag", ""))
        return empty_response(201)

    async def remove(self, request: web.Request) -> web.StreamResponse:
        """``ImageDelete``."""
        if request.query.getall("platforms", []):
            raise NotSupported("removing single platforms of an image is not supported by Portside yet")
        return json_response(await self._images.remove(request.match_info["name"], force=query_bool(request, "force")))

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
        tag = request.query.get("tag", "")
        reference = parse_reference(name)
        if tag:
            reference = parse_reference(f"{reference.name}{'@' if ':' in tag else ':'}{tag}")
        credentials = decode_auth(request.headers.get("X-Registry-Auth", ""))
        platform = request.query.get("platform", "")
        try:
            await self._puller.pull(reference, platform, credentials, stream.send)
        except PortsideError as error:
            if not stream.started:
                raise
            await stream.send_error(error.message)
        await stream.start()
        await stream.response.write_eof()
        return stream.response

    async def _import(self, request: web.Request, stream: JsonStream, source: str) -> web.StreamResponse:
        if source != "-":
            raise NotSupported("importing from a URL is not supported by Portside yet: send the archive with fromSrc=-")
        repository, tag = request.query.get("repo", ""), request.query.get("tag", "")
        reference = None
        if repository:
            reference = parse_reference(f"{repository}:{tag}" if tag else repository).with_default_tag()
        system, _, machine = request.query.get("platform", "").partition("/")
        image_id = await self._archives.import_layer(
            body_blocks(request),
            reference,
            request.query.getall("changes", []),
            request.query.get("message", ""),
            (system or "linux", machine or go_arch()),
        )
        await stream.send({"status": image_id})
        await stream.response.write_eof()
        return stream.response

    async def load(self, request: web.Request) -> web.StreamResponse:
        """``ImageLoad``: progress, then what was loaded."""
        stream = JsonStream(request)
        quiet = query_bool(request, "quiet")

        async def progress(item: dict[str, Any]) -> None:
            if not quiet or "stream" in item:
                await stream.send(item)

        try:
            await self._archives.load(body_blocks(request), progress)
        except PortsideError as error:
            if not stream.started and status_of(error) != 400:
                raise
            await stream.send_error(error.message)
        await stream.start()
        await stream.response.write_eof()
        return stream.response

    async def save(self, request: web.Request) -> web.StreamResponse:
        """``ImageGet`` and ``ImageGetAll``: a tar."""
        name = request.match_info.get("name")
        names = [name] if name else request.query.getall("names", [])
        images = self._archives.plan(names)
        response = web.StreamResponse(headers={"Content-Type": "application/x-tar"})
        await response.prepare(request)
        async for block in self._archives.save(images):
            await response.write(block)
        await response.write_eof()
        for record, _ in images:
            self._images.publish("save", record.id, record.id)
        return response

    async def search(self, request: web.Request) -> web.StreamResponse:
        """``ImageSearch``: not there yet."""
        raise NotSupported("searching registries is not supported by Portside yet")

    async def push(self, request: web.Request) -> web.StreamResponse:
        """``ImagePush``: not there yet."""
        raise NotSupported("pushing images is not supported by Portside yet")


async def body_blocks(request: web.Request) -> AsyncIterator[bytes]:
    """Yield a request's body as it comes."""
    async for block in request.content.iter_chunked(_BLOCK):
        yield block


def decode_auth(header: str) -> AuthConfig | None:
    """Return the credentials of ``X-Registry-Auth`` (base64, URL-safe or not, padded or not).

    Raises InvalidArgument with moby's text when it is not decodable; none of it is told.
    """
    if not header:
        return None
    try:
        data = base64.urlsafe_b64decode(header.replace("+", "-").replace("/", "_") + "=" * (-len(header) % 4))
        if not data.strip() or data.strip() == b"null":
            return None
        return msgspec.json.decode(data, type=AuthConfig)
    except (binascii.Error, ValueError, msgspec.DecodeError, msgspec.ValidationError):
        raise InvalidArgument("invalid X-Registry-Auth header: it must be base64 of a JSON object") from None
