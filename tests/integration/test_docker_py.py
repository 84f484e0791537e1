"""docker-py, the library that most Python programs drive Docker with, against a real engine."""

from __future__ import annotations

import gc
import io
import socket
import tarfile
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.engine_process import EngineProcess

docker = pytest.importorskip("docker")

# docker-py leaves the sockets of its streams to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def close_sockets() -> None:
    """Close what docker-py leaves open, so that no later test is blamed for it."""
    for item in gc.get_objects():
        if isinstance(item, socket.socket) and item.fileno() >= 0 and item.family == socket.AF_UNIX:
            with suppress(OSError):
                if str(item.getpeername()).endswith("/s.sock"):
                    item.close()


@pytest.fixture
def client(engine: EngineProcess) -> Iterator[Any]:
    """A docker-py client with the version that it negotiates; no container is left."""
    made = docker.DockerClient(base_url=engine.url, version="auto", timeout=30)
    yield made
    assert made.containers.list(all=True) == []
    made.close()
    close_sockets()


def test_the_engine_is_known(client: Any) -> None:
    assert client.ping() is True
    assert client.version()["ApiVersion"] == "1.51"
    assert client.info()["Driver"] == "overlay2"
    assert set(client.df()) >= {"Containers", "Images", "Volumes", "LayersSize"}


def test_run_returns_the_output(client: Any) -> None:
    assert client.containers.run("busybox", ["echo", "hello"], remove=True) == b"hello\n"
    script = ["sh", "-c", "echo out; echo err >&2"]
    assert client.containers.run("busybox", script, remove=True) == b"out\n"
    assert client.containers.run("busybox", script, stderr=True, stdout=False, remove=True) == b"err\n"


def test_a_command_that_fails_is_an_error_with_its_exit_code(client: Any) -> None:
    with pytest.raises(docker.errors.ContainerError) as caught:
        client.containers.run("busybox", ["sh", "-c", "echo why >&2; exit 3"], remove=True)
    assert caught.value.exit_status == 3
    assert b"why" in caught.value.stderr


def test_what_is_not_there_is_a_kind_of_its_own(client: Any) -> None:
    with pytest.raises(docker.errors.NotFound, match="No such container: nope"):
        client.containers.get("nope")
    with pytest.raises(docker.errors.ImageNotFound):
        client.images.get("nope")
    with pytest.raises(docker.errors.NotFound):
        client.volumes.get("nope")
    with pytest.raises(docker.errors.APIError, match="executable file not found"):
        client.containers.run("busybox", "nosuchprogram", name="unstarted")
    client.containers.get("unstarted").remove()


def test_a_detached_container_lives_its_life(client: Any) -> None:
    container = client.containers.run(
        "busybox", ["sh", "-c", "echo out; echo err >&2; sleep 100"], detach=True, name="life", labels={"a": "b"},
        environment={"X": "1"}, mem_limit="64m", nano_cpus=500_000_000, network_mode="none",
    )  # fmt: skip
    try:
        assert client.containers.list(filters={"label": "a=b"})[0].id == container.id
        time.sleep(0.3)
        assert container.logs(stderr=False) == b"out\n"
        assert container.logs(stdout=False, timestamps=True).endswith(b"Z err\n")
        assert container.exec_run(["sh", "-c", "echo $X; exit 4"]) == (4, b"1\n")
        assert container.exec_run(["sh", "-c", "echo o; echo e >&2"], demux=True).output == (b"o\n", b"e\n")
        assert b"".join(container.exec_run(["echo", "streamed"], stream=True).output) == b"streamed\n"
        assert container.exec_run("tty", tty=True).output.startswith(b"/dev/pts/")
        # One with a terminal whose start does not say so: its output has frames, as Docker's.
        exec_id = client.api.exec_create(container.id, ["echo", "framed"], tty=True)
        assert client.api.exec_start(exec_id, demux=True) == (b"framed\r\n", None)
        assert "sleep 100" in str(container.top()["Processes"])
        stats = container.stats(stream=False)
        assert stats["memory_stats"]["limit"] == 64 * 1024 * 1024
        assert stats["pids_stats"]["current"] >= 1
        container.pause()
        container.reload()
        assert container.status == "paused"
        container.unpause()
        container.rename("renamed")
        container.update(mem_limit="48m", memswap_limit="96m")
        container.restart(timeout=0)
        container.reload()
        assert (container.name, container.status) == ("renamed", "running")
        assert container.attrs["HostConfig"]["Memory"] == 48 * 1024 * 1024
        container.stop(timeout=0)
        assert container.wait() == {"StatusCode": 137}
    finally:
        container.remove(force=True)


