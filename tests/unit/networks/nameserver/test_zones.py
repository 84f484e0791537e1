from __future__ import annotations

from typing import TYPE_CHECKING

from engine.networks.nameserver.zones import Zones, addresses_of

if TYPE_CHECKING:
    from engine.networks.nameserver.zones import EndpointState


def endpoint(
    *names: bytes, network: bytes = b"net", v4: bytes = b"", v6: bytes = b"", links: dict[bytes, bytes] | None = None
) -> EndpointState:
    return (
        b"id-" + network, network, (v4,) if v4 else (), (v6,) if v6 else (), names, tuple((links or {}).items())
    )  # fmt: skip


WEB = endpoint(b"web", b"app", v4=b"\x0a\0\0\2", v6=b"\xfd" + bytes(14) + b"\2")
WEB2 = endpoint(b"web2", b"app", v4=b"\x0a\0\0\3")
DB = endpoint(b"db", b"my.db", network=b"back.end", v4=b"\x0a\1\0\2")
CALLER = (endpoint(b"caller", v4=b"\x0a\0\0\x09"), endpoint(b"caller", network=b"back.end", v4=b"\x0a\1\0\x09"))


def zones(*endpoints: EndpointState) -> Zones:
    made = Zones()
    for item in endpoints:
        made.replace((), (item,))
    return made


def test_a_name_is_found_in_the_networks_of_the_caller_only() -> None:
    made = zones(WEB, DB, *CALLER)
    assert made.find(CALLER, b"web") == (WEB,)
    assert made.find(CALLER, b"db") == (DB,)
    assert made.find(CALLER[:1], b"db") is None
    assert made.find((), b"web") is None


def test_a_name_may_have_its_network_behind_it_and_both_may_have_dots() -> None:
    made = zones(WEB, DB, *CALLER)
    assert made.find(CALLER, b"web.net") == (WEB,)
    assert made.find(CALLER, b"db.back.end") == (DB,)
    assert made.find(CALLER, b"my.db.back.end") == (DB,)
    assert made.find(CALLER, b"my.db") == (DB,)
    for name in (b"web.back.end", b"db.net", b"web.", b".web", b"net", b"", b".", b"web.net.net"):
        assert made.find(CALLER, name) is None


def test_an_alias_of_several_means_all_of_them() -> None:
    made = zones(WEB, WEB2, *CALLER)
    found = made.find(CALLER, b"app")
    assert found is not None
    assert addresses_of(found, ipv6=False) == [b"\x0a\0\0\2", b"\x0a\0\0\3"]
    assert addresses_of(found, ipv6=True) == [WEB[3][0]]
    made.replace((WEB,), ())
    assert made.find(CALLER, b"app") == (WEB2,)
    made.replace((WEB2,), ())
    assert made.find(CALLER, b"app") is None


def test_the_same_address_is_told_once() -> None:
    assert addresses_of((WEB, WEB), ipv6=False) == [b"\x0a\0\0\2"]


def test_a_link_is_known_to_its_container_only_and_hides_a_name() -> None:
    linked = (endpoint(b"caller", v4=b"\x0a\0\0\x09", links={b"store": b"web", b"web2": b"web"}),)
    made = zones(WEB, WEB2, *CALLER, *linked)
    assert made.find(linked, b"store") == (WEB,)
    assert made.find(linked, b"store.net") == (WEB,)
    assert made.find(linked, b"web2") == (WEB,)
    assert made.find(CALLER, b"store") is None


def test_a_link_to_a_container_that_has_gone_does_not_uncover_a_name() -> None:
    linked = (endpoint(b"caller", v4=b"\x0a\0\0\x09", links={b"web2": b"gone"}),)
    assert zones(WEB2, *linked).find(linked, b"web2") is None


def test_an_address_is_told_by_the_first_name_and_the_network() -> None:
    made = zones(WEB, WEB2, DB, *CALLER)
    assert made.owner(CALLER, b"\x0a\0\0\2") == b"web.net"
    assert made.owner(CALLER, WEB[3][0]) == b"web.net"
    assert made.owner(CALLER, b"\x0a\1\0\2") == b"db.back.end"
    assert made.owner(CALLER, b"\x0a\0\0\x77") is None
    assert made.owner(CALLER[:1], b"\x0a\1\0\2") is None


def test_an_address_that_changes_hands_is_told_of_the_next() -> None:
    heir = endpoint(b"heir", v4=b"\x0a\0\0\2")
    made = zones(WEB, *CALLER)
    made.replace((), (heir,))
    made.replace((WEB,), ())
    assert made.owner(CALLER, b"\x0a\0\0\2") == b"heir.net"


def test_nothing_is_left_of_endpoints_that_are_gone() -> None:
    made = zones(WEB, WEB2, DB)
    made.replace((WEB, WEB2), (CALLER[0],))
    made.replace((DB, CALLER[0]), ())
    assert made._zones == {}
