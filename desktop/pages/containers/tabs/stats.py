"""The Stats tab: what a container uses, over the last five minutes; read only while it is in sight."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtWidgets import QGridLayout, QStackedLayout, QWidget

from desktop.loop import Scope
from desktop.messages import sentence
from desktop.pages.containers.presenter import Row
from desktop.pages.containers.reading import Logs
from desktop.pages.containers.tabs.base import Tab
from desktop.state.figures import Figures
from desktop.state.sizes import memory_text, size_text
from desktop.theme.tokens import SPACE, Tokens
from desktop.widgets.chart import Chart, Line
from desktop.widgets.parts import EmptyState
from engine.errors import PortsideError


class StatsTab(Tab):
    """Five charts. What was seen is kept while other tabs of the same container are in sight."""

    title = "Stats"

    def __init__(self, scope: Scope, logs: Logs, tokens: Callable[[], Tokens]) -> None:
        """``logs`` reads the figures."""
        super().__init__()
        self._scope = scope
        self._reading = logs
        self._end: Callable[[], None] | None = None
        self.figures = Figures()
        self._charts = {
            "cpu": Chart("CPU, of one processor", (), lambda value: f"{value:.1f} %", tokens, least=5.0),
            "memory": Chart("Memory", (), lambda value: memory_text(int(value)), tokens, least=4 * 1024 * 1024),
            "network": Chart("Network", (), _rate_text, tokens, least=1000),
            "disk": Chart("Disk", (), _rate_text, tokens, least=1000),
            "processes": Chart("Processes and threads", (), lambda value: f"{value:.0f}", tokens, least=5),
        }
        self._empty = EmptyState("engine")
        grid_holder = QWidget()
        grid = QGridLayout(grid_holder)
        grid.setContentsMargins(2 * SPACE, 2 * SPACE, 2 * SPACE, 2 * SPACE)
        grid.setSpacing(2 * SPACE)
        for place, chart in enumerate(self._charts.values()):
            grid.addWidget(chart, place // 2, place % 2, 1, 2 if place == 4 else 1)
        holder = QWidget()
        self._stack = QStackedLayout(holder)
        self._stack.addWidget(grid_holder)
        self._stack.addWidget(self._empty)
        self.fill(holder)
        self._show()

    def enter(self, container_id: str, row: Row | None) -> None:
        """Read while in sight."""
        self.container_id = container_id
        self._begin(row is not None and row.is_running)

    def leave(self) -> None:
        """Stop reading."""
        if self._end is not None:
            self._end()
            self._end = None

    def forget(self) -> None:
        """Drop what was seen."""
        self.leave()
        self.container_id = ""
        self.figures = Figures()
        self._show()

    def changed(self, row: Row, *, new_life: bool) -> None:
        """Read a container that runs again."""
        self.leave()
        self._begin(row.is_running)

    def dress(self, tokens: Tokens) -> None:
        """Colour the empty state; charts ask for the colours themselves."""
        self._empty.dress(tokens)

    def _begin(self, is_running: bool) -> None:
        if is_running:
            self._stack.setCurrentIndex(0)
            if self._end is None:
                self._end = self._scope.run(self._read(self.container_id))
        else:
            self._say("It does not run", "Figures are shown while the container runs.", "stop")

    def _say(self, title: str, text: str, icon_name: str) -> None:
        self._empty.show_text(title, text, icon_name=icon_name)
        self._stack.setCurrentIndex(1)

    async def _read(self, container_id: str) -> None:
        try:
            async with self._reading.stats(container_id) as samples:
                async for sample in samples:
                    if container_id != self.container_id:
                        return
                    if self.figures.take(sample):
                        self._show()
        except PortsideError as error:
            if container_id == self.container_id:
                self._say("No figures", sentence(error.message), "warning")

    def _show(self) -> None:
        figures = self.figures
        lines = {
            "cpu": [Line("CPU", "accent", figures.cpu_percent)],
            "memory": [Line("memory", "green", figures.memory_bytes)],
            "network": [Line("in", "accent", figures.received), Line("out", "amber", figures.sent)],
            "disk": [Line("read", "accent", figures.read), Line("written", "amber", figures.written)],
            "processes": [Line("processes", "muted", figures.processes)],
        }
        for key, chart in self._charts.items():
            chart.show_lines(lines[key])
            chart.describe()


def _rate_text(value: float) -> str:
    return f"{size_text(int(value))}/s"
