"""Access to files beneath a root that others may have filled with links: nothing is ever followed out of it.

Every lookup is openat2(2) with RESOLVE_IN_ROOT, so that absolute links and ``..`` mean what they mean to
a process whose root it is. Knows no container.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.files.openat2 import openat2

_MAX_LINKS = 40


class RootDir:
    """A folder as the root of all paths. Use as a context manager or ``close`` it."""

    def __init__(self, root: Path) -> None:
        """Open ``root``; raises OSError."""
        self._fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> RootDir:
        """Return itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Give the descriptor back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def open(self, path: str, flags: int = os.O_RDONLY, mode: int = 0) -> int:
        """Return a descriptor of ``path`` beneath the root; links in it stay inside. Raises OSError."""
        return openat2(self._fd, path.lstrip("/") or ".", flags, mode)

    def read_file(self, path: str, limit_bytes: int) -> bytes | None:
        """Return the first bytes of a regular file, or None when there is none (or it is no regular file)."""
        try:
            descriptor = self.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EACCES):
                return None
            raise
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            blocks = []
            while limit_bytes > 0 and (block := os.read(descriptor, min(limit_bytes, 1 << 20))):
                blocks.append(block)
                limit_bytes -= len(block)
            return b"".join(blocks)
        finally:
            os.close(descriptor)

    def stat(self, path: str) -> os.stat_result | None:
        """Return what ``path`` is, links followed beneath the root; None when there is nothing."""
        try:
            with self.opened(path, os.O_PATH) as descriptor:
                return os.fstat(descriptor)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return None
            raise

    @contextmanager
    def opened(self, path: str, flags: int = os.O_RDONLY) -> Iterator[int]:
        """Open ``path`` for the length of a block."""
        descriptor = self.open(path, flags)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def make_dirs(self, path: str, mode: int = 0o755) -> bool:
        """Make a folder and those above it, owned by root; return whether it had to be made.

        A link on the way that points nowhere is followed: its target is made, beneath the root.
        Raises NotADirectoryError when a file is in the way.
        """
        return self._make_dirs(path, mode, _MAX_LINKS)

    def _make_dirs(self, path: str, mode: int, links_left: int) -> bool:
        made = False
        walked = ""
        for name in [part for part in path.split("/") if part and part != "."]:
            parent, walked = walked or ".", f"{walked}/{name}"
            info = self.stat(walked)
            if info is None:
                made = True
                self._make_one(parent, name, walked, mode, links_left)
            elif not stat.S_ISDIR(info.st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), walked)
        return made

    def _make_one(self, parent: str, name: str, walked: str, mode: int, links_left: int) -> None:
        with self.opened(parent, os.O_PATH | os.O_DIRECTORY) as folder:
            try:
                os.mkdir(name, mode, dir_fd=folder)
            except FileExistsError:
                target = self._dangling_target(folder, name, parent)
                if target is None:
                    return
                if links_left <= 0:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), walked) from None
                self._make_dirs(target, mode, links_left - 1)

    def _dangling_target(self, folder: int, name: str, parent: str) -> str | None:
        with suppress(OSError):
            target = os.readlink(name, dir_fd=folder)
            return target if target.startswith("/") else f"{parent}/{target}"
        return None


def normalized(path: str) -> str:
    """Return an absolute container path without ``.``, ``..`` and double slashes."""
    return os.path.normpath("/" + path.lstrip("/"))
