"""The line at the bottom that is always true: where the engine stands, since when, and the one button that helps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from PySide6.QtCore import QTimer
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QDialog, QFrame, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from desktop.state.connection import Connection, Stage
from desktop.state.spans import age_text
from desktop.theme import icons
from desktop.theme.tokens import ENGINE_LINE_HEIGHT, SPACE, Tokens
from desktop.widgets.parts import button, fit, label

if TYPE_CHECKING:
    from desktop.enginecontrol import Advice

_TICK_MS = 1000


class EngineLine(QFrame):
    """The line."""

    def __init__(self, help_: Callable[[], None], details: Callable[[], None], tokens: Callable[[], Tokens]) -> None:
        """``help_`` does what the button says; ``details`` shows the exact error."""
        super().__init__()
        self.setObjectName("engineline")
        self._tokens = tokens
        self._connection: Connection | None = None
        self._dot = QLabel()
        self.text = label("")
        self._since = label("")
        self.button = button("", help_)
        self.details = button("Details", details)
        self._endpoint = label("")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(2 * SPACE, 6, 2 * SPACE, 6)
        layout.setSpacing(SPACE)
        for item in (self._dot, self.text, self._since, self.button, self.details):
            layout.addWidget(item)
        layout.addStretch()
        layout.addWidget(self._endpoint)
        self.setFixedHeight(ENGINE_LINE_HEIGHT)
        self._timer = QTimer(self)
        self._timer.setInterval(_TICK_MS)
        self._timer.timeout.connect(self._tick)

    def show_connection(self, connection: Connection) -> None:
        """Tell where the engine stands."""
        self._connection = connection
        self.text.setText(connection.sentence)
        self.button.setText(connection.button)
        self.button.setVisible(bool(connection.button))
        self.details.setVisible(bool(connection.detail) and connection.stage is not Stage.RUNNING)
        self._endpoint.setText(connection.endpoint)
        if connection.stage is Stage.RUNNING:
            self._timer.stop()
        else:
            self._timer.start()
        self._tick()
        self.dress(self._tokens())

    def dress(self, tokens: Tokens) -> None:
        """Colour the dot."""
        if self._connection is None:
            return
        colour = {
            Stage.RUNNING: tokens.green, Stage.STARTING: tokens.amber, Stage.CONNECTING: tokens.amber,
            Stage.LOST: tokens.red, Stage.REFUSED: tokens.red,
        }.get(self._connection.stage, tokens.grey)  # fmt: skip
        self._dot.setPixmap(icons.pixmap("dot", colour, 10))

    def _tick(self) -> None:
        if self._connection is None or self._connection.stage is Stage.RUNNING:
            self._since.setText("")
            return
        since = self._connection.since_s
        seconds = time.time() - since
        clock = time.strftime("%H:%M:%S", time.localtime(since))
        self._since.setText(f"since {clock} ({age_text(seconds)})" if seconds >= 5 else f"since {clock}")


class AdviceDialog(QDialog):
    """Tells what helps, with commands to copy."""

    def __init__(self, parent: QWidget, advice: Advice) -> None:
        """Show ``advice``."""
        super().__init__(parent)
        self.setWindowTitle("Portside")
        self.setModal(True)
        self.setMinimumWidth(480)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(3 * SPACE, 3 * SPACE, 3 * SPACE, 2 * SPACE)
        layout.setSpacing(2 * SPACE)
        layout.addWidget(label(advice.title, "big"))
        layout.addWidget(label(advice.text, "muted", wrap=True, selectable=True))
        row = QHBoxLayout()
        if advice.commands:
            card = QFrame()
            card.setObjectName("card")
            inside = QVBoxLayout(card)
            words = label(advice.commands, "code", selectable=True, wrap=True)
            inside.addWidget(words)
            layout.addWidget(card)
            row.addWidget(button("Copy", lambda: QGuiApplication.clipboard().setText(advice.commands)))
        row.addStretch()
        close = button("Close", self.accept, "primary")
        close.setDefault(True)
        row.addWidget(close)
        layout.addLayout(row)
        fit(self)
