"""User-defined networks of a real engine, driven by the stock docker command line and killed at any instant."""

from __future__ import annotations

import json
import os
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.engine_process import EngineProcess

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    with EngineProcess(tmp_path_factory.mktemp("engine")) as made:
        made.load_busybox()
        yield made
    assert not made.bridges()


@pytest.fixture(autouse=True)
def _clean(engine: EngineProcess) -> Iterator[None]:
    yield
    for item in engine.api("GET", "/containers/json?all=1")[1]:
        engine.api("DELETE", f"/containers/{item['Id']}?force=1")
    for item in networks(engine):
        assert engine.api("DELETE", f"/networks/{item['Id']}")[0] == 204


def networks(engine: EngineProcess) -> list[dict[str, Any]]:
    """Return the networks that users made."""
    found: list[dict[str, Any]] = engine.api("GET", '/networks?filters={"type":["custom"]}')[1]
    return found


def make(engine: EngineProcess, name: str, **parts: Any) -> str:
    status, answer = engine.api("POST", "/networks/create", {"Name": name, **parts})
    assert status == 201, answer
    return str(answer["Id"])


def settings(engine: EngineProcess, container: str, network: str) -> dict[str, Any]:
    found: dict[str, Any] = engine.api("GET", f"/containers/{container}/json")[1]["NetworkSettings"]["Networks"][
        network
    ]
    return found


def says(engine: EngineProcess, container: str, *command: str) -> str:
    return engine.docker("exec", container, *command).stdout


def test_an_application_as_compose_brings_it_up(engine: EngineProcess) -> None:
    make(engine, "front")
    make(engine, "back", IPAM={"Config": [{"Subnet": "10.171.0.0/24"}]}, Internal=True)
    body = {
        "Image": "busybox",
        "Cmd": ["sleep", "300"],
        "HostConfig": {"NetworkMode": "front"},
        "NetworkingConfig": {
            "EndpointsConfig": {
                "front": {"Aliases": ["web", "www"]},
                "back": {"Aliases": ["api"], "IPAMConfig": {"IPv4Address": "10.171.0.10"}},
            }
        },
    }
    status, answer = engine.api("POST", "/containers/create?name=app-web-1", body)
    assert status == 201, answer
    engine.docker("start", "app-web-1")
    engine.docker(
        "run", "-d", "--name", "app-db-1", "--network", "back", "--network-alias", "db", "busybox", "sleep", "300"
    )
    assert settings(engine, "app-web-1", "back")["IPAddress"] == "10.171.0.10"
    assert set(settings(engine, "app-web-1", "front")["DNSNames"]) >= {"app-web-1", "web", "www"}
    assert "1 packets received" in says(engine, "app-db-1", "ping", "-c1", "-W3", "api")
    assert "1 packets received" in says(engine, "app-web-1", "ping", "-c1", "-W3", "db")
    assert engine.docker("exec", "app-db-1", "ping", "-c1", "-W1", "www", check=False).returncode != 0
    assert says(engine, "app-web-1", "cat", "/etc/resolv.conf").splitlines()[4] == "nameserver 127.0.0.11"


def test_a_container_is_connected_and_taken_off_while_it_does_not_run(engine: EngineProcess) -> None:
    make(engine, "red")
    engine.docker("create", "--name", "still", "busybox", "sleep", "300")
    engine.docker("network", "connect", "--alias", "here", "red", "still")
    assert settings(engine, "still", "red")["Aliases"] == ["here"]
    engine.docker("network", "connect", "red", "still")  # once more is no error, as with Docker
    engine.docker("start", "still")
    assert settings(engine, "still", "red")["IPAddress"]
    engine.docker("stop", "-t0", "still")
    assert settings(engine, "still", "red")["IPAddress"] == ""
    engine.docker("network", "disconnect", "bridge", "still")
    engine.docker("start", "still")
    found = engine.api("GET", "/containers/still/json")[1]["NetworkSettings"]["Networks"]
    assert list(found) == ["red"]
    assert "eth0" in says(engine, "still", "ip", "link")
    engine.docker("stop", "-t0", "still")
    failed = engine.docker("network", "disconnect", "bridge", "still", check=False)
    assert "is not connected to the network bridge" in failed.stderr


def test_networks_by_the_beginning_of_their_id(engine: EngineProcess) -> None:
    network_id = make(engine, "red")
    engine.docker("run", "-d", "--name", "one", "--network", network_id[:10], "busybox", "sleep", "300")
    assert settings(engine, "one", "red")["NetworkID"] == network_id
    engine.docker("run", "--rm", "--network", network_id, "busybox", "true")
    assert engine.docker("ps", "-q", "--filter", f"network={network_id[:12]}").stdout.strip()
    assert engine.docker("ps", "-q", "--filter", "network=red").stdout.strip()


