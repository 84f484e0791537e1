"""The Containers page: the table, and one container with its logs and its configuration."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from PySide6.QtCore import QPoint, Qt, QTimer, QUrl
from PySide6.QtGui import QAction, QDesktopServices, QGuiApplication, QKeySequence, QShortcut
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QMenu, QPushButton, QStackedWidget, QVBoxLayout, QWidget

from desktop.loop import Scope
from desktop.pages.containers.detail import ContainerDetail, Logs
from desktop.pages.containers.presenter import ContainersPresenter, Row, question_about_removal
from desktop.state.connection import Stage
from desktop.state.picture import CONNECTION, CONTAINERS, Picture
from desktop.theme.tokens import SPACE, Tokens
from desktop.widgets.parts import EmptyState, IconButton, Question, label
from desktop.widgets.rows import Column, RowModel
from desktop.widgets.table import CellDelegate, RowTable

_TICK_MS = 10_000


def dot_colour(row: Row, tokens: Tokens) -> str:
    """Return the colour of a container's dot."""
    if row.busy or row.state == "restarting" or "unhealthy" in row.state_text:
        return tokens.amber
    if row.state == "running":
        return tokens.green
    if row.state == "paused":
        return tokens.amber
    return tokens.red if row.state == "exited" and "(0)" not in row.state_text else tokens.grey


def columns() -> list[Column[Row]]:
    """Return the table's columns."""
    return [
        Column("Name", lambda row: row.name, lambda row: row.name.lower()),
        Column("Image", lambda row: row.image, lambda row: row.image.lower()),
        Column("State", lambda row: row.busy or row.state_text, lambda row: (not row.is_running, row.state_text), 200),
        Column("Ports", lambda row: row.ports_text, lambda row: row.ports_text, 150),
        Column("Created", lambda row: row.age, lambda row: -row.created_s, 96, right=True),
    ]


