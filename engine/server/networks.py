"""Operations tagged Network (API 1.51). User-defined networks are not there yet: what needs them says so."""

from __future__ import annotations

from typing import Protocol

from aiohttp import web

from engine.errors import Forbidden, InvalidArgument, NotFound, NotSupported
from engine.model.network import NetworkInspect
from engine.networks.builtin import DRIVERS
from engine.server.http import Route, api_version, decode_body, empty_response, json_response
from engine.wire.filters import Filters, match_labels, match_pattern, parse_filters

_LIST_FILTERS = ("dangling", "driver", "id", "label", "name", "scope", "type")
_PRUNE_FILTERS = ("label", "label!", "until")
_ALWAYS_DETAILED_BEFORE = (1, 28)
_HINT = "use the networks bridge, host or none, or container:<name>"


class NetworkViews(Protocol):
    """What shows the networks."""

    def describe_all(self) -> list[NetworkInspect]:
        """Return all networks with their containers."""


class NetworksApi:
    """Handlers over the network manager."""

    def __init__(self, networks: NetworkViews) -> None:
        """Serve ``networks``."""
        self._networks = networks

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
        """``NetworkInspect``: 200; 404 for an unknown one, 400 for an ambiguous beginning of an ID."""
        verbose = request.query.get("verbose", "")
        if verbose and verbose.lower() not in ("1", "t", "true", "0", "f", "false"):
            raise InvalidArgument(
                f'invalid value for verbose: {verbose}: strconv.ParseBool: parsing "{verbose}": invalid syntax'
            )
        scope = request.query.get("scope", "")
        networks = [network for network in self._networks.describe_all() if scope in ("", network.scope)]
        return json_response(find(networks, request.match_info["id"]))

    async def create(self, request: web.Request) -> web.StreamResponse:
        """``NetworkCreate``: not there yet; predefined names are refused as Docker does."""
        body = await decode_body(request, dict)
        name = str(body.get("Name", ""))
        if name in (*DRIVERS, "default"):
            raise Forbidden(f"operation is not permitted on predefined {name} network ")
        raise NotSupported("user-defined networks are not supported by Portside yet", hint=_HINT)

    async def connect(self, request: web.Request) -> web.StreamResponse:
        """``NetworkConnect``: not there yet."""
        find(self._networks.describe_all(), request.match_info["id"])
        raise NotSupported("connecting a container to a further network is not supported by Portside yet", hint=_HINT)

    async def disconnect(self, request: web.Request) -> web.StreamResponse:
        """``NetworkDisconnect``: not there yet."""
        find(self._networks.describe_all(), request.match_info["id"])
        raise NotSupported("disconnecting a container from a network is not supported by Portside yet")

    async def remove(self, request: web.Request) -> web.StreamResponse:
        """``NetworkDelete``: 403 for the predefined ones, which are all there are."""
        network = find(self._networks.describe_all(), request.match_info["id"])
        if network.name in DRIVERS:
            raise Forbidden(f"{network.name} is a pre-defined network and cannot be removed")
        return empty_response()

    async def prune(self, request: web.Request) -> web.StreamResponse:
        """``NetworkPrune``: 200; the predefined networks are never pruned."""
        parse_filters(request.query.get("filters", ""), _PRUNE_FILTERS)
        return json_response({"NetworksDeleted": None})


def find(networks: list[NetworkInspect], network_ref: str) -> NetworkInspect:
    """Return a network by ID, name or unambiguous beginning of an ID; raises NotFound or InvalidArgument."""
    for network in networks:
        if network_ref in (network.id, network.name):
            return network
    begun = [network for network in networks if network.id.startswith(network_ref)]
    if len(begun) > 1:
        raise InvalidArgument(f"network {network_ref} is ambiguous ({len(begun)} matches found based on ID prefix)")
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
        found = [network for network in found if (network.name not in DRIVERS and not network.containers) is dangling]
    if filters.get("type"):
        found = [network for kind in filters["type"] for network in found if _is_of_type(network, kind)]
    return found


def _dangling(values: list[str]) -> bool:
    if len(values) > 1:
        raise InvalidArgument('got more than one value for filter key "dangling"')
    if values[0] not in ("0", "false", "1", "true"):
        raise InvalidArgument('invalid value for filter \'dangling\', must be "true" (or "1"), or "false" (or "0")')
    return values[0] in ("1", "true")


def _is_of_type(network: NetworkInspect, kind: str) -> bool:
    if kind not in ("builtin", "custom"):
        raise InvalidArgument(f"invalid filter: 'type'='{kind}'")
    return (network.name in DRIVERS) is (kind == "builtin")
