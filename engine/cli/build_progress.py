"""What a build looks like: a tree of steps on a terminal, plain lines in a pipe, JSON, or nothing.

Owns how it looks; what happens is the engine's to say.
"""

from __future__ import annotations

import re
import sys
import time
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from engine.cli.console import STDERR, Console
from engine.client.build import BuildMessage, StepEvent

_LAST_LINES = 6
_INTERVAL_S = 0.1
_COLORS = re.compile(r"\x1b\[[0-9;]*m")
_CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


class Display(Protocol):
    """Shows messages."""

    def add(self, message: BuildMessage) -> None:
        """Show one message."""

    def tick(self) -> None:
        """Let times go on."""

    def finish(self, *, failed: bool) -> None:
        """Show the end."""


@dataclass
class _Step:
    event: StepEvent
    began: float = field(default_factory=time.monotonic)
    output: list[str] = field(default_factory=list)
    partial: str = ""
    state: str = "started"
    seconds: float = 0.0
    status: dict[str, str] = field(default_factory=dict)
    why: str = ""

    def take(self, text: str) -> list[str]:
        """Take output and return its whole lines."""
        lines = (self.partial + _COLORS.sub("", text)).replace("\r\n", "\n").split("\n")
        self.partial = lines.pop()
        self.output = [*self.output, *lines][-200:]
        return lines

    @property
    def title(self) -> str:
        number = f"[{self.event.stage} {self.event.number}/{self.event.total}]" if self.event.total else ""
        first, *rest = self.event.text.split("\n")
        return f"{number} {first}{' …' if rest else ''}".strip()


class Steps:
    """The steps of a build as far as they are known."""

    def __init__(self) -> None:
        """Know none."""
        self.by_number: dict[int, _Step] = {}
        self.failed: _Step | None = None

    def take(self, message: BuildMessage) -> _Step | None:
        """Take a message in; return the step that it is about."""
        event = message.step
        if event is None:
            return self.by_number.get(message.vertex)
        step = self.by_number.get(event.number)
        if step is None or event.state == "started":
            step = self.by_number[event.number] = _Step(event)
        else:
            step.state, step.seconds, step.why = event.state, event.seconds, event.why
        if event.state == "failed":
            self.failed = step
        return step


class PlainDisplay:
    """Lines, each with its step's number, as BuildKit's plain progress has them."""

    def __init__(self, console: Console, *, explains: bool) -> None:
        """Write to standard error."""
        self._console = console
        self._explains = explains
        self.steps = Steps()

    def add(self, message: BuildMessage) -> None:
        """Show one message."""
        step = self.steps.take(message)
        if message.step is not None and step is not None:
            self._event(message.step, step)
        elif message.stream and step is not None:
            since = time.monotonic() - step.began
            for line in step.take(message.stream):
                self._line(f"#{message.vertex} {since:.3f} {line}")
        elif message.stream:
            self._console.err(message.stream)
        elif message.status and not (message.progress_detail and message.progress_detail.current):
            name = f"{message.id}: " if message.id else ""
            self._line(f"#{message.vertex} {name}{message.status}")

    def _event(self, event: StepEvent, step: _Step) -> None:
        number = event.number
        if event.state == "started":
            self._line(f"#{number} {step.title}")
            return
        if step.partial:
            self._line(f"#{number} {time.monotonic() - step.began:.3f} {step.partial}")
        if self._explains and event.why:
            self._line(f"#{number} rebuilt: {event.why}")
        if event.state == "cached":
            self._line(f"#{number} CACHED\n")
        elif event.state == "failed":
            self._line(f"#{number} ERROR: {event.error}\n")
        else:
            self._line(f"#{number} DONE {event.seconds:.1f}s\n")

    def _line(self, text: str) -> None:
        self._console.err(f"{text}\n")

    def tick(self) -> None:
        """Do nothing: lines stay as they are."""

    def finish(self, *, failed: bool) -> None:
        """Do nothing."""


