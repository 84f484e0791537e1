"""Address management of user-defined networks: what was asked for checked, subnets and gateways chosen. No I/O.

The texts are moby's (api/types/network, libnetwork/ipams/defaultipam).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_interface, ip_network

from engine.errors import Forbidden, Internal, InvalidArgument, PortsideError
from engine.model.base import given
from engine.model.network import IPAM, IPAMConfig
from engine.networks.addresses import AddressPool, choose_subnet
from engine.networks.record import NetworkRecord, PoolRecord
from engine.networks.settings import Pool

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
_OVERLAP = "invalid pool request: Pool overlaps with other one on this address space"
_LINK_LOCAL = IPv6Network("fe80::/64")


@dataclass(frozen=True)
class Pools:
    """Where subnets are cut out for networks that name none."""

    ipv4: tuple[Pool, ...]
    ipv6: tuple[tuple[IPv6Network, int], ...]


@dataclass(frozen=True)
class Surroundings:
    """What a new network must not get into: subnets of other networks of this engine, and the host's."""

    networks: Sequence[Network]
    host: Sequence[Network]


def check_ipam(ipam: IPAM | None, *, ipv6: bool) -> None:
    """Check the form of what was asked for; raises InvalidArgument naming all faults."""
    problems: list[str] = []
    for config in (ipam.config if ipam else None) or []:
        problems += _problems(config, ipv6=ipv6)
    if problems:
        raise InvalidArgument("invalid network config:\n" + join_problems(problems))


def join_problems(problems: Sequence[str]) -> str:
    """Return several faults as moby lists them, a single one as it is."""
    if len(problems) == 1:
        return problems[0].strip()
    return "* " + "\n* ".join(problem.replace("\n", "\n\t") for problem in problems)


def _problems(config: IPAMConfig, *, ipv6: bool) -> list[str]:
    text = given(config.subnet, "")
    subnet = _prefix(text)
    if subnet is None:
        return [f"invalid subnet {text}: invalid CIDR block notation"]
    if subnet.version == 6 and not ipv6:
        return []
    problems: list[str] = []
    if text.partition("/")[0] != str(subnet.network_address) and _canonical(text) != str(subnet):
        problems.append(f"invalid subnet {_canonical(text)}: it should be {subnet}")
    problems += _range_problems(given(config.ip_range, ""), subnet)
    gateway = given(config.gateway, "")
    problem = _address_problem(gateway, subnet)
    if problem:
        problems.append(f"invalid gateway {gateway}: {problem}")
    for name, address in given(config.auxiliary_addresses, {}).items():
        problem = _address_problem(address, subnet)
        if problem:
            problems.append(f"invalid auxiliary address {name}: {problem}")
    return problems


def _range_problems(text: str, subnet: Network) -> list[str]:
    if not text:
        return []
    part = _prefix(text)
    if part is None:
        return [f"invalid ip-range {text}: invalid CIDR block notation"]
    if part.version != subnet.version:
        return [f"invalid ip-range {text}: parent subnet is an IPv{subnet.version} block"]
    problems: list[str] = []
    if part.prefixlen < subnet.prefixlen:
        problems.append(f"invalid ip-range {text}: CIDR block is bigger than its parent subnet {subnet}")
    if _canonical(text) != str(part):
        problems.append(f"invalid ip-range {_canonical(text)}: it should be {part}")
    if not subnet.overlaps(part):
        problems.append(f"invalid ip-range {text}: parent subnet {subnet} doesn't contain ip-range")
    return problems


def _address_problem(text: str, subnet: Network) -> str:
    if not text:
        return ""
    try:
        address = ip_address(text)
    except ValueError:
        return "invalid address"
    if address.version != subnet.version:
        return f"parent subnet is an IPv{subnet.version} block"
    return "" if address in subnet else f"parent subnet {subnet} doesn't contain this address"


def _prefix(text: str) -> Network | None:
    address, slash, length = text.partition("/")
    if not slash or not length.isascii() or not length.isdigit() or (len(length) > 1 and length[0] == "0"):
        return None
    try:
        return ip_network(f"{address}/{length}", strict=False)
    except ValueError:
        return None


def _canonical(text: str) -> str:
    return str(ip_interface(text))


def asked_pools(ipam: IPAM | None) -> list[PoolRecord]:
    """Return what was asked for, IPv4 first, as records; checked already."""
    found: list[PoolRecord] = []
    for config in (ipam.config if ipam else None) or []:
        found.append(
            PoolRecord(
                subnet=str(ip_network(given(config.subnet, ""), strict=False)),
                ip_range=given(config.ip_range, ""),
                asked_gateway=given(config.gateway, ""),
                auxiliary=dict(given(config.auxiliary_addresses, {})),
                is_asked=True,
            )
        )
    return sorted(found, key=lambda pool: pool.network.version)


