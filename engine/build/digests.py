"""What a COPY takes, as digests: of contents and of the metadata that Docker counts (no times).

Two for each source: ``shown`` is moby's own, which histories contain; ``key`` also tells links apart that lead
to the same file. Blocking.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.build.places import follow
from engine.errors import NotFound

_CAPABILITY = "security.capability"
_FLAGS = {stat.S_IFLNK: "2", stat.S_IFCHR: "3", stat.S_IFBLK: "4", stat.S_IFDIR: "5", stat.S_IFIFO: "6"}


@dataclass(frozen=True)
class SourceDigest:
    """The two digests of one source, and how many files it has."""

    shown: str
    key: str
    files: int = 1


class TreeDigests:
    """Digests of what is beneath ``root``; ``sums`` are those known from an archive, None where none are."""

    def __init__(self, root: Path, sums: Mapping[bytes, str] | None = None) -> None:
        """Compute nothing yet."""
        self._root = root
        self._sums = sums
        self._computed: dict[str, str] = {}

    def source(self, path: str, ignores: Callable[[str], bool] | None = None) -> SourceDigest:
        """Return the digests of a file or folder; raises NotFound."""
        real = follow(self._root, path)
        try:
            info = (self._root / real).lstat()
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"stat {path}: file does not exist") from None
        if not stat.S_ISDIR(info.st_mode):
            digest = self._sum(real)
            return SourceDigest(f"file:{digest}", digest)
        shown: list[str] = []
        key = hashlib.sha256()
        files = 0
        for relative, below in self._walk(real):
            if below and ignores is not None and ignores(below):
                continue
            files += 1
            own = self._sum(relative) if relative else ""
            key.update(f"{below}:{own}\n".encode("utf-8", "surrogateescape"))
            if relative:
                shown.append(self._shown(relative, own))
        joined = ",".join(sorted(shown, key=os.fsencode)).encode("utf-8", "surrogateescape")
        return SourceDigest(f"dir:{hashlib.sha256(joined).hexdigest()}", key.hexdigest(), files)

    def _walk(self, top: str) -> list[tuple[str, str]]:
        """Return everything from ``top`` on as (path, path beneath the top), sorted."""
        found = [(top, "")]
        pending = [(top, "")]
        while pending:
            folder, below = pending.pop()
            with os.scandir(self._root / folder if folder else self._root) as entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    inner = f"{below}/{entry.name}" if below else entry.name
                    found.append((path, inner))
                    if entry.is_dir(follow_symlinks=False):
                        pending.append((path, inner))
        return sorted(found, key=lambda item: os.fsencode(item[0]))

    def _shown(self, path: str, own: str) -> str:
        """Return what moby takes for a path: where a link leads counts, not the link."""
        if not (self._root / path).is_symlink():
            return own
        real = follow(self._root, path)
        if self._sums is not None:
            return self._sums.get(os.fsencode(real), path)
        return self._sum(real) if os.path.lexists(self._root / real) else real

    def _sum(self, path: str) -> str:
        if self._sums is not None:
            return self._sums.get(os.fsencode(path), path)
        if path not in self._computed:
            self._computed[path] = self._compute(path)
        return self._computed[path]

    def _compute(self, path: str) -> str:
        place = self._root / path
        info = place.lstat()
        kind = stat.S_IFMT(info.st_mode)
        is_device = kind in (stat.S_IFCHR, stat.S_IFBLK)
        link = os.readlink(place) if kind == stat.S_IFLNK else ""
        head = (
            f"name{path}{'/' if kind == stat.S_IFDIR else ''}mode{stat.S_IMODE(info.st_mode)}"
            f"uid{info.st_uid}gid{info.st_gid}size{info.st_size if kind == stat.S_IFREG else 0}"
            f"typeflag{_FLAGS.get(kind, '0')}linkname{link}unamegname"
            f"devmajor{os.major(info.st_rdev) if is_device else 0}devminor{os.minor(info.st_rdev) if is_device else 0}"
        )
        digest = hashlib.sha256(head.encode("utf-8", "surrogateescape"))
        if kind == stat.S_IFREG:
            descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                if _CAPABILITY in os.listxattr(descriptor):
                    digest.update(_CAPABILITY.encode() + os.getxattr(descriptor, _CAPABILITY))
                while block := os.read(descriptor, 1 << 20):
                    digest.update(block)
            finally:
                os.close(descriptor)
        return digest.hexdigest()


def combined(shown: list[str]) -> str:
    """Return what a history says of several sources."""
    if len(shown) == 1:
        return shown[0]
    return f"multi:{hashlib.sha256(','.join(shown).encode('utf-8', 'surrogateescape')).hexdigest()}"
