"""A folder as a tar: run as a program of its own, for layers that are made here and for exports.

``python -m engine.images.packing take SOURCE FOLDER`` copies an upper directory into a layer's empty folder and
says what diff ID and size the layer has; ``measure FOLDER`` does that for one that is in its place;
``pack SOURCE BLOB`` writes a layer's folder, or its blob of another kind, as a gzip blob; ``export ROOT
LAYER…`` writes what layers show together, whole, to standard output. The first three print one JSON line (see
``programs.ProgramResult``); ``pack`` also prints how far it is.

What is written for a layer's folder depends on its content alone: the same folder always gives the same bytes,
so a layer needs no blob before it leaves this machine.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import queue
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from engine.files.treewalk import Entry, walk
from engine.images.treecopy import TreeCopy, is_opaque, is_whiteout, kept_xattrs
from engine.images.untar import PARENT, end_with, open_plain
from engine.runtime.syscalls import CLONE_NEWNS, MS_PRIVATE, MS_RDONLY, MS_REC, mount, syncfs, unshare
from engine.wire.tarencode import (
    BLOCK,
    CHARACTER,
    END,
    FILE,
    FOLDER,
    HARD_LINK,
    PIPE,
    SYMLINK,
    encode_member,
    encode_sparse,
    padding,
)

_BLOCK = 1 << 20
_LARGE = 1 << 16
_WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"
_HOLE_BYTES = 1 << 16
_SPARSE_LEAST = 8 << 20  # zeros in a file that make it worth while to leave them out
_ZEROS = bytes(_HOLE_BYTES)
_CAPABILITY = "security.capability"
_GZIP_LEVEL = 1
_KINDS = {
    stat.S_IFREG: FILE,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFCHR: CHARACTER,
    stat.S_IFBLK: BLOCK,
    stat.S_IFIFO: PIPE,
}

Sink = Callable[[bytes], None]


class Archive:
    """Writes a tree as a tar into ``sink``, in large blocks."""

    def __init__(self, sink: Sink, *, is_layer: bool) -> None:
        """Write whiteouts as OCI layers have them when ``is_layer``, else as what they are."""
        self._sink = sink
        self._is_layer = is_layer
        self._buffer = bytearray()
        self._links: dict[tuple[int, int], bytes] = {}
        self.size = 0  # of files and links, as dockerd counts them

    def write(self, top: int) -> None:
        """Write everything beneath the folder with the descriptor ``top``."""
        for entry in walk(top):
            if entry.is_left:
                continue
            if entry.descriptor >= 0:
                self._folder(entry)
            else:
                self._other(entry)
        self._put(END)
        self._flush()

    def _put(self, data: bytes) -> None:
        if len(data) >= _LARGE:
            self._flush()
            self._sink(data)
            return
        self._buffer += data
        if len(self._buffer) >= _BLOCK:
            self._flush()

    def _flush(self) -> None:
        if self._buffer:
            self._sink(bytes(self._buffer))
            self._buffer.clear()

    def _folder(self, entry: Entry) -> None:
        self._put(_head(entry, FOLDER, name=entry.path + b"/", xattrs=_xattrs(entry.descriptor)))
        if self._is_layer and is_opaque(entry.descriptor):
            self._put(_mark(entry, entry.path + b"/" + _OPAQUE, entry.info.st_mode & 0o777))

    def _other(self, entry: Entry) -> None:
        info = entry.info
        kind = _KINDS.get(stat.S_IFMT(info.st_mode))
        if kind is None:
            return  # a socket
        if self._is_layer and is_whiteout(info):
            self._put(_mark(entry, entry.path[: -len(entry.name)] + _WHITEOUT + entry.name, 0o600))
            return
        if info.st_nlink > 1:
            first = self._links.setdefault((info.st_dev, info.st_ino), entry.path)
            if first != entry.path:
                self._put(_head(entry, HARD_LINK, link=first))
                return
        try:
            self._content_of(entry, kind)
        except FileNotFoundError:  # it has gone meanwhile
            self._links.pop((info.st_dev, info.st_ino), None)

    def _content_of(self, entry: Entry, kind: bytes) -> None:
        if kind == FILE:
            self._file(entry)
        elif kind == SYMLINK:
            link = entry.read_link()
            self.size += len(link)
            self._put(_head(entry, SYMLINK, link=link))
        else:
            self._put(_head(entry, kind))

    def _file(self, entry: Entry) -> None:
        descriptor = entry.open()
        try:
            size = entry.info.st_size
            xattrs = _xattrs(descriptor)
            self.size += size
            pieces = _pieces(descriptor, size) if size >= _SPARSE_LEAST else [(0, size)]
            stored = sum(length for _, length in pieces)
            if size - stored < _SPARSE_LEAST:
                pieces, stored = [(0, size)], size
                self._put(_head(entry, FILE, size=size, xattrs=xattrs))
            else:
                name, records, table = encode_sparse(entry.path, pieces, size)
                stored += len(table)
                self._put(_head(entry, FILE, name=name, size=stored, xattrs=xattrs, records=records))
                self._put(table)
            for offset, length in pieces:
                self._content(descriptor, offset, length)
            self._put(padding(stored))
        finally:
            os.close(descriptor)

    def _content(self, descriptor: int, offset: int, length: int) -> None:
        if length <= _BLOCK:
            data = os.pread(descriptor, length, offset)
            self._put(data)
            if len(data) < length:
                self._rest(descriptor, offset + len(data), length - len(data))
            return
        self._flush()
        while length:
            data = os.pread(descriptor, min(length, _BLOCK), offset)
            if not data:
                self._rest(descriptor, offset, length)
                return
            self._sink(data)
            offset += len(data)
            length -= len(data)

    def _rest(self, descriptor: int, offset: int, length: int) -> None:
        """Write what a short read left: a file that became shorter meanwhile ends in zeros."""
        while length:
            data = os.pread(descriptor, min(length, _BLOCK), offset) or bytes(min(length, _BLOCK))
            self._put(data)
            offset += len(data)
            length -= len(data)


def _head(
    entry: Entry,
    kind: bytes,
    *,
    name: bytes = b"",
    size: int = 0,
    link: bytes = b"",
    xattrs: dict[bytes, bytes] | None = None,
    records: dict[bytes, bytes] | None = None,
) -> bytes:
    info = entry.info
    is_device = kind in (CHARACTER, BLOCK)
    return encode_member(
        name or entry.path,
        kind,
        mode=stat.S_IMODE(info.st_mode),
        uid=info.st_uid,
        gid=info.st_gid,
        size=size,
        mtime_s=info.st_mtime_ns // 1_000_000_000,
        link=link,
        major=os.major(info.st_rdev) if is_device else 0,
        minor=os.minor(info.st_rdev) if is_device else 0,
        xattrs=xattrs,
        records=records,
    )


def _mark(entry: Entry, name: bytes, mode: int) -> bytes:
    """Return an empty file that is a mark for who unpacks the layer."""
    return encode_member(name, FILE, mode=mode, uid=entry.info.st_uid, gid=entry.info.st_gid)


def _xattrs(descriptor: int) -> dict[bytes, bytes]:
    return {
        os.fsencode(name): _for_every_host(value) if name == _CAPABILITY else value
        for name, value in kept_xattrs(descriptor)
    }


def _for_every_host(capability: bytes) -> bytes:
    """Return a file's capabilities without the user that is root in this namespace (version 3 becomes 2)."""
    if len(capability) > 20 and capability[3] == 3:
        return capability[:3] + b"\2" + capability[4:20]
    return capability


