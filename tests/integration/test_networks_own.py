"""User-defined networks on a host of their own: who reaches whom, which way packets go, what is refused."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET

from engine.errors import Forbidden, Internal, InvalidArgument, NotFound, NotSupported, PortsideError
from engine.model.network import IPAM, EndpointIPAMConfig, EndpointSettings, IPAMConfig
from engine.model.record import ContainerRecord
from engine.networks.settings import NetworkSettings
from tests.integration.networks_lab import Lab, ip, lab, neighbour, published, run

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces and nftables")
BRIDGE = "com.docker.network.bridge."


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Lab]:
    async with lab(tmp_path) as built:
        yield built


def inside(host: Lab, record: ContainerRecord, *command: str) -> str:
    """Run a command in a container's network namespace."""
    return run(["nsenter", f"--net={host.namespace(record)}", *command])


def routes(host: Lab, record: ContainerRecord, version: int = 4) -> list[str]:
    """Return a container's default routes as ``via ADDRESS dev NAME``."""
    lines = inside(host, record, "ip", f"-{version}", "route", "show", "default").splitlines()
    return [" ".join(line.split()[1:5]) for line in lines]


def at(ipv4: str = "", ipv6: str = "", **parts: Any) -> EndpointSettings:
    return EndpointSettings(
        ipam_config=EndpointIPAMConfig(ipv4_address=ipv4 or UNSET, ipv6_address=ipv6 or UNSET), **parts
    )


async def join(host: Lab, record: ContainerRecord, network: str, settings: EndpointSettings | None = None) -> None:
    await host.manager.join(record, network, settings or EndpointSettings(), host.files(record))


async def leave(host: Lab, record: ContainerRecord, network: str) -> None:
    await host.manager.leave(record, network, host.files(record))


# Who reaches whom


async def test_containers_meet_on_their_network_and_nowhere_else(host: Lab) -> None:
    await host.network("red", "10.31.0.0/24", "fd00:31::/64", enable_ipv6=True)
    await host.network("blue", "10.32.0.0/24", "fd00:32::/64", enable_ipv6=True)
    one, two = await host.run("one", mode="red"), await host.run("two", mode="red")
    other, old = await host.run("other", mode="blue"), await host.run("old")
    six = one.networks["red"].global_ipv6_address
    with neighbour() as lan:
        run(["nsenter", f"--net={lan}", "ip", "-6", "route", "add", "default", "via", "2001:db8::1"])
        async with (
            host.serving(host.namespace(one), 80) as callers,
            host.serving(host.namespace(one), 86, host="::") as callers6,
        ):
            assert await host.is_reachable(host.namespace(two), host.address(one, "red"), 80)
            assert await host.is_reachable(host.namespace(two), six, 86)
            assert await host.is_reachable(None, host.address(one, "red"), 80)
            assert callers[0] == host.address(two, "red")
            assert callers6[0] == two.networks["red"].global_ipv6_address
            strangers = [host.namespace(other), host.namespace(old), lan]
            asked = [host.is_reachable(where, host.address(one, "red"), 80) for where in strangers]
            asked += [host.is_reachable(where, six, 86) for where in (host.namespace(other), lan)]
            assert not any(await asyncio.gather(*asked))


async def test_published_ports_are_reached_from_everywhere_and_those_of_loopback_from_here_alone(host: Lab) -> None:
    await host.network("red", "10.31.0.0/24")
    await host.network("blue", "10.32.0.0/24")
    one = await host.run("one", mode="red", ports=published(":8080:80/tcp", "127.0.0.1:8081:80/tcp"))
    other = await host.run("other", mode="blue")
    with neighbour() as lan:
        async with host.serving(host.namespace(one), 80):
            assert await host.is_reachable(None, "127.0.0.1", 8080)
            assert await host.is_reachable(None, "127.0.0.1", 8081)
            assert await host.is_reachable(lan, "192.0.2.1", 8080)
            assert await host.is_reachable(host.namespace(other), "192.0.2.1", 8080)
            assert await host.is_reachable(host.namespace(one), "192.0.2.1", 8080)
            run(["nsenter", f"--net={lan}", "ip", "route", "add", "127.0.0.2/32", "via", "192.0.2.1"])
            run(["nsenter", f"--net={lan}", "sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1"])
            assert not await host.is_reachable(lan, "192.0.2.1", 8081)
            # The container's own address is closed to the network even for a port that is published.
            assert not await host.is_reachable(lan, host.address(one, "red"), 80)


