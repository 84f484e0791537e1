"""Reading a container's log: from any moment, the last lines, and following it.

Yields bytes that are ready for the wire. A block that holds one stream only is sent by one substitution;
anything else line by line. Rotated files (``container.log.1`` is the newest) count as one; they are renamed
by this process in its loop, so that what is listed and opened there without a pause belongs together.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import zlib
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path

from engine.runtime.inotify import IN_CREATE, IN_MODIFY, IN_MOVED_TO, Inotify, Watch
from engine.wire.frames import STDERR, STDOUT
from engine.wire.loglines import (
    MAX_FRAME_BYTES,
    docker_stamp,
    frame,
    frame_lines,
    parse_lines,
    parse_stamp,
    strip_plain,
)

_BLOCK_BYTES = 256 * 1024
_GZIP_MAGIC, _GZIP_WINDOW = b"\x1f\x8b", 31
_SLOW_BLOCKS = 16
"""How many blocks are read line by line before it is tried again to send one whole: trying costs half as much."""


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
        return not (self.since_ns or self.until_ns or self.timestamps or self.details)

    def wants(self, stream: int) -> bool:
        """Whether a stream is asked for."""
        return self.stdout if stream == STDOUT else self.stderr


def log_files(path: Path) -> list[Path]:
    """Return the files of a log, oldest first; of one that is just being compressed the plain one."""
    numbered: dict[int, Path] = {}
    for entry in path.parent.glob(f"{path.name}.*"):
        number = entry.name.removeprefix(f"{path.name}.").removesuffix(".gz")
        if number.isdigit() and (entry.suffix != ".gz" or int(number) not in numbered):
            numbered[int(number)] = entry
    return [entry for _, entry in sorted(numbered.items(), reverse=True)] + ([path] if path.exists() else [])


class _Encoder:
    """From conmon's lines to the wire; keeps the beginning of a line that is cut between two reads."""

    def __init__(self, query: LogQuery) -> None:
        self._query = query
        self._rest = b""
        self._likely = STDOUT
        self._slow_left = 0
        self._columns = {STDOUT: 0, STDERR: 0}
        self._dropped: set[int] = set()
        self.is_over = False

    def feed(self, block: bytes) -> list[bytes]:
        data = self._rest + block
        end = data.rfind(b"\n") + 1
        self._rest = data[end:]
        whole = data[:end]
        if not whole:
            return []
        self._slow_left -= 1
        if self._query.is_plain and self._slow_left < 0:
            for stream in (self._likely, STDERR if self._likely == STDOUT else STDOUT):
                text = strip_plain(whole, stream)
                if text is not None:
                    self._likely = stream
                    self._columns[stream] = 0
                    return self._block(stream, text)
            self._slow_left = _SLOW_BLOCKS
        return self._lines(whole)

    def _block(self, stream: int, text: bytes) -> list[bytes]:
        if not self._query.wants(stream):
            return []
        return [frame_lines(stream, text) if self._query.framed else text]

    def _lines(self, whole: bytes) -> list[bytes]:
        query = self._query
        found: list[bytes] = []
        for stamp, stream, text in parse_lines(whole):
            if query.since_ns or query.until_ns:
                moment = parse_stamp(stamp)
                if query.until_ns and moment > query.until_ns and not self._columns[stream]:
                    self.is_over = True
                    break
                if self._is_before(stream, moment, text):
                    continue
            if query.wants(stream):
                self._pieces(stamp, stream, text, found)
        return found

    def _is_before(self, stream: int, moment: int, text: bytes) -> bool:
        """Whether a line is older than asked for; what follows of a line shares the lot of its beginning."""
        if self._columns[stream]:
            return False
        if stream not in self._dropped and moment >= self._query.since_ns:
            return False
        if text.endswith(b"\n"):
            self._dropped.discard(stream)
        else:
            self._dropped.add(stream)
        return True

    def _pieces(self, stamp: bytes, stream: int, text: bytes, found: list[bytes]) -> None:
        """Append a line, or a part of one, in pieces that end where Docker's do; each begins with its stamp."""
        query = self._query
        column = self._columns[stream]
        start = 0
        while start < len(text):
            prefix = b""
            if not column % MAX_FRAME_BYTES:
                prefix = (docker_stamp(stamp) + b" " if query.timestamps else b"") + query.details
            piece = text[start : start + MAX_FRAME_BYTES - column % MAX_FRAME_BYTES]
            start += len(piece)
            column += len(piece)
            found.append(frame(stream, prefix + piece) if query.framed else prefix + piece)
        self._columns[stream] = 0 if text.endswith(b"\n") else column