def test_logs_are_followed(client: Any) -> None:
    container = client.containers.run(
        "busybox", ["sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.1; done"], detach=True, network_mode="none"
    )
    assert list(container.logs(stream=True, follow=True)) == [b"1\n", b"2\n", b"3\n"]
    assert container.logs(tail=1) == b"3\n"
    container.remove()


def test_attach_streams_and_takes_input(client: Any) -> None:
    container = client.containers.create(
        "busybox", ["sh", "-c", "read line; echo got $line"], stdin_open=True, network_mode="none"
    )
    connection = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    output = container.attach(stream=True)
    container.start()
    raw = getattr(connection, "_sock", connection)
    assert isinstance(raw, socket.socket)
    raw.sendall(b"words\n")
    assert b"".join(output) == b"got words\n"
    assert container.wait()["StatusCode"] == 0
    connection.close()
    container.remove()


def test_events_are_heard(client: Any) -> None:
    since = int(time.time())
    client.containers.run("busybox", "true", name="heard", remove=True, network_mode="none")
    time.sleep(0.3)
    found = client.events(
        since=since, until=int(time.time()) + 1, decode=True, filters={"container": "heard", "type": "container"}
    )
    actions = [event["Action"] for event in found]
    assert [item for item in actions if item != "attach"] == ["create", "start", "die", "destroy"]


def test_volumes_are_made_used_and_pruned(client: Any) -> None:
    volume = client.volumes.create("kept", labels={"of": "test"})
    client.containers.run("busybox", ["sh", "-c", "echo x >/d/f"], volumes={"kept": {"bind": "/d"}}, remove=True)
    assert client.containers.run("busybox", "cat /d/f", volumes=["kept:/d:ro"], remove=True) == b"x\n"
    assert [item.name for item in client.volumes.list(filters={"label": "of=test"})] == ["kept"]
    volume.remove()
    client.volumes.create()
    assert len(client.volumes.prune()["VolumesDeleted"]) == 1


def test_images_are_tagged_saved_loaded_and_removed(client: Any) -> None:
    image = client.images.get("busybox")
    assert image.tag("mine", "1")
    data = b"".join(client.images.get("mine:1").save(named="mine:1"))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert "manifest.json" in archive.getnames()
    client.images.remove("mine:1")
    assert [tag for item in client.images.load(data) for tag in item.tags if tag == "mine:1"] == ["mine:1"]
    assert image.history()
    assert {tag for item in client.images.list() for tag in item.tags} >= {"busybox:latest", "mine:1"}
    client.images.remove("mine:1")
    assert client.images.prune()["SpaceReclaimed"] == 0


def test_stopped_containers_are_pruned(client: Any) -> None:
    container = client.containers.run("busybox", "true", detach=True, network_mode="none")
    container.wait()
    assert client.containers.prune()["ContainersDeleted"] == [container.id]


def test_networks_are_listed(client: Any) -> None:
    assert {network.name for network in client.networks.list()} == {"bridge", "host", "none"}


@pytest.mark.parametrize("version", ["1.24", "1.30", "1.41", "1.44", "1.51"])
def test_every_version_runs_a_container(engine: EngineProcess, version: str) -> None:
    old = docker.DockerClient(base_url=engine.url, version=version, timeout=30)
    try:
        assert old.containers.run("busybox", "echo x", network_mode="none", remove=True) == b"x\n"
        assert old.info()["Containers"] == 0
        assert old.images.list()
    finally:
        old.close()
        close_sockets()


def test_an_exec_that_has_ended_does_not_run(client: Any) -> None:
    container = client.containers.run("busybox", ["sleep", "100"], detach=True)
    try:
        for _ in range(20):
            exec_id = client.api.exec_create(container.id, ["sh", "-c", "exit 6"])["Id"]
            assert client.api.exec_start(exec_id) == b""
            shown = client.api.exec_inspect(exec_id)
            assert (shown["Running"], shown["ExitCode"]) == (False, 6)
    finally:
        container.remove(force=True)


def test_attaching_to_a_container_that_has_ended_gives_its_log(client: Any) -> None:
    container = client.containers.run("busybox", ["echo", "hello"], detach=True)
    try:
        container.wait()
        assert [container.attach(logs=True, stream=False) for _ in range(10)] == [b"hello\n"] * 10
    finally:
        container.remove(force=True)


def test_each_line_of_a_log_comes_by_itself(client: Any) -> None:
    lines = client.containers.run("busybox", ["sh", "-c", "echo hello; echo world"], stream=True, remove=True)
    assert list(lines) == [b"hello\n", b"world\n"]


def test_a_wait_ends_with_the_exit_also_of_a_container_that_starts_again(client: Any) -> None:
    policy = {"Name": "always"}
    container = client.containers.run("busybox", ["sh", "-c", "sleep 0.3; exit 4"], detach=True, restart_policy=policy)
    try:
        assert container.wait()["StatusCode"] == 4
    finally:
        container.remove(force=True)
