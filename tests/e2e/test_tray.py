"""The tray icon in a real tray (trayer, XEmbed), clicked by mouse."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.screen import Window, until
from tests.engine_process import EngineProcess

TRAY = 32

pytestmark = [
    pytest.mark.skipif(not os.environ.get("DISPLAY"), reason="no X server: tests/run.sh e2e starts one"),
    pytest.mark.skipif(shutil.which("trayer") is None, reason="trayer is not installed"),
]


@pytest.fixture
def tray(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A tray at the bottom of the screen; without a session bus, so that icons are embedded."""
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "disabled:")
    command = ["trayer", "--edge", "bottom", "--align", "left", "--widthtype", "pixel", "--width", "200"]
    command += ["--heighttype", "pixel", "--height", str(TRAY), "--SetDockType", "false", "--SetPartialStrut", "false"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            time.sleep(0.5)
            assert process.poll() is None
            yield
        finally:
            process.kill()


def icon_place() -> tuple[int, int] | None:
    """Return the middle of Portside's icon in the tray, None as long as it is not there."""
    tree = subprocess.run(["xwininfo", "-root", "-tree"], capture_output=True, text=True, check=True).stdout
    for line in tree.splitlines():
        found = re.search(r'"Portside": \("portside".* (\d+)x(\d+)\+\S+ +\+(\d+)\+(\d+)$', line)
        if found is not None:
            width, height, x, y = map(int, found.groups())
            if width <= TRAY and height <= TRAY:
                return x + width // 2, y + height // 2
    return None


def windows_shown(window: Window) -> int:
    """Return how many windows of the application are on the screen (its icon is one)."""
    command = ["xdotool", "search", "--onlyvisible", "--class", "portside"]
    return len(subprocess.run(command, capture_output=True, text=True, check=False).stdout.split())


def click_icon(window: Window, button: int) -> None:
    """Click on the icon."""
    place = icon_place()
    assert place is not None
    window.xdotool("mousemove", str(place[0]), str(place[1]))
    window.xdotool("click", str(button))


def test_the_tray_opens_the_window_again_and_quits_while_containers_go_on(
    own_engine: EngineProcess, tray: None, tmp_path: Path
) -> None:
    own_engine.docker("run", "-d", "--name", "alone", "busybox", "sleep", "600")
    window = Window(own_engine.url, tmp_path)
    try:
        until(icon_place, "the icon is in the tray")
        with_window = windows_shown(window)
        window.ask_to_close()
        until(lambda: windows_shown(window) < with_window, "the window closes")
        assert window.process.poll() is None, "with a tray it goes on without its window"

        click_icon(window, 1)
        until(lambda: windows_shown(window) == with_window, "a click on the icon opens the window")
        until(window.find, "it is the same window")
        window.ask_to_close()
        until(lambda: windows_shown(window) < with_window, "the window closes again")

        click_icon(window, 3)
        until(lambda: windows_shown(window) == with_window, "the right button opens the menu")
        window.key("Up", "Return")  # the last entry is Quit
        until(lambda: window.process.poll() is not None, "it quits")
        assert window.process.returncode == 0, window.log
        assert "Traceback" not in window.log
    finally:
        window.end()
    assert own_engine.api("GET", "/containers/alone/json")[1]["State"]["Running"]
