"""Walking a tree that somebody else may be changing: by descriptors, so that no planted link leads out of it.

Knows nothing of layers or archives.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ESTALE)
"""What says that something is not there any more, or not what it was."""


class Entry:
    """Something in a tree: ``path`` beneath its top, ``name`` in the folder with the descriptor ``parent``.

    ``descriptor`` is a folder's own while it is walked, else -1. With ``is_left`` a folder is met the second
    time, after everything in it.
    """

    __slots__ = ("descriptor", "info", "is_left", "name", "parent", "path")

    def __init__(
        self, path: bytes, name: bytes, parent: int, descriptor: int, info: os.stat_result, *, is_left: bool = False
    ) -> None:
        """Take the parts."""
        self.path = path
        self.name = name
        self.parent = parent
        self.descriptor = descriptor
        self.info = info
        self.is_left = is_left

    def open(self) -> int:
        """Return a descriptor of a regular file; raises FileNotFoundError when it is none any more."""
        try:
            descriptor = os.open(self.name, _FILE, dir_fd=self.parent)
        except OSError as error:
            if error.errno in _GONE:
                raise FileNotFoundError(2, "file changed while it was read", self.path) from error
            raise
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            os.close(descriptor)
            raise FileNotFoundError(2, "file changed while it was read", self.path)
        self.info = found
        return descriptor

    def read_link(self) -> bytes:
        """Return where a link points to; raises FileNotFoundError when it is none any more."""
        try:
            return os.fsencode(os.readlink(self.name, dir_fd=self.parent))
        except OSError as error:
            if error.errno in (*_GONE, errno.EINVAL):
                raise FileNotFoundError(2, "link changed while it was read", self.path) from error
            raise


class _Level:
    def __init__(self, path: bytes, descriptor: int, entry: Entry | None) -> None:
        self.path = path
        self.descriptor = descriptor
        self.entry = entry
        names = os.listdir(descriptor)
        self.names = iter(sorted(map(os.fsencode, names)))


def walk(top: int) -> Iterator[Entry]:
    """Yield everything beneath the folder ``top`` (a descriptor, which stays open), sorted by the names' bytes.

    A folder comes before what is in it, and once more after it. What vanishes meanwhile is left out. A
    descriptor is open for every level.
    """
    levels = [_Level(b"", os.dup(top), None)]
    try:
        while levels:
            level = levels[-1]
            name = next(level.names, None)
            if name is None:
                levels.pop()
                try:
                    if level.entry is not None:
                        before = level.entry
                        yield Entry(
                            before.path, before.name, before.parent, level.descriptor, before.info, is_left=True
                        )
                finally:
                    os.close(level.descriptor)
                continue
            entry, below = _look(level, name)
            if entry is not None:
                yield entry
            if below is not None:
                levels.append(below)
    finally:
        for level in levels:
            os.close(level.descriptor)


def _look(level: _Level, name: bytes) -> tuple[Entry | None, _Level | None]:
    path = level.path + b"/" + name if level.path else name
    try:
        info = os.stat(name, dir_fd=level.descriptor, follow_symlinks=False)
        if not stat.S_ISDIR(info.st_mode):
            return Entry(path, name, level.descriptor, -1, info), None
        descriptor = os.open(name, _FOLDER, dir_fd=level.descriptor)
        try:
            entry = Entry(path, name, level.descriptor, descriptor, os.fstat(descriptor))
            return entry, _Level(path, descriptor, entry)
        except BaseException:
            os.close(descriptor)
            raise
    except OSError as error:
        if error.errno not in _GONE:
            raise
    return None, None
