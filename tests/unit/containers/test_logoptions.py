"""Sizes, and what of a container goes beside its log lines."""

from __future__ import annotations

import pytest

from engine.containers.logoptions import check_log_options, log_attributes, parse_size
from engine.errors import InvalidArgument, NotSupported
from engine.model.container import ContainerConfig, HostConfig, LogConfig
from engine.model.record import ContainerRecord


def record(**options: str) -> ContainerRecord:
    return ContainerRecord(
        id="0123456789abcdef" * 4,
        name="web",
        created_ns=1,
        image_id="sha256:" + "f" * 64,
        path="/bin/serve",
        args=["-a"],
        config=ContainerConfig(image="nginx:1", labels={"tier": "db", "team.name": "x"}, env=["A=1", "B=2=3", "C"]),
        host_config=HostConfig(log_config=LogConfig(type="json-file", config=options)),
    )


@pytest.mark.parametrize(
    ("text", "size"),
    [("10m", 10_000_000), ("1.5k", 1500), ("7", 7), ("2 GB", 2_000_000_000), ("1KiB", 1000), ("3b", 3)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "m", "-1", "1x", "1 2"])
def test_bad_sizes(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid size"):
        parse_size(text)


def test_attributes() -> None:
    assert log_attributes(record()) == {}
    assert log_attributes(record(labels="tier,none", env="B,C,none")) == {"tier": "db", "B": "2=3", "C": ""}
    found = log_attributes(record(**{"labels-regex": "^team", "env-regex": "^[AB]$"}))
    assert found == {"team.name": "x", "A": "1", "B": "2=3"}


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        ("{{.Name}}/{{ .ID }}", "web/0123456789ab"),
        ("plain", "plain"),
        ("{{.ImageName}} {{.ImageID}} {{.Command}}", "nginx:1 ffffffffffff /bin/serve -a"),
    ],
)
def test_tags(tag: str, text: str) -> None:
    check_log_options("json-file", {"tag": tag})
    assert log_attributes(record(tag=tag)) == {"tag": text}


def test_what_is_refused() -> None:
    with pytest.raises(NotSupported, match="template"):
        check_log_options("json-file", {"tag": "{{.Nosuch}}"})
    with pytest.raises(InvalidArgument, match="labels-regex"):
        check_log_options("json-file", {"labels-regex": "["})
