"""Building images, the build cache and the records of builds."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from engine.client.connection import EngineConnection, Filters, Query, decode_answer, encode_filters
from engine.client.streams import Decoder, JsonDecoder, ProgressDetail, Stream
from engine.model.base import Body
from engine.model.system import AuthConfig

if TYPE_CHECKING:
    from engine.client.http import OpenResponse

LONG_TIMEOUT_S = 600.0


class StepEvent(msgspec.Struct, kw_only=True):
    """What became of a step: ``state`` is started, done, cached or failed. Only our own engine tells."""

    number: int = 0
    state: str = ""
    stage: str = ""
    text: str = ""
    line: int = 0
    end_line: int = 0
    total: int = 0
    seconds: float = 0.0
    image: str = ""
    error: str = ""
    why: str = ""


class BuildWarning(msgspec.Struct, kw_only=True):
    """What a build check has found."""

    rule: str = ""
    message: str = ""
    line: int = 0


class BuildDebug(msgspec.Struct, kw_only=True):
    """The image that a failed step began with, and a shell that it has."""

    image: str = ""
    shell: list[str] = msgspec.field(default_factory=list)


class BuildError(msgspec.Struct, kw_only=True, rename="camel"):
    """Why a build failed; the lines are those of the Dockerfile, 0 where nobody knows."""

    code: int = 0
    message: str = ""
    hint: str = ""
    start_line: int = 0
    end_line: int = 0


class BuildMessage(msgspec.Struct, kw_only=True, rename="camel"):
    """One message of a build's output. ``vertex`` is the number of the step that speaks."""

    stream: str = ""
    status: str = ""
    id: str = ""
    progress_detail: ProgressDetail | None = None
    aux: dict[str, Any] | None = None
    error: str = ""
    error_detail: BuildError | None = None
    vertex: int = 0
    step: StepEvent | None = None
    context: str = ""
    warning: BuildWarning | None = None
    debug: BuildDebug | None = None


class CachePruneReport(Body):
    """Answer of ``POST /build/prune``; bytes."""

    caches_deleted: list[str] | None = None
    space_reclaimed: int = 0


class BuildApi:
    """Builds (``client.build``)."""

    def __init__(self, connection: EngineConnection) -> None:
        """Made by ``EngineClient``."""
        self._connection = connection

    def build(
        self,
        context: AsyncIterable[bytes] | None,
        query: Query,
        *,
        repeated: list[tuple[str, str]] | None = None,
        credentials: Mapping[str, AuthConfig] | None = None,
        secrets: Mapping[str, bytes] | None = None,
        agents: Mapping[str, str] | None = None,
        context_key: str = "",
        context_base: str = "",
        mode: str = "1",
    ) -> Stream[BuildMessage]:
        """Build an image (ImageBuild) of a tar; ``repeated`` are ``t`` and ``extrahosts``.

        ``mode`` is ``check`` for the build checks alone, ``debug`` to keep what a step that fails began with.
        Our engine keeps a context that has a ``context_key`` and tells its ID (``context`` of a message); with that
        as ``context_base`` the tar needs to have only what has changed. Raises Conflict when it is not kept any more.
        Closing the stream ends the build. An error is the last message; what the engine refuses at once raises.
        """
        headers = {"Content-Type": "application/x-tar", "X-Portside-Build": mode}
        if credentials:
            plain = {
                server: {key: value for key, value in msgspec.to_builtins(item).items() if value}
                for server, item in credentials.items()
            }
            headers["X-Registry-Config"] = _header(plain)
        if secrets:
            headers["X-Portside-Secrets"] = _header(
                {name: base64.b64encode(value).decode() for name, value in secrets.items()}
            )
        if agents:
            headers["X-Portside-Agents"] = _header(dict(agents))

        if context_key:
            headers["X-Portside-Context"] = context_key
        if context_base:
            headers["X-Portside-Base"] = context_base

        async def connect() -> tuple[OpenResponse, Decoder[BuildMessage]]:
            response = await self._connection.open_stream(
                "POST", "/build", query, repeated=repeated, headers=headers, body=context if context else b""
            )
            return response, JsonDecoder(BuildMessage, decode_answer)

        return Stream(connect)

    async def prune(self, *, every: bool = False, keep: int = 0, filters: Filters | None = None) -> CachePruneReport:
        """Delete what is in the build cache (BuildPrune), down to ``keep`` bytes."""
        query: dict[str, str | int | bool | None] = {
            "all": True if every else None,
            "keep-storage": keep or None,
            "filters": encode_filters(filters),
        }
        answer = await self._connection.call("POST", "/build/prune", query, timeout_s=LONG_TIMEOUT_S)
        return decode_answer(answer, CachePruneReport)

    async def records(self) -> list[dict[str, Any]]:
        """Return the builds of the past, newest first (our own engine's)."""
        return msgspec.json.decode(await self._connection.call("GET", "/builds/json"), type=list[dict[str, Any]])

    async def record(self, identifier: str) -> dict[str, Any]:
        """Return one build of the past with its steps and its log."""
        answer = await self._connection.call("GET", f"/builds/{identifier}/json")
        return msgspec.json.decode(answer, type=dict[str, Any])

    async def delete_record(self, identifier: str) -> None:
        """Forget one build of the past."""
        await self._connection.call("DELETE", f"/builds/{identifier}")


def _header(value: object) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(value)).decode()
