"""Standard input, output and error: terminals, raw mode, bytes without blocking the loop.

Owns the file descriptors 0, 1 and 2. Knows nothing of engines or commands.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import sys
from collections.abc import AsyncIterator

READ_BYTES = 64 * 1024
STDIN, STDOUT, STDERR = 0, 1, 2


class Console:
    """The three standard streams of a command."""

    def __init__(self) -> None:
        """Change nothing yet."""
        self._saved: list[tuple[int, list[object]]] = []

    def out(self, text: str) -> None:
        """Print text to standard output as it is."""
        self.write(STDOUT, text.encode("utf-8", "surrogateescape"))

    def err(self, text: str) -> None:
        """Print text to standard error as it is."""
        self.write(STDERR, text.encode("utf-8", "surrogateescape"))

    def write(self, descriptor: int, data: bytes) -> None:
        """Write bytes, all of them; raises BrokenPipeError when nobody reads."""
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(descriptor, view) :]
            except BlockingIOError:
                _wait_writable(descriptor)

    async def write_async(self, descriptor: int, data: bytes) -> None:
        """Write bytes; a pipe whose reader is slow holds only this task back, not the loop."""
        if stat.S_ISFIFO(os.fstat(descriptor).st_mode) and len(data) > 4096:
            await asyncio.to_thread(self.write, descriptor, data)
        else:
            self.write(descriptor, data)

    def is_terminal(self, descriptor: int) -> bool:
        """Whether a stream is a terminal."""
        return os.isatty(descriptor)

    def size(self) -> tuple[int, int]:
        """Return the terminal's (height, width), (0, 0) where there is none."""
        try:
            size = os.get_terminal_size(STDOUT)
        except OSError:
            return 0, 0
        return size.lines, size.columns

    def width(self) -> int:
        """Return the width for wrapped text."""
        return self.size()[1] or 80

    def set_raw(self) -> None:
        """Pass every key and byte through unchanged; ``restore`` ends it."""
        import termios

        for descriptor in (STDIN, STDOUT):
            if not os.isatty(descriptor):
                continue
            mode = termios.tcgetattr(descriptor)
            self._saved.append((descriptor, [*mode[:6], list(mode[6])]))
            mode[0] &= ~(
                termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP
                | termios.INLCR | termios.IGNCR | termios.ICRNL | termios.IXON
            )  # fmt: skip
            mode[1] &= ~termios.OPOST
            mode[2] = mode[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
            mode[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
            mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
            termios.tcsetattr(descriptor, termios.TCSANOW, mode)

    def restore(self) -> None:
        """Put the terminal back; does nothing when it is not raw."""
        if not self._saved:
            return
        import termios

        while self._saved:
            descriptor, mode = self._saved.pop()
            termios.tcsetattr(descriptor, termios.TCSANOW, mode)  # type: ignore[arg-type]

    async def read_stdin(self) -> AsyncIterator[bytes]:
        """Yield what comes on standard input until its end, without a thread that would outlive the command."""
        while True:
            # Ordinary files and /dev/null cannot be polled; they never block.
            with contextlib.suppress(PermissionError):
                await _wait_readable(STDIN)
            try:
                data = os.read(STDIN, READ_BYTES)
            except BlockingIOError:
                continue
            except OSError:
                return  # the terminal has gone
            if not data:
                return
            yield data
            await asyncio.sleep(0)

    def prompt(self, question: str, *, is_secret: bool = False) -> str:
        """Ask on the terminal and return the answer's line; a secret is not shown."""
        if is_secret:
            import getpass

            return getpass.getpass(question)
        self.out(question)
        return sys.stdin.readline().rstrip("\r\n")

    def confirm(self, question: str) -> bool:
        """Ask a question whose answer is no unless it is ``y``."""
        self.out(f"{question} [y/N] ")
        answer = sys.stdin.readline().strip().lower()
        return answer == "y"


async def _wait_readable(descriptor: int) -> None:
    """Wait until a read would not block; raises PermissionError for what cannot be polled.

    The reader is taken away by its own callback: one that stays would report the same bytes twice, and the
    read after the second report would block the loop.
    """
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def report() -> None:
        loop.remove_reader(descriptor)
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(descriptor, report)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


def _wait_writable(descriptor: int) -> None:
    import select

    select.select([], [descriptor], [])


async def read_file(path: str) -> AsyncIterator[bytes]:
    """Yield a file in pieces; raises FileNotFoundError and its kin at the first piece."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while data := await asyncio.to_thread(os.read, descriptor, 1024 * 1024):
            yield data
    finally:
        os.close(descriptor)
