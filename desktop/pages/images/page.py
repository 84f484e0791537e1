"""The Images page: the table, pulling, running, deleting."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QAction, QGuiApplication, QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QCheckBox,
    QDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QMenu,
    QPlainTextEdit,
    QProgressBar,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from desktop.loop import Scope
from desktop.pages.images.presenter import ImageRow, ImagesPresenter, Pull, RunForm, size_text
from desktop.state.connection import Stage
from desktop.state.picture import CONNECTION, CONTAINERS, IMAGES, Picture
from desktop.theme.tokens import SPACE, Tokens
from desktop.widgets.parts import EmptyState, IconButton, Question, button, label, shown
from desktop.widgets.rows import Column, RowModel
from desktop.widgets.table import CellDelegate, RowTable


def columns() -> list[Column[ImageRow]]:
    """Return the table's columns."""
    return [
        Column("Name", lambda row: row.name, lambda row: (row.is_dangling, row.name.lower())),
        Column("Tag", lambda row: row.tag, lambda row: row.tag.lower(), 160),
        Column("ID", lambda row: row.short_id, lambda row: row.short_id, 120),
        Column("Used by", used_text, lambda row: -row.used_by, 130),
        Column("Size", lambda row: size_text(row.size), lambda row: -row.size, 90, right=True),
        Column("Created", lambda row: row.age, lambda row: -row.created_s, 96, right=True),
    ]


def used_text(row: ImageRow) -> str:
    """Return how many containers use an image, for people."""
    if not row.used_by:
        return ""
    return "1 container" if row.used_by == 1 else f"{row.used_by} containers"


class PullBar(QFrame):
    """One pull that goes on: its name, how far it is, and the way to give it up."""

    def __init__(self, pull: Pull, cancel: Callable[[], None], tokens: Tokens) -> None:
        """Show ``pull``."""
        super().__init__()
        self.setObjectName("card")
        self.pull = pull
        self._status = label("", "muted")
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        close = IconButton("close", f"Cancel pulling {pull.name}", cancel)
        close.dress(tokens)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(12, SPACE, SPACE, SPACE)
        layout.setSpacing(12)
        layout.addWidget(label(f"Pulling {pull.name}"))
        layout.addWidget(self._bar, 1)
        layout.addWidget(self._status)
        layout.addWidget(close)
        self.refresh()

    def refresh(self) -> None:
        """Show how far it is."""
        share = self.pull.share
        self._bar.setRange(0, 0 if share is None else 1000)
        if share is not None:
            self._bar.setValue(round(share * 1000))
        self._status.setText(self.pull.status)