class ContainersPage(QWidget):
    """The page."""

    def __init__(
        self,
        presenter: ContainersPresenter,
        picture: Picture,
        scope: Scope,
        logs: Logs,
        tokens: Callable[[], Tokens],
        go_to_images: Callable[[], None],
    ) -> None:
        """``logs`` reads what the detail shows."""
        super().__init__()
        self.presenter = presenter
        self._picture = picture
        self._scope = scope
        self._tokens = tokens
        self._go_to_images = go_to_images
        self.model: RowModel[Row] = RowModel(columns())
        delegate = CellDelegate(tokens, dot_colour)
        delegate.links = {3}
        self.table = RowTable(self.model, delegate)
        self.detail = ContainerDetail(presenter, scope, logs, tokens, self.show_list, self.ask_to_remove)
        self._empty = EmptyState("containers")
        self.search = QLineEdit()
        self.search.setPlaceholderText("Search by name, image, port…")
        self.search.setClearButtonEnabled(True)
        self.search.setFixedWidth(280)
        self.search.textChanged.connect(lambda _: self.refresh())
        self._running_only = QPushButton("Running only")
        self._running_only.setCheckable(True)
        self._running_only.toggled.connect(lambda _: self.refresh())
        self._count = label("", "muted")
        self._buttons = [
            IconButton("play", "Start", lambda: presenter.start(self.chosen())),
            IconButton("stop", "Stop", lambda: presenter.stop(self.chosen())),
            IconButton("restart", "Restart", lambda: presenter.restart(self.chosen())),
            IconButton("trash", "Delete", self.ask_to_remove),
        ]
        self._stack = QStackedWidget()
        self._stack.addWidget(self._list_view())
        self._stack.addWidget(self.detail)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._stack)
        self._connect()
        self.dress(tokens())
        self.refresh()

    def _list_view(self) -> QWidget:
        view = QWidget()
        head = QHBoxLayout()
        head.setContentsMargins(3 * SPACE, 3 * SPACE, 3 * SPACE, 2 * SPACE)
        head.setSpacing(SPACE)
        head.addWidget(label("Containers", "title"))
        head.addSpacing(SPACE)
        head.addWidget(self._count)
        head.addStretch()
        for item in self._buttons:
            head.addWidget(item)
        head.addSpacing(SPACE)
        head.addWidget(self._running_only)
        head.addWidget(self.search)
        self._body = QStackedWidget()
        holder = QWidget()
        inside = QVBoxLayout(holder)
        inside.setContentsMargins(2 * SPACE, 0, 2 * SPACE, 0)
        inside.addWidget(self.table)
        self._body.addWidget(holder)
        self._body.addWidget(self._empty)
        layout = QVBoxLayout(view)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(head)
        layout.addWidget(self._body, 1)
        return view

    def _connect(self) -> None:
        self.table.opened.connect(self.show_detail)
        self.table.deleted.connect(self.ask_to_remove)
        self.table.linked.connect(self._open_port)
        self.table.customContextMenuRequested.connect(self._menu)
        self.table.selectionModel().selectionChanged.connect(lambda *_: self._update_buttons())
        self.presenter.on_busy = self.refresh
        self._unlisten = self._picture.listen(self._changed)
        self._tick = QTimer(self)
        self._tick.setInterval(_TICK_MS)
        self._tick.timeout.connect(self.refresh)
        self._tick.start()
        QShortcut(QKeySequence.StandardKey.Find, self, self._find)

    def _find(self) -> None:
        if self._stack.currentIndex() == 1:
            self.detail.search.setFocus()
        else:
            self.search.setFocus()

    def _changed(self, parts: frozenset[str]) -> None:
        if parts & {CONTAINERS, CONNECTION}:
            self.refresh()

    def dress(self, tokens: Tokens) -> None:
        """Colour what is not coloured by the style sheet."""
        for item in self._buttons:
            item.dress(tokens)
        self._empty.dress(tokens)
        self.detail.dress(tokens)

    def refresh(self) -> None:
        """Show what the picture has."""
        rows = self.presenter.rows(running_only=self._running_only.isChecked(), text=self.search.text())
        self.model.set_rows(rows)
        total = len(self._picture.containers)
        running = sum(item.state == "running" for item in self._picture.containers.values())
        self._count.setText(f"{running} running, {total} in all" if self._picture.is_loaded else "")
        self._body.setCurrentIndex(0 if rows else 1)
        if not rows:
            self._say_why_empty(total)
        self._update_buttons()
        self.detail.refresh()

    def _say_why_empty(self, total: int) -> None:
        connection = self._picture.connection
        if not self._picture.is_loaded:
            if connection.stage in (Stage.CONNECTING, Stage.STARTING):
                self._empty.show_text("One moment", connection.sentence + ".")
            else:
                text = "Containers appear here as soon as an engine answers. The line below says what helps."
                self._empty.show_text(connection.sentence, text)
        elif total:
            self._empty.show_text(
                "Nothing fits", "No container fits the search.", "Show all containers", self._clear_filters
            )
        else:
            self._empty.show_text(
                "No containers yet",
                "Run one from an image that you have, or pull one.",
                "Go to Images",
                self._go_to_images,
            )

    def _clear_filters(self) -> None:
        self.search.clear()
        self._running_only.setChecked(False)

    def chosen(self) -> list[str]:
        """Return the containers that an action is about."""
        if self._stack.currentIndex() == 1 and self.detail.container_id:
            return [self.detail.container_id]
        return self.table.selected_ids()

    def _rows(self) -> list[Row]:
        return [row for row in map(self.presenter.row, self.chosen()) if row is not None]

    def _update_buttons(self) -> None:
        rows = self._rows()
        free = [row for row in rows if not row.busy]
        start, stop, restart, remove = self._buttons
        start.setEnabled(any(not row.is_running for row in free))
        stop.setEnabled(any(row.is_running for row in free))
        restart.setEnabled(bool(free))
        remove.setEnabled(bool(free))

    def show_detail(self, container_id: str) -> None:
        """Show one container."""
        self.detail.show_container(container_id)
        self._stack.setCurrentIndex(1)
        self._update_buttons()

    def show_list(self) -> None:
        """Go back to the table."""
        self.detail.leave()
        self._stack.setCurrentIndex(0)
        self.table.setFocus()
        self._update_buttons()

    def ask_to_remove(self) -> None:
        """Ask, then delete what is chosen."""
        rows = self._rows()
        if rows:
            self._scope.run(self._remove(rows))

    async def _remove(self, rows: list[Row]) -> None:
        title, text = question_about_removal(rows)
        question = Question(self.window(), title, text, "Delete", "Delete their anonymous volumes too")
        if not await question.ask():
            return
        self.presenter.remove([row.id for row in rows], volumes=question.option)
        if self._stack.currentIndex() == 1:
            self.show_list()

    def _open_port(self, container_id: str) -> None:
        row = self.presenter.row(container_id)
        address = next((url for _, url in row.ports if url), "") if row else ""
        if address:
            QDesktopServices.openUrl(QUrl(address))

    def _menu(self, point: QPoint) -> None:
        rows = self._rows()
        if not rows:
            return
        menu = QMenu(self)
        one = rows[0]
        entries: list[tuple[str, Callable[[], object] | None]] = []
        if len(rows) == 1:
            entries.append(("Open", lambda: self.show_detail(one.id)))
            for _, url in one.ports:
                if url:
                    entries.append((f"Open {url}", partial(_open, url)))
            entries.append(("", None))
        if any(not row.is_running for row in rows):
            entries.append(("Start", lambda: self.presenter.start(self.chosen())))
        if any(row.is_running for row in rows):
            entries.append(("Stop", lambda: self.presenter.stop(self.chosen())))
        entries += [("Restart", lambda: self.presenter.restart(self.chosen())), ("", None)]
        names = " ".join(row.name for row in rows)
        clipboard = QGuiApplication.clipboard()
        entries.append(("Copy name", lambda: clipboard.setText(names)))
        entries.append(("Copy ID", lambda: clipboard.setText(" ".join(row.id for row in rows))))
        entries += [("", None), ("Delete…", self.ask_to_remove)]
        for text, action in entries:
            if action is None:
                menu.addSeparator()
            else:
                entry = QAction(text, menu)
                entry.triggered.connect(lambda _=False, action=action: action())
                menu.addAction(entry)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(self.table.menu_place(point))

    def add_button(self) -> QPushButton:
        """Return the button of the empty state, for tests."""
        return self._empty.findChildren(QPushButton)[0]

    def aclose(self) -> None:
        """Stop listening."""
        self._tick.stop()
        self._unlisten()


def _open(url: str) -> None:
    QDesktopServices.openUrl(QUrl(url))
