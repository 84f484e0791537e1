"""Tar streams unpacked into a folder that has files already, by the rules of ``docker cp``.

Members are written through descriptors of their folders. How a folder's name is walked is the caller's choice:
beneath a root as a process with that root sees it (links and all), or strictly beneath the folder itself.
What is being written when an archive breaks off is removed; members before it stay, as Docker leaves them.
All calls block. Texts of errors are moby's.
"""

from __future__ import annotations

import errno
import os
import stat

from engine.files.openat2 import BENEATH, IN_ROOT, openat2
from engine.wire.tarhead import Member, Source, TarError, read_members, read_sparse_map

TYPE_CHECKING = False  # typing takes as long to import as all else here, in programs that start often
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol

_KEPT_FOLDERS = 64
_MAX_TIME_NS = 2**63 - 1
_SPECIAL_BITS = 0o1000
_DEFAULT_RIGHTS = "system.posix_acl_default"
_OURSELVES = (os.geteuid(), os.getegid())
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


if TYPE_CHECKING:

    class Reader(Source, Protocol):
        """An archive's bytes."""

        def parts(self, size: int) -> Iterator[memoryview]:
            """Yield ``size`` bytes in pieces, fewer when the end comes first."""

        def copy_to(self, target: int, size: int) -> int:
            """Write the next ``size`` bytes to an open file; return how many came."""

else:
    Reader = object


class UnpackRules:
    """How members become files.

    ``owner`` is (UID, GID) for all of them, without it they have the archive's unless ``keeps_owner`` is false;
    ``no_overwrite`` refuses to put a folder in the place of something else and the other way round.
    ``has_no_umask`` says that files get just the mode that they are made with, so that it need not be set again.
    """

    def __init__(
        self,
        owner: tuple[int, int] | None = None,
        *,
        keeps_owner: bool = True,
        no_overwrite: bool = False,
        has_no_umask: bool = False,
    ) -> None:
        """Set the rules."""
        self.owner = owner
        self.keeps_owner = keeps_owner
        self.no_overwrite = no_overwrite
        self.has_no_umask = has_no_umask


class Place:
    """The folder that is unpacked into, as a path beneath an open root."""

    def __init__(self, root: int, path: bytes = b"", *, strict: bool = False, title: str = "/") -> None:
        """``path`` is absolute beneath ``root``, links in it resolved; ``strict`` refuses links out of ``root``.

        ``title`` is what errors show for ``root``.
        """
        self._root = root
        self._path = path.strip(b"/")
        self._title = title.rstrip("/")
        self._resolve = BENEATH if strict else IN_ROOT
        self._open: dict[bytes, int] = {}
        self._handing_on: dict[bytes, bool] = {}

    def shown(self, name: bytes) -> str:
        """Return the path of a member as errors show it."""
        return f"{self._title}/{os.fsdecode(self._full(name))}".rstrip("/") or "/"

    def folder(self, name: bytes, *, make: bool = True) -> int:
        """Return a descriptor of the folder ``name`` in here; an absent one is made unless ``make`` is false."""
        found = self._open.pop(name, None)
        if found is None:
            if len(self._open) >= _KEPT_FOLDERS:  # the one that was asked for longest ago: callers use two at most
                os.close(self._open.pop(next(iter(self._open))))
            try:
                found = self._walk(name)
            except FileNotFoundError:
                if not make:
                    raise
                found = self._make(name)
        self._open[name] = found
        return found

    def hands_on(self, name: bytes) -> bool:
        """Whether files in an open folder get more than they are made with: its group, or its default rights."""
        found = self._handing_on.get(name)
        if found is None:
            found = self._handing_on[name] = _hands_on(self.folder(name))
        return found

    def _walk(self, name: bytes) -> int:
        path = self._full(name) or b"."
        try:
            return openat2(self._root, path, os.O_RDONLY | os.O_DIRECTORY, resolve=self._resolve)
        except PermissionError:  # it may be entered but not read
            return openat2(self._root, path, os.O_PATH | os.O_DIRECTORY, resolve=self._resolve)

    def _full(self, name: bytes) -> bytes:
        return b"/".join(part for part in (self._path, name) if part)

    def _make(self, name: bytes) -> int:
        parent, _, base = name.rpartition(b"/")
        if not name:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.shown(name))
        os.mkdir(base, 0o755, dir_fd=self.folder(parent))
        return self._walk(name)

    def inner(self, name: bytes) -> bytes:
        """Return a clean name as it counts here: nothing is above the root."""
        if self._path or self._title:
            return name
        while name.startswith(b"../"):
            name = name[3:]
        return b"" if name == b".." else name

    def close(self) -> None:
        """Close the folders; the next use walks to them anew."""
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()
        self._handing_on.clear()


