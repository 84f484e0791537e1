"""Unpacking a build context while it arrives: run as a program of its own, chrooted into the context's folder.

``python -m engine.build.unpack FOLDER SUMS [keep] [delta]`` reads an archive (tar, plain or compressed) from
standard input, and writes what Docker counts of each member (its head without times, and its content) as a digest
into the file ``SUMS``. It prints one JSON line: ``{"size": BYTES, "files": N}`` or ``{"error": "…"}``.

Files have whole seconds and belong to root, as COPY leaves them (with ``keep`` to whom the archive says, as ADD
leaves what it unpacks): so a layer can take them by a link. With ``delta`` the folder holds an earlier context: the
archive has what has changed, and in a member of a name that no file can have, what was removed.
"""

from __future__ import annotations

import ctypes
import hashlib
import io
import json
import os
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO

from engine.images.untar import PARENT, clean, end_with, open_plain
from engine.wire.tarhead import Member, TarError, read_members, read_sparse_map

BLOCK = 1 << 20
_SECOND_NS = 1_000_000_000
_CAPABILITY = b"security.capability"
_FLAGS = {"file": b"0", "hardlink": b"1", "symlink": b"2", "folder": b"5"}
_DEVICES = {stat.S_IFCHR: b"3", stat.S_IFBLK: b"4", stat.S_IFIFO: b"6"}
REMOVED = b"../removed"
GONE = b"-"


class _Peeked:
    """A stream of which the first bytes were looked at, and can be read once more."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._head = b""
        while len(self._head) < 6 and (block := raw.read(6 - len(self._head))):
            self._head += block
        self._at_start = True

    def read(self, size: int = -1) -> bytes:
        if self._at_start:
            self._at_start = False
            return self._head
        if self._head:
            head, self._head = self._head, b""
            return head + (self._raw.read(size - len(head)) if size > len(head) or size < 0 else b"")
        return self._raw.read(size)

    def readinto(self, buffer: bytearray | memoryview) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, _: int) -> int:
        """Go back to the beginning, once, after ``open_plain`` has looked."""
        return 0

    def readable(self) -> bool:
        return True

    closed = False


class _Exact:
    """Reads of an exact size."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = open_plain(source)
        self._buffer = memoryview(b"")

    def _fill(self) -> bool:
        self._buffer = memoryview(self._source.read(BLOCK))
        return len(self._buffer) > 0

    def read(self, size: int) -> bytes:
        return b"".join(bytes(part) for part in self.parts(size))

    def parts(self, size: int) -> Iterator[memoryview]:
        while size > 0 and (self._buffer or self._fill()):
            part = self._buffer[:size]
            self._buffer = self._buffer[len(part) :]
            size -= len(part)
            yield part

    def drain(self) -> None:
        """Read what is behind the archive's end, so that who writes is not told of a broken pipe."""
        while self._fill():
            pass


class NotSimple(Exception):
    """An archive that only a process whose root the folder is may unpack."""


class ContextUnpacker:
    """Writes members beneath ``root``.

    Unless ``root`` is the process's own, folders that it has not made itself are refused with NotSimple: then no
    link that was planted can be followed.
    """

    def __init__(
        self, sums: BinaryIO, *, keeps_owners: bool = False, is_delta: bool = False, root: bytes = b"/"
    ) -> None:
        """Write digests into ``sums``: the digest, a space, the path, a zero byte."""
        self._root = root
        self._is_delta = is_delta
        self._sums = sums
        self._keeps_owners = keeps_owners
        self._made: set[bytes] = {b""}
        self._times: dict[bytes, int] = {}
        self.size = 0
        self.files = 0

    def unpack(self, source: _Exact) -> None:
        """Write everything; raises TarError or OSError."""
        for member in read_members(source):
            if self._is_delta and member.name == REMOVED:
                self._remove(b"".join(bytes(part) for part in source.parts(member.size)))
                continue
            name = clean(member.name)
            folder = name.rpartition(b"/")[0]
            if folder not in self._made:
                self._make_folders(folder)
            digest = hashlib.sha256(_head(member))
            self._write(member, name, source, digest)
            self._sums.write(digest.hexdigest().encode() + b" " + name + b"\0")
            self.files += 1
        source.drain()
        for name, time_ns in reversed(self._times.items()):
            with suppress(FileNotFoundError, NotADirectoryError):
                os.utime(self._root + name, ns=(time_ns, time_ns), follow_symlinks=False)

    def _make_folders(self, folder: bytes) -> None:
        walked = b""
        for part in folder.split(b"/"):
            walked = walked + b"/" + part if walked else part
            if walked not in self._made:
                try:
                    os.mkdir(self._root + walked, 0o755)
                except FileExistsError:
                    if self._root != b"/":
                        raise NotSimple from None
                self._made.add(walked)

    def _remove(self, names: bytes) -> None:
        for item in filter(None, names.split(b"\0")):
            name = clean(item)
            if name:
                self._clear(self._root + name)
                self._sums.write(GONE + b" " + name + b"\0")

    def _clear(self, path: bytes, *, keep_folder: bool = False) -> bool:
        try:
            info = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        if not stat.S_ISDIR(info.st_mode):
            os.unlink(path)
        elif keep_folder:
            return True
        else:
            shutil.rmtree(path)
            self._made = {b""}
        return False

    def _write(self, member: Member, name: bytes, source: _Exact, digest: hashlib._Hash) -> None:
        path = self._root + name
        time_ns = member.mtime_ns // _SECOND_NS * _SECOND_NS
        if member.kind == "file":
            self._clear(path)
            self._write_file(member, path, source, digest, time_ns)
            return
        if member.kind == "folder":
            if name and not self._clear(path, keep_folder=True):
                os.mkdir(path, 0o700)
            self._made.add(name)
            self._times[name] = time_ns
        elif member.kind == "symlink":
            self._clear(path)
            os.symlink(member.link, path)
        elif member.kind == "hardlink":
            link = clean(member.link)
            if self._root != b"/" and link.rpartition(b"/")[0] not in self._made:
                raise NotSimple
            target = self._root + link
            if target != path:
                self._clear(path)
                try:
                    os.link(target, path, follow_symlinks=False)
                except FileNotFoundError:
                    raise TarError(f"hard link {_shown(path)} to {_shown(target)}: no such file") from None
            return
        else:
            self._clear(path)
            os.mknod(path, member.mode & 0o7777 | member.device_kind, os.makedev(member.major, member.minor))
        if self._keeps_owners and name:
            os.lchown(path, member.uid, member.gid)
        if member.kind != "symlink" and name:
            os.chmod(path, member.mode & 0o7777)
        if member.kind != "folder":
            os.utime(path, ns=(time_ns, time_ns), follow_symlinks=False)

    def _write_file(self, member: Member, path: bytes, source: _Exact, digest: hashlib._Hash, time_ns: int) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            if member.sparse is not None:
                _write_sparse(descriptor, member, source, digest)
            else:
                written = 0
                for part in source.parts(member.size):
                    digest.update(part)
                    _write_all(descriptor, part)
                    written += len(part)
                if written != member.size:
                    raise TarError("unexpected EOF")
                self.size += written
            if self._keeps_owners:
                os.fchown(descriptor, member.uid, member.gid)
            os.fchmod(descriptor, member.mode & 0o7777)
            value = member.xattrs.get(_CAPABILITY)
            if value is not None:
                os.setxattr(descriptor, _CAPABILITY, value)
            os.utime(descriptor, ns=(time_ns, time_ns))
        finally:
            os.close(descriptor)