def test_events_are_dockers(engine: EngineProcess) -> None:
    make(engine, "red")
    engine.docker("run", "--rm", "--network", "red", "busybox", "true")
    engine.docker("network", "rm", "red")
    status, text = engine.api("GET", f'/events?since=0&until={time.time() + 1:.9f}&filters={{"type":["network"]}}')
    assert status == 200
    events = [json.loads(line) for line in text.splitlines()]
    shown = [f"{event['Action']} {event['Actor']['Attributes'].get('name')}" for event in events]
    assert shown[-4:] == ["create red", "connect red", "disconnect red", "destroy red"]


def test_prune_takes_what_nobody_uses_and_filters_take(engine: EngineProcess) -> None:
    make(engine, "used")
    make(engine, "kept", Labels={"keep": "yes"})
    make(engine, "gone")
    engine.docker("run", "-d", "--name", "one", "--network", "used", "busybox", "sleep", "300")
    status, answer = engine.api("POST", '/networks/prune?filters={"until":["1h"]}')
    assert (status, answer) == (200, {"NetworksDeleted": None})
    status, answer = engine.api("POST", '/networks/prune?filters={"label!":["keep"]}')
    assert (status, answer) == (200, {"NetworksDeleted": ["gone"]})
    assert {item["Name"] for item in networks(engine)} == {"used", "kept"}


def test_renaming_a_container_renames_it_on_its_networks(engine: EngineProcess) -> None:
    make(engine, "red")
    engine.docker("run", "-d", "--name", "before", "--network", "red", "busybox", "sleep", "300")
    engine.docker("rename", "before", "after")
    out = engine.docker("run", "--rm", "--network", "red", "busybox", "ping", "-c1", "-W3", "after").stdout
    assert "1 packets received" in out
    found = engine.api("GET", "/networks/red")[1]["Containers"]
    assert [item["Name"] for item in found.values()] == ["after"]


# kill -9


def test_what_ran_on_networks_goes_on_and_can_be_changed_after_a_kill(engine: EngineProcess) -> None:
    make(engine, "red", IPAM={"Config": [{"Subnet": "10.172.0.0/24"}]})
    make(engine, "blue")
    engine.docker(
        "run", "-d", "--name", "one", "--network", "red", "-p", "127.0.0.1:18080:80", "busybox", "sleep", "300"
    )
    engine.docker("network", "connect", "blue", "one")
    engine.docker("run", "-d", "--name", "two", "--network", "red", "busybox", "sleep", "300")
    before = engine.api("GET", "/containers/one/json")[1]["NetworkSettings"]
    engine.kill()
    engine.start()
    after = engine.api("GET", "/containers/one/json")[1]["NetworkSettings"]
    assert (after["Networks"], after["Ports"]) == (before["Networks"], before["Ports"])
    assert "1 packets received" in says(engine, "two", "ping", "-c1", "-W3", "one")
    taken = engine.docker(
        "run",
        "--rm",
        "--network",
        "red",
        "--ip",
        before["Networks"]["red"]["IPAddress"],
        "busybox",
        "true",
        check=False,
    )
    assert "Address already in use" in taken.stderr
    engine.docker("network", "disconnect", "red", "one")
    assert "default via" in says(engine, "one", "ip", "route")
    assert before["Networks"]["red"]["IPAddress"] not in says(engine, "one", "ip", "addr")
    refused = engine.docker("network", "rm", "blue", check=False)
    assert "has active endpoints" in refused.stderr
    engine.docker("network", "connect", "red", "one")
    assert "1 packets received" in says(engine, "two", "ping", "-c1", "-W3", "one")


def test_a_kill_at_any_instant_leaves_no_bridge_without_a_network(engine: EngineProcess) -> None:
    chance = random.Random(4)
    make(engine, "kept", IPAM={"Config": [{"Subnet": "10.173.0.0/24"}]})
    engine.docker("run", "-d", "--name", "one", "--network", "kept", "busybox", "sleep", "300")
    for _ in range(8):
        stopping = threading.Event()

        def churn(stopping: threading.Event = stopping) -> None:
            number = 0
            with suppress(OSError, ValueError, IndexError):
                while not stopping.is_set():
                    number += 1
                    engine.api("POST", "/networks/create", {"Name": f"n{number}"}, timeout_s=5)
                    engine.api("POST", "/networks/kept/connect", {"Container": "one"}, timeout_s=5)
                    engine.api("POST", f"/networks/n{number}/connect", {"Container": "one"}, timeout_s=5)
                    engine.api("POST", f"/networks/n{number}/disconnect", {"Container": "one"}, timeout_s=5)
                    if number % 2:
                        engine.api("DELETE", f"/networks/n{number}", timeout_s=5)

        worker = threading.Thread(target=churn)
        worker.start()
        stopping.wait(chance.uniform(0.05, 0.5))
        engine.kill()
        stopping.set()
        worker.join()
        engine.start()
        names = {f"br-{item['Id'][:12]}" for item in networks(engine)}
        made = {name for name in engine.bridges() if name.startswith("br-")}
        assert made == names
        table = subprocess.run(
            ["nft", "list", "table", "inet", engine.instance], capture_output=True, text=True, check=True
        ).stdout
        assert {f"br-{part[:12]}" for part in table.split("chain to_")[1:]} >= names
        found = engine.api("GET", "/containers/one/json")[1]
        assert found["State"]["Running"]
        listed = found["NetworkSettings"]["Networks"]
        addresses = says(engine, "one", "ip", "-4", "-o", "addr")
        for endpoint in listed.values():
            assert f"{endpoint['IPAddress']}/" in addresses
        assert addresses.count("inet ") == len(listed) + 1
        for item in networks(engine):
            if item["Name"] != "kept":
                engine.api("POST", f"/networks/{item['Id']}/disconnect", {"Container": "one"})
                assert engine.api("DELETE", f"/networks/{item['Id']}")[0] == 204


