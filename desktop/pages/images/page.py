"""The Images page: the table, pulling, running, deleting."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QAction, QGuiApplication, QKeySequence, QShortcut
from PySide6.QtWidgets import QFrame, QHBoxLayout, QMenu, QStackedWidget, QVBoxLayout, QWidget

from desktop.loop import Scope
from desktop.pages.images.dialogs import PullDialog, RunDialog
from desktop.pages.images.presenter import ImageRow, ImagesPresenter
from desktop.state.connection import Connection, Stage
from desktop.state.picture import CONNECTION, CONTAINERS, IMAGES, Picture
from desktop.state.sizes import size_text
from desktop.theme.tokens import SPACE, Tokens
from desktop.widgets.cells import CellDelegate
from desktop.widgets.parts import (
    ActionButton,
    EmptyState,
    IconButton,
    Question,
    button,
    dress_search,
    label,
    search_field,
    shown,
)
from desktop.widgets.rows import Column, RowModel
from desktop.widgets.table import RowTable


def columns() -> list[Column[ImageRow]]:
    """Return the table's columns."""
    return [
        Column(
            "Name", lambda row: "No name" if row.is_dangling else row.name,
            lambda row: (row.is_dangling, row.name.lower()), look="name", tone=_tone,
            below=lambda row: row.tag, below_when_hidden=1,
        ),
        Column("Tag", lambda row: "dangling" if row.is_dangling else row.tag, lambda row: row.tag.lower(), 168,
               look="pill", tone=lambda row: "amber" if row.is_dangling else "grey", drop=2),
        Column("ID", lambda row: row.short_id, lambda row: row.short_id, 124, look="mono", drop=3),
        Column("In use", used_text, lambda row: -row.used_by, 124, drop=1),
        Column("Size", lambda row: size_text(row.size), lambda row: -row.size, 92, right=True),
        Column("Created", lambda row: row.age, lambda row: -row.created_s, 96, right=True, drop=4),
        Column("", lambda row: "", lambda row: 0, 84, look="actions",
               parts=lambda row: (("play", "run"), ("trash", "delete"))),
    ]  # fmt: skip


def _tone(row: ImageRow) -> str:
    return "green" if row.used_by else "grey"


def used_text(row: ImageRow) -> str:
    """Return how many containers use an image, for people."""
    if not row.used_by:
        return ""
    return "1 container" if row.used_by == 1 else f"{row.used_by} containers"


