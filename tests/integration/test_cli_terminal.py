"""``portside`` on a real terminal: raw mode, size, detach keys, signals, pipes. Each test reads like a session."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.client_engines import RealEngine, run_default

TIMEOUT_S = 20.0
SHELL = ("sh", "-c", "echo '#'; while read line; do eval \"$line\"; echo '#'; done")
"""A shell without line editing: busybox's own loses keys that come with a change of size, under dockerd too."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealEngine]:
    with run_default(tmp_path_factory.mktemp("engine")) as running:
        yield running


class Terminal:
    """A command on a pseudo terminal of its own."""

    def __init__(self, endpoint: str, *words: str, rows: int = 30, columns: int = 100) -> None:
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.execv(sys.executable, [sys.executable, "-m", "engine.cli", "-H", endpoint, *words])
        self.seen = b""
        self._taken = 0
        self.resize(rows, columns)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.kill(self.pid, signal.SIGWINCH) if self.seen else None

    def type(self, data: bytes) -> None:
        os.write(self.descriptor, data)

    def wait_for(self, text: bytes) -> None:
        """Read until a text has come after the last that was waited for; fails after ``TIMEOUT_S``."""
        deadline = time.monotonic() + TIMEOUT_S
        start = self._taken
        while text not in self.seen[start:]:
            assert time.monotonic() < deadline, f"{text!r} did not come: {self.seen[start:]!r}"
            if select.select([self.descriptor], [], [], 0.1)[0]:
                data = self._read()
                assert data, f"ended before {text!r}: {self.seen[start:]!r}"
        self._taken = self.seen.index(text, start) + len(text)

    def _read(self) -> bytes:
        try:
            data = os.read(self.descriptor, 65536)
        except OSError:
            return b""
        self.seen += data
        return data

    def exit_code(self) -> int:
        """Read to the end and return the exit code."""
        while self._read():
            pass
        os.close(self.descriptor)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def is_raw(self) -> bool:
        return not termios.tcgetattr(self.descriptor)[3] & termios.ICANON


