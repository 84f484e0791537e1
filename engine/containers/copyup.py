"""The image's content copied into a new, empty volume at its place, as Docker does.

Nothing is followed out of the container's root; ownership, modes, times, extended attributes, links and
device nodes are kept. A copy that a crash cut off is noticed by its mark and done again.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from engine.errors import InvalidArgument, Unavailable
from engine.model.record import MountRecord
from engine.runtime import syscalls
from engine.runtime.rootfs import RootDir

_MARK = ".copy-up"
_BLOCK = 16 * 1024 * 1024


def needs_copy(target: Path) -> bool:
    """Whether a volume's data folder is empty or holds a copy that was cut off (blocking)."""
    return (target.parent / _MARK).exists() or not any(target.iterdir())


def copy_up(rootfs: Path, mount: MountRecord, target: Path) -> None:
    """Copy what the root file system has at the mount's place into ``target`` if that is empty (blocking).

    ``target`` is the volume's data folder. Raises InvalidArgument when the place is a file, Unavailable
    when there is no room; what was copied then is removed.
    """
    if not needs_copy(target):
        return
    _empty(target)
    mark = target.parent / _MARK
    with RootDir(rootfs) as root:
        info = root.stat(mount.destination)
        if info is None:
            return
        if not stat.S_ISDIR(info.st_mode):
            raise InvalidArgument(f"cannot mount volume over existing file, file exists {mount.destination}")
        mark.touch(mode=0o600)
        _sync_folder(mark.parent)
        try:
            with root.opened(mount.destination, os.O_RDONLY | os.O_DIRECTORY) as source:
                copied = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    _copy_tree(source, copied, {})
                    syscalls.syncfs(copied)
                finally:
                    os.close(copied)
        except (OSError, RecursionError) as error:
            _empty(target)
            mark.unlink(missing_ok=True)
            raise Unavailable(f"failed to populate volume: {error}", hint="free disk space") from error
    mark.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _empty(folder: Path) -> None:
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            with suppress(FileNotFoundError):
                Path(entry.path).unlink()


def _copy_tree(source: int, target: int, links: dict[tuple[int, int], str]) -> None:
    """Copy the content of one folder, then its own attributes. ``links`` are hard links seen, by inode."""
    base = f"/proc/self/fd/{target}"
    with os.scandir(source) as entries:
        names = [entry.name for entry in entries]
    for name in names:
        info = os.stat(name, dir_fd=source, follow_symlinks=False)
        kind = stat.S_IFMT(info.st_mode)
        if kind == stat.S_IFDIR:
            _copy_folder(name, source, target, links)
            continue
        identity = (info.st_dev, info.st_ino)
        if info.st_nlink > 1 and identity in links:
            os.link(links[identity], f"{base}/{name}", follow_symlinks=False)
            continue
        if kind == stat.S_IFLNK:
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        elif kind == stat.S_IFREG:
            _copy_file(name, source, target)
        elif kind == stat.S_IFSOCK:
            continue  # a socket without its server is of no use
        else:
            os.mknod(name, info.st_mode, info.st_rdev, dir_fd=target)
        _copy_attributes(f"/proc/self/fd/{source}/{name}", f"{base}/{name}", info)
        if info.st_nlink > 1:
            links[identity] = str(Path(base).readlink() / name)
    _copy_attributes(f"/proc/self/fd/{source}", base, os.fstat(source), follow=True)


def _copy_folder(name: str, source: int, target: int, links: dict[tuple[int, int], str]) -> None:
    os.mkdir(name, 0o700, dir_fd=target)
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    inner = os.open(name, flags, dir_fd=source)
    try:
        copied = os.open(name, flags, dir_fd=target)
        try:
            _copy_tree(inner, copied, links)
        finally:
            os.close(copied)
    finally:
        os.close(inner)


def _copy_file(name: str, source: int, target: int) -> None:
    read = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        write = os.open(name, flags, 0o600, dir_fd=target)
        try:
            while os.sendfile(write, read, None, _BLOCK):
                pass
        finally:
            os.close(write)
    finally:
        os.close(read)


def _copy_attributes(source: str, target: str, info: os.stat_result, *, follow: bool = False) -> None:
    os.chown(target, info.st_uid, info.st_gid, follow_symlinks=follow)
    is_link = stat.S_ISLNK(info.st_mode)
    if not is_link:
        Path(target).chmod(stat.S_IMODE(info.st_mode))
    for name in _attributes(source, follow):
        try:
            value = os.getxattr(source, name, follow_symlinks=follow)
            os.setxattr(target, name, value, follow_symlinks=follow)
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.EPERM, errno.ENODATA):
                raise
    os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns), follow_symlinks=follow)


def _attributes(path: str, follow: bool) -> list[str]:
    try:
        return [name for name in os.listxattr(path, follow_symlinks=follow) if not _is_overlay(name)]
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.EPERM):
            return []
        raise


def _is_overlay(name: str) -> bool:
    return name.startswith(("trusted.overlay.", "user.overlay."))
