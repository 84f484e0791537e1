"""Real packets between containers, host and neighbours."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from ipaddress import IPv4Interface, IPv4Network, IPv6Network
from pathlib import Path

import pytest

from engine.errors import Conflict, Internal, PortsideError
from engine.model.network import EndpointSettings
from engine.networks.settings import NetworkSettings
from tests.integration.networks_lab import Lab, lab, neighbour, published, run, within

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces and nftables")


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Lab]:
    async with lab(tmp_path) as built:
        yield built


async def test_containers_reach_each_other_by_their_own_addresses(host: Lab) -> None:
    one, two = await host.run("one"), await host.run("two")
    async with host.serving(host.namespace(two), 80):
        answer = await host.ask(host.namespace(one), host.address(two), 80)
    assert answer == f"{host.address(one)} x".encode()


async def test_leaves_are_as_docker_gives_them(host: Lab) -> None:
    first, second = await host.run("first"), await host.run("second")
    endpoint = first.networks["bridge"]
    assert (endpoint.ip_address, endpoint.gateway, endpoint.ip_prefix_len) == ("172.17.0.2", "172.17.0.1", 16)
    assert endpoint.mac_address == "02:42:ac:11:00:02"
    await host.stop(first)
    third = await host.run("third")
    assert [host.address(second), host.address(third)] == ["172.17.0.3", "172.17.0.4"]


async def test_a_mac_address_that_was_asked_for_stays_over_restarts(host: Lab) -> None:
    wanted = "02:42:ac:11:00:09"
    record = host.record("web")
    record.networks = {"bridge": EndpointSettings(mac_address=wanted)}
    host.manager.validate(record)
    for _ in range(2):
        await host.start(record)
        assert wanted in run(["nsenter", f"--net={host.namespace(record)}", "ip", "-o", "link", "show", "eth0"])
        await host.stop(record)
        record.networks["bridge"].mac_address = ""
    plain = await host.run("plain")
    assert plain.networks["bridge"].mac_address == "02:42:ac:11:00:04"


def _filter_bridged_frames(wanted: bool) -> None:
    switch = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if switch.exists():
        switch.write_text(str(int(wanted)))


@pytest.mark.parametrize("bridged_frames_are_filtered", [True, False])
async def test_without_icc_containers_meet_only_through_published_ports(
    tmp_path: Path, bridged_frames_are_filtered: bool
) -> None:
    async with lab(tmp_path, NetworkSettings(icc=False)) as host:
        _filter_bridged_frames(bridged_frames_are_filtered)
        one = await host.run("one")
        two = await host.run("two", ports=published(":8080:80/tcp"))
        async with host.serving(host.namespace(two), 80):
            assert not await host.is_reachable(host.namespace(one), host.address(two), 80)
            assert await host.is_reachable(host.namespace(one), "172.17.0.1", 8080)


@pytest.mark.parametrize("bridged_frames_are_filtered", [True, False])
async def test_published_port_is_reached_from_everywhere(host: Lab, bridged_frames_are_filtered: bool) -> None:
    _filter_bridged_frames(bridged_frames_are_filtered)
    other = await host.run("other")
    web = await host.run("web", ports=published(":8080:80/tcp"))
    with neighbour() as lan:
        async with host.serving(host.namespace(web), 80):
            callers = {
                "host by loopback": (None, "127.0.0.1"),
                "host by loopback, IPv6": (None, "::1"),
                "host by its address": (None, "192.0.2.1"),
                "neighbour": (lan, "192.0.2.1"),
                "neighbour, IPv6": (lan, "2001:db8::1"),
                "another container": (host.namespace(other), "172.17.0.1"),
                "another container by the host's other address": (host.namespace(other), "192.0.2.1"),
                "the container itself": (host.namespace(web), "172.17.0.1"),
            }
            for who, (where, address) in callers.items():
                assert await host.is_reachable(where, address, 8080), who


async def test_container_sees_a_neighbours_own_address(host: Lab) -> None:
    web = await host.run("web", ports=published(":8080:80/tcp"))
    with neighbour() as lan:
        async with host.serving(host.namespace(web), 80):
            assert await host.ask(lan, "192.0.2.1", 8080) == b"192.0.2.2 x"


async def test_what_is_published_on_loopback_or_not_at_all_stays_hidden(host: Lab) -> None:
    with neighbour() as lan:
        web = await host.run("web", ports=published("127.0.0.1:8080:80/tcp", "192.0.2.1:8081:81/tcp"))
        run(["nsenter", f"--net={lan}", "ip", "route", "add", "172.17.0.0/16", "via", "192.0.2.1"])
        async with host.serving(host.namespace(web), 80):
            assert await host.is_reachable(None, "127.0.0.1", 8080)
            assert not await host.is_reachable(lan, "192.0.2.1", 8080)
            assert not await host.is_reachable(lan, host.address(web), 80)


async def test_host_address_that_the_host_lacks_is_refused(host: Lab) -> None:
    with pytest.raises(Internal, match="cannot assign requested address"):
        await host.run("web", ports=published("192.0.2.77:8080:80/tcp"))


async def test_container_reaches_the_outside_under_the_hosts_address(host: Lab) -> None:
    one = await host.run("one")
    with neighbour() as lan:
        async with host.serving(lan, 80):
            assert await host.ask(host.namespace(one), "192.0.2.2", 80) == b"192.0.2.1 x"


async def test_container_cannot_reach_the_hosts_loopback(host: Lab) -> None:
    one = await host.run("one")
    async with host.serving(None, 80, host="127.0.0.1"):
        assert await host.is_reachable(None, "127.0.0.1", 80)
        run(["nsenter", f"--net={host.namespace(one)}", "ip", "route", "replace", "127.0.0.0/8", "via", "172.17.0.1"])
        run(
            [
                "nsenter",
                f"--net={host.namespace(one)}",
                "ip",
                "rule",
                "add",
                "pref",
                "1",
                "to",
                "127.0.0.1",
                "lookup",
                "main",
            ]
        )
        assert not await host.is_reachable(host.namespace(one), "127.0.0.1", 80)


async def test_udp_comes_and_goes(host: Lab) -> None:
    dns = await host.run("dns", ports=published(":5353:53/udp"))
    where = host.namespace(dns)
    with neighbour() as lan:
        server = await asyncio.to_thread(within, where, _udp_socket)
        with server:
            server.bind(("0.0.0.0", 53))
            server.setblocking(False)
            asyncio.get_running_loop().add_reader(server, _echo, server)
            try:
                for place, address in ((None, "127.0.0.1"), (None, "::1"), (lan, "192.0.2.1"), (lan, "2001:db8::1")):
                    assert await asyncio.to_thread(within, place, lambda to=address: _ask_udp(to)) == b"ping"
            finally:
                asyncio.get_running_loop().remove_reader(server)


def _udp_socket() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def _echo(server: socket.socket) -> None:
    data, sender = server.recvfrom(2048)
    server.sendto(data, sender)


def _ask_udp(address: str) -> bytes:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as caller:
        caller.settimeout(2)
        caller.connect((address, 5353))  # answers from any other address are not taken
        caller.send(b"ping")
        return caller.recv(2048)


async def test_a_udp_flow_follows_its_port_to_the_next_container(host: Lab) -> None:
    with neighbour() as lan:
        caller = await asyncio.to_thread(within, lan, _udp_socket)
        with caller:
            caller.setblocking(False)
            caller.connect(("192.0.2.1", 5353))
            for round_number in range(2):
                dns = await host.run(f"dns{round_number}", ports=published(":5353:53/udp"))
                where = host.namespace(dns)
                server = await asyncio.to_thread(
                    within, where, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                )
                with server:
                    server.bind(("0.0.0.0", 53))
                    server.setblocking(False)
                    receiving = asyncio.ensure_future(asyncio.get_running_loop().sock_recv(server, 100))
                    for _ in range(20):  # flows are redirected a moment after the port
                        with suppress(OSError):
                            caller.send(b"ping")
                        await asyncio.wait([receiving], timeout=0.1)
                    received = await asyncio.wait_for(receiving, 1)
                    assert received == b"ping"
                await host.stop(dns)


async def test_ipv6_proxy_carries_much_in_both_directions(host: Lab) -> None:
    web = await host.run("web", ports=published("[::1]:8080:80/tcp"))
    data = os.urandom(20_000_000)
    async with host.serving(host.namespace(web), 80):
        reader, writer = await asyncio.open_connection("::1", 8080)

        async def send() -> None:
            writer.write(data)
            await writer.drain()
            writer.write_eof()

        sending = asyncio.ensure_future(send())
        answer = await asyncio.wait_for(reader.read(), 20)
        await sending
        writer.close()
    assert answer == b"172.17.0.1 " + data


async def test_held_port_cannot_be_bound_by_others(host: Lab) -> None:
    await host.run("web", ports=published(":8080:80/tcp", ":5353:53/udp"))
    for kind, port in ((socket.SOCK_STREAM, 8080), (socket.SOCK_DGRAM, 5353)):
        for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            assert _bind_error(family, kind, address, port) == errno.EADDRINUSE


def _bind_error(family: int, kind: int, address: str, port: int) -> int | None:
    with socket.socket(family, kind) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, kind == socket.SOCK_STREAM)
        try:
            other.bind((address, port))
            if kind == socket.SOCK_STREAM:
                other.listen()
        except OSError as error:
            return error.errno
    return None


async def test_taken_ports_are_refused_in_mobys_words(host: Lab) -> None:
    await host.run("web", ports=published(":8080:80/tcp"))
    with pytest.raises(PortsideError) as raised:
        await host.run("web2", ports=published(":8080:80/tcp"))
    assert "driver failed programming external connectivity on endpoint web2 (" in raised.value.message
    assert raised.value.message.endswith("): Bind for 0.0.0.0:8080 failed: port is already allocated")
    with socket.socket() as other:
        other.bind(("0.0.0.0", 9090))
        other.listen()
        with pytest.raises(PortsideError) as raised:
            await host.run("web3", ports=published(":9090:80/tcp"))
    assert raised.value.message.endswith(
        "failed to bind host port for 0.0.0.0:9090:172.17.0.4:80/tcp: address already in use"
    )


async def test_a_failed_start_gives_everything_back(host: Lab) -> None:
    await host.run("web", ports=published(":8080:80/tcp"))
    with pytest.raises(PortsideError):
        await host.run("other", ports=published(":7070:70/tcp", ":8080:80/tcp"))
    await host.run("third", ports=published(":7070:70/tcp"))


async def test_a_port_can_be_published_again_at_once(host: Lab) -> None:
    for round_number in range(20):
        web = await host.run(f"web{round_number}", ports=published(":8080:80/tcp"))
        async with host.serving(host.namespace(web), 80):
            assert await host.is_reachable(None, "127.0.0.1", 8080)
        await host.stop(web)
    assert not await host.is_reachable(None, "127.0.0.1", 8080)


async def test_ephemeral_and_ranged_ports(host: Lab) -> None:
    with socket.socket() as other:
        other.bind(("0.0.0.0", 7001))
        other.listen()
        one = await host.run("one", ports=published(":7000-7010:80/tcp", "::81/tcp"))
        two = await host.run("two", ports=published(":7000-7010:80/tcp"))
    ports = [record.ports["80/tcp"] for record in (one, two)]
    assert [{place.host_port for place in found or []} for found in ports] == [{"7000"}, {"7002"}]
    ephemeral = one.ports["81/tcp"] or []
    assert [place.host_ip for place in ephemeral] == ["0.0.0.0", "::"]
    assert len({place.host_port for place in ephemeral}) == 1
    assert 32768 <= int(ephemeral[0].host_port) <= 60999


async def test_ipv6_of_a_containers_own(tmp_path: Path) -> None:
    settings = NetworkSettings(ipv6=True, fixed_cidr_v6=IPv6Network("fd00:1234::/64"))
    async with lab(tmp_path, settings) as host:
        one = await host.run("one")
        web = await host.run("web", ports=published(":8080:80/tcp"))
        assert web.networks["bridge"].global_ipv6_address == "fd00:1234::3"
        with neighbour() as lan:
            async with host.serving(host.namespace(web), 80, host="::"):
                assert await host.ask(host.namespace(one), "fd00:1234::3", 80) == b"fd00:1234::2 x"
                assert await host.ask(lan, "2001:db8::1", 8080) == b"2001:db8::2 x"
                assert await host.is_reachable(None, "::1", 8080)
                assert not await host.is_reachable(lan, "fd00:1234::3", 80)


async def test_modes_without_a_bridge(host: Lab) -> None:
    alone = await host.run("alone", mode="none")
    with pytest.raises(OSError, match="unreachable"):
        await host.ask(host.namespace(alone), "172.17.0.1", 80)
    async with host.serving(host.namespace(alone), 80):
        assert await host.is_reachable(host.namespace(alone), "127.0.0.1", 80)
    shared = host.record("shared", mode="host")
    assert host.manager.reserve(shared).netns_path is None
    web = await host.run("web")
    web.state.pid = os.getpid()
    joined = host.manager.reserve(host.record("joined", mode=f"container:{web.id}"))
    assert joined.netns_path == Path(f"/proc/{os.getpid()}/ns/net")
    web.state.status = "exited"
    with pytest.raises(Conflict, match="cannot join network namespace of a non running container: container web is"):
        host.manager.reserve(host.record("late", mode=f"container:{web.id}"))


async def test_the_link_goes_with_its_container_although_others_joined_it(host: Lab) -> None:
    web = await host.run("web")
    web.state.pid = os.getpid()
    guest = host.record("guest", mode=f"container:{web.id}")
    host.manager.reserve(guest)
    with host.namespace(web).open():  # what the guest's process does
        assert "veth" in run(["ip", "-o", "link", "show", "master", host.bridge])
        await host.stop(web)
        assert run(["ip", "-o", "link", "show", "master", host.bridge]) == ""


async def test_a_thousand_ports(host: Lab) -> None:
    web = await host.run("web", ports=published(*(f":{port}:{port}/tcp" for port in range(20000, 21000))))
    async with host.serving(host.namespace(web), 20999):
        assert await host.is_reachable(None, "127.0.0.1", 20999)
        assert await host.is_reachable(None, "::1", 20999)
    await host.stop(web)
    assert _bind_error(socket.AF_INET, socket.SOCK_STREAM, "0.0.0.0", 20999) is None


async def test_bip_and_fixed_cidr(tmp_path: Path) -> None:
    settings = NetworkSettings(bip=IPv4Interface("10.9.8.1/24"), fixed_cidr=IPv4Network("10.9.8.64/30"))
    async with lab(tmp_path, settings) as host:
        found = [await host.run(name) for name in ("one", "two", "three", "four")]
        assert [host.address(record) for record in found] == ["10.9.8.64", "10.9.8.65", "10.9.8.66", "10.9.8.67"]
        with pytest.raises(PortsideError, match="no available IPv4 addresses"):
            await host.run("five")
        network = next(item for item in host.manager.administration.describe_all() if item.name == "bridge")
        assert network.ipam.config is not None
        assert [(item.subnet, item.gateway) for item in network.ipam.config] == [("10.9.8.0/24", "10.9.8.1")]
        assert {item.name for item in (network.containers or {}).values()} == {"one", "two", "three", "four"}


async def test_many_at_once_share_transactions_and_lose_nothing(host: Lab) -> None:
    records = [host.record(f"web{number}", ports=published("::80/tcp")) for number in range(40)]
    await asyncio.gather(*(host.start(record) for record in records))
    assert len({host.address(record) for record in records}) == 40
    for record in records[::7]:
        places = record.ports["80/tcp"] or []
        async with host.serving(host.namespace(record), 80):
            assert await host.is_reachable(None, "127.0.0.1", int(places[0].host_port))
    await asyncio.gather(*(host.stop(record) for record in records))


async def test_a_start_that_is_given_up_leaves_nothing(host: Lab) -> None:
    record = host.record("web", ports=published(":8080:80/tcp"))
    connecting = asyncio.ensure_future(host.manager.connect(host.manager.reserve(record)))
    await asyncio.sleep(0)
    connecting.cancel()
    await asyncio.gather(connecting, return_exceptions=True)
    await host.manager.release(record.id)
    again = await host.run("web2", ports=published(":8080:80/tcp"))
    async with host.serving(host.namespace(again), 80):
        assert await host.is_reachable(None, "127.0.0.1", 8080)


async def test_events_name_container_and_network(host: Lab) -> None:
    record = await host.run("one")
    await host.stop(record)
    expected = {"container": record.id, "name": "bridge", "type": "bridge"}
    assert host.journal.events == [("network", "connect", expected), ("network", "disconnect", expected)]