def _tail_offset(descriptor: int, lines: int, *, is_last: bool) -> tuple[int, int]:
    """Return where the last ``lines`` lines of a file begin, and how many were found (blocking).

    Lines of both streams count, whichever is asked for, as in Docker. A line ends where conmon wrote an F
    record; the parts before it belong to it. In the last file a part without an end is a line too.
    """
    found = 0
    position = os.fstat(descriptor).st_size
    carry = b""
    is_newest = is_last
    while position > 0:
        start = max(0, position - _BLOCK_BYTES)
        data = os.pread(descriptor, position - start, start) + carry
        cut = data.find(b"\n") + 1 if start > 0 else 0
        if start > 0 and cut == 0:
            position, carry = start, data
            continue
        offset = len(data)
        while offset > cut:
            begin = max(data.rfind(b"\n", cut, offset - 1) + 1, cut)
            kind = _record_kind(data[begin:offset])
            if kind == b"F" or (kind == b"P" and is_newest):
                found += 1
                if found > lines:
                    return start + offset, lines
            is_newest = is_newest and not kind
            offset = begin
        position, carry = start, data[:cut]
    return 0, found


def _record_kind(record: bytes) -> bytes:
    head = record[:64].split(b" ", 3)
    return head[2] if len(head) == 4 and head[2] in (b"F", b"P") else b""


def _offsets(descriptors: list[int], tail: int | None) -> list[int]:
    """Return where to begin in each file (blocking); a file's size where nothing of it is wanted."""
    if tail is None or tail < 0:
        return [0] * len(descriptors)
    offsets = [os.fstat(descriptor).st_size for descriptor in descriptors]
    wanted = tail
    for number in range(len(descriptors) - 1, -1, -1):
        if wanted <= 0:
            break
        offsets[number], found = _tail_offset(descriptors[number], wanted, is_last=number == len(descriptors) - 1)
        wanted -= found
    return offsets


