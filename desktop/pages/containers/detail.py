"""One container: its state and actions above, its sides in tabs beneath."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QFrame, QHBoxLayout, QStackedWidget, QTabBar, QVBoxLayout, QWidget

from desktop.pages.containers.presenter import ContainersPresenter
from desktop.pages.containers.tabs.base import Tab
from desktop.theme.tokens import SPACE, Tokens
from desktop.widgets.parts import ActionButton, IconButton, Pill, label


class ContainerDetail(QWidget):
    """One container at a time; ``tabs_`` are its sides, the first one is shown first."""

    def __init__(
        self,
        presenter: ContainersPresenter,
        tabs: Sequence[Tab],
        tokens: Callable[[], Tokens],
        back: Callable[[], None],
        remove: Callable[[], None],
    ) -> None:
        """``back`` goes to the table, ``remove`` asks and deletes."""
        super().__init__()
        self._presenter = presenter
        self._life_before = ("", 0)
        self._shown: Tab | None = None
        self.container_id = ""
        self.tabs_ = list(tabs)
        self._name = label("", "title")
        self._pill = Pill(tokens)
        self._about = label("", "muted")
        self.tabs = QTabBar()
        for tab in self.tabs_:
            self.tabs.addTab(tab.title)
        self.tabs.setDrawBase(False)
        self.tabs.setExpanding(False)
        self.tabs.setCursor(Qt.CursorShape.PointingHandCursor)
        self.tabs.currentChanged.connect(self._changed_tab)
        self._back = IconButton("back", "Back to all containers (Esc)", back)
        self._actions = [
            ActionButton("play", "Start", lambda: presenter.start([self.container_id])),
            ActionButton("stop", "Stop", lambda: presenter.stop([self.container_id])),
            ActionButton("restart", "Restart", lambda: presenter.restart([self.container_id])),
            ActionButton("trash", "Delete", remove, danger=True),
        ]
        self._stack = QStackedWidget()
        self._lay_out()
        for keys, action in (
            (QKeySequence(Qt.Key.Key_Escape), back),
            (QKeySequence(QKeySequence.StandardKey.FindNext), lambda: self.tab.next_match()),
            (QKeySequence(QKeySequence.StandardKey.FindPrevious), lambda: self.tab.next_match(backwards=True)),
        ):
            shortcut = QShortcut(keys, self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(action)

    def _lay_out(self) -> None:
        head = QHBoxLayout()
        head.setContentsMargins(2 * SPACE, 3 * SPACE, 3 * SPACE, 0)
        head.setSpacing(SPACE)
        head.addWidget(self._back)
        head.addWidget(self._name)
        head.addWidget(self._pill)
        head.addStretch()
        for item in self._actions:
            head.addWidget(item)
        about = QHBoxLayout()
        about.setContentsMargins(2 * SPACE + 40, 2, 3 * SPACE, 0)
        about.addWidget(self._about)
        tools = QHBoxLayout()
        tools.setContentsMargins(3 * SPACE, SPACE, 3 * SPACE, SPACE)
        tools.setSpacing(SPACE // 2)
        tools.addWidget(self.tabs)
        tools.addStretch()
        for tab in self.tabs_:
            self._stack.addWidget(tab)
            for widget in tab.tools:
                tools.addWidget(widget)
                widget.hide()
        frame = QFrame()
        frame.setObjectName("logs")
        inside = QVBoxLayout(frame)
        inside.setContentsMargins(1, 1, 1, 1)
        inside.addWidget(self._stack)
        body = QHBoxLayout()
        body.setContentsMargins(3 * SPACE, 0, 3 * SPACE, 2 * SPACE)
        body.addWidget(frame)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(head)
        layout.addLayout(about)
        layout.addLayout(tools)
        layout.addLayout(body, 1)

    @property
    def tab(self) -> Tab:
        """The tab in sight."""
        return self.tabs_[self.tabs.currentIndex()]

    def dress(self, tokens: Tokens) -> None:
        """Colour the icons."""
        self._back.dress(tokens)
        for action in self._actions:
            action.dress(tokens)
        for tab in self.tabs_:
            tab.dress(tokens)
        self._pill.update()

    def _changed_tab(self, place: int) -> None:
        if self._shown is not None:
            self._shown.leave()
        self._stack.setCurrentIndex(place)
        for tab in self.tabs_:
            for widget in tab.tools:
                widget.setVisible(tab is self.tabs_[place])
        self._shown = self.tabs_[place]
        if self.container_id:
            self._shown.enter(self.container_id, self._presenter.row(self.container_id))

    def show_container(self, container_id: str) -> None:
        """Show another container, its first side first."""
        self.leave()
        self.container_id = container_id
        row = self._presenter.row(container_id)
        self._life_before = (row.state, row.starts) if row is not None else ("", 0)
        if self.tabs.currentIndex() == 0:
            self._changed_tab(0)
        else:
            self.tabs.setCurrentIndex(0)
        self.refresh()

    def show_tab(self, tab: Tab) -> None:
        """Show another side."""
        self.tabs.setCurrentIndex(self.tabs_.index(tab))

    def leave(self) -> None:
        """Go out of sight."""
        if self._shown is not None:
            self._shown.leave()
            self._shown = None
        for tab in self.tabs_:
            tab.forget()
        self.container_id = ""

    def refresh(self) -> None:
        """Show the container's present state."""
        row = self._presenter.row(self.container_id) if self.container_id else None
        if row is None:
            if self.container_id:
                self._pill.tell("Deleted", "grey")
                for item in self._actions:
                    item.setEnabled(False)
            return
        self._name.setText(row.name)
        self._pill.tell(row.told_state, row.tone)
        self._about.setText("   ".join(part for part in (row.image, row.id[:12], row.ports_text) if part))
        start, stop, restart, remove = self._actions
        start.setEnabled(not row.busy and not row.is_running)
        stop.setEnabled(not row.busy and row.is_running)
        restart.setEnabled(not row.busy)
        remove.setEnabled(not row.busy)
        life = (row.state, row.starts)
        if life != self._life_before:
            is_new = row.starts != self._life_before[1] or not self._life_before[0]
            self._life_before = life
            for tab in self.tabs_:
                if tab is self._shown or tab.goes_on:
                    tab.changed(row, new_life=is_new)

    def reconnect(self) -> None:
        """Read anew after the engine was away."""
        self._life_before = ("", 0)
        self.refresh()
