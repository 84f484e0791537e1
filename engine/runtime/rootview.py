"""A container's file system for one process of ours: entered, used, and gone with the process.

Everything happens in a mount namespace of the process's own: however it ends, no mount is left. Of a running
container it is a copy of the container's own namespace, tmpfs mounts and all, without the kernel's file systems
(/proc, /sys, /dev), as Docker has it. Of one that does not run it is put together from its layers and mounts.
Imports little, not even pathlib: it is part of a program that is started for each copy. Knows no container,
only paths.
"""

from __future__ import annotations

import errno
import os
import stat

from engine.errors import Unavailable
from engine.files.openat2 import openat2
from engine.runtime import syscalls

TYPE_CHECKING = False  # typing takes as long to import as all else here, in programs that start often
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

KERNEL_PLACES = ("/proc", "/sys", "/dev")
_SCRATCH_OPTIONS = "mode=0755,size=16m"
_PRIVATE = syscalls.MS_PRIVATE | syscalls.MS_REC
_SLAVE = syscalls.MS_SLAVE | syscalls.MS_REC
_BIND = syscalls.MS_BIND
_OPEN = os.O_PATH | os.O_CLOEXEC


class ViewMount:
    """One mount in a view: ``source`` on the host, or an image's layers; ``subpath`` a part of it."""

    def __init__(
        self,
        destination: str,
        source: str = "",
        *,
        read_only: bool = False,
        recursive: bool = True,
        subpath: str = "",
        layers: Sequence[str] = (),
    ) -> None:
        """Describe it."""
        self.destination = destination
        self.source = source
        self.read_only = read_only
        self.recursive = recursive
        self.subpath = subpath
        self.layers = layers


class ViewPlan:
    """What a view is made of.

    ``pidfd`` is the descriptor of a running container's first process, below 0 for one that does not run:
    then ``layers`` are its lower folders, topmost first and relative to ``layers_root``, on top of them
    ``upper`` with its ``work`` folder, and ``mounts`` what the user mounts, outermost first. ``place`` and
    ``image_place`` are empty folders to mount at. ``keeps`` are kernel places that a mount of the
    user covers. With ``writable`` false nothing of the container can change.
    """

    def __init__(
        self,
        place: str,
        *,
        image_place: str = "",
        pidfd: int = -1,
        layers_root: str = "/",
        layers: Sequence[str] = (),
        upper: str = "",
        work: str = "",
        mounts: Sequence[ViewMount] = (),
        keeps: Sequence[str] = (),
        writable: bool = False,
        read_only_root: bool = False,
    ) -> None:
        """Describe it."""
        self.place = place
        self.image_place = image_place
        self.pidfd = pidfd
        self.layers_root = layers_root
        self.layers = layers
        self.upper = upper
        self.work = work
        self.mounts = mounts
        self.keeps = keeps
        self.writable = writable
        self.read_only_root = read_only_root

    def encode(self) -> dict[str, Any]:
        """Return it in plain types, for another process."""
        return {**vars(self), "mounts": [vars(mount) for mount in self.mounts]}


def decode_plan(given: dict[str, Any]) -> ViewPlan:
    """Return what ``ViewPlan.encode`` made a dictionary of."""
    mounts = [ViewMount(**mount) for mount in given["mounts"]]
    return ViewPlan(**{**given, "mounts": mounts})


def enter(plan: ViewPlan) -> int:
    """Make a view the root of this process, which must have no other thread; return a descriptor of it.

    Raises OSError, or Unavailable when the container has gone.
    """
    if plan.pidfd >= 0:
        _enter_running(plan)
    else:
        _enter_stopped(plan)
    os.chdir("/")
    return os.open("/", _OPEN | os.O_DIRECTORY)


def _enter_running(plan: ViewPlan) -> None:
    try:
        syscalls.setns(plan.pidfd, syscalls.CLONE_NEWNS)
    except ProcessLookupError as error:
        raise Unavailable("the container has ended") from error
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("", "/", "", _PRIVATE)
    for place in KERNEL_PLACES:
        if place not in plan.keeps:
            _hide(place)
    _become_its_root(plan.pidfd)


def _become_its_root(pidfd: int) -> None:
    """Take the IDs of a container that has a user namespace: those of the host have no place in its files."""
    try:
        syscalls.setns(pidfd, syscalls.CLONE_NEWUSER)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return  # it is in the one that this process is in
        raise
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def _hide(place: str) -> None:
    try:
        while True:
            syscalls.umount(place, syscalls.MNT_DETACH)
    except FileNotFoundError:
        return
    except OSError:  # no mount (any more), or one that a user namespace holds
        if _is_mount(place):
            syscalls.mount("none", place, "tmpfs", syscalls.MS_RDONLY, "size=4k,mode=0755")


