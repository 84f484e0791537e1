from __future__ import annotations

from typing import Any

import pytest

from engine.errors import InvalidArgument, NotFound, NotSupported
from engine.model.container import PortBinding
from engine.model.network import EndpointIPAMConfig, EndpointSettings
from engine.model.record import ContainerRecord
from engine.networks.validation import check_record, check_start


def record(mode: str = "bridge", **networks: EndpointSettings) -> ContainerRecord:
    made = ContainerRecord(id="a" * 64, name="web", created_ns=0, networks=networks or {mode: EndpointSettings()})
    made.host_config.network_mode = mode
    return made


def check(made: ContainerRecord) -> list[str]:
    def find(container_ref: str) -> ContainerRecord:
        if container_ref == "b":
            raise NotFound("No such container: b")
        return made

    return check_record(made, find, lambda name: None)


@pytest.mark.parametrize("mode", ["bridge", "host", "none", "nope", "container:b"])
def test_modes_that_a_container_can_be_created_with(mode: str) -> None:
    assert check(record(mode)) == []


def test_joining_itself() -> None:
    with pytest.raises(InvalidArgument, match="cannot join own network namespace"):
        check(record("container:web"))


@pytest.mark.parametrize(
    ("mode", "others", "text"),
    [
        ("bridge", ["bridge", "host"], "container must be created in host network mode"),
        ("host", ["host", "bridge"], "container sharing network namespace with another container or host"),
        ("none", ["none", "bridge"], "multiple networks with one of the networks in private"),
    ],
)
def test_networks_that_exclude_each_other_are_refused_at_the_start(mode: str, others: list[str], text: str) -> None:
    made = record(mode, **{name: EndpointSettings() for name in others})
    assert check(made) == []
    with pytest.raises(InvalidArgument, match=text):
        check_start(made)


def test_without_a_network_of_its_mode_a_container_has_the_others() -> None:
    check_start(record("none", red=EndpointSettings()))
    check_start(record("host", host=EndpointSettings()))


@pytest.mark.parametrize(
    ("settings", "kind", "text"),
    [
        (
            {"ipam_config": EndpointIPAMConfig(ipv4_address="172.17.0.9")},
            InvalidArgument,
            "user defined networks",
        ),
        ({"aliases": ["db"]}, InvalidArgument, "network-scoped alias is supported only"),
        ({"mac_address": "02:42"}, InvalidArgument, "invalid MAC address 02:42"),
        ({"links": ["db:db"]}, NotSupported, "links"),
        ({"driver_opts": {"com.docker.network.x": "y"}}, NotSupported, "driver option com.docker.network.x"),
    ],
)
def test_endpoint_settings_that_the_default_bridge_lacks(
    settings: dict[str, Any], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=text):
        check(record("bridge", bridge=EndpointSettings(**settings)))


@pytest.mark.parametrize(
    ("key", "binding"),
    [
        ("0/tcp", PortBinding()),
        ("80/icmp", PortBinding()),
        ("80/tcp", PortBinding(host_port="99999")),
        ("80/tcp", PortBinding(host_port="90-80")),
        ("80/tcp", PortBinding(host_ip="somewhere")),
    ],
)
def test_malformed_ports(key: str, binding: PortBinding) -> None:
    made = record()
    made.host_config.port_bindings = {key: [binding]}
    with pytest.raises(InvalidArgument):
        check(made)
