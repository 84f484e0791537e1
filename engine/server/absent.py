"""The swarm's operations, which a node outside a swarm refuses."""

from __future__ import annotations

from aiohttp import web

from engine.errors import NotSupported, Unavailable
from engine.server.http import Route

_NO_SWARM = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm '
    "and try again."
)
_SWARM: tuple[tuple[str, str], ...] = (
    ("GET", "/swarm"), ("GET", "/swarm/unlockkey"), ("POST", "/swarm/update"), ("POST", "/swarm/unlock"),
    ("GET", "/services"), ("POST", "/services/create"), ("GET", "/services/{id}"), ("DELETE", "/services/{id}"),
    ("POST", "/services/{id}/update"), ("GET", "/services/{id}/logs"),
    ("GET", "/nodes"), ("GET", "/nodes/{id}"), ("DELETE", "/nodes/{id}"), ("POST", "/nodes/{id}/update"),
    ("GET", "/tasks"), ("GET", "/tasks/{id}"), ("GET", "/tasks/{id}/logs"),
    ("GET", "/secrets"), ("POST", "/secrets/create"), ("GET", "/secrets/{id}"), ("DELETE", "/secrets/{id}"),
    ("POST", "/secrets/{id}/update"),
    ("GET", "/configs"), ("POST", "/configs/create"), ("GET", "/configs/{id}"), ("DELETE", "/configs/{id}"),
    ("POST", "/configs/{id}/update"),
)  # fmt: skip


async def _no_swarm(request: web.Request) -> web.StreamResponse:
    raise Unavailable(_NO_SWARM)


async def _leave(request: web.Request) -> web.StreamResponse:
    raise Unavailable("This node is not part of a swarm")


async def _init(request: web.Request) -> web.StreamResponse:
    raise NotSupported("Portside has no swarm mode: use a Docker engine that has it, or Kubernetes")


def absent_routes() -> list[Route]:
    """Return the routes of everything that is not there."""
    routes = [Route(method, path, _no_swarm) for method, path in _SWARM]
    routes += [Route("POST", "/swarm/init", _init), Route("POST", "/swarm/join", _init)]
    return [*routes, Route("POST", "/swarm/leave", _leave)]
