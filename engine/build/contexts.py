"""Contexts that are kept for the next build of the same folder: then only what has changed has to be sent.

A context is here or with a build, never with two: who takes it moves it. What it holds is shared by links with the
layers that were made of it. Blocking.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from engine.build.context import Context
from engine.errors import Conflict, InvalidArgument
from engine.wire.times import format_ns

MAX_CONTEXTS = 8
_KEY = re.compile(r"[a-f0-9]{32,64}")


class KeptContexts:
    """The contexts beneath a folder, by a key that clients choose."""

    def __init__(self, root: Path) -> None:
        """Use ``root``; what an earlier engine was removing goes."""
        self._root = root
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for entry in root.iterdir():
            if not (entry / "id").is_file():
                shutil.rmtree(entry, ignore_errors=True)

    def _place(self, key: str) -> Path:
        if _KEY.fullmatch(key) is None:
            raise InvalidArgument("the key of a context has 32 to 64 hexadecimal digits")
        return self._root / key

    def take(self, key: str, identifier: str, target: Path) -> None:
        """Move a kept context to ``target``; raises Conflict when it is not here as the client knows it."""
        place = self._place(key)
        try:
            if (place / "id").read_text() != identifier:
                raise Conflict("the context that the changes belong to is not here any more")
            place.rename(target)
            (target / "id").unlink()
        except OSError as error:
            raise Conflict("the context that the changes belong to is not here any more") from error

    def keep(self, key: str, context: Context) -> str:
        """Move a context here; return the ID by which a client may send changes of it, "" when it cannot be kept."""
        place = self._place(key)
        identifier = secrets.token_hex(16)
        lines = [digest.encode() + b" " + name for name, digest in (context.sums or {}).items()]
        (context.folder / "sums").write_bytes(b"".join(line + b"\0" for line in lines))
        (context.folder / "id").write_text(identifier)
        self._drop(place)
        with suppress(OSError):
            context.folder.rename(place)
            os.utime(place)
            self._limit()
            return identifier
        return ""

    def _drop(self, place: Path) -> None:
        """Delete a context in two steps, so that one that is half deleted is not taken for a whole one."""
        with suppress(FileNotFoundError):
            (place / "id").unlink()
        shutil.rmtree(place, ignore_errors=True)

    def _limit(self) -> None:
        entries = sorted(self._root.iterdir(), key=lambda entry: entry.stat().st_mtime)
        for entry in entries[:-MAX_CONTEXTS]:
            self._drop(entry)

    def usage(self) -> list[dict[str, Any]]:
        """Return them as ``GET /system/df`` shows records of the cache."""
        return [
            {
                "ID": entry.name[:25],
                "Parents": None,
                "Type": "source.local",
                "Description": "local source for context",
                "InUse": False,
                "Shared": False,
                "Size": _size(entry / "files"),
                "CreatedAt": format_ns(entry.stat().st_mtime_ns),
                "LastUsedAt": format_ns(entry.stat().st_mtime_ns),
                "UsageCount": 1,
            }
            for entry in sorted(self._root.iterdir())
        ]

    def prune(self, least_age_ns: int = 0) -> tuple[list[str], int]:
        """Delete those that were last used so long ago; return their IDs and bytes."""
        gone: list[str] = []
        freed = 0
        for entry in sorted(self._root.iterdir()):
            if time.time_ns() - entry.stat().st_mtime_ns < least_age_ns:
                continue
            freed += _size(entry / "files")
            self._drop(entry)
            gone.append(entry.name[:25])
        return gone, freed


def _size(top: Path) -> int:
    """Return the bytes of files that nothing else has."""
    size = 0
    for folder, _, names in os.walk(top):
        for name in names:
            with suppress(OSError):
                info = os.lstat(os.path.join(folder, name))  # noqa: PTH118 - a Path a file is half of the time
                size += info.st_size if info.st_nlink == 1 else 0
    return size
