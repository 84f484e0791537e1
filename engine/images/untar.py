"""Unpacking one layer: run as a program of its own, chrooted into the layer's folder.

``python -m engine.images.untar BLOB FOLDER [LOWER…]`` inflates a blob (gzip, zstd or plain), checks nothing
but the archive itself, and prints one JSON line ``{"diff_id": "sha256:…", "size": BYTES}`` or ``{"error": "…"}``.
With PORTSIDE_GROWING in the environment the blob is on its way, and standard input tells how far it has got.
It imports little, since it is started for every layer. A process of its own, because then no name, link or
``..`` in an archive can mean anything outside the folder, the engine's event loop and memory stay free, and
two layers use two cores.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import queue
import signal
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO, Protocol, cast

from engine.images.growing import GROWING, GrowingFile
from engine.images.lowerlayers import LowerLayers
from engine.wire.tarhead import Member, TarError, read_members, read_sparse_map

BLOCK = 1 << 20
PARENT = "PORTSIDE_PARENT"
_PR_SET_PDEATHSIG = 1
_WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"
_META = b".wh..wh."


class Reader(Protocol):
    """Anything with ``read``."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes."""


def open_plain(raw: BinaryIO) -> Reader:
    """Return the uncompressed bytes of a blob, by what it begins with."""
    head = raw.read(6)
    raw.seek(0)
    if head.startswith(b"\x1f\x8b"):
        from isal import igzip_threaded

        opened: Reader = igzip_threaded.open(raw, "rb", block_size=BLOCK)  # type: ignore[no-untyped-call]
        return opened
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        import zstandard

        found: Reader = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
        return found
    if head.startswith(b"BZh"):
        import bz2

        return bz2.BZ2File(raw)
    if head.startswith(b"\xfd7zXZ\0"):
        import lzma

        return lzma.LZMAFile(raw)
    return raw


class HashingReader:
    """Passes bytes on and hashes them in a thread."""

    def __init__(self, source: Reader) -> None:
        """Read from ``source``."""
        self._source = source
        self._hash = hashlib.sha256()
        self._blocks: queue.Queue[bytes | None] = queue.Queue(16)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._buffer = memoryview(b"")

    def _run(self) -> None:
        while (block := self._blocks.get()) is not None:
            self._hash.update(block)

    def _fill(self) -> bool:
        block = self._source.read(BLOCK)
        if not block:
            return False
        self._blocks.put(block)
        self._buffer = memoryview(block)
        return True

    def read(self, size: int) -> bytes:
        """Return exactly ``size`` bytes unless the end comes first."""
        if len(self._buffer) >= size:
            data = bytes(self._buffer[:size])
            self._buffer = self._buffer[size:]
            return data
        parts: list[bytes] = []
        for part in self.parts(size):
            parts.append(bytes(part))
        return b"".join(parts)

    def parts(self, size: int) -> Iterator[memoryview]:
        """Yield ``size`` bytes in pieces; fewer when the end comes first."""
        while size > 0:
            if not self._buffer and not self._fill():
                return
            part = self._buffer[:size]
            self._buffer = self._buffer[len(part) :]
            size -= len(part)
            yield part

    def digest(self) -> str:
        """Read to the end and return the digest of everything."""
        self._buffer = memoryview(b"")
        while self._fill():
            pass
        self._blocks.put(None)
        self._thread.join()
        return f"sha256:{self._hash.hexdigest()}"


def clean(name: bytes) -> bytes:
    """Return a member's path relative to the root; raises TarError when it leads out."""
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part in (b"", b"."):
            continue
        if part == b"..":
            if not parts:
                raise TarError(f"{os.fsdecode(name)!r} is outside of the layer")
            parts.pop()
        else:
            parts.append(part)
    return b"/".join(parts)


