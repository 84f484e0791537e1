"""One engine as the operations see it: versioned paths, JSON bodies, errors as kinds, streams.

Owns version negotiation and the decoding of answers. The groups of operations (``containers.py`` and so
on) build on it and know no HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

import engine
from engine.client.failures import response_error
from engine.client.http import HttpTransport, OpenResponse
from engine.client.streams import (
    BytesDecoder,
    Decoder,
    FramedDecoder,
    HijackedStream,
    JsonDecoder,
    Output,
    ProgressDecoder,
    ProgressStream,
    RawDecoder,
    Stream,
)
from engine.errors import Internal, PortsideError, Unavailable
from engine.wire.http1 import encode_target

if TYPE_CHECKING:
    from engine.client.dial import Dialer

T = TypeVar("T")

MAX_API_VERSION = (1, 51)
FALLBACK_API_VERSION = (1, 24)
DEFAULT_TIMEOUT_S = 60.0
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"
RAW = "application/vnd.docker.raw-stream"

Query = Mapping[str, str | int | bool | None]
Filters = Mapping[str, list[str]]
"""Filters of a list or prune: every value of a name that may match."""


def parse_version(text: str) -> tuple[int, int] | None:
    """Return ``1.41`` as (1, 41), None when it is no version."""
    major, _, minor = text.strip().partition(".")
    if not (major.isascii() and minor.isascii() and major.isdigit() and minor.isdigit()):
        return None
    return int(major), int(minor)


def encode_filters(filters: Filters | None) -> str | None:
    """Return filters as the API takes them: ``{"name": ["a", "b"]}``; None when there are none."""
    return msgspec.json.encode({key: list(values) for key, values in filters.items()}).decode() if filters else None


def decode_answer(data: bytes, kind: type[T]) -> T:
    """Return an answer as ``kind``; null stands for an absent value where the struct has a default.

    Raises Internal when it does not fit: an engine of another make may say things differently.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError:
        pass
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Internal(f"the engine's answer is not JSON: {error}") from error
    try:
        return msgspec.convert(_without_nulls(msgspec.json.decode(data)), kind, strict=False)
    except msgspec.ValidationError as error:
        raise Internal(f"the engine's answer was not understood: {error}") from error


