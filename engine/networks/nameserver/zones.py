"""Who has which names: the networks' names and what each container sees of them. No I/O.

What a container says of itself comes as plain tuples of bytes (``State``), so that it can be sent as it is.
Names are in lower case. Sources: moby's Sandbox.ResolveName and Network.ResolveName.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    EndpointState = tuple[
        bytes, bytes, tuple[bytes, ...], tuple[bytes, ...], tuple[bytes, ...], tuple[tuple[bytes, bytes], ...]
    ]
    """Network ID, network name, IPv4 and IPv6 addresses (packed), names, links (alias, name)."""
    UpstreamState = tuple[str, int, bool]
    """Address, port, whether it is asked from the host."""
    State = tuple[tuple[EndpointState, ...], tuple[UpstreamState, ...], bool, bool]
    """Endpoints, upstreams, whether networks lead outside, whether ndots is set."""


class Zone:
    """The names and addresses of one network."""

    __slots__ = ("names", "network_name", "owners")

    def __init__(self, network_name: bytes) -> None:
        """An empty one."""
        self.network_name = network_name
        self.names: dict[bytes, tuple[EndpointState, ...]] = {}
        self.owners: dict[bytes, tuple[EndpointState, ...]] = {}

    def add(self, endpoint: EndpointState) -> None:
        """Let the names of an endpoint be known."""
        self.network_name = endpoint[1]
        for name in endpoint[4]:
            self.names[name] = (*self.names.get(name, ()), endpoint)
        for address in endpoint[2] + endpoint[3]:
            self.owners[address] = (*self.owners.get(address, ()), endpoint)

    def remove(self, endpoint: EndpointState) -> None:
        """Take out what ``add`` put in."""
        for table, keys in ((self.names, endpoint[4]), (self.owners, endpoint[2] + endpoint[3])):
            for key in keys:
                left = [item for item in table.get(key, ()) if item is not endpoint]
                if left:
                    table[key] = tuple(left)
                else:
                    table.pop(key, None)


class Zones:
    """All networks that have containers."""

    def __init__(self) -> None:
        """None yet."""
        self._zones: dict[bytes, Zone] = {}

    def replace(self, old: tuple[EndpointState, ...], new: tuple[EndpointState, ...]) -> None:
        """Exchange a container's endpoints."""
        for endpoint in old:
            zone = self._zones[endpoint[0]]
            zone.remove(endpoint)
            if not zone.names and not zone.owners:
                del self._zones[endpoint[0]]
        for endpoint in new:
            zone = self._zones.get(endpoint[0]) or self._zones.setdefault(endpoint[0], Zone(endpoint[1]))
            zone.add(endpoint)

    def find(self, endpoints: tuple[EndpointState, ...], name: bytes) -> tuple[EndpointState, ...] | None:
        """Return the endpoints that a container with ``endpoints`` means by a name; None for no name of ours.

        ``a.b.c`` is looked for as a name in any network, then as ``a.b`` in the network ``c``, then as
        ``a`` in ``b.c``. A container's own links hide names.
        """
        found = self._find_in(endpoints, name, None)
        cut = len(name)
        while found is None and (cut := name.rfind(b".", 0, cut)) >= 0:
            found = self._find_in(endpoints, name[:cut], name[cut + 1 :])
        return found

    def _find_in(
        self, endpoints: tuple[EndpointState, ...], name: bytes, network_name: bytes | None
    ) -> tuple[EndpointState, ...] | None:
        hidden = False
        for endpoint in endpoints:
            if endpoint[5] and network_name in (None, endpoint[1]):
                for alias, target in endpoint[5]:
                    if alias == name:
                        hidden = True
                        found = self._zones[endpoint[0]].names.get(target)
                        if found is not None:
                            return found
        for endpoint in endpoints:
            if network_name in (None, endpoint[1]):
                if hidden and any(alias == name for alias, _ in endpoint[5]):
                    continue
                found = self._zones[endpoint[0]].names.get(name)
                if found is not None:
                    return found
        return None

    def owner(self, endpoints: tuple[EndpointState, ...], address: bytes) -> bytes | None:
        """Return ``name.network`` of the endpoint that has a packed address in one of a container's networks."""
        for endpoint in endpoints:
            zone = self._zones[endpoint[0]]
            for found in zone.owners.get(address, ()):
                if found[4]:
                    return found[4][0] + b"." + zone.network_name
        return None


def addresses_of(endpoints: tuple[EndpointState, ...], *, ipv6: bool) -> list[bytes]:
    """Return the packed addresses of one family, each once."""
    if len(endpoints) == 1:
        return list(endpoints[0][3] if ipv6 else endpoints[0][2])
    found = [endpoint[3] if ipv6 else endpoint[2] for endpoint in endpoints]
    return list(dict.fromkeys(address for addresses in found for address in addresses))
