"""A file that grows while it is read, for a program that is told on another descriptor how far it may read.

Each line there is a number of bytes; ``end`` says that the last one is all. Imports little: it is part of the
unpacker (see ``untar``).
"""

from __future__ import annotations

import io
import os
from typing import BinaryIO

END = b"end\n"
_BLOCK = 1 << 20
GROWING = "PORTSIDE_GROWING"  # in the environment of a program whose blob is on its way


class GrowingFile(io.RawIOBase):
    """Reads like a file that is whole, but waits for what has not come yet."""

    def __init__(self, path: str, marks: BinaryIO) -> None:
        """Read ``path`` as far as the lines of ``marks`` say."""
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._marks = marks
        self._position = self._limit = 0
        self._is_whole = False

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """To what was read already."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go back to a position from the beginning."""
        if whence != os.SEEK_SET or not 0 <= offset <= self._limit:
            raise OSError("a growing file can only be read from a place that it has reached")
        self._position = offset
        return offset

    def read(self, size: int = -1, /) -> bytes:
        """Return exactly ``size`` bytes unless the end comes first, everything for -1."""
        data = bytearray()
        while size < 0 or len(data) < size:
            piece = bytearray(_BLOCK if size < 0 else size - len(data))
            count = self.readinto(piece)
            if not count:
                break
            data += piece[:count]
        return bytes(data)

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        """Fill a buffer with what is there, at least one byte; 0 at the end. Raises EOFError when it breaks off."""
        while self._position == self._limit and not self._is_whole:
            line = self._marks.readline()
            if line == END:
                self._is_whole = True
            elif line:
                self._limit = int(line)
            else:
                raise EOFError("the download broke off")
        view = memoryview(buffer)[: self._limit - self._position]
        count = os.preadv(self._descriptor, [view], self._position) if view else 0
        self._position += count
        return count
