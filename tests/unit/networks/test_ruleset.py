from __future__ import annotations

from ipaddress import IPv4Network, ip_address

from engine.networks.ports import PublishedPort
from engine.networks.ruleset import BridgeRules, build_changes, build_table


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


def test_table_replaces_what_was_there_and_holds_all_ports() -> None:
    rules = BridgeRules("t", "br", (IPv4Network("172.17.0.0/16"),), icc=False, masquerade=False)
    script = build_table(rules, [port("tcp", "0.0.0.0", 8080, "172.17.0.2", 80)])
    assert script.startswith("add table inet t\ndelete table inet t\ntable inet t {")
    assert script.endswith("add element inet t published { tcp . 8080 : 172.17.0.2 . 80 }\n")
    assert 'iifname "br" counter drop' in script
    assert "oifname !=" not in script
