"""The main window: a navigation column, the pages, tasks and the engine's line below, notices above them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QCloseEvent, QKeySequence, QPaintEvent, QResizeEvent, QShortcut
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
from desktop.widgets.tasks import TasksArea

_NARROW = 900
_NARROW_NAVIGATION = 64


class NavigationEntry(QPushButton):
    """One page's entry: icon, title, and a quiet number at its end."""

    def __init__(self, title: str, icon_name: str) -> None:
        """``icon_name`` is an icon's."""
        super().__init__(f"  {title}")
        self.setObjectName("nav")
        self.setCheckable(True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setToolTip(title)
        self.setAccessibleName(title)
        self._title = title
        self._icon_name = icon_name
        self._badge = label("", "badge")
        self._badge.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 12, 0)
        layout.addStretch()
        layout.addWidget(self._badge)

    def count(self, text: str) -> None:
        """Write a number at the end."""
        self._badge.setText(text)

    def shorten(self, on: bool) -> None:
        """Show the icon alone where the window is narrow."""
        self.setText("" if on else f"  {self._title}")
        self._badge.setVisible(not on)

    def dress(self, tokens: Tokens) -> None:
        """Colour the icon."""
        self.setIcon(icons.icon(self._icon_name, tokens.accent if self.isChecked() else tokens.muted))


class MainWindow(QMainWindow):
    """The window. Pages are added as they are there.

    ``closed`` is emitted when a person closes it, ``painted`` once its first frame was drawn.
    """

    closed = Signal()
    painted = Signal()

    def __init__(self, tokens: Callable[[], Tokens], help_: Callable[[], None], details: Callable[[], None]) -> None:
        """Show a window without pages: it is painted before anything else is loaded."""
        super().__init__()
        self._tokens = tokens
        self._was_painted = False
        self.setWindowTitle("Portside")
        self.resize(1180, 740)
        self.setMinimumSize(720, 480)
        self.engine_line = EngineLine(help_, details, tokens)
        self.tasks = TasksArea(tokens)
        self.pages = QStackedWidget()
        self._navigation = QVBoxLayout()
        self.entries: list[NavigationEntry] = []
        self._group = QButtonGroup(self)
        self._brand = QLabel()
        self._brand_name = label("Portside", "brand")
        self._side_frame = self._side()
        self.middle = QWidget()
        inside = QVBoxLayout(self.middle)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.setSpacing(0)
        inside.addWidget(self.pages, 1)
        inside.addWidget(self.tasks)
        inside.addWidget(self.engine_line)
        body = QWidget()
        across = QHBoxLayout(body)
        across.setContentsMargins(0, 0, 0, 0)
        across.setSpacing(0)
        across.addWidget(self._side_frame)
        across.addWidget(self.middle, 1)
        self.setCentralWidget(body)
        self.notices = Notices(self.middle)
        self.dress(tokens())

    def _side(self) -> QFrame:
        side = QFrame()
        side.setObjectName("side")
        side.setFixedWidth(NAVIGATION_WIDTH)
        layout = QVBoxLayout(side)
        layout.setContentsMargins(12, 2 * SPACE, 12, 2 * SPACE)
        layout.setSpacing(4)
        head = QHBoxLayout()
        head.setContentsMargins(8, 8, 8, 2 * SPACE)
        head.setSpacing(10)
        head.addWidget(self._brand)
        head.addWidget(self._brand_name)
        head.addStretch()
        layout.addLayout(head)
        self._navigation.setSpacing(4)
        layout.addLayout(self._navigation)
        layout.addStretch()
        return side

    def add_page(self, title: str, icon_name: str, page: QWidget) -> NavigationEntry:
        """Add a page with its entry in the navigation column."""
        entry = NavigationEntry(title, icon_name)
        place = self.pages.addWidget(page)
        entry.clicked.connect(partial(self.go_to, place))
        self._group.addButton(entry)
        self._navigation.addWidget(entry)
        self.entries.append(entry)
        shortcut = QShortcut(QKeySequence(f"Ctrl+{place + 1}"), self)
        shortcut.activated.connect(partial(self.go_to, place))
        entry.setChecked(place == 0)
        entry.shorten(self.width() < _NARROW)
        self.dress(self._tokens())
        return entry

    def add_shortcut(self, keys: str, do: Callable[[], object]) -> None:
        """Let keys do something anywhere in the window."""
        shortcut = QShortcut(QKeySequence(keys), self)
        shortcut.activated.connect(lambda: do())

    def go_to(self, place: int, _checked: bool = True) -> None:
        """Show a page."""
        self.pages.setCurrentIndex(place)
        self.entries[place].setChecked(True)
        for entry in self.entries:
            entry.dress(self._tokens())

    def dress(self, tokens: Tokens) -> None:
        """Colour what the style sheet does not."""
        self._brand.setPixmap(icons.pixmap("portside", tokens.accent, 24))
        for entry in self.entries:
            entry.dress(tokens)
        self.notices.dress(tokens)
        self.tasks.dress(tokens)
        self.engine_line.dress(tokens)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Give a narrow window a narrow navigation column."""
        super().resizeEvent(event)
        is_narrow = self.width() < _NARROW
        self._side_frame.setFixedWidth(_NARROW_NAVIGATION if is_narrow else NAVIGATION_WIDTH)
        self._brand_name.setVisible(not is_narrow)
        for entry in self.entries:
            entry.shorten(is_narrow)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Tell when the first frame was drawn."""
        super().paintEvent(event)
        if not self._was_painted:
            self._was_painted = True
            QTimer.singleShot(0, self, self.painted.emit)

    def closeEvent(self, event: QCloseEvent) -> None:
        """Say that the window was closed; the application decides what that means."""
        self.closed.emit()
        event.accept()