async def test_an_internal_network_is_cut_off(host: Lab) -> None:
    await host.network("cell", "10.33.0.0/24", internal=True)
    await host.network("blue", "10.32.0.0/24")
    one = await host.run("one", mode="cell", ports=published(":8080:80/tcp"))
    two = await host.run("two", mode="cell")
    other = await host.run("other", mode="blue", ports=published(":8082:80/tcp"))
    assert routes(host, one) == []
    assert one.ports == {}
    assert one.networks["cell"].gateway == ""
    with neighbour() as lan:
        inside(host, one, "ip", "route", "add", "default", "via", "10.33.0.1")
        async with (
            host.serving(host.namespace(one), 80),
            host.serving(lan, 80),
            host.serving(host.namespace(other), 80),
        ):
            assert await host.is_reachable(host.namespace(two), host.address(one, "cell"), 80)
            assert not await host.is_reachable(host.namespace(one), "192.0.2.2", 80)
            assert not await host.is_reachable(host.namespace(one), host.address(other, "blue"), 80)
            assert not await host.is_reachable(host.namespace(one), "192.0.2.1", 8082)
            assert not await host.is_reachable(lan, host.address(one, "cell"), 80)


async def test_without_icc_containers_of_a_network_do_not_meet(host: Lab) -> None:
    await host.network("red", "10.31.0.0/24", options={f"{BRIDGE}enable_icc": "false"})
    one, two = await host.run("one", mode="red"), await host.run("two", mode="red")
    async with host.serving(host.namespace(one), 80):
        assert not await host.is_reachable(host.namespace(two), host.address(one, "red"), 80)
        assert await host.is_reachable(None, host.address(one, "red"), 80)


async def test_gateway_modes(host: Lab) -> None:
    mode = f"{BRIDGE}gateway_mode_ipv4"
    await host.network("routed", "10.34.0.0/24", options={mode: "routed"})
    await host.network("open", "10.35.0.0/24", options={mode: "nat-unprotected"})
    one = await host.run("one", mode="routed", ports=published(":8080:80/tcp"))
    two = await host.run("two", mode="open", ports=published(":8081:80/tcp"))
    places = one.ports["80/tcp"]
    assert places is not None
    # As with Docker, a host's IPv6 port leads to the container's IPv4 one through the helper.
    assert [(place.host_ip, place.host_port) for place in places] == [("0.0.0.0", ""), ("::", "8080")]
    with neighbour() as lan:
        async with (
            host.serving(host.namespace(one), 80),
            host.serving(host.namespace(one), 81),
            host.serving(host.namespace(two), 81),
            host.serving(lan, 90) as callers,
        ):
            assert await host.is_reachable(lan, host.address(one, "routed"), 80)
            assert not await host.is_reachable(lan, host.address(one, "routed"), 81)
            assert not await host.is_reachable(lan, "192.0.2.1", 8080)
            assert await host.is_reachable(lan, host.address(two, "open"), 81)
            assert await host.is_reachable(host.namespace(one), "192.0.2.2", 90)
            assert await host.is_reachable(host.namespace(two), "192.0.2.2", 90)
            assert callers == [host.address(one, "routed"), "192.0.2.1"]
    await host.stop(one)
    await host.manager.check_rules()  # comes after what was asked for before
    assert "10.34.0.2" not in run(["nft", "list", "set", "inet", host.instance, "opened"])


async def test_a_trusted_link_reaches_published_ports_at_the_containers_own_address(host: Lab) -> None:
    await host.network("red", "10.31.0.0/24", options={f"{BRIDGE}trusted_host_interfaces": "lan:eth9"})
    one = await host.run("one", mode="red", ports=published(":8080:80/tcp", ":8081:80/tcp"))
    with neighbour() as lan:
        async with host.serving(host.namespace(one), 80), host.serving(host.namespace(one), 81):
            assert await host.is_reachable(lan, host.address(one, "red"), 80)
            assert not await host.is_reachable(lan, host.address(one, "red"), 81)
    await host.stop(one)
    await host.manager.check_rules()
    assert "10.31.0.2" not in run(["nft", "list", "table", "inet", host.instance])


