"""The Plugin operations: there are no managed plugins, and each operation says so in dockerd's words."""

from __future__ import annotations

import re

from aiohttp import web

from engine.errors import Internal, InvalidArgument, NotFound, NotSupported
from engine.server.http import Route, json_response
from engine.wire.filters import parse_filters

_FILTERS = frozenset({"enabled", "capability"})
_HINT = "plugins that run on the host by themselves are found in /run/docker/plugins"


async def _list(request: web.Request) -> web.StreamResponse:
    parse_filters(request.query.get("filters", ""), _FILTERS)
    return json_response([])


async def _missing(request: web.Request) -> web.StreamResponse:
    name = request.match_info["name"]
    if request.match_info.get("verb") == "enable":
        timeout = request.query.get("timeout", "")
        if not re.fullmatch(r"[-+]?\d+", timeout):
            raise Internal(f'strconv.Atoi: parsing "{timeout}": invalid syntax')
    raise NotFound(f'plugin "{name}" not found', hint=_HINT)


async def _create(request: web.Request) -> web.StreamResponse:
    if not request.query.get("name"):
        raise InvalidArgument("invalid reference format")
    raise NotSupported("creating managed plugins is not supported by Portside yet", hint=_HINT)


async def _pull(request: web.Request) -> web.StreamResponse:
    raise NotSupported("managed plugins of registries are not supported by Portside yet", hint=_HINT)


def plugin_routes() -> list[Route]:
    """Return the routes."""
    return [
        Route("GET", "/plugins", _list),
        Route("GET", "/plugins/privileges", _pull),
        Route("POST", "/plugins/pull", _pull),
        Route("POST", "/plugins/create", _create),
        Route("GET", "/plugins/{name:.+}/json", _missing),
        Route("DELETE", "/plugins/{name:.+}", _missing),
        Route("POST", "/plugins/{name:.+}/{verb:enable|disable|push|upgrade|set}", _missing),
    ]
