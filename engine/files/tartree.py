"""Trees of files written as tar streams: read through descriptors, no link ever followed.

``TarStream`` collects heads and contents into big blocks for a sink, ``TreeWriter`` walks folders as Docker
does: names in order, a folder before what is in it, sockets left out, further names of a file as hard links.
All calls block. Safe beneath folders that others change meanwhile: whatever a name has become, nothing outside
of the folder is read, and a file that shrinks is filled up with zeros so that the archive stays whole.
"""

from __future__ import annotations

import errno
import os
import stat

from engine.wire.tarencode import BLOCK, CHARACTER, END, FILE, FOLDER, HARD_LINK, PIPE, SYMLINK, encode_member, padding

TYPE_CHECKING = False  # typing takes as long to import as all else here, in programs that start often
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol

CAPABILITY = "security.capability"
_GATHERED_BYTES = 256 * 1024
_SMALL_BYTES = 64 * 1024
_PIECE_BYTES = 1024 * 1024
_SECOND_NS = 1_000_000_000
_FLAGS = {
    stat.S_IFREG: FILE,
    stat.S_IFDIR: FOLDER,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFCHR: CHARACTER,
    stat.S_IFBLK: BLOCK,
    stat.S_IFIFO: PIPE,
}
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CAPABILITY_V2_BYTES = 20
_ZEROS = bytes(_PIECE_BYTES)
_LEFT_OUT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENXIO, errno.ESTALE)


if TYPE_CHECKING:

    class Sink(Protocol):
        """Where a stream goes. What it raises ends the writing."""

        def write(self, data: bytes | bytearray) -> None:
            """Take all of ``data``."""

        def send(self, descriptor: int, count: int) -> int:
            """Take up to ``count`` bytes of an open file from where it stands; return how many, 0 at its end."""

else:
    Sink = object


