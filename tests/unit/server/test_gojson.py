"""JSON as Go reads it: what is taken, and the words for what is not (dockerd 28.5's, where it was asked)."""

from __future__ import annotations

import pytest

from engine.errors import InvalidArgument
from engine.model.container import ContainerCreateRequest, HostConfig
from engine.model.execution import ExecCreateRequest
from engine.model.volume import VolumeCreateRequest
from engine.server.gojson import read_json


def test_names_match_whatever_their_case() -> None:
    read = read_json(
        b'{"image": "a", "CMD": ["b"], "hostConfig": {"memory": 5, "Binds": ["x:/y"]}}', ContainerCreateRequest
    )
    assert (read.image, read.cmd) == ("a", ["b"])
    assert isinstance(read.host_config, HostConfig)
    assert (read.host_config.memory, read.host_config.binds) == (5, ["x:/y"])
    assert read_json(b'{"Cmd": ["a"], "detachKeys": "ctrl-p"}', ExecCreateRequest).detach_keys == "ctrl-p"


def test_names_in_maps_are_kept_as_they_are() -> None:
    assert read_json(b'{"Labels": {"A": "1", "a": "2"}}', VolumeCreateRequest).labels == {"A": "1", "a": "2"}


def test_null_is_absent_and_unknown_names_are_ignored() -> None:
    body = b'{"Image": null, "Nonsense": {"x": [null]}, "Labels": {"a": null, "b": "c"}, "Volumes": {"/v": null}}'
    read = read_json(body, ContainerCreateRequest)
    assert (read.image, read.labels) == ("", {"a": "", "b": "c"})
    assert read.volumes == {"/v": {}}
    assert read_json(b"null", VolumeCreateRequest) == VolumeCreateRequest()
    assert read_json(b'{"Cmd": [null, "x"]}', ExecCreateRequest).cmd == ["", "x"]


def test_a_command_may_be_one_string() -> None:
    read = read_json(b'{"Cmd": "true", "Entrypoint": "sh", "HostConfig": {"CapAdd": "ALL"}}', ContainerCreateRequest)
    assert isinstance(read.host_config, HostConfig)
    assert (read.cmd, read.entrypoint, read.host_config.cap_add) == (["true"], ["sh"], ["ALL"])


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        (b'{"Image": 5}', ContainerCreateRequest, "number into Go struct field .Image of type string"),
        (b'"busybox"', ContainerCreateRequest, "string into Go value of type container.CreateRequest"),
        (b"[]", ContainerCreateRequest, "array into Go value of type container.CreateRequest"),
        (b'{"Cmd": {"a": 1}}', ContainerCreateRequest, "object into Go value of type string"),
        (
            b'{"HostConfig": []}',
            ContainerCreateRequest,
            "array into Go struct field .HostConfig of type container.HostConfig",
        ),
        (
            b'{"HostConfig": {"Memory": "many"}}',
            ContainerCreateRequest,
            "string into Go struct field .HostConfig.Memory of type int64",
        ),
        (
            b'{"HostConfig": {"Memory": 1.5}}',
            ContainerCreateRequest,
            "number 1.5 into Go struct field .HostConfig.Memory of type int64",
        ),
        (
            b'{"HostConfig": {"Memory": 9223372036854775808}}',
            ContainerCreateRequest,
            "number 9223372036854775808 into Go struct field .HostConfig.Memory of type int64",
        ),
        (b'{"Cmd": "true"}', ExecCreateRequest, "string into Go struct field ExecOptions.Cmd of type []string"),
        (b'{"Name": 5}', VolumeCreateRequest, "number into Go struct field CreateOptions.Name of type string"),
        (
            b'{"Labels": {"a": 5}}',
            VolumeCreateRequest,
            "number into Go struct field CreateOptions.Labels of type string",
        ),
        (b'{"AttachStdin": 1}', ContainerCreateRequest, "number into Go struct field .AttachStdin of type bool"),
    ],
)
def test_what_does_not_fit_is_told_as_go_tells_it(data: bytes, kind: type[object], message: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        read_json(data, kind)
    assert raised.value.message == f"invalid JSON: json: cannot unmarshal {message}"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"Image": "busybox"', "invalid JSON: unexpected EOF"),
        (b"{} {}", "unexpected content after JSON"),
        (b"?", "invalid JSON: invalid character '?' looking for beginning of value"),
        (b"{" * 100_000, "invalid JSON"),
        (b"[" * 100_000, "invalid JSON"),
        (b'{"Image": "\xff"}', "invalid JSON"),
        (b'{"HostConfig": {"Memory": 1e400}}', "invalid JSON"),
    ],
)
def test_what_is_no_json_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        read_json(data, ContainerCreateRequest)
    assert raised.value.message.startswith(message)