class Unpacker:
    """Writes members beneath the current root."""

    def __init__(self, lower: LowerLayers) -> None:
        """Begin with an empty folder on top of ``lower``."""
        self._lower = lower
        self.size = 0  # of files and links, as dockerd counts them
        self._made: set[bytes] = {b""}
        self._folder_times: dict[bytes, tuple[int, int]] = {}

    def unpack(self, reader: HashingReader) -> None:
        """Write everything; raises TarError or OSError."""
        for member in read_members(reader):
            name = clean(member.name)
            folder, _, base = name.rpartition(b"/")
            if folder not in self._made:
                self._make_parents(folder)
            if base.startswith(_WHITEOUT):
                self._whiteout(folder, base)
            else:
                self._write(member, name, reader)
        for name, times in reversed(self._folder_times.items()):
            with suppress(FileNotFoundError, NotADirectoryError):
                os.utime(b"/" + name, ns=times, follow_symlinks=False)

    def _make_parents(self, folder: bytes) -> None:
        walked = b""
        for part in folder.split(b"/"):
            walked = walked + b"/" + part if walked else part
            if walked in self._made:
                continue
            with suppress(FileExistsError):
                os.mkdir(b"/" + walked, 0o755)
            self._made.add(walked)

    def _whiteout(self, folder: bytes, base: bytes) -> None:
        place = b"/" + folder
        if base == _OPAQUE:
            os.setxattr(place, "trusted.overlay.opaque", b"y")
        elif not base.startswith(_META):
            target = os.path.join(place, base[len(_WHITEOUT) :])
            if base[len(_WHITEOUT) :] in (b"", b".", b".."):
                raise TarError(f"whiteout {os.fsdecode(base)!r} names no file")
            self._clear(target)
            os.mknod(target, stat.S_IFCHR, os.makedev(0, 0))

    def _clear(self, path: bytes, *, keep_folder: bool = False) -> bool:
        """Make room at a path; returns whether a folder was kept there."""
        try:
            info = os.lstat(path)
        except FileNotFoundError:
            return False
        if stat.S_ISDIR(info.st_mode):
            if keep_folder:
                return True
            self.size -= _remove_tree(path)
            self._made = {b""}
        else:
            os.unlink(path)
            self.size -= _counted(info)
        return False

    def _write(self, member: Member, name: bytes, reader: HashingReader) -> None:
        path = b"/" + name
        kind = member.kind
        if kind == "file":
            self._write_file(member, path, reader)
            return
        if kind == "folder":
            if name and not self._clear(path, keep_folder=True):
                os.mkdir(path, 0o700)
            self._made.add(name)
            self._folder_times[name] = (member.mtime_ns, member.mtime_ns)
        elif kind == "symlink":
            self._clear(path)
            os.symlink(member.link, path)
            self.size += len(member.link)
        elif kind == "hardlink":
            target = b"/" + clean(member.link)
            if target != path:
                self._clear(path)
                self._link(target, path)
            return
        else:
            self._clear(path)
            os.mknod(path, member.mode & 0o7777 | member.device_kind, os.makedev(member.major, member.minor))
        os.lchown(path, member.uid, member.gid)
        if kind != "symlink":
            os.chmod(path, member.mode & 0o7777)
        _set_xattrs(path, member)
        if kind != "folder":
            os.utime(path, ns=(member.mtime_ns, member.mtime_ns), follow_symlinks=False)

    def _link(self, target: bytes, path: bytes) -> None:
        try:
            os.link(target, path, follow_symlinks=False)
        except FileNotFoundError:
            if not self._lower.copy_up(target[1:]):
                raise TarError(f"hard link {os.fsdecode(path)!r} to {os.fsdecode(target)!r}: no such file") from None
            self.size += os.lstat(target).st_size
            os.link(target, path, follow_symlinks=False)

    def _write_file(self, member: Member, path: bytes, reader: HashingReader) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        try:
            descriptor = os.open(path, flags, 0o600)
        except FileExistsError:
            self._clear(path)
            descriptor = os.open(path, flags, 0o600)
        try:
            if member.sparse is not None:
                self.size += _write_sparse(descriptor, member, reader)
            else:
                written = 0
                for part in reader.parts(member.size):
                    written += _write_all(descriptor, part)
                if written != member.size:
                    raise TarError("unexpected EOF")
                self.size += written
            os.fchown(descriptor, member.uid, member.gid)
            os.fchmod(descriptor, member.mode & 0o7777)
            _set_xattrs(descriptor, member)
            os.utime(descriptor, ns=(member.mtime_ns, member.mtime_ns))
        finally:
            os.close(descriptor)