def test_networks_come_back_with_the_engine(engine: EngineProcess) -> None:
    network_id = make(engine, "red", IPAM={"Config": [{"Subnet": "10.177.0.0/24"}]}, EnableIPv6=True)
    before = engine.api("GET", "/networks/red")[1]
    engine.stop()
    assert not engine.bridges()
    engine.start()
    assert engine.api("GET", "/networks/red")[1] == before
    assert f"br-{network_id[:12]}" in engine.bridges()
    engine.docker("run", "-d", "--name", "one", "--network", "red", "busybox", "sleep", "300")
    assert settings(engine, "one", "red")["IPAddress"] == "10.177.0.2"
    out = engine.docker("run", "--rm", "--network", "red", "busybox", "ping", "-6", "-c1", "-W3", "one").stdout
    assert "1 packets received" in out


def test_a_container_that_restarts_itself_keeps_its_networks(engine: EngineProcess) -> None:
    make(engine, "red", IPAM={"Config": [{"Subnet": "10.178.0.0/24"}]})
    make(engine, "blue")
    engine.docker(
        "create",
        "--name",
        "one",
        "--restart",
        "always",
        "--network",
        "red",
        "--ip",
        "10.178.0.9",
        "busybox",
        "sleep",
        "300",
    )
    engine.docker("network", "connect", "--alias", "here", "blue", "one")
    engine.docker("start", "one")
    engine.docker("run", "-d", "--name", "two", "--network", "blue", "busybox", "sleep", "300")
    for _ in range(3):
        engine.docker("restart", "-t0", "one")
        assert settings(engine, "one", "red")["IPAddress"] == "10.178.0.9"
        assert "1 packets received" in says(engine, "two", "ping", "-c1", "-W3", "here")


def test_two_engines_leave_each_others_networks_alone(engine: EngineProcess, tmp_path: Path) -> None:
    make(engine, "red")
    mine = set(engine.bridges())
    (tmp_path / "other").mkdir()
    with EngineProcess(tmp_path / "other") as other:
        make(other, "red")
        theirs = set(other.bridges())
        assert not mine & theirs
        other.kill()
        other.start()
        assert set(engine.bridges()) == mine
        subnets = [item["IPAM"]["Config"][0]["Subnet"] for side in (engine, other) for item in networks(side)]
        assert len(set(subnets)) == 2
        engine.api("POST", "/networks/prune")
        assert set(other.bridges()) == theirs
        assert other.api("DELETE", "/networks/red")[0] == 204


# Bad input


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({"Name": "x", "IPAM": {"Config": [{"Subnet": "10.174.0.1/24"}]}}, 400, "it should be 10.174.0.0/24"),
        ({"Name": "x", "IPAM": {"Config": "no"}}, 400, "invalid JSON"),
        ({"Name": "x", "IPAM": {"Config": [{"Subnet": "10.174.0.0/24", "Gateway": "10.175.0.1"}]}}, 400, "gateway"),
        (
            {"Name": "x", "Options": {"com.docker.network.bridge.name": "lo"}},
            500,
            "existing interface lo is not a bridge",
        ),
        ({"Name": "x", "Options": {"com.docker.network.bridge.name": "../../x"}}, 400, "invalid interface name"),
        ({"Name": "x", "Driver": "../x"}, 404, "not found"),
        ({"Name": "bridge"}, 403, "predefined"),
        ({"Name": ""}, 400, "name is empty"),
        ({}, 400, "name is empty"),
        ({"Name": "x", "Labels": {"a": 1}}, 400, "invalid JSON"),
        ({"Name": "x", "EnableIPv4": False}, 400, "IPv4 or IPv6 must be enabled"),
    ],
)
def test_requests_that_are_refused(engine: EngineProcess, body: dict[str, Any], status: int, text: str) -> None:
    before = engine.bridges()
    found, answer = engine.api("POST", "/networks/create", body)
    assert (found, text in answer["message"]) == (status, True), answer
    assert engine.bridges() == before
    assert networks(engine) == []


