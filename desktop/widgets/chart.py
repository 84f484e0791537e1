"""A chart of figures over time, drawn by QPainter: filled lines, a grid, the values under the mouse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from desktop.state.figures import KEPT, Series, rounded_up
from desktop.theme.tokens import Tokens

_TOP, _BOTTOM, _SIDE = 40, 12, 14
_SHORTEST_S = 60.0


@dataclass(frozen=True)
class Line:
    """One line of a chart: its name, its colour's name in the tokens, its figures."""

    name: str
    tone: str
    series: Series


class Chart(QWidget):
    """Draws lines that share an axis. A 1 px pen: a wide antialiased path takes ten times as long."""

    def __init__(
        self,
        title: str,
        lines: Sequence[Line],
        told: Callable[[float], str],
        tokens: Callable[[], Tokens],
        least: float = 1.0,
    ) -> None:
        """``told`` writes a value for people, ``least`` is the lowest upper end of the axis."""
        super().__init__()
        self._title = title
        self._lines = list(lines)
        self._told = told
        self._tokens = tokens
        self._least = least
        self._pointed: float | None = None
        self.setMouseTracking(True)
        self.setMinimumSize(220, 132)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def show_lines(self, lines: Sequence[Line]) -> None:
        """Show other figures."""
        self._lines = list(lines)
        self.update()

    def describe(self) -> None:
        """Tell screen readers the present values."""
        values = "; ".join(f"{line.name} {self._value_text(line)}" for line in self._lines)
        self.setAccessibleName(f"{self._title}: {values}")

    def _value_text(self, line: Line) -> str:
        point = line.series.points[-1] if line.series.points else None
        if self._pointed is not None:
            point = line.series.at(self._pointed)
        return self._told(point[1]) if point is not None else "–"

    def _span(self) -> tuple[float, float]:
        """Return the moments at the left and right side."""
        last = max((line.series.points[-1][0] for line in self._lines if line.series.points), default=0.0)
        first = min((line.series.points[0][0] for line in self._lines if line.series.points), default=last)
        return max(last - KEPT, min(first, last - _SHORTEST_S)), last

    def _plot(self) -> QRectF:
        return QRectF(self.rect()).adjusted(_SIDE, _TOP, -_SIDE, -_BOTTOM)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw it."""
        tokens = self._tokens()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(tokens.line), 1))
        painter.setBrush(QColor(tokens.surface))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 8, 8)
        plot = self._plot()
        first, last = self._span()
        highest = max((value for line in self._lines for _, value in line.series.points), default=0.0)
        top = rounded_up(max(highest, self._least))
        self._draw_words(painter, plot, top, tokens)
        for line in self._lines:
            self._draw_line(painter, plot, line, (first, last), top, tokens)
        if self._pointed is not None:
            x = plot.left() + (self._pointed - first) / max(1.0, last - first) * plot.width()
            painter.setPen(QPen(QColor(tokens.muted), 1, Qt.PenStyle.DotLine))
            painter.drawLine(QPointF(x, plot.top()), QPointF(x, plot.bottom()))
        painter.end()

    def _draw_words(self, painter: QPainter, plot: QRectF, top: float, tokens: Tokens) -> None:
        font = QFont(self.font())
        font.setPixelSize(12)
        font.setWeight(QFont.Weight.Medium)
        painter.setFont(font)
        painter.setPen(QColor(tokens.muted))
        head = QRectF(plot.left(), 10, plot.width(), 18)
        painter.drawText(head, int(Qt.AlignmentFlag.AlignLeft), self._title)
        right = head.right()
        for line in reversed(self._lines):
            text = self._value_text(line) if len(self._lines) == 1 else f"{line.name} {self._value_text(line)}"
            width = painter.fontMetrics().horizontalAdvance(text)
            painter.setPen(QColor(getattr(tokens, line.tone)))
            painter.drawText(QRectF(right - width, 10, width + 1, 18), int(Qt.AlignmentFlag.AlignLeft), text)
            right -= width + 14
        font.setWeight(QFont.Weight.Normal)
        font.setPixelSize(11)
        painter.setFont(font)
        painter.setPen(QPen(QColor(tokens.line), 1))
        painter.drawLine(plot.topLeft(), plot.topRight())
        painter.drawLine(plot.bottomLeft(), plot.bottomRight())
        painter.setPen(QColor(tokens.faint))
        painter.drawText(QRectF(plot.left(), plot.top() + 1, plot.width(), 16), 0, self._told(top))

    def _draw_line(
        self, painter: QPainter, plot: QRectF, line: Line, span: tuple[float, float], top: float, tokens: Tokens
    ) -> None:
        if len(line.series.points) < 2:
            return
        first, last = span
        across = plot.width() / max(1.0, last - first)
        down = plot.height() / top
        places = [
            QPointF(plot.left() + (moment - first) * across, plot.bottom() - value * down)
            for moment, value in line.series.points
            if moment >= first
        ]
        colour = QColor(getattr(tokens, line.tone))
        ground = QColor(colour)
        ground.setAlphaF(0.10)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(ground)
        area = [QPointF(places[0].x(), plot.bottom()), *places, QPointF(places[-1].x(), plot.bottom())]
        painter.drawPolygon(QPolygonF(area))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(colour, 1))
        painter.drawPolyline(QPolygonF(places))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Show the values of the moment under the mouse."""
        plot = self._plot()
        first, last = self._span()
        if plot.width() > 0 and last > first:
            share = min(1.0, max(0.0, (event.position().x() - plot.left()) / plot.width()))
            self._pointed = first + share * (last - first)
            self.update()

    def leaveEvent(self, event: QEvent) -> None:
        """Show the present values again."""
        self._pointed = None
        self.update()
