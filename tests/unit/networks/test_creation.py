from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.errors import Conflict, Forbidden, Internal, InvalidArgument, NotFound
from engine.model.network import IPAM, ConfigReference, IPAMConfig, NetworkCreateRequest
from engine.networks.bridgeoptions import BridgeOptions, parse_bridge_options
from engine.networks.catalog import Catalog
from engine.networks.creation import plan_record
from engine.networks.drivers import check_conflicts, check_options, make_live
from engine.networks.record import NetworkRecord, PoolRecord
from engine.store.database import Database


@pytest.fixture
async def catalog(tmp_path: Path) -> Any:
    database = Database(tmp_path / "engine.db")
    made = Catalog(database)
    await made.load()
    yield made
    database.close()


def record(name: str, driver: str = "bridge", **parts: Any) -> NetworkRecord:
    return NetworkRecord(id=parts.pop("id", "c" * 64), name=name, driver=driver, created_ns=1, **parts)


def request(**parts: Any) -> NetworkCreateRequest:
    return NetworkCreateRequest(**{"name": "n", **parts})


async def test_the_predefined_networks_are_there_from_the_first_start(catalog: Catalog, tmp_path: Path) -> None:
    assert {(item.name, item.driver) for item in catalog} == {("bridge", "bridge"), ("host", "host"), ("none", "null")}
    again = Catalog(catalog._database)
    await again.load()
    assert [item.id for item in again] == [item.id for item in catalog]


async def test_networks_are_found_by_id_name_and_beginning(catalog: Catalog) -> None:
    await catalog.insert(record("one", id="ab" + "0" * 62))
    await catalog.insert(record("two", id="ab" + "1" * 62))
    assert catalog.find("one").name == "one"
    assert catalog.find("ab1").name == "two"
    with pytest.raises(InvalidArgument, match=r"network ab is ambiguous \(2 matches found based on ID prefix\)"):
        catalog.find("ab")
    for missing in ("three", ""):
        with pytest.raises(NotFound, match=f"network {missing} not found"):
            catalog.find(missing)


async def test_a_name_is_taken_from_the_moment_it_is_claimed(catalog: Catalog) -> None:
    plan_record(request(), catalog)
    with pytest.raises(Conflict, match="network with name n already exists"):
        plan_record(request(), catalog)
    catalog.unclaim("n")
    plan_record(request(), catalog)


@pytest.mark.parametrize(
    ("parts", "kind", "text"),
    [
        ({"name": "bridge"}, Forbidden, "operation is not permitted on predefined bridge network "),
        ({"name": "default"}, Forbidden, "operation is not permitted on predefined default network "),
        ({"name": " "}, InvalidArgument, "invalid name: name is empty"),
        ({"driver": "nope"}, NotFound, 'plugin "nope" not found'),
        ({"driver": "overlay"}, Forbidden, "This node is not a swarm manager"),
        ({"driver": "host"}, Forbidden, 'only one instance of "host" network is allowed'),
        ({"driver": "null"}, Forbidden, 'only one instance of "null" network is allowed'),
        ({"ingress": True}, Forbidden, "Ingress network can only be global scope network"),
        ({"scope": "swarm"}, Forbidden, "cannot create a swarm scoped network when swarm is not active"),
        ({"enable_ipv4": False}, InvalidArgument, "IPv4 or IPv6 must be enabled"),
        ({"ipam": IPAM(driver="nope")}, NotFound, 'plugin "nope" not found'),
        ({"config_only": True, "internal": True}, Forbidden, "configuration network can only contain network specific"),
        ({"config_from": ConfigReference(network="x")}, NotFound, 'configuration network "x" does not exist'),
        (
            {"config_from": ConfigReference(network="x"), "labels": {"a": "b"}},
            Forbidden,
            "user specified configurations are not supported",
        ),
        (
            {"config_from": ConfigReference(network="x"), "options": {"a": "b"}},
            Forbidden,
            "network driver options are not supported",
        ),
        (
            {"options": {"com.docker.network.enable_ipv6": "maybe"}},
            InvalidArgument,
            'driver-opt "com.docker.network.enable_ipv6" is not a valid bool',
        ),
    ],
)
async def test_requests_that_are_refused(
    catalog: Catalog, parts: dict[str, Any], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind) as caught:
        plan_record(request(**parts), catalog)
    assert text in str(caught.value)
    plan_record(request(), catalog)  # the name was given back


