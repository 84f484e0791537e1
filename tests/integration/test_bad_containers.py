"""Containers that are asked for wrongly or behave badly: each gets its error, nothing is left behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import leaks_of
from tests.engine_process import EngineProcess

SLEEP = {"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": "none"}}


def create(engine: EngineProcess, name: str = "", **changes: Any) -> str:
    """Create a sleeping container and return its ID."""
    status, body = engine.api("POST", f"/containers/create?name={name}", {**SLEEP, **changes})
    assert status == 201, body
    return str(body["Id"])


def remove(engine: EngineProcess, container: str) -> None:
    """Remove a container, also a running one."""
    engine.api("DELETE", f"/containers/{container}?force=1&v=1")


def wait_until(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    """Wait for a condition; fails when it does not come."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def nothing_stays(engine: EngineProcess) -> Iterator[None]:
    """After every test there is no container, volume or folder of one."""
    yield
    assert engine.api("GET", "/containers/json?all=1")[1] == []
    assert list((engine.data_root / "containers").iterdir()) == []
    wait_until(lambda: not any((engine.exec_root / "containers").iterdir()))
    assert not [point for point in engine.mounts() if "/containers/" in point]


# What is asked for wrongly


@pytest.mark.parametrize("name", ["x", "-web", "we b", "w%C3%A9b", "a/b", "..%2Fx", "web%0A", "%00ab"])
def test_a_malformed_name_is_refused(engine: EngineProcess, name: str) -> None:
    status, body = engine.api("POST", f"/containers/create?name={name.replace(' ', '%20')}", SLEEP)
    assert status == 400
    assert body["message"].startswith("Invalid container name (")
    assert body["message"].endswith("), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")


def test_a_very_long_name_is_kept_as_docker_keeps_it(engine: EngineProcess) -> None:
    name = "n" * 2000
    container = create(engine, name)
    assert engine.api("GET", f"/containers/{name}/json")[1]["Id"] == container
    assert engine.api("POST", f"/containers/{name}/start")[0] == 204
    remove(engine, name)


def test_a_taken_name_names_its_owner(engine: EngineProcess) -> None:
    owner = create(engine, "taken")
    status, body = engine.api("POST", "/containers/create?name=taken", SLEEP)
    assert status == 409
    assert body["message"] == (
        f'Conflict. The container name "/taken" is already in use by container "{owner}". '
        "You have to remove (or rename) that container to be able to reuse that name."
    )
    other = create(engine, "other")
    status, body = engine.api("POST", "/containers/other/rename?name=taken")
    assert status == 409
    assert body["message"].startswith('Error when allocating new name: Conflict. The container name "/taken"')
    remove(engine, owner)
    remove(engine, other)


def test_a_name_is_free_again_after_a_create_that_failed(engine: EngineProcess) -> None:
    assert engine.api("POST", "/containers/create?name=again", {**SLEEP, "Image": "nothing"})[0] == 404
    remove(engine, create(engine, "again"))


@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [
        ({"Image": "nothing:1"}, 404, "No such image: nothing:1"),
        ({"Image": ""}, 400, "no command specified"),
        ({"Image": "UPPER"}, 400, "invalid reference format: repository name (library/UPPER) must be lowercase"),
        ({"HostConfig": {"Runtime": "nope"}}, 400, "unknown or invalid runtime name: nope"),
        ({"HostConfig": {"VolumesFrom": ["nope"]}}, 400, "No such container: nope"),
        ({"HostConfig": {"Memory": 1024}}, 400, "Minimum memory limit allowed is 6MB"),
        ({"HostConfig": {"RestartPolicy": {"Name": "sometimes"}}}, 400, "invalid restart policy: unknown policy"),
        ({"HostConfig": {"AutoRemove": True, "RestartPolicy": {"Name": "always"}}}, 400, "can't create 'AutoRemove'"),
        ({"HostConfig": {"CapAdd": ["CAP_FOO"]}}, 400, 'invalid CapAdd: unknown capability: "CAP_FOO"'),
        ({"HostConfig": {"Binds": ["/a:rel"]}}, 400, "invalid volume specification: '/a:rel'"),
        ({"HostConfig": {"PortBindings": {"http": [{}]}}}, 400, ""),
        ({"StopSignal": "SIGNOPE"}, 400, "invalid signal: SIGNOPE"),
        ({"Env": "A=1"}, 400, "invalid JSON"),
        ({"HostConfig": []}, 400, "invalid JSON"),
    ],
)
def test_a_wrong_option_names_itself(engine: EngineProcess, changes: dict[str, Any], status: int, message: str) -> None:
    got, body = engine.api("POST", "/containers/create?name=wrong", {**SLEEP, **changes})
    if got == 201:
        remove(engine, "wrong")
    assert (got, body.get("message", "")[: len(message)]) == (status, message)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"User": "nobody-knows"}, "unable to find user nobody-knows: no matching entries in passwd file"),
        ({"User": "0:nogroup-here"}, "unable to find group nogroup-here: no matching entries in group file"),
        ({"HostConfig": {"NetworkMode": "nope"}}, "network nope not found"),
        ({"WorkingDir": "/etc/passwd"}, "/etc/passwd"),
        ({"Cmd": ["nosuchprogram"]}, 'exec: "nosuchprogram": executable file not found in $PATH'),
    ],
)
def test_a_start_that_fails_says_why_and_can_be_repeated(
    engine: EngineProcess, changes: dict[str, Any], words: str
) -> None:
    container = create(engine, "failing", **changes)
    for _ in range(2):
        status, body = engine.api("POST", f"/containers/{container}/start")
        assert status >= 400
        assert words in body["message"]
    state = engine.api("GET", f"/containers/{container}/json")[1]["State"]
    assert (state["Running"], state["Pid"]) == (False, 0)
    assert words in state["Error"]
    assert state["ExitCode"] in (126, 127, 128)
    assert [point for point in engine.mounts() if container in point] == []
    remove(engine, container)


