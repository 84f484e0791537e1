"""Fetching a file by its URL: archives that are imported."""

from __future__ import annotations

import http.client
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from yarl import URL

from engine import __version__
from engine.errors import Forbidden, Internal, InvalidArgument, NotFound, PortsideError, Unauthorized, Unavailable
from engine.registry.connection import reason_of
from engine.registry.hosts import RegistrySettings, proxy_for

_BLOCK = 1 << 18
_MAX_TOLD_BYTES = 4096
_KINDS: dict[int, type[PortsideError]] = {400: InvalidArgument, 401: Unauthorized, 403: Forbidden, 404: NotFound}


def parse_address(text: str) -> str:
    """Return the URL that ``text`` means, http where it names no scheme; raises InvalidArgument for a bad one."""
    address = text if "://" in text else f"http://{text}"
    try:
        url = URL(address)
    except ValueError as error:
        raise InvalidArgument(f'parse "{address}": {error}') from error
    if url.scheme not in ("http", "https"):
        raise InvalidArgument(f'Get "{address}": unsupported protocol scheme "{url.scheme}"')
    if not url.host:
        raise InvalidArgument(f'Get "{address}": http: no Host in request URL')
    return address


@asynccontextmanager
async def opened(address: str, settings: RegistrySettings) -> AsyncIterator[tuple[AsyncIterator[bytes], int]]:
    """Open a URL (of ``parse_address``): yields (its bytes, how many there are or 0 when that is not said).

    Raises NotFound and so on with moby's text for a status that is none of success, Unavailable when nothing answers
    or it breaks off.
    """
    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=settings.connect_timeout_s, sock_read=settings.read_timeout_s
    )
    headers = {"User-Agent": f"portside/{__version__}", "Accept-Encoding": "identity"}
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, auto_decompress=False, headers=headers) as session,
            session.get(address, proxy=proxy_for(address, settings.proxies)) as answer,
        ):
            if answer.status >= 400:
                told = (await answer.content.read(_MAX_TOLD_BYTES)).decode(errors="replace").strip()
                words = answer.reason or http.client.responses.get(answer.status, "")
                text = f"failed to GET {address} with status {answer.status} {words}: {told}"
                raise _KINDS.get(answer.status, Internal)(text)
            yield answer.content.iter_chunked(_BLOCK), answer.content_length or 0
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Unavailable(f'Get "{address}": {reason_of(error)}') from error
