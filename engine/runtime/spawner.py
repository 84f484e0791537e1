"""Starting processes: by posix_spawn, in a thread that may have a mount namespace of its own.

On hosts with hybrid cgroups crun refuses to work while /sys/fs/cgroup/unified is mounted
(https://github.com/containers/crun, "cgroups in hybrid mode not supported"), so its processes are
started from a thread in whose mount namespace a folder of ours stands there. crun makes each container's
group in it as it does in every hierarchy: plain folders, which ``forget_group`` removes. Knows no container.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

from engine.errors import Internal, Unavailable
from engine.runtime import syscalls
from engine.runtime.posixspawn import spawn

_UNIFIED = Path("/sys/fs/cgroup/unified")


def has_hybrid_cgroups() -> bool:
    """Whether cgroup v1 controllers and a cgroup v2 tree are mounted side by side."""
    return _UNIFIED.is_dir() and (_UNIFIED / "cgroup.procs").exists()


class Spawner:
    """Starts processes that keep exactly the descriptors they are given."""

    def __init__(self, *, stand_in: Path | None = None) -> None:
        """``stand_in`` is what the processes see as /sys/fs/cgroup/unified; None leaves them the real one."""
        self._stand_in = stand_in
        self._thread = self._make_thread()
        self._children: set[int] = set()
        self._null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)

    def _make_thread(self) -> ThreadPoolExecutor:
        hide = None if self._stand_in is None else partial(_hide_unified, self._stand_in)
        return ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner", initializer=hide)

    def forget_group(self, path: str) -> None:
        """Remove what crun left in the stand-in for a control group (``/portside/<id>``) that is gone (blocking)."""
        if self._stand_in is not None:
            shutil.rmtree(self._stand_in / path.strip("/"), ignore_errors=True)

    async def spawn(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        fds: Mapping[int, int],
        fresh_mounts: bool = False,
    ) -> int:
        """Start ``argv`` (its first word an absolute path) and return its PID.

        ``fds`` maps the child's descriptor numbers to ours; 0 to 2 are /dev/null unless given.
        ``fresh_mounts`` shows it all that is mounted now, also where the host's root is not shared.
        The child must be handed to ``reap`` or ``wait``.
        """
        loop = asyncio.get_running_loop()
        if fresh_mounts and self._stand_in is not None:
            with self._make_thread() as thread:
                pid = await loop.run_in_executor(thread, self._spawn, argv, env, fds)
        else:
            pid = await loop.run_in_executor(self._thread, self._spawn, argv, env, fds)
        self._children.add(pid)
        return pid

    def _spawn(self, argv: Sequence[str], env: Mapping[str, str], fds: Mapping[int, int]) -> int:
        wanted = {0: self._null, 1: self._null, 2: self._null, **fds}
        # Above all targets first, so that no dup2 overwrites a descriptor that is still to be placed.
        high = {target: fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, 64) for target, source in wanted.items()}
        try:
            return spawn(argv, env, [(source, target) for target, source in sorted(high.items())])
        except OSError as error:
            raise Unavailable(f"cannot start {argv[0]}: {error.strerror}") from error
        finally:
            for descriptor in high.values():
                os.close(descriptor)

    def reap(self) -> None:
        """Collect children that have ended; for those whose outcome comes another way (conmon's first fork)."""
        for pid in list(self._children):
            with suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG)[0] == 0:
                    continue
            self._children.discard(pid)

    async def wait(self, pid: int, timeout_s: float) -> int:
        """Return a child's exit code, negative for a signal; kills it and raises Internal after ``timeout_s``."""
        self._children.discard(pid)
        descriptor = os.pidfd_open(pid)
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        loop.add_reader(descriptor, _resolve, ended)
        try:
            await asyncio.wait_for(ended, timeout_s)
        except TimeoutError:
            os.kill(pid, 9)
            _collect(pid)
            raise Internal(f"process {pid} did not end within {timeout_s:g} s") from None
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        return _collect(pid)

    async def run(
        self, argv: Sequence[str], *, env: Mapping[str, str], timeout_s: float = 30, stdin: bytes = b""
    ) -> tuple[int, bytes]:
        """Run a short command; return its exit code and what it wrote to stdout and stderr together."""
        if stdin:
            given = os.memfd_create("stdin")
            os.write(given, stdin)
            os.lseek(given, 0, os.SEEK_SET)
        else:
            given = os.dup(self._null)
        output = os.memfd_create("output")
        try:
            pid = await self.spawn(argv, env=env, fds={0: given, 1: output, 2: output})
            code = await self.wait(pid, timeout_s)
            return code, os.pread(output, 1 << 20, 0)
        finally:
            os.close(given)
            os.close(output)

    def close(self) -> None:
        """End the thread; processes go on."""
        self._thread.shutdown(wait=True)
        self.reap()
        os.close(self._null)


def _collect(pid: int) -> int:
    """Return the exit code of a child that has ended or was killed: it does not block."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _hide_unified(stand_in: Path) -> None:
    stand_in.mkdir(mode=0o755, parents=True, exist_ok=True)
    syscalls.unshare(syscalls.CLONE_NEWNS)
    # Only the parent of what is unmounted must be private: all else keeps its propagation.
    syscalls.mount("", "/sys/fs/cgroup", "", syscalls.MS_PRIVATE)
    syscalls.umount(str(_UNIFIED), syscalls.MNT_DETACH)
    syscalls.mount(str(stand_in), str(_UNIFIED), "", syscalls.MS_BIND)
