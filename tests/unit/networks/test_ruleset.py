from __future__ import annotations

from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any

from engine.networks.ports import PublishedPort
from engine.networks.ruleset import (
    NAT,
    NAT_UNPROTECTED,
    ROUTED,
    BridgeRules,
    FamilyRules,
    build_changes,
    build_table,
)


def port(protocol: str, host: str, host_port: int, inner: str, number: int) -> PublishedPort:
    return PublishedPort(protocol, ip_address(host), host_port, ip_address(inner), number)


def test_changes_are_elements_of_the_map_that_fits_the_host_address() -> None:
    script = build_changes(
        "t",
        add=[
            port("tcp", "0.0.0.0", 8080, "172.17.0.2", 80),
            port("udp", "127.0.0.1", 53, "172.17.0.2", 53),
            port("tcp", "::", 8080, "fd00::2", 80),
            port("tcp", "::1", 8080, "fd00::2", 80),
        ],
        remove=[port("tcp", "0.0.0.0", 81, "172.17.0.3", 80)],
    )
    assert script.splitlines() == [
        "delete element inet t published { tcp . 81 }",
        "add element inet t published { tcp . 8080 : 172.17.0.2 . 80 }",
        "add element inet t published_at { 127.0.0.1 . udp . 53 : 172.17.0.2 . 53 }",
        "add element inet t published6 { tcp . 8080 : fd00::2 . 80 }",
        "add element inet t published6_at { ::1 . tcp . 8080 : fd00::2 . 80 }",
    ]


def test_what_only_the_helper_can_carry_is_not_in_the_rules() -> None:
    assert build_changes("t", add=[port("tcp", "::", 8080, "172.17.0.2", 80)]) == ""


def rules(key: str = "k", bridge: str = "br", subnet: str = "172.17.0.0/16", **options: Any) -> BridgeRules:
    mode = options.pop("mode", NAT)
    source = options.pop("source", None)
    return BridgeRules(key, bridge, (FamilyRules(ip_network(subnet), mode, source),), **options)


def chain(script: str, name: str) -> list[str]:
    """Return the rules of a chain."""
    body = script.partition(f"chain {name} {{\n")[2].partition("\n  }")[0]
    return [line.strip() for line in body.splitlines()]


def test_table_replaces_what_was_there_and_holds_all_ports() -> None:
    script = build_table("t", [rules(icc=False, masquerade=False)], [port("tcp", "0.0.0.0", 8080, "172.17.0.2", 80)])
    assert script.startswith("add table inet t\ndelete table inet t\ntable inet t {")
    assert script.endswith("add element inet t published { tcp . 8080 : 172.17.0.2 . 80 }\n")
    assert 'iifname "br" counter drop' in chain(script, "to_k")
    assert "oifname !=" not in script


def test_each_bridge_has_a_chain_that_lets_nothing_in_but_what_belongs_there() -> None:
    script = build_table("t", [rules("a", "br-a"), rules("b", "br-b", "172.18.0.0/16")], [])
    assert chain(script, "forward")[-1] == 'oifname vmap { "br-a" : jump to_a, "br-b" : jump to_b }'
    assert chain(script, "to_a") == [
        "ct state established,related accept",
        "ct status dnat accept",
        'iifname "br-a" counter accept',
        "counter drop",
    ]
    assert 'ip saddr 172.18.0.0/16 oifname != "br-b" counter masquerade' in chain(script, "postrouting")
    assert chain(script, "guard")[-1] == 'iifname { "br-a", "br-b" } ip daddr 127.0.0.0/8 counter drop'


def test_an_internal_network_is_left_by_nothing_and_entered_by_nothing() -> None:
    script = build_table("t", [rules(internal=True)], [])
    assert chain(script, "forward")[1] == 'iifname "br" oifname != "br" counter drop'
    assert chain(script, "to_k") == ['iifname "br" counter accept', "counter drop"]
    assert not any("oifname !=" in line for line in chain(script, "postrouting"))


def test_gateway_modes_open_what_they_say() -> None:
    routed = build_table("t", [rules(mode=ROUTED)], [])
    assert "ip daddr . meta l4proto . th dport @opened accept" in chain(routed, "to_k")
    assert "ip daddr 172.17.0.0/16 meta l4proto icmp accept" in chain(routed, "to_k")
    assert not any("oifname !=" in line for line in chain(routed, "postrouting"))
    unprotected = build_table("t", [rules(mode=NAT_UNPROTECTED)], [])
    assert "ip daddr 172.17.0.0/16 counter accept" in chain(unprotected, "to_k")
    assert any(line.endswith("counter masquerade") and "!=" in line for line in chain(unprotected, "postrouting"))


def test_a_source_address_replaces_the_hosts_choice() -> None:
    script = build_table("t", [rules(source=IPv4Address("192.0.2.9"))], [])
    assert 'ip saddr 172.17.0.0/16 oifname != "br" counter snat ip to 192.0.2.9' in chain(script, "postrouting")


def test_a_port_without_a_host_port_is_opened_at_the_container() -> None:
    script = build_changes("t", add=[port("tcp", "0.0.0.0", 0, "172.17.0.2", 80), port("udp", "::", 0, "fd00::2", 53)])
    assert script.splitlines() == [
        "add element inet t opened { 172.17.0.2 . tcp . 80 }",
        "add element inet t opened6 { fd00::2 . udp . 53 }",
    ]


def test_without_bridges_the_table_has_no_empty_set() -> None:
    script = build_table("t", [], [])
    assert "{  }" not in script
    assert "vmap" not in script
