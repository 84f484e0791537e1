"""A log that is painted, not laid out: a million lines scroll as fast as ten."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QRect, Qt, QTimer
from PySide6.QtGui import (
    QColor,
    QFont,
    QFontMetrics,
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
from desktop.widgets.logbuffer import LogBuffer

_REPAINT_MS = 33
_MARGIN = 12


class LogView(QAbstractScrollArea):
    """Shows a LogBuffer; follows its end until the reader scrolls up."""

    def __init__(self, tokens: Callable[[], Tokens]) -> None:
        """Begin with an empty buffer."""
        super().__init__()
        self.buffer = LogBuffer()
        self._tokens = tokens
        self.follow = True
        self.wrap = False
        self.words = ""
        self.found = -1
        self._selection: tuple[int, int] | None = None
        font = QFont()
        font.setFamilies(["JetBrains Mono", "Cascadia Mono", "DejaVu Sans Mono", "monospace"])
        font.setStyleHint(QFont.StyleHint.Monospace)
        font.setPixelSize(12)
        self._font = font
        metrics = QFontMetrics(font)
        self._line_height = metrics.height() + 3
        self._char_width = max(1, metrics.horizontalAdvance("0"))
        self._ascent = metrics.ascent()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_REPAINT_MS)
        self._timer.timeout.connect(self._refresh)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setFrameShape(QAbstractScrollArea.Shape.NoFrame)
        self.verticalScrollBar().valueChanged.connect(self._scrolled)

    def append(self, data: bytes) -> None:
        """Add what a container wrote; painted within 33 ms, together with what comes meanwhile."""
        self.buffer.append(data)
        if not self._timer.isActive():
            self._timer.start()

    def clear(self) -> None:
        """Forget everything."""
        self.buffer.clear()
        self._selection = None
        self.found = -1
        self._refresh()

    def _columns(self) -> int:
        return max(20, (self.viewport().width() - 2 * _MARGIN) // self._char_width)

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
        across.setRange(0, 0 if self.wrap else 400)
        across.setPageStep(self._columns())
        self.viewport().update()

    def _scrolled(self, value: int) -> None:
        self.follow = value >= self.verticalScrollBar().maximum()
        self.viewport().update()

    def set_follow(self, on: bool) -> None:
        """Go to the end and stay there, or stay here."""
        self.follow = on
        self._refresh()

    def set_wrap(self, on: bool) -> None:
        """Break long lines at the right edge, or cut them off."""
        self.wrap = on
        self._refresh()

    def search(self, words: str, *, backwards: bool = False, anew: bool = False) -> int:
        """Show the next line with ``words``; returns how many matches there are."""
        self.words = words
        start = -1 if anew else self.found
        self.found = self.buffer.find(words, after=start, backwards=backwards)
        if self.found >= 0:
            self.follow = False
            bar = self.verticalScrollBar()
            if not bar.value() <= self.found < bar.value() + self._visible() - 1:
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
        y = 0
        for number in range(first, len(self.buffer)):
            if y > self.viewport().height():
                break
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

    def _paint_line(self, painter: QPainter, tokens: Tokens, number: int, y: int) -> int:
        text = self.buffer.line(number)
        columns = self._columns()
        offset = 0 if self.wrap else self.horizontalScrollBar().value()
        pieces = [text[i : i + columns] for i in range(0, len(text), columns)] or [""]
        pieces = pieces if self.wrap else [text[offset : offset + columns + 1]]
        width = self.viewport().width()
        for piece in pieces:
            if self._selection and self._selection[0] <= number <= self._selection[1]:
                painter.fillRect(QRect(0, y, width, self._line_height), QColor(tokens.selected))
            elif number == self.found:
                painter.fillRect(QRect(0, y, width, self._line_height), QColor(tokens.amber_soft))
            if self.words:
                self._mark(painter, tokens, piece, y)
            painter.setPen(QColor(tokens.text))
            painter.drawText(_MARGIN, y + self._ascent + 1, piece)
            y += self._line_height
        return y

    def _mark(self, painter: QPainter, tokens: Tokens, piece: str, y: int) -> None:
        low, words = piece.lower(), self.words.lower()
        place = low.find(words)
        while place >= 0:
            left = _MARGIN + place * self._char_width
            painter.fillRect(
                QRect(left, y, len(words) * self._char_width, self._line_height), QColor(tokens.accent_soft)
            )
            place = low.find(words, place + 1)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Count the lines that fit anew."""
        super().resizeEvent(event)
        self._refresh()

    def _line_under(self, event: QMouseEvent) -> int:
        place = self.verticalScrollBar().value() + int(event.position().y()) // self._line_height
        return min(max(0, place), max(0, len(self.buffer) - 1))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Begin to select lines."""
        line = self._line_under(event)
        self._selection = (line, line) if len(self.buffer) else None
        self.viewport().update()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Select lines."""
        if self._selection is not None:
            line = self._line_under(event)
            self._selection = (min(self._selection[0], line), max(self._selection[0], line))
            self.viewport().update()

    def selected_text(self) -> str:
        """Return the selected lines, all of them when none are selected."""
        if self._selection is None or self._selection[0] == self._selection[1]:
            return self.buffer.text()
        return self.buffer.text(self._selection[0], self._selection[1] + 1)

    def copy(self) -> None:
        """Copy the selected lines."""
        QGuiApplication.clipboard().setText(self.selected_text())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Copy, and go to either end."""
        if event.matches(QKeySequence.StandardKey.Copy):
            self.copy()
        elif event.key() == Qt.Key.Key_End:
            self.set_follow(True)
        elif event.key() == Qt.Key.Key_Home:
            self.verticalScrollBar().setValue(0)
        else:
            super().keyPressEvent(event)
