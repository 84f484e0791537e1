from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

import pytest

from engine.errors import Forbidden, Internal, InvalidArgument
from engine.model.network import IPAM, IPAMConfig
from engine.networks.ipam import Pools, Surroundings, asked_pools, check_ipam, settle_pools
from engine.networks.record import NetworkRecord, PoolRecord

POOLS = Pools(((IPv4Network("10.8.0.0/16"), 24),), ((IPv6Network("fd00:8::/48"), 64),))


def ipam(*configs: dict[str, Any]) -> IPAM:
    return IPAM(config=[IPAMConfig(**config) for config in configs])


def settle(
    *configs: dict[str, Any],
    networks: tuple[str, ...] = (),
    host: tuple[str, ...] = (),
    ipv6: bool = False,
    shares: bool = False,
) -> list[PoolRecord]:
    record = NetworkRecord(
        id="a" * 64, name="n", driver="bridge", created_ns=0, enable_ipv6=ipv6, pools=asked_pools(ipam(*configs))
    )
    around = Surroundings([ip_network(text) for text in networks], [ip_network(text) for text in host])
    return settle_pools(record, POOLS, around, shares_subnets=shares, needs_gateway={4: True, 6: True})


def test_a_network_that_names_none_gets_the_first_free_subnet_of_each_family() -> None:
    found = settle(networks=("10.8.0.0/24",), host=("10.8.1.128/25", "fd00:8::/64"), ipv6=True)
    assert [(pool.subnet, pool.gateway) for pool in found] == [
        ("10.8.2.0/24", "10.8.2.1"),
        ("fd00:8:0:1::/64", "fd00:8:0:1::1"),
    ]


def test_pools_that_are_used_up() -> None:
    with pytest.raises(InvalidArgument, match="all predefined address pools have been fully subnetted"):
        settle(networks=("10.8.0.0/16",))


def test_what_is_asked_is_kept_and_a_gateway_chosen() -> None:
    (pool,) = settle({"subnet": "10.1.0.0/24", "ip_range": "10.1.0.128/25", "auxiliary_addresses": {"a": "10.1.0.1"}})
    assert (pool.subnet, pool.ip_range, pool.gateway, pool.asked_gateway) == (
        "10.1.0.0/24",
        "10.1.0.128/25",
        "10.1.0.128",
        "",
    )
    (pool,) = settle({"subnet": "10.1.0.0/24", "gateway": "10.1.0.77"})
    assert pool.gateway == pool.asked_gateway == "10.1.0.77"


def test_a_subnet_may_lie_on_a_route_of_the_host_as_with_docker() -> None:
    (pool,) = settle({"subnet": "10.1.0.0/24"}, host=("10.0.0.0/8",))
    assert pool.subnet == "10.1.0.0/24"


def test_overlaps_with_another_network() -> None:
    for other in ("10.1.0.0/24", "10.1.0.0/16", "10.1.0.64/26"):
        with pytest.raises(Forbidden, match="invalid pool request: Pool overlaps with other one on this address space"):
            settle({"subnet": "10.1.0.0/24"}, networks=(other,))


def test_drivers_that_share_a_subnet_divide_it_by_ranges() -> None:
    (pool,) = settle({"subnet": "10.1.0.0/24", "ip_range": "10.1.0.0/25"}, networks=("10.1.0.0/24",), shares=True)
    assert pool.subnet == "10.1.0.0/24"
    with pytest.raises(Forbidden):
        settle({"subnet": "10.1.0.0/24"}, networks=("10.1.0.0/24",), shares=True)


@pytest.mark.parametrize(
    ("config", "kind", "text"),
    [
        (
            {"subnet": "10.1.0.0/24", "gateway": "10.1.0.9", "auxiliary_addresses": {"a": "10.1.0.9"}},
            Internal,
            r"failed to allocate secondary ip address \(a:10.1.0.9\): Address already in use",
        ),
        ({"subnet": "0.0.0.0/0"}, InvalidArgument, "ipv4 pool is empty"),
    ],
)
def test_subnets_that_cannot_be(config: dict[str, Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        settle(config)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"subnet": "10.1.0.5/24"}, "invalid subnet 10.1.0.5/24: it should be 10.1.0.0/24"),
        ({"subnet": "10.1.0.0"}, "invalid subnet 10.1.0.0: invalid CIDR block notation"),
        ({"subnet": "10.1.0.0/024"}, "invalid subnet 10.1.0.0/024: invalid CIDR block notation"),
        ({"subnet": "x/24"}, "invalid subnet x/24: invalid CIDR block notation"),
        ({}, "invalid subnet : invalid CIDR block notation"),
        (
            {"subnet": "10.1.0.0/24", "ip_range": "10.1.0.0/16"},
            "invalid ip-range 10.1.0.0/16: CIDR block is bigger than its parent subnet 10.1.0.0/24",
        ),
        (
            {"subnet": "10.1.0.0/24", "ip_range": "10.2.0.0/25"},
            "invalid ip-range 10.2.0.0/25: parent subnet 10.1.0.0/24 doesn't contain ip-range",
        ),
        (
            {"subnet": "10.1.0.0/24", "ip_range": "fd00::/80"},
            "invalid ip-range fd00::/80: parent subnet is an IPv4 block",
        ),
        (
            {"subnet": "10.1.0.0/24", "gateway": "10.2.0.1"},
            "invalid gateway 10.2.0.1: parent subnet 10.1.0.0/24 doesn't contain this address",
        ),
        ({"subnet": "10.1.0.0/24", "gateway": "x"}, "invalid gateway x: invalid address"),
        (
            {"subnet": "10.1.0.0/24", "auxiliary_addresses": {"a": "fd00::1"}},
            "invalid auxiliary address a: parent subnet is an IPv4 block",
        ),
    ],
)
def test_malformed_requests(config: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_ipam(ipam(config), ipv6=True)
    assert caught.value.message.startswith("invalid network config:\n")
    assert text in caught.value.message


def test_all_faults_are_named() -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_ipam(ipam({"subnet": "10.1.0.0/24", "gateway": "x"}, {"subnet": "y"}), ipv6=False)
    assert caught.value.message == (
        "invalid network config:\n* invalid gateway x: invalid address\n* invalid subnet y: invalid CIDR block notation"
    )


def test_ipv6_parts_of_a_network_without_ipv6_are_not_looked_at() -> None:
    check_ipam(ipam({"subnet": "fd00::1/64"}), ipv6=False)