class RunDialog(QDialog):
    """The small form to run an image; what is wrong is said beside its field."""

    def __init__(self, parent: QWidget, image: str) -> None:
        """Ask for what ``image`` needs."""
        super().__init__(parent)
        self.setWindowTitle("Run")
        self.setModal(True)
        self.setMinimumWidth(520)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(3 * SPACE, 3 * SPACE, 3 * SPACE, 2 * SPACE)
        layout.setSpacing(SPACE // 2)
        layout.addWidget(label(f"Run {image}", "big"))
        layout.addSpacing(SPACE)
        self._problems: dict[str, QLabel] = {}
        self.name = QLineEdit()
        self.name.setPlaceholderText("made up when it is empty")
        self.ports, self.env, self.volumes = (QPlainTextEdit() for _ in range(3))
        for field, hint in ((self.ports, "8080:80"), (self.env, "NAME=value"), (self.volumes, "data:/var/lib/data")):
            field.setObjectName("field")
            field.setPlaceholderText(hint)
            field.setFixedHeight(56)
            field.setTabChangesFocus(True)
            field.textChanged.connect(self._check)
        self.command = QLineEdit()
        self.command.setPlaceholderText("the image's own when it is empty")
        self.auto_remove = QCheckBox("Delete the container when it ends")
        for title, key, field_ in (
            ("Name", "name", self.name), ("Ports, one a line", "ports", self.ports),
            ("Environment, one a line", "env", self.env), ("Volumes and folders, one a line", "volumes", self.volumes),
            ("Command", "command", self.command),
        ):  # fmt: skip
            layout.addWidget(label(title, "muted"))
            layout.addWidget(field_)
            problem = label("", "error", wrap=True)
            problem.hide()
            self._problems[key] = problem
            layout.addWidget(problem)
        for text in (self.name, self.command):
            text.textChanged.connect(self._check)
        layout.addSpacing(SPACE)
        layout.addWidget(self.auto_remove)
        layout.addSpacing(SPACE)
        row = QHBoxLayout()
        row.addStretch()
        row.addWidget(button("Cancel", self.reject))
        self.go = button("Run", self.accept, "primary")
        self.go.setDefault(True)
        row.addWidget(self.go)
        layout.addLayout(row)

    def form(self) -> RunForm:
        """Return what was typed."""
        return RunForm(
            self.name.text(),
            self.ports.toPlainText(),
            self.env.toPlainText(),
            self.volumes.toPlainText(),
            self.command.text(),
            self.auto_remove.isChecked(),
        )

    def _check(self) -> None:
        problems = self.form().problems()
        for key, widget in self._problems.items():
            widget.setText(problems.get(key, ""))
            widget.setVisible(key in problems)
        self.go.setEnabled(not problems)


class PullDialog(QDialog):
    """Asks for an image's name."""

    def __init__(self, parent: QWidget) -> None:
        """Begin empty."""
        super().__init__(parent)
        self.setWindowTitle("Pull")
        self.setModal(True)
        self.setMinimumWidth(440)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(3 * SPACE, 3 * SPACE, 3 * SPACE, 2 * SPACE)
        layout.setSpacing(SPACE)
        layout.addWidget(label("Pull an image", "big"))
        layout.addWidget(
            label("A name such as nginx, postgres:17 or registry.example/team/app:1.2", "muted", wrap=True)
        )
        self.name = QLineEdit()
        self.name.setPlaceholderText("name[:tag]")
        layout.addWidget(self.name)
        row = QHBoxLayout()
        row.addStretch()
        row.addWidget(button("Cancel", self.reject))
        self.go = button("Pull", self.accept, "primary")
        self.go.setDefault(True)
        self.go.setEnabled(False)
        row.addWidget(self.go)
        layout.addSpacing(SPACE)
        layout.addLayout(row)
        self.name.textChanged.connect(lambda text: self.go.setEnabled(bool(text.strip())))


class ImagesPage(QWidget):
    """The page."""

    def __init__(
        self,
        presenter: ImagesPresenter,
        picture: Picture,
        scope: Scope,
        tokens: Callable[[], Tokens],
    ) -> None:
        """Show ``picture``'s images."""
        super().__init__()
        self.presenter = presenter
        self._picture = picture
        self._scope = scope
        self._tokens = tokens
        self.model: RowModel[ImageRow] = RowModel(columns())
        self.table = RowTable(self.model, CellDelegate(tokens))
        self._empty = EmptyState("images")
        self._count = label("", "muted")
        self.search = QLineEdit()
        self.search.setPlaceholderText("Search by name or ID…")
        self.search.setClearButtonEnabled(True)
        self.search.setFixedWidth(280)
        self.search.textChanged.connect(lambda _: self.refresh())
        self._run = IconButton("play", "Run", self.ask_to_run)
        self._delete = IconButton("trash", "Delete", self.ask_to_remove)
        self.pull_button = button("Pull…", self.ask_to_pull, "primary")
        self._pulls = QVBoxLayout()
        self._bars: list[PullBar] = []
        self._lay_out()
        self.table.opened.connect(lambda _: self.ask_to_run())
        self.table.deleted.connect(self.ask_to_remove)
        self.table.customContextMenuRequested.connect(self._menu)
        self.table.selectionModel().selectionChanged.connect(lambda *_: self._update_buttons())
        presenter.on_change = self._show_pulls
        self._unlisten = picture.listen(self._changed)
        QShortcut(QKeySequence.StandardKey.Find, self, self.search.setFocus)
        self.dress(tokens())
        self.refresh()

    def _lay_out(self) -> None:
        head = QHBoxLayout()
        head.setContentsMargins(3 * SPACE, 3 * SPACE, 3 * SPACE, 2 * SPACE)
        head.setSpacing(SPACE)
        head.addWidget(label("Images", "title"))
        head.addSpacing(SPACE)
        head.addWidget(self._count)
        head.addStretch()
        head.addWidget(self._run)
        head.addWidget(self._delete)
        head.addSpacing(SPACE)
        head.addWidget(self.search)
        head.addWidget(self.pull_button)
        self._pulls.setContentsMargins(3 * SPACE, 0, 3 * SPACE, 0)
        self._pulls.setSpacing(SPACE)
        self._body = QStackedWidget()
        holder = QWidget()
        inside = QVBoxLayout(holder)
        inside.setContentsMargins(2 * SPACE, 0, 2 * SPACE, 0)
        inside.addWidget(self.table)
        self._body.addWidget(holder)
        self._body.addWidget(self._empty)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(head)
        layout.addLayout(self._pulls)
        layout.addWidget(self._body, 1)

    def dress(self, tokens: Tokens) -> None:
        """Colour the icons."""
        self._run.dress(tokens)
        self._delete.dress(tokens)
        self._empty.dress(tokens)

    def _changed(self, parts: frozenset[str]) -> None:
        if parts & {IMAGES, CONTAINERS, CONNECTION}:
            self.refresh()

    def refresh(self) -> None:
        """Show what the picture has."""
        rows = self.presenter.rows(self.search.text())
        self.model.set_rows(rows)
        loaded = self._picture.is_loaded
        total = sum(item.size for item in self._picture.images.values())
        self._count.setText(f"{len(self._picture.images)} images, {size_text(total)}" if loaded else "")
        self._body.setCurrentIndex(0 if rows else 1)
        connection = self._picture.connection
        self.pull_button.setEnabled(connection.stage is Stage.RUNNING)
        if not loaded:
            self._empty.show_text(connection.sentence, "Images appear here as soon as an engine answers.")
        elif not rows and self._picture.images:
            self._empty.show_text("Nothing fits", "No image fits the search.", "Show all images", self.search.clear)
        elif not rows:
            self._empty.show_text(
                "No images yet",
                "Pull one from a registry: nginx, postgres, your own.",
                "Pull an image",
                self.ask_to_pull,
            )
        self._update_buttons()

    def _update_buttons(self) -> None:
        count = len(self.table.selected_ids())
        self._run.setEnabled(count == 1)
        self._delete.setEnabled(count > 0)

    def _show_pulls(self) -> None:
        present = {id(bar.pull): bar for bar in self._bars}
        for bar in list(self._bars):
            if bar.pull not in self.presenter.pulls:
                self._bars.remove(bar)
                bar.setParent(None)
                bar.deleteLater()
            else:
                bar.refresh()
        for pull in self.presenter.pulls:
            if id(pull) not in present:
                bar = PullBar(pull, partial(self.presenter.cancel, pull), self._tokens())
                self._bars.append(bar)
                self._pulls.addWidget(bar)
        self._pulls.setContentsMargins(3 * SPACE, 0, 3 * SPACE, 2 * SPACE if self._bars else 0)

    def _selected(self) -> list[ImageRow]:
        return [row for row in map(self.presenter.row, self.table.selected_ids()) if row is not None]

    def ask_to_pull(self) -> None:
        """Ask for a name, then pull."""
        self._scope.run(self._ask_to_pull())

    async def _ask_to_pull(self) -> None:
        dialog = PullDialog(self.window())
        if await shown(dialog):
            self.presenter.pull(dialog.name.text())

    def ask_to_run(self) -> None:
        """Show the form, then run the selected image."""
        rows = self._selected()
        if len(rows) == 1:
            self._scope.run(self._ask_to_run(rows[0]))

    async def _ask_to_run(self, row: ImageRow) -> None:
        dialog = RunDialog(self.window(), row.reference if not row.is_dangling else row.short_id)
        if await shown(dialog):
            self.presenter.start(dialog.form(), row.reference)

    def ask_to_remove(self) -> None:
        """Ask, then delete what is selected."""
        rows = self._selected()
        if rows:
            self._scope.run(self._ask_to_remove(rows))

    async def _ask_to_remove(self, rows: list[ImageRow]) -> None:
        title = f"Delete {rows[0].reference}?" if len(rows) == 1 else f"Delete {len(rows)} images?"
        lines = [f"• {row.reference if not row.is_dangling else row.short_id}  ({size_text(row.size)})" for row in rows]
        shown_lines = lines[:10] + ([f"… and {len(lines) - 10} more"] if len(lines) > 10 else [])
        text = "\n".join(shown_lines) + "\n\nAn image that a container uses is not deleted."
        if await Question(self.window(), title, text, "Delete").ask():
            self.presenter.remove(rows)

    def _menu(self, point: QPoint) -> None:
        rows = self._selected()
        if not rows:
            return
        menu = QMenu(self)
        clipboard = QGuiApplication.clipboard()
        names = " ".join(row.reference for row in rows)
        entries: list[tuple[str, Callable[[], object]]] = [("Run…", self.ask_to_run)] if len(rows) == 1 else []
        entries += [
            ("Copy name", lambda: clipboard.setText(names)),
            ("Copy ID", lambda: clipboard.setText(" ".join(row.image_id for row in rows))),
            ("Delete…", self.ask_to_remove),
        ]
        for text, action in entries:
            entry = QAction(text, menu)
            entry.triggered.connect(lambda _=False, action=action: action())
            menu.addAction(entry)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(self.table.menu_place(point))

    def aclose(self) -> None:
        """Stop listening."""
        self._unlisten()