def _is_mount(place: str) -> bool:
    try:
        return os.lstat(place).st_dev != os.lstat("/").st_dev
    except OSError:
        return False


def _enter_stopped(plan: ViewPlan) -> None:
    syscalls.unshare(syscalls.CLONE_NEWNS)
    # A slave: what the engine unmounts meanwhile must not stay mounted here.
    syscalls.mount("", "/", "", _SLAVE)
    scratch = not plan.writable and bool(plan.mounts)
    _mount_root(plan, scratch=scratch)
    root = os.open(plan.place, _OPEN | os.O_DIRECTORY)
    try:
        for mount in plan.mounts:
            _mount_one(plan, root, mount)
        if plan.read_only_root or scratch:
            syscalls.mount("", plan.place, "", _BIND | syscalls.MS_REMOUNT | syscalls.MS_RDONLY)
    finally:
        os.close(root)
    os.chroot(plan.place)


def _mount_root(plan: ViewPlan, *, scratch: bool) -> None:
    upper, work, layers = plan.upper, plan.work, plan.layers
    if not plan.writable:
        upper, work, layers = "", "", [plan.upper, *plan.layers]
    if scratch:
        # Places to mount at may be absent yet; they are made in memory only.
        syscalls.mount("none", plan.place, "tmpfs", 0, _SCRATCH_OPTIONS)
        upper, work = f"{plan.place}/upper", f"{plan.place}/work"
        os.mkdir(upper, 0o755)  # noqa: PTH102
        os.mkdir(work, 0o700)  # noqa: PTH102
    mount_layers(plan.layers_root, layers, upper, work, plan.place)


def mount_layers(layers_root: str, layers: Sequence[str], upper: str, work: str, place: str) -> None:
    """Mount an overlay; without ``upper`` it is read-only. Changes the working directory."""
    os.chdir(layers_root)
    names = layers if upper or len(layers) > 1 else [*layers, _empty_beneath(place)]
    options = f"lowerdir={':'.join(map(_escaped, names))},index=off"
    if upper:
        options += f",upperdir={_escaped(upper)},workdir={_escaped(work)}"
    syscalls.mount("overlay", place, "overlay", 0 if upper else syscalls.MS_RDONLY, options)


def _empty_beneath(place: str) -> str:
    return place  # an overlay wants two layers: the place itself, which is empty, is the second


def _escaped(path: str) -> str:
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def _mount_one(plan: ViewPlan, root: int, mount: ViewMount) -> None:
    source = _image_part(plan, mount) if mount.layers else _part(mount.source, mount.subpath)
    try:
        is_folder = stat.S_ISDIR(os.fstat(source).st_mode)
        target = _target(root, mount.destination, is_folder=is_folder)
        try:
            flags = _BIND | (syscalls.MS_REC if mount.recursive else 0)
            syscalls.mount(_shown(source), _shown(target), "", flags)
        finally:
            os.close(target)
        with_mount = openat2(root, mount.destination.lstrip("/"), _OPEN)
        try:
            syscalls.mount("", _shown(with_mount), "", _PRIVATE)
            if mount.read_only:
                _protect(_shown(with_mount), recursive=mount.recursive)
        finally:
            os.close(with_mount)
    finally:
        os.close(source)


def _part(source: str, subpath: str) -> int:
    whole = os.open(source, _OPEN)
    if not subpath:
        return whole
    try:
        return openat2(whole, subpath, _OPEN)
    finally:
        os.close(whole)


def _image_part(plan: ViewPlan, mount: ViewMount) -> int:
    mount_layers(plan.layers_root, mount.layers, "", "", plan.image_place)
    return _part(plan.image_place, mount.subpath)


def _target(root: int, destination: str, *, is_folder: bool) -> int:
    try:
        return openat2(root, destination.lstrip("/"), _OPEN)
    except FileNotFoundError:
        _make_place(root, destination, is_folder=is_folder)
        return openat2(root, destination.lstrip("/"), _OPEN)


def _make_place(root: int, destination: str, *, is_folder: bool) -> None:
    folder, _, name = destination.strip("/").rpartition("/")
    if folder:
        try:
            os.close(openat2(root, folder, _OPEN | os.O_DIRECTORY))
        except FileNotFoundError:
            _make_place(root, folder, is_folder=True)
    parent = openat2(root, folder or ".", _OPEN | os.O_DIRECTORY)
    try:
        if is_folder:
            os.mkdir(name, 0o755, dir_fd=parent)
        else:
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=parent))
    finally:
        os.close(parent)


def _protect(place: str, *, recursive: bool) -> None:
    try:
        if recursive:
            syscalls.make_read_only(place)
            return
    except OSError:  # older than 5.12
        pass
    syscalls.mount("", place, "", _BIND | syscalls.MS_REMOUNT | syscalls.MS_RDONLY)


def _shown(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"