class DescriptorSink:
    """A pipe, socket or file that blocks; file contents go into pipes and sockets without a copy."""

    def __init__(self, descriptor: int) -> None:
        """Write to ``descriptor``, which stays the caller's."""
        self._descriptor = descriptor

    def write(self, data: bytes | bytearray) -> None:
        """Write all of ``data``."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def send(self, descriptor: int, count: int) -> int:
        """Hand on a piece of an open file."""
        return os.sendfile(self._descriptor, descriptor, None, min(count, _PIECE_BYTES))


class TarStream:
    """An archive that is being written. ``close`` ends it; without that it is cut off."""

    def __init__(self, sink: Sink) -> None:
        """Write to ``sink``."""
        self._sink = sink
        self._gathered = bytearray()

    def add(
        self,
        name: bytes,
        info: os.stat_result,
        *,
        link: bytes = b"",
        hard_link: bytes = b"",
        xattrs: dict[bytes, bytes] | None = None,
        owner: tuple[int, int] | None = None,
        size: int | None = None,
    ) -> None:
        """Write a member's head from what stat says of it.

        A file's content follows by ``content``, unless it is ``hard_link``, another name of a member before.
        ``owner`` replaces the UID and GID; ``size`` the bytes of the content.
        """
        kind = stat.S_IFMT(info.st_mode)
        flag = HARD_LINK if hard_link else _FLAGS[kind]
        if flag == FOLDER and not name.endswith(b"/"):
            name += b"/"
        is_device = flag in (CHARACTER, BLOCK)
        uid, gid = owner or (info.st_uid, info.st_gid)
        self.write(
            encode_member(
                name,
                flag,
                mode=stat.S_IMODE(info.st_mode),
                uid=uid,
                gid=gid,
                size=(info.st_size if size is None else size) if flag == FILE else 0,
                mtime_s=info.st_mtime_ns // _SECOND_NS,
                link=hard_link or link,
                major=os.major(info.st_rdev) if is_device else 0,
                minor=os.minor(info.st_rdev) if is_device else 0,
                xattrs=xattrs,
            )
        )

    def content(self, descriptor: int, size: int) -> None:
        """Write ``size`` bytes of an open file, filled up with zeros when it has fewer by now, and the padding."""
        left = size
        if size <= _SMALL_BYTES:
            while left and (block := os.read(descriptor, left)):
                self._gathered += block
                left -= len(block)
        else:
            self._flush()
            while left and (sent := self._sink.send(descriptor, left)):
                left -= sent
            while left > _SMALL_BYTES:
                self._sink.write(_ZEROS[:left])
                left -= min(left, _PIECE_BYTES)
        self.write(bytes(left) + padding(size))

    def write(self, data: bytes) -> None:
        """Write bytes of the archive as they are."""
        self._gathered += data
        if len(self._gathered) >= _GATHERED_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._gathered:
            self._sink.write(self._gathered)
            self._gathered = bytearray()

    def close(self) -> None:
        """End the archive and hand on what is left of it."""
        self._gathered += END
        self._flush()


class TreeWriter:
    """Writes files and folders into a stream; one for each archive, since it knows the hard links."""

    def __init__(
        self,
        stream: TarStream,
        *,
        keeps_xattr: Callable[[str], bool] | None = None,
        owner: Callable[[int, int], tuple[int, int]] | None = None,
        on_left_out: Callable[[bytes, OSError], None] | None = None,
    ) -> None:
        """``keeps_xattr`` chooses extended attributes by name; without it only capabilities are kept, as Docker does.

        ``owner`` maps UID and GID of a file to those in the archive. ``on_left_out`` is told of what cannot be read.
        """
        self._stream = stream
        self._keeps_xattr = keeps_xattr
        self._owner = owner
        self._on_left_out = on_left_out
        self._seen: dict[tuple[int, int], bytes] = {}

    def write_tree(self, folder: int, name: bytes) -> None:
        """Write an open folder as ``name`` and all that is in it as ``name/…``."""
        info = os.fstat(folder)
        self._add(name, info, xattrs=self._xattrs(folder))
        self.write_content(folder, name)

    def write_content(self, folder: int, name: bytes) -> None:
        """Write what is in an open folder as ``name/…``, or as ``…`` when the name is empty."""
        prefix = name.rstrip(b"/") + b"/" if name else b""
        walked: list[tuple[int, bytes, Iterator[str]]] = [(folder, prefix, iter(sorted_names(folder)))]
        try:
            while walked:
                parent, prefix, names = walked[-1]
                entry = next(names, None)
                if entry is None:
                    walked.pop()
                    if walked:
                        os.close(parent)
                    continue
                path = prefix + os.fsencode(entry)
                inner = self.write_entry(parent, entry, path)
                if inner is not None:
                    walked.append((inner, path + b"/", iter(sorted_names(inner))))
        finally:
            for descriptor, _, _ in walked[1:]:
                os.close(descriptor)

    def write_entry(self, parent: int, entry: str, name: bytes) -> int | None:
        """Write one entry of an open folder as ``name``; return a descriptor of a folder, which is not entered.

        What is gone by now, or may not be read, is left out.
        """
        try:
            info = os.stat(entry, dir_fd=parent, follow_symlinks=False)
            kind = stat.S_IFMT(info.st_mode)
            link, descriptor = b"", -1
            if kind == stat.S_IFLNK:
                link = os.fsencode(os.readlink(entry, dir_fd=parent))
            elif kind in (stat.S_IFREG, stat.S_IFDIR):
                descriptor = os.open(entry, _OPEN_FILE if kind == stat.S_IFREG else _OPEN_FOLDER, dir_fd=parent)
        except OSError as error:
            if error.errno not in _LEFT_OUT:
                raise
            if self._on_left_out is not None:
                self._on_left_out(name, error)
            return None
        if kind == stat.S_IFDIR:
            try:
                self._add(name, info, xattrs=self._xattrs(descriptor))
            except BaseException:
                os.close(descriptor)
                raise
            return descriptor
        if descriptor >= 0:
            try:
                self.write_file(descriptor, name)
            finally:
                os.close(descriptor)
        elif kind in _FLAGS:
            self._add(name, info, link=link, hard_link=self._first_name(name, info))
        return None

    def write_file(self, descriptor: int, name: bytes) -> None:
        """Write an open file as ``name``; nothing when it is no regular file any more."""
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode):
            return
        first = self._first_name(name, info)
        if first:
            self._add(name, info, hard_link=first)
            return
        self._add(name, info, xattrs=self._xattrs(descriptor))
        self._stream.content(descriptor, info.st_size)

    def _first_name(self, name: bytes, info: os.stat_result) -> bytes:
        """Return the name under which a file with several names is in the archive already."""
        if info.st_nlink < 2:
            return b""
        first = self._seen.setdefault((info.st_dev, info.st_ino), name)
        return b"" if first == name else first

    def _add(
        self,
        name: bytes,
        info: os.stat_result,
        *,
        link: bytes = b"",
        hard_link: bytes = b"",
        xattrs: dict[bytes, bytes] | None = None,
    ) -> None:
        owner = self._owner(info.st_uid, info.st_gid) if self._owner else None
        self._stream.add(name, info, link=link, hard_link=hard_link, xattrs=xattrs, owner=owner)

    def _xattrs(self, descriptor: int) -> dict[bytes, bytes] | None:
        if self._keeps_xattr is None:
            value = _xattr(descriptor, CAPABILITY)
            return {CAPABILITY.encode(): _version_two(value)} if value else None
        try:
            names = [name for name in os.listxattr(descriptor) if self._keeps_xattr(name)]
        except OSError:
            return None
        found = {os.fsencode(name): _xattr(descriptor, name) for name in names}
        return {name: value for name, value in found.items() if value is not None}


def _xattr(descriptor: int, name: str) -> bytes | None:
    try:
        return os.getxattr(descriptor, name)
    except OSError:  # there is none, or the file system has no such thing
        return None


def _version_two(value: bytes) -> bytes:
    """Return a file's capabilities without the user namespace that they were given in, as Docker does."""
    return value[:3] + b"\2" + value[4:_CAPABILITY_V2_BYTES] if value[3:4] == b"\3" else value


def sorted_names(folder: int) -> list[str]:
    """Return the names in an open folder, in order."""
    return sorted(os.listdir(folder))
