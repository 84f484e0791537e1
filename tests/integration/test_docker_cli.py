"""The stock docker command line against a real engine: what a person does all day."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from tests.engine_process import EngineProcess


def test_run_prints_the_output_and_returns_the_exit_code(engine: EngineProcess) -> None:
    done = engine.docker("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7", check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 7)


@pytest.mark.parametrize(("command", "code"), [("nosuchprogram", 127), ("/etc/passwd", 126), ("/etc", 126)])
def test_a_program_that_cannot_be_started_has_dockers_exit_code(engine: EngineProcess, command: str, code: int) -> None:
    done = engine.docker("run", "--rm", "busybox", command, check=False)
    assert done.returncode == code
    assert command in done.stderr
    assert engine.docker("ps", "-aq").stdout == ""


def test_stdin_goes_through_unchanged(engine: EngineProcess) -> None:
    data = bytes(range(256)) * 8192
    done = subprocess.run(
        ["docker", "-H", engine.url, "run", "-i", "--rm", "busybox", "cat"],
        input=data,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == data


def test_exec_runs_beside_the_first_process(engine: EngineProcess) -> None:
    engine.docker("run", "-d", "--name", "beside", "-e", "A=1", "busybox", "sleep", "100")
    assert engine.docker("exec", "-e", "B=2", "beside", "sh", "-c", "echo $A$B").stdout == "12\n"
    assert engine.docker("exec", "beside", "sh", "-c", "exit 5", check=False).returncode == 5
    assert (
        engine.docker("exec", "-w", "/tmp", "-u", "nobody", "beside", "sh", "-c", "pwd; id -u").stdout
        == "/tmp\n65534\n"
    )
    engine.docker("rm", "-f", "beside")


def test_logs_keep_both_streams_and_the_tail(engine: EngineProcess) -> None:
    engine.docker("run", "--name", "logged", "busybox", "sh", "-c", "for i in 1 2 3; do echo o$i; echo e$i >&2; done")
    done = engine.docker("logs", "logged")
    assert done.stdout == "o1\no2\no3\n"
    assert done.stderr == "e1\ne2\ne3\n"
    assert engine.docker("logs", "--tail", "1", "logged").stdout + engine.docker("logs", "--tail", "1", "logged").stderr
    engine.docker("rm", "logged")


def test_logs_follow_until_the_container_ends(engine: EngineProcess) -> None:
    engine.docker(
        "run", "-d", "--name", "following", "busybox", "sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.2; done"
    )
    assert engine.docker("logs", "-f", "following").stdout == "1\n2\n3\n"
    engine.docker("rm", "following")


def test_a_stopped_container_can_be_started_again(engine: EngineProcess) -> None:
    engine.docker("run", "-d", "--name", "again", "busybox", "sleep", "100")
    engine.docker("stop", "-t", "1", "again")
    assert engine.docker("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "again").stdout == "exited 137\n"
    engine.docker("start", "again")
    assert engine.docker("inspect", "-f", "{{.State.Running}}", "again").stdout == "true\n"
    engine.docker("rm", "-f", "again")


def test_pause_freezes_and_unpause_goes_on(engine: EngineProcess) -> None:
    engine.docker("run", "-d", "--name", "frozen", "busybox", "sleep", "100")
    engine.docker("pause", "frozen")
    assert "(Paused)" in engine.docker("ps", "--format", "{{.Status}}").stdout
    assert "paused" in engine.docker("exec", "frozen", "true", check=False).stderr
    engine.docker("unpause", "frozen")
    engine.docker("rm", "-f", "frozen")


def test_the_restart_policy_counts_and_gives_up(engine: EngineProcess) -> None:
    engine.docker("run", "-d", "--name", "failing", "--restart", "on-failure:2", "busybox", "sh", "-c", "exit 3")
    for _ in range(3):  # each ends with an exit, as Docker's
        assert engine.docker("wait", "failing").stdout == "3\n"
    assert engine.docker("inspect", "-f", "{{.RestartCount}} {{.State.ExitCode}}", "failing").stdout == "2 3\n"
    engine.docker("rm", "failing")


def test_a_published_port_reaches_the_container(engine: EngineProcess) -> None:
    engine.docker(
        "run", "-d", "--name", "web", "-p", "127.0.0.1::80", "busybox", "sh", "-c",
        "mkdir /www; echo welcome >/www/index.html; exec httpd -f -h /www",
    )  # fmt: skip
    address = engine.docker("port", "web", "80").stdout.strip()
    answer = ""
    for _ in range(50):
        done = subprocess.run(
            ["wget", "-q", "-O", "-", f"http://{address}/"], capture_output=True, text=True, check=False
        )
        answer = done.stdout
        if answer:
            break
        time.sleep(0.1)
    assert answer == "welcome\n"
    engine.docker("rm", "-f", "web")


def test_volumes_and_binds_keep_what_is_written(engine: EngineProcess, tmp_path: Path) -> None:
    engine.docker(
        "run",
        "--rm",
        "-v",
        "kept:/data",
        "-v",
        f"{tmp_path}:/host",
        "busybox",
        "sh",
        "-c",
        "echo a >/data/f; echo b >/host/f",
    )
    assert engine.docker("run", "--rm", "-v", "kept:/data:ro", "busybox", "cat", "/data/f").stdout == "a\n"
    assert (tmp_path / "f").read_text() == "b\n"
    engine.docker("volume", "rm", "kept")


def test_limits_and_options_are_seen_from_inside(engine: EngineProcess) -> None:
    done = engine.docker(
        "run", "--rm", "--memory", "64m", "--cpus", "0.5", "--hostname", "box", "-u", "nobody", "-w", "/made", "--init",
        "--ulimit", "nofile=100:100", "busybox", "sh", "-c", "hostname; id -u; pwd; ulimit -n; cat /proc/1/comm",
    )  # fmt: skip
    assert done.stdout.split()[:4] == ["box", "65534", "/made", "100"]
    assert "init" in done.stdout.split()[4] or "tini" in done.stdout.split()[4]


def test_save_and_load_carry_an_image(engine: EngineProcess, tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    before = json.loads(engine.docker("inspect", "busybox").stdout)[0]["Id"]
    engine.docker("tag", "busybox", "carried:1")
    engine.docker("save", "-o", str(archive), "carried:1")
    engine.docker("rmi", "carried:1")
    assert "Loaded image: carried:1" in engine.docker("load", "-i", str(archive)).stdout
    assert json.loads(engine.docker("inspect", "carried:1").stdout)[0]["Id"] == before
    engine.docker("rmi", "carried:1")


def test_events_tell_a_containers_life_in_order(engine: EngineProcess) -> None:
    since = str(time.time())
    engine.docker("run", "--rm", "--name", "told", "busybox", "true")
    time.sleep(0.2)
    done = engine.docker(
        "events", "--since", since, "--until", str(time.time()), "--filter", "container=told", "--format", "{{.Action}}"
    )
    actions = done.stdout.split()
    assert [action for action in actions if action in ("create", "start", "die", "destroy")] == [
        "create",
        "start",
        "die",
        "destroy",
    ]


def test_prune_takes_only_what_is_stopped(engine: EngineProcess) -> None:
    engine.docker("run", "-d", "--name", "lives", "busybox", "sleep", "100")
    engine.docker("run", "--name", "done", "busybox", "true")
    engine.docker("system", "prune", "-f")
    assert engine.docker("ps", "-a", "--format", "{{.Names}}").stdout == "lives\n"
    engine.docker("rm", "-f", "lives")