class TreeDisplay:
    """The steps, redrawn in their place; running ones show the last lines of their output."""

    def __init__(self, console: Console, *, explains: bool) -> None:
        """Draw on standard error, which is a terminal."""
        self._console = console
        self._explains = explains
        self.steps = Steps()
        self._drawn = 0
        self._drawn_at = 0.0
        self._began = time.monotonic()
        self._texts: list[str] = []

    def add(self, message: BuildMessage) -> None:
        """Show one message, at once or with the next redraw."""
        step = self.steps.take(message)
        if step is not None and message.stream:
            step.take(message.stream)
        elif step is not None and message.status:
            step.status[message.id] = message.status
        elif step is None and message.stream.strip():
            self._texts.append(message.stream.strip())
        self.tick()

    def tick(self) -> None:
        """Redraw when it is time."""
        if time.monotonic() - self._drawn_at >= _INTERVAL_S:
            self._draw(is_last=False)

    def finish(self, *, failed: bool) -> None:
        """Draw the last time."""
        self._draw(is_last=True)

    def _draw(self, *, is_last: bool) -> None:
        height, width = self._console.size()
        lines = self._lines()
        if not is_last and height and len(lines) > height - 2:
            lines = lines[-(height - 2) :]
        done = sum(step.state in ("done", "cached") for step in self.steps.by_number.values())
        total = max((step.event.total for step in self.steps.by_number.values()), default=0)
        state = "FINISHED" if is_last else ""
        head = f"[+] Building {time.monotonic() - self._began:.1f}s ({done}/{total}) {state}".rstrip()
        shown = [head, *lines, *self._texts]
        cut = [_clean(line)[: width - 1] if width else _clean(line) for line in shown]
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        self._console.err(up + "".join(f"\x1b[2K{line}\n" for line in cut) + "\x1b[J")
        self._drawn, self._drawn_at = len(cut), time.monotonic()

    def _lines(self) -> list[str]:
        lines: list[str] = []
        for _, step in sorted(self.steps.by_number.items()):
            if step.state == "cached":
                lines.append(f" => CACHED {step.title}")
                continue
            is_running = step.state == "started"
            seconds = time.monotonic() - step.began if is_running else step.seconds
            mark = "ERROR " if step.state == "failed" else ""
            lines.append(f" => {mark}{step.title}  {seconds:.1f}s")
            if self._explains and step.why:
                lines.append(f" => => rebuilt: {step.why}")
            if is_running:
                last = [*step.output, *([step.partial] if step.partial else [])][-_LAST_LINES:]
                lines += [f" => => # {line}" for line in last]
                lines += [f" => => {name} {status}".rstrip() for name, status in list(step.status.items())[-3:]]
        return lines


def _clean(line: str) -> str:
    return _CONTROLS.sub("", line)


class JsonDisplay:
    """Every message as a line of JSON on standard error."""

    def __init__(self) -> None:
        """Know nothing."""
        self.steps = Steps()

    def add(self, message: BuildMessage) -> None:
        """Print one message."""
        self.steps.take(message)
        data = {key: value for key, value in msgspec.to_builtins(message).items() if value}
        sys.stderr.write(msgspec.json.encode(data).decode() + "\n")
        sys.stderr.flush()

    def tick(self) -> None:
        """Do nothing."""

    def finish(self, *, failed: bool) -> None:
        """Do nothing."""


class QuietDisplay:
    """Nothing, but what a failed step has written."""

    def __init__(self, console: Console) -> None:
        """Write to standard error."""
        self._console = console
        self.steps = Steps()

    def add(self, message: BuildMessage) -> None:
        """Keep a message in mind."""
        step = self.steps.take(message)
        if step is not None and message.stream:
            step.take(message.stream)

    def tick(self) -> None:
        """Do nothing."""

    def finish(self, *, failed: bool) -> None:
        """Show what the step that failed has written."""
        if failed and self.steps.failed is not None:
            step = self.steps.failed
            for line in [*step.output, *([step.partial] if step.partial else [])]:
                self._console.err(f"{line}\n")


def choose_display(
    console: Console, kind: str, *, quiet: bool, explains: bool
) -> PlainDisplay | TreeDisplay | JsonDisplay | QuietDisplay:
    """Return the display for ``--progress``; ``auto`` is a tree on a terminal."""
    if quiet or kind == "quiet":
        return QuietDisplay(console)
    if kind in ("rawjson", "json"):
        return JsonDisplay()
    if kind == "tty" or (kind == "auto" and console.is_terminal(STDERR)):
        return TreeDisplay(console, explains=explains)
    return PlainDisplay(console, explains=explains)


def excerpt(text: str, name: str, start: int, end: int) -> str:
    """Return the lines of a Dockerfile around a place, which is marked."""
    rows = text.split("\n")
    first, last = max(1, start - 2), min(len(rows), end + 2)
    bar = "--------------------"
    lines = [f"{name}:{start}", bar]
    for number in range(first, last + 1):
        mark = ">>>" if start <= number <= end else "   "
        lines.append(f" {number:3d} | {mark} {_clean(rows[number - 1].rstrip())}".rstrip())
    return "\n".join([*lines, bar]) + "\n"