def test_a_name_and_a_bridge_that_are_taken(engine: EngineProcess) -> None:
    options = {"com.docker.network.bridge.name": "psdtest0"}
    make(engine, "red", Options=options, IPAM={"Config": [{"Subnet": "10.176.0.0/24"}]})
    assert engine.api("POST", "/networks/create", {"Name": "red"})[0] == 409
    status, answer = engine.api("POST", "/networks/create", {"Name": "blue", "Options": options})
    assert status == 403
    assert "networks have same bridge name" in answer["message"]
    status, answer = engine.api(
        "POST", "/networks/create", {"Name": "blue", "IPAM": {"Config": [{"Subnet": "10.176.0.128/25"}]}}
    )
    assert (status, answer["message"]) == (
        403,
        "invalid pool request: Pool overlaps with other one on this address space",
    )


@pytest.mark.parametrize(
    ("network", "body", "status", "text"),
    [
        ("nope", {"Container": "one"}, 404, "network nope not found"),
        ("red", {"Container": "nope"}, 404, "No such container: nope"),
        ("red", {"Container": ""}, 400, 'invalid name or ID supplied: ""'),
        ("red", {"Container": "one"}, 403, "endpoint with name one already exists in network red"),
        ("host", {"Container": "one"}, 400, "container must be created in host network mode"),
        (
            "blue",
            {"Container": "one", "EndpointConfig": {"IPAMConfig": {"IPv4Address": "10.0.0.300"}}},
            400,
            "invalid IPv4",
        ),
        ("blue", {"Container": "one", "EndpointConfig": {"MacAddress": "zz"}}, 400, "invalid MAC address zz"),
        (
            "blue",
            {"Container": "one", "EndpointConfig": {"DriverOpts": {"com.docker.network.x": "y"}}},
            501,
            "driver option com.docker.network.x",
        ),
        ("blue", {"Container": "one", "EndpointConfig": 3}, 400, "invalid JSON"),
    ],
)
def test_connections_that_are_refused(
    engine: EngineProcess, network: str, body: dict[str, Any], status: int, text: str
) -> None:
    make(engine, "red")
    make(engine, "blue")
    engine.docker("run", "-d", "--name", "one", "--network", "red", "busybox", "sleep", "300")
    before = engine.api("GET", "/containers/one/json")[1]["NetworkSettings"]["Networks"]
    found, answer = engine.api("POST", f"/networks/{network}/connect", body)
    assert (found, text in answer["message"]) == (status, True), answer
    assert engine.api("GET", "/containers/one/json")[1]["NetworkSettings"]["Networks"] == before
    assert "eth1" not in says(engine, "one", "ip", "link")


# Links of the default bridge


def test_a_container_finds_what_it_is_linked_to(engine: EngineProcess) -> None:
    engine.docker("run", "-d", "--name", "db", "-e", "SECRET=x", "--expose", "5432", "busybox", "sleep", "300")
    engine.docker("run", "-d", "--name", "web", "--link", "db:data", "busybox", "sleep", "300")
    address = engine.api("GET", "/containers/db/json")[1]["NetworkSettings"]["IPAddress"]
    assert "1 packets received" in says(engine, "web", "ping", "-c1", "-W3", "data")
    environment = says(engine, "web", "env").splitlines()
    assert f"DATA_PORT_5432_TCP_ADDR={address}" in environment
    assert {"DATA_NAME=/web/data", "DATA_ENV_SECRET=x"} <= set(environment)
    assert engine.api("GET", "/containers/web/json")[1]["HostConfig"]["Links"] == ["/db:/web/data"]
    # It is found at its new address when it was started again.
    engine.docker("stop", "-t0", "db")
    engine.docker("run", "-d", "--name", "third", "busybox", "sleep", "300")
    engine.docker("start", "db")
    moved = engine.api("GET", "/containers/db/json")[1]["NetworkSettings"]["IPAddress"]
    assert moved != address
    assert f"{moved}\tdata " in says(engine, "web", "cat", "/etc/hosts")
    engine.docker("rm", "--link", "/web/data")
    assert engine.api("GET", "/containers/web/json")[1]["HostConfig"]["Links"] is None


def test_links_that_are_refused(engine: EngineProcess) -> None:
    failed = engine.docker("create", "--link", "nope", "busybox", check=False)
    assert "could not get container for nope: No such container: nope" in failed.stderr
    engine.docker("create", "--name", "still", "busybox")
    failed = engine.docker("run", "--name", "web", "--link", "still", "busybox", check=False)
    assert "Cannot link to a non running container: /still AS /web/still" in failed.stderr