async def test_a_network_from_a_configuration(catalog: Catalog) -> None:
    source = plan_record(
        request(
            name="conf",
            config_only=True,
            labels={"a": "b"},
            options={"com.docker.network.driver.mtu": "1400"},
            ipam=IPAM(config=[IPAMConfig(subnet="10.3.0.0/24")]),
        ),
        catalog,
    )
    assert source.driver == "null"
    await catalog.insert(source)
    made = plan_record(request(config_from=ConfigReference(network="conf"), internal=True), catalog)
    assert (made.labels, made.options, made.internal) == ({"a": "b"}, {"com.docker.network.driver.mtu": "1400"}, True)
    assert [pool.subnet for pool in made.pools] == ["10.3.0.0/24"]
    made.pools[0].gateway = "10.3.0.1"
    assert not source.pools[0].gateway


def test_options_of_a_bridge() -> None:
    bridge = "com.docker.network.bridge."
    assert parse_bridge_options(
        {
            f"{bridge}name": "mine0",
            f"{bridge}enable_icc": "false",
            f"{bridge}enable_ip_masquerade": "0",
            f"{bridge}gateway_mode_ipv4": "routed",
            "com.docker.network.driver.mtu": "1400",
            "com.docker.network.container_iface_prefix": "net",
            "something.else": "kept",
        },
        internal=False,
    ) == BridgeOptions(bridge="mine0", icc=False, masquerade=False, mode4="routed", mtu=1400, prefix="net")


@pytest.mark.parametrize(
    ("option", "value", "kind", "text"),
    [
        ("bridge.enable_icc", "maybe", InvalidArgument, "failed to parse com.docker.network.bridge.enable_icc value"),
        ("driver.mtu", "x", InvalidArgument, 'strconv.Atoi: parsing "x": invalid syntax'),
        ("driver.mtu", "-1", InvalidArgument, "invalid MTU number: -1"),
        ("driver.mtu", "9" * 30, InvalidArgument, "value out of range"),
        ("bridge.gateway_mode_ipv4", "x", InvalidArgument, "unknown gateway mode x"),
        ("bridge.gateway_mode_ipv4", "isolated", Internal, "can only be used for an internal network"),
        ("bridge.host_binding_ipv4", "x", InvalidArgument, "nil ip"),
        ("bridge.name", 'a"b', InvalidArgument, "invalid interface name"),
        ("bridge.name", "a*", InvalidArgument, "invalid interface name"),
        ("bridge.name", "sixteen-letters0", InvalidArgument, "invalid interface name"),
        ("container_iface_prefix", "a/b", InvalidArgument, "invalid interface name"),
    ],
)
def test_options_that_are_refused(option: str, value: str, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind) as caught:
        parse_bridge_options({f"com.docker.network.{option}": value}, internal=False)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("driver", "options", "text"),
    [
        ("macvlan", {"macvlan_mode": "x"}, "requested macvlan mode 'x' is not valid"),
        ("macvlan", {"parent": "lo"}, "loopback interface is not a valid macvlan parent link"),
        ("ipvlan", {"ipvlan_mode": "l4"}, "requested ipvlan mode 'l4' is not valid"),
        ("ipvlan", {"ipvlan_flag": "x"}, "requested ipvlan flag 'x' is not valid"),
    ],
)
def test_options_of_other_drivers_that_are_refused(driver: str, options: dict[str, str], text: str) -> None:
    with pytest.raises(Internal, match=text):
        check_options(record("n", driver, options=options))


def test_networks_that_get_in_each_others_way() -> None:
    named = {"com.docker.network.bridge.name": "mine0"}
    one = make_live(record("one", id="1" * 64, options=named, pools=[PoolRecord(subnet="10.1.0.0/24")]))
    two = make_live(record("two", id="2" * 64, options=named, pools=[PoolRecord(subnet="10.2.0.0/24")]))
    three = make_live(record("three", id="3" * 64, pools=[PoolRecord(subnet="10.1.0.0/16")]))
    with pytest.raises(Forbidden, match=r"conflicts with network 1+ \(mine0\): networks have same bridge name"):
        check_conflicts(two, [one])
    with pytest.raises(Forbidden, match="networks have overlapping IPv4"):
        check_conflicts(three, [one])
    passthru = {"parent": "eth9", "macvlan_mode": "passthru"}
    first = make_live(record("m", "macvlan", options=passthru))
    with pytest.raises(Internal, match="is already using parent interface eth9 in mode passthru"):
        check_conflicts(make_live(record("o", "macvlan", options={"parent": "eth9"})), [first])
    with pytest.raises(Internal, match="is already using parent interface eth9"):
        check_conflicts(
            make_live(record("o", "ipvlan", options={"parent": "eth9"})),
            [make_live(record("p", "ipvlan", options={"parent": "eth9"}))],
        )
