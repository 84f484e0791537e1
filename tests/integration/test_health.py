"""Health checks of real containers, seen through the API."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.engine_process import EngineProcess

MILLISECOND = 1_000_000


def create(engine: EngineProcess, name: str, test: list[str], **check: int) -> str:
    body = {
        "Image": "busybox",
        "Cmd": ["sleep", "100"],
        "StopSignal": "SIGKILL",
        "Healthcheck": {"Test": test, "Interval": 50 * MILLISECOND, **check},
    }
    status, answer = engine.api("POST", f"/containers/create?name={name}", body)
    assert status == 201, answer
    assert engine.api("POST", f"/containers/{name}/start")[0] == 204
    return str(answer["Id"])


def health(engine: EngineProcess, name: str) -> dict[str, Any]:
    found = engine.api("GET", f"/containers/{name}/json")[1]["State"]["Health"]
    assert isinstance(found, dict)
    return found


def wait_status(engine: EngineProcess, name: str, status: str) -> dict[str, Any]:
    deadline = time.monotonic() + 20
    while (found := health(engine, name))["Status"] != status:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


def list_status(engine: EngineProcess, name: str) -> str:
    filters = json.dumps({"name": [name]})
    return str(engine.api("GET", f"/containers/json?all=1&filters={filters}".replace(" ", ""))[1][0]["Status"])


def remove(engine: EngineProcess, name: str) -> None:
    assert engine.api("DELETE", f"/containers/{name}?force=1")[0] == 204


def test_the_check_runs_inside_and_its_outcome_is_shown(engine: EngineProcess) -> None:
    began = time.time()
    create(engine, "checked", ["CMD-SHELL", "echo looking; test -e /tmp/ready"], Retries=2)
    assert health(engine, "checked")["Status"] == "starting"
    assert "(health: starting)" in list_status(engine, "checked")
    unhealthy = wait_status(engine, "checked", "unhealthy")
    assert unhealthy["FailingStreak"] >= 2
    assert (unhealthy["Log"][-1]["ExitCode"], unhealthy["Log"][-1]["Output"]) == (1, "looking\n")
    assert engine.docker("exec", "checked", "touch", "/tmp/ready").returncode == 0
    assert wait_status(engine, "checked", "healthy")["FailingStreak"] == 0
    assert "(healthy)" in list_status(engine, "checked")
    assert len(health(engine, "checked")["Log"]) <= 5
    listed = engine.docker("ps", "--filter", "health=healthy", "--format", "{{.Names}}").stdout
    assert listed == "checked\n"
    engine.api("POST", "/containers/checked/kill")
    engine.api("POST", "/containers/checked/wait")
    assert health(engine, "checked")["Status"] == "unhealthy"
    remove(engine, "checked")
    done = engine.docker(
        "events", "--since", str(int(began)), "--until", str(int(time.time()) + 1), "--filter", "container=checked",
        "--format", "{{.Action}}",
    )  # fmt: skip
    statuses = [line for line in done.stdout.splitlines() if line.startswith("health_status")]
    assert statuses == ["health_status: unhealthy", "health_status: healthy"]
    assert "exec_die" in done.stdout


def test_a_check_that_hangs_is_killed_and_counts_as_failed(engine: EngineProcess) -> None:
    check = ["CMD-SHELL", "echo begun; exec sleep 1000"]
    create(engine, "hanging", check, Timeout=1000 * MILLISECOND, Retries=1)
    found = wait_status(engine, "hanging", "unhealthy")
    assert found["Log"][-1]["ExitCode"] == -1
    assert found["Log"][-1]["Output"] == "Health check exceeded timeout (1s): begun\n"
    sleeping = [row for row in engine.docker("top", "hanging").stdout.splitlines() if "sleep 1000" in row]
    assert len(sleeping) <= 1  # of the check that is running now, none of those before
    remove(engine, "hanging")


def test_a_check_that_cannot_be_run_counts_as_failed(engine: EngineProcess) -> None:
    create(engine, "absent", ["CMD", "/no/such/program"], Retries=1)
    assert "/no/such/program" in wait_status(engine, "absent", "unhealthy")["Log"][-1]["Output"]
    remove(engine, "absent")


def test_health_goes_on_after_the_engine_was_killed(own_engine: EngineProcess) -> None:
    create(own_engine, "kept", ["CMD", "true"])
    wait_status(own_engine, "kept", "healthy")
    time.sleep(0.5)  # a result is stored a moment after it is shown: nobody was promised it
    own_engine.kill()
    own_engine.start()
    before = health(own_engine, "kept")
    assert before["Status"] == "healthy"
    deadline = time.monotonic() + 20
    while health(own_engine, "kept")["Log"][-1]["Start"] <= before["Log"][-1]["Start"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
