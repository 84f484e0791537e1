from __future__ import annotations

from typing import Any

import msgspec
import pytest

from engine.cli.subnet_values import build_ipam


def asked(**parts: Any) -> list[dict[str, Any]]:
    ipam = build_ipam(
        "default",
        parts.get("subnets", ()),
        parts.get("ranges", ()),
        parts.get("gateways", ()),
        parts.get("auxiliary", {}),
        {},
    )
    found: list[dict[str, Any]] = msgspec.to_builtins(ipam)["Config"]
    return found


def test_each_part_goes_with_the_subnet_that_it_is_in() -> None:
    assert asked(
        subnets=["10.1.0.0/24", "fd00:1::/64"],
        ranges=["10.1.0.128/25"],
        gateways=["fd00:1::9", "10.1.0.9"],
        auxiliary={"a": "10.1.0.10"},
    ) == [
        {
            "Subnet": "10.1.0.0/24",
            "IPRange": "10.1.0.128/25",
            "Gateway": "10.1.0.9",
            "AuxiliaryAddresses": {"a": "10.1.0.10"},
        },
        {"Subnet": "fd00:1::/64", "Gateway": "fd00:1::9"},
    ]


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({"gateways": ["10.1.0.1"]}, "every ip-range or gateway must have a corresponding subnet"),
        ({"subnets": ["10.1.0.0/24", "10.1.0.0/25"]}, "multiple overlapping subnet configuration is not supported"),
        ({"subnets": ["10.1.0.0/24"], "gateways": ["10.2.0.1"]}, "no matching subnet for gateway 10.2.0.1"),
        ({"subnets": ["10.1.0.0/24"], "ranges": ["10.2.0.0/25"]}, "no matching subnet for range 10.2.0.0/25"),
        ({"subnets": ["10.1.0.0/24"], "ranges": ["10.1.0.0"]}, "invalid CIDR address: 10.1.0.0"),
        ({"subnets": ["10.1.0.0/24"], "auxiliary": {"a": "x"}}, "no matching subnet for aux-address x"),
        ({"subnets": ["10.1.0.0", "10.2.0.0/24"]}, "invalid subnet: invalid CIDR address: 10.1.0.0"),
        (
            {"subnets": ["10.1.0.0/24", "10.2.0.0/24"], "gateways": ["10.1.0.1", "10.1.0.2"]},
            r"cannot configure multiple gateways \(10.1.0.2, 10.1.0.1\) for the same subnet \(10.1.0.0/24\)",
        ),
    ],
)
def test_parts_that_do_not_fit(parts: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        asked(**parts)