class ImagesPage(QWidget):
    """The page."""

    def __init__(
        self,
        presenter: ImagesPresenter,
        picture: Picture,
        scope: Scope,
        tokens: Callable[[], Tokens],
        help_: Callable[[], None],
    ) -> None:
        """Show ``picture``'s images; ``help_`` does what the engine line's button says."""
        super().__init__()
        self._help = help_
        self.presenter = presenter
        self._picture = picture
        self._scope = scope
        self._tokens = tokens
        self.model: RowModel[ImageRow] = RowModel(columns())
        self.table = RowTable(self.model, CellDelegate(tokens))
        self.table.acted.connect(self._act)
        self._empty = EmptyState("images")
        self._count = label("", "muted")
        self.search = search_field("Search name, tag, ID", 260)
        self.search.textChanged.connect(lambda _: self.refresh())
        self._buttons = [
            ActionButton("play", "Run…", self.ask_to_run),
            ActionButton("trash", "Delete", self.ask_to_remove, danger=True),
        ]
        self._selected_text = label("", "strong")
        self._clear = IconButton("close", "Clear the selection", self.table.clearSelection)
        self.bar = QFrame()
        self.pull_button = button("Pull an image", self.ask_to_pull, "primary")
        self.prune_button = ActionButton("broom", "Delete dangling", self.ask_to_prune)
        self._lay_out()
        self.table.opened.connect(lambda _: self.ask_to_run())
        self.table.deleted.connect(self.ask_to_remove)
        self.table.customContextMenuRequested.connect(self._menu)
        self.table.selectionModel().selectionChanged.connect(lambda *_: self._update_buttons())
        self._unlisten = picture.listen(self._changed)
        QShortcut(QKeySequence.StandardKey.Find, self, self.search.setFocus)
        self.dress(tokens())
        self.refresh()

    def _lay_out(self) -> None:
        head = QHBoxLayout()
        head.setContentsMargins(3 * SPACE, 3 * SPACE, 3 * SPACE, 2 * SPACE)
        head.setSpacing(2 * SPACE)
        head.addWidget(label("Images", "title"))
        head.addWidget(self._count)
        head.addStretch()
        head.addWidget(self.prune_button)
        head.addWidget(self.search, 1)
        head.addWidget(self.pull_button)
        self.bar.setObjectName("selection")
        row = QHBoxLayout(self.bar)
        row.setContentsMargins(12, 4, 6, 4)
        row.setSpacing(2)
        row.addWidget(self._selected_text)
        row.addSpacing(SPACE)
        for item in self._buttons:
            row.addWidget(item)
        row.addStretch()
        row.addWidget(self._clear)
        self.bar.hide()
        self._body = QStackedWidget()
        holder = QWidget()
        inside = QVBoxLayout(holder)
        inside.setContentsMargins(2 * SPACE, 0, 2 * SPACE, SPACE)
        inside.setSpacing(SPACE)
        inside.addWidget(self.table)
        inside.addWidget(self.bar)  # beneath: above it would push the rows away from under a double click
        self._body.addWidget(holder)
        self._body.addWidget(self._empty)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(head)
        layout.addWidget(self._body, 1)

    def _changed(self, parts: frozenset[str]) -> None:
        if parts & {IMAGES, CONTAINERS, CONNECTION}:
            self.refresh()

    def dress(self, tokens: Tokens) -> None:
        """Colour what is not coloured by the style sheet."""
        for item in (*self._buttons, self.prune_button):
            item.dress(tokens)
        self._clear.dress(tokens)
        dress_search(self.search, tokens)
        self._empty.dress(tokens)

    def refresh(self) -> None:
        """Show what the picture has."""
        rows = self.presenter.rows(self.search.text())
        self.model.set_rows(rows)
        loaded = self._picture.is_loaded
        total = sum(item.size for item in self._picture.images.values())
        count = len(self._picture.images)
        told = "1 image" if count == 1 else f"{count} images"
        self._count.setText(f"{told}, {size_text(total)}" if loaded and count else "")
        self._body.setCurrentIndex(0 if rows else 1)
        connection = self._picture.connection
        is_running = connection.stage is Stage.RUNNING
        self.pull_button.setVisible(loaded)
        self.pull_button.setEnabled(is_running)
        self.search.setVisible(loaded)
        self.prune_button.setVisible(loaded and self.presenter.has_dangling())
        if not rows:
            self._say_why_empty(connection)
        self._update_buttons()

    def _say_why_empty(self, connection: Connection) -> None:
        if not self._picture.is_loaded and connection.stage in (Stage.CONNECTING, Stage.STARTING):
            self._empty.show_text("One moment", connection.sentence + ".", icon_name="clock")
        elif not self._picture.is_loaded:
            icon = "lock" if connection.stage is Stage.REFUSED else "plug"
            text = "Images appear here as soon as it answers."
            self._empty.show_text(connection.sentence, text, connection.button, self._help, icon)
        elif self._picture.images:
            text = "No image fits what you search for."
            self._empty.show_text("Nothing here", text, "Show all images", self.search.clear, "search")
        else:
            text = "Pull one from a registry: nginx, postgres, your own."
            self._empty.show_text("No images yet", text, "Pull an image", self.ask_to_pull, "images")

    def _update_buttons(self) -> None:
        count = len(self.table.selected_ids())
        self.bar.setVisible(count > 0)
        self._selected_text.setText(f"{count} selected")
        self._buttons[0].setEnabled(count == 1)

    def _selected(self) -> list[ImageRow]:
        return [row for row in map(self.presenter.row, self.table.selected_ids()) if row is not None]

    def ask_to_pull(self) -> None:
        """Ask for a name, then pull."""
        self._scope.run(self._ask_to_pull())

    async def _ask_to_pull(self) -> None:
        dialog = PullDialog(self.window())
        if await shown(dialog):
            self.presenter.pull(dialog.wanted())

    def ask_to_prune(self) -> None:
        """Ask, then delete the images without a name."""
        self._scope.run(self._ask_to_prune())

    async def _ask_to_prune(self) -> None:
        rows = self.presenter.prunable()
        lines = [f"• {row.short_id}  ({size_text(row.size)})" for row in rows]
        shown_lines = lines[:10] + ([f"… and {len(lines) - 10} more"] if len(lines) > 10 else [])
        text = "\n".join(shown_lines) if rows else "Each one is used by a container, so nothing will go."
        if await Question(self.window(), "Delete the images without a name?", text, "Delete").ask():
            self.presenter.prune()

    def _act(self, row_id: str, part: str) -> None:
        """Do what was clicked in a row."""
        row = self.presenter.row(row_id)
        if row is not None:
            self._scope.run(self._ask_to_run(row) if part == "run" else self._ask_to_remove([row]))

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
