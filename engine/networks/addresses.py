"""Subnets and the addresses in them: chosen, leased, given back. Memory only, no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeVar

from engine.errors import Forbidden, InvalidArgument, Unavailable

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


PoolT = TypeVar("PoolT", IPv4Network, IPv6Network)


def choose_subnet(pools: Iterable[tuple[PoolT, int]], taken: Iterable[Network]) -> PoolT:
    """Return the first subnet of the pools that overlaps nothing that is taken.

    Raises InvalidArgument with moby's text when there is none.
    """
    for base, prefix in pools:
        busy = [network for network in taken if network.version == base.version and network.prefixlen > 0]
        found = _first_free(base, max(prefix, base.prefixlen), busy)
        if found is not None:
            return found
    raise InvalidArgument(
        "all predefined address pools have been fully subnetted",
        hint="add a pool that the host's routes leave free: default-address-pools in daemon.json",
    )


def _first_free(base: PoolT, prefix: int, busy: Sequence[Network]) -> PoolT | None:
    size = 1 << (base.max_prefixlen - prefix)
    number, last = int(base.network_address), int(base.broadcast_address)
    while number <= last:
        subnet = type(base)((number, prefix))
        ends = [int(network.broadcast_address) for network in busy if network.overlaps(subnet)]
        if not ends:
            return subnet
        # Past all that is in the way at once: a base may hold billions of subnets.
        number = max(number + size, (max(ends) // size + 1) * size)
    return None


def mac_of(address: IPv4Address) -> str:
    """Return the MAC address of a container's interface: locally administered, Docker's prefix, then the address."""
    return "02:42:" + ":".join(f"{byte:02x}" for byte in address.packed)


class AddressPool:
    """The addresses of one subnet.

    They are given out in order, starting over only at the end, so that one that was given back is not
    used again at once. An address is never out twice.
    """

    def __init__(self, subnet: Network, *, part: Network | None = None, reserved: Iterable[Address] = ()) -> None:
        """``part`` is where addresses come from when it is not the whole subnet; ``reserved`` are never given out."""
        if part is not None and not _contains(subnet, part):
            raise InvalidArgument(f"subnet {part} is not inside {subnet}")
        self.subnet = subnet
        self._part = part or subnet
        self._first = int(self._part.network_address)
        self._last = int(self._part.broadcast_address)
        self._cursor = self._first
        self._leased: set[int] = {int(address) for address in reserved}
        if subnet.version == 6:
            self._leased.add(int(subnet.network_address))  # of all routers (RFC 4291)
        elif subnet.prefixlen < 31:  # links between two have neither (RFC 3021)
            self._leased |= {int(subnet.network_address), int(subnet.broadcast_address)}

    def lease(self, wanted: str = "") -> Address:
        """Return an address, the ``wanted`` one when given.

        Raises Forbidden when that one is out, InvalidArgument when it is not of this subnet,
        Unavailable when all are out. The texts are moby's.
        """
        if wanted:
            return self._lease_wanted(wanted)
        for _ in range(2):
            number = self._cursor
            while number <= self._last:
                if number not in self._leased:
                    return self._take(number)
                number += 1
            self._cursor = self._first
        raise Unavailable(
            "no available addresses on this pool", hint="stop containers or give the network a larger subnet"
        )

    def _lease_wanted(self, wanted: str) -> Address:
        try:
            address = ip_address(wanted)
        except ValueError as error:
            raise InvalidArgument(f"invalid address: {wanted}") from error
        if address not in self.subnet:
            raise InvalidArgument(f"Requested address {wanted} is not in range {self.subnet}")
        if int(address) in self._leased:
            raise Forbidden("Address already in use", hint=f"{wanted} belongs to another container")
        self._leased.add(int(address))
        return address

    def _take(self, number: int) -> Address:
        self._leased.add(number)
        self._cursor = number + 1 if number < self._last else self._first
        return IPv4Address(number) if self.subnet.version == 4 else IPv6Address(number)

    def adopt(self, address: Address) -> bool:
        """Lease an address that a running container has; False when it is out already or of another subnet."""
        if address not in self.subnet or int(address) in self._leased:
            return False
        self._leased.add(int(address))
        if self._first <= int(address) < self._last:
            self._cursor = max(self._cursor, int(address) + 1)
        return True

    def give_back(self, address: Address) -> None:
        """Take an address back; one that is not out is no error."""
        self._leased.discard(int(address))


def _contains(outer: Network, inner: Network) -> bool:
    return outer.version == inner.version and inner.prefixlen >= outer.prefixlen and inner.network_address in outer
