"""The command palette: every action and every object by name, by typing a part of it (Ctrl-K)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QEvent, QModelIndex, QObject, QPersistentModelIndex, QRect, QSize, Qt
from PySide6.QtGui import QColor, QFont, QKeyEvent, QPainter
from PySide6.QtWidgets import (
    QDialog,
    QFrame,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QVBoxLayout,
    QWidget,
)

from desktop.state.matching import Command, best
from desktop.theme import icons
from desktop.theme.tokens import SPACE, Tokens

_ROW = 40
_WIDTH, _HEIGHT = 560, 420
_COMMAND_ROLE = int(Qt.ItemDataRole.UserRole)


class _Entry(QStyledItemDelegate):
    """Draws a command: its icon, its title, what it is about at the end."""

    def __init__(self, tokens: Callable[[], Tokens]) -> None:
        super().__init__()
        self._tokens = tokens

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> QSize:
        return QSize(_WIDTH - 40, _ROW)

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        command = index.data(_COMMAND_ROLE)
        tokens = self._tokens()
        area: QRect = option.rect
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if option.state & QStyle.StateFlag.State_Selected:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(tokens.accent_soft))
            painter.drawRoundedRect(area.adjusted(0, 1, 0, -1), 8, 8)
        if command.icon_name:
            painter.drawPixmap(area.left() + 12, area.top() + 11, icons.pixmap(command.icon_name, tokens.muted, 18))
        font = QFont(option.font)
        metrics = painter.fontMetrics()
        about = metrics.elidedText(command.about, Qt.TextElideMode.ElideMiddle, area.width() // 2)
        width = metrics.horizontalAdvance(about)
        painter.setPen(QColor(tokens.faint))
        middle = int(Qt.AlignmentFlag.AlignVCenter)
        painter.drawText(area.adjusted(area.width() - width - 12, 0, -12, 0), middle, about)
        font.setWeight(QFont.Weight.Medium)
        painter.setFont(font)
        painter.setPen(QColor(tokens.text))
        room = area.adjusted(42, 0, -width - 28, 0)
        title = painter.fontMetrics().elidedText(command.title, Qt.TextElideMode.ElideRight, room.width())
        painter.drawText(room, middle, title)
        painter.restore()


class Palette(QDialog):
    """The palette. It closes by itself when something is chosen or the keyboard goes elsewhere."""

    def __init__(self, parent: QWidget, commands: Sequence[Command], tokens: Callable[[], Tokens]) -> None:
        """Offer ``commands``."""
        super().__init__(parent, Qt.WindowType.Popup | Qt.WindowType.FramelessWindowHint)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setObjectName("palette")
        self._commands = list(commands)
        self.field = QLineEdit()
        self.field.setPlaceholderText("What do you want to do?")
        self.field.setAccessibleName("Command")
        self.field.textChanged.connect(lambda _: self._show())
        self.field.installEventFilter(self)
        self.list = QListWidget()
        self.list.setAccessibleName("Commands")
        self.list.setFrameShape(QFrame.Shape.NoFrame)
        self._delegate = _Entry(tokens)
        self.list.setItemDelegate(self._delegate)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.list.itemClicked.connect(lambda _: self.choose())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 12, 12, 12)
        layout.setSpacing(SPACE)
        layout.addWidget(self.field)
        layout.addWidget(self.list, 1)
        self.resize(_WIDTH, _HEIGHT)
        middle = parent.mapToGlobal(parent.rect().center())
        top = parent.mapToGlobal(parent.rect().topLeft()).y() + 72
        self.move(middle.x() - _WIDTH // 2, top)
        self._show()
        self.field.setFocus()

    def _show(self) -> None:
        self.list.clear()
        for command in best(self.field.text(), self._commands):
            item = QListWidgetItem(command.title)
            item.setData(_COMMAND_ROLE, command)
            self.list.addItem(item)
        self.list.setCurrentRow(0)

    def choose(self) -> None:
        """Do what is chosen."""
        item = self.list.currentItem()
        if item is None:
            return
        command: Command = item.data(_COMMAND_ROLE)
        self.accept()
        command.do()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Let the arrows and Return of the field move and choose in the list."""
        if event.type() == QEvent.Type.KeyPress and isinstance(event, QKeyEvent):
            count = self.list.count()
            steps = {Qt.Key.Key_Down: 1, Qt.Key.Key_Up: -1, Qt.Key.Key_PageDown: 8, Qt.Key.Key_PageUp: -8}
            step = steps.get(Qt.Key(event.key()))
            if step is not None and count:
                place = self.list.currentRow() + step
                self.list.setCurrentRow(place % count if abs(step) == 1 else max(0, min(count - 1, place)))
                return True
            if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
                self.choose()
                return True
        return super().eventFilter(watched, event)
