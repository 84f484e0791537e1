"""The process that sends containers' logs on to syslog or journald: it outlives the engine.

conmon writes each log to a file as ever; this process follows the files, so neither a slow receiver nor the end of the
engine holds a container up, and what was not sent yet waits on the disk. It imports nothing of ours but the senders.

The folder it is given has a file ``ID.task`` for each container, which the engine makes and replaces by renaming: JSON
with ``log`` (the path of the log), ``kind`` (``syslog`` or ``journald``), what that needs, and ``ended`` once no more
lines come; then ``log`` is in the folder ``ID`` there, which holds links to the files, so that the container may be
removed. When all is sent, this process removes both. How far it came is kept in ``LOG.sent``, so that the next process,
and the next run of the container, go on there. It ends when no task is left; ``lock`` keeps a second process out.
"""

import ctypes
import fcntl
import json
import os
import select
import time
from contextlib import suppress

from engine.containers.logsenders import Journal, Syslog, Unsent

BLOCK = 256 * 1024
PIECE = 16 * 1024
IDLE_S = 0.5
RETRY_S = (0.2, 1.0, 5.0, 15.0)
GIVE_UP_S = 10.0
IN_MODIFY, IN_CREATE, IN_MOVED_TO, IN_DELETE = 0x2, 0x100, 0x80, 0x200


