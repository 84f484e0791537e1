"""Operations tagged Network (API 1.51)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

import msgspec
from aiohttp import web
from msgspec import UNSET

from engine.errors import Internal, InvalidArgument, NotFound
from engine.model.inspect import ContainerInspect
from engine.model.network import (
    EndpointSettings,
    NetworkConnectRequest,
    NetworkCreateRequest,
    NetworkCreateResponse,
    NetworkDisconnectRequest,
    NetworkInspect,
    NetworksPruneReport,
)
from engine.server.http import Route, api_version, decode_body, empty_response, json_response, query_bool
from engine.wire.booleans import parse_go_bool
from engine.wire.filters import Filters, match_labels, match_pattern, parse_filters
from engine.wire.times import parse_moment

T = TypeVar("T")
log = logging.getLogger(__name__)
PREDEFINED = ("bridge", "host", "none", "default")
_LIST_FILTERS = ("dangling", "driver", "id", "label", "name", "scope", "type")
_PRUNE_FILTERS = ("label", "label!", "until")
_ALWAYS_DETAILED_BEFORE = (1, 28)
_ENABLE_IPV4_SINCE = (1, 48)


class PrunedNetwork(Protocol):
    """What of a network a prune goes by."""

    @property
    def labels(self) -> dict[str, str]:
        """Its labels."""

    @property
    def created_ns(self) -> int:
        """When it was made, in nanoseconds since 1970."""


class Networks(Protocol):
    """What makes, shows and removes networks."""

    def describe_all(self) -> list[NetworkInspect]:
        """Return all networks with their containers."""

    async def create(self, request: NetworkCreateRequest) -> str:
        """Make a network; return its ID."""

    async def remove(self, network_ref: str) -> None:
        """Remove a network."""

    async def prune(self, accepts: Callable[[PrunedNetwork], bool]) -> list[str]:
        """Remove unused networks; return their names."""


class Connections(Protocol):
    """What connects containers."""

    async def connect(self, container_ref: str, network_ref: str, settings: EndpointSettings) -> None:
        """Connect a container to a network."""

    async def disconnect(self, container_ref: str, network_ref: str, *, force: bool = False) -> None:
        """Take a container off a network."""

    async def unlink(self, path: str) -> None:
        """Take back a link of the default bridge."""


class NetworksApi:
    """Handlers over the network manager and the containers'."""

    def __init__(self, networks: Networks, connections: Connections) -> None:
        """Serve ``networks``."""
        self._networks = networks
        self._connections = connections
        self._changes: set[asyncio.Task[Any]] = set()

    def routes(self) -> list[Route]:
        """Return the operations."""
        return [
            Route("GET", "/networks", self.list),
            Route("GET", "/networks/", self.list),
            Route("POST", "/networks/create", self.create),
            Route("POST", "/networks/prune", self.prune, since=(1, 25)),
            Route("GET", "/networks/{id:.+}", self.inspect),
            Route("POST", "/networks/{id:.+}/connect", self.connect),
            Route("POST", "/networks/{id:.+}/disconnect", self.disconnect),
            Route("DELETE", "/networks/{id:.+}", self.remove),
            Route("DELETE", "/containers/{parent:[^/]+}/{alias:[^/]+}", self.unlink),
        ]

    async def list(self, request: web.Request) -> web.StreamResponse:
        """``NetworkList``: 200; containers only for clients older than API 1.28."""
        filters = parse_filters(request.query.get("filters", ""), _LIST_FILTERS)
        found = select(self._networks.describe_all(), filters)
        if api_version(request) >= _ALWAYS_DETAILED_BEFORE:
            for network in found:
                network.containers = {}
        return json_response(found)

    async def inspect(self, request: web.Request) -> web.StreamResponse:
        """``NetworkInspect``: 200; 404 for an unknown one, 400 for an ambiguous beginning of an ID.

        ``verbose`` adds what services of a swarm have; here there are none.
        """
        verbose = request.query.get("verbose", "")
        if verbose and parse_go_bool(verbose) is None:
            raise InvalidArgument(
                f'invalid value for verbose: {verbose}: strconv.ParseBool: parsing "{verbose}": invalid syntax'
            )
        scope = request.query.get("scope", "")
        networks = [network for network in self._networks.describe_all() if scope in ("", network.scope)]
        return json_response(find(networks, request.match_info["id"]))

    async def create(self, request: web.Request) -> web.StreamResponse:
        """``NetworkCreate``: 201; 403 for predefined names, 409 for a taken one."""
        body = await decode_body(request, NetworkCreateRequest, optional=True)
        if api_version(request) < _ENABLE_IPV4_SINCE:
            body.enable_ipv4 = UNSET
        return json_response(NetworkCreateResponse(id=await self._whole(self._networks.create(body))), status=201)

    async def connect(self, request: web.Request) -> web.StreamResponse:
        """``NetworkConnect``: 200."""
        body = await decode_body(request, NetworkConnectRequest, optional=True)
        settings = body.endpoint_config or EndpointSettings()
        await self._whole(self._connections.connect(body.container, request.match_info["id"], settings))
        return empty_response(200)

    async def disconnect(self, request: web.Request) -> web.StreamResponse:
        """``NetworkDisconnect``: 200."""
        body = await decode_body(request, NetworkDisconnectRequest, optional=True)
        await self._whole(self._connections.disconnect(body.container, request.match_info["id"], force=body.force))
        return empty_response(200)

    async def remove(self, request: web.Request) -> web.StreamResponse:
        """``NetworkDelete``: 204; 403 for the predefined ones and those in use."""
        await self._whole(self._networks.remove(request.match_info["id"]))
        return empty_response()

    async def unlink(self, request: web.Request) -> web.StreamResponse:
        """``ContainerDelete`` with ``link``: 204; the link of a container is named ``container/alias``."""
        path = f"{request.match_info['parent']}/{request.match_info['alias']}"
        if not query_bool(request, "link"):
            raise NotFound(f"No such container: {path}")
        await self._connections.unlink(path)
        return empty_response()

    async def prune(self, request: web.Request) -> web.StreamResponse:
        """``NetworkPrune``: 200 with the names of what went; filters ``until`` and ``label``."""
        filters = parse_filters(request.query.get("filters", ""), _PRUNE_FILTERS)
        until = filters.get("until", [])
        if len(until) > 1:
            raise InvalidArgument("more than one until filter specified")
        until_ns = parse_moment(until[0]) if until else 0

        def accepts(network: PrunedNetwork) -> bool:
            if until_ns and network.created_ns > until_ns:
                return False
            refused = filters.get("label!")
            wanted = match_labels(filters.get("label", ()), network.labels)
            return wanted and not (refused and match_labels(refused, network.labels))

        removed = await self._whole(self._networks.prune(accepts))
        return json_response(NetworksPruneReport(networks_deleted=removed or None))

    async def _whole(self, work: Coroutine[Any, Any, T]) -> T:
        """Do a change to its end though its client may go: half of it is nothing that could be left."""
        task = asyncio.get_running_loop().create_task(work)
        self._changes.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._changes.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.debug("a change of networks failed: %s", task.exception())