def _without_nulls(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Drop nulls, but not those of ports (``80/tcp``), where null means that it is not published."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None or "/" in key}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


class EngineConnection:
    """Calls to one engine; made by ``EngineClient``."""

    def __init__(self, dialer: Dialer, name: str, *, timeout_s: float, api_version: tuple[int, int] | None) -> None:
        """``timeout_s`` bounds every call that is no stream; ``api_version`` switches negotiation off."""
        self.name = name
        self.timeout_s = timeout_s
        self.http = HttpTransport(dialer, name, f"portside/{engine.__version__} (linux)")
        self._version = api_version
        self._negotiation = asyncio.Lock()
        self.extra_headers: dict[str, str] = {}

    @property
    def version(self) -> tuple[int, int] | None:
        """The version that is spoken, None before the first call."""
        return self._version

    async def negotiate(self) -> tuple[int, int]:
        """Settle on the lower of the engine's version and ours, once; raises Unavailable or Forbidden."""
        if self._version is None:
            async with self._negotiation:
                if self._version is None:
                    answer = await self.ping()
                    self._version = min(
                        parse_version(answer.get("api-version", "")) or FALLBACK_API_VERSION, MAX_API_VERSION
                    )
        return self._version

    async def ping(self) -> dict[str, str]:
        """Return the headers of ``/_ping``: HEAD, or GET where HEAD is not known."""
        for method in ("HEAD", "GET"):
            response, body = await self._bounded(method, "/_ping", {}, None, self.timeout_s)
            if response.head.status == 200:
                break
        else:
            raise response_error(response.head.status, body, "GET /_ping")
        return response.head.headers

    async def call(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = -1,
        repeated: list[tuple[str, str]] | None = None,
    ) -> bytes:
        """Send a request with a JSON body and return the answer's body.

        ``repeated`` are query values whose names occur often.
        ``timeout_s`` None waits for ever, for what ends only when a container does. Raises the kind that
        the engine answers with; a 304 is a success, as for Docker.
        """
        target = await self._target(path, query, repeated)
        all_headers = dict(headers or {})
        data: bytes | None = None
        if body is not None:
            data = msgspec.json.encode(body)
            all_headers.setdefault("Content-Type", "application/json")
        limit_s = self.timeout_s if timeout_s == -1 else timeout_s
        response, answer = await self._bounded(method, target, all_headers, data, limit_s)
        if response.head.status >= 400:
            raise response_error(response.head.status, answer, f"{method} {path}")
        return answer

    async def get(self, path: str, kind: type[T], query: Query | None = None) -> T:
        """Return the answer of a GET as ``kind``."""
        return decode_answer(await self.call("GET", path, query), kind)

    async def post(self, path: str, kind: type[T], query: Query | None = None, body: object = None) -> T:
        """Return the answer of a POST as ``kind``."""
        return decode_answer(await self.call("POST", path, query, body), kind)

    async def open_stream(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        *,
        repeated: list[tuple[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
        body: AsyncIterable[bytes] | bytes | None = None,
    ) -> OpenResponse:
        """Send a request whose answer goes on; returns once it was accepted, without a timeout.

        Raises the kind that the engine answers with.
        """
        target = await self._target(path, query, repeated)
        response = await self.http.send(method, target, {**self.extra_headers, **(headers or {})}, body)
        if response.head.status >= 400:
            async with asyncio.timeout(self.timeout_s):
                answer = await response.read_all()
            raise response_error(response.head.status, answer, f"{method} {path}")
        return response

    def json_stream(self, method: str, path: str, kind: type[T], query: Query | None = None) -> Stream[T]:
        """Return the objects of an answer as they come."""

        async def connect() -> tuple[OpenResponse, Decoder[T]]:
            return await self.open_stream(method, path, query), JsonDecoder(kind, decode_answer)

        return Stream(connect)

    def progress_stream(
        self,
        path: str,
        query: Query | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        body: AsyncIterable[bytes] | bytes | None = None,
    ) -> ProgressStream:
        """Return the progress of a POST."""

        async def connect() -> tuple[OpenResponse, Decoder[Any]]:
            response = await self.open_stream("POST", path, query, headers=headers, body=body)
            return response, ProgressDecoder(decode_answer)

        return ProgressStream(connect)

    def bytes_stream(
        self, path: str, query: Query | None = None, *, repeated: list[tuple[str, str]] | None = None
    ) -> Stream[bytes]:
        """Return the body of a GET as it comes; ``repeated`` are query values whose names occur often."""

        async def connect() -> tuple[OpenResponse, Decoder[bytes]]:
            return await self.open_stream("GET", path, query, repeated=repeated), BytesDecoder()

        return Stream(connect)

    async def hijack(
        self, path: str, query: Query | None = None, body: object = None, *, is_tty: bool
    ) -> HijackedStream:
        """Take a POST's connection over; frames are decoded unless ``is_tty`` or the engine says it is raw."""
        headers = dict(self.extra_headers)
        data = b""
        if body is not None:
            data = msgspec.json.encode(body)
        headers["Content-Type"] = "application/json" if body is not None else "text/plain"
        headers["Content-Length"] = str(len(data))
        target = await self._target(path, query)
        try:
            async with asyncio.timeout(self.timeout_s):
                head, connection, early, answer = await self.http.hijack("POST", target, headers, data)
        except TimeoutError as error:
            raise self._too_late(f"POST {path}", self.timeout_s) from error
        if head.status not in (101, 200):
            raise response_error(head.status, answer, f"POST {path}")
        return HijackedStream(connection, early, output_decoder(head.headers.get("content-type", ""), is_tty=is_tty))

    async def _target(self, path: str, query: Query | None, repeated: list[tuple[str, str]] | None = None) -> str:
        version = await self.negotiate()
        values = [*(repeated or []), *encode_query(query).items()]
        return encode_target(f"/v{version[0]}.{version[1]}{path}", values)

    async def _bounded(
        self, method: str, target: str, headers: Mapping[str, str], data: bytes | None, timeout_s: float | None
    ) -> tuple[OpenResponse, bytes]:
        response: OpenResponse | None = None
        try:
            async with asyncio.timeout(timeout_s):
                response = await self.http.send(method, target, {**self.extra_headers, **headers}, data)
                return response, await response.read_all()
        except TimeoutError as error:
            raise self._too_late(f"{method} {target.partition('?')[0]}", timeout_s or 0) from error
        finally:
            if response is not None:
                response.close()

    def _too_late(self, what: str, timeout_s: float) -> PortsideError:
        return Unavailable(
            f"the engine at {self.name} did not answer {what} within {timeout_s:.0f} s",
            hint="it may be busy or stuck: look at its log, then try again",
        )


def encode_query(query: Query | None) -> dict[str, str]:
    """Return query values as Docker writes them: booleans as 1 and 0, None left out."""
    values: dict[str, str] = {}
    for key, value in (query or {}).items():
        if value is not None:
            values[key] = ("1" if value else "0") if isinstance(value, bool) else str(value)
    return values


def output_decoder(content_type: str, *, is_tty: bool) -> Decoder[Output]:
    """Return how a container's output is read; engines before API 1.42 do not say whether it is framed."""
    kind = content_type.partition(";")[0].strip()
    if kind == MULTIPLEXED:
        return FramedDecoder()
    return RawDecoder() if is_tty else FramedDecoder()
