"""The Processes tab: what runs in a container, read again every two seconds while it is in sight."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtWidgets import QStackedLayout, QWidget

from desktop.loop import Scope
from desktop.messages import sentence
from desktop.pages.containers.presenter import Row
from desktop.pages.containers.reading import Logs
from desktop.pages.containers.tabs.base import Tab
from desktop.theme.tokens import Tokens
from desktop.widgets.cells import CellDelegate
from desktop.widgets.parts import EmptyState
from desktop.widgets.rows import Column, RowModel
from desktop.widgets.table import RowTable
from engine.errors import PortsideError

_EVERY_S = 2.0
_COMMAND = ("CMD", "COMMAND", "ARGS")


@dataclass(frozen=True)
class ProcessRow:
    """One process: its ID and its columns by title."""

    id: str
    cells: tuple[str, ...]


class ProcessesTab(Tab):
    """A table of what ``top`` tells."""

    title = "Processes"

    def __init__(self, scope: Scope, logs: Logs, tokens: Callable[[], Tokens]) -> None:
        """``logs`` reads them."""
        super().__init__()
        self._scope = scope
        self._reading = logs
        self._tokens = tokens
        self._end: Callable[[], None] | None = None
        self._titles: list[str] = []
        self.model: RowModel[ProcessRow] = RowModel([])
        self._empty = EmptyState("list")
        self._holder = QWidget()
        self._stack = QStackedLayout(self._holder)
        self._stack.addWidget(self._empty)
        self.table: RowTable | None = None
        self.fill(self._holder)

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
        """Show nothing."""
        self.leave()
        self.container_id = ""
        self.model.set_rows([])

    def changed(self, row: Row, *, new_life: bool) -> None:
        """Read a container that runs again."""
        self.leave()
        self._begin(row.is_running)

    def dress(self, tokens: Tokens) -> None:
        """Colour the empty state."""
        self._empty.dress(tokens)

    def _begin(self, is_running: bool) -> None:
        if is_running and self._end is None:
            self._end = self._scope.run(self._read(self.container_id))
        elif not is_running:
            self._say("It does not run", "Processes are shown while the container runs.")

    def _say(self, title: str, text: str) -> None:
        self._empty.show_text(title, text)
        self._stack.setCurrentWidget(self._empty)

    async def _read(self, container_id: str) -> None:
        try:
            while container_id == self.container_id:
                titles, rows = await self._reading.top(container_id)
                if container_id == self.container_id:
                    self._show(titles, rows)
                await asyncio.sleep(_EVERY_S)
        except PortsideError as error:
            if container_id == self.container_id:
                self._say("No processes to show", sentence(error.message))

    def _show(self, titles: list[str], rows: list[list[str]]) -> None:
        if titles != self._titles or self.table is None:
            self._titles = titles
            if self.table is not None:
                self._stack.removeWidget(self.table)
                self.table.deleteLater()
            self.model = RowModel([_column(title, place) for place, title in enumerate(titles)])
            self.table = RowTable(self.model, CellDelegate(self._tokens))
            self._stack.addWidget(self.table)
        place = titles.index("PID") if "PID" in titles else 0
        self.model.set_rows([ProcessRow(row[place] or str(number), tuple(row)) for number, row in enumerate(rows)])
        self._stack.setCurrentWidget(self.table)


def _column(title: str, place: int) -> Column[ProcessRow]:
    def text(row: ProcessRow) -> str:
        return row.cells[place] if place < len(row.cells) else ""

    def key(row: ProcessRow) -> tuple[bool, int, str]:
        return (not text(row).isdigit(), int(text(row)) if text(row).isdigit() else 0, text(row))

    is_command = title.upper() in _COMMAND
    return Column(title, text, key, 0 if is_command else 92, look="mono" if is_command else "text")
