"""What the Volumes page does: rows with who uses them, making, deleting. Without Qt."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from desktop.messages import explain
from desktop.pages.presenting import Doing, Notify, Run
from desktop.state.picture import Picture
from desktop.state.sizes import size_text
from desktop.state.spans import age_text
from engine.errors import PortsideError
from engine.model.volume import VolumeCreateRequest

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_ANONYMOUS_LABEL = "com.docker.volume.anonymous"
_ANONYMOUS_NAME = re.compile(r"[0-9a-f]{64}")


class VolumeActions(Protocol):
    """What the presenter asks of an engine."""

    async def create(self, request: VolumeCreateRequest) -> None:
        """Make a volume."""

    async def remove(self, name: str) -> None:
        """Remove a volume."""

    async def sizes(self) -> dict[str, int]:
        """Return the bytes of each volume by name; measured now, which takes its time."""

    async def inspect(self, name: str) -> bytes:
        """Return the engine's own JSON of a volume."""


@dataclass(frozen=True)
class VolumeRow:
    """One volume as the table shows it; ``size`` is -1 as long as nobody measured it."""

    id: str
    name: str
    driver: str
    users: tuple[str, ...]
    size: int
    created_s: float
    age: str
    is_anonymous: bool
    mountpoint: str
    busy: str = ""

    @property
    def users_text(self) -> str:
        """Who uses it."""
        return ", ".join(self.users)

    @property
    def size_text(self) -> str:
        """Its size."""
        return size_text(self.size) if self.size >= 0 else ""

    @property
    def short_name(self) -> str:
        """Its name; that of an anonymous one is shortened."""
        return self.name[:12] if self.is_anonymous and _ANONYMOUS_NAME.fullmatch(self.name) else self.name

    @property
    def told_kind(self) -> str:
        """What the kind's pill says."""
        return f"{self.busy}…" if self.busy else "anonymous" if self.is_anonymous else "named"


class VolumesPresenter:
    """Rows and actions of the page."""

    def __init__(
        self,
        picture: Picture,
        actions: Callable[[], VolumeActions],
        run: Run,
        notify: Notify,
        clock: Callable[[], float],
    ) -> None:
        """``actions`` is asked for at each use, since the engine may change."""
        self._picture = picture
        self._actions = actions
        self._run = run
        self._notify = notify
        self._clock = clock
        self._sizes: dict[str, int] = {}
        self.doing = Doing(run, notify)
        self.was_measured = False
        self.on_sizes: Callable[[], None] = lambda: None

    def rows(self, text: str = "") -> list[VolumeRow]:
        """Return the rows that fit a search."""
        users: dict[str, list[str]] = {}
        for container in self._picture.containers.values():
            for mount in container.mounts:
                if mount.type == "volume" and mount.name:
                    users.setdefault(mount.name, []).append((container.names or ["/?"])[0].lstrip("/"))
        words = text.lower().split()
        now = self._clock()
        found = []
        for item in self._picture.volumes.values():
            created = _seconds(item.created_at) if isinstance(item.created_at, str) else 0.0
            row = VolumeRow(
                id=item.name,
                name=item.name,
                driver=item.driver,
                users=tuple(sorted(users.get(item.name, []))),
                size=self._sizes.get(item.name, -1),
                created_s=created,
                age=age_text(max(0.0, now - created)) if created else "",
                is_anonymous=_ANONYMOUS_LABEL in (item.labels or {}) or bool(_ANONYMOUS_NAME.fullmatch(item.name)),
                mountpoint=item.mountpoint,
                busy=self.doing.of(item.name),
            )
            if all(word in f"{row.name} {row.driver} {row.users_text} {row.told_kind}".lower() for word in words):
                found.append(row)
        return found

    def measure(self) -> None:
        """Measure the volumes' sizes, unless that is going on."""
        self.was_measured = True
        self.doing.start("\0sizes", "Measuring", "measure the volumes", self._measure)

    async def _measure(self) -> None:
        self._sizes = await self._actions().sizes()
        self.on_sizes()

    def problem(self, name: str) -> str:
        """Return what is wrong with a new volume's name, "" for nothing; an empty one is made up by the engine."""
        if name and not _NAME.fullmatch(name):
            return "Letters, digits, _ . and - are allowed, and it begins with a letter or a digit."
        if name in self._picture.volumes:
            return f"There is a volume {name} already."
        return ""

    def create(self, name: str) -> None:
        """Make a volume."""

        async def work() -> None:
            await self._actions().create(VolumeCreateRequest(name=name))

        self.doing.start(f"\0new {name}", "Making", f"make the volume {name}".rstrip(), work)

    def unused(self) -> list[VolumeRow]:
        """Return the volumes that no container has."""
        return [row for row in self.rows() if not row.users]

    def remove(self, rows: list[VolumeRow]) -> None:
        """Remove volumes: the question was asked before."""
        for row in rows:

            async def work(name: str = row.name) -> None:
                await self._actions().remove(name)

            self.doing.start(row.name, "Deleting", f"delete {row.short_name}", work, may_be_gone=True)

    def inspect(self, name: str, show: Callable[[bytes], None]) -> None:
        """Read a volume's own JSON and show it."""

        async def work() -> None:
            try:
                show(await self._actions().inspect(name))
            except PortsideError as error:
                self._notify(explain(f"inspect {name}", error), "error")

        self._run(work())


def _seconds(stamp: str) -> float:
    """Return a time of RFC 3339 as seconds, 0 for one that is none."""
    try:
        return datetime.fromisoformat(stamp).timestamp()
    except ValueError:
        return 0.0


def question_about_removal(rows: list[VolumeRow]) -> tuple[str, str, bool]:
    """Return title and text of the question before volumes are deleted, and whether any of them can go."""
    used = [row for row in rows if row.users]
    title = f"Delete the volume {rows[0].short_name}?" if len(rows) == 1 else f"Delete {len(rows)} volumes?"
    lines = [
        f"• {row.short_name}" + (f"  ({row.size_text})" if row.size >= 0 else "")
        + (f"  — used by {row.users_text}, stays" if row.users else "")
        for row in rows
    ]  # fmt: skip
    shown = lines[:10] + ([f"… and {len(lines) - 10} more"] if len(lines) > 10 else [])
    text = "\n".join(shown)
    if len(used) < len(rows):
        text += "\n\nWhat is in them is lost and cannot be brought back."
    return title, text, len(used) < len(rows)