def with_old_aliases(view: ContainerInspect) -> dict[str, EndpointSettings]:
    """Return a container's networks as versions before 1.45 show them: short ID and host name are aliases."""
    shown: dict[str, EndpointSettings] = {}
    for name, endpoint in (view.network_settings.networks or {}).items():
        if name not in PREDEFINED:
            names = [*(endpoint.aliases or ()), view.id[:12], view.config.hostname]
            endpoint = msgspec.structs.replace(endpoint, aliases=list(dict.fromkeys(names)))
        shown[name] = endpoint
    return shown


def find(networks: list[NetworkInspect], network_ref: str) -> NetworkInspect:
    """Return a network by ID, name or unambiguous beginning of an ID; raises NotFound or InvalidArgument."""
    for network in networks:
        if network_ref in (network.id, network.name):
            return network
    begun = [network for network in networks if network.id.startswith(network_ref)]
    if len(begun) > 1:
        raise InvalidArgument(f"{len(begun)} matches found based on ID prefix: network {network_ref} is ambiguous")
    if not begun:
        raise NotFound(f"network {network_ref} not found", hint="see the list of networks")
    return begun[0]


def select(networks: list[NetworkInspect], filters: Filters) -> list[NetworkInspect]:
    """Return the networks that all filters take, as moby filters them; raises InvalidArgument for bad values."""
    found = networks
    for key, value in (("driver", "driver"), ("scope", "scope")):
        if filters.get(key):
            found = [network for network in found if getattr(network, value) in filters[key]]
    for key, value in (("name", "name"), ("id", "id")):
        if filters.get(key):
            found = [network for network in found if match_pattern(filters[key], getattr(network, value))]
    if filters.get("label"):
        found = [network for network in found if match_labels(filters["label"], network.labels)]
    if filters.get("dangling"):
        dangling = _dangling(filters["dangling"])
        found = [network for network in found if (not _is_builtin(network) and not network.containers) is dangling]
    if filters.get("type"):
        found = [network for kind in filters["type"] for network in found if _is_of_type(network, kind)]
    return found


def _dangling(values: list[str]) -> bool:
    if len(values) > 1:
        raise InvalidArgument('got more than one value for filter key "dangling"')
    if values[0] not in ("0", "false", "1", "true"):
        raise InvalidArgument('invalid value for filter \'dangling\', must be "true" (or "1"), or "false" (or "0")')
    return values[0] in ("1", "true")


def _is_builtin(network: NetworkInspect) -> bool:
    return network.name in PREDEFINED


def _is_of_type(network: NetworkInspect, kind: str) -> bool:
    if kind not in ("builtin", "custom"):
        raise Internal(f"invalid filter: 'type'='{kind}'")
    return _is_builtin(network) is (kind == "builtin")
