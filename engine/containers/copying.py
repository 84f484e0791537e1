"""Copying in a container's file system: a program of its own, started for each copy.

``python -m engine.containers.copying TEXT`` enters the view that the text (``encode_request``) describes, then
says what a path is (``stat``), writes it to standard output as a tar stream (``get``) or unpacks standard input
there (``put``). The descriptor that ``result`` names gets lines of JSON: for ``stat`` and ``get`` first what the
path is, in the end ``{"done": true}`` or ``{"error": …, "kind": …}``. It ends with the engine, and takes its
mounts with it. Imports all that it needs before it enters, since afterwards every path is the container's, and
little of that (no json, typing, contextlib), since it starts for each copy.
"""

from __future__ import annotations

import binascii
import errno
import marshal
import os
import stat
import sys

from engine.errors import InvalidArgument, PortsideError
from engine.files.blocks import PipeReader
from engine.files.openat2 import openat2
from engine.files.tartree import DescriptorSink, TarStream, TreeWriter
from engine.files.unpack import Place, TreeUnpacker, UnpackRules
from engine.runtime.rootview import decode_plan, enter
from engine.runtime.syscalls import end_with
from engine.wire.tarhead import TarError

TYPE_CHECKING = False  # typing takes as long to import as all else here, in programs that start often
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    class _Compressor(Protocol):
        def compress(self, data: bytes | bytearray, /) -> bytes: ...

        def flush(self) -> bytes: ...

    FindUser = Callable[[bytes | None, bytes | None, str], tuple[int, int]]

_MAX_LINKS = 255
_MAX_USERS_BYTES = 8 * 1024 * 1024
_GO_MODES = {
    stat.S_IFDIR: 1 << 31,
    stat.S_IFLNK: 1 << 27,
    stat.S_IFBLK: 1 << 26,
    stat.S_IFCHR: 1 << 26 | 1 << 21,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24,
}
_GO_BITS = ((stat.S_ISUID, 1 << 23), (stat.S_ISGID, 1 << 22), (stat.S_ISVTX, 1 << 20))
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW


def go_mode(mode: int) -> int:
    """Return a mode with the bits of Go's os.FileMode, which Docker's stat header has."""
    found = mode & 0o777 | _GO_MODES.get(stat.S_IFMT(mode), 0)
    for bit, go_bit in _GO_BITS:
        if mode & bit:
            found |= go_bit
    return found


def base_name(path: str) -> str:
    """Return a path's last element as Go's filepath.Base does."""
    return path.rstrip("/").rpartition("/")[2] or ("/" if path else ".")


def absolute(path: str) -> str:
    """Return a clean absolute path that keeps a trailing ``/`` or ``/.``: they ask for a folder."""
    found = os.path.normpath("/" + path.lstrip("/"))
    ends = "." if path == "." or path.endswith("/.") else ""
    if ends or path.endswith("/"):
        found = found.rstrip("/") + "/" + ends
    return found


def resolved(root: int, path: str) -> str:
    """Return where a path leads with all links followed beneath ``root``, as far as there is something."""
    walked: list[str] = []
    pending = [part for part in path.split("/") if part and part != "."]
    links = 0
    while pending:
        part = pending.pop(0)
        if part == "..":
            walked = walked[:-1]
            continue
        here = "/".join([*walked, part])
        try:
            descriptor = openat2(root, here, os.O_PATH | os.O_NOFOLLOW)
        except OSError:
            walked.append(part)
            continue
        try:
            if not stat.S_ISLNK(os.fstat(descriptor).st_mode):
                walked.append(part)
                continue
            target = os.readlink("", dir_fd=descriptor)
        finally:
            os.close(descriptor)
        links += 1
        if links > _MAX_LINKS:
            raise OSError(errno.ELOOP, "too many links", path)
        if target.startswith("/"):
            walked = []
        pending = [item for item in target.split("/") if item and item != "."] + pending
    return "/" + "/".join(walked)


class Results:
    """The lines that the engine reads."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def send(self, line: dict[str, object]) -> None:
        os.write(self._descriptor, encode_result(line).encode() + b"\n")


def encode_result(value: object) -> str:
    """Return a result as JSON."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{encode_result(key)}:{encode_result(item)}" for key, item in value.items()) + "}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    text = _utf8(str(value))
    return '"' + "".join(item if item >= " " and item not in '"\\' else f"\\u{ord(item):04x}" for item in text) + '"'


