from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from engine.errors import Conflict, InvalidArgument, Unavailable
from engine.model.container import PortBinding, PortMap
from engine.networks.ports import (
    ANY4,
    ANY6,
    PortAllocator,
    PortRequest,
    PublishedPort,
    parse_host_address,
    parse_host_port,
    parse_port,
    read_requests,
)

LOOPBACK = IPv4Address("127.0.0.1")


def bindings(*places: tuple[str, str, str]) -> PortMap:
    found: PortMap = {}
    for key, host, port in places:
        listed = found.setdefault(key, [])
        assert listed is not None
        listed.append(PortBinding(host_ip=host, host_port=port))
    return found


def requests(
    *places: tuple[str, str, str],
    exposed: tuple[str, ...] = (),
    publish_all: bool = False,
    default: IPv4Address = ANY4,
    has_ipv6: bool = True,
) -> list[PortRequest]:
    return read_requests(
        bindings(*places), exposed, publish_all=publish_all, default_address=default, has_ipv6=has_ipv6
    )


def test_without_a_host_address_both_families_get_the_same_port() -> None:
    assert requests(("80/tcp", "", "8080")) == [PortRequest("tcp", 80, (ANY4, ANY6), 8080, 8080)]
    assert requests(("80/tcp", "", ""), has_ipv6=False) == [PortRequest("tcp", 80, (ANY4,))]
    assert requests(("80/tcp", "", ""), default=LOOPBACK) == [PortRequest("tcp", 80, (LOOPBACK,))]


def test_named_ports_come_before_ranges_and_several_addresses_together() -> None:
    found = requests(
        ("80/tcp", "", "8000-8010"), ("90/udp", "127.0.0.1", "8005"), ("90/udp", "[::1]", "8005"), ("70/tcp", "", "1")
    )
    assert [(item.container_port, item.first, len(item.addresses)) for item in found] == [
        (70, 1, 2), (90, 8005, 2), (80, 8000, 2),
    ]  # fmt: skip


def test_publish_all_takes_what_is_exposed_and_not_bound() -> None:
    found = requests(("80/tcp", "", "8080"), exposed=("80/tcp", "81/tcp", "53/udp"), publish_all=True)
    assert [(item.container_port, item.protocol, item.first) for item in found] == [
        (80, "tcp", 8080), (53, "udp", 0), (81, "tcp", 0),
    ]  # fmt: skip


@pytest.mark.parametrize("key", ["0/tcp", "65536/tcp", "http/tcp", "-1/tcp", "80/icmp", "", "٨٠/tcp"])
def test_malformed_container_ports(key: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_port(key)


@pytest.mark.parametrize("text", ["http", "80-", "90-80", "65536", "1-2-3", "-1", " 80"])
def test_malformed_host_ports(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_host_port(text)


def test_host_ports_and_addresses() -> None:
    assert parse_host_port("") == (0, 0)
    assert parse_host_port("80") == (80, 80)
    assert parse_host_port("80-90") == (80, 90)
    assert parse_host_address("") is None
    assert parse_host_address("[::1]") == IPv6Address("::1")
    assert parse_host_address("::ffff:127.0.0.1") == LOOPBACK
    with pytest.raises(InvalidArgument, match="invalid IP address: localhost"):
        parse_host_address("localhost")


def named(port: int, *addresses: IPv4Address | IPv6Address) -> PortRequest:
    return PortRequest("tcp", 80, addresses or (ANY4, ANY6), port, port)


def test_unspecified_address_excludes_all_others_of_its_family() -> None:
    allocator = PortAllocator()
    allocator.take(named(80, LOOPBACK), 80)
    with pytest.raises(Conflict, match=r"Bind for 127\.0\.0\.1:80 failed: port is already allocated"):
        next(iter(allocator.candidates(named(80))))
    assert list(allocator.candidates(named(80, ANY6))) == [80]
    assert list(allocator.candidates(named(80, IPv4Address("192.0.2.1")))) == [80]
    allocator.take(named(80, ANY6), 80)
    with pytest.raises(Conflict, match=r"Bind for :::80 failed"):
        next(iter(allocator.candidates(named(80, IPv6Address("::1")))))
    assert list(allocator.candidates(PortRequest("udp", 80, (ANY4, ANY6), 80, 80))) == [80]


def test_ranges_go_on_after_the_last_one_and_end() -> None:
    allocator = PortAllocator((50000, 50003))
    free = PortRequest("tcp", 80, (ANY4,))
    order = []
    for _ in range(4):
        port = next(iter(allocator.candidates(free)))
        allocator.take(free, port)
        order.append(port)
    assert order == [50000, 50001, 50002, 50003]
    with pytest.raises(Unavailable, match="all ports are allocated"):
        next(iter(allocator.candidates(free)))
    allocator.give_back(ANY4, "tcp", 50001)
    assert next(iter(allocator.candidates(free))) == 50001


def test_a_candidate_that_somebody_else_has_is_followed_by_the_next() -> None:
    tried = iter(PortAllocator().candidates(PortRequest("tcp", 80, (ANY4,), 8000, 8002)))
    assert [next(tried) for _ in range(3)] == [8000, 8001, 8002]
    with pytest.raises(Unavailable, match="all ports are allocated"):
        next(tried)


def test_giving_back_frees_that_address_only() -> None:
    allocator = PortAllocator()
    allocator.take(named(80), 80)
    allocator.give_back(ANY4, "tcp", 80)
    assert allocator.blocker([LOOPBACK], "tcp", 80) is None
    assert allocator.blocker([ANY6], "tcp", 80) == ANY6
    allocator.give_back(IPv4Address("192.0.2.1"), "udp", 9)


def test_words_of_moby() -> None:
    port = PublishedPort("tcp", ANY4, 8080, IPv4Address("172.17.0.2"), 80)
    assert str(port) == "0.0.0.0:8080:172.17.0.2:80/tcp"
    port = PublishedPort("udp", ANY6, 53, IPv6Address("fd00::2"), 53)
    assert str(port) == "[::]:53:[fd00::2]:53/udp"
