"""The list of containers: each filter as moby decides it, order and limit, rows that are kept."""

from __future__ import annotations

import json

import pytest

from engine.containers.container import Container
from engine.containers.listing import ALLOWED_FILTERS, ContainerListing, ListQuery, build_query
from engine.errors import InvalidArgument, NotFound
from engine.model.container import ContainerConfig, HostConfig, PortBinding
from engine.model.inspect import Health
from engine.model.network import EndpointSettings
from engine.model.record import ContainerRecord, MountRecord, StateRecord

WEB, DB, JOB, NEW = "web", "db", "job", "new"


def containers() -> dict[str, ContainerRecord]:
    """Return four containers: two that live, one that failed, one that was never started."""
    made = {
        name: ContainerRecord(id=letter * 64, name=name, created_ns=number, image_id=f"sha256:{letter * 64}")
        for number, (name, letter) in enumerate(zip((WEB, DB, JOB, NEW), "abcd", strict=True), 1)
    }
    made[WEB].state = StateRecord(status="running", started_ns=5, health=Health(status="healthy"))
    made[WEB].config = ContainerConfig(image="nginx", labels={"tier": "front"}, exposed_ports={"80/tcp": {}})
    made[WEB].host_config = HostConfig(port_bindings={"80/tcp": [PortBinding(host_port="8080")]})
    made[WEB].ports = {"80/tcp": [PortBinding(host_ip="0.0.0.0", host_port="8080")]}
    made[WEB].networks = {"bridge": EndpointSettings(network_id="f" * 64)}
    made[DB].state = StateRecord(status="paused", started_ns=5)
    made[DB].mounts = [
        MountRecord(type="volume", name="pgdata", source="/v/pgdata", destination="/var/lib/pg"),
        MountRecord(type="bind", source="/srv/conf", destination="/etc/pg"),
    ]
    made[JOB].state = StateRecord(status="exited", started_ns=5, finished_ns=6, exit_code=3)
    made[JOB].config = ContainerConfig(labels={"tier": "back", "once": ""})
    return made


def listed(filters: dict[str, list[str]], *, all_: bool = True, limit: int = 0) -> list[str]:
    """Return the names that a list with filters shows."""
    records = containers()

    def find(name: str) -> ContainerRecord:
        if name not in records:
            raise NotFound(f"No such container: {name}")
        return records[name]

    query = build_query(
        all_=all_, limit=limit, filters=filters, find=find, find_image={"nginx": "sha256:" + "a" * 64}.get
    )
    listing = ContainerListing(lambda record: record.config.image)
    return [record.name for record in listing.select(query, records.values())]


def test_without_all_only_what_lives_is_listed_newest_first() -> None:
    assert listed({}, all_=False) == [DB, WEB]
    assert listed({}) == [NEW, JOB, DB, WEB]


def test_a_limit_shows_the_newest_also_of_what_is_stopped() -> None:
    assert listed({}, all_=False, limit=2) == [NEW, JOB]


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({"status": ["running"]}, [WEB]),
        ({"status": ["paused", "created"]}, [NEW, DB]),
        ({"health": ["healthy"]}, [WEB]),
        ({"health": ["none"]}, [NEW, JOB, DB]),
        ({"exited": ["3"]}, [JOB]),
        ({"exited": ["0"]}, []),
        ({"name": ["^/w"]}, [WEB]),
        ({"name": ["b"]}, [JOB, DB, WEB]),
        ({"name": ["["]}, []),
        ({"id": ["bbb"]}, [DB]),
        ({"id": ["^c+$"]}, [JOB]),
        ({"label": ["tier"]}, [JOB, WEB]),
        ({"label": ["tier=back", "once"]}, [JOB]),
        ({"ancestor": ["nginx"]}, [WEB]),
        ({"ancestor": ["nothing"]}, []),
        ({"before": [JOB]}, [DB, WEB]),
        ({"since": [DB]}, [NEW, JOB]),
        ({"volume": ["pgdata"]}, [DB]),
        ({"volume": ["/var/lib/pg"]}, [DB]),
        ({"volume": ["/srv/conf"]}, [DB]),
        ({"volume": ["/v/pgdata"]}, []),
        ({"network": ["bridge"]}, [WEB]),
        ({"network": ["ffff"]}, [WEB]),
        ({"network": ["host"]}, []),
        ({"publish": ["8080"]}, [WEB]),
        ({"publish": ["8000-8100/tcp"]}, [WEB]),
        ({"publish": ["80"]}, []),
        ({"publish": ["8080/udp"]}, []),
        ({"expose": ["80"]}, [WEB]),
        ({"expose": ["79-81"]}, [WEB]),
        ({"expose": ["8080"]}, []),
        ({"is-task": ["false"]}, [NEW, JOB, DB, WEB]),
        ({"is-task": ["true"]}, []),
        ({"isolation": ["default"]}, [NEW, JOB, DB, WEB]),
    ],
)
def test_each_filter_decides_as_mobys(filters: dict[str, list[str]], names: list[str]) -> None:
    assert listed(filters) == names


