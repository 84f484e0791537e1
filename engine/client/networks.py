"""Network operations."""

from __future__ import annotations

from engine.client.connection import EngineConnection, Filters, decode_answer, encode_filters
from engine.model.network import NetworkInspect


class NetworksApi:
    """Networks (``client.networks``)."""

    def __init__(self, connection: EngineConnection) -> None:
        """Made by ``EngineClient``."""
        self._connection = connection

    async def list(self, filters: Filters | None = None) -> list[NetworkInspect]:
        """Return networks (NetworkList), without their containers."""
        return await self._connection.get("/networks", list[NetworkInspect], {"filters": encode_filters(filters)})

    async def inspect(self, ref: str) -> NetworkInspect:
        """Return one network with its containers (NetworkInspect)."""
        return decode_answer(await self.inspect_raw(ref), NetworkInspect)

    async def inspect_raw(self, ref: str, *, verbose: bool = False) -> bytes:
        """Return the engine's own JSON of one network."""
        return await self._connection.call("GET", f"/networks/{ref}", {"verbose": True if verbose else None})
