"""The real window under a real X server over a real engine: containers started, read, stopped, deleted by mouse."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.screen import (
    FIRST_ROW_Y,
    NAME_X,
    QUICK_ACTION_X,
    QUICK_DELETE_X,
    TABS_Y,
    TERMINAL_TAB_X,
    Window,
    clipboard,
    until,
)
from tests.engine_process import EngineProcess

pytestmark = [
    pytest.mark.skipif(not os.environ.get("DISPLAY"), reason="no X server: tests/run.sh e2e starts one"),
    pytest.mark.skipif(shutil.which("xdotool") is None, reason="xdotool is not installed"),
]


@pytest.fixture
def window(own_engine: EngineProcess, tmp_path: Path) -> Iterator[Window]:
    """A window over an engine with one container that writes lines, stopped."""
    own_engine.docker("create", "--name", "alone", "busybox", "sh", "-c", "while :; do echo tick; sleep 0.2; done")
    made = Window(own_engine.url, tmp_path)
    try:
        yield made
        assert "Traceback" not in made.log
    finally:
        made.end()


def state(engine: EngineProcess, name: str = "alone") -> str:
    """Return a container's state, "gone" without one."""
    status, body = engine.api("GET", f"/containers/{name}/json")
    return str(body["State"]["Status"]) if status == 200 else "gone"


def test_a_container_is_started_read_stopped_and_deleted_by_clicking(own_engine: EngineProcess, window: Window) -> None:
    def start() -> bool:
        window.click(QUICK_ACTION_X, FIRST_ROW_Y)
        time.sleep(0.5)
        return state(own_engine) == "running"

    until(start, "the quick action of the row starts the container")
    window.click(NAME_X, FIRST_ROW_Y, twice=True)

    def copied() -> bool:
        window.key("ctrl+a", "ctrl+c")
        return "tick\ntick" in clipboard()

    until(copied, "the detail opens, the log is shown and copied")
    window.key("Escape")
    time.sleep(0.3)
    window.click(QUICK_ACTION_X, FIRST_ROW_Y)
    until(lambda: state(own_engine) == "exited", "the quick action of the row stops the container")
    time.sleep(0.5)
    window.click(QUICK_DELETE_X, FIRST_ROW_Y)
    time.sleep(0.7)
    window.key("Tab", "space")
    until(lambda: state(own_engine) == "gone", "the question is answered and the container deleted")


def test_a_shell_in_a_container_is_typed_into(own_engine: EngineProcess, window: Window) -> None:
    own_engine.docker("start", "alone")
    time.sleep(1)
    window.click(NAME_X, FIRST_ROW_Y, twice=True)
    time.sleep(0.7)
    window.click(TERMINAL_TAB_X, TABS_Y)

    def written() -> bool:
        window.xdotool("type", "--delay", "20", "echo $((6*7))-$(stty size) > /tmp/answer")
        window.key("Return")
        time.sleep(0.5)
        return own_engine.docker("exec", "alone", "cat", "/tmp/answer", check=False).stdout.startswith("42-")

    until(written, "what is typed runs in the container")
    rows, columns = own_engine.docker("exec", "alone", "cat", "/tmp/answer").stdout.strip().removeprefix("42-").split()
    assert int(rows) > 20, "the terminal has the size of the window"
    assert int(columns) > 80
    window.xdotool("type", "--delay", "20", "vi /tmp/text")
    window.key("Return")
    time.sleep(0.5)
    window.xdotool("type", "--delay", "20", "ihello from vi")
    window.key("Escape")
    time.sleep(0.5)  # vi waits whether an escape begins a sequence
    window.xdotool("type", "--delay", "20", ":wq")
    window.key("Return")
    until(
        lambda: own_engine.docker("exec", "alone", "cat", "/tmp/text", check=False).stdout == "hello from vi\n",
        "a program of the whole screen works",
    )


def test_the_window_outlives_the_engine_and_shows_what_it_has_afterwards(
    own_engine: EngineProcess, window: Window
) -> None:
    time.sleep(1)
    own_engine.kill()
    time.sleep(1.5)
    assert window.process.poll() is None
    own_engine.start()
    own_engine.docker("rm", "alone")
    own_engine.docker("create", "--name", "later", "busybox", "sleep", "60")

    def start() -> bool:
        window.click(QUICK_ACTION_X, FIRST_ROW_Y)
        time.sleep(0.5)
        return state(own_engine, "later") == "running"

    until(start, "the container that came meanwhile is there and starts")


def test_closing_the_window_without_a_tray_ends_it_and_not_the_container(
    own_engine: EngineProcess, window: Window
) -> None:
    own_engine.docker("start", "alone")
    window.ask_to_close()
    until(lambda: window.process.poll() is not None, "it ends")
    assert state(own_engine) == "running"


def test_without_an_engine_it_opens_all_the_same(tmp_path: Path) -> None:
    window = Window(f"unix://{tmp_path}/none.sock", tmp_path)
    try:
        time.sleep(1)
        assert window.process.poll() is None
        assert "Traceback" not in window.log
    finally:
        window.end()
