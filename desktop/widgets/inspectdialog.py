"""An object's own JSON in a window of its own, to be searched and copied."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QFrame, QHBoxLayout, QVBoxLayout, QWidget

from desktop.theme.tokens import SPACE, Tokens
from desktop.widgets.jsontext import pretty, spans
from desktop.widgets.logview import LogView
from desktop.widgets.parts import ActionButton, button, dress_search, label, search_field


class InspectDialog(QDialog):
    """Shows JSON; it does not keep a person from using the window."""

    def __init__(self, parent: QWidget, name: str, data: bytes, tokens: Callable[[], Tokens]) -> None:
        """``data`` is the engine's answer."""
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(f"{name} – Portside")
        self.resize(760, 560)
        self.view = LogView(tokens, spans)
        self.view.follow = False
        self.view.append(pretty(data).encode())
        self.view.verticalScrollBar().setValue(0)
        self.search = search_field("Search", 240)
        self.search.textChanged.connect(lambda words: self.view.search(words, anew=True))
        self.search.returnPressed.connect(lambda: self.view.search(self.search.text()))
        copy = ActionButton("copy", "Copy", self.view.copy)
        head = QHBoxLayout()
        head.addWidget(label(name, "big"))
        head.addStretch()
        head.addWidget(self.search)
        head.addWidget(copy)
        frame = QFrame()
        frame.setObjectName("logs")
        inside = QVBoxLayout(frame)
        inside.setContentsMargins(1, 1, 1, 1)
        inside.addWidget(self.view)
        foot = QHBoxLayout()
        foot.addStretch()
        foot.addWidget(button("Close", self.accept))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2 * SPACE, 2 * SPACE, 2 * SPACE, 2 * SPACE)
        layout.setSpacing(SPACE)
        layout.addLayout(head)
        layout.addWidget(frame, 1)
        layout.addLayout(foot)
        copy.dress(tokens())
        dress_search(self.search, tokens())