def _write_all(descriptor: int, part: memoryview) -> int:
    done = 0
    while done < len(part):
        done += os.write(descriptor, part[done:])
    return done


def _write_sparse(descriptor: int, member: Member, reader: HashingReader) -> int:
    """Write a file with holes and return its size; the pieces come one behind the other."""
    left = member.size
    pieces = member.sparse or []
    if member.has_map_in_content:
        pieces, used = read_sparse_map(reader, left)
        left -= used
    for offset, length in pieces:
        if not 0 <= offset <= offset + length <= member.real_size or length > left:
            raise TarError(f"{os.fsdecode(member.name)!r}: invalid sparse map")
        os.lseek(descriptor, offset, os.SEEK_SET)
        written = 0
        for part in reader.parts(length):
            written += _write_all(descriptor, part)
        if written != length:
            raise TarError("unexpected EOF")
        left -= length
    for _ in reader.parts(left):
        pass
    os.ftruncate(descriptor, member.real_size)
    return member.real_size


def _set_xattrs(target: bytes | int, member: Member) -> None:
    for key, value in member.xattrs.items():
        if key.startswith(b"trusted."):
            continue  # overlayfs's own marks are never taken from an archive
        try:
            if isinstance(target, int):
                os.setxattr(target, key, value)
            else:
                os.setxattr(target, key, value, follow_symlinks=False)
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.EPERM):
                raise


def _counted(info: os.stat_result) -> int:
    """Return what a path that goes away takes from the layer's size: nothing while it has other names."""
    is_counted = stat.S_ISREG(info.st_mode) or stat.S_ISLNK(info.st_mode)
    return info.st_size if is_counted and info.st_nlink == 1 else 0


def _remove_tree(path: bytes) -> int:
    """Delete a folder and return the bytes of what was in it."""
    freed = 0
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                freed += _remove_tree(entry.path)
            else:
                freed += _counted(entry.stat(follow_symlinks=False))
                os.unlink(entry.path)
    os.rmdir(path)
    return freed


def end_with(parent_pid: str) -> None:
    """Be killed when the engine is: the next one sweeps the folder, in which nobody may be writing then."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent_pid and os.getppid() != int(parent_pid):
        sys.exit(1)  # it was killed before this process could ask


def open_blob(path: str) -> BinaryIO:
    """Open a blob that is there, or one that is on its way."""
    if os.environ.get(GROWING):
        return cast("BinaryIO", GrowingFile(path, sys.stdin.buffer))
    return open(path, "rb", buffering=BLOCK)


def main(arguments: list[str]) -> int:
    """Unpack; the archive's faults go to stdout as JSON, exit code 1."""
    blob, folder, *lower_folders = arguments
    try:
        lower = LowerLayers(lower_folders)
        with open_blob(blob) as raw:
            source = open_plain(raw)
            os.chroot(folder)
            os.chdir("/")
            os.umask(0)
            reader = HashingReader(source)
            unpacker = Unpacker(lower)
            unpacker.unpack(reader)
            result: dict[str, object] = {"diff_id": reader.digest(), "size": unpacker.size}
    except TarError as error:
        result = {"error": str(error)}
    except OSError as error:
        result = {"error": f"{error.strerror or error}: {os.fsdecode(error.filename or b'')}".rstrip(": ")}
        result["errno"] = error.errno or 0
    except (EOFError, ValueError) as error:
        result = {"error": str(error) or "unexpected EOF"}
    except Exception as error:  # noqa: BLE001 - the edge of a process: a decompressor's own errors
        result = {"error": f"{type(error).__name__}: {error}"}
    if "error" in result:  # names in it need not be UTF-8
        result["error"] = str(result["error"]).encode(errors="backslashreplace").decode()
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()
    return 1 if "error" in result else 0


if __name__ == "__main__":
    end_with(os.environ.get(PARENT, ""))
    sys.exit(main(sys.argv[1:]))