def _write_all(descriptor: int, part: memoryview) -> None:
    while part:
        part = part[os.write(descriptor, part) :]


def _write_sparse(descriptor: int, member: Member, source: _Exact, digest: hashlib._Hash) -> None:
    left, pieces = member.size, member.sparse or []
    if member.has_map_in_content:
        pieces, used = read_sparse_map(source, left)
        left -= used
    for offset, length in pieces:
        if not 0 <= offset <= offset + length <= member.real_size or length > left:
            raise TarError(f"{_shown(member.name)}: invalid sparse map")
        os.lseek(descriptor, offset, os.SEEK_SET)
        digest.update(b"%d+%d" % (offset, length))
        for part in source.parts(length):
            digest.update(part)
            _write_all(descriptor, part)
            left -= len(part)
    for _ in source.parts(left):
        pass
    os.ftruncate(descriptor, member.real_size)


def _head(member: Member) -> bytes:
    """Return what moby's tarsum (version 1) hashes of a member's head: everything but the times."""
    flag = _FLAGS.get(member.kind) or _DEVICES.get(member.device_kind, b"0")
    size = member.real_size if member.sparse is not None else member.size
    parts = [
        b"name" + member.name,
        b"mode%d" % member.mode,
        b"uid%d" % member.uid,
        b"gid%d" % member.gid,
        b"size%d" % (size if member.kind == "file" else 0),
        b"typeflag" + flag,
        b"linkname" + member.link,
        b"unamegname",
        b"devmajor%d" % member.major,
        b"devminor%d" % member.minor,
    ]
    return b"".join(parts) + b"".join(key + value for key, value in sorted(member.xattrs.items()))


def _shown(path: bytes) -> str:
    return os.fsdecode(path).__repr__()


def unpack_simple(data: bytes, root: str, sums_path: str) -> dict[str, object] | None:
    """Unpack a small archive within the calling process; None when it is for a process of its own.

    Raises TarError, OSError, or what a decompressor raises.
    """
    try:
        with open(sums_path, "wb") as sums:
            unpacker = ContextUnpacker(sums, root=os.fsencode(root) + b"/")
            unpacker.unpack(_Exact(io.BytesIO(data)))
    except NotSimple:
        return None
    return {"size": unpacker.size, "files": unpacker.files}


def main(arguments: list[str]) -> int:
    """Unpack; the archive's faults go to stdout as JSON, exit code 1."""
    folder, sums_path, *words = arguments
    try:
        is_delta = "delta" in words
        with open(sums_path, "ab" if is_delta else "wb") as sums, open(0, "rb", buffering=0, closefd=False) as raw:
            source = _Exact(_Peeked(raw))  # type: ignore[arg-type]
            os.chroot(folder)
            os.chdir("/")
            os.umask(0)
            unpacker = ContextUnpacker(sums, keeps_owners="keep" in words, is_delta=is_delta)
            unpacker.unpack(source)
            sums.flush()
        result: dict[str, object] = {"size": unpacker.size, "files": unpacker.files}
    except TarError as error:
        result = {"error": str(error)}
    except OSError as error:
        result = {"error": f"{error.strerror or error}: {os.fsdecode(error.filename or b'')}".rstrip(": ")}
        result["errno"] = error.errno or 0
    except (EOFError, ValueError, MemoryError) as error:
        result = {"error": str(error) or "unexpected EOF"}
    except Exception as error:  # noqa: BLE001 - the edge of a process: a decompressor's own errors
        result = {"error": f"{type(error).__name__}: {error}"}
    if "error" in result:  # names in it need not be UTF-8
        result["error"] = str(result["error"]).encode(errors="backslashreplace").decode()
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()
    return 1 if "error" in result else 0


if __name__ == "__main__":
    ctypes.CDLL(None)  # nothing is loaded after the chroot
    end_with(os.environ.get(PARENT, ""))
    sys.exit(main(sys.argv[1:]))
