"""The layers beneath the one that is being unpacked: where a hard link may point to.

A link to a file of a lower layer means that file as the image shows it. As overlayfs does for a link made in
a container, the file is copied up into the new layer first, folders above it with their owners and modes.
Used after the chroot, through descriptors that were opened before; no link is ever followed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_COPY_BYTES = 1 << 20


class LowerLayers:
    """The layers beneath, topmost first."""

    def __init__(self, folders: list[str]) -> None:
        """Open the folders (before the chroot)."""
        self._roots = [os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for folder in folders]

    def copy_up(self, name: bytes) -> bool:
        """Copy a file into the layer at ``/``; returns whether there was one by that name."""
        parts = name.split(b"/")
        for root in self._roots:
            with _folder(root, parts[:-1]) as (folder, is_hidden):
                if folder is not None:
                    found = _lstat(parts[-1], folder)
                    if found is not None and stat.S_ISREG(found.st_mode):
                        _make_folders(root, parts[:-1])
                        _copy(parts[-1], folder, b"/" + name, found)
                        return True
                    if found is not None:
                        return False  # a whiteout, or something that is no file
            if is_hidden:
                return False
        return False


@contextmanager
def _folder(root: int, parts: list[bytes]) -> Iterator[tuple[int | None, bool]]:
    """Open a folder of one layer: yields (descriptor or None, whether the layers beneath are hidden by this one)."""
    opened = [os.dup(root)]
    is_hidden = False
    try:
        for part in parts:
            found = _lstat(part, opened[-1])
            if found is None:
                yield None, is_hidden
                return
            if not stat.S_ISDIR(found.st_mode):
                yield None, True
                return
            opened.append(os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=opened[-1]))
            is_hidden = is_hidden or _is_opaque(opened[-1])
        yield opened[-1], is_hidden
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _lstat(name: bytes, folder: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _is_opaque(folder: int) -> bool:
    try:
        return os.getxattr(folder, b"trusted.overlay.opaque") == b"y"
    except OSError:
        return False


def _make_folders(root: int, parts: list[bytes]) -> None:
    """Make the folders above a file as the layer ``root`` has them, where the new layer lacks them."""
    for depth in range(1, len(parts) + 1):
        path = b"/" + b"/".join(parts[:depth])
        with _folder(root, parts[:depth]) as (folder, _):
            if folder is None:
                continue
            with suppress(FileExistsError):
                os.mkdir(path, 0o700)
                _copy_attributes(folder, path)


def _copy(name: bytes, folder: int, path: bytes, found: os.stat_result) -> None:
    source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder)
    try:
        target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            offset = 0
            while offset < found.st_size:
                offset += os.sendfile(target, source, offset, _COPY_BYTES) or found.st_size
        finally:
            os.close(target)
        _copy_attributes(source, path)
    finally:
        os.close(source)


def _copy_attributes(source: int, path: bytes) -> None:
    found = os.fstat(source)
    os.lchown(path, found.st_uid, found.st_gid)
    os.chmod(path, stat.S_IMODE(found.st_mode))
    for key in os.listxattr(source):
        if not key.startswith("trusted."):
            os.setxattr(path, key, os.getxattr(source, key), follow_symlinks=False)
    os.utime(path, ns=(found.st_mtime_ns, found.st_mtime_ns), follow_symlinks=False)
