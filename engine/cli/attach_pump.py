"""A local terminal, or pipes, joined to a process in a container.

Owns the pumping of input and output, raw mode, the terminal's size, detach keys and the forwarding of signals.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator

from engine.cli.console import STDERR, STDIN, STDOUT, Console
from engine.cli.detach_keys import DEFAULT_SEQUENCE, DetachFilter, parse_detach_keys
from engine.cli.failures import CommandError
from engine.client import HijackedStream
from engine.errors import NotSupported, PortsideError

Resize = Callable[[int, int], Awaitable[None]]
RESIZE_ATTEMPTS = 10
_NOT_FORWARDED = frozenset(
    (
        signal.SIGCHLD, signal.SIGPIPE, signal.SIGURG, signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV, signal.SIGBUS,
        signal.SIGFPE, signal.SIGILL, signal.SIGPROF, signal.SIGVTALRM, signal.SIGTRAP, signal.SIGSYS,
    )
)  # fmt: skip


def check_terminal(console: Console, *, wants_input: bool, is_tty: bool) -> None:
    """Raise CommandError when a container's terminal is to be fed from something that is none."""
    if is_tty and wants_input and not console.is_terminal(STDIN):
        raise CommandError(
            "the input device is not a TTY",
            hint="leave -t out, or run the command in a terminal: -i alone takes a pipe",
        )


async def pump(
    console: Console,
    stream: HijackedStream,
    *,
    is_tty: bool,
    wants_input: bool,
    detach_keys: str = "",
    shows_stdout: bool = True,
    shows_stderr: bool = True,
) -> None:
    """Join the console and a process until its output ends; raises Detached when the user left.

    The terminal is raw meanwhile if ``is_tty`` and input is wanted; it is restored in any case.
    """
    is_raw = is_tty and wants_input and console.is_terminal(STDIN)
    detach_filter = DetachFilter(_sequence(console, detach_keys)) if is_raw else None
    shown = _show_output(console, stream, shows_stdout=shows_stdout, shows_stderr=shows_stderr)
    try:
        if is_raw:
            console.set_raw()
        if not wants_input:
            await shown
            return
        async with beside(_send_input(console, stream, detach_filter)) as sender, beside(shown) as shower:
            await asyncio.wait((sender, shower), return_when=asyncio.FIRST_COMPLETED)
            if sender.done():
                sender.result()  # raises Detached
            await shower
    finally:
        console.restore()


@contextlib.asynccontextmanager
async def beside(work: Coroutine[None, None, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Run something beside a block and end it with the block.

    Unlike a TaskGroup it leaves the block's own error as it is, and an error of the work to who awaits it.
    """
    task = asyncio.get_running_loop().create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait((task,))


def _sequence(console: Console, text: str) -> bytes:
    if not text:
        return DEFAULT_SEQUENCE
    try:
        return parse_detach_keys(text)
    except ValueError as error:
        console.err(f"WARNING: invalid detach escape keys, using default: {error}\n")
        return DEFAULT_SEQUENCE


async def _send_input(console: Console, stream: HijackedStream, detach_filter: DetachFilter | None) -> None:
    """Send standard input to its end, then end the process's input; its output goes on."""
    try:
        async for data in console.read_stdin():
            allowed = detach_filter.feed(data) if detach_filter is not None else data
            if allowed:
                await stream.write(allowed)
        await stream.close_write()
    except NotSupported as error:
        console.err(f"WARNING: {error.message}\n")
    except PortsideError:
        return  # the connection has gone: the output's end says so to the user


async def _show_output(console: Console, stream: HijackedStream, *, shows_stdout: bool, shows_stderr: bool) -> None:
    async for output in stream:
        if output.stream == "stderr":
            if shows_stderr:
                await console.write_async(STDERR, output.data)
        elif shows_stdout:
            await console.write_async(STDOUT, output.data)


@contextlib.asynccontextmanager
async def follow_size(console: Console, resize: Resize, *, is_wanted: bool) -> AsyncIterator[None]:
    """Keep a container's terminal as large as ours for as long as the block runs."""
    if not is_wanted or not console.is_terminal(STDOUT):
        yield
        return
    changed = asyncio.Event()
    changed.set()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGWINCH, changed.set)
    try:
        async with beside(_resize_on_change(console, resize, changed)):
            yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)


async def _resize_on_change(console: Console, resize: Resize, changed: asyncio.Event) -> None:
    while True:
        await changed.wait()
        changed.clear()
        height, width = console.size()
        if not height and not width:
            continue
        for attempt in range(RESIZE_ATTEMPTS):
            try:
                await resize(height, width)
                break
            except PortsideError:
                # A process that was started this moment may not have its terminal yet.
                await asyncio.sleep(0.01 * (attempt + 1))


@contextlib.asynccontextmanager
async def forward_signals(
    send: Callable[[str], Awaitable[None]], *, is_wanted: bool, is_tty: bool
) -> AsyncIterator[None]:
    """Send the signals that we get to a container for as long as the block runs."""
    if not is_wanted:
        yield
        return
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[int] = asyncio.Queue(128)
    with _handlers(loop, queue, is_tty=is_tty):
        async with beside(_forward(send, queue)):
            yield


@contextlib.contextmanager
def _handlers(loop: asyncio.AbstractEventLoop, queue: asyncio.Queue[int], *, is_tty: bool) -> Iterator[None]:
    """Catch signals; asyncio's own SIGINT handler is put back afterwards."""

    def note(number: int) -> None:
        if not queue.full():
            queue.put_nowait(number)

    numbers = [number for number in signal.valid_signals() if number not in _NOT_FORWARDED]
    if is_tty:
        numbers = [number for number in numbers if number != signal.SIGWINCH]
    interrupt = signal.getsignal(signal.SIGINT)
    caught = []
    for number in numbers:
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            loop.add_signal_handler(number, note, number)
            caught.append(number)
    try:
        yield
    finally:
        for number in caught:
            loop.remove_signal_handler(number)
        signal.signal(signal.SIGINT, interrupt)


async def _forward(send: Callable[[str], Awaitable[None]], queue: asyncio.Queue[int]) -> None:
    while True:
        name = signal_name(await queue.get())
        with contextlib.suppress(PortsideError):
            await send(name)


def signal_name(number: int) -> str:
    """Return a signal as the API takes it: ``TERM``, ``RTMIN+3``."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"RTMIN+{number - signal.SIGRTMIN}"
    return name.removeprefix("SIG")