def test_what_removes_itself_is_gone_when_its_start_has_failed(engine: EngineProcess) -> None:
    container = create(engine, Cmd=["nosuch"], HostConfig={"NetworkMode": "none", "AutoRemove": True})
    assert engine.api("POST", f"/containers/{container}/start")[0] == 400
    assert engine.api("GET", f"/containers/{container}/json")[0] == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/containers/nope/json"), ("GET", "/containers/nope/logs?stdout=1"), ("GET", "/containers/nope/top"),
        ("GET", "/containers/nope/stats?stream=0"), ("POST", "/containers/nope/start"),
        ("POST", "/containers/nope/stop"), ("POST", "/containers/nope/restart"), ("POST", "/containers/nope/kill"),
        ("POST", "/containers/nope/pause"), ("POST", "/containers/nope/unpause"), ("POST", "/containers/nope/wait"),
        ("POST", "/containers/nope/attach?stream=1"), ("POST", "/containers/nope/rename?name=other"),
        ("POST", "/containers/nope/resize?h=1&w=1"), ("DELETE", "/containers/nope"),
    ],
)  # fmt: skip
def test_a_container_that_is_not_there_is_a_404_everywhere(engine: EngineProcess, method: str, path: str) -> None:
    before = "cannot kill container: nope: " if path.endswith("/kill") else ""
    assert engine.api(method, path) == (404, {"message": f"{before}No such container: nope"})


# What behaves badly


def test_a_container_that_ignores_sigterm_is_killed_after_its_time(engine: EngineProcess) -> None:
    engine.docker(
        "run", "-d", "--name", "deaf", "--net", "none", "busybox", "sh", "-c", "trap '' TERM; while :; do sleep 1; done"
    )
    began = time.monotonic()
    engine.docker("stop", "-t", "1", "deaf")
    assert 0.9 < time.monotonic() - began < 5
    assert engine.docker("inspect", "-f", "{{.State.ExitCode}}", "deaf").stdout == "137\n"
    engine.docker("rm", "deaf")


def test_a_paused_container_can_be_stopped_and_killed(engine: EngineProcess) -> None:
    for command in (["stop", "-t", "1"], ["kill"], ["rm", "-f"]):
        engine.docker("run", "-d", "--name", "frozen", "--net", "none", "busybox", "sleep", "100")
        engine.docker("pause", "frozen")
        engine.docker(*command, "frozen")
        if command[0] != "rm":
            assert engine.docker("inspect", "-f", "{{.State.Status}}", "frozen").stdout == "exited\n"
            engine.docker("rm", "frozen")


def test_a_fork_bomb_stays_within_its_limit(engine: EngineProcess) -> None:
    engine.docker(
        "run", "-d", "--name", "bomb", "--net", "none", "--pids-limit", "40", "--cpus", "0.5", "--memory", "64m",
        "busybox", "sh", "-c", "bomb() { bomb | bomb & }; bomb; while :; do sleep 1; done",
    )  # fmt: skip
    time.sleep(1)
    top = engine.api("GET", "/containers/bomb/json")[1]
    assert top["HostConfig"]["PidsLimit"] == 40
    assert len(engine.processes()) < 60
    assert engine.docker("run", "--rm", "--net", "none", "busybox", "echo", "alive").stdout == "alive\n"
    engine.docker("rm", "-f", "bomb")


