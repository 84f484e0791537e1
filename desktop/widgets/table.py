"""A table of rows: whole rows selected, columns that fit the window, a delegate that draws calm cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QPoint, QRect, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent, QPainter, QPen, QResizeEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

from desktop.theme.tokens import ROW_HEIGHT, Tokens
from desktop.widgets.rows import ROW_ROLE, RowModel

_PADDING = 8


class CellDelegate(QStyledItemDelegate):
    """Draws a cell: a dot before the first column's text, muted text elsewhere, hover and selection behind."""

    def __init__(self, tokens: Callable[[], Tokens], dot: Callable[[Any, Tokens], str] | None = None) -> None:
        """``dot`` returns the colour of a row's dot."""
        super().__init__()
        self._tokens = tokens
        self._dot = dot
        self.strong = {0}
        self.links: set[int] = set()

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        """Draw one cell."""
        tokens = self._tokens()
        painter.save()
        state = option.state
        rect: QRect = option.rect
        selected = bool(state & QStyle.StateFlag.State_Selected)
        hovered = bool(state & QStyle.StateFlag.State_MouseOver)
        if selected or hovered:
            painter.fillRect(rect, QColor(tokens.selected if selected else tokens.hover))
        painter.setPen(QPen(QColor(tokens.line), 1))
        painter.drawLine(rect.bottomLeft(), rect.bottomRight())
        left = rect.left() + _PADDING
        row = index.data(ROW_ROLE)
        if index.column() == 0 and self._dot is not None and row is not None:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(self._dot(row, tokens)))
            painter.drawEllipse(QRectF(left + 1, rect.center().y() - 3.5, 8, 8))
            left += 20
        self._draw_text(painter, rect, left, index, tokens)
        painter.restore()

    def _draw_text(
        self,
        painter: QPainter,
        rect: QRect,
        left: int,
        index: QModelIndex | QPersistentModelIndex,
        tokens: Tokens,
    ) -> None:
        text = str(index.data() or "")
        font = painter.font()
        if index.column() in self.strong:
            font.setWeight(font.Weight.Medium)
            painter.setPen(QColor(tokens.text))
        elif index.column() in self.links and text:
            painter.setPen(QColor(tokens.accent))
        else:
            painter.setPen(QColor(tokens.muted))
        painter.setFont(font)
        model = index.model()
        right = isinstance(model, RowModel) and model.columns[index.column()].right
        area = QRect(left, rect.top(), rect.right() - left - _PADDING, rect.height())
        shown = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, area.width())
        side = Qt.AlignmentFlag.AlignRight if right else Qt.AlignmentFlag.AlignLeft
        painter.drawText(area, int(side | Qt.AlignmentFlag.AlignVCenter), shown)


class RowTable(QTableView):
    """The table. ``opened`` is emitted with a row's ID by Return or a double click, ``deleted`` by Delete."""

    opened = Signal(str)
    deleted = Signal()
    linked = Signal(str)

    def __init__(self, model: RowModel[Any], delegate: CellDelegate, parent: QWidget | None = None) -> None:
        """Show ``model``."""
        super().__init__(parent)
        self._model = model
        self.setModel(model)
        self.setItemDelegate(delegate)
        self._delegate = delegate
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setShowGrid(False)
        self.setMouseTracking(True)
        self.setSortingEnabled(True)
        self.setWordWrap(False)
        self.setAlternatingRowColors(False)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(ROW_HEIGHT)
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header.setSortIndicator(0, Qt.SortOrder.AscendingOrder)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.doubleClicked.connect(lambda index: self._open(index.row()))
        self.clicked.connect(self._clicked)

    def _open(self, place: int) -> None:
        row = self._model.at(place)
        if row is not None:
            self.opened.emit(row.id)

    def _clicked(self, index: QModelIndex) -> None:
        row = self._model.at(index.row())
        if row is not None and index.column() in self._delegate.links and index.data():
            self.linked.emit(row.id)

    def selected_ids(self) -> list[str]:
        """Return the IDs of the selected rows, in the order shown."""
        places = sorted({index.row() for index in self.selectionModel().selectedRows()})
        return [row.id for row in (self._model.at(place) for place in places) if row is not None]

    def select(self, row_id: str) -> None:
        """Select one row."""
        place = self._model.row_of(row_id)
        if place >= 0:
            self.selectRow(place)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Share the width among the columns that stretch."""
        super().resizeEvent(event)
        self.fit()

    def fit(self) -> None:
        """Give each column its width; those without one share the rest, and narrow windows drop the last ones."""
        width = self.viewport().width()
        columns = self._model.columns
        shown = list(range(len(columns)))
        stretching = [column for column in shown if not columns[column].width]
        while len(shown) > 2 and sum(columns[c].width for c in shown) + 130 * len(stretching) > width:
            last = next((c for c in reversed(shown) if columns[c].width), None)
            if last is None:
                break
            shown.remove(last)
        rest = max(0, width - sum(columns[c].width for c in shown))
        for column in range(len(columns)):
            self.setColumnHidden(column, column not in shown)
            share = rest // max(1, len(stretching))
            self.setColumnWidth(column, columns[column].width or share)

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