async def test_a_bridge_without_its_ipv4_address_still_has_containers(host: Lab) -> None:
    options = {f"{BRIDGE}inhibit_ipv4": "true", f"{BRIDGE}name": "bare0"}
    await host.network("bare", "10.31.0.0/24", options=options)
    assert "inet " not in ip("addr show dev bare0")
    one, two = await host.run("one", mode="bare"), await host.run("two", mode="bare")
    async with host.serving(host.namespace(one), 80):
        assert await host.is_reachable(host.namespace(two), host.address(one, "bare"), 80)


async def test_an_isolated_bridge_has_no_address(host: Lab) -> None:
    options = {f"{BRIDGE}gateway_mode_ipv4": "isolated", f"{BRIDGE}name": "alone0"}
    await host.network("alone", "10.36.0.0/24", internal=True, options=options)
    assert "inet " not in ip("addr show dev alone0")
    one = await host.run("one", mode="alone")
    assert host.address(one, "alone") == "10.36.0.1"


async def test_the_host_binding_of_the_network_that_leads_out_counts(host: Lab) -> None:
    await host.network("red", options={f"{BRIDGE}host_binding_ipv4": "127.0.0.1"})
    one = await host.run("one", mode="red", ports=published(":8080:80/tcp"))
    places = one.ports["80/tcp"]
    assert places is not None
    assert [place.host_ip for place in places] == ["127.0.0.1"]


# Several networks


async def test_a_container_on_three_networks_goes_out_where_docker_goes(host: Lab) -> None:
    for name in ("beta", "alpha", "cell"):
        await host.network(name, internal=name == "cell")
    one = await host.run(
        "one", networks={"beta": EndpointSettings(), "cell": EndpointSettings(), "alpha": EndpointSettings()}
    )
    names = [line.split()[1] for line in inside(host, one, "ip", "-o", "-4", "addr").splitlines()]
    assert names == ["lo", "eth0", "eth1", "eth2"]
    assert host.address(one, "beta") in inside(host, one, "ip", "addr", "show", "eth0")
    assert routes(host, one) == [f"via {one.networks['alpha'].gateway} dev eth2"]
    two = await host.run("two", networks={"alpha": EndpointSettings(), "beta": EndpointSettings(gw_priority=1)})
    assert routes(host, two) == [f"via {two.networks['beta'].gateway} dev eth1"]


async def test_connecting_and_leaving_while_running(host: Lab) -> None:
    await host.network("red", "10.31.0.0/24")
    await host.network("alpha", "10.32.0.0/24", "fd00:32::/64", enable_ipv6=True)
    one = await host.run("one", mode="red")
    peer = await host.run("peer", mode="alpha")
    assert routes(host, one) == ["via 10.31.0.1 dev eth0"]
    await join(host, one, "alpha", at("10.32.0.77", aliases=["db"]))
    assert one.networks["alpha"].ip_address == "10.32.0.77"
    assert one.networks["alpha"].dns_names == ["one", "db", one.id[:12]]
    assert routes(host, one) == ["via 10.32.0.1 dev eth1"]
    assert routes(host, one, 6) == ["via fd00:32::1 dev eth1"]
    hosts = (host.folder / one.id / "hosts").read_text()
    assert "10.31.0.2\tone\n10.32.0.77\tone\nfd00:32::" in hosts
    async with host.serving(host.namespace(one), 80):
        assert await host.is_reachable(host.namespace(peer), "10.32.0.77", 80)
        await leave(host, one, "alpha")
        assert not await host.is_reachable(host.namespace(peer), "10.32.0.77", 80)
    assert routes(host, one) == ["via 10.31.0.1 dev eth0"]
    assert routes(host, one, 6) == []
    assert list(one.networks) == ["red"]
    assert "eth1" not in inside(host, one, "ip", "-o", "link")
    again = await host.run("again", networks={"alpha": at("10.32.0.77")})
    assert host.address(again, "alpha") == "10.32.0.77"
    await join(host, one, "alpha")
    assert "eth1" in inside(host, one, "ip", "-o", "link")
    kinds = [(action, attributes["name"]) for _, action, attributes in host.journal.events if "container" in attributes]
    assert kinds.count(("connect", "alpha")) == 4
    assert kinds.count(("disconnect", "alpha")) == 1


