"""Starting and stopping this machine's engine, and what to tell who may not. Without Qt.

Nothing is done as root silently: systemd and pkexec ask by themselves; without them the command is shown.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from engine.errors import NotSupported, Unavailable

UNIT = "portside.service"
SOCKET = "unix:///run/portside/engine.sock"
_INSTALLED = Path("/opt/portside/current/bin/portsided")
_PIDFILE = Path("/run/portside/portsided.pid")
_LOG = Path("/var/log/portside.log")
_UNIT_FOLDERS = (Path("/etc/systemd/system"), Path("/usr/lib/systemd/system"))
_TIMEOUT_S = 120
_STOP_TIMEOUT_S = 30

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Advice:
    """What helps: a title, what to do, and the commands to copy."""

    title: str
    text: str
    commands: str = ""


class EngineControl(Protocol):
    """What the window asks for."""

    def is_installed(self) -> bool:
        """Whether there is an engine to start."""

    async def start(self, tell: Tell) -> None:
        """Start it; ``tell`` is told each step. Raises Unavailable or NotSupported with the way out."""

    async def stop(self) -> None:
        """Stop it; containers go on."""


class LocalEngine:
    """This machine's engine: systemd's unit where there is one, else the installed program."""

    def __init__(self, program: list[str] | None = None, pidfile: Path = _PIDFILE, log: Path = _LOG) -> None:
        """``program`` is the engine's command line when it is not the installed one."""
        self._given = program
        self._pidfile = pidfile
        self._log = log

    def has_unit(self) -> bool:
        """Whether systemd runs here and knows the engine."""
        return (
            self._given is None
            and Path("/run/systemd/system").is_dir()
            and any((folder / UNIT).exists() for folder in _UNIT_FOLDERS)
        )

    def is_installed(self) -> bool:
        """Whether there is an engine to start."""
        return self.has_unit() or bool(self.program())

    def program(self) -> list[str]:
        """Return the engine's command line, empty when there is none.

        A program that is not the installed one is only run by its own user: root runs nothing of another's.
        """
        if self._given is not None:
            return self._given
        if _INSTALLED.exists():
            return [str(_INSTALLED), "--pidfile", str(self._pidfile)]
        beside = Path(sys.executable).with_name("portsided")
        if os.geteuid() == 0 and beside.exists() and beside.stat().st_uid == 0:
            return [str(beside), "--pidfile", str(self._pidfile)]
        return []

    async def start(self, tell: Tell) -> None:
        """Start the engine; raises Unavailable with what the system said."""
        if self.has_unit():
            tell("systemd is starting it")
            await self._run(["systemctl", "start", UNIT])
            return
        program = self.program()
        if not program:
            raise NotSupported("no engine is installed on this machine", hint="run installers/run.sh")
        words = " ".join(shlex.quote(word) for word in program)
        script = f"mkdir -p {shlex.quote(str(self._pidfile.parent))} && cd / && "
        script += f"exec setsid --fork {words} </dev/null >>{shlex.quote(str(self._log))} 2>&1"
        if os.geteuid() == 0 or self._given is not None:
            tell("its program is being started")
            await self._run(["sh", "-c", script])
            return
        tell("you are asked for the right to start it")
        await self._run([self._asker(f"sudo sh -c {shlex.quote(script)}"), "sh", "-c", script])

    async def stop(self) -> None:
        """Stop the engine and wait until it has ended; raises Unavailable with what the system said."""
        if self.has_unit():
            await self._run(["systemctl", "stop", UNIT])
            return
        pid = self._running()
        if os.geteuid() == 0 or self._given is not None:
            os.kill(pid, signal.SIGTERM)
        else:
            await self._run([self._asker(f"sudo kill {pid}"), "kill", str(pid)])
        for _ in range(_STOP_TIMEOUT_S * 10):
            if not Path(f"/proc/{pid}/exe").exists() and not Path(f"/proc/{pid}").exists():
                return
            await asyncio.sleep(0.1)
        raise Unavailable(f"the engine (process {pid}) does not end", hint=f"look at {self._log}")

    def _running(self) -> int:
        """Return the engine's process ID; raises Unavailable when it was not started by us."""
        try:
            pid = int(self._pidfile.read_text())
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError) as error:
            hint = "stop it where it was started"
            raise Unavailable(f"{self._pidfile} names no engine that runs", hint=hint) from error
        if not any(word.endswith(b"portsided") or word == b"engine" for word in words):
            raise Unavailable(f"{self._pidfile} names process {pid}, which is no engine", hint="remove that file")
        return pid

    def _asker(self, command: str) -> str:
        helper = shutil.which("pkexec")
        if helper is None:
            raise Unavailable("this needs root, and pkexec is not installed", hint=f"in a terminal: {command}")
        return helper

    async def _run(self, command: list[str]) -> None:
        try:
            done = await asyncio.to_thread(
                subprocess.run, command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(f"{command[0]} could not be run: {error}") from error
        if done.returncode:
            told = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
            raise Unavailable(told[-1] if told else f"{command[0]} ended with {done.returncode}")


def advice_to_install() -> Advice:
    """Return how an engine comes onto this machine."""
    text = (
        "Portside's window is here, its engine is not. The installer in Portside's folder sets it up; "
        "the window also shows an engine elsewhere: portside-desktop -H ADDRESS."
    )
    return Advice("Install the engine", text, "installers/run.sh")


def advice_for_access(endpoint: str, group: str) -> Advice:
    """Return how a person may use an engine that refuses them."""
    text = f"The engine at {endpoint} is for root and the group {group}. Join it, then log out and in again."
    return Advice("Get access to the engine", text, f"sudo usermod --append --groups {group} $USER")


def group_of(endpoint: str) -> str:
    """Return the group that may use a socket, ``portside`` where that cannot be seen."""
    try:
        return Path(endpoint.removeprefix("unix://")).group()
    except (OSError, KeyError):
        return "portside"
