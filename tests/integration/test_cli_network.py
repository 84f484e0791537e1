"""``portside network`` on a real engine: what it prints, what it makes, what it completes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine_process import EngineProcess

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
_TREE = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    with EngineProcess(tmp_path_factory.mktemp("engine")) as made:
        made.load_busybox()
        yield made


def portside(engine: EngineProcess, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "engine.cli", "-H", engine.url, *words],
        cwd=engine.folder,
        env={"PATH": os.environ["PATH"], "HOME": str(engine.folder), "PYTHONPATH": str(_TREE)},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_networks_life(engine: EngineProcess) -> None:
    made = portside(
        engine, "network", "create", "--subnet", "10.181.0.0/24,fd00:181::/64", "--ipv6", "--gateway", "10.181.0.9",
        "--aux-address", "printer=10.181.0.8", "--label", "a=b", "-o", "com.docker.network.driver.mtu=1400", "red",
    )  # fmt: skip
    assert (made.returncode, made.stderr, len(made.stdout)) == (0, "", 65)
    shown = engine.api("GET", "/networks/red")[1]
    assert shown["IPAM"]["Config"] == [
        {"Subnet": "10.181.0.0/24", "Gateway": "10.181.0.9", "AuxiliaryAddresses": {"printer": "10.181.0.8"}},
        {"Subnet": "fd00:181::/64"},
    ]
    assert (shown["Labels"], shown["EnableIPv6"]) == ({"a": "b"}, True)
    assert portside(engine, "network", "ls", "--filter", "label=a", "--format", "{{.Name}}").stdout == "red\n"
    engine.docker("run", "-d", "--name", "one", "busybox", "sleep", "300")
    connected = portside(
        engine, "network", "connect", "--ip", "10.181.0.7", "--alias", "x,y", "--gw-priority", "3", "red", "one"
    )
    assert (connected.returncode, connected.stdout, connected.stderr) == (0, "", "")
    endpoint = engine.api("GET", "/containers/one/json")[1]["NetworkSettings"]["Networks"]["red"]
    assert (endpoint["IPAddress"], endpoint["Aliases"], endpoint["GwPriority"]) == ("10.181.0.7", ["x", "y"], 3)
    assert portside(engine, "network", "inspect", "-f", "{{len .Containers}}", "red").stdout == "1\n"
    busy = portside(engine, "network", "rm", "red")
    assert busy.returncode == 1
    assert "has active endpoints" in busy.stderr
    assert portside(engine, "network", "disconnect", "red", "one").returncode == 0
    assert portside(engine, "network", "rm", "red").stdout == "red\n"


def test_prune_asks_and_tells(engine: EngineProcess) -> None:
    portside(engine, "network", "create", "blue")
    refused = portside(engine, "network", "prune", stdin="n\n")
    assert (refused.returncode, "network prune has been cancelled" in refused.stderr) == (1, True)
    pruned = portside(engine, "network", "prune", stdin="y\n")
    assert pruned.stdout.endswith("Deleted Networks:\nblue\n\n")


def test_completion_knows_networks_and_then_containers(engine: EngineProcess) -> None:
    portside(engine, "network", "create", "green")
    engine.docker("create", "--name", "gone", "busybox")
    assert portside(engine, "__complete", "network", "connect", "g").stdout == "green\n"
    assert portside(engine, "__complete", "network", "connect", "--alias", "x", "green", "g").stdout == "gone\n"
    assert portside(engine, "__complete", "network", "rm", "green", "gr").stdout == "green\n"
    assert "--subnet" in portside(engine, "__complete", "network", "create", "--su").stdout
    assert portside(engine, "network", "rm", "green").returncode == 0