def settle_pools(
    record: NetworkRecord,
    pools: Pools,
    around: Surroundings,
    *,
    shares_subnets: bool,
    needs_gateway: Mapping[int, bool],
) -> list[PoolRecord]:
    """Return the subnets of a network with their gateways, from what its record asks for.

    ``shares_subnets`` for drivers whose networks may divide a subnet by address ranges; ``needs_gateway``
    by version. Raises Forbidden, InvalidArgument and Internal with moby's texts.
    """
    settled: list[PoolRecord] = []
    for version, enabled in ((4, record.enable_ipv4), (6, record.enable_ipv6)):
        asked = [pool for pool in record.pools if pool.network.version == version]
        if not enabled:
            settled += asked  # shown, and of no effect, as with Docker
            continue
        if not asked:
            asked = [_choose(version, pools, [*around.networks, *around.host])]
        else:
            for number, pool in enumerate(asked):
                taken = [*around.networks, *(other.network for other in asked[:number])]
                _check_subnet(pool, taken, shares=shares_subnets)
        settled += [_with_gateway(pool, needed=needs_gateway.get(version, True)) for pool in asked]
    return settled


def _choose(version: int, pools: Pools, taken: Sequence[Network]) -> PoolRecord:
    subnet: Network = choose_subnet(pools.ipv4, taken) if version == 4 else choose_subnet(pools.ipv6, taken)
    return PoolRecord(subnet=str(subnet))


def _check_subnet(pool: PoolRecord, taken: Iterable[Network], *, shares: bool) -> None:
    subnet = pool.network
    for other in taken:
        if other.version != subnet.version or not other.overlaps(subnet):
            continue
        if not (shares and pool.ip_range and other == subnet):
            raise Forbidden(_OVERLAP, hint=f"{subnet} overlaps {other}: choose another subnet")
    if subnet.prefixlen == 0:
        raise InvalidArgument(f"ipv{subnet.version} pool is empty")


def _with_gateway(pool: PoolRecord, *, needed: bool) -> PoolRecord:
    addresses = address_pool(pool)
    gateway = pool.asked_gateway
    if gateway or needed:
        try:
            gateway = str(addresses.lease(gateway))
        except PortsideError as error:
            raise Internal(f"failed to allocate gateway ({pool.asked_gateway}): {error.message}") from error
    for key, text in pool.auxiliary.items():
        try:
            addresses.lease(text)
        except PortsideError as error:
            raise Internal(f"failed to allocate secondary ip address ({key}:{text}): {error.message}") from error
    return PoolRecord(
        subnet=pool.subnet,
        ip_range=pool.ip_range,
        gateway=gateway,
        asked_gateway=pool.asked_gateway,
        auxiliary=pool.auxiliary,
        is_asked=pool.is_asked,
    )


def check_bridge_pools(record: NetworkRecord) -> None:
    """Check what a bridge cannot have of settled pools; raises Forbidden and InvalidArgument with moby's texts."""
    pools = enabled_pools(record)
    for version in (4, 6):
        if sum(pool.network.version == version for pool in pools) > 1:
            raise Forbidden("bridge driver doesn't support multiple subnets")
    for pool in pools:
        subnet = pool.network
        shown = f"{pool.gateway or subnet.network_address}/{subnet.prefixlen}"
        if isinstance(subnet, IPv6Network):
            if subnet.is_multicast:
                raise InvalidArgument(f"multicast subnet '{shown}' is not allowed")
            if subnet != _LINK_LOCAL and subnet.overlaps(_LINK_LOCAL):
                raise InvalidArgument(f"'{shown}' clashes with the Link-Local prefix 'fe80::/64'")
        if record.internal and f"DefaultGatewayIPv{subnet.version}" in pool.auxiliary:
            raise InvalidArgument("no gateway can be set on an internal bridge network")


def enabled_pools(record: NetworkRecord) -> list[PoolRecord]:
    """Return the pools of the families that a network has."""
    enabled = {4: record.enable_ipv4, 6: record.enable_ipv6}
    return [pool for pool in record.pools if enabled[pool.network.version]]


def address_pool(pool: PoolRecord) -> AddressPool:
    """Return the addresses of a subnet, with its gateway and auxiliary addresses taken."""
    reserved: list[Address] = [ip_address(text) for text in (pool.gateway, *pool.auxiliary.values()) if text]
    part = ip_network(pool.ip_range, strict=False) if pool.ip_range else None
    if not pool.gateway:
        reserved = []  # they are leased one by one, so that a double one shows
    return AddressPool(pool.network, part=part, reserved=reserved)