async def read_logs(
    path: Path, query: LogQuery, inotify: Inotify, has_ended: Callable[[], bool], ended: asyncio.Event
) -> AsyncGenerator[bytes, None]:
    """Yield a log's bytes for the wire.

    With ``follow`` it goes on until ``has_ended()``, of which ``ended`` tells, and all is sent; without, it
    ends with what was written when it began, however fast the container writes. Closing the iterator
    releases everything.
    """
    encoder = _Encoder(query)
    files = [_open(file) for file in log_files(path)]
    try:
        await asyncio.to_thread(_unpack, files)
        for descriptor, offset in zip(files, await asyncio.to_thread(_offsets, files, query.tail), strict=True):
            os.lseek(descriptor, offset, os.SEEK_SET)
        end = os.fstat(files[-1]).st_size if files and not query.follow else None
        while files:
            async with aclosing(_read_all(files[0], encoder, end if len(files) == 1 else None)) as blocks:
                async for data in blocks:
                    yield data
            if encoder.is_over:
                return
            if len(files) == 1:
                break
            os.close(files.pop(0))
        if query.follow:
            async with aclosing(_follow(path, files, encoder, inotify, has_ended, ended)) as blocks:
                async for data in blocks:
                    yield data
    finally:
        for descriptor in files:
            os.close(descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:  # compressed since it was listed
        return os.open(f"{path}.gz", os.O_RDONLY | os.O_CLOEXEC)


def _unpack(files: list[int]) -> None:
    """Put a file without a name in the place of each that is compressed (blocking)."""
    for number, descriptor in enumerate(files):
        if os.pread(descriptor, 2, 0) == _GZIP_MAGIC:
            files[number] = _unpacked(descriptor)
            os.close(descriptor)


def _unpacked(packed: int) -> int:
    plain = os.open(tempfile.gettempdir(), os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        unpacker = zlib.decompressobj(_GZIP_WINDOW)
        offset = 0
        with open(plain, "wb", closefd=False) as target:
            while block := os.pread(packed, _BLOCK_BYTES, offset):
                offset += len(block)
                target.write(unpacker.decompress(block))
        info = os.fstat(packed)
        os.utime(plain, ns=(info.st_atime_ns, info.st_mtime_ns))
    except (OSError, zlib.error):
        os.close(plain)
        raise
    return plain


async def _read_all(descriptor: int, encoder: _Encoder, end: int | None = None) -> AsyncGenerator[bytes, None]:
    """Yield what is left of a file up to the offset ``end``, or its end when that is reached.

    Whoever stops half-way must close this before the descriptor: a thread may be reading from it.
    """

    def step() -> bytes | None:
        size = _BLOCK_BYTES
        if end is not None:
            size = min(size, end - os.lseek(descriptor, 0, os.SEEK_CUR))
        block = os.read(descriptor, size) if size > 0 else b""
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
    files: list[int],
    encoder: _Encoder,
    inotify: Inotify,
    has_ended: Callable[[], bool],
    ended: asyncio.Event,
) -> AsyncGenerator[bytes, None]:
    """Yield what is written from now on; ``files`` holds the descriptors that are open, the one being read first."""
    changed = asyncio.Event()
    watch: Watch | None = None

    def notice(name: str) -> None:
        # Nothing is watched while this reader is behind: a container that writes a lot to a client that
        # does not read would keep the engine busy with events.
        nonlocal watch
        if name == path.name and watch is not None:
            watch.close()
            watch = None
            changed.set()

    # A container that is started again at once clears the event: that it was set is what counts.
    waiter = asyncio.ensure_future(ended.wait())
    try:
        while True:
            final = waiter.done() or has_ended()
            changed.clear()
            was_watched = watch is not None
            current = files[0] if files else None
            following = await _open_next(path, current)
            if following is not None:
                files.append(following)  # whoever closes this half-way closes both
            # When a newer file is there, conmon has written all it will to this one: read it to its end.
            if current is not None:
                async with aclosing(_read_all(current, encoder)) as blocks:
                    async for data in blocks:
                        yield data
            if encoder.is_over:
                return
            if following is not None:
                if current is not None:
                    os.close(files.pop(0))
                continue
            if final:
                return
            if watch is None:
                watch = inotify.watch(path.parent, IN_MODIFY | IN_CREATE | IN_MOVED_TO, notice)
            if not was_watched:
                continue  # what was written before the watch is read now
            change = asyncio.ensure_future(changed.wait())
            try:
                await asyncio.wait([change, waiter], return_when=asyncio.FIRST_COMPLETED)
            finally:
                change.cancel()
    finally:
        waiter.cancel()
        if watch is not None:
            watch.close()


async def _open_next(path: Path, descriptor: int | None) -> int | None:
    """Open the log file that comes after an open one; None while there is none.

    When that one was compressed or rotated out, it goes on with the oldest that was written to later.
    """
    if descriptor is not None and _is_same(descriptor, path):
        return None
    files = log_files(path)
    if descriptor is not None:
        own = next((number for number, file in enumerate(files) if _is_same(descriptor, file)), None)
        files = _later(files, os.fstat(descriptor).st_mtime_ns) if own is None else files[own + 1 :]
    if not files:
        return None
    opened = [_open(files[0])]
    await asyncio.to_thread(_unpack, opened)
    return opened[0]


def _later(files: list[Path], moment_ns: int) -> list[Path]:
    later: list[Path] = []
    for file in files:
        with suppress(FileNotFoundError):
            if file.stat().st_mtime_ns > moment_ns:
                later.append(file)
    return later


def _is_same(descriptor: int, path: Path) -> bool:
    try:
        here = path.stat()
    except FileNotFoundError:
        return False
    open_one = os.fstat(descriptor)
    return (here.st_dev, here.st_ino) == (open_one.st_dev, open_one.st_ino)