def test_a_container_that_ends_before_it_is_attached_gives_its_output(engine: EngineProcess) -> None:
    for _ in range(10):
        done = engine.docker("run", "--rm", "--net", "none", "busybox", "echo", "quick")
        assert done.stdout == "quick\n"
    engine.docker("run", "-d", "--name", "gone", "--net", "none", "busybox", "echo", "early")
    engine.docker("wait", "gone")
    done = engine.docker("attach", "gone", check=False)
    assert "cannot attach to a stopped container" in done.stderr
    assert engine.docker("start", "-a", "gone").stdout == "early\n"
    engine.docker("rm", "gone")


def test_a_line_of_100_mb_goes_through_run_and_logs(engine: EngineProcess) -> None:
    script = "head -c 104857600 /dev/zero | tr '\\0' x; echo"
    done = subprocess.run(
        f"docker -H {engine.url} run --name long --net none busybox sh -c \"{script}\" | wc -c",
        shell=True, capture_output=True, text=True, timeout=100, check=True,
    )  # fmt: skip
    assert int(done.stdout) == 104857601
    logs = subprocess.run(
        f"docker -H {engine.url} logs long | wc -c", shell=True, capture_output=True, text=True, timeout=100, check=True
    )
    assert int(logs.stdout) == 104857601
    assert pss_kib(engine.pid) < 64 * 1024
    engine.docker("rm", "long")


