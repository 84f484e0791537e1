from __future__ import annotations

import pytest

from engine.errors import Internal, InvalidArgument, NotFound
from engine.model.container import ContainerConfig
from engine.model.inspect import ContainerInspect
from engine.model.network import EndpointSettings, NetworkContainer, NetworkInspect
from engine.server.networks import find, select, with_old_aliases


def networks() -> list[NetworkInspect]:
    return [
        NetworkInspect(name="bridge", id="aaa1", driver="bridge", containers={"x": NetworkContainer(name="web")}),
        NetworkInspect(name="host", id="aab2", driver="host"),
        NetworkInspect(name="none", id="bbb3", driver="null"),
    ]


def names(found: list[NetworkInspect]) -> list[str]:
    return [network.name for network in found]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["bridge", "host", "none"]),
        ({"driver": ["bridge", "null"]}, ["bridge", "none"]),
        ({"name": ["o"]}, ["host", "none"]),
        ({"id": ["^aa"]}, ["bridge", "host"]),
        ({"scope": ["swarm"]}, []),
        ({"label": ["x"]}, []),
        ({"dangling": ["true"]}, []),
        ({"dangling": ["0"]}, ["bridge", "host", "none"]),
        ({"type": ["builtin"]}, ["bridge", "host", "none"]),
        ({"type": ["custom"]}, []),
    ],
)
def test_filters(filters: dict[str, list[str]], expected: list[str]) -> None:
    assert names(select(networks(), filters)) == expected


@pytest.mark.parametrize("filters", [{"dangling": ["true", "false"]}, {"dangling": ["x"]}])
def test_malformed_filters(filters: dict[str, list[str]]) -> None:
    with pytest.raises(InvalidArgument):
        select(networks(), filters)


def test_an_unknown_type_is_a_fault_of_the_engine_as_with_docker() -> None:
    with pytest.raises(Internal, match="invalid filter: 'type'='x'"):
        select(networks(), {"type": ["x"]})


def test_networks_are_found_by_name_id_and_its_beginning() -> None:
    assert find(networks(), "host").id == "aab2"
    assert find(networks(), "aaa1").name == "bridge"
    assert find(networks(), "b").name == "none"
    with pytest.raises(InvalidArgument, match="network aa is ambiguous"):
        find(networks(), "aa")
    with pytest.raises(NotFound, match="network nope not found"):
        find(networks(), "nope")


def test_old_clients_see_short_id_and_host_name_as_aliases() -> None:
    view = ContainerInspect(id="ab" * 32, config=ContainerConfig(hostname="host"))
    view.network_settings.networks = {
        "own": EndpointSettings(aliases=["db", "host"]),
        "bridge": EndpointSettings(),
    }
    shown = with_old_aliases(view)
    assert shown["own"].aliases == ["db", "host", "abababababab"]
    assert shown["bridge"].aliases is None
    assert view.network_settings.networks["own"].aliases == ["db", "host"]
