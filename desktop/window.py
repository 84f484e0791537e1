"""The main window: a navigation column, the pages, notices above them, the engine's line below."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QCloseEvent, QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QButtonGroup,
    QFrame,
    QHBoxLayout,
    QLabel,
    QMainWindow,
    QPushButton,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from desktop.theme import icons
from desktop.theme.tokens import NAVIGATION_WIDTH, SPACE, Tokens
from desktop.widgets.engineline import EngineLine
from desktop.widgets.notices import Notices
from desktop.widgets.parts import label


class MainWindow(QMainWindow):
    """The window. Pages are added as they are there; ``closed`` is emitted when a person closes it."""

    closed = Signal()

    def __init__(self, tokens: Callable[[], Tokens], help_: Callable[[], None], details: Callable[[], None]) -> None:
        """Show a window without pages: it is painted before anything else is loaded."""
        super().__init__()
        self._tokens = tokens
        self.setWindowTitle("Portside")
        self.resize(1180, 740)
        self.setMinimumSize(720, 480)
        self.notices = Notices()
        self.engine_line = EngineLine(help_, details, tokens)
        self.pages = QStackedWidget()
        self._navigation = QVBoxLayout()
        self._buttons: list[tuple[QPushButton, str]] = []
        self._group = QButtonGroup(self)
        self._brand = QLabel()
        middle = QWidget()
        inside = QVBoxLayout(middle)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.setSpacing(0)
        holder = QWidget()
        above = QVBoxLayout(holder)
        above.setContentsMargins(3 * SPACE, SPACE, 3 * SPACE, 0)
        above.addWidget(self.notices)
        inside.addWidget(holder)
        inside.addWidget(self.pages, 1)
        inside.addWidget(self.engine_line)
        body = QWidget()
        across = QHBoxLayout(body)
        across.setContentsMargins(0, 0, 0, 0)
        across.setSpacing(0)
        across.addWidget(self._side())
        across.addWidget(middle, 1)
        self.setCentralWidget(body)
        self.dress(tokens())

    def _side(self) -> QFrame:
        side = QFrame()
        side.setObjectName("side")
        side.setFixedWidth(NAVIGATION_WIDTH)
        layout = QVBoxLayout(side)
        layout.setContentsMargins(12, 2 * SPACE, 12, 2 * SPACE)
        layout.setSpacing(4)
        head = QHBoxLayout()
        head.setContentsMargins(8, 4, 8, 12)
        head.setSpacing(10)
        head.addWidget(self._brand)
        name = label("Portside", "brand")
        head.addWidget(name)
        head.addStretch()
        layout.addLayout(head)
        self._navigation.setSpacing(4)
        layout.addLayout(self._navigation)
        layout.addStretch()
        return side

    def add_page(self, title: str, icon_name: str, page: QWidget) -> None:
        """Add a page with its entry in the navigation column."""
        entry = QPushButton(f"  {title}")
        entry.setObjectName("nav")
        entry.setCheckable(True)
        entry.setCursor(Qt.CursorShape.PointingHandCursor)
        place = self.pages.addWidget(page)
        entry.clicked.connect(lambda: self.go_to(place))
        self._group.addButton(entry)
        self._navigation.addWidget(entry)
        self._buttons.append((entry, icon_name))
        shortcut = QShortcut(QKeySequence(f"Ctrl+{place + 1}"), self)
        shortcut.activated.connect(lambda: self.go_to(place))
        if place == 0:
            entry.setChecked(True)
        self.dress(self._tokens())

    def go_to(self, place: int) -> None:
        """Show a page."""
        self.pages.setCurrentIndex(place)
        self._buttons[place][0].setChecked(True)
        self.dress(self._tokens())

    def dress(self, tokens: Tokens) -> None:
        """Colour what the style sheet does not."""
        self._brand.setPixmap(icons.pixmap("portside", tokens.accent, 24))
        for entry, name in self._buttons:
            entry.setIcon(icons.icon(name, tokens.accent if entry.isChecked() else tokens.muted))
        self.notices.dress(tokens)
        self.engine_line.dress(tokens)

    def closeEvent(self, event: QCloseEvent) -> None:
        """Say that the window was closed; the application decides what that means."""
        self.closed.emit()
        event.accept()
