"""posix_spawn(3) with every signal at its default in the child, the two that glibc keeps for itself included.

``os.posix_spawn`` cannot name these two (32 and 33), and glibc makes the child ignore them: a program in a container
would inherit that for ever. A set of signals is a plain bit mask, so here all bits are set.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping, Sequence

_POSIX_SPAWN_SETSIGDEF = 0x04
_ATTRIBUTES_BYTES, _ACTIONS_BYTES, _SIGNALS_BYTES = 512, 128, 128  # more than glibc and musl need
_KILL_AND_STOP = (1 << 8) | (1 << 18)

_libc = ctypes.CDLL(None, use_errno=True)


def spawn(argv: Sequence[str], env: Mapping[str, str], descriptors: Sequence[tuple[int, int]]) -> int:
    """Start ``argv`` (its first word a path) and return its PID (blocking until it runs).

    ``descriptors`` are (ours, the child's), put in place in their order. Raises OSError.
    """
    attributes = ctypes.create_string_buffer(_ATTRIBUTES_BYTES)
    actions = ctypes.create_string_buffer(_ACTIONS_BYTES)
    _check(_libc.posix_spawnattr_init(attributes))
    _check(_libc.posix_spawn_file_actions_init(actions))
    try:
        every = ((1 << 64) - 1) & ~_KILL_AND_STOP
        signals = ctypes.create_string_buffer(every.to_bytes(8, sys.byteorder), _SIGNALS_BYTES)
        _check(_libc.posix_spawnattr_setsigdefault(attributes, signals))
        _check(_libc.posix_spawnattr_setflags(attributes, ctypes.c_short(_POSIX_SPAWN_SETSIGDEF)))
        for ours, theirs in descriptors:
            _check(_libc.posix_spawn_file_actions_adddup2(actions, ours, theirs))
        words = _strings([os.fsencode(word) for word in argv])
        variables = _strings([os.fsencode(f"{name}={value}") for name, value in env.items()])
        pid = ctypes.c_int(0)
        _check(_libc.posix_spawn(ctypes.byref(pid), os.fsencode(argv[0]), actions, attributes, words, variables))
        return pid.value
    finally:
        _libc.posix_spawn_file_actions_destroy(actions)
        _libc.posix_spawnattr_destroy(attributes)


def _strings(items: Sequence[bytes]) -> ctypes.Array[ctypes.c_char_p]:
    return (ctypes.c_char_p * (len(items) + 1))(*items, None)


def _check(number: int) -> None:
    if number:
        raise OSError(number, os.strerror(number))
