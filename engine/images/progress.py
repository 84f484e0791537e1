"""The progress of pulls and pushes as Docker's JSON messages. Knows no registry."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

Progress = Callable[[dict[str, Any]], Awaitable[None]]

_PROGRESS_EVERY_S = 0.1
_QUEUED_MESSAGES = 100


class Reporter:
    """Sends the progress of layers: every change of a layer's status, its bytes at most ten times a second."""

    def __init__(self, progress: Progress) -> None:
        """Send to ``progress``."""
        self._progress = progress
        self._queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._last: dict[str, tuple[str, float]] = {}

    def say(self, name: str, status: str, current: int = 0, total: int = 0) -> None:
        """Note what a layer is doing."""
        now = time.monotonic()
        before = self._last.get(name)
        if before is not None and before[0] == status and now - before[1] < _PROGRESS_EVERY_S:
            return
        self._last[name] = (status, now)
        if total and self._queue.qsize() > _QUEUED_MESSAGES:
            return  # the client reads too slowly: it misses figures, never a change of status
        item: dict[str, Any] = {"status": status, "progressDetail": {}, "id": name}
        if total:
            item["progressDetail"] = {"current": current, "total": total}
            item["progress"] = progress_bar(current, total)
        self._queue.put_nowait(item)

    def finish(self) -> None:
        """End ``run`` when everything is sent."""
        self._queue.put_nowait(None)

    async def run(self) -> None:
        """Send until ``finish``; raises what the client's going away raises."""
        while (item := await self._queue.get()) is not None:
            await self._progress(item)


def progress_bar(current: int, total: int) -> str:
    """Return Docker's bar of 50 characters with the sizes."""
    filled = min(50, 100 * current // total // 2)
    return f"[{'=' * filled}>{' ' * (50 - filled)}] {_size(current):>8}/{_size(total)}"


def _size(value: float) -> str:
    units = ("B", "kB", "MB", "GB", "TB")
    unit = 0
    while value >= 1000 and unit < len(units) - 1:
        value /= 1000
        unit += 1
    return f"{value:.4g}{units[unit]}"


def short_name(digest: str) -> str:
    """Return what a layer is called in the progress."""
    return digest.removeprefix("sha256:")[:12]


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the failure that ended a group of tasks."""
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first