def test_a_status_filter_looks_at_all_and_an_exit_code_does_not() -> None:
    assert listed({"status": ["exited"]}, all_=False) == [JOB]
    assert listed({"exited": ["3"]}, all_=False) == []


@pytest.mark.parametrize(
    ("filters", "text"),
    [
        (
            {"status": ["up"]},
            "invalid filter 'status=up': invalid value for state (up): must be one of "
            "created, running, paused, restarting, removing, exited, dead",
        ),
        (
            {"health": ["fine"]},
            "invalid filter 'health=fine': invalid value for health (fine): must be one of "
            "none, starting, healthy, unhealthy",
        ),
        ({"exited": ["x"]}, "invalid filter 'exited=x': strconv.Atoi: parsing \"x\": invalid syntax"),
        ({"is-task": ["maybe"]}, "invalid filter 'is-task=[maybe]'"),
        ({"publish": ["127.0.0.1:80"]}, "filter for 'publish' should not contain ':': 127.0.0.1:80"),
        (
            {"expose": ["http"]},
            'error while looking up for expose http: strconv.ParseUint: parsing "http": invalid syntax',
        ),
        ({"publish": ["90-80"]}, "error while looking up for publish 90-80: invalid range specified for port: 90-80"),
    ],
)
def test_a_filter_that_cannot_be_has_mobys_text(filters: dict[str, list[str]], text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        listed(filters)
    assert caught.value.message == text


def test_before_and_since_name_containers_that_are_there() -> None:
    with pytest.raises(NotFound, match="No such container: none"):
        listed({"before": ["none"]})


def test_all_filters_of_the_api_are_allowed() -> None:
    wanted = "ancestor before expose exited health id isolation is-task label name network publish since status volume"
    assert set(wanted.split()) == ALLOWED_FILTERS


def test_a_row_is_kept_until_its_container_changes() -> None:
    records = containers()
    calls: list[str] = []

    def image_name(record: ContainerRecord) -> str:
        calls.append(record.name)
        return record.config.image

    listing = ContainerListing(image_name)
    first = json.loads(listing.encode([records[WEB]]))
    assert json.loads(listing.encode([records[WEB]]))[0]["Id"] == first[0]["Id"]
    assert calls == [WEB]
    assert first[0]["Status"].endswith("(healthy)")
    assert first[0]["Names"] == ["/web"]
    records[WEB].name = "renamed"
    listing.container_changed(Container(records[WEB]))
    assert json.loads(listing.encode([records[WEB]]))[0]["Names"] == ["/renamed"]
    listing.forget_all()
    listing.encode([records[WEB]])
    assert len(calls) == 3


def test_no_label_can_pass_for_the_status() -> None:
    records = containers()
    records[WEB].config.labels = {"Status": "status goes here", '"Status":"': "x", "é": "\\"}
    listing = ContainerListing(lambda record: record.config.image)
    row = json.loads(listing.encode([records[WEB]]))[0]
    assert row["Labels"] == records[WEB].config.labels
    assert row["Status"].startswith("Up ")


def test_sizes_are_shown_when_they_were_measured() -> None:
    listing = ContainerListing(lambda record: record.config.image)
    record = containers()[DB]
    plain = json.loads(listing.encode([record]))[0]
    assert "SizeRw" not in plain
    sized = json.loads(listing.encode([record], {record.id: (5, 100)}))[0]
    assert (sized["SizeRw"], sized["SizeRootFs"]) == (5, 100)


def test_annotations_are_left_out_for_old_versions() -> None:
    listing = ContainerListing(lambda record: record.config.image)
    record = containers()[DB]
    record.host_config.annotations = {"a": "b"}
    assert json.loads(listing.encode([record]))[0]["HostConfig"]["Annotations"] == {"a": "b"}
    assert "Annotations" not in json.loads(listing.encode([record], annotations=False))[0]["HostConfig"]


def test_a_query_without_anything_takes_what_lives() -> None:
    assert ListQuery().matches(containers()[WEB])
    assert not ListQuery().matches(containers()[NEW])