async def test_ports_follow_the_way_out(host: Lab) -> None:
    await host.network("cell", internal=True)
    await host.network("red")
    await host.network("blue")
    one = await host.run("one", mode="cell", ports=published(":8080:80/tcp"))
    assert one.ports == {}
    async with host.serving(host.namespace(one), 80):
        assert not await host.is_reachable(None, "127.0.0.1", 8080)
        await join(host, one, "red")
        assert one.ports["80/tcp"]
        assert await host.is_reachable(None, "127.0.0.1", 8080)
        await join(host, one, "blue")  # before red by its name
        assert await host.is_reachable(None, "127.0.0.1", 8080)
        await leave(host, one, "blue")
        assert await host.is_reachable(None, "127.0.0.1", 8080)
        await leave(host, one, "red")
        assert one.ports == {}
        assert not await host.is_reachable(None, "127.0.0.1", 8080)


async def test_a_connection_whose_port_is_taken_leaves_all_as_it_was(host: Lab) -> None:
    await host.network("cell", internal=True)
    await host.network("red", "10.31.0.0/24")
    await host.run("holder", ports=published(":8080:80/tcp"))
    one = await host.run("one", mode="cell", ports=published(":8080:80/tcp"))
    before = dict(one.networks)
    with pytest.raises(Internal, match="port is already allocated"):
        await join(host, one, "red")
    assert one.networks == before
    assert "eth1" not in inside(host, one, "ip", "-o", "link")
    other = await host.run("other", mode="red")
    assert host.address(other, "red").startswith("10.31.0.")
    network = next(item for item in host.manager.administration.describe_all() if item.name == "red")
    assert list(network.containers or ()) == [other.id]


async def test_interfaces_as_asked(host: Lab) -> None:
    options = {"com.docker.network.driver.mtu": "1400", "com.docker.network.container_iface_prefix": "net"}
    await host.network("red", "10.31.0.0/24", options=options)
    await host.network("blue")
    named = EndpointSettings(
        driver_opts={
            "com.docker.network.endpoint.ifname": "uplink",
            "com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.log_martians=1",
        }
    )
    one = host.record("one", networks={"red": EndpointSettings(mac_address="02:42:aa:bb:cc:dd"), "blue": named})
    host.manager.validate(one)
    await host.start(one)
    link = inside(host, one, "ip", "link", "show", "net0")
    assert "mtu 1400" in link
    assert "02:42:aa:bb:cc:dd" in link
    assert "uplink" in inside(host, one, "ip", "link")
    assert inside(host, one, "cat", "/proc/sys/net/ipv4/conf/uplink/log_martians").strip() == "1"


# Addresses


async def test_static_addresses_and_what_is_refused_of_them(host: Lab) -> None:
    await host.network("red", "10.31.0.0/24", "fd00:31::/64", enable_ipv6=True)
    await host.network("blue")
    one = await host.run("one", networks={"red": at("10.31.0.9", "fd00:31::9")})
    assert one.networks["red"].global_ipv6_address == "fd00:31::9"
    with pytest.raises(Forbidden, match="failed to set up container networking: Address already in use"):
        await host.run("two", networks={"red": at("10.31.0.9")})
    for network, address, text in (
        ("red", "10.32.0.9", "no configured subnet or ip-range contain the IP address 10.32.0.9"),
        ("blue", "172.18.0.9", "only when connecting to networks with user configured subnets"),
        ("red", "0.0.0.0", "invalid IPv4 address: 0.0.0.0"),
        ("red", "x", "invalid IPv4 address: x"),
        ("bridge", "172.17.0.9", "user specified IP address is supported on user defined networks only"),
    ):
        with pytest.raises(InvalidArgument, match="invalid endpoint settings") as caught:
            host.manager.validate(host.record("bad", networks={network: at(address)}))
        assert text in caught.value.message
    with pytest.raises(Forbidden, match="Address already in use"):
        await host.run("gateway", networks={"red": at("10.31.0.1")})


async def test_a_pool_that_is_used_up(host: Lab) -> None:
    await host.network("tiny", "10.37.0.0/30")
    one = await host.run("one", mode="tiny")
    with pytest.raises(Internal, match=r"no available IPv4 addresses on this network's address pools: tiny \("):
        await host.run("two", mode="tiny")
    await host.stop(one)
    again = await host.run("three", mode="tiny")
    assert host.address(again, "tiny") == "10.37.0.2"


