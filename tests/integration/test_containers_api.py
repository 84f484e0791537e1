"""Operations on containers at their edges: waits, resizes, prunes, checkpoints, in Docker's words."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.engine_process import EngineProcess


def create(engine: EngineProcess, *command: str, name: str = "", **fields: Any) -> str:
    body = {"Image": "busybox", "Cmd": list(command), **fields}
    status, made = engine.api("POST", f"/containers/create{f'?name={name}' if name else ''}", body)
    assert status == 201, made
    return str(made["Id"])


def start(engine: EngineProcess, container_id: str) -> None:
    assert engine.api("POST", f"/containers/{container_id}/start")[0] == 204


class Waiter(threading.Thread):
    """A request that waits for something, made in a thread."""

    def __init__(self, engine: EngineProcess, path: str) -> None:
        super().__init__()
        self._engine, self._path = engine, path
        self.answer: tuple[int, Any] = (0, None)
        self.start()

    def run(self) -> None:
        self.answer = self._engine.api("POST", self._path)

    def result(self) -> tuple[int, Any]:
        self.join(30)
        assert not self.is_alive()
        return self.answer


# Wait


def test_wait_not_running(engine: EngineProcess) -> None:
    made = create(engine, "sh", "-c", "exit 3")
    assert engine.api("POST", f"/containers/{made}/wait") == (200, {"StatusCode": 0})
    start(engine, made)
    assert engine.api("POST", f"/containers/{made}/wait?condition=not-running") == (200, {"StatusCode": 3})


def test_wait_next_exit(engine: EngineProcess) -> None:
    made = create(engine, "sh", "-c", "exit 4")
    waiter = Waiter(engine, f"/containers/{made}/wait?condition=next-exit")
    start(engine, made)
    # The waiter may have come too late for the first exit: the next one answers it.
    waiter.join(1)
    if waiter.is_alive():
        start(engine, made)
    assert waiter.result() == (200, {"StatusCode": 4})


def test_wait_removed(engine: EngineProcess) -> None:
    made = create(engine, "sleep", "1000", HostConfig={"AutoRemove": True})
    start(engine, made)
    waiter = Waiter(engine, f"/containers/{made}/wait?condition=removed")
    waiter.join(0.2)
    assert waiter.is_alive()
    engine.api("POST", f"/containers/{made}/kill")
    assert waiter.result() == (200, {"StatusCode": 137})
    assert engine.api("GET", f"/containers/{made}/json")[0] == 404


def test_wait_for_nonsense(engine: EngineProcess) -> None:
    made = create(engine, "true")
    status, answer = engine.api("POST", f"/containers/{made}/wait?condition=tired")
    assert (status, answer["message"]) == (400, 'invalid condition: "tired"')
    assert engine.api("POST", "/containers/nobody/wait")[0] == 404


# Resize


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", 'invalid resize height "": invalid syntax'),
        ("?h=10", 'invalid resize width "": invalid syntax'),
        ("?h=-1&w=1", 'invalid resize height "-1": value out of range'),
        ("?h=1&w=4294967296", 'invalid resize width "4294967296": value out of range'),
        ("?h=x&w=1", 'invalid resize height "x": invalid syntax'),
        ("?h=%2B1&w=1", 'invalid resize height "+1": invalid syntax'),
    ],
)
def test_sizes_that_are_none(engine: EngineProcess, query: str, message: str) -> None:
    made = create(engine, "true", Tty=True)
    status, answer = engine.api("POST", f"/containers/{made}/resize{query}")
    assert (status, answer["message"]) == (400, message)


def test_only_what_runs_has_a_size(engine: EngineProcess) -> None:
    made = create(engine, "sleep", "1000", Tty=True)
    status, answer = engine.api("POST", f"/containers/{made}/resize?h=10&w=10")
    assert (status, answer["message"]) == (409, f"container {made} is not running")
    start(engine, made)
    assert engine.api("POST", f"/containers/{made}/resize?h=11&w=4294967295")[0] == 200
    assert engine.docker("exec", made, "sh", "-c", "stty size < /dev/pts/0").stdout.split()[0] == "11"


# Prune


def prune(engine: EngineProcess, **filters: list[str]) -> set[str]:
    status, answer = engine.api("POST", f"/containers/prune?filters={quote(json.dumps(filters))}")
    assert status == 200, answer
    return set(answer["ContainersDeleted"] or [])


def test_prune_filters(engine: EngineProcess) -> None:
    prune(engine)
    first = create(engine, "true", Labels={"a": "1"})
    second = create(engine, "true", Labels={"a": "2", "keep": "yes"})
    third = create(engine, "true")
    running = create(engine, "sleep", "1000", Labels={"a": "1"})
    start(engine, running)
    created = engine.api("GET", f"/containers/{second}/json")[1]["Created"]
    assert prune(engine, label=["a=3"]) == set()
    assert prune(engine, until=["1h"]) == set()
    assert prune(engine, **{"label!": ["a"], "until": [created]}) == set()
    assert prune(engine, **{"label!": ["a"]}) == {third}
    assert prune(engine, label=["a"], **{"label!": ["keep=yes"]}) == {first}
    assert prune(engine) == {second}
    assert engine.api("GET", f"/containers/{running}/json")[0] == 200


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ('{"until": ["1h", "2h"]}', "more than one until filter specified"),
        ('{"name": ["x"]}', "invalid filter 'name'"),
        ("nonsense", "invalid filter"),
    ],
)
def test_prune_with_bad_filters(engine: EngineProcess, filters: str, message: str) -> None:
    status, answer = engine.api("POST", f"/containers/prune?filters={quote(filters)}")
    assert (status, answer["message"]) == (400, message)


def test_a_prune_is_announced(engine: EngineProcess) -> None:
    create(engine, "true")
    before = engine.api("GET", "/info")[1]["SystemTime"]
    prune(engine)
    now = engine.api("GET", "/info")[1]["SystemTime"]
    shown = engine.docker("events", "--since", before, "--until", now, "--format", "{{.Type}} {{.Action}}").stdout
    assert "container prune" in shown


# Checkpoints and bodies


@pytest.mark.parametrize(("method", "tail"), [("GET", ""), ("POST", ""), ("DELETE", "/one")])
def test_checkpoints_are_refused(engine: EngineProcess, method: str, tail: str) -> None:
    status, answer = engine.api(method, f"/containers/any/checkpoints{tail}", {"CheckpointID": "one"})
    assert (status, answer["message"]) == (
        501,
        "This experimental feature is disabled by default. "
        "Start the Docker daemon in experimental mode in order to enable it.",
    )


def test_a_start_takes_no_body(engine: EngineProcess) -> None:
    made = create(engine, "true")
    status, answer = engine.api("POST", f"/containers/{made}/start", {"HostConfig": {}})
    assert status == 400
    assert answer["message"].startswith("starting container with non-empty request body was deprecated")
    status, answer = engine.api("POST", f"/containers/{made}/start?checkpoint=x")
    assert (status, answer["message"]) == (400, "checkpoint is only supported in experimental mode")


# Places and names


def test_the_parent_of_the_control_group(engine: EngineProcess) -> None:
    made = create(engine, "sleep", "1000", HostConfig={"CgroupParent": f"{engine.instance}/own"})
    start(engine, made)
    pid = engine.api("GET", f"/containers/{made}/json")[1]["State"]["Pid"]
    groups = Path(f"/proc/{pid}/cgroup").read_text()
    assert f"/{engine.instance}/own/{made}" in groups
    engine.api("DELETE", f"/containers/{made}?force=1")


def test_annotations_reach_the_runtime_and_the_list(engine: EngineProcess) -> None:
    made = create(engine, "sleep", "1000", HostConfig={"Annotations": {"a.b": "c"}})
    start(engine, made)
    configuration = json.loads((engine.exec_root / f"containers/{made}/config.json").read_text())
    assert configuration["annotations"]["a.b"] == "c"
    (row,) = engine.api("GET", f"/containers/json?filters={quote(json.dumps({'id': [made]}))}")[1]
    assert row["HostConfig"]["Annotations"] == {"a.b": "c"}


def test_masked_and_read_only_paths(engine: EngineProcess) -> None:
    paths = {"MaskedPaths": ["/proc/uptime"], "ReadonlyPaths": ["/proc/sys/net"]}
    made = create(engine, "sh", "-c", "cat /proc/uptime; echo 1 > /proc/sys/net/ipv4/ip_forward", HostConfig=paths)
    start(engine, made)
    engine.api("POST", f"/containers/{made}/wait")
    shown = engine.docker("logs", made)
    assert (shown.stdout, "Read-only file system" in shown.stderr) == ("", True)


def test_isolation_has_one_value(engine: EngineProcess) -> None:
    create(engine, "true", HostConfig={"Isolation": "default"})
    status, answer = engine.api(
        "POST", "/containers/create", {"Image": "busybox", "HostConfig": {"Isolation": "hyperv"}}
    )
    assert (status, answer["message"]) == (400, "invalid isolation (hyperv): linux only supports 'default'")


def test_all_exposed_ports_are_published(engine: EngineProcess) -> None:
    ports: dict[str, Any] = {"80/tcp": {}, "53/udp": {}}
    made = create(engine, "sleep", "1000", ExposedPorts=ports, HostConfig={"PublishAllPorts": True})
    start(engine, made)
    shown = engine.api("GET", f"/containers/{made}/json")[1]["NetworkSettings"]["Ports"]
    assert set(shown) == set(ports)
    assert all(int(binding["HostPort"]) > 1024 for bindings in shown.values() for binding in bindings)


@pytest.mark.parametrize(
    ("field", "wanted", "text"),
    [
        ("NetworkMode", 409, "cannot join network namespace of a non running"),
        ("PidMode", 500, "is not running"),
        ("IpcMode", 409, "is not running"),
    ],
)
def test_a_namespace_whose_container_does_not_run(engine: EngineProcess, field: str, wanted: int, text: str) -> None:
    donor = create(engine, "true")
    made = create(engine, "true", HostConfig={field: f"container:{donor}"})
    status, answer = engine.api("POST", f"/containers/{made}/start")
    assert (status, text in answer["message"]) == (wanted, True), answer


def test_a_namespace_whose_container_is_not_there(engine: EngineProcess) -> None:
    # As in Docker a container may wait for its network's donor, not for the others.
    made = create(engine, "true", HostConfig={"NetworkMode": "container:nobody"})
    status, answer = engine.api("POST", f"/containers/{made}/start")
    assert (status, "No such container: nobody" in answer["message"]) == (500, True), answer
    for field in ("PidMode", "IpcMode"):
        body = {"Image": "busybox", "HostConfig": {field: "container:nobody"}}
        status, answer = engine.api("POST", "/containers/create", body)
        assert (status, answer["message"]) == (400, "No such container: nobody")


def test_private_ipc_is_not_lent(engine: EngineProcess) -> None:
    donor = create(engine, "sleep", "1000", HostConfig={"IpcMode": "private"})
    start(engine, donor)
    made = create(engine, "true", HostConfig={"IpcMode": f"container:{donor}"})
    status, answer = engine.api("POST", f"/containers/{made}/start")
    assert (status, answer["message"]) == (
        400,
        f"container {donor}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)",
    )
