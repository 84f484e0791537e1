"""System operations: ping, version, info, events, disk usage, credentials."""

from __future__ import annotations

from dataclasses import dataclass

from engine.client.connection import EngineConnection, Filters, decode_answer, encode_filters
from engine.client.streams import Stream
from engine.model.system import AuthConfig, AuthResponse, DiskUsage, Event, SystemInfo, SystemVersion

DISK_USAGE_TIMEOUT_S = 600.0
AUTH_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Ping:
    """What ``/_ping`` says in its headers."""

    api_version: str
    os_type: str
    is_experimental: bool
    builder_version: str
    server: str


class SystemApi:
    """The engine as a whole (``client.system``)."""

    def __init__(self, connection: EngineConnection) -> None:
        """Made by ``EngineClient``."""
        self._connection = connection

    async def ping(self) -> Ping:
        """Ask whether the engine serves; raises Unavailable or Forbidden."""
        headers = await self._connection.ping()
        return Ping(
            api_version=headers.get("api-version", ""),
            os_type=headers.get("ostype", ""),
            is_experimental=headers.get("docker-experimental", "") == "true",
            builder_version=headers.get("builder-version", ""),
            server=headers.get("server", ""),
        )

    async def version(self) -> SystemVersion:
        """Return versions of the engine and its parts (SystemVersion)."""
        return await self._connection.get("/version", SystemVersion)

    async def info(self) -> SystemInfo:
        """Return what the engine says of itself and its host (SystemInfo), as JSON."""
        info: SystemInfo = await self._connection.get("/info", dict)
        return info

    def events(self, *, since: str = "", until: str = "", filters: Filters | None = None) -> Stream[Event]:
        """Follow events (SystemEvents); ``since`` and ``until`` are Unix seconds, with fractions if need be.

        ``async with client.system.events() as events: async for event in events``. Without ``until`` it
        goes on until it is closed; raises Unavailable when the engine goes away.
        """
        query = {"since": since or None, "until": until or None, "filters": encode_filters(filters)}
        return self._connection.json_stream("GET", "/events", Event, query)

    async def df(self, kinds: list[str] | None = None) -> DiskUsage:
        """Return disk usage (SystemDataUsage); this walks file systems and may take minutes."""
        query: dict[str, str | int | bool | None] = {"type": kinds[0]} if kinds and len(kinds) == 1 else {}
        answer = await self._connection.call("GET", "/system/df", query, timeout_s=DISK_USAGE_TIMEOUT_S)
        return decode_answer(answer, DiskUsage)

    async def auth(self, credentials: AuthConfig) -> AuthResponse:
        """Try credentials at their registry (SystemAuth); raises Unauthorized."""
        answer = await self._connection.call("POST", "/auth", body=credentials, timeout_s=AUTH_TIMEOUT_S)
        return decode_answer(answer, AuthResponse) if answer.strip() else AuthResponse()
