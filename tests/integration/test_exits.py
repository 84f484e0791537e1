"""Ends of containers whose clean-up fails at first."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from engine.runtime.host import probe_cgroups
from tests.engine_process import EngineProcess


def status(engine: EngineProcess, container_id: str) -> tuple[str, int]:
    state = engine.api("GET", f"/containers/{container_id}/json")[1]["State"]
    return str(state["Status"]), int(state["ExitCode"])


@pytest.mark.skipif(probe_cgroups().version != 1, reason="needs a hierarchy that the runtime does not kill in")
def test_an_end_that_cannot_be_cleaned_up_is_tried_again(own_engine: EngineProcess) -> None:
    engine = own_engine
    engine.expect_log("is not cleaned up yet")
    made = engine.docker("run", "-d", "busybox", "sleep", "1000").stdout.strip()
    pid = engine.api("GET", f"/containers/{made}/json")[1]["State"]["Pid"]
    freezer = Path(f"/sys/fs/cgroup/freezer/{engine.instance}-frozen")
    freezer.mkdir()
    with subprocess.Popen(["sleep", "1000"]) as intruder:  # frozen: not even SIGKILL ends it
        try:
            (freezer / "cgroup.procs").write_text(str(intruder.pid))
            (freezer / "freezer.state").write_text("FROZEN")
            Path(f"/sys/fs/cgroup/memory/{engine.instance}/{made}/cgroup.procs").write_text(str(intruder.pid))
            os.kill(pid, 9)
            deadline = time.monotonic() + 30
            while "is not cleaned up yet" not in engine.log.read_text():
                assert time.monotonic() < deadline
                time.sleep(0.1)
            assert status(engine, made)[0] == "running"
        finally:
            intruder.kill()
            (freezer / "freezer.state").write_text("THAWED")
    freezer.rmdir()
    deadline = time.monotonic() + 20
    while status(engine, made) != ("exited", 137):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_an_engine_without_containers_leaves_no_control_group(own_engine: EngineProcess) -> None:
    own_engine.docker("run", "--rm", "busybox", "true")
    assert own_engine.cgroups()
    own_engine.stop()
    assert not own_engine.cgroups()


def test_the_group_of_a_running_container_outlives_the_engine(own_engine: EngineProcess) -> None:
    made = own_engine.docker("run", "-d", "busybox", "sleep", "1000").stdout.strip()
    own_engine.stop()
    assert own_engine.cgroups()
    own_engine.start()
    assert status(own_engine, made)[0] == "running"


@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_no_signal_is_ignored_or_blocked_inside(own_engine: EngineProcess, runtime: str) -> None:
    command = ["grep", "-E", "Sig(Ign|Blk)", "/proc/self/status"]
    made = own_engine.docker("run", "-d", "--runtime", runtime, "busybox", "sleep", "1000").stdout.strip()
    for shown in (
        own_engine.docker("run", "--rm", "--runtime", runtime, "busybox", *command).stdout,
        own_engine.docker("exec", made, *command).stdout,
    ):
        assert [int(line.split()[1], 16) for line in shown.splitlines()] == [0, 0]
