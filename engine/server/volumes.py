"""Operations tagged Volume (API 1.51). Cluster volumes are Swarm's, which Portside is not."""

from __future__ import annotations

from aiohttp import web

from engine.errors import InvalidArgument, Unavailable
from engine.model.base import given
from engine.model.volume import VolumeCreateRequest, VolumeList
from engine.server.http import Route, api_version, decode_body, empty_response, json_response, query_bool
from engine.volumes.manager import LIST_FILTERS, PRUNE_FILTERS, VolumeManager
from engine.wire.filters import parse_filters

_PRUNE_ANONYMOUS_SINCE = (1, 42)
_NO_SWARM = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to '
    "swarm and try again."
)


class VolumesApi:
    """Handlers over a VolumeManager."""

    def __init__(self, manager: VolumeManager) -> None:
        """Serve ``manager``."""
        self._manager = manager

    def routes(self) -> list[Route]:
        """Return the operations."""
        return [
            Route("GET", "/volumes", self.list),
            Route("GET", "/volumes/{name:.*}", self.inspect),
            Route("POST", "/volumes/create", self.create),
            Route("POST", "/volumes/prune", self.prune, since=(1, 25)),
            Route("PUT", "/volumes/{name:.*}", self.update, since=(1, 42)),
            Route("DELETE", "/volumes/{name:.*}", self.remove),
        ]

    async def list(self, request: web.Request) -> web.StreamResponse:
        """``VolumeList``: 200."""
        try:
            filters = parse_filters(request.query.get("filters", ""), LIST_FILTERS)
        except InvalidArgument as error:
            if error.message == "invalid filter":  # moby says more only here, and only of broken JSON
                raise InvalidArgument(f"error reading volume filters: {error.message}") from error
            raise
        return json_response(VolumeList(volumes=self._manager.all(filters)))

    async def inspect(self, request: web.Request) -> web.StreamResponse:
        """``VolumeInspect``: 200; 404 for an unknown one."""
        return json_response(self._manager.get(request.match_info["name"]))

    async def create(self, request: web.Request) -> web.StreamResponse:
        """``VolumeCreate``: 201, also for one that exists."""
        body = await decode_body(request, VolumeCreateRequest, optional=True)
        if given(body.cluster_volume_spec, None) is not None and api_version(request) >= (1, 42):
            raise Unavailable(_NO_SWARM)
        volume = await self._manager.create(body.name, body.driver, body.driver_opts, body.labels)
        return json_response(volume, 201)

    async def update(self, request: web.Request) -> web.StreamResponse:
        """``VolumeUpdate``: only for cluster volumes."""
        raise Unavailable("volume update only valid for cluster volumes, but swarm is unavailable")

    async def remove(self, request: web.Request) -> web.StreamResponse:
        """``VolumeDelete``: 204; 409 when containers have it."""
        await self._manager.remove(request.match_info["name"], force=query_bool(request, "force"))
        return empty_response()

    async def prune(self, request: web.Request) -> web.StreamResponse:
        """``VolumePrune``: 200; before API 1.42 all unused volumes, from then on anonymous ones by default."""
        filters = parse_filters(request.query.get("filters", ""), PRUNE_FILTERS)
        if api_version(request) < _PRUNE_ANONYMOUS_SINCE:
            filters.setdefault("all", ["true"])
        return json_response(await self._manager.prune(filters))
