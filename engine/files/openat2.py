"""openat2(2): paths walked by the kernel so that links cannot lead out of a folder, whoever changes them meanwhile."""

from __future__ import annotations

import ctypes
import errno
import os

NO_MAGICLINKS = 0x02
BENEATH = 0x08
IN_ROOT = 0x10
_SYS_OPENAT2 = 437  # the same number on every architecture
_MAX_RETRIES = 16


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_libc = ctypes.CDLL(None, use_errno=True)


def openat2(folder: int, path: str | bytes, flags: int, mode: int = 0, *, resolve: int = IN_ROOT) -> int:
    """Open ``path``, close-on-exec, from an open folder; what would lead out of it by ``resolve`` does not.

    With ``IN_ROOT`` absolute links and ``..`` mean what they mean to a process whose root the folder is, with
    ``BENEATH`` they fail with EXDEV. The links of /proc that are no paths fail with ELOOP. Raises OSError.
    """
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve | NO_MAGICLINKS)
    for _ in range(_MAX_RETRIES):
        found = _libc.syscall(_SYS_OPENAT2, folder, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
        if found >= 0:
            return int(found)
        number = ctypes.get_errno()
        if number not in (errno.EAGAIN, errno.EINTR):  # EAGAIN: something was renamed while it was walked
            break
    raise OSError(number, os.strerror(number), path)
