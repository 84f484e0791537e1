"""Engines that are killed, helpers that are killed, rules that are flushed, firewalls beside ours."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from engine.model.record import ContainerRecord, decode_record
from engine.networks.settings import NetworkSettings
from engine.runtime import netns
from tests.integration.networks_lab import Lab, ip, lab, neighbour, own_host, published, run

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces and nftables")


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Lab]:
    async with lab(tmp_path) as built:
        yield built


async def wait_until(condition: object, timeout_s: float = 5.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not come about"
        await asyncio.sleep(0.02)


def helpers() -> list[int]:
    """Return the processes that hold ports for engines on this host."""
    lines = Path("/proc/net/unix").read_text().splitlines()
    sockets = {f"socket:[{line.split()[6]}]" for line in lines if line.endswith("ports.sock")}
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with suppress(OSError):
            if b"portholder.py" in (process / "cmdline").read_bytes() and any(
                str(fd.readlink()) in sockets for fd in (process / "fd").iterdir()
            ):
                found.append(int(process.name))
    return found


def is_port_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True


class Killed:
    """What an engine that was killed with -9 left: its containers run on as sleeping processes."""

    def __init__(self, lab: Lab, records: list[ContainerRecord]) -> None:
        self.lab = lab
        self.records = records

    def namespace(self, record: ContainerRecord) -> Path:
        return netns.path_of_process(record.state.pid)

    def end_containers(self) -> None:
        for record in self.records:
            with suppress(ProcessLookupError):
                os.kill(record.state.pid, signal.SIGKILL)


@contextmanager
def killed_engine(folder: Path, count: int = 2, first_port: int = 8080) -> Iterator[Killed]:
    with own_host():
        built = Lab(folder, NetworkSettings())
        child = os.posix_spawn(
            sys.executable,
            [
                sys.executable, "-m", "tests.integration.networks_child",
                str(folder), built.instance, built.bridge, str(count), str(first_port),
            ],
            {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2])},
        )  # fmt: skip
        killed = Killed(built, [])
        try:
            end = time.monotonic() + 20
            while not (folder / "records").exists():
                assert time.monotonic() < end, "the engine did not start"
                time.sleep(0.02)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            killed.records = [decode_record(line) for line in (folder / "records").read_bytes().splitlines()]
            for record in killed.records:
                record.state.status = "running"
                built.records[record.id] = record
            yield killed
        finally:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            killed.end_containers()
            for helper in helpers():
                os.kill(helper, signal.SIGKILL)
            built.database.close()


async def test_the_next_engine_takes_everything_over(tmp_path: Path) -> None:
    with killed_engine(tmp_path) as killed:
        host, (web, _) = killed.lab, killed.records
        before = helpers()
        assert len(before) == 1
        assert not is_port_free(8080)
        async with host.serving(killed.namespace(web), 80):
            assert await host.is_reachable(None, "127.0.0.1", 8080)
            assert await host.is_reachable(None, "::1", 8080)
            await host.manager.restore(killed.records)
            assert await host.is_reachable(None, "127.0.0.1", 8080)
            assert await host.is_reachable(None, "::1", 8080)
        assert helpers() == before
        new = await host.run("new")
        assert host.address(new) == "172.17.0.4"
        for record in [*killed.records, new]:
            await host.manager.release(record.id)
        assert is_port_free(8080)
        await host.manager.aclose()
        await wait_until(lambda: not helpers())


async def test_what_belongs_to_no_container_is_removed(tmp_path: Path) -> None:
    with killed_engine(tmp_path) as killed:
        host, (web, gone) = killed.lab, killed.records
        assert ip(f"-o link show master {host.bridge}").count("veth") == 2
        await host.manager.restore([web])
        await wait_until(lambda: ip(f"-o link show master {host.bridge}").count("veth") == 1)
        assert is_port_free(8081)
        assert not is_port_free(8080)
        assert "8081" not in run(["nft", "list", "ruleset"])
        again = await host.run("again", ports=published(":8081:80/tcp"))
        for record in (web, gone, again):
            await host.manager.release(record.id)
        await host.manager.aclose()


async def test_after_a_crash_of_everything_nothing_is_left(tmp_path: Path) -> None:
    with killed_engine(tmp_path) as killed:
        killed.end_containers()
        for helper in helpers():
            os.kill(helper, signal.SIGKILL)
        await killed.lab.manager.restore([])
        assert "8080" not in run(["nft", "list", "ruleset"])
        await killed.lab.manager.aclose()
        assert run(["nft", "list", "tables", "inet"]) == ""
        assert killed.lab.bridge not in ip("-o link")
        assert helpers() == []


async def test_a_helper_that_died_without_the_engine_is_replaced_at_the_next_start(tmp_path: Path) -> None:
    with killed_engine(tmp_path) as killed:
        (helper,) = helpers()
        os.kill(helper, signal.SIGKILL)
        await wait_until(lambda: is_port_free(8080))
        await killed.lab.manager.restore(killed.records)
        assert not is_port_free(8080)
        async with killed.lab.serving(killed.namespace(killed.records[0]), 80):
            assert await killed.lab.is_reachable(None, "::1", 8080)
        for record in killed.records:
            await killed.lab.manager.release(record.id)
        await killed.lab.manager.aclose()


async def test_a_bridge_that_was_deleted_gets_its_ports_back(tmp_path: Path) -> None:
    with killed_engine(tmp_path) as killed:
        host, (web, _) = killed.lab, killed.records
        ip(f"link delete {host.bridge}")
        await host.manager.restore(killed.records)
        async with host.serving(killed.namespace(web), 80):
            assert await host.is_reachable(None, "127.0.0.1", 8080)
        for record in killed.records:
            await host.manager.release(record.id)
        await host.manager.aclose()


async def test_two_hundred_containers_are_taken_over_in_well_under_a_second(tmp_path: Path) -> None:
    with killed_engine(tmp_path, count=200, first_port=20000) as killed:
        begun = time.perf_counter()
        await killed.lab.manager.restore(killed.records)
        took_s = time.perf_counter() - begun
        assert took_s < 1
        assert not is_port_free(20199)
        await asyncio.gather(*(killed.lab.manager.release(record.id) for record in killed.records))
        await killed.lab.manager.aclose()


async def test_an_engine_that_stops_leaves_running_containers_connected(tmp_path: Path) -> None:
    with killed_engine(tmp_path) as killed:
        host, (web, _) = killed.lab, killed.records
        await host.manager.restore(killed.records)
        await host.manager.aclose()
        async with host.serving(killed.namespace(web), 80):
            assert await host.is_reachable(None, "127.0.0.1", 8080)
        assert len(helpers()) == 1
        host.manager = host.make_manager()
        await host.manager.restore([])
        await host.manager.aclose()
        await wait_until(lambda: not helpers())


async def test_a_helper_that_dies_is_replaced(host: Lab) -> None:
    web = await host.run("web", ports=published(":8080:80/tcp"))
    await wait_until(lambda: len(helpers()) == 1)  # while it starts, its descriptors come and go
    (helper,) = helpers()
    os.kill(helper, signal.SIGKILL)
    await wait_until(lambda: helpers() not in ([], [helper]))
    await wait_until(lambda: not is_port_free(8080))
    async with host.serving(host.namespace(web), 80):
        assert await host.is_reachable(None, "::1", 8080)
    await host.stop(web)
    assert is_port_free(8080)


async def test_flushed_rules_are_put_back(host: Lab, caplog: pytest.LogCaptureFixture) -> None:
    web = await host.run("web", ports=published(":8080:80/tcp"))
    run(["nft", "flush", "ruleset"])
    await wait_until(lambda: "8080" in run(["nft", "list", "ruleset"]))
    async with host.serving(host.namespace(web), 80):
        assert await host.ask(None, "127.0.0.1", 8080) == b"172.17.0.1 x"
    assert "put back" in caplog.text


_DOCKERS_RULES = """\
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A DOCKER-USER -p tcp -m tcp --dport 99 -j DROP
-A DOCKER-USER -j RETURN
COMMIT
"""
_VARIANTS = ("nft", "legacy")


def rules_of(variant: str) -> list[str]:
    return [line for line in run([f"iptables-{variant}", "-S"]).splitlines() if line]


@pytest.mark.parametrize("variant", _VARIANTS)
async def test_beside_dockers_drop_policy(tmp_path: Path, variant: str) -> None:
    if shutil.which(f"iptables-{variant}-restore") is None:
        pytest.skip(f"no iptables-{variant} here")
    with own_host():
        run([f"iptables-{variant}-restore"], _DOCKERS_RULES)
        before = rules_of(variant)
        ip("link add docker0 type bridge")
        ip("address add 172.17.0.1/16 dev docker0")
        ip("link set docker0 up")
        built = Lab(tmp_path, NetworkSettings())
        await built.manager.restore([])
        web = await built.run("web", ports=published(":8080:80/tcp", ":99:99/tcp"))
        assert built.address(web) == "172.18.0.2"
        with neighbour() as lan, neighbour_at_docker0() as docker:
            async with built.serving(built.namespace(web), 80), built.serving(lan, 80), built.serving(docker, 80):
                assert await built.ask(lan, "192.0.2.1", 8080) == b"192.0.2.2 x"
                assert await built.ask(built.namespace(web), "192.0.2.2", 80) == b"192.0.2.1 x"
                assert not await built.is_reachable(built.namespace(web), "172.17.0.2", 80)
                assert not await built.is_reachable(docker, "172.18.0.2", 80)
            async with built.serving(built.namespace(web), 99):
                assert not await built.is_reachable(lan, "192.0.2.1", 99), "a user's rule comes first"
        run([f"iptables-{variant}-restore"], _DOCKERS_RULES)  # Docker starts anew
        await built.manager.check_rules()
        assert any("portside" in rule for rule in rules_of(variant))
        await built.manager.release(web.id)
        await built.manager.aclose()
        built.database.close()
        assert rules_of(variant) == before


@contextmanager
def neighbour_at_docker0() -> Iterator[Path]:
    with netns.new_namespace() as fd:
        path = netns.path_of(fd)
    try:
        run(["ip", "link", "add", "vd", "type", "veth", "peer", "name", "eth0", "netns", str(path)])
        ip("link set vd master docker0 up")
        for command in ("address add 172.17.0.2/16 dev eth0", "link set eth0 up", "route add default via 172.17.0.1"):
            run(["nsenter", f"--net={path}", "ip", *command.split()])
        yield path
    finally:
        os.close(fd)


async def test_changes_of_iptables_are_noticed(host: Lab) -> None:
    run(["iptables-nft", "-P", "FORWARD", "DROP"])
    await wait_until(lambda: any("portside" in rule for rule in rules_of("nft")))
    run(["iptables-nft", "-F", "FORWARD"])
    await wait_until(lambda: any("portside" in rule for rule in rules_of("nft")))
    await asyncio.sleep(0.5)
    assert len([rule for rule in rules_of("nft") if "portside" in rule]) == 2


async def test_forwarding_is_switched_on_for_our_bridge_only(tmp_path: Path) -> None:
    with own_host():
        Path("/proc/sys/net/ipv4/ip_forward").write_text("0")
        built = Lab(tmp_path, NetworkSettings())
        await built.manager.restore([])
        web = await built.run("web", ports=published(":8080:80/tcp"))
        assert Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() == "1"
        assert "-P FORWARD DROP" in rules_of("nft")
        with neighbour() as lan:
            async with built.serving(built.namespace(web), 80):
                assert await built.is_reachable(lan, "192.0.2.1", 8080)
        await built.manager.release(web.id)
        await built.manager.aclose()
        built.database.close()
