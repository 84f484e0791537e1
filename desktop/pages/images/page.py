"""The Images page: the table, pulling, running, deleting."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtGui import QGuiApplication

from desktop.loop import Scope
from desktop.pages.images.dialogs import PullDialog, RunDialog
from desktop.pages.images.presenter import ImageRow, ImagesPresenter
from desktop.state.connection import Stage
from desktop.state.picture import CONTAINERS, IMAGES, Picture
from desktop.state.sizes import size_text
from desktop.theme.tokens import Tokens
from desktop.widgets.parts import ActionButton, Question, button, shown
from desktop.widgets.rows import Column
from desktop.widgets.tablepage import Emptiness, MenuEntry, TablePage, listing_text


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


class ImagesPage(TablePage[ImageRow]):
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
        super().__init__(
            "Images", "images", columns(), picture, tokens, help_,
            searched="Search name, tag, ID", shows=frozenset({IMAGES, CONTAINERS}),
        )  # fmt: skip
        self.presenter = presenter
        self._scope = scope
        self.pull_button = button("Pull an image", self.ask_to_pull, "primary")
        self.prune_button = ActionButton("broom", "Delete dangling", self.ask_to_prune)
        self.table.acted.connect(self._act)
        self.table.opened.connect(lambda _: self.ask_to_run())
        self.table.deleted.connect(self.ask_to_remove)
        self.ready(
            [],
            [self.prune_button, self.pull_button],
            [
                ActionButton("play", "Run…", self.ask_to_run),
                ActionButton("trash", "Delete", self.ask_to_remove, danger=True),
            ],
        )

    def listed(self, text: str) -> list[ImageRow]:
        """Return the rows that fit a search."""
        return self.presenter.rows(text)

    def total(self) -> int:
        """Return how many images there are."""
        return len(self.picture.images)

    def told_count(self) -> str:
        """Return how many images there are and their size."""
        count = self.total()
        size = sum(item.size for item in self.picture.images.values())
        return f"{'1 image' if count == 1 else f'{count} images'}, {size_text(size)}"

    def nothing_there(self) -> Emptiness:
        """Offer to pull one."""
        text = "Pull one from a registry: nginx, postgres, your own."
        return Emptiness("No images yet", text, "Pull an image", self.ask_to_pull)

    def refresh(self) -> None:
        """Show what the picture has."""
        super().refresh()
        loaded = self.picture.is_loaded
        self.pull_button.setVisible(loaded)
        self.pull_button.setEnabled(self.picture.connection.stage is Stage.RUNNING)
        self.prune_button.setVisible(loaded and self.presenter.has_dangling())

    def enable_actions(self, rows: list[ImageRow]) -> None:
        """One is run at a time."""
        self.actions_[0].setEnabled(len(rows) == 1)

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
        lines = [f"{row.short_id}  ({size_text(row.size)})" for row in rows]
        text = listing_text(lines) or "Each one is used by a container, so nothing will go."
        if await Question(self.window(), "Delete the images without a name?", text, "Delete").ask():
            self.presenter.prune()

    def _act(self, row_id: str, part: str) -> None:
        """Do what was clicked in a row."""
        row = self.presenter.row(row_id)
        if row is not None:
            self._scope.run(self._ask_to_run(row) if part == "run" else self._ask_to_remove([row]))

    def ask_to_run(self) -> None:
        """Show the form, then run the selected image."""
        rows = self.selected()
        if len(rows) == 1:
            self._scope.run(self._ask_to_run(rows[0]))

    def run_image(self, row: ImageRow) -> None:
        """Show the form for an image, then run it."""
        self._scope.run(self._ask_to_run(row))

    async def _ask_to_run(self, row: ImageRow) -> None:
        dialog = RunDialog(self.window(), row.reference if not row.is_dangling else row.short_id)
        if await shown(dialog):
            self.presenter.start(dialog.form(), row.reference)

    def ask_to_remove(self) -> None:
        """Ask, then delete what is selected."""
        rows = self.selected()
        if rows:
            self._scope.run(self._ask_to_remove(rows))

    async def _ask_to_remove(self, rows: list[ImageRow]) -> None:
        title = f"Delete {rows[0].reference}?" if len(rows) == 1 else f"Delete {len(rows)} images?"
        lines = [f"{row.reference if not row.is_dangling else row.short_id}  ({size_text(row.size)})" for row in rows]
        text = listing_text(lines) + "\n\nAn image that a container uses is not deleted."
        if await Question(self.window(), title, text, "Delete").ask():
            self.presenter.remove(rows)

    def menu_entries(self, rows: list[ImageRow]) -> list[MenuEntry]:
        """Return the menu of the selected rows."""
        clipboard = QGuiApplication.clipboard()
        names = " ".join(row.reference for row in rows)
        entries: list[MenuEntry] = [("Run…", self.ask_to_run)] if len(rows) == 1 else []
        return [
            *entries,
            ("Copy name", lambda: clipboard.setText(names)),
            ("Copy ID", lambda: clipboard.setText(" ".join(row.image_id for row in rows))),
            ("", None),
            ("Delete…", self.ask_to_remove),
        ]
