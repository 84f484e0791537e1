from __future__ import annotations

import struct
from typing import Any

from engine.networks.coexistence import Passage, is_foreign_change, plan_changes, plan_legacy_changes
from engine.runtime.netlink import Answer, text_attribute

PASSAGE = Passage(("psd-1",), "portside:t")


def chain(name: str) -> dict[str, Any]:
    return {"chain": {"family": "ip", "table": "filter", "name": name}}


def rule(where: str, handle: int, *expressions: dict[str, Any], comment: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {"chain": where, "handle": handle, "expr": [*expressions]}
    if comment:
        found["comment"] = comment
    return {"rule": found}


def coming(name: str) -> dict[str, Any]:
    return {"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": name}}


def going(name: str) -> dict[str, Any]:
    return {"match": {"op": "==", "left": {"meta": {"key": "oifname"}}, "right": name}}


def jump(name: str) -> dict[str, Any]:
    return {"jump": {"target": name}}


COUNTER: dict[str, Any] = {"counter": {"packets": 1, "bytes": 2}}
RETURN: dict[str, Any] = {"return": None}
ACCEPT: dict[str, Any] = {"accept": None}
DOCKER = [
    chain("FORWARD"),
    chain("DOCKER-USER"),
    chain("DOCKER"),
    rule("FORWARD", 1, COUNTER, jump("DOCKER-USER")),
    rule("FORWARD", 2, going("docker0"), COUNTER, jump("DOCKER")),
    rule("DOCKER-USER", 3, COUNTER, RETURN),
]
OURS = [
    rule("DOCKER-USER", 10, coming("psd-1"), going("docker0"), COUNTER, RETURN, comment="portside:t"),
    rule("DOCKER-USER", 11, coming("psd-1"), COUNTER, ACCEPT, comment="portside:t"),
    rule("DOCKER-USER", 12, going("psd-1"), COUNTER, ACCEPT, comment="portside:t"),
]


def test_docker_user_gets_them_before_its_last_return_and_dockers_bridges_stay_dockers() -> None:
    assert plan_changes(DOCKER, "ip", PASSAGE).splitlines() == [
        f'insert rule ip filter DOCKER-USER handle 3 {text} comment "portside:t"'
        for text in (
            'iifname "psd-1" oifname "docker0" counter return',
            'iifname "psd-1" counter accept',
            'oifname "psd-1" counter accept',
        )
    ]


def test_nothing_is_done_when_they_are_there() -> None:
    assert plan_changes([*DOCKER, *OURS], "ip", PASSAGE) == ""


def test_what_is_there_for_another_state_is_replaced() -> None:
    script = plan_changes([*DOCKER, *OURS[1:]], "ip", PASSAGE).splitlines()
    assert script[:2] == ["delete rule ip filter DOCKER-USER handle 11", "delete rule ip filter DOCKER-USER handle 12"]
    assert len(script) == 5


def test_forward_gets_them_first_where_docker_is_not() -> None:
    listing = [chain("FORWARD"), rule("FORWARD", 4, {"drop": None})]
    assert plan_changes(listing, "ip", PASSAGE).splitlines() == [
        'insert rule ip filter FORWARD oifname "psd-1" counter accept comment "portside:t"',
        'insert rule ip filter FORWARD iifname "psd-1" counter accept comment "portside:t"',
    ]


def test_a_docker_user_that_nothing_leads_to_does_not_count() -> None:
    listing = [chain("FORWARD"), chain("DOCKER-USER")]
    assert "FORWARD" in plan_changes(listing, "ip", PASSAGE)


def test_removal_touches_only_ours() -> None:
    others = rule("FORWARD", 9, coming("x"), ACCEPT, comment="portside:other")
    assert plan_changes([*DOCKER, others, *OURS], "ip", PASSAGE, remove=True).splitlines() == [
        f"delete rule ip filter DOCKER-USER handle {handle}" for handle in (10, 11, 12)
    ]
    assert plan_changes(DOCKER, "ip", PASSAGE, remove=True) == ""


_LEGACY = """\
-P INPUT ACCEPT
-P FORWARD DROP
-P OUTPUT ACCEPT
-N DOCKER
-N DOCKER-USER
-A FORWARD -j DOCKER-USER
-A FORWARD -o docker0 -j DOCKER
-A DOCKER-USER -s 10.0.0.1/32 -j DROP
-A DOCKER-USER -j RETURN
"""


def test_legacy_rules_come_go_and_are_recognized() -> None:
    script = plan_legacy_changes(_LEGACY, PASSAGE)
    rules = [
        "-i psd-1 -o docker0 -m comment --comment portside:t -j RETURN",
        "-i psd-1 -m comment --comment portside:t -j ACCEPT",
        "-o psd-1 -m comment --comment portside:t -j ACCEPT",
    ]
    assert script.splitlines() == [
        "*filter", *(f"-I DOCKER-USER {place} {rule}" for place, rule in enumerate(rules, 2)), "COMMIT",
    ]  # fmt: skip
    present = _LEGACY.replace(
        "-A DOCKER-USER -j RETURN",
        "\n".join([*(f"-A DOCKER-USER {rule}" for rule in rules), "-A DOCKER-USER -j RETURN"]),
    )
    assert plan_legacy_changes(present, PASSAGE) == ""
    assert plan_legacy_changes(present, PASSAGE, remove=True).splitlines() == [
        "*filter", *(f"-D DOCKER-USER {rule}" for rule in rules), "COMMIT",
    ]  # fmt: skip
    assert plan_legacy_changes(_LEGACY, PASSAGE, remove=True) == ""


def test_legacy_forward() -> None:
    script = plan_legacy_changes("-P FORWARD DROP\n", PASSAGE)
    assert script.splitlines()[1] == "-I FORWARD -o psd-1 -m comment --comment portside:t -j ACCEPT"


def announced(kind: int, table: str) -> Answer:
    return Answer((10 << 8) | kind, 0, 0, struct.pack("=BBH", 2, 0, 0) + text_attribute(1, table))


def test_announcements() -> None:
    assert is_foreign_change([announced(6, "filter")], "t") == (True, False)
    assert is_foreign_change([announced(12, "t"), announced(6, "nat")], "t") == (False, False)
    assert is_foreign_change([announced(2, "t")], "t") == (False, True)
    assert is_foreign_change(None, "t") == (True, True)


def test_each_bridge_gets_its_rules() -> None:
    passage = Passage(("psd-1", "br-1"), "portside:t")
    script = plan_changes(DOCKER, "ip", passage).splitlines()
    assert [line.partition("filter ")[2].partition(" comment")[0] for line in script if "accept" in line] == [
        line
        for bridge in ("psd-1", "br-1")
        for line in (
            script[0].partition("filter ")[2].partition("iifname")[0] + f'iifname "{bridge}" counter accept',
            script[0].partition("filter ")[2].partition("iifname")[0] + f'oifname "{bridge}" counter accept',
        )
    ]
    assert sum("return" in line for line in script) == 2