class Follower:
    """A container whose log is sent on."""

    def __init__(self, path: str, task: dict[str, object]) -> None:
        """``path`` is that of the task's file."""
        self.path = path
        self.log = str(task["log"])
        self.ended = bool(task.get("ended"))
        self.sender: Syslog | Journal = Syslog(task) if task["kind"] == "syslog" else Journal(task)
        self.descriptor = -1
        self.offset = 0
        self.rest = b""
        self.partial: dict[bytes, bytes] = {}
        self.ordinal = 0
        self.failures = 0
        self.next_try = 0.0
        self.failing_since = 0.0
        self.is_done = False
        try:
            self.place = os.open(f"{self.log}.sent", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            self.place = -1

    def update(self, task: dict[str, object]) -> None:
        """Take over what the engine has written anew."""
        self.ended = bool(task.get("ended"))
        self.log = str(task["log"])

    def open(self) -> bool:
        """Open the file to go on with: the one where the last process stopped, else the oldest."""
        if self.descriptor >= 0:
            return True
        files = list_files(self.log)
        if not files:
            return False
        inode, offset, ordinal = self._sent()
        chosen, self.offset = files[0], 0
        for name in files:
            with suppress(OSError):
                if os.stat(name).st_ino == inode:
                    chosen, self.offset, self.ordinal = name, offset, ordinal
        try:
            self.descriptor = os.open(chosen, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        return True

    def _sent(self) -> tuple[int, int, int]:
        with suppress(OSError, ValueError, IndexError):
            words = os.pread(self.place, 100, 0).split()
            return int(words[0]), int(words[1]), int(words[2])
        return 0, 0, 0

    def _keep_place(self) -> None:
        with suppress(OSError):
            text = b"%d %d %d" % (os.fstat(self.descriptor).st_ino, self.offset, self.ordinal)
            os.pwrite(self.place, text.ljust(60), 0)

    def work(self, now: float) -> bool:
        """Send what is there; returns whether there may be more at once."""
        if now < self.next_try or not self.open():
            if self.ended and self.descriptor < 0:
                self.is_done = True
            return False
        newer = self._newer()  # before reading: then all of this file is there when it is at its end
        block = os.pread(self.descriptor, BLOCK, self.offset)
        whole = block.rfind(b"\n") + 1
        if not whole:
            if newer:
                os.close(self.descriptor)
                self.descriptor, self.offset = os.open(newer, os.O_RDONLY | os.O_CLOEXEC), 0
                return True
            if self.ended:
                self.is_done = True
            return False
        start = 0
        try:
            while start < whole:
                end = block.index(b"\n", start) + 1
                self._line(block[start : end - 1])
                start = end
        except Unsent:
            self._failed(now)
        else:
            self.failures = 0
            self.failing_since = 0.0
        self.offset += start
        self._keep_place()
        return start == whole

    def _failed(self, now: float) -> None:
        self.next_try = now + RETRY_S[min(self.failures, len(RETRY_S) - 1)]
        self.failures += 1
        self.failing_since = self.failing_since or now
        if self.ended and now - self.failing_since > GIVE_UP_S:
            self.is_done = True  # nobody takes what is left; the next run goes on there

    def _line(self, line: bytes) -> None:
        words = line.split(b" ", 3)
        if len(words) != 4:
            return
        stamp, stream, kind, text = words
        text = self.partial.get(stream, b"") + text
        if kind == b"P" and len(text) < PIECE:
            self.partial[stream] = text
            return
        while len(text) > PIECE:
            self._send(stamp, stream, text[:PIECE])
            text = text[PIECE:]
            self.partial[stream] = text
        if kind == b"F":
            if text:
                self._send(stamp, stream, text)
            self.partial.pop(stream, None)
        else:
            self.partial[stream] = text

    def _send(self, stamp: bytes, stream: bytes, text: bytes) -> None:
        self.ordinal += 1
        try:
            self.sender.send(stamp.decode(errors="replace"), stream == b"stderr", text, self.ordinal)
        except Unsent:
            self.ordinal -= 1
            raise

    def _newer(self) -> str:
        """Return the path of the file that follows the one that is read, empty when there is none."""
        own = os.fstat(self.descriptor)
        later = ""
        for name in reversed(list_files(self.log)):
            try:
                info = os.stat(name)
            except OSError:
                continue
            if info.st_ino == own.st_ino:
                return later
            if info.st_mtime_ns < own.st_mtime_ns:
                break
            later = name
        return later

    def close(self) -> None:
        """Let go of everything."""
        self.sender.close()
        for descriptor in (self.descriptor, self.place):
            if descriptor >= 0:
                os.close(descriptor)


def list_files(log: str) -> list[str]:
    """Return the files of a log that are not compressed, oldest first."""
    folder, base = os.path.split(log)
    numbers = []
    with suppress(OSError):
        for name in os.listdir(folder):
            if name.startswith(base + ".") and name[len(base) + 1 :].isdigit():
                numbers.append(int(name[len(base) + 1 :]))
    files = [f"{log}.{number}" for number in sorted(numbers, reverse=True)]
    return [*files, log] if os.path.exists(log) else files


def tasks_in(folder: str) -> set[str]:
    """Return the names of the tasks' files."""
    return {name for name in os.listdir(folder) if name.endswith(".task")}


class Forwarder:
    """All containers of one engine."""

    def __init__(self, folder: str) -> None:
        """Watch the folder of tasks."""
        self.folder = folder
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.inotify = self.libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self.followers: dict[str, Follower] = {}
        self.watches: dict[str, int] = {}
        self._watch(folder, IN_CREATE | IN_MOVED_TO | IN_DELETE)

    def _watch(self, path: str, mask: int) -> int:
        number: int = self.libc.inotify_add_watch(self.inotify, os.fsencode(path), mask)
        return number

    def scan(self) -> None:
        """Look at the tasks."""
        names = tasks_in(self.folder)
        for name in names:
            path = f"{self.folder}/{name}"
            try:
                with open(path, encoding="utf-8", errors="surrogateescape") as file:
                    task = json.load(file)
                follower = self.followers.get(name)
                if follower is None:
                    self.followers[name] = Follower(path, task)
                    self.watches[name] = self._watch(os.path.dirname(task["log"]), IN_MODIFY | IN_CREATE | IN_MOVED_TO)
                else:
                    follower.update(task)
            except (OSError, ValueError, KeyError, TypeError):
                continue
        for name in set(self.followers) - names:
            self._drop(name)

    def _drop(self, name: str) -> None:
        self.followers.pop(name).close()
        number = self.watches.pop(name, -1)
        if number >= 0:
            self.libc.inotify_rm_watch(self.inotify, number)

    def round(self) -> bool:
        """Send what there is; returns whether there may be more at once."""
        more = False
        for name, follower in list(self.followers.items()):
            now = time.monotonic()
            try:
                more |= follower.work(now)
            except (OSError, ValueError, LookupError):  # one log's fault keeps no other one
                follower.next_try = now + RETRY_S[1]
            if follower.is_done and self._finish(follower):
                self._drop(name)
        return more

    def _finish(self, follower: Follower) -> bool:
        """Remove a task that is done; false when the container was started again meanwhile."""
        aside = f"{follower.path}.done"
        try:
            os.rename(follower.path, aside)
            with open(aside, encoding="utf-8", errors="surrogateescape") as file:
                if not json.load(file).get("ended"):
                    os.rename(aside, follower.path)
                    follower.is_done = follower.ended = False
                    return False
            os.unlink(aside)
        except (OSError, ValueError):
            return True
        links = follower.path.removesuffix(".task")
        with suppress(OSError):
            for name in os.listdir(links):
                os.unlink(f"{links}/{name}")
            os.rmdir(links)
        return True

    def run(self) -> None:
        """Work until there is nothing left to do."""
        idle_since = 0.0
        while True:
            self.scan()
            more = self.round()
            now = time.monotonic()
            if self.followers:
                idle_since = 0.0
            elif not idle_since:
                idle_since = now
            elif now - idle_since >= IDLE_S:
                return
            waits = [follower.next_try - now for follower in self.followers.values() if follower.next_try > now]
            timeout = 0.0 if more else min([30.0 if self.followers else IDLE_S, *waits])
            if select.select([self.inotify], [], [], max(0.0, timeout))[0]:
                with suppress(BlockingIOError):
                    os.read(self.inotify, 1 << 16)


def main(folder: str) -> int:
    """Forward until nothing is left; a second process for the same folder ends at once."""
    while True:
        lock = os.open(f"{folder}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return 0
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        Forwarder(folder).run()
        os.close(lock)
        # A task that came while the lock was still held has nobody else.
        if not tasks_in(folder):
            return 0
