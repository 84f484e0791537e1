"""A dockerd to compare with: in namespaces of its own, with its own folders and firewall; nothing of it stays.

It runs in private network, mount and process namespaces: its rules and bridges never meet the host's, and whatever
it started dies with it. ``root`` is another Debian's root file system whose dockerd runs in place of this one's,
made by ``debootstrap --variant=minbase sid FOLDER`` and ``apt-get install docker.io`` in it; the environment
variable PORTSIDE_ORACLE_ROOT names one for the tests.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.engine_process import EngineProcess

READY_TIMEOUT_S = 60.0
ROOT_VARIABLE = "PORTSIDE_ORACLE_ROOT"
_PIVOT = """
mount --rbind {root} {root}
mount -t proc proc {root}/proc
mount --rbind /sys {root}/sys
mount --rbind /dev {root}/dev
mkdir -p {root}{folder} {root}/tmp/old
mount --rbind {folder} {root}{folder}
cp /etc/resolv.conf {root}/etc/resolv.conf
cd {root}
pivot_root . tmp/old
cd /
umount -l /tmp/old
"""


class Dockerd(EngineProcess):
    """A dockerd under ``folder`` with the calls of ``EngineProcess``: ``api``, ``docker``, ``start``, ``kill``."""

    def __init__(
        self, folder: Path, *arguments: str, settings: dict[str, Any] | None = None, root: Path | None = None
    ) -> None:
        """Nothing runs before ``start``; ``settings`` become its daemon.json."""
        folder = folder.resolve()
        super().__init__(folder, *arguments, settings=settings)
        self._root = root
        self._group = f"oracle-{folder.name}"

    def start(self) -> None:
        """Start dockerd and wait until it answers; raises RuntimeError with its log when it does not."""
        words = ["dockerd", "-H", self.url, "--data-root", str(self.data_root), "--exec-root", str(self.exec_root)]
        words += ["--pidfile", str(self.folder / "pid"), "--config-file", str(self.folder / "daemon.json")]
        words += ["--cgroup-parent", f"/{self._group}", *self._arguments]
        script = "set -e\nmount --make-rprivate /\nip link set lo up\n"
        if self._root is not None:
            script += _PIVOT.format(root=self._root, folder=self.folder)
        script += f"PATH=/usr/sbin:/usr/bin:/sbin:/bin exec {shlex.join(words)}"
        command = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"dockerd ended with {self._process.returncode}:\n{self.log.read_text()[-3000:]}")
            if self.socket.exists() and self._answers():
                return
            time.sleep(0.05)
        raise RuntimeError(f"dockerd does not answer:\n{self.log.read_text()[-3000:]}")

    @property
    def inner_pid(self) -> int:
        """dockerd itself, in whose namespaces its containers live."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        if not children:
            raise RuntimeError("dockerd is not running")
        return int(children[0])

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask dockerd to stop; all its processes are gone when it has."""
        if self._process is None or self._process.poll() is not None:
            return 0
        os.kill(self.inner_pid, number)
        try:
            return self._process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            return -signal.SIGKILL

    def remove_leftovers(self) -> None:
        """End it and take its control groups away."""
        self.kill()
        for group in Path("/sys/fs/cgroup").glob(f"*/{self._group}"):
            for path in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
                _remove_group(path)
            _remove_group(group)


def _remove_group(path: Path) -> None:
    for _ in range(20):
        try:
            path.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.1)
        else:
            return


def oracle_root() -> Path | None:
    """Return the root file system that the environment names for the newer dockerd."""
    named = os.environ.get(ROOT_VARIABLE, "")
    return Path(named) if named else None


def why_not() -> str:
    """Return why no dockerd can run here; empty when one can."""
    if os.geteuid() != 0:
        return "dockerd needs root"
    return "" if shutil.which("dockerd") and shutil.which("unshare") else "dockerd is not installed"
