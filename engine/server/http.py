"""What every handler of the API uses: routes, query values, bodies, answers and progress streams.

Handlers are plain aiohttp handlers. They raise the kinds of ``engine.errors``; ``status.py`` makes
answers of them. ``hijack.py`` has the streams that take the connection over.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from engine.errors import InvalidArgument
from engine.server.gojson import read_json

T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MAX_BODY_BYTES = 4 * 1024 * 1024
BODY_STALL_S = 60.0
_MAX_DIGITS = 20
_INT64 = 2**63

API_VERSION: web.RequestKey[tuple[int, int]] = web.RequestKey("api_version", tuple)
"""The version that a request speaks, ``(1, 51)``; set by the application before the handler runs."""


@dataclass(frozen=True)
class Route:
    """One operation: ``path`` without version prefix, in aiohttp's pattern form (``/images/{name:.+}/json``)."""

    method: str
    path: str
    handler: Handler
    since: tuple[int, int] = (1, 24)


def api_version(request: web.Request) -> tuple[int, int]:
    """Return the API version of a request as (major, minor)."""
    return request[API_VERSION]


def query_bool(request: web.Request, name: str, default: bool = False) -> bool:
    """Return a boolean of the query as Docker reads it: anything but empty, 0, no, false, none is true."""
    value = request.query.get(name)
    if value is None:
        return default
    return value.strip().lower() not in ("", "0", "no", "false", "none")


def query_int(request: web.Request, name: str, default: int | None = None) -> int | None:
    """Return an integer of the query; raises InvalidArgument with Go's text when it is none."""
    value = request.query.get(name, "")
    if value == "":
        return default
    if re.fullmatch(r"[+-]?\d+", value, re.ASCII) is None:
        raise InvalidArgument(f'strconv.Atoi: parsing "{value}": invalid syntax')
    if len(value) > _MAX_DIGITS or not -(2**63) <= int(value) < 2**63:
        raise InvalidArgument(f'strconv.Atoi: parsing "{value}": value out of range')
    return int(value)


async def read_body(request: web.Request) -> bytes:
    """Return a request's body; raises InvalidArgument above ``MAX_BODY_BYTES`` or when it stops half-way."""
    data = bytearray()
    while True:
        try:
            async with asyncio.timeout(BODY_STALL_S):
                block = await request.content.readany()
        except TimeoutError:
            raise InvalidArgument(
                f"request body stopped after {len(data)} bytes: nothing came for {BODY_STALL_S:.0f} s"
            ) from None
        if not block:
            return bytes(data)
        data += block
        if len(data) > MAX_BODY_BYTES:
            raise InvalidArgument(f"request body is larger than {MAX_BODY_BYTES} bytes")


async def decode_body(request: web.Request, kind: type[T], *, optional: bool = False) -> T:
    """Return the JSON body of a request as ``kind``, as Go decodes it (``gojson``).

    An empty body is an error with Docker's text unless ``optional`` (then it is ``{}``).
    Raises InvalidArgument for broken JSON, wrong types or a wrong content type.
    """
    data = await read_body(request)
    if not data.strip():
        if optional:
            return msgspec.convert({}, kind)
        raise InvalidArgument("invalid JSON: got EOF while reading request body")
    content_type = request.headers.get("Content-Type", "")
    if content_type.partition(";")[0].strip().lower() != "application/json":
        if not content_type:
            raise InvalidArgument("malformed Content-Type header (): mime: no media type")
        raise InvalidArgument(f"unsupported Content-Type header ({content_type}): must be 'application/json'")
    return read_json(data, kind)


def without_nulls(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return JSON in which null means absent, as Go reads it; raises ValidationError for a number above 64 bits."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    if isinstance(value, int) and not -_INT64 <= value < _INT64:
        raise msgspec.ValidationError(f"a number does not fit into 64 bits: {value:.6e}")
    return value


def json_response(body: object, status: int = 200) -> web.Response:
    """Return ``body`` (a struct, dict or list) as JSON with Go's trailing newline."""
    return web.Response(body=msgspec.json.encode(body) + b"\n", status=status, content_type="application/json")


def raw_json_response(body: bytes, status: int = 200) -> web.Response:
    """Return JSON that is encoded already."""
    return web.Response(body=body, status=status, content_type="application/json")


def empty_response(status: int = 204) -> web.Response:
    """Return an answer without a body."""
    return web.Response(status=status)


class JsonStream:
    """A 200 answer of JSON objects, one a line, flushed as they come (progress, events, stats).

    The headers go out with the first object or with ``start``, so that an error before it can still
    become a status. After that, errors are sent as ``{"errorDetail": …, "error": …}``.
    """

    def __init__(self, request: web.Request, content_type: str = "application/json") -> None:
        """Prepare nothing yet."""
        self._request = request
        self.response = web.StreamResponse(headers={"Content-Type": content_type})

    @property
    def started(self) -> bool:
        """Whether the status line has gone out."""
        return self.response.prepared

    async def start(self) -> None:
        """Send the headers now."""
        if not self.response.prepared:
            await self.response.prepare(self._request)

    async def send(self, item: object) -> None:
        """Send one object; raises ConnectionResetError when the client has gone."""
        await self.start()
        await self.response.write(msgspec.json.encode(item) + b"\r\n")

    async def send_error(self, message: str, code: int | None = None) -> None:
        """Send an error in the stream as Docker words it."""
        detail: dict[str, object] = {"message": message}
        if code is not None:
            detail = {"code": code, "message": message}
        await self.send({"errorDetail": detail, "error": message})
