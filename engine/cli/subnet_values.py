"""Subnets, ranges, gateways and auxiliary addresses of ``network create``, put together as Docker does it.

Pure; raises ValueError with Docker's texts.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

from msgspec import UNSET

from engine.model.base import given
from engine.model.network import IPAM, IPAMConfig

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def build_ipam(
    driver: str,
    subnets: Sequence[str],
    ranges: Sequence[str],
    gateways: Sequence[str],
    auxiliary: Mapping[str, str],
    options: Mapping[str, str],
) -> IPAM:
    """Return what the engine is asked for, each part with the subnet that it is in."""
    if len(subnets) < len(ranges) or len(subnets) < len(gateways):
        raise ValueError("every ip-range or gateway must have a corresponding subnet")
    found: dict[str, IPAMConfig] = {}
    for subnet in subnets:
        if any(_matches(subnet, other) or _matches(other, subnet) for other in found):
            raise ValueError("multiple overlapping subnet configuration is not supported")
        found[subnet] = IPAMConfig(subnet=subnet)
    for item in ranges:
        _parse(item, "invalid CIDR address")
        config = _home(found, item, f"no matching subnet for range {item}")
        if config.ip_range is not UNSET:
            raise ValueError(
                f"cannot configure multiple ranges ({item}, {config.ip_range}) on the same subnet ({config.subnet})"
            )
        config.ip_range = item
    for item in gateways:
        config = _home(found, item, f"no matching subnet for gateway {item}")
        if config.gateway is not UNSET:
            raise ValueError(
                f"cannot configure multiple gateways ({item}, {config.gateway}) for the same subnet ({config.subnet})"
            )
        config.gateway = item
    for name, item in auxiliary.items():
        config = _home(found, item, f"no matching subnet for aux-address {item}")
        config.auxiliary_addresses = {**given(config.auxiliary_addresses, {}), name: item}
    return IPAM(driver=driver, options=dict(options), config=list(found.values()))


def _home(found: Mapping[str, IPAMConfig], item: str, missing: str) -> IPAMConfig:
    for subnet, config in found.items():
        if _matches(subnet, item):
            return config
    raise ValueError(missing)


def _matches(subnet: str, item: str) -> bool:
    """Whether an address, or the first one of a subnet, is in ``subnet``."""
    network = _parse(subnet, "invalid subnet: invalid CIDR address")
    if "/" in item:
        address = ipaddress.ip_interface(_checked(item, "invalid CIDR address")).ip
    else:
        try:
            address = ipaddress.ip_address(item)
        except ValueError:
            return False
    return address in network


def _parse(text: str, what: str) -> _Network:
    return ipaddress.ip_network(_checked(text, what), strict=False)


def _checked(text: str, what: str) -> str:
    if not _is_prefix(text):
        raise ValueError(f"{what}: {text}")
    return text


def _is_prefix(text: str) -> bool:
    address, _, length = text.partition("/")
    if not length.isdigit():
        return False
    try:
        ipaddress.ip_network(f"{address}/{length}", strict=False)
    except ValueError:
        return False
    return True
