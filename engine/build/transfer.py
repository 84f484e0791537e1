"""COPY and ADD on the disk: files of a context, an image or a stage become a layer's folder.

Where a file has the owner, the mode and the time that it is to have, the layer takes it by a link and nothing is
copied. What is above the files is made as the image has it. Blocking; nothing here knows instructions.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from engine.build.places import follow
from engine.errors import InvalidArgument, Unavailable
from engine.images.treecopy import copy_content, kept_xattrs

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CLAUSE = re.compile(r"([ugoa]*)([-+=])([rwxXst]*|[ugo])")
_SECOND_NS = 1_000_000_000

Ignores = Callable[[str], bool]


@dataclass(frozen=True)
class Look:
    """How files are to look: owner (None keeps it) and mode ("" keeps it; octal or symbolic).

    Nothing is to be younger than ``latest_ns``, where that is given (SOURCE_DATE_EPOCH).
    """

    uid: int | None = None
    gid: int | None = None
    mode: str = ""
    latest_ns: int | None = None

    def time_of(self, info: os.stat_result) -> int:
        """Return the time of a file, in whole seconds, as nanoseconds."""
        second = info.st_mtime_ns // _SECOND_NS * _SECOND_NS
        return second if self.latest_ns is None else min(second, self.latest_ns)

    def mode_of(self, info: os.stat_result) -> int:
        """Return the mode of a file or folder."""
        before = stat.S_IMODE(info.st_mode)
        if not self.mode or stat.S_ISLNK(info.st_mode):
            return before
        return changed_mode(self.mode, before, is_folder=stat.S_ISDIR(info.st_mode))

    def fits(self, info: os.stat_result) -> bool:
        """Whether a file looks so already."""
        return (
            self.uid in (None, info.st_uid)
            and self.gid in (None, info.st_gid)
            and self.mode_of(info) == stat.S_IMODE(info.st_mode)
            and (self.latest_ns is None or info.st_mtime_ns <= self.latest_ns)
        )


def check_mode(text: str) -> None:
    """Raise InvalidArgument with BuildKit's text for a ``--chmod`` that means nothing."""
    if re.fullmatch(r"[0-7]{1,6}", text, re.ASCII):
        if int(text, 8) <= 0o7777:
            return
    elif text and all(_CLAUSE.fullmatch(part) for part in text.split(",")):
        return
    raise InvalidArgument(f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777")


def changed_mode(text: str, mode: int, *, is_folder: bool) -> int:
    """Return a mode after chmod(1)'s words."""
    if text.isdigit():
        return int(text, 8)
    for clause in text.split(","):
        found = _CLAUSE.fullmatch(clause)
        if found is None:
            continue
        who, sign, what = found.groups()
        who = "ugo" if not who or "a" in who else who
        bits = 0
        for person in who:
            shift = {"u": 6, "g": 3, "o": 0}[person]
            bits |= _permission(what, mode, is_folder=is_folder) << shift
            bits |= (0o4000 if person == "u" else 0o2000 if person == "g" else 0) if "s" in what else 0
        bits |= 0o1000 if "t" in what else 0
        if sign == "=":
            for person in who:
                mode &= ~(7 << {"u": 6, "g": 3, "o": 0}[person])
        mode = mode & ~bits if sign == "-" else mode | bits
    return mode


def _permission(what: str, mode: int, *, is_folder: bool) -> int:
    if what in ("u", "g", "o"):
        return mode >> {"u": 6, "g": 3, "o": 0}[what] & 7
    value = 4 * ("r" in what) | 2 * ("w" in what) | ("x" in what)
    return value | (1 if "X" in what and (is_folder or mode & 0o111) else 0)


class LayerWriter:
    """Fills the folder ``top`` of a new layer on an image that is mounted at ``view`` (None: there is none)."""

    def __init__(self, top: Path, view: Path | None) -> None:
        """Begin with what is in ``top``."""
        self._top = top
        self._view = view
        self._taken: set[tuple[int, int]] = set()
        self._folders_below: set[str] = {""}

    def resolve(self, path: str) -> str:
        """Return where a path of the image leads, links followed; relative to the root."""
        return follow(self._view, path) if self._view is not None else _lexical(path)

    def kind(self, path: str) -> int:
        """Return the type of what is at a path (relative, resolved) in the new image, 0 for nothing."""
        try:
            return stat.S_IFMT((self._top / path).lstat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return self._kind_below(path)

    def _kind_below(self, path: str) -> int:
        """Return the type of what the image has at a path; what only a link above it leads to does not count."""
        kind, walked = stat.S_IFDIR if self._view else 0, ""
        for part in path.split("/") if self._view is not None else ():
            if kind != stat.S_IFDIR:
                return 0
            walked = f"{walked}/{part}" if walked else part
            if walked in self._folders_below:
                continue
            try:
                kind = stat.S_IFMT((self._view / walked).lstat().st_mode) if self._view else 0
            except (FileNotFoundError, NotADirectoryError):
                return 0
            if kind == stat.S_IFDIR:
                self._folders_below.add(walked)
        return kind

    def make_folders(self, path: str, look: Look) -> None:
        """Make a folder and those above it; those that the image has are as it has them.

        Raises InvalidArgument when a file is in the way.
        """
        walked = ""
        for part in [part for part in path.split("/") if part]:
            walked = f"{walked}/{part}" if walked else part
            place = self._top / walked
            if place.is_dir() and not place.is_symlink():
                continue
            kind = self.kind(walked)
            if kind == stat.S_IFDIR and self._view is not None:
                _mkdir_like(place, self._view / walked)
            elif kind:
                raise InvalidArgument(f"mkdir /{walked}: not a directory")
            else:
                place.mkdir(mode=0o755)
                place.chmod(0o755)
                os.chown(place, look.uid or 0, look.gid or 0)

    def put(self, source: Path, path: str, look: Look) -> None:
        """Put one file (or link, device) at a path, over what is there; the folder above exists."""
        self._put(source, source.lstat(), path, look, {})

    def put_tree(
        self, source: Path, path: str, look: Look, ignores: Ignores | None = None, explicit: set[bytes] | None = None
    ) -> None:
        """Put what is in the folder ``source`` into the folder at ``path``, which is made when it is not there.

        ``ignores`` is asked with paths relative to ``source``. With ``explicit`` folders that are not in it came
        into being with what is in them: where the image has a link to a folder, they mean that folder.
        """
        self.make_folders(path, look)
        links: dict[tuple[int, int], str] = {}
        self._tree(source, "", path, look, ignores, explicit, links)

    def _tree(
        self,
        source: Path,
        beneath: str,
        path: str,
        look: Look,
        ignores: Ignores | None,
        explicit: set[bytes] | None,
        links: dict[tuple[int, int], str],
    ) -> None:
        pending: list[tuple[str, str, os.stat_result | None]] = [(beneath, path, None)]
        times: list[tuple[str, os.stat_result]] = []
        while pending:
            beneath, path, made = pending.pop()
            folder = source / beneath if beneath else source
            if made is not None:
                times.append((path, made))
            for name in sorted(os.listdir(folder), key=os.fsencode):
                relative = f"{beneath}/{name}" if beneath else name
                target = f"{path}/{name}" if path else name
                info = (folder / name).lstat()
                is_ignored = ignores is not None and ignores(relative)
                if stat.S_ISDIR(info.st_mode):
                    if is_ignored:
                        if _has_wanted(folder / name, relative, ignores):
                            self.make_folders(target, look)
                            pending.append((relative, target, None))
                        continue
                    if explicit is not None and os.fsencode(relative) not in explicit and self._is_link(target):
                        target = self.resolve(target)
                        self.make_folders(target, look)
                        pending.append((relative, target, None))
                        continue
                    self._put_folder(info, folder / name, target, look)
                    pending.append((relative, target, info))
                elif not is_ignored and not stat.S_ISSOCK(info.st_mode):
                    self._put(folder / name, info, target, look, links)
        for path, info in reversed(times):
            second = look.time_of(info)
            os.utime(self._top / path, ns=(second, second))

    def _is_link(self, path: str) -> bool:
        return self.kind(path) == stat.S_IFLNK and self.kind(self.resolve(path)) == stat.S_IFDIR

    def _put_folder(self, info: os.stat_result, source: Path, path: str, look: Look) -> None:
        place = self._top / path
        if not place.is_dir() or place.is_symlink():
            with suppress(FileNotFoundError):
                place.unlink()
            place.mkdir(mode=0o700)
        os.chown(place, info.st_uid if look.uid is None else look.uid, info.st_gid if look.gid is None else look.gid)
        place.chmod(look.mode_of(info))

    def _clear(self, place: Path) -> None:
        try:
            info = place.lstat()
        except FileNotFoundError:
            return
        if stat.S_ISDIR(info.st_mode):
            shutil.rmtree(place)
        else:
            place.unlink()

    def _put(
        self, source: Path, info: os.stat_result, path: str, look: Look, links: dict[tuple[int, int], str]
    ) -> None:
        place = self._top / path
        self._clear(place)
        inode = (info.st_dev, info.st_ino)
        if info.st_nlink > 1 and inode in links:
            os.link(self._top / links[inode], place, follow_symlinks=False)
            return
        links[inode] = path
        if stat.S_ISREG(info.st_mode):
            self._put_file(source, info, place, look)
            return
        if stat.S_ISLNK(info.st_mode):
            os.symlink(os.readlink(source), place)
        else:
            os.mknod(place, info.st_mode, info.st_rdev)
        os.chown(
            place,
            info.st_uid if look.uid is None else look.uid,
            info.st_gid if look.gid is None else look.gid,
            follow_symlinks=False,
        )
        if not stat.S_ISLNK(info.st_mode):
            place.chmod(look.mode_of(info))
        second = look.time_of(info)
        os.utime(place, ns=(second, second), follow_symlinks=False)

    def _put_file(self, source: Path, info: os.stat_result, place: Path, look: Look) -> None:
        inode = (info.st_dev, info.st_ino)
        if look.fits(info) and inode not in self._taken:
            try:
                os.link(source, place, follow_symlinks=False)
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP):
                    raise
            else:
                self._taken.add(inode)
                return
        self._copy(source, info, place, look)

    def _copy(self, source: Path, info: os.stat_result, place: Path, look: Look) -> None:
        reading = os.open(source, _FILE)
        try:
            writing = os.open(place, _NEW, 0o600)
            try:
                copy_content(reading, writing, info.st_size)
                os.fchown(
                    writing,
                    info.st_uid if look.uid is None else look.uid,
                    info.st_gid if look.gid is None else look.gid,
                )
                os.fchmod(writing, look.mode_of(info))
                for name, value in kept_xattrs(reading):
                    os.setxattr(writing, name, value)
                second = look.time_of(info)
                os.utime(writing, ns=(second, second))
            finally:
                os.close(writing)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise Unavailable(f"copying {source.name}: {error.strerror}", hint="free disk space") from error
            raise
        finally:
            os.close(reading)


def limit_times(top: Path, latest_ns: int) -> None:
    """Make nothing in a layer's folder younger than a time; files that others share are not younger already."""
    for folder, names, files in os.walk(top, topdown=False):
        for name in (*files, *names):
            place = f"{folder}/{name}"
            if os.lstat(place).st_mtime_ns > latest_ns:
                os.utime(place, ns=(latest_ns, latest_ns), follow_symlinks=False)


def _lexical(path: str) -> str:
    return os.path.normpath("/" + path.lstrip("/")).strip("/")


def _mkdir_like(place: Path, model: Path) -> None:
    info = model.lstat()
    place.mkdir(mode=0o700)
    os.chown(place, info.st_uid, info.st_gid)
    place.chmod(stat.S_IMODE(info.st_mode))
    descriptor = os.open(model, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for name, value in kept_xattrs(descriptor):
            os.setxattr(place, name, value)
    finally:
        os.close(descriptor)


def _has_wanted(folder: Path, beneath: str, ignores: Ignores | None) -> bool:
    """Whether something in a folder that is left out is wanted all the same."""
    for name in os.listdir(folder):
        relative = f"{beneath}/{name}"
        if ignores is not None and not ignores(relative):
            return True
        path = folder / name
        if path.is_dir() and not path.is_symlink() and _has_wanted(path, relative, ignores):
            return True
    return False
