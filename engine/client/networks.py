"""Network operations."""

from __future__ import annotations

from engine.client.connection import EngineConnection, Filters, decode_answer, encode_filters
from engine.model.network import (
    EndpointSettings,
    NetworkConnectRequest,
    NetworkCreateRequest,
    NetworkCreateResponse,
    NetworkDisconnectRequest,
    NetworkInspect,
    NetworksPruneReport,
)

Names = list[str]


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

    async def create(self, request: NetworkCreateRequest) -> str:
        """Make a network; return its ID (NetworkCreate)."""
        return (await self._connection.post("/networks/create", NetworkCreateResponse, None, request)).id

    async def remove(self, ref: str) -> None:
        """Remove a network (NetworkDelete); raises Forbidden while containers use it."""
        await self._connection.call("DELETE", f"/networks/{ref}")

    async def connect(self, ref: str, container: str, settings: EndpointSettings | None = None) -> None:
        """Connect a container to a network (NetworkConnect)."""
        body = NetworkConnectRequest(container=container, endpoint_config=settings)
        await self._connection.call("POST", f"/networks/{ref}/connect", body=body)

    async def disconnect(self, ref: str, container: str, *, force: bool = False) -> None:
        """Take a container off a network (NetworkDisconnect)."""
        body = NetworkDisconnectRequest(container=container, force=force)
        await self._connection.call("POST", f"/networks/{ref}/disconnect", body=body)

    async def prune(self, filters: Filters | None = None) -> Names:
        """Remove unused networks and return their names (NetworkPrune)."""
        query = {"filters": encode_filters(filters)}
        return (await self._connection.post("/networks/prune", NetworksPruneReport, query)).networks_deleted or []
