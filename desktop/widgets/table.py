"""A table of rows: whole rows selected, columns that fit the window, links and actions in its cells."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QEvent, QModelIndex, QPoint, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from desktop.theme.tokens import ROW_HEIGHT
from desktop.widgets.cells import CellDelegate
from desktop.widgets.rows import RowModel

_LEAST_STRETCH = 150


class RowTable(QTableView):
    """The table. ``opened`` is emitted with a row's ID by Return or a double click, ``deleted`` by Delete,
    ``acted`` with a row's ID and the address or action that was clicked in its cells.
    """

    opened = Signal(str)
    deleted = Signal()
    acted = Signal(str, str)

    def __init__(self, model: RowModel[Any], delegate: CellDelegate, parent: QWidget | None = None) -> None:
        """Show ``model``."""
        super().__init__(parent)
        self._model = model
        self._unserved: set[int] = set()
        self._hovered: tuple[int, str] = (-1, "")
        self.setModel(model)
        self.setItemDelegate(delegate)
        self._delegate = delegate
        delegate.is_hidden = self.isColumnHidden
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setShowGrid(False)
        self.setMouseTracking(True)
        self.setWordWrap(False)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(ROW_HEIGHT)
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header.setSortIndicator(0, Qt.SortOrder.AscendingOrder)
        header.setMinimumSectionSize(40)
        self.setSortingEnabled(True)
        self.setTabKeyNavigation(False)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.doubleClicked.connect(self._double_clicked)

    def _double_clicked(self, index: QModelIndex) -> None:
        if self._model.columns[index.column()].look != "actions":
            self._open(index.row())

    def _open(self, place: int) -> None:
        row = self._model.at(place)
        if row is not None:
            self.opened.emit(row.id)

    def _part_at(self, point: QPoint) -> tuple[int, str]:
        index = self.indexAt(point)
        if not index.isValid():
            return -1, ""
        part = self._delegate.part_at(self._model, index, self.visualRect(index), point, self.fontMetrics())
        return index.row(), part

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """A click on a link or an action does not select its row."""
        if event.button() == Qt.MouseButton.LeftButton and self._part_at(event.position().toPoint())[1]:
            return
        super().mousePressEvent(event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Follow a link, do an action."""
        place, part = self._part_at(event.position().toPoint())
        row = self._model.at(place)
        if part and row is not None and event.button() == Qt.MouseButton.LeftButton:
            self.acted.emit(row.id, part)
            return
        super().mouseReleaseEvent(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Show what is under the mouse."""
        super().mouseMoveEvent(event)
        self._hover(*self._part_at(event.position().toPoint()))

    def leaveEvent(self, event: QEvent) -> None:
        """Nothing is under the mouse any more."""
        super().leaveEvent(event)
        self._hover(-1, "")

    def _hover(self, place: int, part: str) -> None:
        if (place, part) == self._hovered:
            return
        self._hovered = (place, part)
        self._delegate.hovered_row, self._delegate.hovered_part = place, part
        self.viewport().setCursor(Qt.CursorShape.PointingHandCursor if part else Qt.CursorShape.ArrowCursor)
        self.viewport().update()

    def selected_ids(self) -> list[str]:
        """Return the IDs of the selected rows, in the order shown."""
        places = sorted({index.row() for index in self.selectionModel().selectedRows()})
        return [row.id for row in (self._model.at(place) for place in places) if row is not None]

    def select(self, row_id: str) -> None:
        """Select one row."""
        place = self._model.row_of(row_id)
        if place >= 0:
            self.selectRow(place)

    def visible_ids(self) -> list[str]:
        """Return the IDs of the rows that are in sight."""
        if not self._model.rowCount() or not self.isVisible():
            return []
        first = max(0, self.rowAt(0))
        last = self.rowAt(self.viewport().height() - 1)
        last = self._model.rowCount() - 1 if last < 0 else last
        return [row.id for row in (self._model.at(place) for place in range(first, last + 1)) if row is not None]

    def set_served(self, column: int, served: bool) -> None:
        """Hide a column as long as the engine does not serve what it shows."""
        before = set(self._unserved)
        (self._unserved.discard if served else self._unserved.add)(column)
        if before != self._unserved:
            self.fit()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Share the width among the columns that stretch."""
        super().resizeEvent(event)
        self.fit()

    def fit(self) -> None:
        """Give each column its width; those without one share the rest, and narrow windows drop some."""
        width = self.viewport().width()
        columns = self._model.columns
        shown = [place for place in range(len(columns)) if place not in self._unserved]
        by_drop = sorted((place for place in shown if columns[place].drop), key=lambda place: -columns[place].drop)
        while by_drop and sum(columns[place].width or _LEAST_STRETCH for place in shown) > width:
            shown.remove(by_drop.pop(0))
        stretching = [place for place in shown if not columns[place].width]
        rest = max(0, width - sum(columns[place].width for place in shown))
        shares = sum(columns[place].share for place in stretching)
        for place in range(len(columns)):
            self.setColumnHidden(place, place not in shown)
            if place in shown:
                self.setColumnWidth(place, columns[place].width or rest * columns[place].share // max(1, shares))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Return opens, Delete deletes."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.currentIndex().isValid():
            self._open(self.currentIndex().row())
            return
        if event.key() == Qt.Key.Key_Delete:
            self.deleted.emit()
            return
        super().keyPressEvent(event)

    def menu_place(self, point: QPoint) -> QPoint:
        """Return where a menu opens."""
        return self.viewport().mapToGlobal(point)