def _utf8(text: str) -> str:
    """Return a text as Go writes it: what is not UTF-8 becomes the replacement character."""
    return text.encode(errors="surrogateescape").decode(errors="replace")


class Copy:
    """One copy in a view that was entered."""

    def __init__(
        self,
        asked: dict[str, Any],
        root: int,
        find_user: FindUser | None = None,
        compressor: _Compressor | None = None,
    ) -> None:
        """``root`` is the view's root; ``find_user`` finds whom all files are given to."""
        self._asked = asked
        self._root = root
        self._find_user = find_user
        self._compressor = compressor

    def stat(self, path: str) -> dict[str, Any]:
        """Return what a path is, as Docker's stat header says it; a link at its end is not followed."""
        descriptor = self._open(path, os.O_PATH | os.O_NOFOLLOW)
        try:
            return self._told(path, os.fstat(descriptor))
        finally:
            os.close(descriptor)

    def _told(self, path: str, info: os.stat_result) -> dict[str, Any]:
        return {
            "name": _utf8(base_name(path)),
            "size": info.st_size,
            "mode": go_mode(info.st_mode),
            "mtime_ns": info.st_mtime_ns,
            "linkTarget": _utf8(resolved(self._root, path)) if stat.S_ISLNK(info.st_mode) else "",
        }

    def _open(self, path: str, flags: int, *, shown: str = "") -> int:
        try:
            return openat2(self._root, path.lstrip("/") or ".", flags)
        except OSError as error:
            raise OSError(error.errno, f"lstat {shown or path}: {_words(error)}") from error

    def get(self, path: str, results: Results) -> None:
        """Tell what an absolute path is, then write it as a tar stream; a folder's members begin with its name."""
        # Opened once: what the path leads to may change meanwhile.
        above, _, base = path.rpartition("/")
        if base in ("", "."):
            opened = self._open(path, os.O_PATH | os.O_DIRECTORY)
            info = os.fstat(opened)
        else:
            opened = self._open(f"{above}/", os.O_PATH | os.O_DIRECTORY, shown=path)
            try:
                info = os.stat(base, dir_fd=opened, follow_symlinks=False)
            except OSError as error:
                raise OSError(error.errno, f"lstat {path}: {_words(error)}") from error
            if stat.S_ISDIR(info.st_mode):
                opened = os.open(base, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=opened)
        results.send({"stat": self._told(path, info)})
        sink = _PackingSink(1, self._compressor) if self._compressor is not None else DescriptorSink(1)
        stream = TarStream(sink)
        writer = TreeWriter(stream)
        name = os.fsencode(base_name(path))
        if stat.S_ISDIR(info.st_mode):
            writer.write_tree(os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=opened), name)
        else:
            writer.write_entry(opened, base, name)
        stream.close()
        if isinstance(sink, _PackingSink):
            sink.close()

    def put(self, path: str, reader: PipeReader) -> None:
        """Unpack standard input into a folder."""
        place = absolute(resolved_whole(self._root, path)) + ("/" if path.endswith("/") else "")
        descriptor = self._open(place, os.O_PATH | os.O_NOFOLLOW)
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        os.close(descriptor)
        if not is_folder:
            raise InvalidArgument("extraction point is not a directory")
        self._check_writable(place)
        rules = UnpackRules(self._owner(), no_overwrite=self._asked["no_overwrite"], has_no_umask=True)
        TreeUnpacker(Place(self._root, os.fsencode(place)), rules).unpack(reader)

    def _owner(self) -> tuple[int, int] | None:
        if self._find_user is None:
            return None
        passwd, group = (self._read(path) for path in ("etc/passwd", "etc/group"))
        return self._find_user(passwd, group, self._asked["user"])

    def _read(self, path: str) -> bytes | None:
        try:
            descriptor = openat2(self._root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
            with os.fdopen(descriptor, "rb") as file:
                return file.read(_MAX_USERS_BYTES)
        except OSError:
            return None

    def _check_writable(self, place: str) -> None:
        for destination, is_writable in self._asked["protected"]:
            if place == destination or place.startswith(destination.rstrip("/") + "/"):
                if is_writable:
                    return
                raise InvalidArgument("mounted volume is marked read-only")
        if self._asked["read_only_root"]:
            raise InvalidArgument("container rootfs is marked read-only")


def resolved_whole(root: int, path: str) -> str:
    """Return where a path leads; raises OSError unless all of it is there."""
    os.close(openat2(root, path.strip("/") or ".", os.O_PATH))
    return resolved(root, path)


def _make_compressor(encoding: str) -> _Compressor:
    import zlib

    return zlib.compressobj(1, zlib.DEFLATED, 31 if encoding == "gzip" else -15)


class _PackingSink:
    """Compresses for a client that asked for it."""

    def __init__(self, descriptor: int, compressor: _Compressor) -> None:
        self._out = DescriptorSink(descriptor)
        self._compressor = compressor

    def write(self, data: bytes | bytearray) -> None:
        self._out.write(self._compressor.compress(data))

    def send(self, descriptor: int, count: int) -> int:
        block = os.read(descriptor, min(count, 1 << 20))
        self.write(block)
        return len(block)

    def close(self) -> None:
        self._out.write(self._compressor.flush())


def _words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _user_finder() -> FindUser:
    from engine.runtime.users import resolve_in

    def find(passwd: bytes | None, group: bytes | None, user: str) -> tuple[int, int]:
        try:
            found = resolve_in(passwd, group, user)
        except InvalidArgument as error:
            kind, name = ("group", user) if "group" in error.message else ("user", user.partition(":")[0])
            raise InvalidArgument(
                f'failed to look up {kind} "{name}" in container: no matching entries in '
                f"{'group' if kind == 'group' else 'passwd'} file"
            ) from error
        return found.uid, found.gid

    return find


def _end_with_engine() -> None:
    end_with(int(os.environ["PORTSIDE_PARENT"]))


def _run(asked: dict[str, Any], results: Results) -> None:
    what, path = asked["what"], asked["path"]
    reader = PipeReader(0) if what == "put" else None
    find_user = _user_finder() if asked["user"] else None
    compressor = _make_compressor(asked["encoding"]) if asked["encoding"] else None
    copy = Copy(asked, enter(decode_plan(asked["view"])), find_user, compressor)
    _end_with_engine()  # once more: taking other IDs undid it
    if reader is not None:
        copy.put(path, reader)
    elif what == "get":
        copy.get(path, results)
    else:
        results.send({"stat": copy.stat(path)})


def _failure(error: Exception) -> dict[str, object]:
    if isinstance(error, PortsideError):
        return {"error": error.message, "kind": type(error).__name__}
    if isinstance(error, OSError) and error.errno == errno.ENOENT:
        return {"error": "", "kind": "NotFound"}
    if isinstance(error, OSError) and error.errno:
        shown = os.fsdecode(error.filename or b"")
        return {"error": f"{shown}: {_words(error)}" if shown else _words(error), "kind": "Internal"}
    text = str(error) or "unexpected EOF"
    if isinstance(error, TarError) and text == "invalid tar header":
        text = f"archive/tar: {text}"
    return {"error": text, "kind": "Internal"}


def encode_request(asked: dict[str, Any]) -> str:
    """Return what is asked of a copy as its argument, for an interpreter of the same version."""
    return binascii.b2a_base64(marshal.dumps(asked), newline=False).decode()


def main(argument: str) -> int:
    """Copy; faults go to the results, exit code 1."""
    asked = marshal.loads(binascii.a2b_base64(argument))
    results = Results(asked["result"])
    os.umask(0)
    line: dict[str, object] = {"done": True}
    try:
        _run(asked, results)
    except BrokenPipeError:
        return 1  # whoever read it has gone
    except EOFError:
        line = {"error": "unexpected EOF", "kind": "Internal"}
    except Exception as error:  # noqa: BLE001 - the edge of a process: a decompressor's own errors too
        line = _failure(error)
    if "error" in line:  # names in it need not be UTF-8
        line["error"] = str(line["error"]).encode(errors="backslashreplace").decode()
    results.send(line)
    return 0 if "done" in line else 1


if __name__ == "__main__":
    _end_with_engine()
    sys.exit(main(sys.argv[1]))
