"""The Containers page: the table, and one container with its logs and its configuration."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from PySide6.QtCore import QPoint, Qt, QTimer, QUrl
from PySide6.QtGui import (
    QAction,
    QDesktopServices,
    QGuiApplication,
    QHideEvent,
    QKeySequence,
    QShortcut,
    QShowEvent,
)
from PySide6.QtWidgets import QFrame, QHBoxLayout, QMenu, QStackedWidget, QVBoxLayout, QWidget

from desktop.loop import Scope
from desktop.pages.containers.detail import ContainerDetail
from desktop.pages.containers.presenter import (
    ALL,
    RUNNING,
    STOPPED,
    ContainersPresenter,
    Row,
    question_about_removal,
)
from desktop.pages.containers.reading import Logs
from desktop.state.connection import Stage
from desktop.state.picture import CONNECTION, CONTAINERS, Picture
from desktop.state.stats import StatsFeed
from desktop.theme.tokens import SPACE, Tokens
from desktop.widgets.cells import CellDelegate
from desktop.widgets.parts import (
    ActionButton,
    EmptyState,
    IconButton,
    Question,
    Segments,
    dress_search,
    label,
    search_field,
)
from desktop.widgets.rows import Column, RowModel
from desktop.widgets.table import RowTable

_TICK_MS = 10_000
_USAGE_MS = 500


def columns() -> list[Column[Row]]:
    """Return the table's columns."""
    return [
        Column(
            "Name", lambda row: row.name, lambda row: row.name.lower(), look="name", share=2, tone=lambda row: row.tone,
            below=lambda row: row.image, below_when_hidden=1,
        ),
        Column("Image", lambda row: row.image, lambda row: row.image.lower(), look="path", share=3, drop=4),
        Column(
            "State", lambda row: row.told_state, lambda row: (not row.is_running, row.state_text), 184, look="pill",
            tone=lambda row: row.tone,
        ),
        Column(
            "Ports", lambda row: row.ports_text, lambda row: _first_port(row), 168, look="links",
            parts=lambda row: row.ports, drop=1,
        ),
        Column("CPU", lambda row: row.cpu_text, lambda row: -(row.usage.cpu_percent if row.usage else -1.0), 76,
               right=True, drop=3),
        Column("Memory", lambda row: row.memory_text, lambda row: -(row.usage.memory_bytes if row.usage else -1), 92,
               right=True, drop=2),
        Column("Created", lambda row: row.age, lambda row: -row.created_s, 88, right=True, drop=5),
        Column("", lambda row: "", lambda row: 0, 84, look="actions", parts=lambda row: row.quick_actions),
    ]  # fmt: skip


CPU_COLUMN, MEMORY_COLUMN = 4, 5


def _first_port(row: Row) -> tuple[bool, int]:
    text = row.ports[0][0] if row.ports else ""
    digits = text.rpartition(":")[0].rpartition(":")[2]
    return (not text, int(digits) if digits.isdigit() else 0)


