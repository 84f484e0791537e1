"""The Containers page: the table, and one container with its logs and its configuration."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from PySide6.QtCore import QTimer, QUrl
from PySide6.QtGui import QDesktopServices, QGuiApplication, QHideEvent, QShowEvent
from PySide6.QtWidgets import QStackedWidget, QVBoxLayout

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
from desktop.pages.containers.tabs.inspect import InspectTab, OverviewTab
from desktop.pages.containers.tabs.logs import LogsTab
from desktop.pages.containers.tabs.processes import ProcessesTab
from desktop.pages.containers.tabs.stats import StatsTab
from desktop.pages.containers.tabs.terminal import TerminalTab
from desktop.state.connection import Stage
from desktop.state.picture import CONTAINERS, Picture
from desktop.state.stats import StatsFeed
from desktop.theme.tokens import Tokens
from desktop.widgets.parts import ActionButton, Question, Segments, shown
from desktop.widgets.rows import Column
from desktop.widgets.tablepage import Emptiness, MenuEntry, TablePage
from desktop.widgets.textdialog import TextDialog

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


class ContainersPage(TablePage[Row]):
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
        super().__init__(
            "Containers", "containers", columns(), picture, tokens, help_,
            searched="Search name, image, port", shows=frozenset({CONTAINERS}),
        )  # fmt: skip
        self._feed = feed
        self.presenter = presenter
        self._scope = scope
        self._go_to_images = go_to_images
        self.table.set_served(CPU_COLUMN, served=False)
        self.table.set_served(MEMORY_COLUMN, served=False)
        self.logs_tab = LogsTab(scope, logs, tokens)
        self.inspect_tab = InspectTab(scope, logs, tokens)
        self.terminal_tab = TerminalTab(scope, logs, tokens)
        sides = [
            self.logs_tab,
            self.terminal_tab,
            StatsTab(scope, logs, tokens),
            ProcessesTab(scope, logs, tokens),
            OverviewTab(scope, logs),
            self.inspect_tab,
        ]
        self.detail = ContainerDetail(presenter, sides, tokens, self.show_list, self.ask_to_remove)
        self.filter = Segments([(ALL, "All"), (RUNNING, "Running"), (STOPPED, "Stopped")])
        self.filter.chosen.connect(lambda _: self.refresh())
        self._stack = QStackedWidget()
        self._connect()
        self.ready(
            [self.filter],
            [],
            [
                ActionButton("play", "Start", lambda: presenter.start(self.chosen())),
                ActionButton("stop", "Stop", lambda: presenter.stop(self.chosen())),
                ActionButton("restart", "Restart", lambda: presenter.restart(self.chosen())),
                ActionButton("trash", "Delete", self.ask_to_remove, danger=True),
            ],
        )

    def lay_out(self) -> None:
        """Show either the table or one container."""
        self._stack.addWidget(self.list_view())
        self._stack.addWidget(self.detail)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._stack)

    def _connect(self) -> None:
        self.table.opened.connect(self.show_detail)
        self.table.deleted.connect(self.ask_to_remove)
        self.table.acted.connect(self._act)
        self.presenter.on_busy = self.refresh
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

    def go_to_search(self) -> None:
        """Go to the search of what is shown."""
        if self._stack.currentIndex() == 1:
            self.detail.tab.go_to_search()
        else:
            self.search.setFocus()

    def dress(self, tokens: Tokens) -> None:
        """Colour what is not coloured by the style sheet."""
        super().dress(tokens)
        self.detail.dress(tokens)

    def listed(self, text: str) -> list[Row]:
        """Return the rows that fit the filter and a search."""
        return self.presenter.rows(only=self.filter.key, text=text)

    def total(self) -> int:
        """Return how many containers there are."""
        return self.presenter.counts()[ALL]

    def told_count(self) -> str:
        """The filter tells the numbers."""
        return ""

    def nothing_there(self) -> Emptiness:
        """Lead to the images."""
        text = "Run one from an image that you have, or pull one."
        return Emptiness("No containers yet", text, "Go to Images", self._go_to_images)

    def clear_filters(self) -> None:
        """Show everything."""
        super().clear_filters()
        self.filter.choose(ALL)

    def refresh(self) -> None:
        """Show what the picture has."""
        super().refresh()
        is_loaded = self.picture.is_loaded
        self.filter.count(self.presenter.counts() if is_loaded else {})
        self.filter.setVisible(is_loaded)
        self.detail.refresh()
        self._watch()

    def _watch(self) -> None:
        """Let stats be read for what is in sight, and show their columns when the engine serves them."""
        feed = self._feed
        in_sight = self.isVisible() and self._stack.currentIndex() == 0 and not self.window().isMinimized()
        running = self.picture.connection.stage is Stage.RUNNING
        ids = self.table.visible_ids() if in_sight and running else []
        containers = self.picture.containers
        feed.watch([one for one in ids if one in containers and containers[one].state == "running"])
        for column in (CPU_COLUMN, MEMORY_COLUMN):
            self.table.set_served(column, feed.is_served)

    def _usage_changed(self) -> None:
        if not self._usage_timer.isActive():
            self._usage_timer.start()

    def _show_usage(self) -> None:
        self.presenter.usage = dict(self._feed.usage)
        self.refresh()

    def chosen(self) -> list[str]:
        """Return the containers that an action is about."""
        if self._stack.currentIndex() == 1 and self.detail.container_id:
            return [self.detail.container_id]
        return self.table.selected_ids()

    def _rows(self) -> list[Row]:
        return [row for row in map(self.presenter.row, self.chosen()) if row is not None]

    def enable_actions(self, rows: list[Row]) -> None:
        """What is busy is left alone."""
        free = [row for row in rows if not row.busy]
        start, stop, restart, remove = self.actions_
        start.setEnabled(any(not row.is_running for row in free))
        stop.setEnabled(any(row.is_running for row in free))
        restart.setEnabled(bool(free))
        remove.setEnabled(bool(free))

    def show_detail(self, container_id: str) -> None:
        """Show one container."""
        self.detail.show_container(container_id)
        self._stack.setCurrentIndex(1)
        self.logs_tab.view.setFocus()
        self.update_actions()

    def show_terminal(self, container_id: str) -> None:
        """Show a shell in one container."""
        self.show_detail(container_id)
        self.detail.show_tab(self.terminal_tab)

    def show_list(self) -> None:
        """Go back to the table."""
        self.detail.leave()
        self._stack.setCurrentIndex(0)
        self.table.setFocus()
        self.update_actions()

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

    async def _ask_to_rename(self, row: Row) -> None:
        dialog = TextDialog(
            self.window(), f"Rename {row.name}", "New name", "Other containers find it by this name.", "Rename",
            lambda name: self.presenter.name_problem(name, row.id), row.name,
        )  # fmt: skip
        if await shown(dialog) and dialog.text() != row.name:
            self.presenter.rename(row.id, dialog.text())

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

    def menu_entries(self, rows: list[Row]) -> list[MenuEntry]:
        """Return the menu of the selected rows."""
        one = rows[0]
        entries: list[MenuEntry] = []
        if len(rows) == 1:
            entries.append(("Open", lambda: self.show_detail(one.id)))
            entries += [(f"Open {url}", partial(_open, url)) for _, url in one.ports if url]
            entries.append(("", None))
        if any(not row.is_running for row in rows):
            entries.append(("Start", lambda: self.presenter.start(self.chosen())))
        if any(row.is_running for row in rows):
            entries.append(("Stop", lambda: self.presenter.stop(self.chosen())))
        names = " ".join(row.name for row in rows)
        clipboard = QGuiApplication.clipboard()
        entries.append(("Restart", lambda: self.presenter.restart(self.chosen())))
        if any(row.state == "running" for row in rows):
            entries.append(("Pause", lambda: self.presenter.pause(_ids(rows, "running"))))
        if any(row.state == "paused" for row in rows):
            entries.append(("Continue", lambda: self.presenter.unpause(_ids(rows, "paused"))))
        if any(row.is_running for row in rows):
            entries.append(("Kill", lambda: self.presenter.kill(_ids(rows, "running", "paused", "restarting"))))
        if len(rows) == 1:
            entries.append(("Rename…", lambda: self._scope.run(self._ask_to_rename(one))))
        return [
            *entries,
            ("", None),
            ("Copy name", lambda: clipboard.setText(names)),
            ("Copy ID", lambda: clipboard.setText(" ".join(row.id for row in rows))),
            ("", None),
            ("Delete…", self.ask_to_remove),
        ]

    def aclose(self) -> None:
        """Stop listening."""
        self._tick.stop()
        super().aclose()


def _ids(rows: list[Row], *states: str) -> list[str]:
    return [row.id for row in rows if row.state in states]


def _open(url: str) -> None:
    QDesktopServices.openUrl(QUrl(url))
