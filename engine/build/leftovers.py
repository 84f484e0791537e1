"""What a step's container leaves in its upper directory without having been told to: the places of its mounts."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_ALWAYS = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev", "/proc", "/sys", "/.dockerenv")


def remove_mount_points(upper: Path, view: Path | None, targets: Iterable[str]) -> None:
    """Remove empty files and folders that were made only to mount something on (blocking).

    What the image had, and what the step has filled or changed, stays. ``view`` is the image (None: empty).
    """
    for target in [*_ALWAYS, *targets]:
        parts = [part for part in target.split("/") if part]
        for depth in range(len(parts), 0, -1):
            relative = "/".join(parts[:depth])
            place = upper / relative
            if _has_link(upper, parts[: depth - 1]):
                break
            try:
                info = place.lstat()
            except (FileNotFoundError, NotADirectoryError):
                continue
            if not _is_unchanged(info, view, relative):
                break
            with suppress(OSError):
                if stat.S_ISDIR(info.st_mode):
                    place.rmdir()
                elif stat.S_ISREG(info.st_mode) and not info.st_size:
                    place.unlink()
            if os.path.lexists(place):  # something is in it
                break


def _has_link(upper: Path, parts: list[str]) -> bool:
    place = upper
    for part in parts:
        place = place / part
        if place.is_symlink():
            return True
    return False


def _is_unchanged(info: os.stat_result, view: Path | None, relative: str) -> bool:
    """Whether something is new, or a folder that looks as the image's does."""
    if view is None:
        return True
    try:
        before = (view / relative).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    same = (before.st_mode, before.st_uid, before.st_gid) == (info.st_mode, info.st_uid, info.st_gid)
    return stat.S_ISDIR(info.st_mode) and same
