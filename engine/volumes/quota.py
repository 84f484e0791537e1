"""Limits of folders by project quotas, where their file system has them (ext4 and xfs mounted with ``prjquota``).

A folder with a limit has a project ID of its own, which what is made in it inherits. All calls block.
Source: quotactl_fd(2) (kernel 5.14) with the XFS commands, which ext4 knows too; FS_IOC_FSSETXATTR.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
import threading
from pathlib import Path

_SYS_QUOTACTL_FD = 443  # the same number on every architecture
_PROJECT = 2
_GET_STATE = 0x5805 << 8 | _PROJECT
_SET_LIMIT = 0x5804 << 8 | _PROJECT
_ACCOUNTED, _ENFORCED = 1 << 4, 1 << 5
_STATE = struct.Struct("<bxH")
_STATE_BYTES = 256
_LIMIT = struct.Struct("<bbHIQQQQQQiiHHbbbbQQQiHh8x")
_LIMIT_VERSION, _LIMIT_PROJECT, _LIMIT_FIELDS = 1, 2, 0b1100
_LIMIT_UNIT = 512
_GET_ATTRIBUTES, _SET_ATTRIBUTES = 0x801C581F, 0x401C5820
_ATTRIBUTES = struct.Struct("<IIIII8x")
_INHERITS = 0x200
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_choosing = threading.Lock()
_libc = ctypes.CDLL(None, use_errno=True)


def has_quotas(folder: Path) -> bool:
    """Whether project quotas are counted and enforced where a folder lies."""
    state = ctypes.create_string_buffer(_STATE_BYTES)
    state[0] = b"\1"  # the version of the answer
    try:
        _quotactl(folder, _GET_STATE, 0, state)
    except OSError:
        return False
    flags = int(_STATE.unpack_from(state.raw)[1])
    return flags & (_ACCOUNTED | _ENFORCED) == _ACCOUNTED | _ENFORCED


def limit(folder: Path, size_bytes: int) -> None:
    """Let what is in a folder take up at most ``size_bytes``; raises OSError.

    Its neighbours, and what they hold, are looked at for a project ID that is free.
    """
    top = folder.parent.parent
    with _choosing:
        project = _project(folder)
        if project in (0, _project(top)):
            project = 1 + max([_project(top), *(_project(item / folder.name) for item in top.iterdir())])
            _set_project(folder, project)
    _set_limit(folder, project, size_bytes)


def release(folder: Path) -> None:
    """Forget the limit of a folder that is removed; one that has none, or is not there, is no error."""
    try:
        project = _project(folder)
        if project:
            _set_limit(folder, project, 0)
    except OSError:
        return


def _set_limit(folder: Path, project: int, size_bytes: int) -> None:
    blocks = size_bytes // _LIMIT_UNIT
    asked = _LIMIT.pack(
        *(_LIMIT_VERSION, _LIMIT_PROJECT, _LIMIT_FIELDS, project),
        *(blocks, blocks, 0, 0, 0, 0),
        *(0,) * 14,
    )
    _quotactl(folder, _SET_LIMIT, project, ctypes.create_string_buffer(asked, len(asked)))


def _quotactl(folder: Path, command: int, project: int, data: ctypes.Array[ctypes.c_char]) -> None:
    descriptor = os.open(folder, _FOLDER)
    try:
        if _libc.syscall(_SYS_QUOTACTL_FD, descriptor, command, project, data) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(descriptor)


def _project(folder: Path) -> int:
    """Return a folder's project ID, 0 where it has none."""
    try:
        return int(_attributes(folder)[3])
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENOTTY, errno.EOPNOTSUPP):
            return 0
        raise


def _attributes(folder: Path) -> tuple[int, ...]:
    descriptor = os.open(folder, _FOLDER)
    try:
        return _ATTRIBUTES.unpack(fcntl.ioctl(descriptor, _GET_ATTRIBUTES, bytes(_ATTRIBUTES.size)))
    finally:
        os.close(descriptor)


def _set_project(folder: Path, project: int) -> None:
    flags, extent, extents, _, copied = _attributes(folder)
    descriptor = os.open(folder, _FOLDER)
    try:
        changed = _ATTRIBUTES.pack(flags | _INHERITS, extent, extents, project, copied)
        fcntl.ioctl(descriptor, _SET_ATTRIBUTES, changed)
    finally:
        os.close(descriptor)