async def test_a_range_and_auxiliary_addresses(host: Lab) -> None:
    config = IPAMConfig(
        subnet="10.38.0.0/24", ip_range="10.38.0.8/30", gateway="10.38.0.1", auxiliary_addresses={"a": "10.38.0.9"}
    )
    await host.network("red", ipam=IPAM(config=[config]))
    found = [await host.run(f"c{number}", mode="red") for number in range(3)]
    assert [host.address(record, "red") for record in found] == ["10.38.0.8", "10.38.0.10", "10.38.0.11"]
    with pytest.raises(Internal, match="no available IPv4 addresses"):
        await host.run("more", mode="red")
    outside = await host.run("static", networks={"red": at("10.38.0.200")})
    assert host.address(outside, "red") == "10.38.0.200"


# Bad input


async def test_requests_that_are_refused_leave_nothing(host: Lab) -> None:
    await host.network("red", "10.31.0.0/24", options={f"{BRIDGE}name": "mine0"})
    before = ip("-o link").count("\n"), len(host.manager.administration.describe_all())
    for parts, kind, text in (
        ({"name": "a", "subnets": ["10.31.0.0/25"]}, Forbidden, "Pool overlaps with other one on this address space"),
        ({"name": "b", "options": {f"{BRIDGE}name": "mine0"}}, Forbidden, "networks have same bridge name"),
        ({"name": "c", "options": {f"{BRIDGE}name": "lo"}}, Internal, "existing interface lo is not a bridge"),
        ({"name": "d", "subnets": ["10.39.0.0/24", "10.40.0.0/24"]}, Forbidden, "doesn't support multiple subnets"),
        ({"name": "e", "options": {"com.docker.network.driver.mtu": "20"}}, Internal, "cannot"),
        ({"name": "f", "driver": "ipvlan"}, NotSupported, "the kernel has no"),
    ):
        options = dict(parts)
        with pytest.raises(kind) as caught:
            await host.network(str(options.pop("name")), *options.pop("subnets", ()), **options)
        assert text in str(caught.value)
    assert (ip("-o link").count("\n"), len(host.manager.administration.describe_all())) == before
    await host.network("a", "10.41.0.0/24")


async def test_pools_that_are_used_up_and_routes_that_are_left_alone(tmp_path: Path) -> None:
    from ipaddress import IPv4Interface, IPv4Network

    settings = NetworkSettings(bip=IPv4Interface("10.50.0.1/24"), pools=((IPv4Network("10.60.0.0/22"), 24),))
    async with lab(tmp_path, settings) as host:
        with neighbour():
            ip("route add 10.60.1.0/24 via 192.0.2.2")
            for number in range(3):
                await host.network(f"n{number}")
            networks = host.manager.administration.describe_all()
            subnets = [item.ipam.config[0].subnet for item in networks if item.ipam.config]
            assert subnets[1:] == ["10.60.0.0/24", "10.60.2.0/24", "10.60.3.0/24"]
            with pytest.raises(InvalidArgument, match="all predefined address pools have been fully subnetted"):
                await host.network("more")
            await host.manager.administration.remove("n1")
            await host.network("again")


async def test_a_network_in_use_stays(host: Lab) -> None:
    network_id = await host.network("red")
    one = await host.run("one", mode="red")
    text = 'error while removing network: network red has active endpoints (name:"one" id:"'
    with pytest.raises(Forbidden) as caught:
        await host.manager.administration.remove("red")
    assert caught.value.message.startswith(text)
    await host.stop(one)
    await host.manager.administration.remove(network_id[:8])
    with pytest.raises(NotFound, match=r"failed to set up container networking: network .* not found"):
        await host.start(one)
    with pytest.raises(Forbidden, match="bridge is a pre-defined network and cannot be removed"):
        await host.manager.administration.remove("bridge")


