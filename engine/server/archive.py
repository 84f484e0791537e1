"""Operations on archives of containers: ``ContainerArchive``, ``ContainerArchiveInfo``, ``PutContainerArchive``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from engine.containers.archive import ContainerArchives, check_path
from engine.containers.copies import STALL_S
from engine.errors import Internal, Unavailable
from engine.model.archive import STAT_HEADER, encode_stat
from engine.server.http import Route, query_bool


class ArchiveApi:
    """Handlers over ContainerArchives."""

    def __init__(self, archives: ContainerArchives) -> None:
        """Serve ``archives``."""
        self._archives = archives

    def routes(self) -> list[Route]:
        """Return the operations."""
        path = "/containers/{name}/archive"
        return [Route("HEAD", path, self.stat), Route("GET", path, self.get), Route("PUT", path, self.put)]

    async def stat(self, request: web.Request) -> web.StreamResponse:
        """``ContainerArchiveInfo``: 200 with what the path is in a header."""
        path = check_path(request.query.get("path", ""))
        found = await self._archives.stat(request.match_info["name"], path)
        return web.Response(headers={STAT_HEADER: encode_stat(found)})

    async def get(self, request: web.Request) -> web.StreamResponse:
        """``ContainerArchive``: 200 with a tar stream, compressed when the client accepts that."""
        path = check_path(request.query.get("path", ""))
        encoding = choose_encoding(request.headers.get("Accept-Encoding", ""))
        async with self._archives.get(request.match_info["name"], path, encoding) as (found, blocks):
            response = web.StreamResponse(
                headers={STAT_HEADER: encode_stat(found), "Content-Type": "application/x-tar"}
            )
            if encoding:
                response.headers["Content-Encoding"] = encoding
            await response.prepare(request)
            async for block in blocks:
                await _send(response, block)
            await response.write_eof()
            return response

    async def put(self, request: web.Request) -> web.StreamResponse:
        """``PutContainerArchive``: 200 once all of it is unpacked."""
        path = check_path(request.query.get("path", ""))
        await self._archives.put(
            request.match_info["name"],
            path,
            read_blocks(request),
            copy_owner=query_bool(request, "copyUIDGID"),
            no_overwrite=query_bool(request, "noOverwriteDirNonDir"),
        )
        return web.Response()


async def _send(response: web.StreamResponse, block: bytes) -> None:
    try:
        async with asyncio.timeout(STALL_S):
            await response.write(block)
    except TimeoutError:
        raise Unavailable(f"the client has read nothing for {STALL_S:.0f} s") from None


def choose_encoding(accepted: str) -> str:
    """Return gzip or deflate, whichever an Accept-Encoding prefers, or nothing."""
    best, chosen = 0.0, ""
    weights: dict[str, float] = {}
    for item in accepted.lower().split(","):
        name, _, rest = item.partition(";")
        _, found, value = rest.partition("q=")
        try:
            weights[name.strip()] = float(value) if found else 1.0
        except ValueError:
            weights[name.strip()] = 0.0
    for name in ("gzip", "deflate"):
        weight = weights.get(name, weights.get("*", 0.0))
        if weight > best:
            best, chosen = weight, name
    return chosen


async def read_blocks(request: web.Request) -> AsyncIterator[bytes]:
    """Yield a request's body as it comes; raises Internal when nothing comes for a minute."""
    while True:
        try:
            async with asyncio.timeout(STALL_S):
                block = await request.content.readany()
        except TimeoutError:
            raise Internal("unexpected EOF") from None
        if not block:
            return
        yield block
