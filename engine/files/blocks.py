"""An archive's bytes as they come through a pipe: unpacked by what they begin with, read to the byte.

Docker's compressions: gzip, bzip2, xz, zstd; anything else is taken as it is.
"""

from __future__ import annotations

import io
import os

TYPE_CHECKING = False  # typing takes as long to import as all else here, in programs that start often
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO, Any, Protocol

BLOCK_BYTES = 1 << 20
_HEAD_BYTES = 10
_SPLICE_FROM_BYTES = 128 * 1024
_MAGIC_SKIPPABLE = 0x184D2A50


if TYPE_CHECKING:

    class _Source(Protocol):
        def read(self, size: int = -1, /) -> bytes: ...


class _HeadAndPipe(io.RawIOBase):
    """The beginning that was read already, then the pipe; for decompressors."""

    def __init__(self, head: bytes, descriptor: int) -> None:
        self._head = head
        self._descriptor = descriptor

    def take_head(self) -> bytes:
        head, self._head = self._head, b""
        return head

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401 - any buffer
        view = memoryview(buffer)
        if self._head:
            count = min(len(view), len(self._head))
            view[:count] = self._head[:count]
            self._head = self._head[count:]
            return count
        return os.readv(self._descriptor, [view])

    def read(self, size: int = -1, /) -> bytes:
        if self._head or size < 0:
            return super().read(size) or b""
        return os.read(self._descriptor, size)


class PipeReader:
    """Reads a pipe in big blocks; ``read`` returns exactly what is asked for unless the end comes first."""

    def __init__(self, descriptor: int) -> None:
        """Read the beginning of the archive, which may block, and load what unpacks it."""
        self._descriptor = descriptor
        head = b""
        while len(head) < _HEAD_BYTES and (block := os.read(descriptor, BLOCK_BYTES)):
            head += block
        source = _HeadAndPipe(head, descriptor)
        unpacked = _unpacked(head, source)
        self._is_plain = unpacked is None
        self._buffer = memoryview(source.take_head() if unpacked is None else b"")
        self._source = unpacked or source

    def read(self, size: int) -> bytes:
        """Return ``size`` bytes, fewer at the end."""
        if len(self._buffer) >= size:
            data = bytes(self._buffer[:size])
            self._buffer = self._buffer[size:]
            return data
        return b"".join(bytes(part) for part in self.parts(size))

    def parts(self, size: int) -> Iterator[memoryview]:
        """Yield ``size`` bytes in pieces; fewer when the end comes first."""
        while size > 0:
            while not self._buffer:
                block = self._source.read(BLOCK_BYTES)
                if not block:
                    return
                self._buffer = memoryview(block)
            part = self._buffer[:size]
            self._buffer = self._buffer[len(part) :]
            size -= len(part)
            yield part

    def copy_to(self, target: int, size: int) -> int:
        """Write the next ``size`` bytes to an open file, from pipe to file without a detour; return how many came."""
        if size <= len(self._buffer):
            _write_all(target, self._buffer[:size])
            self._buffer = self._buffer[size:]
            return size
        left = size
        while left:
            if self._is_plain and not self._buffer and left >= _SPLICE_FROM_BYTES:
                moved = os.splice(self._descriptor, target, left)
                if not moved:
                    break
                left -= moved
                continue
            before = left
            for part in self.parts(min(left, len(self._buffer) or left)):
                left -= len(part)
                _write_all(target, part)
            if left == before:
                break
        return size - left


def _write_all(descriptor: int, part: memoryview) -> None:
    while part:
        part = part[os.write(descriptor, part) :]


def _unpacked(head: bytes, pipe: _HeadAndPipe) -> _Source | None:
    """Return what unpacks an archive that begins with ``head``, None when it is not compressed."""
    source: IO[bytes] = pipe  # type: ignore[assignment]
    if head.startswith(b"\x1f\x8b\x08"):
        from isal import igzip

        opened: _Source = igzip.IGzipFile(fileobj=source, mode="rb")  # type: ignore[no-untyped-call]
        return opened
    if head.startswith(b"BZh"):
        import bz2

        return bz2.BZ2File(source)
    if head.startswith(b"\xfd7zXZ\0"):
        import lzma

        return lzma.LZMAFile(source)
    if head.startswith(b"\x28\xb5\x2f\xfd") or int.from_bytes(head[:4], "little") & ~0xF == _MAGIC_SKIPPABLE:
        import zstandard

        return zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True)
    return None
