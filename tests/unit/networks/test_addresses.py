from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import Forbidden, InvalidArgument, Unavailable
from engine.networks.addresses import AddressPool, choose_subnet, mac_of
from engine.networks.settings import DEFAULT_POOLS

SMALL = IPv4Network("10.0.0.0/29")
GATEWAY = IPv4Address("10.0.0.1")


def test_first_free_subnet_of_dockers_pools() -> None:
    assert choose_subnet(DEFAULT_POOLS, []) == IPv4Network("172.17.0.0/16")
    taken: list[IPv4Network | IPv6Network] = [IPv4Network("172.17.9.0/24"), IPv4Network("172.18.0.0/15")]
    taken += [IPv4Network("0.0.0.0/0"), IPv6Network("::/0")]
    assert choose_subnet(DEFAULT_POOLS, taken) == IPv4Network("172.20.0.0/16")


def test_subnets_are_cut_out_of_a_pool() -> None:
    pools = [(IPv4Network("10.8.0.0/16"), 24)]
    assert choose_subnet(pools, [IPv4Network("10.8.0.0/24"), IPv4Network("10.8.1.128/25")]) == IPv4Network(
        "10.8.2.0/24"
    )


def test_a_host_that_uses_all_pools_is_told_so() -> None:
    with pytest.raises(InvalidArgument, match="all predefined address pools have been fully subnetted"):
        choose_subnet(DEFAULT_POOLS, [IPv4Network("172.16.0.0/12"), IPv4Network("192.168.0.0/16")])


def test_addresses_come_in_order_and_return_only_after_the_last() -> None:
    pool = AddressPool(SMALL, reserved=[GATEWAY])
    first = pool.lease()
    second = pool.lease()
    pool.give_back(first)
    rest = [pool.lease() for _ in range(4)]
    assert [str(address) for address in (first, second, *rest)] == [
        "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.2",
    ]  # fmt: skip
    with pytest.raises(Unavailable, match="no available addresses on this pool"):
        pool.lease()


def test_adopted_addresses_are_out_and_move_the_start() -> None:
    pool = AddressPool(SMALL, reserved=[GATEWAY])
    assert pool.adopt(IPv4Address("10.0.0.4"))
    assert not pool.adopt(IPv4Address("10.0.0.4"))
    assert not pool.adopt(IPv4Address("10.0.1.4"))
    assert str(pool.lease()) == "10.0.0.5"


def test_wanted_addresses() -> None:
    pool = AddressPool(SMALL, reserved=[GATEWAY])
    assert str(pool.lease("10.0.0.5")) == "10.0.0.5"
    with pytest.raises(Forbidden, match="Address already in use"):
        pool.lease("10.0.0.5")
    with pytest.raises(InvalidArgument, match="not in range"):
        pool.lease("10.0.1.5")
    with pytest.raises(InvalidArgument, match="invalid address"):
        pool.lease("ten")


def test_part_of_a_subnet() -> None:
    pool = AddressPool(IPv4Network("10.0.0.0/24"), part=IPv4Network("10.0.0.128/31"), reserved=[GATEWAY])
    assert [str(pool.lease()), str(pool.lease())] == ["10.0.0.128", "10.0.0.129"]
    with pytest.raises(InvalidArgument, match="not inside"):
        AddressPool(SMALL, part=IPv4Network("10.0.0.0/24"))


def test_ipv6_skips_the_routers_anycast_address() -> None:
    pool = AddressPool(IPv6Network("fd00::/64"), reserved=[IPv6Address("fd00::1")])
    assert str(pool.lease()) == "fd00::2"


@given(st.lists(st.one_of(st.just("lease"), st.integers(0, 9)), max_size=60))
def test_no_address_is_out_twice(steps: list[str | int]) -> None:
    pool = AddressPool(IPv4Network("10.0.0.0/28"), reserved=[GATEWAY])
    out: list[IPv4Address | IPv6Address] = []
    for step in steps:
        if isinstance(step, int):
            if step < len(out):
                pool.give_back(out.pop(step))
        elif len(out) < 13:
            address = pool.lease()
            assert address not in out
            assert address in IPv4Network("10.0.0.0/28")
            assert address not in (GATEWAY, IPv4Address("10.0.0.0"), IPv4Address("10.0.0.15"))
            out.append(address)


def test_mac_follows_the_address() -> None:
    assert mac_of(IPv4Address("172.17.0.2")) == "02:42:ac:11:00:02"
