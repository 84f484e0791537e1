from __future__ import annotations

from typing import Any

import pytest

from engine.errors import Internal, InvalidArgument, NotFound, NotSupported
from engine.model.network import EndpointSettings
from engine.model.record import ContainerRecord
from engine.networks.legacylinks import (
    hosts_lines,
    link_environment,
    parse_link,
    resolve_links,
    shown_links,
    variables,
)


def record(name: str, mode: str = "bridge", *links: str, status: str = "running") -> ContainerRecord:
    made = ContainerRecord(id=name * 10, name=name, created_ns=0, networks={mode: EndpointSettings()})
    made.host_config.network_mode = mode
    made.host_config.links = list(links)
    made.state.status = status
    made.config.hostname = f"host-{name}"
    return made


def finder(*records: ContainerRecord) -> Any:
    def find(ref: str) -> ContainerRecord:
        for item in records:
            if ref in (item.id, item.name):
                return item
        raise NotFound(f"No such container: {ref}")

    return find


@pytest.mark.parametrize(
    ("text", "found"),
    [("db", ("db", "db")), ("db:data", ("db", "data")), ("/db:/web/data", ("db", "data"))],
)
def test_links_as_they_are_written(text: str, found: tuple[str, str]) -> None:
    assert parse_link(text) == found


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "empty string specified for links"), ("a:b:c", "bad format for links: a:b:c"), (":b", "bad format")],
)
def test_malformed_links(text: str, reason: str) -> None:
    with pytest.raises(InvalidArgument, match=reason):
        parse_link(text)


def test_links_are_kept_by_id_and_shown_by_name() -> None:
    db = record("db")
    web = record("web", "bridge", "db:data")
    web.links = resolve_links(web, finder(db), icc=True)
    assert web.links == {"data": db.id}
    db.name = "renamed"
    assert shown_links(web, finder(db)) == ["/renamed:/web/data"]
    assert shown_links(web, finder()) is None


@pytest.mark.parametrize(
    ("mode", "icc", "kind", "text"),
    [
        ("host", True, InvalidArgument, "host type networking can't be used with links"),
        ("container:x", True, InvalidArgument, "container type network can't be used with links"),
        ("bridge", False, NotSupported, "not supported while icc is false"),
    ],
)
def test_modes_without_links(mode: str, icc: bool, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        resolve_links(record("web", mode, "db"), finder(record("db")), icc=icc)


def test_containers_that_cannot_be_linked_to() -> None:
    with pytest.raises(InvalidArgument, match="could not get container for db: No such container: db"):
        resolve_links(record("web", "bridge", "db"), finder(), icc=True)
    with pytest.raises(InvalidArgument, match="host type networking"):
        resolve_links(record("web", "bridge", "db"), finder(record("db", "host")), icc=True)


def test_on_a_network_of_ones_own_links_are_the_name_servers() -> None:
    assert resolve_links(record("web", "red", "db"), finder(), icc=True) == {}


def test_the_environment_tells_ports_and_variables() -> None:
    found = variables(
        "my-db", "/web/my-db", "172.17.0.2", [(80, "tcp"), (81, "tcp"), (53, "udp")], ["A=b", "PATH=/x", "C"]
    )
    assert found[0] == "MY_DB_PORT=tcp://172.17.0.2:80"
    assert found[1:5] == [
        "MY_DB_PORT_80_TCP=tcp://172.17.0.2:80",
        "MY_DB_PORT_80_TCP_ADDR=172.17.0.2",
        "MY_DB_PORT_80_TCP_PORT=80",
        "MY_DB_PORT_80_TCP_PROTO=tcp",
    ]
    assert "MY_DB_PORT_80_TCP_PORT_END=81" in found
    assert "MY_DB_PORT_53_UDP=udp://172.17.0.2:53" in found
    assert found[-2:] == ["MY_DB_NAME=/web/my-db", "MY_DB_ENV_A=b"]


def test_a_link_to_a_container_that_does_not_run_keeps_from_starting() -> None:
    db, web = record("db", status="exited"), record("web")
    web.links = {"data": db.id}
    with pytest.raises(Internal, match="Cannot link to a non running container: /db AS /web/data"):
        link_environment(web, finder(db))


def test_a_linked_container_is_found_by_alias_host_name_and_name() -> None:
    db, web = record("db"), record("web")
    db.networks["bridge"].ip_address = "172.17.0.2"
    web.links = {"data": db.id}
    assert hosts_lines(web, finder(db)) == [("data host-db db", "172.17.0.2")]
