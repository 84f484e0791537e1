"""Reading a container's log: from any moment, the last lines, and following it.

Yields bytes that are ready for the wire. A block in which every line is whole and from stdout is sent by
one substitution; anything else line by line. Rotated files (``container.log.1`` is the newest) count as one.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path

from engine.runtime.inotify import IN_CREATE, IN_MODIFY, IN_MOVED_TO, Inotify
from engine.wire.frames import STDOUT
from engine.wire.loglines import (
    MAX_FRAME_BYTES,
    docker_stamp,
    frame,
    parse_lines,
    parse_stamp,
    strip_plain,
)

_BLOCK_BYTES = 256 * 1024


@dataclass(frozen=True)
class LogQuery:
    """What of a log is wanted. Times in nanoseconds since 1970, 0 for none; ``tail`` None for all lines."""

    stdout: bool = True
    stderr: bool = True
    since_ns: int = 0
    until_ns: int = 0
    tail: int | None = None
    follow: bool = False
    timestamps: bool = False
    framed: bool = True
    details: bytes = b""

    @property
    def is_plain(self) -> bool:
        """Whether blocks can be sent without looking at their lines."""
        return not (self.since_ns or self.until_ns or self.timestamps or self.details) and self.stdout


def log_files(path: Path) -> list[Path]:
    """Return the files of a log, oldest first."""
    numbered: list[tuple[int, Path]] = []
    for entry in path.parent.glob(f"{path.name}.*"):
        suffix = entry.name.removeprefix(f"{path.name}.")
        if suffix.isdigit():
            numbered.append((int(suffix), entry))
    return [entry for _, entry in sorted(numbered, reverse=True)] + ([path] if path.exists() else [])


class _Encoder:
    """From conmon's lines to the wire; keeps the beginning of a line that is cut between two reads."""

    def __init__(self, query: LogQuery) -> None:
        self._query = query
        self._rest = b""
        self._continues: dict[int, bool] = {}
        self.is_over = False

    def feed(self, block: bytes) -> list[bytes]:
        data = self._rest + block
        end = data.rfind(b"\n") + 1
        self._rest = data[end:]
        whole = data[:end]
        if not whole:
            return []
        text = strip_plain(whole) if self._query.is_plain else None
        if text is not None:
            self._continues.pop(STDOUT, None)
            return [frame(STDOUT, text) if self._query.framed else text]
        return self._lines(whole)

    def _lines(self, whole: bytes) -> list[bytes]:
        query = self._query
        found: list[bytes] = []
        for stamp, stream, text in parse_lines(whole):
            if query.since_ns or query.until_ns:
                moment = parse_stamp(stamp)
                if moment < query.since_ns:
                    continue
                if query.until_ns and moment > query.until_ns:
                    self.is_over = True
                    break
            if not (query.stdout if stream == STDOUT else query.stderr):
                continue
            is_start = not self._continues.get(stream)
            self._continues[stream] = not text.endswith(b"\n")
            prefix = b""
            if is_start or query.framed:
                prefix = (docker_stamp(stamp) + b" " if query.timestamps else b"") + query.details
            if not query.framed:
                found.append(prefix + text)
                continue
            for start in range(0, len(text), MAX_FRAME_BYTES):
                found.append(frame(stream, prefix + text[start : start + MAX_FRAME_BYTES]))
        return found


def _tail_offset(path: Path, lines: int, query: LogQuery) -> tuple[int, int]:
    """Return where the last ``lines`` lines of a file begin, and how many were found (blocking).

    A line ends where conmon wrote an F record; the parts before it belong to it.
    """
    size = path.stat().st_size
    found = 0
    position = size
    carry = b""
    with path.open("rb") as file:
        while position > 0:
            start = max(0, position - _BLOCK_BYTES)
            file.seek(start)
            data = file.read(position - start) + carry
            cut = data.find(b"\n") + 1 if start > 0 else 0
            if start > 0 and cut == 0:
                position, carry = start, data
                continue
            offset = len(data)
            while offset > cut:
                begin = data.rfind(b"\n", cut, offset - 1) + 1 or cut
                begin = max(begin, cut)
                line = data[begin:offset]
                if _ends_line(line, query):
                    found += 1
                    if found > lines:
                        return start + offset, lines
                offset = begin
            position, carry = start, data[:cut]
    return 0, found


