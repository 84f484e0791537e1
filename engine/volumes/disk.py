"""A volume's folder on the disk: made, set aside, deleted, measured. All calls block.

A volume ``x`` is the folder ``x`` with ``_data`` in it. What is being removed is first moved into a folder
``.trash-…`` of its own: names of volumes never begin with a dot, and may be as long as the file system allows.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import threading
from contextlib import suppress
from pathlib import Path

from engine.errors import Internal
from engine.volumes import quota

DATA = "_data"
_TRASH = ".trash-"
_NOTHING = ".nothing"  # stands for what a place holds that a crash left empty


class VolumeFolders:
    """The folders of all volumes beneath one root."""

    def __init__(self, root: Path) -> None:
        """``root`` is made when absent."""
        self.root = root
        self._has_quotas: bool | None = None
        root.mkdir(mode=0o701, parents=True, exist_ok=True)

    def data(self, name: str) -> Path:
        """Return where a volume's content lies."""
        return self.root / name / DATA

    @property
    def has_quotas(self) -> bool:
        """Whether volumes can be limited where they lie (blocking, once)."""
        if self._has_quotas is None:
            self._has_quotas = quota.has_quotas(self.root)
        return self._has_quotas

    def make(self, name: str, quota_bytes: int = 0) -> Path:
        """Make a volume's folders if they are absent; returns the data folder. Raises Internal with moby's text.

        Above 0 ``quota_bytes`` is the most that it may hold.
        """
        folder = self.data(name)
        try:
            if not folder.exists():
                folder.parent.mkdir(mode=0o701, exist_ok=True)
                folder.parent.chmod(0o701)
                folder.mkdir(mode=0o755, exist_ok=True)
                folder.chmod(0o755)
            if quota_bytes:
                quota.limit(folder, quota_bytes)
        except OSError as error:
            kind, path = ("data", folder) if os.path.isdir(folder.parent) else ("root", folder.parent)  # noqa: PTH112
            reason = (error.strerror or str(error)).lower()
            hint = "free disk space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
            text = f"error while creating volume {kind} path '{path}': mkdir {path}: {reason}"
            raise Internal(text, hint=hint) from error
        return folder

    def set_aside(self, name: str) -> Path | None:
        """Take a volume's folder out of the way, durably; returns where it is now, None when there is none."""
        place = self.root / f"{_TRASH}{secrets.token_hex(4)}"
        place.mkdir(mode=0o700)
        quota.release(self.data(name))  # while its project ID is taken by its name: afterwards another may get it
        try:
            (self.root / name).rename(place / name)
        except FileNotFoundError:
            place.rmdir()
            return None
        self._sync()
        return place / name

    def put_back(self, trash: Path, name: str) -> None:
        """Undo ``set_aside``."""
        trash.rename(self.root / name)
        trash.parent.rmdir()
        self._sync()

    def _sync(self) -> None:
        descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def aside(self) -> list[tuple[Path, str]]:
        """Return what was set aside and the names it had."""
        places = [path for path in self.root.iterdir() if path.name.startswith(_TRASH)]
        return [(entry, entry.name) for place in places for entry in [*place.iterdir(), place / _NOTHING][:1]]

    def orphans(self, known: set[str]) -> list[str]:
        """Return the folders that no record knows."""
        return [path.name for path in self.root.iterdir() if path.name not in known and not path.name.startswith(".")]

    def drop_if_empty(self, name: str) -> bool:
        """Remove the folder of a volume that holds nothing; returns whether it could."""
        try:
            with suppress(FileNotFoundError):
                self.data(name).rmdir()
            (self.root / name).rmdir()
        except OSError:
            return False
        return True

    def delete(self, trash: Path) -> None:
        """Delete what was set aside; what cannot be deleted now is left for the next start."""
        shutil.rmtree(trash.parent, ignore_errors=True)


def tree_size(top: Path, cancelled: threading.Event) -> int:
    """Return the bytes of the regular files beneath ``top``, hard links once; -1 when it cannot be read.

    Stops early, with what it has, once ``cancelled`` is set. Other file systems mounted inside are not entered.
    """
    seen: set[int] = set()
    size = 0
    try:
        device = top.stat().st_dev
    except OSError:
        return -1
    pending = [str(top)]
    while pending and not cancelled.is_set():
        with suppress(OSError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                with suppress(OSError):
                    info = entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        if info.st_dev == device:
                            pending.append(entry.path)
                    elif info.st_nlink == 1 or info.st_ino not in seen:
                        seen.add(info.st_ino)
                        size += info.st_size
    return size
