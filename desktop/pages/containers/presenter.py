"""What the Containers page does: rows out of the picture, actions on containers. Without Qt."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from desktop.messages import Message, explain
from desktop.state.picture import Picture
from desktop.state.sizes import memory_text
from desktop.state.spans import age_text, state_text
from desktop.state.stats import Usage
from engine.errors import NotFound, PortsideError
from engine.model.inspect import ContainerSummary

Notify = Callable[[Message], None]

ALL, RUNNING, STOPPED = "all", "running", "stopped"
_RUNNING_STATES = ("running", "paused", "restarting")
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")


class ContainerActions(Protocol):
    """What the presenter asks of an engine (the client's ``containers``)."""

    async def start(self, ref: str) -> None:
        """Start a container."""

    async def stop(self, ref: str) -> None:
        """Stop a container."""

    async def restart(self, ref: str) -> None:
        """Restart a container."""

    async def pause(self, ref: str) -> None:
        """Freeze a container."""

    async def unpause(self, ref: str) -> None:
        """Let a frozen container go on."""

    async def kill(self, ref: str) -> None:
        """End a container at once."""

    async def rename(self, ref: str, name: str) -> None:
        """Give a container another name."""

    async def remove(self, ref: str, *, force: bool = False, volumes: bool = False) -> None:
        """Remove a container."""


@dataclass(frozen=True)
class Row:
    """One container as the table shows it; ``ports`` are (text, address to open or "")."""

    id: str
    name: str
    image: str
    state: str
    state_text: str
    ports: tuple[tuple[str, str], ...]
    created_s: int
    age: str
    busy: str = ""
    status: str = ""
    starts: int = 0
    usage: Usage | None = None
    labels: dict[str, str] = field(default_factory=dict, compare=False)

    @property
    def is_running(self) -> bool:
        """Whether it can be stopped."""
        return self.state in _RUNNING_STATES

    @property
    def tone(self) -> str:
        """The colour of its state: green, amber, red or grey."""
        if self.busy or self.state in ("restarting", "paused", "removing") or "(unhealthy)" in self.status:
            return "amber"
        if self.state == "running":
            return "green"
        failed = self.state == "dead" or (self.state == "exited" and "(0)" not in self.status)
        return "red" if failed else "grey"

    @property
    def told_state(self) -> str:
        """What the state column says."""
        return f"{self.busy}…" if self.busy else self.state_text

    @property
    def cpu_text(self) -> str:
        """Its CPU, in percent of one processor."""
        return f"{self.usage.cpu_percent:.1f} %" if self.usage else "–" if self.is_running else ""

    @property
    def memory_text(self) -> str:
        """Its memory."""
        return memory_text(self.usage.memory_bytes) if self.usage else "–" if self.is_running else ""

    @property
    def quick_actions(self) -> tuple[tuple[str, str], ...]:
        """The (icon, action) that stand at the end of its row."""
        if self.busy:
            return ()
        return (("stop", "stop") if self.is_running else ("play", "start"), ("trash", "delete"))

    @property
    def ports_text(self) -> str:
        """All ports in one line."""
        return ", ".join(text for text, _ in self.ports)


def ports_of(item: ContainerSummary) -> tuple[tuple[str, str], ...]:
    """Return a container's published ports, each once, with the address a browser opens for TCP."""
    found: dict[str, tuple[int, str]] = {}
    for port in item.ports:
        if not isinstance(port.public_port, int) or not port.public_port:
            continue
        address = port.ip if isinstance(port.ip, str) else ""
        anywhere = address in ("", "0.0.0.0", "::")
        text = f"{port.public_port}:{port.private_port}" + ("" if port.type == "tcp" else f"/{port.type}")
        if not anywhere and not address.startswith("127."):
            text = f"{address}:{text}"
        host = "localhost" if anywhere else f"[{address}]" if ":" in address else address
        url = f"http://{host}:{port.public_port}/" if port.type == "tcp" else ""
        found.setdefault(text, (port.public_port, url))
    return tuple((text, url) for text, (_, url) in sorted(found.items(), key=lambda entry: (entry[1][0], entry[0])))


def image_text(name: str) -> str:
    """Return an image's name as the table shows it: IDs shortened."""
    return name[7:19] if name.startswith("sha256:") else name


class ContainersPresenter:
    """Rows and actions of the page."""

    def __init__(
        self,
        picture: Picture,
        actions: Callable[[], ContainerActions],
        run: Callable[[Coroutine[Any, Any, None]], object],
        notify: Notify,
        clock: Callable[[], float],
    ) -> None:
        """``run`` runs a task of the page; ``actions`` is asked for at each use, since the engine may change."""
        self._picture = picture
        self._actions = actions
        self._run = run
        self._notify = notify
        self._clock = clock
        self._busy: dict[str, str] = {}
        self.usage: dict[str, Usage] = {}
        self.on_busy: Callable[[], None] = lambda: None

    def counts(self) -> dict[str, int]:
        """Return how many containers each filter lets through."""
        total = len(self._picture.containers)
        running = sum(item.state in _RUNNING_STATES for item in self._picture.containers.values())
        return {ALL: total, RUNNING: running, STOPPED: total - running}

    def rows(self, *, only: str = ALL, text: str = "") -> list[Row]:
        """Return the rows that fit the filter (all, running or stopped) and the search, in no order."""
        words = text.lower().split()
        now = self._clock()
        found = []
        for item in self._picture.containers.values():
            row = self._row(item, now)
            if only != ALL and row.is_running != (only == RUNNING):
                continue
            haystack = f"{row.name} {row.image} {row.id} {row.state} {row.ports_text}".lower()
            if all(word in haystack for word in words):
                found.append(row)
        return found

    def _row(self, item: ContainerSummary, now: float) -> Row:
        seen = self._picture.seen_at.get(item.id, now)
        return Row(
            id=item.id,
            name=(item.names or ["/?"])[0].lstrip("/"),
            image=image_text(item.image),
            state=item.state,
            state_text=state_text(item.state, item.status, seen, now),
            ports=ports_of(item),
            created_s=item.created,
            age=age_text(max(0.0, now - item.created)),
            busy=self._busy.get(item.id, ""),
            status=item.status,
            starts=self._picture.starts.get(item.id, 0),
            usage=self.usage.get(item.id),
            labels=item.labels,
        )

    def row(self, container_id: str) -> Row | None:
        """Return one container's row."""
        item = self._picture.containers.get(container_id)
        return self._row(item, self._clock()) if item is not None else None

    def start(self, ids: Iterable[str]) -> None:
        """Start containers."""
        self._each(ids, "start", "Starting", lambda one: self._actions().start(one))

    def stop(self, ids: Iterable[str]) -> None:
        """Stop containers."""
        self._each(ids, "stop", "Stopping", lambda one: self._actions().stop(one))

    def restart(self, ids: Iterable[str]) -> None:
        """Restart containers."""
        self._each(ids, "restart", "Restarting", lambda one: self._actions().restart(one))

    def pause(self, ids: Iterable[str]) -> None:
        """Freeze containers that run."""
        self._each(ids, "pause", "Pausing", lambda one: self._actions().pause(one))

    def unpause(self, ids: Iterable[str]) -> None:
        """Let frozen containers go on."""
        self._each(ids, "continue", "Continuing", lambda one: self._actions().unpause(one))

    def kill(self, ids: Iterable[str]) -> None:
        """End containers at once, without a chance to finish."""
        self._each(ids, "kill", "Killing", lambda one: self._actions().kill(one))

    def name_problem(self, name: str, container_id: str) -> str:
        """Return what is wrong with a new name of a container, "" for nothing."""
        if not _NAME.fullmatch(name):
            return "Letters, digits, _ . and - are allowed, at least two, and it begins with a letter or a digit."
        for item in self._picture.containers.values():
            if f"/{name}" in item.names and item.id != container_id:
                return f"There is a container {name} already."
        return ""

    def rename(self, container_id: str, name: str) -> None:
        """Give a container another name, which was checked."""
        self._each([container_id], "rename", "Renaming", lambda one: self._actions().rename(one, name))

    def remove(self, ids: Iterable[str], *, volumes: bool) -> None:
        """Remove containers, running ones too: the question was asked before."""
        self._each(ids, "delete", "Deleting", lambda one: self._remove(one, volumes=volumes))

    async def _remove(self, container_id: str, *, volumes: bool) -> None:
        try:
            await self._actions().remove(container_id, force=True, volumes=volumes)
        except NotFound:
            return  # it went by itself meanwhile

    def _each(
        self, ids: Iterable[str], verb: str, doing: str, work: Callable[[str], Coroutine[Any, Any, None]]
    ) -> None:
        for one in ids:
            if one not in self._busy:
                self._busy[one] = doing
                self._run(self._one(one, verb, work))
        self.on_busy()

    async def _one(self, container_id: str, verb: str, work: Callable[[str], Coroutine[Any, Any, None]]) -> None:
        row = self.row(container_id)
        name = row.name if row else container_id[:12]
        try:
            await work(container_id)
        except PortsideError as error:
            self._notify(explain(f"{verb} {name}", error))
        finally:
            self._busy.pop(container_id, None)
            self.on_busy()
            await asyncio.sleep(0)


def question_about_removal(rows: list[Row]) -> tuple[str, str]:
    """Return the title and the text of the question before containers are deleted."""
    running = [row for row in rows if row.is_running]
    title = f"Delete {rows[0].name}?" if len(rows) == 1 else f"Delete {len(rows)} containers?"
    lines = [f"• {row.name}  ({row.image})" + ("  — running, will be killed" if row.is_running else "") for row in rows]
    shown = lines[:10] + ([f"… and {len(lines) - 10} more"] if len(lines) > 10 else [])
    warning = "\n\nWhat they wrote to their own file system is lost; named volumes stay."
    if running and len(rows) > 1:
        warning = f"\n\n{len(running)} of them run." + warning
    return title, "\n".join(shown) + warning
