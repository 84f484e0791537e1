"""Copies that run: one process each, its pipes, and who waits for its end.

The process is ``engine.containers.copying``. Knows pipes and JSON lines; what is copied, and whether it may be,
is ``archive.py``'s.
"""

from __future__ import annotations

import asyncio
import fcntl
import importlib.util
import os
import signal
import sys
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

import engine.errors
from engine.containers.copying import encode_request
from engine.errors import Internal, PortsideError, Unavailable
from engine.model.archive import PathStat
from engine.runtime.spawner import Spawner
from engine.wire.times import format_ns

PIPE_BYTES = 1 << 20
BLOCK_BYTES = 1 << 18
STALL_S = 60.0
_LEAVE_S = 30.0
_END_S = 10.0
_HOME = Path(__file__).parents[2]
_RESULT, _PIDFD = 3, 4


class _Result(msgspec.Struct):
    stat: dict[str, Any] | None = None
    done: bool = False
    error: str | None = None
    kind: str = ""


class Copy:
    """One copy while its process runs."""

    def __init__(self, pid: int, data: int, results: int) -> None:
        """``data`` is our end of the pipe with the archive, below 0 when there is none."""
        self.pid = pid
        self._data = data
        self._results = _Lines(results)

    async def stat(self) -> PathStat:
        """Return what the path is, which is the first thing that the process says; raises its error."""
        found = (await self._next()).stat
        if found is None:
            raise Internal("the copy ended without a word")
        return path_stat(found)

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """Yield the archive; raises the process's error when it breaks off."""
        while block := await _read(self._data):
            yield block
        await self._next()

    async def take(self, content: AsyncIterator[bytes]) -> None:
        """Hand an archive to the process and wait until it has unpacked it; raises its error.

        Reads on to the end of what the client sends, which expects that, unless the process has failed.
        """
        try:
            async for block in content:
                if not await _write(self._data, block):
                    break
        finally:
            self._close_data()
        await self._next()

    async def _next(self) -> _Result:
        line = await self._results.next()
        if not line:
            raise Internal("the program that copies was killed", hint="the engine's log has the details")
        result = msgspec.json.decode(line, type=_Result)
        if result.error is not None:
            kind: type[PortsideError] = getattr(engine.errors, result.kind, Internal)
            raise kind(result.error)
        return result

    def _close_data(self) -> None:
        if self._data >= 0:
            os.close(self._data)
            self._data = -1

    def close(self) -> None:
        """Give the descriptors back."""
        self._close_data()
        self._results.close()


async def to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Wait for a piece of cleaning up, also when the caller is cancelled: what comes after it needs it done.

    ``work`` has an end of its own. A cancellation is raised afterwards.
    """
    task = asyncio.ensure_future(work)
    is_cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            is_cancelled = True
    task.result()
    if is_cancelled:
        raise asyncio.CancelledError


def path_stat(found: Mapping[str, Any]) -> PathStat:
    """Return what ``copying.Copy.stat`` says as clients get it."""
    return PathStat(
        name=found["name"],
        size=found["size"],
        mode=found["mode"],
        mtime=format_ns(found["mtime_ns"]),
        link_target=found["linkTarget"],
    )


class Copies:
    """All copies of an engine."""

    def __init__(self) -> None:
        """Begin with none."""
        self._spawner = Spawner()
        self._running: defaultdict[str, set[int]] = defaultdict(set)
        self._left = asyncio.Condition()

    @asynccontextmanager
    async def start(self, container_id: str, asked: Mapping[str, Any], pidfd: int) -> AsyncIterator[Copy]:
        """Start a copy; it is killed when the context is left before its end."""
        writes = asked["what"] == "put"
        theirs, ours = os.pipe() if writes else reversed(os.pipe())
        results, sends = os.pipe()
        fds = {0 if writes else 1: theirs, _RESULT: sends}
        request = {**asked, "result": _RESULT}
        if pidfd >= 0:
            fds[_PIDFD] = pidfd
            request["view"] = {**asked["view"], "pidfd": _PIDFD}
        for descriptor in (ours, results):
            os.set_blocking(descriptor, False)
        with suppress(OSError):  # more than a user may have in all: then with what there is
            fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        try:
            pid = await self._spawner.spawn(_command(request), env=_environment(), fds=fds)
        except BaseException:
            os.close(ours)
            os.close(results)
            raise
        finally:
            os.close(theirs)
            os.close(sends)
        copy = Copy(pid, ours, results)
        self._running[container_id].add(pid)
        try:
            yield copy
        finally:
            copy.close()
            await to_its_end(self._end(container_id, pid, tidies_up=writes))

    async def _end(self, container_id: str, pid: int, *, tidies_up: bool) -> None:
        # One that writes sees the end of its pipe, removes what it has half of and ends; any other has nothing
        # left to do. Only a mount that hangs could hold it.
        if not tidies_up:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with suppress(PortsideError):  # it was killed then
            await self._spawner.wait(pid, _END_S)
        pids = self._running[container_id]
        pids.discard(pid)
        if not pids:
            del self._running[container_id]
        async with self._left:
            self._left.notify_all()

    async def leave(self, container_id: str) -> None:
        """Wait until a container's files are not copied any more; copies that take too long are killed."""
        if container_id not in self._running:
            return
        try:
            async with asyncio.timeout(_LEAVE_S):
                await self._wait_gone(container_id)
        except TimeoutError:
            for pid in self._running.get(container_id, ()):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await self._wait_gone(container_id)

    async def _wait_gone(self, container_id: str) -> None:
        async with self._left:
            await self._left.wait_for(lambda: container_id not in self._running)

    def close(self) -> None:
        """End the spawner's thread; copies end with it."""
        self._spawner.close()


def _command(request: dict[str, Any]) -> list[str]:
    return [sys.executable, "-S", "-m", "engine.containers.copying", encode_request(request)]


def _environment() -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONPATH": _paths(),
        "PYTHONUTF8": "1",
        "PORTSIDE_PARENT": str(os.getpid()),
    }


@cache
def _paths() -> str:
    """Return where the program's imports lie: itself, and the decompressors that it loads when it needs them."""
    specs = [importlib.util.find_spec(name) for name in ("isal", "zstandard")]
    found = [str(Path(spec.origin).parents[1]) for spec in specs if spec is not None and spec.origin is not None]
    return os.pathsep.join([str(_HOME), *found])


class _Lines:
    """Lines out of a pipe that does not block."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._data = b""

    async def next(self) -> bytes:
        """Return the next line, ``b""`` at the end."""
        while b"\n" not in self._data:
            block = await _read(self._descriptor)
            if not block:
                return b""
            self._data += block
        line, _, self._data = self._data.partition(b"\n")
        return line

    def close(self) -> None:
        os.close(self._descriptor)


async def _read(descriptor: int) -> bytes:
    while True:
        try:
            return os.read(descriptor, BLOCK_BYTES)
        except BlockingIOError:
            await _ready(descriptor, writing=False)


async def _write(descriptor: int, block: bytes) -> bool:
    """Write all of a block; false when nobody reads any more."""
    view = memoryview(block)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            try:
                async with asyncio.timeout(STALL_S):
                    await _ready(descriptor, writing=True)
            except TimeoutError:
                raise Unavailable(f"nothing could be written for {STALL_S:.0f} s") from None
        except BrokenPipeError:
            return False
    return True


async def _ready(descriptor: int, *, writing: bool) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    add, remove = (loop.add_writer, loop.remove_writer) if writing else (loop.add_reader, loop.remove_reader)
    add(descriptor, _resolve, ready)
    try:
        await ready
    finally:
        remove(descriptor)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
