"""One container: its state and actions, logs that follow, its configuration as JSON."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import msgspec
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication, QKeySequence, QShortcut
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QStackedWidget, QTabBar, QVBoxLayout, QWidget

from desktop.loop import Scope
from desktop.messages import sentence
from desktop.pages.containers.presenter import ContainersPresenter
from desktop.theme.tokens import SPACE, Tokens
from desktop.widgets.logview import LogView
from desktop.widgets.parts import IconButton, label
from engine.errors import PortsideError

_BATCH_BYTES = 64 * 1024


class Logs(Protocol):
    """What the detail reads of an engine."""

    def logs(self, container_id: str) -> AsyncIterator[bytes]:
        """Yield what a container wrote, from the last 5,000 lines on, and go on following."""

    async def inspect(self, container_id: str) -> bytes:
        """Return the configuration as JSON."""


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
        self._scope: Scope | None = None
        self._logs = logs
        self.container_id = ""
        self._title = label("", "title")
        self._state = label("", "muted")
        self.log = LogView(tokens)
        self.text = LogView(tokens)
        self.text.follow = False
        self._tabs = QTabBar()
        self._tabs.addTab("Logs")
        self._tabs.addTab("Inspect")
        self._tabs.setDrawBase(False)
        self._tabs.setExpanding(False)
        self._tabs.currentChanged.connect(self._changed_tab)
        self.search = QLineEdit()
        self.search.setPlaceholderText("Search…")
        self.search.setClearButtonEnabled(True)
        self.search.setFixedWidth(220)
        self.search.textChanged.connect(lambda text: self._search(anew=True))
        self.search.returnPressed.connect(self._search)
        self.matches = label("", "muted")
        self._up = IconButton("up", "Previous match", lambda: self._search(backwards=True))
        self._down = IconButton("down", "Next match", self._search)
        self._wrap = IconButton("wrap", "Wrap long lines", checkable=True)
        self._wrap.toggled.connect(lambda on: self._view().set_wrap(on))
        self._follow = IconButton("follow", "Follow the end", lambda: self._view().set_follow(True))
        self._copy = IconButton("copy", "Copy", lambda: self._view().copy())
        self._back = IconButton("back", "Back to all containers", back)
        self._actions = [
            IconButton("play", "Start", lambda: presenter.start([self.container_id])),
            IconButton("stop", "Stop", lambda: presenter.stop([self.container_id])),
            IconButton("restart", "Restart", lambda: presenter.restart([self.container_id])),
            IconButton("trash", "Delete", remove),
        ]
        self._stack = QStackedWidget()
        self._stack.addWidget(self.log)
        self._stack.addWidget(self.text)
        self._lay_out()
        QShortcut(QKeySequence(Qt.Key.Key_Escape), self, back)

    def _lay_out(self) -> None:
        head = QHBoxLayout()
        head.setContentsMargins(2 * SPACE, 3 * SPACE, 3 * SPACE, SPACE)
        head.setSpacing(SPACE)
        head.addWidget(self._back)
        head.addWidget(self._title)
        head.addSpacing(SPACE)
        head.addWidget(self._state, 1)
        for item in self._actions:
            head.addWidget(item)
        tools = QHBoxLayout()
        tools.setContentsMargins(3 * SPACE, 0, 3 * SPACE, SPACE)
        tools.setSpacing(SPACE // 2)
        tools.addWidget(self._tabs)
        tools.addStretch()
        for widget in (self.matches, self.search, self._up, self._down, self._wrap, self._follow, self._copy):
            tools.addWidget(widget)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(head)
        layout.addLayout(tools)
        layout.addWidget(self._stack, 1)

    def dress(self, tokens: Tokens) -> None:
        """Colour the icons."""
        for item in (self._back, self._up, self._down, self._wrap, self._follow, self._copy, *self._actions):
            item.dress(tokens)
        self.log.viewport().update()
        self.text.viewport().update()

    def _view(self) -> LogView:
        return self.log if self._tabs.currentIndex() == 0 else self.text

    def _changed_tab(self, place: int) -> None:
        self._stack.setCurrentIndex(place)
        self._follow.setVisible(place == 0)
        self._wrap.setChecked(self._view().wrap)
        if place == 1 and self.container_id:
            self._parent_scope.run(self._read_inspect(self.container_id))
        self._search(anew=True)

    def show_container(self, container_id: str) -> None:
        """Show another container."""
        self.leave()
        self.container_id = container_id
        self.log.clear()
        self.text.clear()
        self.log.follow = True
        self._tabs.setCurrentIndex(0)
        self.refresh()
        self._scope = Scope(lambda error: self._say(error))
        self._scope.run(self._read_logs(container_id))

    def leave(self) -> None:
        """Stop reading."""
        self.container_id = ""
        scope, self._scope = self._scope, None
        if scope is not None:
            self._parent_scope.run(scope.aclose())

    def refresh(self) -> None:
        """Show the container's present state."""
        row = self._presenter.row(self.container_id) if self.container_id else None
        if row is None:
            if self.container_id:
                self._state.setText("Deleted")
                for item in self._actions:
                    item.setEnabled(False)
            return
        self._title.setText(row.name)
        ports = f"  ·  {row.ports_text}" if row.ports_text else ""
        self._state.setText(f"{row.busy or row.state_text}  ·  {row.image}{ports}")
        start, stop, restart, remove = self._actions
        start.setEnabled(not row.busy and not row.is_running)
        stop.setEnabled(not row.busy and row.is_running)
        restart.setEnabled(not row.busy)
        remove.setEnabled(not row.busy)

    def _say(self, error: BaseException) -> None:
        told = error.message if isinstance(error, PortsideError) else str(error)
        self.log.append(f"\n{sentence(told)}\n".encode())

    async def _read_logs(self, container_id: str) -> None:
        try:
            async for data in self._logs.logs(container_id):
                self.log.append(data)
        except PortsideError as error:
            self._say(error)

    async def _read_inspect(self, container_id: str) -> None:
        try:
            data = await self._logs.inspect(container_id)
        except PortsideError as error:
            data = sentence(error.message).encode()
        self.text.clear()
        self.text.append(pretty(data).encode())
        self.text.verticalScrollBar().setValue(0)

    def _search(self, *, backwards: bool = False, anew: bool = False) -> None:
        words = self.search.text()
        count = self._view().search(words, backwards=backwards, anew=anew)
        self.matches.setText((f"{count} matches" if count != 1 else "1 match") if words else "")

    def copy_all(self) -> None:
        """Copy what is shown."""
        QGuiApplication.clipboard().setText(self._view().selected_text())


def pretty(data: bytes) -> str:
    """Return JSON indented; what is none stays as it is."""
    try:
        value: Any = msgspec.json.decode(data)
    except msgspec.DecodeError:
        return data.decode(errors="replace")
    return json.dumps(value, indent=2, ensure_ascii=False)
