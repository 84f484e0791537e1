"""A copy of an overlay's upper directory as a layer's folder: the same files, whiteouts and opaque marks.

The upper directory may be in use: what vanishes is left out, and nothing in it leads out of it.
"""

from __future__ import annotations

import errno
import os
import stat

from engine.files.treewalk import Entry, walk

OPAQUE = "trusted.overlay.opaque"
_COPY_BYTES = 16 << 20
_CAPABILITY = "security.capability"
_TARGET = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def kept_xattrs(descriptor: int) -> list[tuple[str, bytes]]:
    """Return the attributes that a layer keeps, sorted: capabilities and those of users, never overlayfs's own."""
    try:
        names = os.listxattr(descriptor)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return []
        raise
    return [
        (name, os.getxattr(descriptor, name))
        for name in sorted(names)
        if name == _CAPABILITY or name.startswith("user.")
    ]


def is_opaque(descriptor: int) -> bool:
    """Whether a folder hides what the layers beneath have in it."""
    try:
        return os.getxattr(descriptor, OPAQUE) == b"y"
    except OSError:
        return False


def is_whiteout(info: os.stat_result) -> bool:
    """Whether an entry of an upper directory says that something is deleted."""
    return stat.S_ISCHR(info.st_mode) and info.st_rdev == 0


class TreeCopy:
    """Copies one tree into an empty folder."""

    def __init__(self, target: int) -> None:
        """Copy into the folder with the descriptor ``target``."""
        self._folders = [os.dup(target)]
        self._links: dict[tuple[int, int], bytes] = {}
        self._top = target

    def copy(self, source: int) -> None:
        """Copy everything beneath the folder with the descriptor ``source``; raises OSError."""
        try:
            for entry in walk(source):
                if entry.descriptor >= 0:
                    self._folder(entry)
                elif not stat.S_ISSOCK(entry.info.st_mode):
                    self._other(entry)
        finally:
            for descriptor in self._folders:
                os.close(descriptor)
            self._folders = []

    def _folder(self, entry: Entry) -> None:
        if not entry.is_left:
            os.mkdir(entry.name, 0o700, dir_fd=self._folders[-1])
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            self._folders.append(os.open(entry.name, flags, dir_fd=self._folders[-1]))
            return
        target = self._folders.pop()
        try:
            if is_opaque(entry.descriptor):
                os.setxattr(target, OPAQUE, b"y")
            _copy_attributes(entry.descriptor, target, entry.info)
        finally:
            os.close(target)

    def _other(self, entry: Entry) -> None:
        info = entry.info
        folder = self._folders[-1]
        if info.st_nlink > 1 and not is_whiteout(info):  # overlayfs makes all whiteouts links of one
            first = self._links.setdefault((info.st_dev, info.st_ino), entry.path)
            if first != entry.path:
                os.link(first, entry.name, src_dir_fd=self._top, dst_dir_fd=folder, follow_symlinks=False)
                return
        try:
            self._copy(entry, folder)
        except FileNotFoundError:  # it has gone meanwhile
            self._links.pop((info.st_dev, info.st_ino), None)

    def _copy(self, entry: Entry, folder: int) -> None:
        info = entry.info
        if stat.S_ISREG(info.st_mode):
            self._file(entry, folder)
            return
        if stat.S_ISLNK(info.st_mode):
            os.symlink(entry.read_link(), entry.name, dir_fd=folder)
        else:
            os.mknod(entry.name, info.st_mode, info.st_rdev, dir_fd=folder)
        os.chown(entry.name, info.st_uid, info.st_gid, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISLNK(info.st_mode):
            os.chmod(entry.name, stat.S_IMODE(info.st_mode), dir_fd=folder)
        os.utime(entry.name, ns=(info.st_mtime_ns, info.st_mtime_ns), dir_fd=folder, follow_symlinks=False)

    def _file(self, entry: Entry, folder: int) -> None:
        source = entry.open()
        try:
            target = os.open(entry.name, _TARGET, 0o600, dir_fd=folder)
            try:
                copy_content(source, target, entry.info.st_size)
                _copy_attributes(source, target, entry.info)
            finally:
                os.close(target)
        finally:
            os.close(source)


def _copy_attributes(source: int, target: int, info: os.stat_result) -> None:
    os.chown(target, info.st_uid, info.st_gid)
    os.chmod(target, stat.S_IMODE(info.st_mode))
    for name, value in kept_xattrs(source):
        os.setxattr(target, name, value)
    os.utime(target, ns=(info.st_mtime_ns, info.st_mtime_ns))


def copy_content(source: int, target: int, size: int) -> None:
    """Copy ``size`` bytes of a file, its holes as holes, sharing blocks where the file system can."""
    if size == 0:
        return
    position = 0
    while position < size:
        try:
            start = min(os.lseek(source, position, os.SEEK_DATA), size)
            end = min(os.lseek(source, start, os.SEEK_HOLE), size)
        except OSError as error:
            if error.errno != errno.ENXIO:  # nothing but a hole up to the end
                raise
            break
        _copy_range(source, target, start, end)
        position = end
    os.ftruncate(target, size)


def _copy_range(source: int, target: int, start: int, end: int) -> None:
    while start < end:
        try:
            done = os.copy_file_range(source, target, min(end - start, _COPY_BYTES), start, start)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            done = os.pwrite(target, os.pread(source, min(end - start, _COPY_BYTES), start), start)
        if not done:
            return  # it became shorter meanwhile: the rest stays a hole
        start += done