def pss_kib(pid: int) -> int:
    """Return a process's proportional set size."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise AssertionError("no Pss")


def test_health_is_starting_then_healthy_then_unhealthy(engine: EngineProcess) -> None:
    engine.docker(
        "run", "-d", "--name", "checked", "--net", "none", "--health-cmd", "test ! -e /sick",
        "--health-interval", "200ms", "--health-retries", "2", "busybox", "sleep", "1000",
    )  # fmt: skip
    assert "(health: starting)" in engine.docker("ps", "--format", "{{.Status}}").stdout

    def health() -> str:
        return str(engine.api("GET", "/containers/checked/json")[1]["State"]["Health"]["Status"])

    assert health() == "starting"
    wait_until(lambda: health() == "healthy")
    engine.docker("exec", "checked", "touch", "/sick")
    wait_until(lambda: health() == "unhealthy")
    assert "(unhealthy)" in engine.docker("ps", "-f", "health=unhealthy", "--format", "{{.Status}}").stdout
    engine.docker("rm", "-f", "checked")


def test_an_exec_that_cannot_start_says_so_with_and_without_a_terminal(engine: EngineProcess) -> None:
    engine.docker("run", "-d", "--name", "base", "--net", "none", "busybox", "sleep", "1000")
    for flags in ([], ["-t"]):
        for words, code, text in (
            (["nosuch"], 127, 'exec: "nosuch": executable file not found in $PATH'),
            (["/etc"], 126, "permission denied"),
        ):
            done = engine.docker("exec", *flags, "base", *words, check=False)
            assert done.returncode == code
            assert text in done.stdout
        done = engine.docker("exec", *flags, "-u", "nope", "base", "true", check=False)
        assert done.returncode == 126
        assert "unable to find user nope" in done.stdout + done.stderr
    assert engine.api("GET", "/containers/base/json")[1]["ExecIDs"] is None
    engine.docker("rm", "-f", "base")


def test_an_exec_that_cannot_start_is_told_by_its_start_alone(engine: EngineProcess) -> None:
    engine.docker("run", "-d", "--name", "base", "--net", "none", "busybox", "sleep", "1000")
    since = str(time.time())
    engine.docker("exec", "base", "nosuch", check=False)
    engine.docker("exec", "base", "true")
    found = engine.docker("events", "--since", since, "--until", str(time.time() + 0.5), "--format", "{{.Action}}")
    assert [line.split(":")[0] for line in found.stdout.splitlines()] == [
        "exec_create",
        "exec_start",
        "exec_create",
        "exec_start",
        "exec_die",
    ]
    engine.docker("rm", "-f", "base")


# Many at once


def test_of_two_removals_at_once_one_wins(engine: EngineProcess) -> None:
    for _ in range(5):
        container = create(engine)
        engine.api("POST", f"/containers/{container}/start")
        with ThreadPoolExecutor(4) as pool:
            done = list(pool.map(lambda _: engine.api("DELETE", f"/containers/{container}?force=1"), range(4)))  # noqa: B023 - the pool ends first
        statuses = sorted(status for status, _ in done)
        assert statuses[0] == 204
        for status, body in done:
            if status == 409:
                assert body["message"] == f"removal of container {container} is already in progress"
            else:
                assert status in (204, 404)
        assert statuses.count(204) == 1


def test_a_start_during_a_removal_is_refused_or_comes_too_late(engine: EngineProcess) -> None:
    for _ in range(8):
        container = create(engine)
        engine.api("POST", f"/containers/{container}/start")
        with ThreadPoolExecutor(2) as pool:
            removal = pool.submit(engine.api, "DELETE", f"/containers/{container}?force=1")
            start = pool.submit(engine.api, "POST", f"/containers/{container}/start")
        assert removal.result()[0] == 204
        status, body = start.result()
        assert status in (304, 404, 409), body
        if status == 409:
            assert body["message"] == "container is marked for removal and cannot be started"
        assert engine.api("GET", f"/containers/{container}/json")[0] == 404


def test_storms_of_starts_and_stops_end_in_one_state(engine: EngineProcess) -> None:
    container = create(engine, "storm", StopTimeout=0)
    verbs = ["start", "stop?t=0", "restart?t=0", "kill", "start", "pause", "unpause"]

    def strike(number: int) -> int:
        status, _ = engine.api("POST", f"/containers/{container}/{verbs[number % len(verbs)]}", timeout_s=90)
        return status

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(strike, range(70)))
    assert set(statuses) <= {204, 304, 409, 500}
    engine.api("POST", f"/containers/{container}/unpause")
    state = engine.api("GET", f"/containers/{container}/json")[1]["State"]
    if state["Running"]:
        assert Path(f"/proc/{state['Pid']}").exists()
    assert engine.api("POST", f"/containers/{container}/restart?t=0")[0] == 204
    assert engine.api("POST", f"/containers/{container}/stop?t=0")[0] == 204
    remove(engine, container)
    wait_until(lambda: not [pid for pid in engine.processes() if pid != engine.pid])


def test_of_many_creates_with_one_name_one_wins(engine: EngineProcess) -> None:
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda _: engine.api("POST", "/containers/create?name=only", SLEEP)[0], range(16)))
    assert sorted(done) == [201] + [409] * 15
    remove(engine, "only")


# A disk that is full


@pytest.fixture
def small_disk() -> Iterator[EngineProcess]:
    """An engine whose data root is an ext4 file system of 48 MB."""
    folder = Path(tempfile.mkdtemp(prefix="portside-small-"))
    image, data = folder / "disk", folder / "data"
    data.mkdir()
    with image.open("wb") as file:
        file.truncate(48 * 1024 * 1024)
    made = subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=False, capture_output=True)
    if made.returncode or subprocess.run(["mount", "-o", "loop", str(image), str(data)], check=False).returncode:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip("no loop device can be mounted here")
    process = EngineProcess(folder)
    try:
        process.start()
        process.load_busybox()
        yield process
        process.clean()
        assert not [leak for leak in leaks_of(process) if not leak.endswith(f"mount {data}")]
    finally:
        process.remove_leftovers()
        subprocess.run(["umount", str(data)], check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


def fill(folder: Path) -> Path:
    """Write a file until no byte is left."""
    path = folder / "ballast"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        for size in (1 << 20, 4096, 1):
            try:
                while os.write(descriptor, b"x" * size):
                    pass
            except OSError:
                continue
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return path


def test_a_full_disk_in_a_create_is_told_and_leaves_nothing(engine: EngineProcess, small_disk: EngineProcess) -> None:
    del engine
    ballast = fill(small_disk.data_root)
    failed = [small_disk.api("POST", f"/containers/create?name=c{number}", SLEEP) for number in range(3)]
    for status, body in failed:
        assert status in (201, 500, 503), body
        if status != 201:
            assert "No space left on device" in body["message"] or "disk is full" in body["message"], body
    assert any(status != 201 for status, _ in failed)
    assert small_disk.api("GET", "/_ping")[0] == 200
    ballast.unlink()
    for item in small_disk.api("GET", "/containers/json?all=1")[1]:
        remove(small_disk, item["Id"])
    container = create(small_disk, "c0")
    assert small_disk.api("POST", f"/containers/{container}/start")[0] == 204
    remove(small_disk, container)
    assert list((small_disk.data_root / "containers").iterdir()) == []


def test_a_full_disk_in_a_log_does_not_stop_the_container(engine: EngineProcess, small_disk: EngineProcess) -> None:
    del engine
    script = "while :; do echo line; sleep 0.05; done"
    small_disk.docker("run", "-d", "--name", "chatty", "--net", "none", "busybox", "sh", "-c", script)
    ballast = fill(small_disk.data_root)
    time.sleep(1)
    state = small_disk.api("GET", "/containers/chatty/json")[1]["State"]
    assert state["Running"], state
    assert small_disk.docker("logs", "--tail", "1", "chatty").stdout.strip() in ("line", "")
    assert json.loads(small_disk.docker("inspect", "chatty").stdout)[0]["State"]["Status"] == "running"
    ballast.unlink()
    small_disk.docker("rm", "-f", "chatty")
