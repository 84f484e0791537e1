"""What concerns registries: pushing images, looking at one there, searching."""

from __future__ import annotations

import re

from aiohttp import web

from engine.errors import Internal, InvalidArgument, PortsideError, Unavailable
from engine.images.push import Pusher
from engine.registry.inspection import Registries
from engine.registry.search import FILTERS
from engine.server.http import JsonStream, Route, api_version, json_response
from engine.server.images import decode_platform
from engine.server.registryauth import decode_auth
from engine.wire.filters import parse_filters
from engine.wire.references import Reference, is_image_id, parse_reference

_LIMIT = re.compile(r"[+-]?\d{1,18}", re.ASCII)


class PushApi:
    """Handlers over a Pusher and the registries themselves."""

    def __init__(self, pusher: Pusher, registries: Registries) -> None:
        """Serve both."""
        self._pusher = pusher
        self._registries = registries

    def routes(self) -> list[Route]:
        """Return the operations."""
        return [
            Route("GET", "/images/search", self.search),
            Route("POST", "/images/{name:.+}/push", self.push),
            Route("GET", "/distribution/{name:.+}/json", self.inspect, since=(1, 30)),
        ]

    async def push(self, request: web.Request) -> web.StreamResponse:
        """``ImagePush``: progress; what fails after the first line is told in the stream."""
        reference = _pushed(request.match_info["name"], request.query.get("tag", ""))
        platform = decode_platform(request.query.get("platform", "")) if api_version(request) >= (1, 46) else ""
        credentials = decode_auth(request.headers.get("X-Registry-Auth", ""))
        stream = JsonStream(request)
        try:
            await self._pusher.push(reference, platform, credentials, stream.send)
        except PortsideError as error:
            if not stream.started:
                raise
            await stream.send_error(error.message)
        await stream.response.write_eof()
        return stream.response

    async def inspect(self, request: web.Request) -> web.StreamResponse:
        """``DistributionInspect``."""
        name = request.match_info["name"]
        if is_image_id(name):
            raise Internal("no manifest found for full image ID")
        reference = parse_reference(name).with_default_tag()
        credentials = decode_auth(request.headers.get("X-Registry-Auth", ""))
        return json_response(await self._registries.inspect(reference, credentials))

    async def search(self, request: web.Request) -> web.StreamResponse:
        """``ImageSearch``."""
        limit = _limit(request.query.get("limit", ""))
        filters = parse_filters(request.query.get("filters", ""), FILTERS)
        credentials = decode_auth(request.headers.get("X-Registry-Auth", ""))
        try:
            found = await self._registries.search(request.query.get("term", ""), limit, filters, credentials)
        except Unavailable as error:
            raise Internal(error.message, hint=error.hint) from error  # Docker's status
        return json_response(found)


def _pushed(name: str, tag: str) -> Reference:
    """Return what is to be pushed; without a tag that is every tag of the repository."""
    reference = parse_reference(name)
    if not tag:
        return reference
    if reference.digest:
        raise InvalidArgument("cannot import digest reference")
    return reference.with_tag(tag)


def _limit(text: str) -> int:
    if not text:
        return 0
    if _LIMIT.fullmatch(text) is None:
        raise InvalidArgument(f'invalid limit specified: strconv.Atoi: parsing "{text}": invalid syntax')
    if int(text) < 0:
        raise InvalidArgument("invalid limit specified")
    return int(text)
