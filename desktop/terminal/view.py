"""Draws a terminal's screen and sends what is typed, pasted and pointed at.

Painting is gathered: what comes within 16 ms is one frame, and only what is in sight is drawn, a run of
equal cells at a time.
"""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QEvent, QPointF, QRectF, Qt, QTimer, Signal
from PySide6.QtGui import (
    QColor,
    QFocusEvent,
    QFont,
    QFontMetricsF,
    QGuiApplication,
    QInputMethodEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QAbstractScrollArea

from desktop.terminal.cells import RGB, Look, Row
from desktop.terminal.keys import key_bytes, mouse_bytes, paste_bytes
from desktop.terminal.parser import Parser
from desktop.terminal.screen import Screen
from desktop.theme.tokens import Tokens
from desktop.widgets.cells import mono_font

_FRAME_MS = 16
_MARGIN = 8
_PALETTE = (
    "#2e3440", "#d0433f", "#2f9e57", "#b5831a", "#3a78d8", "#a552c2", "#2a9aa8", "#c9ced6",
    "#7b8494", "#ee6b66", "#56c47c", "#e0b04a", "#6ba3f5", "#c983e0", "#5cc7d4", "#f2f4f7",
)  # fmt: skip
_LEVELS = (0, 95, 135, 175, 215, 255)
_WARN_LINES = 2

Place = tuple[int, int]
"""A line counted from the first that there ever was, and a column."""


class TerminalView(QAbstractScrollArea):
    """A terminal. ``typed`` is emitted with the bytes for the program, ``resized`` with rows and columns.

    ``pasting`` is emitted with a text of several lines before it is sent: who listens calls ``paste``.
    """

    typed = Signal(bytes)
    resized = Signal(int, int)
    pasting = Signal(str)

    def __init__(self, tokens: Callable[[], Tokens]) -> None:
        """Begin blank."""
        super().__init__()
        self.vt = Screen()
        self._parser = Parser(self.vt)
        self._tokens = tokens
        self._font = mono_font(13)
        metrics = QFontMetricsF(self._font)
        self._width = metrics.horizontalAdvance("M" * 100) / 100
        self._height = float(round(metrics.height() + 1))
        self._ascent = metrics.ascent() + 0.5
        self._selection: tuple[Place, Place] | None = None
        self._is_selecting = False
        self._pressed_button = 3
        self._frame = QTimer(self)
        self._frame.setSingleShot(True)
        self._frame.setInterval(_FRAME_MS)
        self._frame.timeout.connect(self._show)
        self.setFrameShape(QAbstractScrollArea.Shape.NoFrame)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_InputMethodEnabled)
        self.viewport().setCursor(Qt.CursorShape.IBeamCursor)
        self.viewport().setMouseTracking(True)
        self.setAccessibleName("Terminal")

    # The program's side

    def feed(self, data: bytes) -> None:
        """Take what the program wrote."""
        self._parser.feed(data)
        for reply in self.vt.replies:
            self.typed.emit(reply)
        self.vt.replies.clear()
        if not self._frame.isActive():
            self._frame.start()

    def say(self, text: str) -> None:
        """Write a line of ours, apart from the program's."""
        self.feed(f"\x1b[0m\r\n\x1b[2m{text}\x1b[0m\r\n".encode())

    def clear(self) -> None:
        """Begin anew."""
        rows, columns = self.vt.rows, self.vt.columns
        self.vt = Screen(rows, columns)
        self._parser = Parser(self.vt)
        self._selection = None
        self._show()

    def _show(self) -> None:
        bar = self.verticalScrollBar()
        was_at_end = bar.value() >= bar.maximum()
        bar.setRange(0, len(self.vt.history) if not self.vt.is_alternate else 0)
        bar.setPageStep(self.vt.rows)
        if was_at_end:
            bar.setValue(bar.maximum())
        self.viewport().update()

    def _first(self) -> int:
        """Return the row in sight at the top, counted from the history's first."""
        history = len(self.vt.history)
        return history if self.vt.is_alternate else min(self.verticalScrollBar().value(), history)

    def _row(self, number: int) -> Row | None:
        history = self.vt.history
        if number < len(history):
            return history[number]
        number -= len(history)
        return self.vt.lines[number] if number < len(self.vt.lines) else None

    # Drawing

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the rows in sight."""
        tokens = self._tokens()
        painter = QPainter(self.viewport())
        ground = QColor(tokens.text if self.vt.is_reversed else tokens.raised)
        painter.fillRect(self.viewport().rect(), ground)
        first = self._first()
        for number in range(self.vt.rows):
            row = self._row(first + number)
            if row is not None:
                self._draw_row(painter, row, _MARGIN + number * self._height, first + number, tokens)
        cursor = self.vt.cursor
        if self.vt.is_cursor_shown and first == len(self.vt.history):
            self._draw_cursor(painter, cursor.row, cursor.column, tokens)
        painter.end()

    def _draw_row(self, painter: QPainter, row: Row, top: float, number: int, tokens: Tokens) -> None:
        chosen = self._chosen_columns(number, len(row.chars))
        begin, count = 0, len(row.chars)
        while begin < count:
            look = row.looks[begin]
            is_chosen = chosen[0] <= begin < chosen[1]
            end = begin + 1
            while end < count and row.looks[end] is look and (chosen[0] <= end < chosen[1]) == is_chosen:
                end += 1
            if end < count and row.looks[end] == look and (chosen[0] <= end < chosen[1]) == is_chosen:
                row.looks[end] = look  # equal looks become one object, so that the next frame joins them
                continue
            self._draw_run(painter, row, begin, end, top, tokens, is_chosen=is_chosen)
            begin = end

    def _draw_run(
        self,
        painter: QPainter,
        row: Row,
        begin: int,
        end: int,
        top: float,
        tokens: Tokens,
        *,
        is_chosen: bool,
    ) -> None:
        text, look = "".join(row.chars[begin:end]), row.looks[begin]
        foreground, background = self._colours(look, tokens)
        if is_chosen:
            background = QColor(tokens.selected)
        area = QRectF(_MARGIN + begin * self._width, top, (end - begin) * self._width, self._height)
        if background is not None:
            painter.fillRect(area, background)
        if (look.hidden or not text.strip()) and not (look.underline or look.struck):
            return
        font = self._font
        if look.bold or look.italic or look.underline or look.struck:
            font = QFont(self._font)
            font.setBold(look.bold)
            font.setItalic(look.italic)
            font.setUnderline(look.underline)
            font.setStrikeOut(look.struck)
        painter.setFont(font)
        painter.setPen(foreground)
        if text.isascii():
            painter.drawText(QPointF(area.left(), top + self._ascent), text)
            return
        for place in range(begin, end):  # each at its own column: other scripts have other widths
            if row.chars[place].strip():
                painter.drawText(QPointF(_MARGIN + place * self._width, top + self._ascent), row.chars[place])

    def _colours(self, look: Look, tokens: Tokens) -> tuple[QColor, QColor | None]:
        number = look.foreground
        if number is not None and number < 8 and look.bold:
            number += 8
        foreground = QColor(tokens.text) if number is None else _colour(number)
        background = None if look.background is None else _colour(look.background)
        if look.inverse:
            foreground, background = background or QColor(tokens.raised), foreground
        if look.faint:
            foreground.setAlphaF(0.6)
        return foreground, background

    def _draw_cursor(self, painter: QPainter, row: int, column: int, tokens: Tokens) -> None:
        area = QRectF(_MARGIN + column * self._width, _MARGIN + row * self._height, self._width, self._height)
        colour = QColor(tokens.accent)
        if not self.hasFocus():
            painter.setPen(colour)
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(area.adjusted(0.5, 0.5, -0.5, -0.5))
            return
        if self.vt.cursor_style in (3, 4):
            painter.fillRect(area.adjusted(0, self._height - 2, 0, 0), colour)
        elif self.vt.cursor_style in (5, 6):
            painter.fillRect(area.adjusted(0, 0, 2 - self._width, 0), colour)
        else:
            painter.fillRect(area, colour)
            painter.setFont(self._font)
            painter.setPen(QColor(tokens.on_accent))
            painter.drawText(QPointF(area.left(), area.top() + self._ascent), self.vt.lines[row].chars[column])

    # Size

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Give the program's terminal the size of ours."""
        super().resizeEvent(event)
        columns = int((self.viewport().width() - 2 * _MARGIN) / self._width)
        rows = int((self.viewport().height() - 2 * _MARGIN) / self._height)
        if rows > 0 and columns > 1 and (rows, columns) != (self.vt.rows, self.vt.columns):
            self.vt.resize(rows, columns)
            self.resized.emit(rows, columns)
            self._show()

    def scrollContentsBy(self, across: int, down: int) -> None:
        """Draw another part."""
        self.viewport().update()

    # Keyboard

    def event(self, event: QEvent) -> bool:
        """Take keys that the window would use otherwise: Tab, Escape, Ctrl with a letter."""
        if event.type() == QEvent.Type.ShortcutOverride:
            event.accept()
            return True
        if event.type() == QEvent.Type.KeyPress and isinstance(event, QKeyEvent):
            self.keyPressEvent(event)
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Send a key, or copy and paste with Ctrl-Shift-C and V."""
        keys = event.modifiers()
        shift, ctrl = bool(keys & Qt.KeyboardModifier.ShiftModifier), bool(keys & Qt.KeyboardModifier.ControlModifier)
        alt = bool(keys & Qt.KeyboardModifier.AltModifier)
        if ctrl and shift and event.key() == Qt.Key.Key_C:
            self.copy()
            return
        if (ctrl and shift and event.key() == Qt.Key.Key_V) or (shift and event.key() == Qt.Key.Key_Insert):
            self.ask_to_paste()
            return
        if shift and event.key() in (Qt.Key.Key_PageUp, Qt.Key.Key_PageDown):
            bar = self.verticalScrollBar()
            bar.setValue(bar.value() + (-1 if event.key() == Qt.Key.Key_PageUp else 1) * bar.pageStep())
            return
        name = Qt.Key(event.key()).name.removeprefix("Key_") if event.key() else ""
        sent = key_bytes(self.vt, name, event.text(), shift=shift, ctrl=ctrl, alt=alt)
        if sent:
            self._selection = None
            self.verticalScrollBar().setValue(self.verticalScrollBar().maximum())
            self.typed.emit(sent)

    def inputMethodEvent(self, event: QInputMethodEvent) -> None:
        """Send what an input method has made."""
        if event.commitString():
            self.typed.emit(event.commitString().encode())
        event.accept()

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Tell a program that wants to know."""
        super().focusInEvent(event)
        if self.vt.tells_focus:
            self.typed.emit(b"\x1b[I")
        self.viewport().update()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """Tell a program that wants to know."""
        super().focusOutEvent(event)
        if self.vt.tells_focus:
            self.typed.emit(b"\x1b[O")
        self.viewport().update()

    # Copy and paste

    def ask_to_paste(self) -> None:
        """Paste the clipboard; several lines are asked about, since each may be run at once."""
        text = QGuiApplication.clipboard().text()
        if text.strip("\r\n").count("\n") + 1 >= _WARN_LINES and not self.vt.has_bracketed_paste:
            self.pasting.emit(text)
        elif text:
            self.paste(text)

    def paste(self, text: str) -> None:
        """Send text as if it was typed."""
        self.typed.emit(paste_bytes(self.vt, text))

    def copy(self) -> None:
        """Copy what is selected."""
        text = self.selected_text()
        if text:
            QGuiApplication.clipboard().setText(text)

    def selected_text(self) -> str:
        """Return what is selected; rows that were wrapped are one line."""
        if self._selection is None:
            return ""
        (first, begin), (last, end) = sorted(self._selection)
        found: list[str] = []
        for number in range(first, last + 1):
            row = self._row(number - self.vt.dropped)
            if row is None:
                continue
            left, right = (begin if number == first else 0), (end + 1 if number == last else len(row.chars))
            part = "".join(row.chars[left:right])
            found.append(part if row.wraps and number < last else part.rstrip() + "\n")
        return "".join(found).removesuffix("\n")

    def _chosen_columns(self, number: int, columns: int) -> tuple[int, int]:
        if self._selection is None:
            return 0, 0
        (first, begin), (last, end) = sorted(self._selection)
        number += self.vt.dropped
        if not first <= number <= last:
            return 0, 0
        return (begin if number == first else 0), (end + 1 if number == last else columns)

    # Mouse

    def _cell(self, point: QPointF) -> tuple[int, int]:
        column = int((point.x() - _MARGIN) / self._width)
        row = int((point.y() - _MARGIN) / self._height)
        return max(0, min(self.vt.rows - 1, row)), max(0, min(self.vt.columns - 1, column))

    def _is_programs(self, event: QMouseEvent | QWheelEvent) -> bool:
        """Whether the program takes the mouse; with Shift it is always ours."""
        return bool(self.vt.mouse_mode) and not event.modifiers() & Qt.KeyboardModifier.ShiftModifier

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Begin to select, or tell the program."""
        row, column = self._cell(event.position())
        buttons = {Qt.MouseButton.LeftButton: 0, Qt.MouseButton.MiddleButton: 1, Qt.MouseButton.RightButton: 2}
        if self._is_programs(event):
            self._pressed_button = buttons.get(event.button(), 3)
            self.typed.emit(mouse_bytes(self.vt, self._pressed_button, row, column))
        elif event.button() == Qt.MouseButton.LeftButton:
            place = (row + self._first() + self.vt.dropped, column)
            self._selection, self._is_selecting = (place, place), True
            self.viewport().update()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Select on, or tell the program."""
        row, column = self._cell(event.position())
        if self._is_selecting and self._selection is not None:
            self._selection = (self._selection[0], (row + self._first() + self.vt.dropped, column))
            self.viewport().update()
        elif self._is_programs(event):
            sent = mouse_bytes(self.vt, self._pressed_button, row, column, moved=True)
            if sent:
                self.typed.emit(sent)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """End selecting; a click alone selects nothing."""
        row, column = self._cell(event.position())
        if self._is_selecting:
            self._is_selecting = False
            if self._selection is not None and self._selection[0] == self._selection[1]:
                self._selection = None
            self.viewport().update()
        elif self._is_programs(event):
            self.typed.emit(mouse_bytes(self.vt, self._pressed_button, row, column, released=True))
            self._pressed_button = 3

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Select a word."""
        if self._is_programs(event):
            self.mousePressEvent(event)
            return
        row, column = self._cell(event.position())
        number = row + self._first()
        line = self._row(number)
        if line is None or not line.chars[column].strip():
            return
        begin = end = column
        while begin > 0 and _is_of_word(line.chars[begin - 1]):
            begin -= 1
        while end + 1 < len(line.chars) and _is_of_word(line.chars[end + 1]):
            end += 1
        number += self.vt.dropped
        self._selection = ((number, begin), (number, end))
        self.viewport().update()

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Scroll; a full-screen program gets arrows, one that takes the mouse its wheel."""
        steps = round(event.angleDelta().y() / 40)
        if not steps:
            return
        if self._is_programs(event):
            row, column = self._cell(event.position())
            self.typed.emit(mouse_bytes(self.vt, 64 if steps > 0 else 65, row, column))
        elif self.vt.is_alternate:
            key = key_bytes(self.vt, "Up" if steps > 0 else "Down", "", shift=False, ctrl=False, alt=False)
            self.typed.emit(key * abs(steps))
        else:
            bar = self.verticalScrollBar()
            bar.setValue(bar.value() - steps)


def _is_of_word(character: str) -> bool:
    return character.isalnum() or character in "_-./~:@%+" or character == ""


def _colour(number: int) -> QColor:
    """Return a colour of 24 bits or of the palette's 256."""
    if number & RGB:
        return QColor(number >> 16 & 255, number >> 8 & 255, number & 255)
    if number < 16:
        return QColor(_PALETTE[number])
    if number < 232:
        number -= 16
        return QColor(_LEVELS[number // 36], _LEVELS[number // 6 % 6], _LEVELS[number % 6])
    grey = 8 + (number - 232) * 10
    return QColor(grey, grey, grey)
