"""top: which lines of ps are a container's, and what is refused."""

from __future__ import annotations

import pytest

from engine.containers.top import parse_ps, top
from engine.errors import Internal

OUTPUT = """UID          PID    PPID CMD
root           1       0 /sbin/init  splash
nobody        12       1 sleep 100
root           -       - -
nobody        13      12 sh -c  echo a
"""


def test_only_the_containers_lines_are_shown_and_the_last_column_holds_the_rest() -> None:
    found = parse_ps(OUTPUT, {12, 13})
    assert found.titles == ["UID", "PID", "PPID", "CMD"]
    assert found.processes == [
        ["nobody", "12", "1", "sleep 100"],
        ["root", "-", "-", "-"],  # a thread of the process before
        ["nobody", "13", "12", "sh -c echo a"],
    ]
    assert parse_ps(OUTPUT, {13}).processes == [["nobody", "13", "12", "sh -c echo a"]]
    assert parse_ps(OUTPUT, set()).processes == []


def test_ps_without_a_pid_is_refused() -> None:
    with pytest.raises(Internal, match="Couldn't find PID field in ps output"):
        parse_ps("CMD\nsh\n", {1})


def test_a_pid_that_is_no_number_is_refused() -> None:
    with pytest.raises(Internal, match="Unexpected pid 'x'"):
        parse_ps("PID\nx\n", {1})


async def test_another_column_must_not_call_itself_pid() -> None:
    with pytest.raises(Internal, match='specifying "cmd=PID" is not allowed'):
        await top([1], "-o cmd=PID")
