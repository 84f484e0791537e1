"""The real window as a person sees it under a real X server: pixels, mouse, keyboard, clipboard."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE_S = 15.0
WIDTH, HEIGHT = 1180, 740
# Where things are in a window of this size: the navigation column is 208 wide, a row 44 high, the first at 132.
FIRST_ROW_Y, ROW_HEIGHT = 132, 44
NAME_X = 300
TERMINAL_TAB_X, TABS_Y = 322, 101
QUICK_ACTION_X, QUICK_DELETE_X = WIDTH - 72, WIDTH - 40


def until(is_so: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if is_so():
            return
        time.sleep(0.05)
    raise AssertionError(f"not within {patience_s} s: {what}")


class Window:
    """``portside-desktop`` as a person sees it: pixels, mouse and keyboard."""

    def __init__(self, url: str, folder: Path) -> None:
        """Start it and wait until its window is there."""
        self._log = folder / "window.log"
        environment = {**os.environ, "QT_QPA_PLATFORM": "xcb", "HOME": str(folder)}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "desktop", "-H", url, "--theme", "light"],
                env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self.number = ""
        until(self.find, "the window opens")
        self.xdotool("windowsize", "--sync", self.number, str(WIDTH), str(HEIGHT))
        self.xdotool("windowmove", self.number, "0", "0")
        self.xdotool("windowfocus", self.number)

    def find(self) -> bool:
        """Look for its window, which gets a new number each time it is opened; return whether it is there."""
        assert self.process.poll() is None, self.log
        command = ["xdotool", "search", "--onlyvisible", "--pid", str(self.process.pid), "--name", "^Portside$"]
        found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
        self.number = found[0] if found else ""
        return bool(found)

    @property
    def log(self) -> str:
        """What it wrote."""
        return self._log.read_text()

    def xdotool(self, *words: str) -> str:
        """Do something with mouse or keyboard."""
        return subprocess.run(["xdotool", *words], capture_output=True, text=True, check=True, timeout=20).stdout

    def click(self, x: int, y: int, *, twice: bool = False) -> None:
        """Click at a place of the window."""
        self.xdotool("mousemove", str(x), str(y))
        self.xdotool("click", *(("--repeat", "2", "--delay", "40") if twice else ()), "1")

    def key(self, *keys: str) -> None:
        """Press keys."""
        self.xdotool("key", *keys)

    def ask_to_close(self) -> None:
        """Do what a window manager does for the cross in a window's corner: send WM_DELETE_WINDOW."""
        code = (
            "import ctypes, sys\n"
            "x = ctypes.CDLL('libX11.so.6')\n"
            "x.XOpenDisplay.restype = ctypes.c_void_p\n"
            "x.XInternAtom.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]\n"
            "x.XInternAtom.restype = ctypes.c_ulong\n"
            "x.XSendEvent.argtypes = [ctypes.c_void_p, ctypes.c_ulong, ctypes.c_int, ctypes.c_long, ctypes.c_void_p]\n"
            "x.XSync.argtypes = [ctypes.c_void_p, ctypes.c_int]\n"
            "d = x.XOpenDisplay(None)\n"
            "w = int(sys.argv[1])\n"
            "e = (ctypes.c_long * 24)()\n"
            "atom = lambda name: x.XInternAtom(d, name, 0)\n"
            "e[0], e[4], e[5], e[6], e[7] = 33, w, atom(b'WM_PROTOCOLS'), 32, atom(b'WM_DELETE_WINDOW')\n"
            "x.XSendEvent(d, w, 0, 0, ctypes.byref(e)); x.XSync(d, 0)\n"
        )
        subprocess.run([sys.executable, "-c", code, self.number], check=True, timeout=20)

    def end(self) -> None:
        """End it as a session does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)


@contextmanager
def kept_display() -> Iterator[None]:
    """Keep one client connected: an X server resets when its last one leaves, and refuses those that come then."""
    library = ctypes.CDLL("libX11.so.6")
    library.XOpenDisplay.restype = ctypes.c_void_p
    library.XCloseDisplay.argtypes = [ctypes.c_void_p]
    display = library.XOpenDisplay(None)
    assert display, "the X server does not answer"
    yield
    library.XCloseDisplay(display)


def clipboard() -> str:
    """Return the clipboard's text."""
    code = "import sys; from PySide6.QtGui import QGuiApplication as G; a = G(sys.argv); print(G.clipboard().text())"
    environment = {**os.environ, "QT_QPA_PLATFORM": "xcb"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=20, check=False
    )
    return done.stdout