class ContainersPage(QWidget):
    """The page."""

    def __init__(
        self,
        presenter: ContainersPresenter,
        picture: Picture,
        scope: Scope,
        logs: Logs,
        feed: StatsFeed,
        tokens: Callable[[], Tokens],
        go_to_images: Callable[[], None],
        help_: Callable[[], None],
    ) -> None:
        """``logs`` reads what the detail shows, ``feed`` what containers use."""
        super().__init__()
        self._feed = feed
        self.presenter = presenter
        self._picture = picture
        self._scope = scope
        self._tokens = tokens
        self._go_to_images = go_to_images
        self._help = help_
        self.model: RowModel[Row] = RowModel(columns())
        self.table = RowTable(self.model, CellDelegate(tokens))
        self.table.set_served(CPU_COLUMN, served=False)
        self.table.set_served(MEMORY_COLUMN, served=False)
        self.detail = ContainerDetail(presenter, scope, logs, tokens, self.show_list, self.ask_to_remove)
        self._empty = EmptyState("containers")
        self.search = search_field("Search name, image, port", 260)
        self.search.textChanged.connect(lambda _: self.refresh())
        self.filter = Segments([(ALL, "All"), (RUNNING, "Running"), (STOPPED, "Stopped")])
        self.filter.chosen.connect(lambda _: self.refresh())
        self._buttons = [
            ActionButton("play", "Start", lambda: presenter.start(self.chosen())),
            ActionButton("stop", "Stop", lambda: presenter.stop(self.chosen())),
            ActionButton("restart", "Restart", lambda: presenter.restart(self.chosen())),
            ActionButton("trash", "Delete", self.ask_to_remove, danger=True),
        ]
        self._selected = label("", "strong")
        self._clear = IconButton("close", "Clear the selection", self.table.clearSelection)
        self.bar = QFrame()
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
        head.setSpacing(2 * SPACE)
        head.addWidget(label("Containers", "title"))
        head.addWidget(self.filter)
        head.addStretch()
        head.addWidget(self.search, 1)
        self._body = QStackedWidget()
        holder = QWidget()
        inside = QVBoxLayout(holder)
        inside.setContentsMargins(2 * SPACE, 0, 2 * SPACE, SPACE)
        inside.setSpacing(SPACE)
        inside.addWidget(self.table)
        inside.addWidget(self.bar)  # beneath: above it would push the rows away from under a double click
        self._lay_out_bar()
        self._body.addWidget(holder)
        self._body.addWidget(self._empty)
        layout = QVBoxLayout(view)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(head)
        layout.addWidget(self._body, 1)
        return view

    def _lay_out_bar(self) -> None:
        self.bar.setObjectName("selection")
        row = QHBoxLayout(self.bar)
        row.setContentsMargins(12, 4, 6, 4)
        row.setSpacing(2)
        row.addWidget(self._selected)
        row.addSpacing(SPACE)
        for item in self._buttons:
            row.addWidget(item)
        row.addStretch()
        row.addWidget(self._clear)
        self.bar.hide()

    def _connect(self) -> None:
        self.table.opened.connect(self.show_detail)
        self.table.deleted.connect(self.ask_to_remove)
        self.table.acted.connect(self._act)
        self.table.customContextMenuRequested.connect(self._menu)
        self.table.selectionModel().selectionChanged.connect(lambda *_: self._update_buttons())
        self.presenter.on_busy = self.refresh
        self._unlisten = self._picture.listen(self._changed)
        self._tick = QTimer(self)
        self._tick.setInterval(_TICK_MS)
        self._tick.timeout.connect(self.refresh)
        self._tick.start()
        self._usage_timer = QTimer(self)
        self._usage_timer.setSingleShot(True)
        self._usage_timer.setInterval(_USAGE_MS)
        self._usage_timer.timeout.connect(self._show_usage)
        self._feed.on_change = self._usage_changed
        self.table.verticalScrollBar().valueChanged.connect(lambda _: self._usage_changed())
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
        self._clear.dress(tokens)
        dress_search(self.search, tokens)
        self._empty.dress(tokens)
        self.detail.dress(tokens)

    def refresh(self) -> None:
        """Show what the picture has."""
        rows = self.presenter.rows(only=self.filter.key, text=self.search.text())
        self.model.set_rows(rows)
        counts = self.presenter.counts()
        is_loaded = self._picture.is_loaded
        self.filter.count(counts if is_loaded else {})
        self.filter.setVisible(is_loaded)
        self.search.setVisible(is_loaded)
        self._body.setCurrentIndex(0 if rows else 1)
        if not rows:
            self._say_why_empty(counts[ALL])
        self._update_buttons()
        self.detail.refresh()
        self._watch()

    def _watch(self) -> None:
        """Let stats be read for what is in sight, and show their columns when the engine serves them."""
        feed = self._feed
        in_sight = self.isVisible() and self._stack.currentIndex() == 0 and not self.window().isMinimized()
        running = self._picture.connection.stage is Stage.RUNNING
        ids = self.table.visible_ids() if in_sight and running else []
        containers = self._picture.containers
        feed.watch([one for one in ids if one in containers and containers[one].state == "running"])
        for column in (CPU_COLUMN, MEMORY_COLUMN):
            self.table.set_served(column, feed.is_served)

    def _usage_changed(self) -> None:
        if not self._usage_timer.isActive():
            self._usage_timer.start()

    def _show_usage(self) -> None:
        self.presenter.usage = dict(self._feed.usage)
        self.refresh()

    def _say_why_empty(self, total: int) -> None:
        connection = self._picture.connection
        if not self._picture.is_loaded:
            if connection.stage in (Stage.CONNECTING, Stage.STARTING):
                self._empty.show_text("One moment", connection.sentence + ".", icon_name="clock")
            else:
                text = "Containers appear here as soon as it answers."
                icon = "lock" if connection.stage is Stage.REFUSED else "plug"
                self._empty.show_text(connection.sentence, text, connection.button, self._help, icon)
        elif total:
            text = "No container fits what you search for." if self.search.text() else "No container is in this state."
            self._empty.show_text("Nothing here", text, "Show all containers", self._clear_filters, "search")
        else:
            self._empty.show_text(
                "No containers yet",
                "Run one from an image that you have, or pull one.",
                "Go to Images",
                self._go_to_images,
                "containers",
            )

    def _clear_filters(self) -> None:
        self.search.clear()
        self.filter.choose(ALL)

    def chosen(self) -> list[str]:
        """Return the containers that an action is about."""
        if self._stack.currentIndex() == 1 and self.detail.container_id:
            return [self.detail.container_id]
        return self.table.selected_ids()

    def _rows(self) -> list[Row]:
        return [row for row in map(self.presenter.row, self.chosen()) if row is not None]

    def _update_buttons(self) -> None:
        rows = [row for row in map(self.presenter.row, self.table.selected_ids()) if row is not None]
        free = [row for row in rows if not row.busy]
        self.bar.setVisible(len(rows) > 0)
        self._selected.setText(f"{len(rows)} selected")
        start, stop, restart, remove = self._buttons
        start.setEnabled(any(not row.is_running for row in free))
        stop.setEnabled(any(row.is_running for row in free))
        restart.setEnabled(bool(free))
        remove.setEnabled(bool(free))

    def show_detail(self, container_id: str) -> None:
        """Show one container."""
        self.detail.show_container(container_id)
        self._stack.setCurrentIndex(1)
        self.detail.log.setFocus()
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

    def _act(self, container_id: str, part: str) -> None:
        """Do what was clicked in a row: an address is opened, an action done."""
        row = self.presenter.row(container_id)
        if row is None:
            return
        if part == "start":
            self.presenter.start([container_id])
        elif part == "stop":
            self.presenter.stop([container_id])
        elif part == "delete":
            self._scope.run(self._remove([row]))
        else:
            QDesktopServices.openUrl(QUrl(part))

    def showEvent(self, event: QShowEvent) -> None:
        """What is in sight is watched again."""
        super().showEvent(event)
        self._usage_changed()

    def hideEvent(self, event: QHideEvent) -> None:
        """What is out of sight is not watched."""
        super().hideEvent(event)
        self._watch()

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

    def aclose(self) -> None:
        """Stop listening."""
        self._tick.stop()
        self._unlisten()


def _open(url: str) -> None:
    QDesktopServices.openUrl(QUrl(url))
