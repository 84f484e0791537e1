"""A look at one path of a running container, without a process: through /proc/PID/root, by openat2.

What lies in the kernel's own places there, and what takes long (a file system that hangs), is left to a copy's
process, which sees the container as copies do and can be killed.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from engine.containers.container import Container
from engine.containers.copies import path_stat
from engine.containers.copying import Copy, resolved
from engine.errors import Internal, NotFound
from engine.model.archive import PathStat
from engine.runtime.rootview import KERNEL_PLACES

_THREADS = 4
_PATIENCE_S = 1.0


class Looker:
    """Looks, in threads of its own: those that hang hold up nothing but looks."""

    def __init__(self) -> None:
        """Start no thread yet."""
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="looker")

    async def look(self, container: Container, path: str) -> PathStat | None:
        """Return what a path of a running container is, None where a copy has to look.

        Raises NotFound without a text, or Internal with moby's.
        """
        loop = asyncio.get_running_loop()
        looking = loop.run_in_executor(self._threads, _look, container.record.state.pid, container.pidfd, path)
        try:
            found = await asyncio.wait_for(looking, _PATIENCE_S)
        except TimeoutError:
            return None
        except OSError as error:
            if error.errno == errno.ENOENT:
                raise NotFound("") from error
            raise Internal(str(error.strerror)) from error
        return None if found is None else path_stat(found)

    def close(self) -> None:
        """End the threads; one that hangs is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look(pid: int, pidfd: int, path: str) -> dict[str, Any] | None:
    try:
        root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        try:
            signal.pidfd_send_signal(pidfd, 0)  # its number is still its own: the root is the container's
        except OSError:
            return None
        if not _is_plain(resolved(root, path)):
            return None
        return Copy({}, root).stat(path)
    finally:
        os.close(root)


def _is_plain(place: str) -> bool:
    return not any(place == kernel or place.startswith(f"{kernel}/") for kernel in KERNEL_PLACES)
