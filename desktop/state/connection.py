"""Whether the engine answers: the states that the window's bottom line tells, always true. Without Qt."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from engine.errors import Forbidden, PortsideError


class Stage(Enum):
    """Where the connection stands."""

    NOT_INSTALLED = "not installed"
    STOPPED = "not running"
    STARTING = "starting"
    CONNECTING = "connecting"
    RUNNING = "running"
    LOST = "not answering"
    REFUSED = "refused"


@dataclass(frozen=True)
class Connection:
    """The connection as it is: ``since_s`` in seconds since 1970; ``detail`` the exact error behind it."""

    stage: Stage
    since_s: float
    endpoint: str = ""
    version: str = ""
    name: str = ""
    step: str = ""
    detail: str = ""

    @property
    def sentence(self) -> str:
        """What the line says."""
        who = self.name or "The engine"
        if self.stage is Stage.RUNNING:
            return f"{who} {self.version} is running"
        if self.stage is Stage.NOT_INSTALLED:
            return "No engine is installed on this machine"
        if self.stage is Stage.STOPPED:
            return f"{who} is not running"
        if self.stage is Stage.STARTING:
            return f"{who} is starting: {self.step or 'waiting for its first answer'}"
        if self.stage is Stage.CONNECTING:
            return f"Connecting to {self.endpoint}"
        if self.stage is Stage.REFUSED:
            return f"You may not use the engine at {self.endpoint}"
        return f"{who} does not answer"

    @property
    def button(self) -> str:
        """The one button that helps, "" for none."""
        return {
            Stage.NOT_INSTALLED: "How to install",
            Stage.STOPPED: "Start the engine",
            Stage.LOST: "Start the engine",
            Stage.REFUSED: "How to get access",
        }.get(self.stage, "")


def judge_failure(error: PortsideError, *, was_running: bool, is_installed: bool) -> Stage:
    """Return the stage that a failed connection means."""
    if isinstance(error, Forbidden) or _errno_of(error) == errno.EACCES:
        return Stage.REFUSED
    if was_running:
        return Stage.LOST
    if _errno_of(error) in (errno.ENOENT, errno.ECONNREFUSED):
        return Stage.STOPPED if is_installed else Stage.NOT_INSTALLED
    return Stage.LOST


def _errno_of(error: BaseException) -> int:
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError) and found.errno:
            return found.errno
        found = found.__cause__
    return 0


def is_engine_installed() -> bool:
    """Whether this machine has an engine of ours to start."""
    return any(
        path.exists() for path in (Path("/opt/portside/bin/portsided"), Path("/opt/portside/venv/bin/portsided"))
    )
