"""Notices: what went wrong or has happened, in the corner above the page until it is dismissed."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QEvent, QObject, Qt, QTimer
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from desktop.messages import Message
from desktop.theme import icons
from desktop.theme.tokens import ENGINE_LINE_HEIGHT, SPACE, Tokens
from desktop.widgets.parts import IconButton, label

_MOST = 3
_WIDTH = 420
_NEWS_MS = 6000


class Notice(QFrame):
    """One notice."""

    def __init__(self, message: Message, kind: str, tokens: Tokens, gone: Callable[[], None]) -> None:
        """``kind`` is error, warning or info; ``gone`` is called when it was dismissed."""
        super().__init__()
        self._kind = kind
        self._gone = gone
        self.is_gone = False
        self.setObjectName("notice")
        self.setProperty("kind", kind)
        self.message = message
        layout = QHBoxLayout(self)
        layout.setContentsMargins(12, 10, 8, 10)
        layout.setSpacing(12)
        self._icon = QLabel()
        layout.addWidget(self._icon, 0, Qt.AlignmentFlag.AlignTop)
        words = QVBoxLayout()
        words.setSpacing(2)
        words.addWidget(label(message.title, "strong", wrap=True))
        for text, name in ((message.reason, ""), (message.way_out, "muted")):
            if text:
                part = label(text, name, wrap=True, selectable=True)
                part.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
                words.addWidget(part)
        layout.addLayout(words, 1)
        self._copy = IconButton("copy", "Copy the details", lambda: QGuiApplication.clipboard().setText(message.text))
        self.close_button = IconButton("close", "Dismiss", self.dismiss)
        for item in (self._copy, self.close_button):
            layout.addWidget(item, 0, Qt.AlignmentFlag.AlignTop)
        self._copy.setVisible(kind != "info")
        self.setAccessibleName(message.text)
        self.dress(tokens)

    def dress(self, tokens: Tokens) -> None:
        """Colour the icons."""
        colour = {"error": tokens.red, "warning": tokens.amber}.get(self._kind, tokens.green)
        self._icon.setPixmap(icons.pixmap("check" if self._kind == "info" else "warning", colour, 20))
        self._copy.dress(tokens)
        self.close_button.dress(tokens)

    def dismiss(self) -> None:
        """Go."""
        self.is_gone = True
        self.hide()
        self.deleteLater()
        self._gone()


class Notices(QWidget):
    """The stack of notices in the lower right corner of its parent; the oldest goes when there are too many."""

    def __init__(self, parent: QWidget) -> None:
        """Begin empty."""
        super().__init__(parent)
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(SPACE)
        self._tokens: Tokens | None = None
        parent.installEventFilter(self)
        self.hide()

    def dress(self, tokens: Tokens) -> None:
        """Remember the colours for later notices, and colour those that are shown."""
        self._tokens = tokens
        for notice in self.present():
            notice.dress(tokens)

    def present(self) -> list[Notice]:
        """Return the notices that are shown, oldest first."""
        items = [self._layout.itemAt(place) for place in range(self._layout.count())]
        found = [item.widget() for item in items if item is not None]
        return [notice for notice in found if isinstance(notice, Notice) and not notice.is_gone]

    def show_message(self, message: Message, kind: str = "error") -> None:
        """Show a notice; news go by themselves after six seconds, errors stay."""
        if self._tokens is None:
            return
        for old in self.present():
            if old.message == message:
                old.dismiss()
        notice = Notice(message, kind, self._tokens, self._place)
        self._layout.addWidget(notice)
        present = self.present()
        for old in present[: max(0, len(present) - _MOST)]:
            old.dismiss()
        if kind == "info":
            QTimer.singleShot(_NEWS_MS, notice, notice.dismiss)
        self._place()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Stay in the corner when the parent changes its size."""
        if event.type() == QEvent.Type.Resize:
            self._place()
        return False

    def _place(self) -> None:
        present = self.present()
        self.setVisible(bool(present))
        parent = self.parentWidget()
        if not present or parent is None:
            return
        width = min(_WIDTH, parent.width() - 4 * SPACE)
        height = sum(notice.heightForWidth(width) for notice in present) + SPACE * (len(present) - 1)
        bottom = parent.height() - ENGINE_LINE_HEIGHT - 2 * SPACE
        self.setGeometry(parent.width() - width - 2 * SPACE, max(SPACE, bottom - height), width, height)
        self.raise_()
