"""Network operations."""

from __future__ import annotations

from engine.client.connection import EngineConnection, Filters, decode_answer, encode_filters
from engine.model.base import Body
from engine.model.network import NetworkInspect

Names = list[str]


class NetworksPruneReport(Body):
    """Answer of ``POST /networks/prune``."""

    networks_deleted: list[str] | None = None


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

    async def prune(self, filters: Filters | None = None) -> Names:
        """Remove unused networks and return their names (NetworkPrune)."""
        query = {"filters": encode_filters(filters)}
        return (await self._connection.post("/networks/prune", NetworksPruneReport, query)).networks_deleted or []
