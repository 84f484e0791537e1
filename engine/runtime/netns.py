"""Network namespaces, made and entered by threads: no process is started for them.

A namespace lives as long as a process, a descriptor or a mount holds it. One that is made here is held
by a descriptor until the container's process is in it, and by that process afterwards: whatever dies,
nothing has to be cleaned up, and the kernel removes the links inside with it. Knows no container.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.runtime import syscalls

CLONE_NEWNET = 0x40000000


class NamespaceStuckError(Exception):
    """The thread could not go back to its own namespace: it must end and not be used again."""


def path_of(fd: int) -> Path:
    """Return a path by which other processes can enter the namespace behind a descriptor of this one."""
    return Path(f"/proc/{os.getpid()}/fd/{fd}")


def path_of_process(pid: int) -> Path:
    """Return a path by which the namespace of a running process can be entered."""
    return Path(f"/proc/{pid}/ns/net")


@contextmanager
def new_namespace() -> Iterator[int]:
    """Make a network namespace and be in it (this thread only); yields a descriptor, which the caller closes.

    Raises OSError when the kernel refuses, NamespaceStuckError when there is no way back.
    """
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.unshare(CLONE_NEWNET)
        try:
            yield os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            _go_back(own)
    finally:
        os.close(own)


@contextmanager
def given_namespace(given: int) -> Iterator[int]:
    """Be in the namespace behind a descriptor (this thread only); yields another one, which the caller closes."""
    with inside(path_of(given)):
        yield os.dup(given)


@contextmanager
def inside(path: Path) -> Iterator[None]:
    """Be in the namespace behind ``path`` (this thread only). Raises as ``new_namespace`` does."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        other = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            syscalls.setns(other, CLONE_NEWNET)
        finally:
            os.close(other)
        try:
            yield
        finally:
            _go_back(own)
    finally:
        os.close(own)


def _go_back(own: int) -> None:
    try:
        syscalls.setns(own, CLONE_NEWNET)
    except OSError as error:
        raise NamespaceStuckError(f"cannot return to the host's network namespace: {error.strerror}") from error
