"""System calls that Python does not have: mount, umount2, mount_setattr, unshare, setns, syncfs, prctl,
sched_setattr.

Each raises OSError with the path it was about; the callers translate. Knows no container.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8
CLONE_FS = 0x200
CLONE_NEWNS = 0x20000
CLONE_NEWUSER = 0x10000000

MOUNT_ATTR_RDONLY = 0x1
_SYS_MOUNT_SETATTR = 442  # the same number on every architecture
_SYS_OPEN_TREE, _SYS_MOVE_MOUNT = 428, 429
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 4
_AT_EMPTY_PATH = 0x1000
MOUNT_ATTR_IDMAP = 0x100000
_CAPABILITIES_V3 = 0x20080522
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_PR_SET_PDEATHSIG = 1
_SIGKILL = 9  # signal would bring enum along, in programs that start often

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]
_libc.umount2.argtypes = [ctypes.c_char_p, ctypes.c_int]
_libc.unshare.argtypes = [ctypes.c_int]
_libc.setns.argtypes = [ctypes.c_int, ctypes.c_int]
_libc.syncfs.argtypes = [ctypes.c_int]


def _check(result: int, subject: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), subject)


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Call mount(2); ``data`` may not be longer than a page less one byte."""
    encoded = os.fsencode(data)
    if len(encoded) > 4095:
        raise OSError(7, f"mount options of {len(encoded)} bytes do not fit in a page", target)
    _check(_libc.mount(os.fsencode(source), os.fsencode(target), kind.encode(), flags, encoded or None), target)


def umount(target: str, flags: int = 0) -> None:
    """Call umount2(2), never following a link at the end of ``target``."""
    _check(_libc.umount2(os.fsencode(target), flags | UMOUNT_NOFOLLOW), target)


class _MountAttr(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd"))


def make_read_only(target: str) -> None:
    """Make a mount and all beneath it read-only (mount_setattr(2), kernel 5.12)."""
    wanted = _MountAttr(MOUNT_ATTR_RDONLY, 0, 0, 0)
    found = _libc.syscall(
        _SYS_MOUNT_SETATTR, _AT_FDCWD, os.fsencode(target), _AT_RECURSIVE, ctypes.byref(wanted), ctypes.sizeof(wanted)
    )
    _check(found, target)


def mount_idmapped(source: str, target: str, user_namespace: int) -> None:
    """Mount ``source`` once more at ``target`` with its IDs shifted as in the namespace behind a descriptor.

    open_tree(2), mount_setattr(2) and move_mount(2), kernel 5.12.
    """
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC
    tree = _libc.syscall(_SYS_OPEN_TREE, _AT_FDCWD, os.fsencode(source), flags)
    _check(min(tree, 0), source)
    try:
        wanted = _MountAttr(MOUNT_ATTR_IDMAP, 0, 0, user_namespace)
        size = ctypes.sizeof(wanted)
        _check(_libc.syscall(_SYS_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH, ctypes.byref(wanted), size), source)
        place = os.fsencode(target)
        _check(_libc.syscall(_SYS_MOVE_MOUNT, tree, b"", _AT_FDCWD, place, _MOVE_MOUNT_F_EMPTY_PATH), target)
    finally:
        os.close(tree)


def set_file_ids(uid: int, gid: int) -> None:
    """Set whom files of the calling thread belong to (setfsuid(2)), keeping its capabilities."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_V3, 0)
    sets = (ctypes.c_uint32 * 6)()
    _check(_libc.capget(header, sets), "capget")
    _libc.setfsgid(gid)
    _libc.setfsuid(uid)  # takes away what concerns files where it leaves root
    _check(_libc.capset(header, sets), "capset")


def unshare(flags: int) -> None:
    """Call unshare(2) for the calling thread."""
    _check(_libc.unshare(flags), "unshare")


def setns(fd: int, kind: int) -> None:
    """Call setns(2) for the calling thread."""
    _check(_libc.setns(fd, kind), "setns")


def syncfs(fd: int) -> None:
    """Write out the file system that ``fd`` is on (blocking)."""
    _check(_libc.syncfs(fd), "syncfs")


def end_with(parent_pid: int) -> None:
    """Have this process killed when its parent is, so that it never outlives an engine."""
    _libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL)
    if os.getppid() != parent_pid:
        sys.exit(1)  # the parent was killed before this process could ask


_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274, "riscv64": 274}
_SCHED_ATTR = struct.Struct("=IIQiIQQQII")


def set_time_slice(pid: int, slice_ns: int) -> None:
    """Let an ordinary process have short turns, and so soon ones, without a larger share (sched_setattr(2)).

    Kernels before 6.12 take no notice of it. Raises OSError.
    """
    number = _SCHED_SETATTR.get(os.uname().machine)
    if number is not None:
        nice = os.getpriority(os.PRIO_PROCESS, pid)
        attributes = _SCHED_ATTR.pack(_SCHED_ATTR.size, 0, 0, nice, 0, slice_ns, 0, 0, 0, 0)
        _check(_libc.syscall(number, pid, attributes, 0), "sched_setattr")
