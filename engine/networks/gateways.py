"""Which of a container's networks is its way out: Docker's order. Memory only.

The highest ``GwPriority`` comes first; then networks that are not internal, those with more families of
addresses, and the name decides among equals. Source: moby's libnetwork/sandbox.go and default_gateway.go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.networks.attachment import Endpoint
from engine.networks.live import AddressedNetwork, LiveNetwork


@dataclass(frozen=True)
class Way:
    """The endpoints that lead out, by family; None where none does."""

    ipv4: Endpoint | None = None
    ipv6: Endpoint | None = None

    def versions(self, endpoint: Endpoint) -> tuple[int, ...]:
        """Return the versions of which an endpoint has the default route."""
        return tuple(version for version, way in ((4, self.ipv4), (6, self.ipv6)) if way is endpoint)

    def of(self, version: int) -> Endpoint | None:
        """Return the endpoint that leads out in a family."""
        return self.ipv4 if version == 4 else self.ipv6


def choose_way(endpoints: Sequence[Endpoint], networks: Mapping[str, LiveNetwork]) -> Way:
    """Return the endpoints that the default routes lead through."""
    able = [
        (endpoint, network.gateway_versions(endpoint))
        for endpoint in endpoints
        if isinstance(network := networks[endpoint.network_id], AddressedNetwork)
    ]
    able.sort(
        key=lambda item: (
            -item[0].settings.gw_priority,
            networks[item[0].network_id].record.internal,
            -len(item[1]),
            item[0].network,
        )
    )
    first: dict[int, Endpoint] = {}
    for endpoint, versions in able:
        if len(versions) == 2:
            return Way(endpoint, endpoint)
        for version in versions:
            first.setdefault(version, endpoint)
    return Way(first.get(4), first.get(6))
