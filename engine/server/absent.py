"""Operations that are not there yet, each saying so by name, and the swarm's, which a node outside a swarm refuses."""

from __future__ import annotations

from aiohttp import web

from engine.errors import NotSupported, Unavailable
from engine.server.http import Handler, Route

_NO_SWARM = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm '
    "and try again."
)
_ABSENT: tuple[tuple[str, str, str], ...] = (
    ("GET", "/plugins", "plugins are"),
    ("POST", "/plugins/pull", "plugins are"),
    ("GET", "/plugins/privileges", "plugins are"),
    ("POST", "/plugins/create", "plugins are"),
    ("GET", "/plugins/{name:.+}/json", "plugins are"),
    ("DELETE", "/plugins/{name:.+}", "plugins are"),
    ("POST", "/plugins/{name:.+}/{verb:enable|disable|push|upgrade|set}", "plugins are"),
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


def _refusing(what: str) -> Handler:
    async def refuse(request: web.Request) -> web.StreamResponse:
        raise NotSupported(f"{what} not supported by Portside yet")

    return refuse


async def _no_swarm(request: web.Request) -> web.StreamResponse:
    raise Unavailable(_NO_SWARM)


async def _leave(request: web.Request) -> web.StreamResponse:
    raise Unavailable("This node is not part of a swarm")


async def _init(request: web.Request) -> web.StreamResponse:
    raise NotSupported("Portside has no swarm mode: use a Docker engine that has it, or Kubernetes")


def absent_routes() -> list[Route]:
    """Return the routes of everything that is not there."""
    routes = [Route(method, path, _refusing(what)) for method, path, what in _ABSENT]
    routes += [Route(method, path, _no_swarm) for method, path in _SWARM]
    routes += [Route("POST", "/swarm/init", _init), Route("POST", "/swarm/join", _init)]
    return [*routes, Route("POST", "/swarm/leave", _leave)]