async def test_connections_that_are_refused(host: Lab) -> None:
    await host.network("red")
    await host.network("conf", config_only=True)
    one = await host.run("one", mode="red")
    alone = await host.run("alone", mode="none")
    guest = await host.run("guest", mode=f"container:{one.id}") if one.state.pid else None
    cases: list[tuple[ContainerRecord, str, type[PortsideError], str]] = [
        (one, "nope", NotFound, "network nope not found"),
        (one, "red", Forbidden, "endpoint with name one already exists in network red"),
        (one, "host", InvalidArgument, "container must be created in host network mode"),
        (one, "none", InvalidArgument, "one of the networks in private (none) mode"),
        (one, "conf", Forbidden, "cannot create endpoint on configuration-only network"),
        (alone, "red", InvalidArgument, "one of the networks in private (none) mode"),
    ]
    assert guest is None
    for record, network, kind, text in cases:
        before = dict(record.networks)
        with pytest.raises(kind) as caught:
            await join(host, record, network)
        assert text in caught.value.message
        assert record.networks == before
    with pytest.raises(Internal, match=f"container {alone.id} is not connected to network red"):
        await leave(host, alone, "red")
    with pytest.raises(NotFound, match="network nope not found"):
        await leave(host, one, "nope")


# Other drivers and other people's links


async def test_macvlan_puts_a_container_beside_the_host(host: Lab) -> None:
    with neighbour() as lan:
        await host.network("wire", "192.0.2.0/24", driver="macvlan", options={"parent": "lan"})
        one = await host.run("one", networks={"wire": at("192.0.2.77")})
        async with host.serving(lan, 80) as callers:
            assert await host.is_reachable(host.namespace(one), "192.0.2.2", 80)
            assert callers == ["192.0.2.77"]
        with pytest.raises(Internal, match="invalid subinterface vlan name nowhere"):
            await host.network("bad", "10.43.0.0/24", driver="macvlan", options={"parent": "nowhere"})
        with pytest.raises(Internal, match="-o parent interface was not found on the host: nowhere"):
            await host.network("bad", "10.43.0.0/24", driver="macvlan", options={"parent": "nowhere.10"})
        await join(host, one, "bridge")
        await leave(host, one, "wire")
        assert "192.0.2.77" not in inside(host, one, "ip", "addr")
        await host.stop(one)
        await host.manager.administration.remove("wire")
        assert "lan" in ip("-o link")


async def test_a_macvlan_of_two_subnets_routes_by_that_of_the_address(host: Lab) -> None:
    with neighbour():
        await host.network("wire", "192.0.2.0/29", "198.51.100.0/24", driver="macvlan", options={"parent": "lan"})
        one = await host.run("one", networks={"wire": at("198.51.100.9")})
        assert routes(host, one) == ["via 198.51.100.1 dev eth0"]
        many = [await host.run(f"c{number}", mode="wire") for number in range(6)]
        assert host.address(many[0], "wire") == "192.0.2.2"
        assert routes(host, many[0]) == ["via 192.0.2.1 dev eth0"]
        assert [host.address(record, "wire") for record in many[-1:]] == ["198.51.100.2"]
        for record in (one, *many):
            await host.stop(record)
        await host.manager.administration.remove("wire")


async def test_a_network_gets_through_the_drop_policy_of_another_firewall(host: Lab) -> None:
    run(["iptables", "-P", "FORWARD", "DROP"])
    await host.network("red", "10.31.0.0/24", options={f"{BRIDGE}name": "red0"})
    one = await host.run("one", mode="red", ports=published(":8080:80/tcp"))
    with neighbour() as lan:
        async with host.serving(lan, 90), host.serving(host.namespace(one), 80):
            assert await host.is_reachable(host.namespace(one), "192.0.2.2", 90)
            assert await host.is_reachable(lan, "192.0.2.1", 8080)
            assert not await host.is_reachable(lan, host.address(one, "red"), 80)
    assert "red0" in run(["iptables", "-S"])
    await host.stop(one)
    await host.manager.administration.remove("red")
    assert "red0" not in run(["iptables", "-S"])


async def test_a_bridge_that_somebody_made_is_used_and_kept(host: Lab) -> None:
    ip("link add theirs0 type bridge")
    await host.network("red", "10.31.0.0/24", options={f"{BRIDGE}name": "theirs0"})
    assert "10.31.0.1/24" in ip("addr show dev theirs0")
    one, two = await host.run("one", mode="red"), await host.run("two", mode="red")
    async with host.serving(host.namespace(one), 80):
        assert await host.is_reachable(host.namespace(two), host.address(one, "red"), 80)
    for record in (one, two):
        await host.stop(record)
    await host.manager.administration.remove("red")
    assert "theirs0" in ip("-o link")
    ip("link delete theirs0")
