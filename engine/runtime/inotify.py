"""inotify for the event loop: one descriptor for the whole engine, callbacks by folder and by file.

Callbacks run in the loop and must be quick. When the kernel's queue overflows, every folder is scanned
again, so that nothing that is there stays unseen.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import struct
from collections.abc import Callable
from pathlib import Path

from engine.errors import Unavailable

log = logging.getLogger(__name__)

IN_MODIFY = 0x2
IN_CLOSE_WRITE = 0x8
IN_MOVED_TO = 0x80
IN_CREATE = 0x100
IN_DELETE_SELF = 0x400
IN_Q_OVERFLOW = 0x4000
IN_IGNORED = 0x8000
_HEAD = struct.Struct("iIII")
_CLOEXEC_NONBLOCK = os.O_CLOEXEC | os.O_NONBLOCK

_libc = ctypes.CDLL(None, use_errno=True)


class Watch:
    """One callback; ``close`` ends it."""

    def __init__(self, owner: Inotify, number: int, callback: Callable[[str], None]) -> None:
        """Belong to the watch ``number`` of ``owner``."""
        self.callback = callback
        self._owner = owner
        self._number = number

    def close(self) -> None:
        """Call back no more; safe to repeat."""
        self._owner._drop(self._number, self)


class Inotify:
    """The engine's inotify descriptor; must be made in a running loop."""

    def __init__(self) -> None:
        """Open the descriptor; raises Unavailable when the user's limit of instances is reached."""
        self._fd = _libc.inotify_init1(_CLOEXEC_NONBLOCK)
        if self._fd < 0:
            number = ctypes.get_errno()
            raise Unavailable(f"inotify: {os.strerror(number)}", hint="raise fs.inotify.max_user_instances")
        self._watches: dict[int, set[Watch]] = {}
        self._paths: dict[int, Path] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._read)

    def watch(self, path: Path, mask: int, callback: Callable[[str], None]) -> Watch:
        """Call ``callback`` with the name inside the folder (``""`` for a file) at each event of ``mask``.

        Raises Unavailable when the path is not there or the user's limit of watches is reached.
        """
        number = _libc.inotify_add_watch(self._fd, os.fsencode(path), mask | 0x20000000)  # IN_MASK_ADD
        if number < 0:
            code = ctypes.get_errno()
            raise Unavailable(f"watching {path}: {os.strerror(code)}", hint="raise fs.inotify.max_user_watches")
        item = Watch(self, number, callback)
        self._watches.setdefault(number, set()).add(item)
        self._paths[number] = path
        return item

    def watch_file(self, path: Path, callback: Callable[[], None]) -> Watch:
        """Call ``callback`` once, when ``path`` is there whole (moved in or closed); also when it is there now."""
        done = False

        def seen(name: str) -> None:
            nonlocal done
            if name == path.name and not done and path.exists():
                done = True
                item.close()
                callback()

        item = self.watch(path.parent, IN_MOVED_TO | IN_CLOSE_WRITE, seen)
        self._loop.call_soon(seen, path.name)
        return item

    def _drop(self, number: int, item: Watch) -> None:
        items = self._watches.get(number)
        if items is None:
            return
        items.discard(item)
        if not items:
            del self._watches[number]
            del self._paths[number]
            if self._fd >= 0:
                _libc.inotify_rm_watch(self._fd, number)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, 65536)
        except BlockingIOError:
            return
        offset = 0
        while offset < len(data):
            number, mask, _, size = _HEAD.unpack_from(data, offset)
            offset += _HEAD.size
            name = os.fsdecode(data[offset : offset + size].rstrip(b"\0"))
            offset += size
            if mask & IN_Q_OVERFLOW:
                self._scan()
            elif mask & IN_IGNORED:
                self._watches.pop(number, None)
                self._paths.pop(number, None)
            else:
                self._call(number, name)

    def _call(self, number: int, name: str) -> None:
        for item in list(self._watches.get(number, ())):
            try:
                item.callback(name)
            except Exception:  # the edge of an event: one callback must not end the others
                log.exception("a callback for %s failed", self._paths.get(number))

    def _scan(self) -> None:
        log.warning("inotify lost events: all watched folders are read again")
        for number, path in list(self._paths.items()):
            names = [entry.name for entry in path.iterdir()] if path.is_dir() else [""]
            for name in names:
                self._call(number, name)

    def close(self) -> None:
        """Close the descriptor; watches end."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
        self._watches.clear()
        self._paths.clear()
