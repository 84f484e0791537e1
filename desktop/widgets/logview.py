"""A log that is painted, not laid out: a million lines scroll as fast as ten."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QPointF, QRectF, Qt, QTimer
from PySide6.QtGui import (
    QColor,
    QFontMetricsF,
    QGuiApplication,
    QKeyEvent,
    QKeySequence,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QResizeEvent,
)
from PySide6.QtWidgets import QAbstractScrollArea

from desktop.theme.tokens import Tokens
from desktop.widgets.cells import mono_font
from desktop.widgets.logbuffer import LogBuffer

_REPAINT_MS = 33
_MARGIN = 14
_MARK_WIDTH = 3
_WIDEST = 20_000

Spans = Callable[[str], Sequence[tuple[int, int, str]]]


class LogView(QAbstractScrollArea):
    """Shows a LogBuffer; follows its end until the reader scrolls up.

    ``spans`` returns the coloured parts of a line as (begin, end, token).
    """

    def __init__(self, tokens: Callable[[], Tokens], spans: Spans | None = None) -> None:
        """Begin with an empty buffer."""
        super().__init__()
        self.buffer = LogBuffer()
        self._tokens = tokens
        self._spans = spans
        self.follow = True
        self.wrap = False
        self.words = ""
        self.found = -1
        self.on_follow: Callable[[bool], None] = lambda _: None
        self._selection: tuple[int, int] | None = None
        self._anchor = 0
        self._painted: list[tuple[float, int]] = []
        self._font = mono_font(12)
        metrics = QFontMetricsF(self._font)
        self._line_height = round(metrics.height()) + 4
        self._char_width = max(1.0, metrics.horizontalAdvance("0" * 64) / 64)
        self._baseline = metrics.ascent() + 2
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_REPAINT_MS)
        self._timer.timeout.connect(self._refresh)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setFrameShape(QAbstractScrollArea.Shape.NoFrame)
        self.verticalScrollBar().valueChanged.connect(self._scrolled)

    def append(self, data: bytes, *, marked: bool = False) -> None:
        """Add what a container wrote; painted within 33 ms, together with what comes meanwhile."""
        dropped = self.buffer.dropped
        self.buffer.append(data, marked=marked)
        if self.buffer.dropped != dropped:
            self._move_up(self.buffer.dropped - dropped)
        if not self._timer.isActive():
            self._timer.start()

    def _move_up(self, count: int) -> None:
        """Keep what is being read in its place when the oldest lines went."""
        self.found = max(-1, self.found - count)
        self._selection = None
        if not self.follow:
            bar = self.verticalScrollBar()
            bar.setValue(max(0, bar.value() - count))

    def clear(self) -> None:
        """Forget everything."""
        self.buffer.clear()
        self._selection = None
        self.found = -1
        self._refresh()

    def _columns(self) -> int:
        return max(20, int((self.viewport().width() - 2 * _MARGIN) / self._char_width))

    def _visible(self) -> int:
        return max(1, self.viewport().height() // self._line_height)

    def _refresh(self) -> None:
        bar = self.verticalScrollBar()
        bar.setPageStep(self._visible())
        bar.blockSignals(True)
        bar.setRange(0, max(0, len(self.buffer) - self._visible()))
        if self.follow:
            bar.setValue(bar.maximum())
        bar.blockSignals(False)
        across = self.horizontalScrollBar()
        beyond = max(0, min(self.buffer.longest, _WIDEST) - self._columns() + 1)
        across.setRange(0, 0 if self.wrap else beyond)
        across.setPageStep(self._columns())
        self.viewport().update()

    def _scrolled(self, value: int) -> None:
        self._set_follow(value >= self.verticalScrollBar().maximum())
        self.viewport().update()

    def _set_follow(self, on: bool) -> None:
        if on != self.follow:
            self.follow = on
            self.on_follow(on)

    def set_follow(self, on: bool) -> None:
        """Go to the end and stay there, or stay here."""
        self._set_follow(on)
        self._refresh()

    def set_wrap(self, on: bool) -> None:
        """Break long lines at the right edge, or cut them off."""
        self.wrap = on
        self._refresh()

    def search(self, words: str, *, backwards: bool = False, anew: bool = False) -> tuple[int, bool]:
        """Show the next line with ``words``; returns how many matches there are, and whether there are more."""
        self.words = words
        start = -1 if anew else self.found
        self.found = self.buffer.find(words, after=start, backwards=backwards)
        if self.found >= 0:
            bar = self.verticalScrollBar()
            if not bar.value() <= self.found < bar.value() + self._visible() - 1:
                self._set_follow(False)
                bar.setValue(max(0, self.found - self._visible() // 2))
        self.viewport().update()
        return self.buffer.count(words)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the lines that are seen."""
        tokens = self._tokens()
        painter = QPainter(self.viewport())
        painter.fillRect(event.rect(), QColor(tokens.raised))
        painter.setFont(self._font)
        first = self.verticalScrollBar().value()
        if self.follow and self.wrap:
            first = self._first_when_wrapped()
        self._painted = []
        y = 6.0 if first == 0 else 0.0
        for number in range(first, len(self.buffer)):
            if y > self.viewport().height():
                break
            self._painted.append((y, number))
            y = self._paint_line(painter, tokens, number, y)
        painter.end()

    def _first_when_wrapped(self) -> int:
        """Return the first line so that the last one ends at the bottom."""
        room = self._visible()
        number = len(self.buffer)
        columns = self._columns()
        while number > 0:
            room -= max(1, -(-len(self.buffer.line(number - 1)) // columns))
            if room < 0:
                break
            number -= 1
        return number

    def _paint_line(self, painter: QPainter, tokens: Tokens, number: int, y: float) -> float:
        text = self.buffer.line(number)
        columns = self._columns()
        offset = 0 if self.wrap else self.horizontalScrollBar().value()
        starts = list(range(0, len(text), columns)) or [0] if self.wrap else [offset]
        spans = self._spans(text) if self._spans is not None else ()
        width = self.viewport().width()
        is_marked = self.buffer.is_marked(number)
        for start in starts:
            piece = text[start : start + columns + (0 if self.wrap else 2)]
            if self._selection and self._selection[0] <= number <= self._selection[1]:
                painter.fillRect(QRectF(0, y, width, self._line_height), QColor(tokens.selected))
            elif number == self.found:
                painter.fillRect(QRectF(0, y, width, self._line_height), QColor(tokens.amber_soft))
            if is_marked:
                painter.fillRect(QRectF(0, y, _MARK_WIDTH, self._line_height), QColor(tokens.red))
            if self.words:
                self._mark(painter, tokens, piece, y)
            self._paint_piece(painter, tokens, piece, start, spans, y)
            y += self._line_height
        return y

    def _paint_piece(
        self,
        painter: QPainter,
        tokens: Tokens,
        piece: str,
        start: int,
        spans: Sequence[tuple[int, int, str]],
        y: float,
    ) -> None:
        painter.setPen(QColor(tokens.text))
        if not spans:
            painter.drawText(QPointF(_MARGIN, y + self._baseline), piece)
            return
        place = 0
        for begin, end, token in spans:
            begin, end = max(0, begin - start), min(len(piece), end - start)
            if begin >= end:
                continue
            self._draw_at(painter, piece, place, begin, y, QColor(tokens.muted))
            self._draw_at(painter, piece, begin, end, y, QColor(getattr(tokens, token)))
            place = end
        self._draw_at(painter, piece, place, len(piece), y, QColor(tokens.muted))

    def _draw_at(self, painter: QPainter, piece: str, begin: int, end: int, y: float, colour: QColor) -> None:
        if begin < end:
            painter.setPen(colour)
            painter.drawText(QPointF(_MARGIN + begin * self._char_width, y + self._baseline), piece[begin:end])

    def _mark(self, painter: QPainter, tokens: Tokens, piece: str, y: float) -> None:
        low, words = piece.lower(), self.words.lower()
        place = low.find(words)
        while place >= 0:
            left = _MARGIN + place * self._char_width
            box = QRectF(left - 1, y + 1, len(words) * self._char_width + 2, self._line_height - 2)
            painter.setPen(QColor(tokens.accent))
            painter.setBrush(QColor(tokens.accent_soft))
            painter.drawRoundedRect(box, 3, 3)
            place = low.find(words, place + 1)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Count the lines that fit anew."""
        super().resizeEvent(event)
        self._refresh()

    def _line_under(self, event: QMouseEvent) -> int:
        y = event.position().y()
        return next((number for top, number in reversed(self._painted) if top <= y), 0)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Begin to select lines."""
        self._anchor = self._line_under(event)
        self._selection = (self._anchor, self._anchor) if len(self.buffer) else None
        self.viewport().update()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Select lines."""
        if self._selection is not None:
            line = self._line_under(event)
            self._selection = (min(self._anchor, line), max(self._anchor, line))
            self.viewport().update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """A click without a move selects nothing."""
        if self._selection is not None and self._selection[0] == self._selection[1]:
            self._selection = None
            self.viewport().update()

    def selected_text(self) -> str:
        """Return the selected lines, all of them when none are selected."""
        if self._selection is None:
            return self.buffer.text()
        return self.buffer.text(self._selection[0], self._selection[1] + 1)

    def copy(self) -> None:
        """Copy the selected lines."""
        QGuiApplication.clipboard().setText(self.selected_text())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Copy, select everything, and go to either end."""
        if event.matches(QKeySequence.StandardKey.Copy):
            self.copy()
        elif event.matches(QKeySequence.StandardKey.SelectAll) and len(self.buffer):
            self._selection = (0, len(self.buffer) - 1)
            self.viewport().update()
        elif event.key() == Qt.Key.Key_End:
            self.set_follow(True)
        elif event.key() == Qt.Key.Key_Home:
            self.verticalScrollBar().setValue(0)
        else:
            super().keyPressEvent(event)
