"""The engine may die at any instant: kill -9 under load, and a machine that goes down.

``pytest tests/integration/test_survival.py --rounds 50`` is the long form; ten rounds run always.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine_process import EngineProcess


class Load(threading.Thread):
    """A client that creates, starts, stops and removes containers and notes what was acknowledged."""

    def __init__(self, engine: EngineProcess, seed: int, number: int) -> None:
        super().__init__(daemon=True)
        self._engine = engine
        self._random = random.Random(seed * 100 + number)
        self._prefix = f"load{seed}x{number}x"
        self._count = 0
        self.alive: dict[str, str] = {}
        self.doubtful: set[str] = set()
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.is_set():
            with contextlib.suppress(OSError, ValueError, IndexError):
                self._step()

    def _step(self) -> None:
        if self.alive and self._random.random() < 0.35:
            container_id = self._random.choice(sorted(self.alive))
            self.doubtful.add(container_id)
            status, _ = self._engine.api("DELETE", f"/containers/{container_id}?force=1", timeout_s=20)
            if status in (204, 404):
                self.doubtful.discard(container_id)
                del self.alive[container_id]
            return
        self._count += 1
        name = f"{self._prefix}{self._count}"
        body = {"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": {"RestartPolicy": {"Name": "no"}}}
        status, answer = self._engine.api("POST", f"/containers/create?name={name}", body, timeout_s=20)
        if status != 201:
            return
        self.alive[answer["Id"]] = "created"
        status, _ = self._engine.api("POST", f"/containers/{answer['Id']}/start", timeout_s=20)
        if status == 204:
            self.alive[answer["Id"]] = "running"


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--rounds"))


@pytest.mark.timeout(900)
def test_kills_under_load_lose_nothing_and_leak_nothing(own_engine: EngineProcess, rounds: int) -> None:
    seed = 7
    chance = random.Random(seed)
    kept: dict[str, str] = {}
    for number in range(rounds):
        workers = [Load(own_engine, number, worker) for worker in range(3)]
        for worker in workers:
            worker.alive = {}
            worker.start()
        time.sleep(chance.uniform(0.05, 0.8))
        own_engine.kill()
        for worker in workers:
            worker.over.set()
        for worker in workers:
            worker.join(30)
        began = time.monotonic()
        own_engine.start()
        assert time.monotonic() - began < 20
        doubtful = set().union(*(worker.doubtful for worker in workers))
        for worker in workers:
            kept |= {key: value for key, value in worker.alive.items() if key not in doubtful}
        _check(own_engine, kept, doubtful, number)
        _remove_some(own_engine, kept, chance)
    _remove_all(own_engine)
    assert _wait_until_clean(own_engine) == []


def _check(engine: EngineProcess, kept: dict[str, str], doubtful: set[str], number: int) -> None:
    """What was acknowledged is there, in its state, each with one process; addresses are given once."""
    _, listed = engine.api("GET", "/containers/json?all=1")
    states = {item["Id"]: item["State"] for item in listed}
    for container_id, state in kept.items():
        assert container_id in states, f"round {number}: container {container_id[:12]} is lost"
        if state == "running":
            assert states[container_id] == "running", f"round {number}: {container_id[:12]} is {states[container_id]}"
    addresses: dict[str, str] = {}
    for container_id, state in states.items():
        count = len(_processes(container_id, engine.instance))
        assert count == (1 if state == "running" else 0), f"round {number}: {container_id[:12]} ({state}): {count}"
        if state == "running":
            _, view = engine.api("GET", f"/containers/{container_id}/json")
            address = view["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
            assert address, f"round {number}: {container_id[:12]} has no address"
            assert address not in addresses, f"round {number}: {address} was given twice"
            addresses[address] = container_id
    # What was neither acknowledged nor refused may be there or not: from now on it counts as it is.
    for container_id, state in states.items():
        if container_id not in kept:
            kept[container_id] = state
    for container_id in doubtful - set(states):
        kept.pop(container_id, None)


def _processes(container_id: str, instance: str) -> list[str]:
    for root in ("/sys/fs/cgroup", "/sys/fs/cgroup/pids"):
        path = Path(root) / instance / container_id / "cgroup.procs"
        if path.exists():
            return path.read_text().split()
    return []


def _remove_some(engine: EngineProcess, kept: dict[str, str], chance: random.Random) -> None:
    for container_id in chance.sample(sorted(kept), len(kept) // 2):
        status, _ = engine.api("DELETE", f"/containers/{container_id}?force=1")
        assert status == 204
        del kept[container_id]


def _remove_all(engine: EngineProcess) -> None:
    _, listed = engine.api("GET", "/containers/json?all=1")
    for item in listed:
        status, _ = engine.api("DELETE", f"/containers/{item['Id']}?force=1")
        assert status == 204


def _leaks(engine: EngineProcess) -> list[str]:
    """Return what an engine without containers has too much of."""
    found = [f"mount {point}" for point in engine.mounts() if "/containers/" in point or "/netns/" in point]
    for group in engine.cgroups():
        found += [f"group {entry}" for entry in Path(group).iterdir() if entry.is_dir()]
    found += [f"process {pid}" for pid in engine.processes() if _is_conmon(pid)]
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    bridge = "psd-" + engine.instance.removeprefix("portside-")
    found += [f"link {line.split(':')[1].strip()}" for line in links.splitlines() if f"master {bridge}" in line]
    for folder in (engine.data_root / "containers", engine.exec_root / "containers", engine.data_root / "trash"):
        found += [f"folder {entry}" for entry in folder.iterdir()]
    found += [f"namespace {entry}" for entry in (engine.exec_root / "netns").glob("*")]
    found += [f"state {entry}" for entry in (engine.exec_root / "runtimes").glob("[!.]*/*")]
    return found


def _is_conmon(pid: int) -> bool:
    try:
        return b"conmon" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _wait_until_clean(engine: EngineProcess) -> list[str]:
    """Return what is still left after ten seconds: conmon lingers for two, folders are deleted behind the answer."""
    leaks: list[str] = []
    for _ in range(100):
        leaks = _leaks(engine)
        if not leaks:
            break
        time.sleep(0.1)
    return leaks


@contextlib.contextmanager
def _exited_while_away(engine: EngineProcess) -> Iterator[None]:
    engine.kill()
    yield
    engine.start()


def test_what_exits_while_the_engine_is_away_is_told_with_its_true_time(own_engine: EngineProcess) -> None:
    own_engine.docker("run", "-d", "--name", "short", "busybox", "sh", "-c", "sleep 1; exit 5")
    own_engine.docker("run", "-d", "--rm", "--name", "gone", "busybox", "sleep", "1")
    own_engine.docker("run", "-d", "--restart", "always", "--name", "back", "busybox", "sleep", "1")
    began = time.time()
    with _exited_while_away(own_engine):
        time.sleep(2.5)
    ended = time.time()
    time.sleep(1)
    _, view = own_engine.api("GET", "/containers/short/json")
    assert (view["State"]["Status"], view["State"]["ExitCode"]) == ("exited", 5)
    finished = view["State"]["FinishedAt"]
    seconds = subprocess.run(["date", "-d", finished, "+%s.%N"], capture_output=True, text=True, check=True).stdout
    assert began - 1 < float(seconds) < ended - 0.5
    assert own_engine.api("GET", "/containers/gone/json")[0] == 404
    _, view = own_engine.api("GET", "/containers/back/json")
    assert view["State"]["Running"]
    done = own_engine.docker(
        "events", "--since", str(began - 1), "--until", str(time.time()), "--filter", "event=die",
        "--filter", "container=short", "--format", "{{.Actor.Attributes.exitCode}}",
    )  # fmt: skip
    assert done.stdout.split() == ["5"]


def test_logs_go_on_and_clients_attach_again_after_a_kill(own_engine: EngineProcess) -> None:
    own_engine.docker(
        "run",
        "-d",
        "--name",
        "talker",
        "busybox",
        "sh",
        "-c",
        "i=0; while true; do echo $i; i=$((i+1)); sleep 0.05; done",
    )
    with _exited_while_away(own_engine):
        time.sleep(0.5)
    time.sleep(0.3)
    numbers = [int(line) for line in own_engine.docker("logs", "talker").stdout.split()]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 12
    process = subprocess.Popen(
        ["docker", "-H", own_engine.url, "attach", "--no-stdin", "--sig-proxy=false", "talker"], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert int(process.stdout.readline()) >= len(numbers) - 1
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_machine_that_went_down_leaves_a_state_that_the_next_start_repairs(own_engine: EngineProcess) -> None:
    own_engine.docker("run", "-d", "--name", "policy", "--restart", "unless-stopped", "busybox", "sleep", "1000")
    own_engine.docker(
        "run", "-d", "--name", "plain", "-v", "kept:/data", "busybox", "sh", "-c", "echo a >/data/f; sleep 1000"
    )
    own_engine.docker("run", "-d", "--rm", "--name", "fleeting", "busybox", "sleep", "1000")
    time.sleep(0.3)
    own_engine.kill()
    for pid in own_engine.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    time.sleep(0.5)
    for point in own_engine.mounts():
        subprocess.run(["umount", "-l", point], capture_output=True, check=False)
    subprocess.run(["rm", "-rf", str(own_engine.exec_root)], check=True)
    own_engine.start()
    time.sleep(1)
    _, policy = own_engine.api("GET", "/containers/policy/json")
    _, plain = own_engine.api("GET", "/containers/plain/json")
    assert policy["State"]["Running"]
    assert (plain["State"]["Status"], plain["State"]["ExitCode"]) == ("exited", 255)
    assert own_engine.api("GET", "/containers/fleeting/json")[0] == 404
    assert own_engine.docker("run", "--rm", "-v", "kept:/data", "busybox", "cat", "/data/f").stdout == "a\n"
    own_engine.docker("start", "plain")
    _remove_all(own_engine)
    own_engine.docker("volume", "rm", "kept")
    assert _wait_until_clean(own_engine) == []


def test_a_restarted_container_still_removes_itself_after_a_kill(own_engine: EngineProcess) -> None:
    own_engine.docker("run", "-d", "--rm", "--name", "fleeting", "busybox", "sleep", "1000")
    own_engine.docker("restart", "-t", "0", "fleeting")
    with _exited_while_away(own_engine):
        pass
    assert own_engine.docker("inspect", "-f", "{{.HostConfig.AutoRemove}}", "fleeting").stdout == "true\n"
    own_engine.docker("stop", "-t", "0", "fleeting")
    time.sleep(0.5)
    assert own_engine.api("GET", "/containers/fleeting/json")[0] == 404
