"""Logs of real containers: rotation under a writer, following, times, tails, what cannot be read."""

from __future__ import annotations

import subprocess
import time

from tests.engine_process import DOCKER, EngineProcess

LINES = 40_000
TALK = f"i=0; while [ $i -lt {LINES} ]; do echo line $i; i=$((i+1)); [ $((i % 2000)) -eq 0 ] && sleep 0.2; done"
"""Writes for at least four seconds, so that the log is rotated several times in between."""


def expected(first: int = 0) -> str:
    return "".join(f"line {number}\n" for number in range(first, LINES))


def test_no_line_is_lost_or_doubled_by_rotation(engine: EngineProcess) -> None:
    engine.docker(
        "run", "-d", "--name", "rotated", "--log-opt", "max-size=300k", "--log-opt", "max-file=50",
        "busybox", "sh", "-c", TALK,
    )  # fmt: skip
    followed = engine.docker("logs", "-f", "rotated").stdout
    assert followed == expected()
    folder = engine.data_root / "containers" / engine.api("GET", "/containers/rotated/json")[1]["Id"]
    assert len(list(folder.glob("*.log.*"))) >= 2
    assert engine.docker("logs", "rotated").stdout == expected()
    assert engine.docker("logs", "--tail", "30000", "rotated").stdout == expected(LINES - 30_000)
    engine.docker("rm", "rotated")


def test_old_files_go_when_there_are_enough(engine: EngineProcess) -> None:
    engine.docker(
        "run", "-d", "--name", "bounded", "--log-opt", "max-size=50k", "--log-opt", "max-file=2",
        "busybox", "sh", "-c", TALK,
    )  # fmt: skip
    assert engine.docker("logs", "-f", "bounded").stdout == expected()  # who follows sees all of it
    folder = engine.data_root / "containers" / engine.api("GET", "/containers/bounded/json")[1]["Id"]
    assert len(list(folder.glob("*.log*"))) == 2
    kept = engine.docker("logs", "bounded").stdout
    assert expected().endswith(kept)
    assert 0 < len(kept) < len(expected())
    engine.docker("rm", "bounded")


def test_stamps_stand_before_lines_and_nowhere_else(engine: EngineProcess) -> None:
    # conmon reads 8 KiB at a time and so cuts lines that are long to write and short to read.
    engine.docker("run", "--name", "stamped", "busybox", "seq", "1", "20000")
    lines = engine.docker("logs", "-t", "stamped").stdout.splitlines()
    assert [line.split(" ")[1:] for line in lines] == [[str(number)] for number in range(1, 20001)]
    stamps = [line.split(" ")[0] for line in lines]
    assert stamps == sorted(stamps)
    assert all(len(stamp) == 30 and stamp.endswith("Z") for stamp in stamps)
    after = engine.docker("logs", "--since", stamps[15_000], "stamped").stdout.split()
    until = engine.docker("logs", "--until", stamps[15_000], "stamped").stdout.split()
    first = stamps.index(stamps[15_000]) + 1
    assert after == [str(number) for number in range(first, 20_001)]
    last = 20_000 - stamps[::-1].index(stamps[15_000])
    assert until == [str(number) for number in range(1, last + 1)]
    engine.docker("rm", "stamped")


def test_following_ends_with_the_container_although_it_is_started_again(engine: EngineProcess) -> None:
    engine.docker("run", "-d", "--name", "again", "busybox", "sh", "-c", "echo begun; exec sleep 100")
    follower = subprocess.Popen([DOCKER, "-H", engine.url, "logs", "-f", "again"], stdout=subprocess.PIPE)
    try:
        assert follower.stdout is not None
        assert follower.stdout.readline() == b"begun\n"
        engine.docker("restart", "-t", "0", "again")
        rest, _ = follower.communicate(timeout=10)
        assert rest == b""
        assert follower.returncode == 0
    finally:
        follower.kill()
        follower.wait()
    assert engine.docker("logs", "again").stdout == "begun\nbegun\n"
    engine.docker("rm", "-f", "again")


def test_a_line_without_an_end_is_seen_at_once(engine: EngineProcess) -> None:
    engine.docker("run", "-d", "--name", "prompting", "busybox", "sh", "-c", "printf 'a\\nname? '; exec sleep 100")
    deadline = time.monotonic() + 10
    while engine.docker("logs", "prompting").stdout != "a\nname? ":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert engine.docker("logs", "--tail", "1", "prompting").stdout == "name? "
    engine.docker("rm", "-f", "prompting")


def test_what_cannot_be_read_is_said_as_moby_says_it(engine: EngineProcess) -> None:
    engine.docker("run", "--name", "silent", "--log-driver", "none", "busybox", "echo", "x")
    status, body = engine.api("GET", "/containers/silent/logs?stdout=1")
    assert (status, body["message"]) == (501, "configured logging driver does not support reading")
    status, body = engine.api("GET", "/containers/silent/logs")
    assert (status, body["message"]) == (400, "Bad parameters: you must choose at least one stream")
    status, body = engine.api("GET", "/containers/silent/logs?stdout=1&since=soon")
    assert status == 400
    engine.docker("rm", "silent")


def test_a_container_that_was_never_started_has_no_log(engine: EngineProcess) -> None:
    engine.docker("create", "--name", "unborn", "busybox", "true")
    assert engine.docker("logs", "-f", "unborn").stdout == ""
    engine.docker("rm", "unborn")


def test_a_terminals_log_is_raw(engine: EngineProcess) -> None:
    engine.docker("run", "-d", "-t", "--name", "raw", "busybox", "sh", "-c", "echo out; echo err >&2")
    engine.docker("wait", "raw")
    assert engine.docker("logs", "raw").stdout.replace("\r\n", "\n") == "out\nerr\n"
    engine.docker("rm", "raw")
