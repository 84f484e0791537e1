"""What containers use: streams for those that are in sight, none for the others. Without Qt.

An engine that serves no stats is asked once; then ``is_served`` stays false until ``reset``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from engine.errors import NotFound, NotSupported, PortsideError

_MOST = 40

Run = Callable[[Coroutine[Any, Any, None]], Callable[[], None]]


@dataclass(frozen=True)
class Usage:
    """CPU in percent of one processor, memory in bytes without what can be given back at once."""

    cpu_percent: float
    memory_bytes: int


class StatsDoor(Protocol):
    """What is asked of an engine."""

    def stats(self, container_id: str) -> AbstractAsyncContextManager[AsyncIterator[dict[str, Any]]]:
        """Open the stream of a container's stats, one object a second."""


def usage_of(sample: dict[str, Any]) -> Usage | None:
    """Return what one object of ContainerStats says; None for one of a container that does not run."""
    cpu, before = sample.get("cpu_stats") or {}, sample.get("precpu_stats") or {}
    memory = sample.get("memory_stats") or {}
    if "usage" not in memory:
        return None
    used = int(memory["usage"])
    details = memory.get("stats") or {}
    # As Docker's command line counts: cache that can be dropped is not "used".
    cache = details.get("total_inactive_file", details.get("inactive_file", 0))
    used -= int(cache) if int(cache) < used else 0
    total = int((cpu.get("cpu_usage") or {}).get("total_usage", 0))
    total -= int((before.get("cpu_usage") or {}).get("total_usage", 0))
    system = int(cpu.get("system_cpu_usage") or 0) - int(before.get("system_cpu_usage") or 0)
    if not before.get("system_cpu_usage") or system <= 0 or total < 0:
        return Usage(0.0, used)
    count = int(cpu.get("online_cpus") or len((cpu.get("cpu_usage") or {}).get("percpu_usage") or ()) or 1)
    return Usage(total / system * count * 100, used)


class StatsFeed:
    """The latest usage of the containers that are watched."""

    def __init__(self, door: StatsDoor, run: Run) -> None:
        """``run`` runs a task and returns what ends it."""
        self._door = door
        self._run = run
        self._ends: dict[str, Callable[[], None]] = {}
        self._marks: dict[str, object] = {}
        self._refused = False
        self.usage: dict[str, Usage] = {}
        self.on_change: Callable[[], None] = lambda: None

    @property
    def is_served(self) -> bool:
        """Whether the engine serves stats, as far as is known."""
        return bool(self.usage) and not self._refused

    @property
    def watched(self) -> set[str]:
        """The containers that are watched."""
        return set(self._ends)

    def watch(self, ids: Iterable[str]) -> None:
        """Watch these containers and no others."""
        wanted = set() if self._refused else set(list(ids)[:_MOST])
        for gone in set(self._ends) - wanted:
            self._marks.pop(gone, None)
            self._ends.pop(gone)()
            self.usage.pop(gone, None)
        for new in wanted - set(self._ends):
            mark = self._marks[new] = object()
            self._ends[new] = self._run(self._follow(new, mark))

    def reset(self) -> None:
        """Forget everything: another engine answers, or the same one anew."""
        self.watch(())
        self.usage.clear()
        self._refused = False

    async def _follow(self, container_id: str, mark: object) -> None:
        try:
            async with self._door.stats(container_id) as samples:
                async for sample in samples:
                    usage = usage_of(sample)
                    if usage is not None and self._marks.get(container_id) is mark:
                        self.usage[container_id] = usage
                        self.on_change()
        except (NotSupported, NotFound) as error:
            # Either this container is gone, or the engine has no such operation at all.
            if isinstance(error, NotSupported) or "page not found" in error.message:
                self._refused = True
        except PortsideError:
            pass  # the picture tells when the engine does not answer
        finally:
            if self._marks.get(container_id) is mark:  # else another stream of this container has begun
                del self._marks[container_id]
                self._ends.pop(container_id, None)
                if self.usage.pop(container_id, None) is not None or self._refused:
                    self.on_change()
