"""Notices: what went wrong or has happened, in the corner above the page until it is dismissed."""

from __future__ import annotations

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from desktop.messages import Message
from desktop.theme import icons
from desktop.theme.tokens import SPACE, Tokens
from desktop.widgets.parts import IconButton, label

_MOST = 3
_NEWS_MS = 6000


class Notice(QFrame):
    """One notice."""

    def __init__(self, message: Message, kind: str, tokens: Tokens) -> None:
        """``kind`` is error, warning or info."""
        super().__init__()
        self.setObjectName("notice")
        self.setProperty("kind", kind)
        self.message = message
        layout = QHBoxLayout(self)
        layout.setContentsMargins(12, 10, 8, 10)
        layout.setSpacing(12)
        colour = {"error": tokens.red, "warning": tokens.amber}.get(kind, tokens.accent)
        icon = QLabel()
        icon.setPixmap(icons.pixmap("info" if kind == "info" else "warning", colour, 20))
        layout.addWidget(icon, 0, Qt.AlignmentFlag.AlignTop)
        words = QVBoxLayout()
        words.setSpacing(2)
        title = label(message.title)
        font = title.font()
        font.setWeight(font.Weight.DemiBold)
        title.setFont(font)
        words.addWidget(title)
        for text, name in ((message.reason, ""), (message.way_out, "muted")):
            if text:
                part = label(text, name, wrap=True, selectable=True)
                part.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
                words.addWidget(part)
        layout.addLayout(words, 1)
        copy = IconButton("copy", "Copy the details", lambda: QGuiApplication.clipboard().setText(message.text))
        close = IconButton("close", "Dismiss", self.dismiss)
        for item in (copy, close):
            item.dress(tokens)
            layout.addWidget(item, 0, Qt.AlignmentFlag.AlignTop)

    def dismiss(self) -> None:
        """Go."""
        self.setParent(None)
        self.deleteLater()


class Notices(QWidget):
    """The stack of notices; the oldest goes when there are more than three."""

    def __init__(self) -> None:
        """Begin empty."""
        super().__init__()
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(SPACE)
        self._tokens: Tokens | None = None

    def dress(self, tokens: Tokens) -> None:
        """Remember the colours for later notices."""
        self._tokens = tokens

    def show_message(self, message: Message, kind: str = "error") -> None:
        """Show a notice; news go by themselves after six seconds, errors stay."""
        if self._tokens is None:
            return
        for old in self.findChildren(Notice):
            if old.message == message:
                old.dismiss()
        notice = Notice(message, kind, self._tokens)
        self._layout.addWidget(notice)
        present = self.findChildren(Notice)
        for old in present[: max(0, len(present) - _MOST)]:
            old.dismiss()
        if kind == "info":
            QTimer.singleShot(_NEWS_MS, notice, notice.dismiss)
