"""Root file systems of containers: overlay mounts and the shared folder that they live in.

Mounting happens in a thread with a working directory of its own, since long layer chains only fit
into a page of options as short names relative to it. Knows no container, only paths.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from engine.errors import Internal, NotSupported, Unavailable
from engine.runtime import syscalls
from engine.runtime.usernamespaces import acting_as

log = logging.getLogger(__name__)


_MIN_LAYERS = 2


UNSHARED = "index=off,redirect_dir=off,metacopy=off"
"""Options with which an upper directory has whole files in their places: it can become a layer of an image."""


class Mounter:
    """Mounts and unmounts overlays; every call is safe to repeat."""

    def __init__(self, layers_root: Path, owner: tuple[int, int] | None = None) -> None:
        """``layers_root`` is the folder that the lower directories' short names are relative to.

        ``owner`` is whom the overlay writes as where its folders are shown with shifted IDs.
        """
        self._root = layers_root
        self._owner = owner
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mounter", initializer=self._enter)

    def _enter(self) -> None:
        syscalls.unshare(syscalls.CLONE_FS)
        os.chdir(self._root)

    async def mount_overlay(self, lower: list[Path], upper: Path, work: Path, target: Path) -> None:
        """Mount an overlay at ``target``, which is made when absent; ``lower`` is topmost first.

        Raises NotSupported where the kernel or file system has no overlayfs, Unavailable when it fails otherwise.
        """
        await asyncio.get_running_loop().run_in_executor(self._thread, self._mount, lower, upper, work, target)

    def _mount(self, lower: list[Path], upper: Path, work: Path, target: Path) -> None:
        names = ":".join(self._short(path) for path in lower)
        options = f"lowerdir={names},upperdir={upper},workdir={work},{UNSHARED}"
        target.mkdir(mode=0o711, parents=True, exist_ok=True)
        try:
            with acting_as(self._owner):
                syscalls.mount("overlay", str(target), "overlay", 0, options)
        except OSError as error:
            if error.errno == errno.ENODEV:
                raise NotSupported("this kernel has no overlayfs", hint="load the module overlay") from error
            raise Unavailable(f"error creating overlay mount to {target}: {error.strerror}") from error

    async def mount_layers(self, layers: list[Path], target: Path) -> None:
        """Mount layers, topmost first, read-only at ``target``, which is made; raises Unavailable when it fails."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._mount_layers, layers, target)

    def _mount_layers(self, layers: list[Path], target: Path) -> None:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        # An overlay wants two layers; the place itself is empty.
        names = ":".join([*map(self._short, layers), *([str(target)] if len(layers) < _MIN_LAYERS else [])])
        try:
            syscalls.mount("overlay", str(target), "overlay", syscalls.MS_RDONLY, f"lowerdir={names},index=off")
        except OSError as error:
            raise Unavailable(f"error creating overlay mount to {target}: {error.strerror}") from error

    def _short(self, path: Path) -> str:
        try:
            name = str(path.relative_to(self._root))
        except ValueError:
            name = str(path)
        return name.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")

    async def unmount(self, target: Path) -> None:
        """Unmount what is mounted at ``target``, lazily when it is busy; nothing there is no error."""
        await asyncio.get_running_loop().run_in_executor(self._thread, unmount, target)

    def unmount_soon(self, target: Path) -> None:
        """Unmount what is mounted at ``target`` after all that was asked for before; a failure is logged."""
        self._thread.submit(_unmount_quietly, target)

    def close(self) -> None:
        """End the thread; mounts stay."""
        self._thread.shutdown(wait=True)


def unmount(target: Path) -> None:
    """Unmount ``target`` (blocking), lazily when it is busy; nothing there is no error."""
    try:
        syscalls.umount(str(target))
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return
        if error.errno != errno.EBUSY:
            raise Internal(f"unmounting {target}: {error.strerror}") from error
        syscalls.umount(str(target), syscalls.MNT_DETACH)


def _unmount_quietly(target: Path) -> None:
    try:
        unmount(target)
    except (OSError, Internal) as error:
        log.warning("%s", error)


def mount_points(beneath: Path) -> list[Path]:
    """Return the mount points at or beneath a folder, deepest first, as this process sees them."""
    prefix = str(beneath)
    found = [path for path in _all_mount_points() if path == prefix or path.startswith(prefix + "/")]
    return [Path(path) for path in reversed(found)]


def _all_mount_points() -> Iterable[str]:
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        field = line.split(b" ", 5)[4]
        yield os.fsdecode(_unescape(field))


def _unescape(field: bytes) -> bytes:
    if b"\\" not in field:
        return field
    for code, char in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
        field = field.replace(code, char)
    return field


def make_shared(folder: Path) -> None:
    """Make ``folder`` a shared mount point of its own (blocking).

    What is mounted beneath it then also comes and goes in the namespaces that helpers live in, so that an
    unmount here frees it everywhere.
    """
    folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    path = str(folder.resolve())
    if path not in _all_mount_points():
        syscalls.mount(path, path, "", syscalls.MS_BIND)
    syscalls.mount("", path, "", syscalls.MS_SHARED)