def _pieces(descriptor: int, size: int) -> list[tuple[int, int]]:
    """Return the pieces of a file that are not zeros, as (offset, length) on a grid of 64 KiB.

    Told by the content, whatever the file system made holes of: that depends on more than the file.
    """
    found: list[tuple[int, int]] = []
    position = 0
    while position < size:
        try:
            data = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break
        position = max(position, data - data % _HOLE_BYTES)
        block = os.pread(descriptor, min(_BLOCK, size - position), position)
        if not block:
            break
        for start in range(0, len(block), _HOLE_BYTES):
            part = block[start : start + _HOLE_BYTES]
            if part != _ZEROS[: len(part)]:
                _extend(found, position + start, len(part))
        position += len(block)
    return found


def _extend(pieces: list[tuple[int, int]], offset: int, length: int) -> None:
    if pieces and sum(pieces[-1]) == offset:
        pieces[-1] = (pieces[-1][0], pieces[-1][1] + length)
    else:
        pieces.append((offset, length))


class HashingSink:
    """Hashes what is written in a thread, and hands it on when there is a next sink."""

    def __init__(self, then: Sink | None = None) -> None:
        """Begin with nothing."""
        self._hash = hashlib.sha256()
        self._then = then
        self._blocks: queue.Queue[bytes | None] = queue.Queue(16)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self.size = 0

    def _run(self) -> None:
        while (block := self._blocks.get()) is not None:
            self._hash.update(block)

    def __call__(self, data: bytes) -> None:
        """Take a block."""
        self._blocks.put(data)
        self.size += len(data)
        if self._then is not None:
            self._then(data)

    def digest(self) -> str:
        """Return the digest of everything that came."""
        self._blocks.put(None)
        self._thread.join()
        return f"sha256:{self._hash.hexdigest()}"


