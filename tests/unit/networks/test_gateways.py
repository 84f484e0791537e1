from __future__ import annotations

from typing import Any

from engine.model.network import EndpointSettings
from engine.networks.attachment import Endpoint
from engine.networks.drivers import make_live
from engine.networks.gateways import Way, choose_way
from engine.networks.live import LiveNetwork
from engine.networks.record import NetworkRecord, PoolRecord


class Container:
    """A container with endpoints on networks that are made for it."""

    def __init__(self) -> None:
        self.networks: dict[str, LiveNetwork] = {}
        self.endpoints: list[Endpoint] = []

    def on(self, name: str, *, priority: int = 0, ipv4: bool = True, ipv6: bool = False, **parts: Any) -> Endpoint:
        number = len(self.networks) + 1
        pools = []
        if ipv4:
            pools.append(PoolRecord(subnet=f"10.{number}.0.0/24", gateway=f"10.{number}.0.1"))
        if ipv6:
            pools.append(PoolRecord(subnet=f"fd00:{number}::/64", gateway=f"fd00:{number}::1"))
        parts |= {"enable_ipv4": ipv4, "enable_ipv6": ipv6, "pools": pools}
        record = NetworkRecord(id=name * 12, name=name, driver="bridge", created_ns=0, **parts)
        live = self.networks[record.id] = make_live(record)
        endpoint = Endpoint(record.id, name, EndpointSettings(endpoint_id=name, gw_priority=priority))
        live.lease(endpoint, ipv6=True)
        self.endpoints.append(endpoint)
        return endpoint

    @property
    def way(self) -> Way:
        return choose_way(self.endpoints, self.networks)


def test_the_name_decides_among_equals() -> None:
    container = Container()
    container.on("b")
    first = container.on("a")
    assert container.way == Way(first, None)


def test_the_highest_priority_decides_before_the_name() -> None:
    container = Container()
    container.on("a")
    first = container.on("b", priority=1)
    container.on("c", priority=-1)
    assert container.way.ipv4 is first


def test_an_internal_network_leads_nowhere() -> None:
    container = Container()
    inner = container.on("a", priority=9, internal=True)
    assert container.way == Way()
    assert inner.settings.gateway == ""
    outer = container.on("b")
    assert container.way == Way(outer, None)


def test_both_families_together_come_before_one() -> None:
    container = Container()
    container.on("a")
    both = container.on("b", ipv6=True)
    assert container.way == Way(both, both)
    assert container.way.versions(both) == (4, 6)


def test_each_family_has_its_own_way_where_none_has_both() -> None:
    container = Container()
    old = container.on("a")
    new = container.on("b", ipv4=False, ipv6=True)
    assert container.way == Way(old, new)
    assert container.way.versions(new) == (6,)


def test_an_ipvlan_of_layer_three_leads_out_without_a_gateway() -> None:
    container = Container()
    record = NetworkRecord(
        id="f" * 64,
        name="wire",
        driver="ipvlan",
        created_ns=0,
        options={"parent": "eth0", "ipvlan_mode": "l3"},
        pools=[PoolRecord(subnet="10.9.0.0/24")],
    )
    live = container.networks[record.id] = make_live(record)
    endpoint = Endpoint(record.id, "wire", EndpointSettings(endpoint_id="e"))
    live.lease(endpoint, ipv6=True)
    container.endpoints.append(endpoint)
    assert container.way == Way(endpoint, None)
    assert endpoint.settings.gateway == ""
    live.wire(endpoint, "eth0", (4,), hairpin=False)
    assert endpoint.wiring is not None
    assert [str(gateway) for gateway in endpoint.wiring.gateways] == ["0.0.0.0"]
    assert (endpoint.wiring.kind, endpoint.wiring.mode, endpoint.wiring.parent) == ("ipvlan", 1, "eth0")
