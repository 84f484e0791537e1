"""A stream of bytes from the event loop, taken apart in a thread: archives that are loaded or imported."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Protocol, TypeVar, cast

from engine.errors import InvalidArgument, Unavailable
from engine.images.blobs import BlobStore
from engine.wire.tarhead import TarError, read_members

T = TypeVar("T")

_QUEUED_BLOCKS = 16
_SMALL_BYTES = 16 * 1024 * 1024
_BLOCK = 1 << 20


class _Stop(Exception):
    pass


class StreamReader:
    """The thread's end of a stream: ``read`` blocks until bytes come."""

    def __init__(self) -> None:
        """Begin empty."""
        self._blocks: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._buffer = memoryview(b"")
        self._ended = False
        self._stopped = False

    def put(self, block: bytes | None) -> bool:
        """Hand a block over without waiting; false when the queue is full. None ends the stream."""
        if block is not None and self._blocks.qsize() >= _QUEUED_BLOCKS:
            return False
        self._blocks.put(block)
        return True

    def stop(self) -> None:
        """Make the thread give up."""
        self._stopped = True
        self._blocks.put(None)

    def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` bytes, b"" at the end."""
        if not self._buffer and not self._ended:
            block = self._blocks.get()
            if self._stopped:
                raise _Stop
            if block is None:
                self._ended = True
            else:
                self._buffer = memoryview(block)
        part = self._buffer if size < 0 else self._buffer[:size]
        self._buffer = self._buffer[len(part) :]
        return bytes(part)


class PlainReader:
    """Exact reads of a stream's uncompressed bytes."""

    def __init__(self, source: StreamReader) -> None:
        """Look at the beginning of ``source``."""
        self._source = source
        self._buffer = bytearray()
        while len(self._buffer) < 6 and (block := source.read(_BLOCK)):
            self._buffer += block
        self._decompress = _decompressor(bytes(self._buffer[:6]))
        if self._decompress is not None:
            self._buffer = bytearray(self._decompress(bytes(self._buffer)))

    def _more(self) -> bool:
        block = self._source.read(_BLOCK)
        if not block:
            return False
        self._buffer += block if self._decompress is None else self._decompress(block)
        return True

    def read(self, size: int) -> bytes:
        """Return exactly ``size`` bytes unless the end comes first."""
        while len(self._buffer) < size and self._more():
            pass
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def parts(self, size: int) -> Iterator[bytes]:
        """Yield ``size`` bytes in pieces; raises TarError when the end comes first."""
        while size > 0:
            if not self._buffer and not self._more():
                raise TarError("unexpected EOF")
            part = bytes(self._buffer[: min(size, _BLOCK)])
            del self._buffer[: len(part)]
            size -= len(part)
            if part:
                yield part

    def rest(self) -> Iterator[bytes]:
        """Yield everything that is left."""
        while True:
            if self._buffer:
                yield bytes(self._buffer)
                self._buffer.clear()
            elif not self._more():
                return


class _Inflater(Protocol):
    """A streaming decompressor of the standard library's kind."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


def _decompressor(head: bytes) -> Callable[[bytes], bytes] | None:
    """Return what unpacks a stream that begins so, piece by piece; None for one that is not compressed."""
    if head.startswith(b"\x1f\x8b"):
        from isal import igzip_lib, isal_zlib

        fault = cast("type[Exception]", igzip_lib.IsalError)  # its stub says that it is an exception, not a class
        return _members(lambda: isal_zlib.decompressobj(wbits=31), fault)
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        import zstandard

        return _members(lambda: zstandard.ZstdDecompressor().decompressobj(), zstandard.ZstdError)
    if head.startswith(b"BZh"):
        import bz2

        return _members(bz2.BZ2Decompressor, OSError)
    if head.startswith(b"\xfd7zXZ\0"):
        import lzma

        return _members(lzma.LZMADecompressor, lzma.LZMAError)
    return None


def _members(make: Callable[[], _Inflater], fault: type[Exception]) -> Callable[[bytes], bytes]:
    """Unpack compressed streams that follow each other as one, with zeros between them or not (pigz, pzstd).

    What it returns raises TarError where a decompressor raises ``fault``.
    """
    current = make()

    def decompress(data: bytes) -> bytes:
        nonlocal current
        done = b""
        while data:
            if current.eof:
                data = data.lstrip(b"\0")
                if not data:
                    break
                current = make()
            try:
                done += current.decompress(data)
            except fault as error:
                raise TarError(str(error)) from error
            data = current.unused_data if current.eof else b""
        return done

    return decompress


async def in_thread(source: AsyncIterator[bytes], work: Callable[[StreamReader], T]) -> T:
    """Run ``work`` in a thread on a stream that the loop feeds; return what it returns.

    Raises InvalidArgument for a damaged archive. Cancelling ends the thread.
    """
    reader = StreamReader()
    thread = asyncio.ensure_future(asyncio.to_thread(work, reader))
    try:
        async for block in source:
            while not reader.put(block):
                if thread.done():
                    break
                await asyncio.sleep(0.002)  # the thread is writing: the queue holds 16 blocks
            if thread.done():
                break
        reader.put(None)
        return await thread
    except (TarError, EOFError) as error:
        raise InvalidArgument(f"invalid archive: {error}") from error
    except OSError as error:
        raise Unavailable(f"reading the archive: {error}") from error
    finally:
        if not thread.done():
            reader.stop()
            await asyncio.gather(thread, return_exceptions=True)


class Contents:
    """What an image archive held: small files in memory, large ones as blobs, links by name."""

    def __init__(self, blobs: BlobStore) -> None:
        """Begin empty."""
        self._blobs = blobs
        self.small: dict[str, bytes] = {}
        self.stored: dict[str, str] = {}
        self.links: dict[str, str] = {}

    def digest(self, name: str) -> str:
        """Return the digest of a file that was stored as a blob; raises InvalidArgument when there is none."""
        seen = set()
        while name in self.links and name not in seen:
            seen.add(name)
            name = self.links[name]
        if name in self.small:
            return self._blobs.add(self.small[name])
        if name not in self.stored:
            raise InvalidArgument(f"invalid archive: {name} is missing")
        return self.stored[name]

    def has(self, name: str) -> bool:
        """Whether the archive had a file."""
        return name in self.small or name in self.stored or name in self.links

    def data(self, name: str) -> bytes:
        """Return a small file's bytes; raises InvalidArgument when it is missing."""
        if name in self.small:
            return self.small[name]
        return self._blobs.read(self.digest(name))


def store_archive(reader: StreamReader, blobs: BlobStore) -> Contents:
    """Take an image archive apart (in a thread): layers and OCI blobs go to the store as they come.

    Raises TarError for a damaged archive or a blob that is not what its name says.
    """
    contents = Contents(blobs)
    source = PlainReader(reader)
    for member in read_members(source):
        name = _normal(member.name.decode(errors="surrogateescape"))
        if member.kind in ("symlink", "hardlink"):
            link = member.link.decode(errors="surrogateescape")
            base = name.rpartition("/")[0] if member.kind == "symlink" else ""
            contents.links[name] = _normal(f"{base}/{link}")
        elif member.kind == "file":
            wanted = name.removeprefix("blobs/sha256/") if name.startswith("blobs/sha256/") else ""
            if not wanted and member.size <= _SMALL_BYTES and not name.endswith(".tar"):
                contents.small[name] = b"".join(source.parts(member.size))
                continue
            with blobs.writer() as writer:
                for part in source.parts(member.size):
                    writer.write(part)
                if wanted and writer.digest != f"sha256:{wanted}":
                    raise TarError(f"{name} has the digest {writer.digest}")
                contents.stored[name] = writer.commit()
    return contents


def _normal(path: str) -> str:
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if parts:
                parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def store_blob(reader: StreamReader, blobs: BlobStore) -> str:
    """Store a whole stream as one blob, as it comes; return its digest."""
    with blobs.writer() as writer:
        while block := reader.read(_BLOCK):
            writer.write(block)
        return writer.commit()