class _HashingFile:
    """What the compressor writes to."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.sink = HashingSink(self._write)
        self.source: HashingSink | None = None  # what is compressed

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]
        if self.source is not None:
            _print({"read": self.source.size, "written": self.sink.size})

    def write(self, data: bytes | bytearray | memoryview) -> int:
        self.sink(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass


def _opened(folder: str) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _take(source: str, folder: str) -> dict[str, object]:
    top = _opened(folder)
    TreeCopy(top).copy(_opened(source))
    return _measured(top)


def _measured(top: int) -> dict[str, object]:
    # It goes to the disk while its digest is worked out: who makes the layer durable need not wait again.
    failures: list[OSError] = []
    syncing = threading.Thread(target=_sync, args=(top, failures), daemon=True)
    syncing.start()
    sink = HashingSink()
    archive = Archive(sink, is_layer=True)
    archive.write(top)
    result: dict[str, object] = {"diff_id": sink.digest(), "size": archive.size}
    syncing.join()
    if failures:
        raise failures[0]
    return result


def _sync(top: int, failures: list[OSError]) -> None:
    try:
        syncfs(top)
    except OSError as error:
        failures.append(error)


def _pack(source: str, blob: str) -> dict[str, object]:
    """Write a gzip blob of a layer: out of its folder, or out of a blob that is compressed otherwise or not."""
    from isal import igzip_threaded

    descriptor = os.open(blob, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    packed = _HashingFile(descriptor)
    with igzip_threaded.open(  # type: ignore[no-untyped-call]
        packed, "wb", compresslevel=_GZIP_LEVEL, threads=1, block_size=_BLOCK
    ) as compressor:
        plain = packed.source = HashingSink(compressor.write)
        if Path(source).is_dir():
            Archive(plain, is_layer=True).write(_opened(source))
        else:
            _unpack(source, plain)
    result: dict[str, object] = {"diff_id": plain.digest(), "digest": packed.sink.digest(), "size": packed.sink.size}
    _print(result)  # whoever sends it need not wait for the disk
    os.fsync(descriptor)
    return result


def _unpack(blob: str, sink: Sink) -> None:
    with Path(blob).open("rb", buffering=0) as raw:
        reader = open_plain(raw)
        while block := reader.read(_BLOCK):
            sink(bytes(block))


def _export(root: str, *layers: str) -> None:
    """Write what layers show together: mounted in a namespace of this process's own, so that nothing is left."""

    def write(data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(1, view) :]

    unshare(CLONE_NEWNS)
    mount("", "/", "", MS_REC | MS_PRIVATE)
    os.chdir(root)
    names = ":".join(_short(layer, root) for layer in layers)
    mount("overlay", layers[0], "overlay", MS_RDONLY, f"lowerdir={names},index=off")
    Archive(write, is_layer=False).write(_opened(layers[0]))


def _short(path: str, root: str) -> str:
    return path.removeprefix(root.rstrip("/") + "/").replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def main(arguments: list[str]) -> int:
    """Do what the first word says; faults go to stdout as JSON (those of an export to stderr), exit code 1."""
    word, *paths = arguments
    os.umask(0)
    try:
        if word == "export":
            _export(*paths)
            return 0
        if word == "take":
            result = _take(*paths)
        elif word == "measure":
            result = _measured(_opened(*paths))
        else:
            result = _pack(*paths)
    except OSError as error:
        name = os.fsdecode(error.filename or b"")
        result = {"error": f"{error.strerror or error}: {name}".rstrip(": "), "errno": error.errno or 0}
    except (EOFError, ValueError) as error:
        result = {"error": str(error) or "unexpected EOF"}
    if "error" in result:  # names in it need not be UTF-8
        result["error"] = str(result["error"]).encode(errors="backslashreplace").decode()
    if word == "export":
        sys.stderr.write(f"{result['error']}\n")
        return 1
    _print(result)
    return 1 if "error" in result else 0


def _print(line: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    end_with(os.environ.get(PARENT, ""))
    sys.exit(main(sys.argv[1:]))
