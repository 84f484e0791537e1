"""What a container has changed of its image's file system (``docker diff``).

Compares the overlay's upper directory with the layers beneath, as Docker compares the two mounted trees: a file
that is the same in all that stat shows is no change, and a folder is one when something in it is. All calls block.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from engine.files.treewalk import Entry, walk
from engine.model.commit import FilesystemChange

MODIFIED, ADDED, DELETED = 0, 1, 2
_OPAQUE = "trusted.overlay.opaque"
_CAPABILITY = "security.capability"
_SECOND_NS = 1_000_000_000


class _Lower:
    """One folder as the layers beneath show it together: those that have it, topmost first."""

    def __init__(self, folders: list[bytes]) -> None:
        self._folders = folders

    def find(self, name: bytes) -> tuple[os.stat_result | None, bytes, _Lower]:
        """Return what a name in it is, where that lies, and what is in it when it is a folder."""
        found: os.stat_result | None = None
        place = b""
        below: list[bytes] = []
        for folder in self._folders:
            path = folder + b"/" + name
            try:
                info = os.lstat(path)
            except (FileNotFoundError, NotADirectoryError):
                continue
            is_folder = stat.S_ISDIR(info.st_mode)
            if found is None:
                if _is_whiteout(info):
                    break
                found, place = info, path
            if not is_folder:
                break
            below.append(path)
            if _is_opaque(path):
                break
        return found, place, _Lower(below)

    def names(self) -> set[bytes]:
        """Return the names of all that is in it."""
        names: set[bytes] = set()
        for folder in self._folders:
            with suppress(FileNotFoundError):
                names.update(os.listdir(folder))  # noqa: PTH208 - names are bytes here
        return {name for name in names if self.find(name)[0] is not None}


class _Folder:
    """A folder of the upper directory that is being walked."""

    def __init__(self, path: bytes, lower: _Lower, *, is_listed: bool, hides: bool) -> None:
        self.path = path
        self.lower = lower
        self.is_listed = is_listed
        self.hides = hides  # what the layers beneath have in it
        self.names: set[bytes] = set()


def find_changes(upper: Path, layers: list[Path]) -> list[FilesystemChange]:
    """Return the changes in ``upper`` against ``layers``, topmost first, sorted by path; raises OSError."""
    descriptor = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        comparison = _Comparison(_Lower([os.fsencode(layer) for layer in layers]))
        for entry in walk(descriptor):
            comparison.see(entry)
        return comparison.result()
    finally:
        os.close(descriptor)


class _Comparison:
    def __init__(self, lower: _Lower) -> None:
        self._open = [_Folder(b"", lower, is_listed=True, hides=False)]  # the root is never a change
        self._found: dict[bytes, int] = {}

    def see(self, entry: Entry) -> None:
        """Take the next entry of the walk."""
        if entry.is_left:
            self._leave(entry)
            return
        parent = self._open[-1]
        parent.names.add(entry.name)
        before, place, below = parent.lower.find(entry.name)
        if _is_whiteout(entry.info):
            if before is not None:
                self._add(entry.path, DELETED)
            return
        if before is None:
            self._add(entry.path, ADDED)
        elif _differs(before, entry.info) or _capability(place) != _capability(_path_of(entry)):
            self._add(entry.path, MODIFIED)
        if entry.descriptor >= 0:
            is_new = before is None or not stat.S_ISDIR(before.st_mode)
            lower = _Lower([]) if is_new else below
            hides = parent.hides or _is_opaque(entry.descriptor)
            self._open.append(_Folder(entry.path, lower, is_listed=entry.path in self._found, hides=hides))

    def _leave(self, entry: Entry) -> None:
        folder = self._open[-1]
        if folder.hides:
            for name in folder.lower.names() - folder.names:
                self._add(entry.path + b"/" + name, DELETED)
        self._open.pop()

    def _add(self, path: bytes, kind: int) -> None:
        for folder in self._open:
            if not folder.is_listed:
                folder.is_listed = True
                self._found[folder.path] = MODIFIED
        self._found[path] = kind

    def result(self) -> list[FilesystemChange]:
        """Return what was found."""
        found = sorted(self._found.items(), key=lambda item: item[0].split(b"/"))
        return [FilesystemChange(path="/" + path.decode(errors="replace"), kind=kind) for path, kind in found]


def _is_whiteout(info: os.stat_result) -> bool:
    return stat.S_ISCHR(info.st_mode) and info.st_rdev == 0


def _is_opaque(folder: bytes | int) -> bool:
    try:
        return os.getxattr(folder, _OPAQUE) == b"y"
    except OSError:
        return False


def _path_of(entry: Entry) -> bytes:
    return b"/proc/self/fd/%d/%b" % (entry.parent, entry.name)


def _capability(path: bytes) -> bytes:
    try:
        return os.getxattr(path, _CAPABILITY, follow_symlinks=False)
    except OSError:
        return b""


def _differs(before: os.stat_result, after: os.stat_result) -> bool:
    if (before.st_mode, before.st_uid, before.st_gid) != (after.st_mode, after.st_uid, after.st_gid):
        return True
    if stat.S_ISDIR(after.st_mode):
        return False
    return (
        before.st_size != after.st_size
        or before.st_rdev != after.st_rdev
        or not _is_same_time(before.st_mtime_ns, after.st_mtime_ns)
    )


def _is_same_time(before_ns: int, after_ns: int) -> bool:
    """Whether two times are the same, or the same second where one of them is a whole one."""
    if before_ns == after_ns:
        return True
    is_whole = before_ns % _SECOND_NS == 0 or after_ns % _SECOND_NS == 0
    return is_whole and before_ns // _SECOND_NS == after_ns // _SECOND_NS