def portside(engine: RealEngine, *words: str, data: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    arguments = [sys.executable, "-m", "engine.cli", "-H", engine.endpoint, *words]
    return subprocess.run(arguments, input=data or b"", capture_output=True, timeout=60, check=False)


def test_a_shell_has_the_terminals_size_and_follows_it(engine: RealEngine) -> None:
    terminal = Terminal(engine.endpoint, "run", "-it", "--rm", "--network", "none", "busybox", *SHELL)
    terminal.wait_for(b"#")
    assert terminal.is_raw()
    terminal.type(b"stty size\n")
    terminal.wait_for(b"30 100\r\n")
    terminal.resize(41, 121)
    for _ in range(50):
        terminal.type(b"stty size\n")
        terminal.wait_for(b"\r\n")
        if b"41 121" in terminal.seen:
            break
        time.sleep(0.05)
    terminal.wait_for(b"#")
    assert b"41 121" in terminal.seen
    terminal.type(b"trap 'exit 5' INT; echo r''eady; sleep 60\n")
    terminal.wait_for(b"ready")
    terminal.type(b"\x03")
    assert terminal.exit_code() == 5


def test_detach_keys_leave_the_container_running_and_attach_comes_back(engine: RealEngine) -> None:
    terminal = Terminal(engine.endpoint, "run", "-it", "--name", "left", "--network", "none", "busybox", *SHELL)
    terminal.wait_for(b"#")
    terminal.type(b"\x10")
    terminal.type(b"\x11")
    assert terminal.exit_code() == 0
    assert portside(engine, "inspect", "-f", "{{.State.Running}}", "left").stdout == b"true\n"
    again = Terminal(engine.endpoint, "attach", "--detach-keys", "ctrl-a,d", "left")
    again.type(b"\n")
    again.wait_for(b"#\r\n")
    again.type(b"echo he''llo\n")
    again.wait_for(b"hello\r\n")
    again.type(b"\x01d")
    assert again.exit_code() == 1
    assert again.seen.endswith(b"read escape sequence\r\n")
    inside = Terminal(engine.endpoint, "exec", "-it", "left", *SHELL, rows=22, columns=77)
    inside.wait_for(b"#")
    inside.type(b"stty size; exit 6\n")
    inside.wait_for(b"22 77\r\n")
    assert inside.exit_code() == 6
    assert portside(engine, "rm", "-f", "left").returncode == 0


@pytest.mark.parametrize(("name", "number"), [("TERM", signal.SIGTERM), ("INT", signal.SIGINT), ("HUP", signal.SIGHUP)])
def test_signals_reach_the_container(engine: RealEngine, name: str, number: signal.Signals) -> None:
    script = f"trap 'echo got; exit 9' {name}; echo up; while :; do sleep 0.05; done"
    arguments = [sys.executable, "-m", "engine.cli", "-H", engine.endpoint]
    arguments += ["run", "--rm", "--network", "none", "busybox", "sh", "-c", script]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.send_signal(number)
        assert process.stdout.read() == b"got\n"
        assert process.wait(TIMEOUT_S) == 9


def test_pipes_go_through_whole_and_their_end_is_seen(engine: RealEngine) -> None:
    data = os.urandom(3_000_000)
    finished = portside(engine, "run", "-i", "--rm", "--network", "none", "busybox", "cat", data=data)
    assert (finished.returncode, finished.stderr) == (0, b"")
    assert finished.stdout == data


def test_both_streams_stay_apart_and_the_exit_code_is_the_containers(engine: RealEngine) -> None:
    script = "echo out; echo err >&2; exit 7"
    finished = portside(engine, "run", "--rm", "--network", "none", "busybox", "sh", "-c", script)
    assert (finished.returncode, finished.stdout, finished.stderr) == (7, b"out\n", b"err\n")


@pytest.mark.parametrize(
    ("command", "code", "text"),
    [("nope", 127, b"executable file not found"), ("/etc", 126, b"permission denied")],
)
def test_what_cannot_be_run_has_dockers_exit_code(engine: RealEngine, command: str, code: int, text: bytes) -> None:
    finished = portside(engine, "run", "--rm", "--network", "none", "busybox", command)
    assert finished.returncode == code
    assert finished.stderr.startswith(b"portside: Error response from daemon: ")
    assert text in finished.stderr.lower()


def test_a_terminal_is_not_made_of_a_pipe(engine: RealEngine) -> None:
    finished = portside(engine, "run", "-it", "--rm", "--network", "none", "busybox", "sh")
    assert (finished.returncode, finished.stdout) == (1, b"")
    assert finished.stderr.startswith(b"the input device is not a TTY\nHint: ")


def test_the_id_file_holds_the_id_and_goes_with_a_failure(engine: RealEngine, tmp_path: Path) -> None:
    file = tmp_path / "cid"
    created = portside(engine, "create", "--cidfile", str(file), "--network", "none", "busybox", "true")
    assert file.read_bytes() == created.stdout.strip()
    again = portside(engine, "create", "--cidfile", str(file), "--network", "none", "busybox", "true")
    assert again.stderr.startswith(b"container ID file found, make sure the other container isn't running")
    missing = tmp_path / "missing"
    assert portside(engine, "create", "--pull", "never", "--cidfile", str(missing), "nope:1").returncode != 0
    assert not missing.exists()
    assert portside(engine, "rm", created.stdout.decode().strip()).returncode == 0


def test_a_closed_output_ends_the_command_quietly(engine: RealEngine) -> None:
    arguments = [sys.executable, "-m", "engine.cli", "-H", engine.endpoint, "images"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(TIMEOUT_S) == 1


def test_images_travel_through_pipes_and_files(engine: RealEngine, tmp_path: Path) -> None:
    piped = portside(engine, "save", "busybox")
    assert piped.returncode == 0
    loaded = portside(engine, "load", data=piped.stdout)
    assert (loaded.returncode, loaded.stdout) == (0, b"Loaded image: busybox:latest\n")
    file = tmp_path / "image.tar"
    assert portside(engine, "save", "-o", str(file), "busybox").returncode == 0
    assert portside(engine, "load", "-q", "-i", str(file)).stdout == b"Loaded image: busybox:latest\n"
    assert [path.name for path in tmp_path.iterdir()] == ["image.tar"]
