"""One container: its state and actions, logs that follow, what it is, its configuration as JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QFrame, QHBoxLayout, QStackedWidget, QTabBar, QVBoxLayout, QWidget

from desktop.loop import Scope
from desktop.messages import sentence
from desktop.pages.containers.overview import overview
from desktop.pages.containers.overviewview import OverviewView
from desktop.pages.containers.presenter import ContainersPresenter
from desktop.pages.containers.reading import Logs
from desktop.theme.tokens import SPACE, Tokens
from desktop.widgets.jsontext import pretty, spans
from desktop.widgets.logview import LogView
from desktop.widgets.parts import ActionButton, IconButton, Pill, dress_search, label, search_field
from engine.errors import PortsideError

LOGS, OVERVIEW, INSPECT = 0, 1, 2


class ContainerDetail(QWidget):
    """One container at a time."""

    def __init__(
        self,
        presenter: ContainersPresenter,
        scope: Scope,
        logs: Logs,
        tokens: Callable[[], Tokens],
        back: Callable[[], None],
        remove: Callable[[], None],
    ) -> None:
        """``back`` goes to the table, ``remove`` asks and deletes."""
        super().__init__()
        self._presenter = presenter
        self._parent_scope = scope
        self._logs = logs
        self._end_logs: Callable[[], None] = lambda: None
        self._life_before = ("", 0)
        self.container_id = ""
        self._name = label("", "title")
        self._pill = Pill(tokens)
        self._about = label("", "muted")
        self.log = LogView(tokens)
        self.log.on_follow = lambda on: self._follow.setChecked(on)
        self.text = LogView(tokens, spans)
        self.text.follow = False
        self.overview = OverviewView()
        self.tabs = QTabBar()
        for title in ("Logs", "Overview", "Inspect"):
            self.tabs.addTab(title)
        self.tabs.setDrawBase(False)
        self.tabs.setExpanding(False)
        self.tabs.setCursor(Qt.CursorShape.PointingHandCursor)
        self.tabs.currentChanged.connect(self._changed_tab)
        self.search = search_field("Search", 220)
        self.search.textChanged.connect(lambda _: self._search(anew=True))
        self.search.returnPressed.connect(self._search)
        self.matches = label("", "small")
        self._up = IconButton("up", "Previous match", lambda: self._search(backwards=True))
        self._down = IconButton("down", "Next match", self._search)
        self._times = IconButton("clock", "Time stamps", checkable=True)
        self._times.toggled.connect(lambda _: self._open_logs())
        self._wrap = IconButton("wrap", "Wrap long lines", checkable=True)
        self._wrap.toggled.connect(lambda on: self._view().set_wrap(on))
        self._follow = IconButton("follow", "Follow the end", checkable=True)
        self._follow.setChecked(True)
        self._follow.clicked.connect(lambda on: self.log.set_follow(on))
        self._copy = IconButton("copy", "Copy what is selected, or everything", lambda: self._view().copy())
        self._back = IconButton("back", "Back to all containers (Esc)", back)
        self._actions = [
            ActionButton("play", "Start", lambda: presenter.start([self.container_id])),
            ActionButton("stop", "Stop", lambda: presenter.stop([self.container_id])),
            ActionButton("restart", "Restart", lambda: presenter.restart([self.container_id])),
            ActionButton("trash", "Delete", remove, danger=True),
        ]
        self._tools = (
            self.matches,
            self.search,
            self._up,
            self._down,
            self._times,
            self._wrap,
            self._follow,
            self._copy,
        )
        self._stack = QStackedWidget()
        self._lay_out()
        for keys, action in (
            (QKeySequence(Qt.Key.Key_Escape), back),
            (QKeySequence(QKeySequence.StandardKey.FindNext), self._search),
            (QKeySequence(QKeySequence.StandardKey.FindPrevious), lambda: self._search(backwards=True)),
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
        for widget in self._tools:
            tools.addWidget(widget)
        for view in (self.log, self.overview, self.text):
            self._stack.addWidget(view)
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

    def dress(self, tokens: Tokens) -> None:
        """Colour the icons."""
        for item in (self._up, self._down, self._times, self._wrap, self._follow, self._copy, self._back):
            item.dress(tokens)
        for action in self._actions:
            action.dress(tokens)
        dress_search(self.search, tokens)
        self._pill.update()
        self.log.viewport().update()
        self.text.viewport().update()

    def _view(self) -> LogView:
        return self.text if self.tabs.currentIndex() == INSPECT else self.log

    def _changed_tab(self, place: int) -> None:
        self._stack.setCurrentIndex(place)
        for widget in self._tools:
            widget.setVisible(place != OVERVIEW)
        for widget in (self._times, self._follow):
            widget.setVisible(place == LOGS)
        self._wrap.setChecked(self._view().wrap)
        if place != LOGS and self.container_id:
            self._parent_scope.run(self._read_inspect(self.container_id))
        self._search(anew=True)

    def show_container(self, container_id: str) -> None:
        """Show another container."""
        self.leave()
        self.container_id = container_id
        self._life_before = ("", 0)
        self.text.clear()
        self.overview.show_sections([])
        self.log.set_follow(True)
        self.search.clear()
        self.tabs.setCurrentIndex(LOGS)
        self._changed_tab(LOGS)
        self.refresh()

    def leave(self) -> None:
        """Stop reading."""
        self.container_id = ""
        self._end_logs()

    def _open_logs(self) -> None:
        self._end_logs()
        self.log.clear()
        if self.container_id:
            work = self._read_logs(self.container_id, timestamps=self._times.isChecked())
            self._end_logs = self._parent_scope.run(work)

    def refresh(self) -> None:
        """Show the container's present state; one that was started again is read again."""
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
            # The stream of a container that ends is over: a new life, or a new connection, needs a new one.
            if not self._life_before[0] or row.starts != self._life_before[1]:
                self._open_logs()
            if self._life_before[0] and self.tabs.currentIndex() != LOGS:
                self._parent_scope.run(self._read_inspect(row.id))
            self._life_before = life

    def reconnect(self) -> None:
        """Read anew after the engine was away."""
        self._life_before = ("", 0)
        self.refresh()

    async def _read_logs(self, container_id: str, *, timestamps: bool) -> None:
        try:
            async for data, is_error in self._logs.logs(container_id, timestamps=timestamps):
                self.log.append(data, marked=is_error)
        except PortsideError as error:
            if container_id == self.container_id:
                self.log.append(f"{sentence(error.message)}\n".encode(), marked=True)

    async def _read_inspect(self, container_id: str) -> None:
        data, value = b"", None
        try:
            data = await self._logs.inspect(container_id)
            value = msgspec.json.decode(data)
        except PortsideError as error:
            data = sentence(error.message).encode()
        except msgspec.DecodeError:
            value = None
        if container_id != self.container_id:
            return
        known: dict[str, Any] = value if isinstance(value, dict) else {}
        self.overview.show_sections(overview(known))
        place = self.text.verticalScrollBar().value()
        self.text.clear()
        self.text.append(pretty(data).encode())
        self.text.verticalScrollBar().setValue(place)

    def _search(self, *, backwards: bool = False, anew: bool = False) -> None:
        words = self.search.text()
        count, more = self._view().search(words, backwards=backwards, anew=anew)
        told = f"{count}+ matches" if more else "1 match" if count == 1 else f"{count} matches"
        self.matches.setText(told if words else "")
        self._up.setEnabled(count > 0)
        self._down.setEnabled(count > 0)
