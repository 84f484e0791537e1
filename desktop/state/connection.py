"""Whether the engine answers: the states that the window's bottom line tells, always true. Without Qt."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from enum import Enum

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
    """The connection as it is: ``since_s`` in seconds since 1970; ``detail`` the exact error behind it.

    ``can_start`` says that the engine is this machine's, which can be started from here.
    """

    stage: Stage
    since_s: float
    endpoint: str = ""
    version: str = ""
    name: str = ""
    step: str = ""
    detail: str = ""
    can_start: bool = False

    @property
    def sentence(self) -> str:
        """What the line says."""
        who = self.name or "The engine"
        return {
            Stage.RUNNING: f"{who} {self.version} is running",
            Stage.NOT_INSTALLED: "No engine is installed on this machine",
            Stage.STOPPED: f"{who} is not running",
            Stage.STARTING: f"{who} is starting: {self.step or 'waiting for its first answer'}",
            Stage.CONNECTING: f"Connecting to {self.endpoint}",
            Stage.REFUSED: "You may not use this engine",
            Stage.LOST: f"{who} does not answer",
        }[self.stage]

    @property
    def button(self) -> str:
        """The one button that helps, "" for none."""
        if self.stage is Stage.NOT_INSTALLED:
            return "How to install"
        if self.stage is Stage.REFUSED:
            return "How to get access"
        if self.stage in (Stage.STOPPED, Stage.LOST):
            return "Start the engine" if self.can_start else "Try again now"
        return ""


def judge_failure(error: PortsideError, *, was_running: bool, is_ours: bool, is_installed: bool) -> Stage:
    """Return the stage that a failed connection means; ``is_ours`` for this machine's own engine."""
    reason = _errno_of(error)
    if isinstance(error, Forbidden) or reason in (errno.EACCES, errno.EPERM):
        return Stage.REFUSED
    nobody_listens = reason in (errno.ENOENT, errno.ECONNREFUSED)
    if nobody_listens and is_ours:
        return Stage.STOPPED if is_installed else Stage.NOT_INSTALLED
    return Stage.STOPPED if nobody_listens and not was_running else Stage.LOST


def _errno_of(error: BaseException) -> int:
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError) and found.errno:
            return found.errno
        found = found.__cause__
    return 0
