"""How a table's cells are drawn: names with a dot, pills, links, actions; and what is under the mouse in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QPoint, QRect, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QPainter, QPen
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from desktop.theme import icons
from desktop.theme.tokens import MONO_FAMILIES, Tokens
from desktop.widgets.rows import ROW_ROLE, Column, RowModel

PADDING = 8
_DOT = 8
_LINK_GAP = 10
_ACTION = 28
_ICON = 16
_PILL_HEIGHT = 22

Index = QModelIndex | QPersistentModelIndex


class CellDelegate(QStyledItemDelegate):
    """Draws the cells of a RowModel by their columns' looks."""

    def __init__(self, tokens: Callable[[], Tokens]) -> None:
        """``tokens`` returns the present colours."""
        super().__init__()
        self._tokens = tokens
        self.hovered_row = -1
        self.hovered_part = ""
        self.is_hidden: Callable[[int], bool] = lambda _: False

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        """Draw one cell."""
        model = index.model()
        row = index.data(ROW_ROLE)
        if not isinstance(model, RowModel) or row is None:
            return
        tokens = self._tokens()
        column: Column[Any] = model.columns[index.column()]
        rect: QRect = option.rect
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if option.state & QStyle.StateFlag.State_Selected:
            painter.fillRect(rect, QColor(tokens.selected))
        elif index.row() == self.hovered_row:
            painter.fillRect(rect, QColor(tokens.hover))
        painter.fillRect(QRect(rect.left(), rect.bottom(), rect.width(), 1), QColor(tokens.line))
        area = rect.adjusted(PADDING, 0, -PADDING, -1)
        painter.setFont(option.font)
        draw = {
            "name": self._draw_name, "pill": self._draw_pill, "links": self._draw_links, "actions": self._draw_actions,
        }.get(column.look, self._draw_text)  # fmt: skip
        draw(painter, area, column, row, tokens, index)
        painter.restore()

    def _draw_text(
        self, painter: QPainter, area: QRect, column: Column[Any], row: object, tokens: Tokens, _: Index
    ) -> None:
        painter.setPen(QColor(tokens.muted))
        if column.look == "mono":
            painter.setFont(mono_font(painter.font().pixelSize() - 1))
        side = Qt.AlignmentFlag.AlignRight if column.right else Qt.AlignmentFlag.AlignLeft
        # The end of an image's name tells more than its middle.
        mode = Qt.TextElideMode.ElideMiddle if column.look == "path" else Qt.TextElideMode.ElideRight
        _elided(painter, area, column.text(row), side, mode)

    def _draw_name(
        self, painter: QPainter, area: QRect, column: Column[Any], row: object, tokens: Tokens, _: Index
    ) -> None:
        left = area.left()
        if column.tone is not None:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(getattr(tokens, column.tone(row))))
            painter.drawEllipse(QRectF(left + 1, area.center().y() - _DOT / 2 + 0.5, _DOT, _DOT))
            left += 20
        text_area = QRect(left, area.top(), area.right() - left, area.height())
        below = column.below(row) if column.below is not None and self.is_hidden(column.below_when_hidden) else ""
        base = painter.font()
        strong = QFont(base)
        strong.setWeight(QFont.Weight.Medium)
        if below:
            half = text_area.height() // 2
            small = QFont(base)
            small.setPixelSize(base.pixelSize() - 1)
            painter.setFont(small)
            painter.setPen(QColor(tokens.muted))
            under = QRect(text_area.left(), text_area.top() + half, text_area.width(), half - 4)
            _elided(painter, under, below, Qt.AlignmentFlag.AlignLeft, Qt.TextElideMode.ElideMiddle)
            text_area = QRect(text_area.left(), text_area.top() + 4, text_area.width(), half - 2)
        painter.setFont(strong)
        painter.setPen(QColor(tokens.text))
        _elided(painter, text_area, column.text(row), Qt.AlignmentFlag.AlignLeft)

    def _draw_pill(
        self, painter: QPainter, area: QRect, column: Column[Any], row: object, tokens: Tokens, _: Index
    ) -> None:
        text = column.text(row)
        if not text:
            return
        tone = column.tone(row) if column.tone is not None else "grey"
        small = QFont(painter.font())
        small.setPixelSize(small.pixelSize() - 1)
        small.setWeight(QFont.Weight.Medium)
        painter.setFont(small)
        metrics = painter.fontMetrics()
        shown = metrics.elidedText(text, Qt.TextElideMode.ElideRight, area.width() - 20)
        width = metrics.horizontalAdvance(shown) + 20
        pill = QRectF(area.left(), area.center().y() - _PILL_HEIGHT / 2 + 0.5, width, _PILL_HEIGHT)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(getattr(tokens, f"{tone}_soft")))
        painter.drawRoundedRect(pill, _PILL_HEIGHT / 2, _PILL_HEIGHT / 2)
        painter.setPen(QColor(tokens.muted if tone == "grey" else getattr(tokens, tone)))
        painter.drawText(pill, int(Qt.AlignmentFlag.AlignCenter), shown)

    def _draw_links(
        self, painter: QPainter, area: QRect, column: Column[Any], row: object, tokens: Tokens, index: Index
    ) -> None:
        places, rest = self._link_places(painter.fontMetrics(), area, column, row)
        for rect, text, address in places:
            font = QFont(painter.font())
            is_hovered = index.row() == self.hovered_row and bool(address) and self.hovered_part == address
            font.setUnderline(is_hovered)
            painter.save()
            painter.setFont(font)
            painter.setPen(QColor(tokens.accent if address else tokens.muted))
            painter.drawText(rect, int(Qt.AlignmentFlag.AlignVCenter), text)
            painter.restore()
        if rest:
            left = places[-1][0].right() + _LINK_GAP if places else area.left()
            painter.setPen(QColor(tokens.muted))
            painter.drawText(QRect(left, area.top(), 40, area.height()), int(Qt.AlignmentFlag.AlignVCenter), f"+{rest}")

    def _link_places(
        self, metrics: QFontMetrics, area: QRect, column: Column[Any], row: object
    ) -> tuple[list[tuple[QRect, str, str]], int]:
        """Return where each link is, and how many have no room."""
        found: list[tuple[QRect, str, str]] = []
        left = area.left()
        parts = list(column.parts(row)) if column.parts is not None else []
        for place, (text, address) in enumerate(parts):
            width = metrics.horizontalAdvance(text) + 1
            room = 28 if place + 1 < len(parts) else 0
            if found and left + width + room > area.right() + 1:
                return found, len(parts) - place
            shown = metrics.elidedText(text, Qt.TextElideMode.ElideRight, max(20, area.right() - left))
            found.append((QRect(left, area.top(), min(width, area.right() - left + 1), area.height()), shown, address))
            left += width + _LINK_GAP
        return found, 0

    def _draw_actions(
        self, painter: QPainter, area: QRect, column: Column[Any], row: object, tokens: Tokens, index: Index
    ) -> None:
        for rect, name, action in self._action_places(area, column, row):
            hovered = index.row() == self.hovered_row and self.hovered_part == action
            if hovered:
                painter.setPen(QPen(QColor(tokens.line), 1))
                painter.setBrush(QColor(tokens.surface))
                painter.drawRoundedRect(QRectF(rect).adjusted(0.5, 0.5, -0.5, -0.5), 6, 6)
            strong = index.row() == self.hovered_row
            colour = tokens.red if hovered and name == "trash" else tokens.text if hovered else tokens.muted
            drawn = icons.pixmap(name, colour if strong else tokens.faint, _ICON)
            inset = (_ACTION - _ICON) // 2
            painter.drawPixmap(rect.left() + inset, rect.top() + inset, drawn)

    def _action_places(self, area: QRect, column: Column[Any], row: object) -> list[tuple[QRect, str, str]]:
        parts = list(column.parts(row)) if column.parts is not None else []
        left = area.right() + 1 - len(parts) * (_ACTION + 2)
        top = area.center().y() - _ACTION // 2 + 1
        return [
            (QRect(left + place * (_ACTION + 2), top, _ACTION, _ACTION), name, action)
            for place, (name, action) in enumerate(parts)
        ]

    def part_at(self, model: RowModel[Any], index: Index, cell: QRect, point: QPoint, metrics: QFontMetrics) -> str:
        """Return the address or action at a point of a cell, "" where there is none."""
        row = model.at(index.row())
        if row is None:
            return ""
        column = model.columns[index.column()]
        area = cell.adjusted(PADDING, 0, -PADDING, -1)
        if column.look == "links":
            places, _ = self._link_places(metrics, area, column, row)
        elif column.look == "actions":
            places = self._action_places(area, column, row)
        else:
            return ""
        return next((part for rect, _, part in places if rect.contains(point)), "")


def mono_font(pixels: int) -> QFont:
    """Return the font for what is code."""
    font = QFont()
    font.setFamilies([*MONO_FAMILIES, "monospace"])
    font.setStyleHint(QFont.StyleHint.Monospace)
    font.setPixelSize(pixels)
    return font


def _elided(
    painter: QPainter,
    area: QRect,
    text: str,
    side: Qt.AlignmentFlag,
    mode: Qt.TextElideMode = Qt.TextElideMode.ElideRight,
) -> None:
    shown = painter.fontMetrics().elidedText(text, mode, area.width())
    painter.drawText(area, int(side | Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextSingleLine), shown)
