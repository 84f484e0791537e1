"""A part of a volume as the source of a mount, which what is in the volume cannot lead astray.

The part is opened beneath the volume's root and bound to a place of the engine's own by its descriptor:
what is renamed or linked afterwards changes nothing.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from engine.errors import InvalidArgument, Unavailable
from engine.runtime import syscalls
from engine.runtime.rootfs import RootDir


def bind_subpath(volume: Path, subpath: str, place: Path) -> Path:
    """Bind ``volume/subpath`` to ``place``, which must not exist yet, and return ``place`` (blocking).

    Raises InvalidArgument when there is nothing at the path. Undone by ``release_subpath``.
    """
    try:
        with RootDir(volume) as root, root.opened(subpath, os.O_PATH) as found:
            _make_place(place, is_folder=stat.S_ISDIR(os.fstat(found).st_mode))
            syscalls.mount(f"/proc/self/fd/{found}", str(place), "", syscalls.MS_BIND | syscalls.MS_REC)
    except OSError as error:
        release_subpath(place)
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            reason = (error.strerror or "").lower()
            raise InvalidArgument(f"cannot access path {volume / subpath}: {reason}") from error
        raise Unavailable(f"binding {volume / subpath}: {error.strerror}") from error
    return place


def _make_place(place: Path, *, is_folder: bool) -> None:
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if is_folder:
        place.mkdir(mode=0o700)
    else:
        place.touch(mode=0o600, exist_ok=False)


def release_subpath(place: Path) -> None:
    """Unmount and remove a place; nothing there is no error. What it shows is never deleted."""
    with suppress(OSError):
        syscalls.umount(str(place), syscalls.MNT_DETACH)
    with suppress(OSError):
        if place.is_dir():
            place.rmdir()
        elif not place.stat().st_size:
            place.unlink()


def release_subpaths(folder: Path) -> None:
    """Release all places in a folder and remove it; no folder is no error."""
    if folder.is_dir():
        for place in list(folder.iterdir()):
            release_subpath(place)
        with suppress(OSError):
            folder.rmdir()