def _ends_line(record: bytes, query: LogQuery) -> bool:
    head = record[:64].split(b" ", 3)
    if len(head) < 4 or head[2] != b"F":
        return False
    return query.stdout if head[1] == b"stdout" else query.stderr


def _plan(path: Path, query: LogQuery) -> list[tuple[Path, int]]:
    """Return the files to read and where to begin in each (blocking)."""
    files = log_files(path)
    if query.tail is None or query.tail < 0:
        return [(file, 0) for file in files]
    if query.tail == 0:
        return [(files[-1], files[-1].stat().st_size)] if files else []
    wanted = query.tail
    plan: list[tuple[Path, int]] = []
    for file in reversed(files):
        offset, found = _tail_offset(file, wanted, query)
        plan.insert(0, (file, offset))
        wanted -= found
        if wanted <= 0:
            break
    return plan


async def read_logs(
    path: Path, query: LogQuery, inotify: Inotify, has_ended: Callable[[], bool], ended: asyncio.Event
) -> AsyncGenerator[bytes, None]:
    """Yield a log's bytes for the wire.

    With ``follow`` it goes on until ``has_ended()``, of which ``ended`` tells, and all is sent. Closing the
    iterator releases everything.
    """
    encoder = _Encoder(query)
    plan = await asyncio.to_thread(_plan, path, query)
    current: int | None = None
    try:
        for file, offset in plan:
            if current is not None:
                os.close(current)
                current = None
            current = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
            os.lseek(current, offset, os.SEEK_SET)
            async for data in _read_all(current, encoder):
                yield data
            if encoder.is_over:
                return
        if query.follow:
            async for data in _follow(path, current, encoder, inotify, has_ended, ended):
                yield data
    finally:
        if current is not None:
            os.close(current)


async def _read_all(descriptor: int, encoder: _Encoder) -> AsyncGenerator[bytes, None]:
    def step() -> bytes | None:
        block = os.read(descriptor, _BLOCK_BYTES)
        return b"".join(encoder.feed(block)) if block else None

    # The next block is read and encoded in a thread while this one is sent.
    ahead = asyncio.ensure_future(asyncio.to_thread(step))
    try:
        while (data := await ahead) is not None:
            is_over = encoder.is_over
            if not is_over:
                ahead = asyncio.ensure_future(asyncio.to_thread(step))
            if data:
                yield data
            if is_over:
                return
    finally:
        # The thread must be done with the descriptor before its owner closes it.
        await asyncio.gather(ahead, return_exceptions=True)


async def _follow(
    path: Path,
    descriptor: int | None,
    encoder: _Encoder,
    inotify: Inotify,
    has_ended: Callable[[], bool],
    ended: asyncio.Event,
) -> AsyncGenerator[bytes, None]:
    changed = asyncio.Event()
    changed.set()
    watch = inotify.watch(
        path.parent, IN_MODIFY | IN_CREATE | IN_MOVED_TO, lambda name: changed.set() if name == path.name else None
    )
    opened: int | None = None
    waiter = asyncio.ensure_future(ended.wait())
    try:
        while True:
            final = has_ended()
            changed.clear()
            if descriptor is not None:
                async for data in _read_all(descriptor, encoder):
                    yield data
            if descriptor is None or not _is_same(descriptor, path):
                if opened is not None:
                    os.close(opened)
                    opened = None
                if path.exists():
                    descriptor = opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                    continue
            if final or encoder.is_over:
                return
            change = asyncio.ensure_future(changed.wait())
            await asyncio.wait([change, waiter], return_when=asyncio.FIRST_COMPLETED)
            change.cancel()
    finally:
        waiter.cancel()
        watch.close()
        if opened is not None:
            os.close(opened)


def _is_same(descriptor: int, path: Path) -> bool:
    try:
        here = path.stat()
    except FileNotFoundError:
        return True
    open_one = os.fstat(descriptor)
    return (here.st_dev, here.st_ino) == (open_one.st_dev, open_one.st_ino)
