"""One engine a data root: a lock that the kernel releases however the engine ends. And the file with its PID."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from engine.errors import Conflict, Unavailable


class DataRootLock:
    """The lock of a data root; ``release`` or the end of the process gives it back."""

    def __init__(self, data_root: Path) -> None:
        """Take the lock; raises Conflict with the holder's PID when another engine has it."""
        path = data_root / "engine.lock"
        try:
            data_root.mkdir(mode=0o711, parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Unavailable(f"data root {data_root}: {error.strerror}", hint="choose another --data-root") from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._fd, 32, 0).decode(errors="replace").strip()
            os.close(self._fd)
            raise Conflict(
                f"data root {data_root} is used by the engine with process ID {holder or 'unknown'}",
                hint="stop it or choose another --data-root",
            ) from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the lock back."""
        os.close(self._fd)


class PidFile:
    """A file with the engine's process ID for those who look after services; None makes none."""

    def __init__(self, path: Path | None) -> None:
        """Write it; raises Unavailable when it cannot be written."""
        self._path = path
        if path is None:
            return
        try:
            path.write_text(f"{os.getpid()}\n")
        except OSError as error:
            raise Unavailable(f"pidfile {path}: {error.strerror}", hint="choose another --pidfile") from error

    def release(self) -> None:
        """Remove it; safe to repeat."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
