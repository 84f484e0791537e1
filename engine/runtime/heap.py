"""The C library's heap: what large work freed goes back to the kernel."""

from __future__ import annotations

import ctypes

_libc = ctypes.CDLL(None)


def release_memory() -> None:
    """Give free memory back (a few ms), so that an engine that has pulled takes no more than one that has not."""
    trim = getattr(_libc, "malloc_trim", None)  # musl has none
    if trim is not None:
        trim(0)
