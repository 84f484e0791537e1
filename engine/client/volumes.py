"""Volume operations."""

from __future__ import annotations

from typing import Any

from engine.client.connection import EngineConnection, Filters, decode_answer, encode_filters
from engine.model.volume import Volume, VolumeCreateRequest, VolumeList, VolumesPruneReport

LONG_TIMEOUT_S = 600.0


class VolumesApi:
    """Volumes (``client.volumes``)."""

    def __init__(self, connection: EngineConnection) -> None:
        """Made by ``EngineClient``."""
        self._connection = connection

    async def list(self, filters: Filters | None = None) -> VolumeList:
        """Return volumes and warnings (VolumeList)."""
        return await self._connection.get("/volumes", VolumeList, {"filters": encode_filters(filters)})

    async def create(self, request: VolumeCreateRequest) -> Volume:
        """Create a volume, or return the one that has the name (VolumeCreate)."""
        return await self._connection.post("/volumes/create", Volume, None, request)

    async def inspect(self, name: str) -> Volume:
        """Return one volume (VolumeInspect)."""
        return decode_answer(await self.inspect_raw(name), Volume)

    async def inspect_raw(self, name: str) -> bytes:
        """Return the engine's own JSON of one volume."""
        return await self._connection.call("GET", f"/volumes/{name}")

    async def update(self, volume_id: str, version: int, spec: dict[str, Any]) -> None:
        """Change a cluster volume (VolumeUpdate); raises Unavailable outside a swarm."""
        await self._connection.call("PUT", f"/volumes/{volume_id}", {"version": version}, {"Spec": spec})

    async def remove(self, name: str, *, force: bool = False) -> None:
        """Remove a volume (VolumeDelete); raises Conflict while a container has it."""
        query = {"force": True if force else None}
        await self._connection.call("DELETE", f"/volumes/{name}", query, timeout_s=LONG_TIMEOUT_S)

    async def prune(self, filters: Filters | None = None) -> VolumesPruneReport:
        """Remove unused volumes (VolumePrune); only anonymous ones unless a filter ``all`` says so."""
        query = {"filters": encode_filters(filters)}
        answer = await self._connection.call("POST", "/volumes/prune", query, timeout_s=LONG_TIMEOUT_S)
        return decode_answer(answer, VolumesPruneReport)
