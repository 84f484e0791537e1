"""Starting and stopping this machine's engine, and what to tell who may not. Without Qt."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from engine.errors import NotSupported, Unavailable

UNIT = "portside.service"
_PROGRAMS = (Path("/opt/portside/bin/portsided"), Path("/opt/portside/venv/bin/portsided"))
_LOCK = Path("/var/lib/portside/engine.lock")
_LOG = Path("/var/log/portside.log")
_TIMEOUT_S = 60


@dataclass(frozen=True)
class Advice:
    """What helps: a title, what to do, and the commands to copy."""

    title: str
    text: str
    commands: str = ""


class EngineControl:
    """This machine's engine: systemd's unit where there is one, else the installed program."""

    def has_unit(self) -> bool:
        """Whether systemd runs here and knows the engine."""
        return Path("/run/systemd/system").is_dir() and any(
            (Path(folder) / UNIT).exists() for folder in ("/etc/systemd/system", "/usr/lib/systemd/system")
        )

    def program(self) -> Path | None:
        """Return the installed engine."""
        return next((path for path in _PROGRAMS if path.exists()), None)

    def start_command(self) -> list[str]:
        """Return the command that starts the engine as root; raises NotSupported when there is nothing to start."""
        if self.has_unit():
            return ["systemctl", "start", UNIT]
        program = self.program()
        if program is None:
            raise NotSupported("no engine is installed on this machine", hint="run installers/run.sh")
        return ["sh", "-c", f"exec setsid --fork {program} </dev/null >>{_LOG} 2>&1"]

    def stop_command(self) -> list[str]:
        """Return the command that stops the engine; containers go on."""
        if self.has_unit():
            return ["systemctl", "stop", UNIT]
        return ["sh", "-c", f'kill -TERM "$(cat {_LOCK})"']

    async def start(self) -> None:
        """Start the engine; raises Unavailable with what the system said."""
        await self._as_root(self.start_command())

    async def stop(self) -> None:
        """Stop the engine."""
        await self._as_root(self.stop_command())

    async def _as_root(self, command: list[str]) -> None:
        if os.geteuid() != 0:
            helper = shutil.which("pkexec")
            if helper is None:
                text = " ".join(command)
                raise Unavailable("this needs root, and pkexec is not installed", hint=f"in a terminal: sudo {text}")
            command = [helper, *command]
        process = await asyncio.to_thread(
            subprocess.run, command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S, check=False
        )
        if process.returncode:
            told = (process.stderr or process.stdout).decode(errors="replace").strip().splitlines()
            raise Unavailable(told[-1] if told else f"{command[0]} ended with {process.returncode}")


def advice_to_install() -> Advice:
    """Return how an engine comes onto this machine."""
    text = (
        "Portside's window is here, its engine is not. The installer of the checkout sets it up; "
        "the window also drives an engine elsewhere: portside-desktop -H ADDRESS."
    )
    return Advice("Install the engine", text, "installers/run.sh")


def advice_for_access(endpoint: str) -> Advice:
    """Return how a person may use an engine that refuses them."""
    text = f"The engine at {endpoint} is for root and the group portside. Join it, then log out and in again."
    return Advice("Get access", text, "sudo usermod --append --groups portside $USER")
