"""Figures of one container over time: CPU, memory, network, disk, processes. Without Qt.

Rates come from the difference of two samples and their own times; a counter that went back (the container was
started anew) begins a new series.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil, log10
from typing import Any

from desktop.state.stats import usage_of

KEPT = 300
"""Samples kept: five minutes at one a second."""


@dataclass
class Series:
    """One figure: (seconds since 1970, value) of the last samples."""

    points: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=KEPT))

    def add(self, moment: float, value: float) -> None:
        """Add a sample."""
        self.points.append((moment, value))

    @property
    def latest(self) -> float | None:
        """The last value."""
        return self.points[-1][1] if self.points else None

    def at(self, moment: float) -> tuple[float, float] | None:
        """Return the sample that is nearest to a moment."""
        return min(self.points, key=lambda point: abs(point[0] - moment)) if self.points else None


class Figures:
    """The figures of one container."""

    def __init__(self) -> None:
        """Begin without a sample."""
        self.cpu_percent = Series()
        self.memory_bytes = Series()
        self.memory_limit_bytes = 0
        self.received = Series()
        self.sent = Series()
        self.read = Series()
        self.written = Series()
        self.processes = Series()
        self._before: tuple[float, dict[str, int]] | None = None

    def take(self, sample: dict[str, Any]) -> bool:
        """Take one object of ContainerStats; return whether it told anything."""
        usage, moment = usage_of(sample), _seconds(str(sample.get("read", "")))
        if usage is None or moment <= 0:
            self._before = None
            return False
        has_before = bool((sample.get("precpu_stats") or {}).get("system_cpu_usage"))
        if has_before:
            self.cpu_percent.add(moment, usage.cpu_percent)
        self.memory_bytes.add(moment, float(usage.memory_bytes))
        limit = int((sample.get("memory_stats") or {}).get("limit") or 0)
        self.memory_limit_bytes = limit if limit < 2**60 else 0
        self.processes.add(moment, float((sample.get("pids_stats") or {}).get("current") or 0))
        self._take_rates(moment, _counters(sample))
        return True

    def _take_rates(self, moment: float, counters: dict[str, int]) -> None:
        before, self._before = self._before, (moment, counters)
        if before is None or moment <= before[0]:
            return
        seconds = moment - before[0]
        for name, series in (
            ("received", self.received), ("sent", self.sent), ("read", self.read), ("written", self.written),
        ):  # fmt: skip
            difference = counters[name] - before[1][name]
            if difference >= 0:
                series.add(moment, difference / seconds)


def _counters(sample: dict[str, Any]) -> dict[str, int]:
    networks = (sample.get("networks") or {}).values()
    found = {
        "received": sum(int(item.get("rx_bytes") or 0) for item in networks),
        "sent": sum(int(item.get("tx_bytes") or 0) for item in (sample.get("networks") or {}).values()),
        "read": 0,
        "written": 0,
    }
    for entry in (sample.get("blkio_stats") or {}).get("io_service_bytes_recursive") or ():
        kind = str(entry.get("op", "")).lower()
        if kind in ("read", "write"):
            found["read" if kind == "read" else "written"] += int(entry.get("value") or 0)
    return found


def _seconds(stamp: str) -> float:
    try:
        return datetime.fromisoformat(stamp).timestamp()
    except ValueError:
        return 0.0


def rounded_up(value: float) -> float:
    """Return the next of 1, 2, 5, 10, 20, 50 … that is not below a value."""
    if value <= 0:
        return 1.0
    step: float = 10.0 ** (ceil(log10(value)) - 1)
    return next(step * factor for factor in (1, 2, 5, 10) if step * factor >= value * (1 - 1e-9))
