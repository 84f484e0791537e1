"""A page that is a table: head with title and search, rows, a bar for what is selected, and why it is empty.

The pages of objects (containers, images, volumes, networks) are made of it; what they list and do is theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QAction, QKeySequence, QShortcut
from PySide6.QtWidgets import QFrame, QHBoxLayout, QMenu, QStackedWidget, QVBoxLayout, QWidget

from desktop.state.connection import Stage
from desktop.state.picture import CONNECTION, Picture
from desktop.theme.tokens import SPACE, Tokens
from desktop.widgets.cells import CellDelegate
from desktop.widgets.parts import ActionButton, EmptyState, IconButton, dress_search, label, search_field
from desktop.widgets.rows import Column, HasId, RowModel
from desktop.widgets.table import RowTable

R = TypeVar("R", bound=HasId)

MenuEntry = tuple[str, Callable[[], object] | None]
"""An entry's text and what it does; None draws a line."""


@dataclass(frozen=True)
class Emptiness:
    """What an empty page says: what it is, the one thing to do (a button's text), what that does, an icon's name."""

    title: str
    text: str
    action: str = ""
    do: Callable[[], object] | None = None
    icon_name: str = ""


class TablePage(QWidget, Generic[R]):
    """The frame. A page fills in ``listed``, ``told_count``, ``nothing_there`` and ``menu_entries``."""

    def __init__(
        self,
        title: str,
        icon_name: str,
        columns: Sequence[Column[R]],
        picture: Picture,
        tokens: Callable[[], Tokens],
        help_: Callable[[], None],
        *,
        searched: str,
        shows: frozenset[str],
    ) -> None:
        """``searched`` says in the field what it finds, ``shows`` names the parts of the picture that are shown.

        ``help_`` does what the engine line's button says. The page calls ``ready`` when it is made.
        """
        super().__init__()
        self.title = title
        self.picture = picture
        self.tokens = tokens
        self._icon_name = icon_name
        self._help = help_
        self._shows = shows | {CONNECTION}
        self.model: RowModel[R] = RowModel(columns)
        self.table = RowTable(self.model, CellDelegate(tokens))
        self.empty = EmptyState(icon_name)
        self.count = label("", "muted")
        self.search = search_field(searched, 260)
        self.search.textChanged.connect(lambda _: self.refresh())
        self.actions_: list[ActionButton] = []
        self.head_widgets: list[QWidget] = []
        self._dressed: list[ActionButton | IconButton] = []
        self._selected_text = label("", "strong")
        self.clear_button = IconButton("close", "Clear the selection", self.table.clearSelection)
        self.bar = QFrame()
        self._bar_row = QHBoxLayout(self.bar)
        self._head = QHBoxLayout()
        self.body = QStackedWidget()
        self.table.customContextMenuRequested.connect(self._menu)
        self.table.selectionModel().selectionChanged.connect(lambda *_: self.update_actions())
        self._unlisten = picture.listen(self._changed)

    def ready(
        self, before_search: Sequence[QWidget], after_search: Sequence[QWidget], actions: list[ActionButton]
    ) -> None:
        """Lay the page out with what is its own: beside the search, and for what is selected."""
        self.actions_ = actions
        self.head_widgets = [*before_search, *after_search]
        self._dressed = [*actions, self.clear_button]
        self._dressed += [item for item in self.head_widgets if isinstance(item, (ActionButton, IconButton))]
        self._lay_out_head(before_search, after_search)
        self._lay_out_bar()
        holder = QWidget()
        inside = QVBoxLayout(holder)
        inside.setContentsMargins(2 * SPACE, 0, 2 * SPACE, SPACE)
        inside.setSpacing(SPACE)
        inside.addWidget(self.table)
        inside.addWidget(self.bar)  # beneath: above it would push the rows away from under a double click
        self.body.addWidget(holder)
        self.body.addWidget(self.empty)
        self.lay_out()
        QShortcut(QKeySequence.StandardKey.Find, self, self.go_to_search)
        self.dress(self.tokens())
        self.refresh()

    def _lay_out_head(self, before_search: Sequence[QWidget], after_search: Sequence[QWidget]) -> None:
        head = self._head
        head.setContentsMargins(3 * SPACE, 3 * SPACE, 3 * SPACE, 2 * SPACE)
        head.setSpacing(2 * SPACE)
        head.addWidget(label(self.title, "title"))
        head.addWidget(self.count)
        for item in before_search:
            head.addWidget(item)
        head.addStretch()
        head.addWidget(self.search, 1)
        for item in after_search:
            head.addWidget(item)

    def _lay_out_bar(self) -> None:
        self.bar.setObjectName("selection")
        row = self._bar_row
        row.setContentsMargins(12, 4, 6, 4)
        row.setSpacing(2)
        row.addWidget(self._selected_text)
        row.addSpacing(SPACE)
        for item in self.actions_:
            row.addWidget(item)
        row.addStretch()
        row.addWidget(self.clear_button)
        self.bar.hide()

    def list_view(self) -> QWidget:
        """Return head and table as one widget, for a page that shows something else at times."""
        view = QWidget()
        layout = QVBoxLayout(view)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(self._head)
        layout.addWidget(self.body, 1)
        return view

    def lay_out(self) -> None:
        """Put head and table into the page."""
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.list_view())

    # What a page fills in

    def listed(self, text: str) -> list[R]:
        """Return the rows that fit a search."""
        raise NotImplementedError

    def told_count(self) -> str:
        """Return what stands behind the title, such as ``12 images, 3.4 GB``."""
        raise NotImplementedError

    def total(self) -> int:
        """Return how many rows there are without a search."""
        raise NotImplementedError

    def nothing_there(self) -> Emptiness:
        """Return what an engine without any object of the page is told with."""
        raise NotImplementedError

    def menu_entries(self, rows: list[R]) -> list[MenuEntry]:
        """Return the menu of the selected rows."""
        raise NotImplementedError

    def enable_actions(self, rows: list[R]) -> None:
        """Say which actions the selected rows allow."""

    # What it does

    def _changed(self, parts: frozenset[str]) -> None:
        if parts & self._shows:
            self.refresh()

    def go_to_search(self) -> None:
        """Go to the search."""
        self.search.setFocus()

    def dress(self, tokens: Tokens) -> None:
        """Colour what is not coloured by the style sheet."""
        for item in self._dressed:
            item.dress(tokens)
        dress_search(self.search, tokens)
        self.empty.dress(tokens)

    def refresh(self) -> None:
        """Show what the picture has."""
        rows = self.listed(self.search.text())
        self.model.set_rows(rows)
        is_loaded = self.picture.is_loaded
        self.count.setText(self.told_count() if is_loaded and self.total() else "")
        self.body.setCurrentIndex(0 if rows else 1)
        self.search.setVisible(is_loaded)
        if not rows:
            self._say_why_empty()
        self.update_actions()

    def clear_filters(self) -> None:
        """Show everything."""
        self.search.clear()

    def _say_why_empty(self) -> None:
        connection = self.picture.connection
        if not self.picture.is_loaded and connection.stage in (Stage.CONNECTING, Stage.STARTING):
            self.empty.show_text("One moment", connection.sentence + ".", icon_name="clock")
        elif not self.picture.is_loaded:
            icon = "lock" if connection.stage is Stage.REFUSED else "plug"
            text = f"{self.title} appear here as soon as it answers."
            self.empty.show_text(connection.sentence, text, connection.button, self._help, icon)
        elif self.total():
            what = self.title.lower()
            text = f"None of the {what} fits what you search for." if self.search.text() else f"No {what} of this kind."
            self.empty.show_text("Nothing here", text, f"Show all {what}", self.clear_filters, "search")
        else:
            found = self.nothing_there()
            icon = found.icon_name or self._icon_name
            self.empty.show_text(found.title, found.text, found.action, found.do, icon)

    def selected(self) -> list[R]:
        """Return the selected rows."""
        places = (self.model.row_of(row_id) for row_id in self.table.selected_ids())
        return [row for row in map(self.model.at, places) if row is not None]

    def row(self, row_id: str) -> R | None:
        """Return a row that is shown."""
        return self.model.at(self.model.row_of(row_id))

    def update_actions(self) -> None:
        """Show the bar while something is selected."""
        rows = self.selected()
        self.bar.setVisible(len(rows) > 0)
        self._selected_text.setText(f"{len(rows)} selected")
        self.enable_actions(rows)

    def _menu(self, point: QPoint) -> None:
        rows = self.selected()
        if rows:
            show_menu(self, self.menu_entries(rows), self.table.menu_place(point))

    def aclose(self) -> None:
        """Stop listening."""
        self._unlisten()


def show_menu(parent: QWidget, entries: Sequence[MenuEntry], place: QPoint) -> QMenu:
    """Open a menu at a place of the screen."""
    menu = QMenu(parent)
    for text, action in entries:
        if action is None:
            menu.addSeparator()
            continue
        entry = QAction(text, menu)
        entry.triggered.connect(lambda _=False, action=action: action())
        menu.addAction(entry)
    menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    menu.popup(place)
    return menu


def listing_text(lines: Sequence[str], most: int = 10) -> str:
    """Return lines as a question shows them: bulleted, and how many more there are."""
    shown = [f"• {text}" for text in lines[:most]]
    return "\n".join(shown + ([f"… and {len(lines) - most} more"] if len(lines) > most else []))
