"""Subnets and the addresses in them: chosen, leased, given back. Memory only, no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from engine.errors import Conflict, InvalidArgument, Unavailable
from engine.networks.settings import Pool

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def choose_subnet(pools: Iterable[Pool], taken: Iterable[Network]) -> IPv4Network:
    """Return the first subnet of the pools that overlaps nothing that is taken.

    Raises Unavailable with moby's text when there is none.
    """
    busy = [network for network in taken if isinstance(network, IPv4Network) and network.prefixlen > 0]
    for base, prefix in pools:
        for subnet in base.subnets(new_prefix=max(prefix, base.prefixlen)):
            if not any(subnet.overlaps(network) for network in busy):
                return subnet
    raise Unavailable(
        "all predefined address pools have been fully subnetted",
        hint="add a pool that the host's routes leave free: default-address-pools in daemon.json",
    )


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
        self._leased.add(int(subnet.network_address))
        if subnet.version == 4 and subnet.prefixlen < 31:
            self._leased.add(int(subnet.broadcast_address))

    def lease(self, wanted: str = "") -> Address:
        """Return an address, the ``wanted`` one when given.

        Raises Conflict when that one is out, InvalidArgument when it is not of this subnet,
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
            f"no available IPv{self.subnet.version} addresses on this network's address pools: bridge ({self.subnet})",
            hint="stop containers or configure a larger subnet (bip in daemon.json)",
        )

    def _lease_wanted(self, wanted: str) -> Address:
        try:
            address = ip_address(wanted)
        except ValueError as error:
            raise InvalidArgument(f"invalid address: {wanted}") from error
        if address not in self.subnet:
            raise InvalidArgument(f"Requested address {wanted} is not in range {self.subnet}")
        if int(address) in self._leased:
            raise Conflict("Address already in use", hint=f"{wanted} belongs to another container")
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