class TreeUnpacker:
    """Writes the members of an archive into a place."""

    def __init__(self, place: Place, rules: UnpackRules, rename: Callable[[bytes], bytes] | None = None) -> None:
        """Nothing is written yet. ``rename`` gives members, and those that hard links mean, other names."""
        self._place = place
        self._rules = rules
        self._rename = rename
        self._times: dict[bytes, int] = {}

    def unpack(self, reader: Reader) -> None:
        """Write everything; raises TarError for the archive's faults, OSError for those of the disk."""
        try:
            for member in read_members(reader):
                if self._rename is not None:
                    member.name = self._rename(member.name)
                    if member.kind == "hardlink":
                        member.link = self._rename(member.link)
                self._write(member, reader)
            for name, mtime_ns in self._times.items():
                folder, base = _split(name)
                try:
                    os.utime(base, ns=(mtime_ns, mtime_ns), dir_fd=self._place.folder(folder), follow_symlinks=False)
                except (FileNotFoundError, NotADirectoryError):
                    continue  # replaced by a later member
        finally:
            self._place.close()

    def _write(self, member: Member, reader: Reader) -> None:
        name = self._place.inner(clean(member.name))
        if name == b".." or name.startswith(b"../"):
            raise TarError(f'"{os.fsdecode(name)}" is outside of "{self._place.shown(b"")}"')
        if not name:
            for _ in reader.parts(member.size):
                pass
            return
        folder, base = _split(name)
        try:
            if member.kind == "file":
                self._make_file(member, folder, base, name, reader)
            else:
                exists = self._clear(member, folder, base, name)
                self._make(member, self._place.folder(folder), base, name, exists=exists)
        except OSError as error:
            if error.errno is None:  # a decompressor's
                raise
            raise OSError(error.errno, error.strerror, self._place.shown(name)) from error

    def _clear(self, member: Member, folder: bytes, base: bytes, name: bytes) -> bool:
        """Make room for a member; returns whether a folder stays there."""
        parent = self._place.folder(folder)
        try:
            found = os.stat(base, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return False
        is_folder = stat.S_ISDIR(found.st_mode)
        becomes_folder = member.kind == "folder"
        if is_folder and becomes_folder:
            return True
        if self._rules.no_overwrite and is_folder != becomes_folder:
            kinds = ("directory", "non-directory") if is_folder else ("non-directory", "directory")
            raise TarError(
                f'cannot overwrite {kinds[0]} "{self._place.shown(name)}" with {kinds[1]} "{self._place.shown(b"")}"'
            )
        if is_folder:
            remove_tree(base, parent)
            self._place.close()  # folders in it may be among those that are open
        else:
            os.unlink(base, dir_fd=parent)
        return False

    def _make(self, member: Member, parent: int, base: bytes, name: bytes, *, exists: bool) -> None:
        if member.kind == "folder":
            if not exists:
                os.mkdir(base, 0o700, dir_fd=parent)
            self._times[name] = _bounded(member.mtime_ns)
        elif member.kind == "hardlink":
            self._make_link(member, parent, base)
            return
        elif member.kind == "symlink":
            self._check_symlink(member, name)
            os.symlink(member.link, base, dir_fd=parent)
        else:
            os.mknod(
                base, member.mode & 0o7777 | member.device_kind, os.makedev(member.major, member.minor), dir_fd=parent
            )
        self._finish(member, parent, base)

    def _make_file(self, member: Member, folder: bytes, base: bytes, name: bytes, reader: Reader) -> None:
        parent = self._place.folder(folder)
        is_exact = self._rules.has_no_umask and not self._place.hands_on(folder)
        mode = member.mode & 0o7777
        first_mode = mode if is_exact and mode < _SPECIAL_BITS else 0o600
        try:
            descriptor = os.open(base, _NEW_FILE, first_mode, dir_fd=parent)
        except FileExistsError:
            self._clear(member, folder, base, name)
            parent = self._place.folder(folder)
            descriptor = os.open(base, _NEW_FILE, first_mode, dir_fd=parent)
        try:
            _write_content(descriptor, member, reader)
            owner = self._owner(member)
            if owner is not None and not (is_exact and owner == _OURSELVES):
                os.fchown(descriptor, *owner)
            for key, value in member.xattrs.items():
                _set_xattr(descriptor, key, value)
            if mode != first_mode:
                os.fchmod(descriptor, mode)
            mtime_ns = _bounded(member.mtime_ns)
            os.utime(descriptor, ns=(mtime_ns, mtime_ns))
        except BaseException:
            os.unlink(base, dir_fd=parent)
            raise
        finally:
            os.close(descriptor)

    def _make_link(self, member: Member, parent: int, base: bytes) -> None:
        target = self._place.inner(clean(member.link))
        if target.startswith(b"..") and target[2:3] in (b"", b"/"):
            shown = os.path.normpath(f"{self._place.shown(b'')}/{os.fsdecode(member.link)}")
            raise TarError(f'invalid hardlink "{shown}" -> "{os.fsdecode(member.link)}"')
        folder, name = _split(target)
        os.link(name, base, src_dir_fd=self._place.folder(folder, make=False), dst_dir_fd=parent, follow_symlinks=False)

    def _check_symlink(self, member: Member, name: bytes) -> None:
        # As Docker: an absolute target counts from where the link is, since it means the container's root.
        link = os.fsdecode(member.link)
        path = self._place.shown(name)
        target = os.path.normpath(f"{path.rpartition('/')[0]}/{link}")
        if not target.startswith(self._place.shown(b"")):
            raise TarError(f'invalid symlink "{path}" -> "{link}"')

    def _owner(self, member: Member) -> tuple[int, int] | None:
        if self._rules.owner is not None:
            return self._rules.owner
        return (member.uid, member.gid) if self._rules.keeps_owner else None

    def _finish(self, member: Member, parent: int, base: bytes) -> None:
        """Give what is no file its owner, attributes, mode and time."""
        owner = self._owner(member)
        if owner is not None:
            os.chown(base, *owner, dir_fd=parent, follow_symlinks=False)
        if member.kind == "symlink":
            mtime_ns = _bounded(member.mtime_ns)
            os.utime(base, ns=(mtime_ns, mtime_ns), dir_fd=parent, follow_symlinks=False)
            return
        if member.kind == "folder":
            descriptor = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
            try:
                for key, value in member.xattrs.items():
                    _set_xattr(descriptor, key, value)
                os.fchmod(descriptor, member.mode & 0o7777)
            finally:
                os.close(descriptor)
            return
        # mknod is subject to the umask of the process, which is 0 where devices are made.
        mtime_ns = _bounded(member.mtime_ns)
        os.utime(base, ns=(mtime_ns, mtime_ns), dir_fd=parent, follow_symlinks=False)


def clean(name: bytes) -> bytes:
    """Return a name without ``.``, doubled slashes and inner ``..``; one that leads out begins with ``..``."""
    parts: list[bytes] = []
    is_absolute = name.startswith(b"/")
    for part in name.split(b"/"):
        if part in (b"", b"."):
            continue
        if part != b"..":
            parts.append(part)
        elif parts and parts[-1] != b"..":
            parts.pop()
        elif not is_absolute:
            parts.append(part)
    return b"/".join(parts)


def remove_tree(name: bytes | str, parent: int) -> None:
    """Delete a folder of an open folder with all that is in it; no link is followed."""
    descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        with os.scandir(descriptor) as entries:
            found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for inner, is_folder in found:
            if is_folder:
                remove_tree(inner, descriptor)
            else:
                os.unlink(inner, dir_fd=descriptor)
    finally:
        os.close(descriptor)
    os.rmdir(name, dir_fd=parent)


def _hands_on(folder: int) -> bool:
    if os.fstat(folder).st_mode & stat.S_ISGID:
        return True
    try:
        os.getxattr(folder, _DEFAULT_RIGHTS)
    except OSError as error:
        return error.errno not in (errno.ENODATA, errno.ENOTSUP)
    return True


def _split(name: bytes) -> tuple[bytes, bytes]:
    folder, _, base = name.rpartition(b"/")
    return folder, base


def _bounded(time_ns: int) -> int:
    return time_ns if 0 <= time_ns <= _MAX_TIME_NS else 0


def _set_xattr(descriptor: int, key: bytes, value: bytes) -> None:
    try:
        os.setxattr(descriptor, key, value)
    except PermissionError:
        return  # as Docker: where they may not be set they are left out


def _write_content(descriptor: int, member: Member, reader: Reader) -> None:
    if member.sparse is not None:
        _write_sparse(descriptor, member, reader)
    elif reader.copy_to(descriptor, member.size) != member.size:
        raise TarError("unexpected EOF")


def _write_sparse(descriptor: int, member: Member, reader: Reader) -> None:
    left = member.size
    pieces = member.sparse or []
    if member.has_map_in_content:
        pieces, used = read_sparse_map(reader, left)
        left -= used
    for offset, length in pieces:
        if not 0 <= offset <= offset + length <= member.real_size or length > left:
            raise TarError("archive/tar: invalid tar header")
        os.lseek(descriptor, offset, os.SEEK_SET)
        if reader.copy_to(descriptor, length) != length:
            raise TarError("unexpected EOF")
        left -= length
    for _ in reader.parts(left):
        pass
    os.ftruncate(descriptor, member.real_size)
