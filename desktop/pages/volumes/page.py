"""The Volumes page: the table with who uses what and how big it is, making, deleting."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtGui import QGuiApplication, QShowEvent

from desktop.loop import Scope
from desktop.pages.volumes.presenter import VolumeRow, VolumesPresenter, question_about_removal
from desktop.state.picture import CONTAINERS, VOLUMES, Picture
from desktop.state.sizes import size_text
from desktop.theme.tokens import Tokens
from desktop.widgets.inspectdialog import InspectDialog
from desktop.widgets.parts import ActionButton, Question, button, shown
from desktop.widgets.rows import Column
from desktop.widgets.tablepage import Emptiness, MenuEntry, TablePage
from desktop.widgets.textdialog import TextDialog


def columns() -> list[Column[VolumeRow]]:
    """Return the table's columns."""
    return [
        Column(
            "Name", lambda row: row.short_name, lambda row: row.name.lower(), look="name", share=3,
            tone=lambda row: "green" if row.users else "grey",
        ),
        Column("Kind", lambda row: row.told_kind, lambda row: row.told_kind, 124, look="pill",
               tone=lambda row: "amber" if row.busy else "grey", drop=2),
        Column("Used by", lambda row: row.users_text, lambda row: (not row.users, row.users_text), share=2),
        Column("Driver", lambda row: row.driver, lambda row: row.driver, 96, drop=4),
        Column("Size", lambda row: row.size_text, lambda row: -row.size, 92, right=True, drop=1),
        Column("Created", lambda row: row.age, lambda row: -row.created_s, 96, right=True, drop=3),
        Column("", lambda row: "", lambda row: 0, 84, look="actions",
               parts=lambda row: () if row.busy else (("list", "inspect"), ("trash", "delete"))),
    ]  # fmt: skip


class VolumesPage(TablePage[VolumeRow]):
    """The page."""

    def __init__(
        self,
        presenter: VolumesPresenter,
        picture: Picture,
        scope: Scope,
        tokens: Callable[[], Tokens],
        help_: Callable[[], None],
    ) -> None:
        """Show ``picture``'s volumes."""
        super().__init__(
            "Volumes", "volumes", columns(), picture, tokens, help_,
            searched="Search name, container", shows=frozenset({VOLUMES, CONTAINERS}),
        )  # fmt: skip
        self.presenter = presenter
        self._scope = scope
        self.create_button = button("New volume", self.ask_to_create, "primary")
        self.prune_button = ActionButton("broom", "Delete unused", self.ask_to_prune)
        self.measure_button = ActionButton("restart", "Measure sizes", presenter.measure)
        presenter.doing.on_change = self.refresh
        presenter.on_sizes = self.refresh
        self.table.acted.connect(self._act)
        self.table.opened.connect(self.show_inspect)
        self.table.deleted.connect(self.ask_to_remove)
        self.ready(
            [],
            [self.measure_button, self.prune_button, self.create_button],
            [
                ActionButton("list", "Inspect", self._inspect_selected),
                ActionButton("trash", "Delete", self.ask_to_remove, danger=True),
            ],
        )

    def listed(self, text: str) -> list[VolumeRow]:
        """Return the rows that fit a search."""
        return self.presenter.rows(text)

    def total(self) -> int:
        """Return how many volumes there are."""
        return len(self.picture.volumes)

    def told_count(self) -> str:
        """Return how many there are, and their size as far as it was measured."""
        rows = self.presenter.rows()
        size = sum(max(0, row.size) for row in rows)
        told = "1 volume" if len(rows) == 1 else f"{len(rows)} volumes"
        return f"{told}, {size_text(size)}" if any(row.size >= 0 for row in rows) else told

    def nothing_there(self) -> Emptiness:
        """Say what a volume is for, or why there are none to see."""
        if VOLUMES in self.picture.missing:
            return Emptiness("This engine has no volumes to show", self.picture.missing[VOLUMES], icon_name="plug")
        text = "A volume keeps what a container writes when the container is deleted."
        return Emptiness("No volumes yet", text, "New volume", self.ask_to_create)

    def refresh(self) -> None:
        """Show what the picture has."""
        super().refresh()
        loaded = self.picture.is_loaded and VOLUMES not in self.picture.missing
        for item in (self.create_button, self.measure_button):
            item.setVisible(loaded)
        self.measure_button.setVisible(loaded and self.total() > 0)
        self.prune_button.setVisible(loaded and bool(self.presenter.unused()))
        self._measure_once()

    def enable_actions(self, rows: list[VolumeRow]) -> None:
        """Inspect is for one; what is used cannot be deleted."""
        inspect, remove = self.actions_
        inspect.setEnabled(len(rows) == 1)
        remove.setEnabled(any(not row.users and not row.busy for row in rows))

    def showEvent(self, event: QShowEvent) -> None:
        """What is looked at is measured."""
        super().showEvent(event)
        self._measure_once()

    def _measure_once(self) -> None:
        if self.isVisible() and self.picture.volumes and not self.presenter.was_measured:
            self.presenter.measure()

    def ask_to_create(self) -> None:
        """Ask for a name, then make a volume."""
        self._scope.run(self._ask_to_create())

    async def _ask_to_create(self) -> None:
        hint = "Leave it empty and the engine makes a name up."
        dialog = TextDialog(self.window(), "New volume", "Name", hint, "Make it", self.presenter.problem)
        if await shown(dialog):
            self.presenter.create(dialog.text())

    def ask_to_remove(self) -> None:
        """Ask, then delete what is selected."""
        rows = self.selected()
        if rows:
            self._scope.run(self._ask_to_remove(rows))

    def ask_to_prune(self) -> None:
        """Ask, then delete the volumes that no container has."""
        self._scope.run(self._ask_to_remove(self.presenter.unused()))

    async def _ask_to_remove(self, rows: list[VolumeRow]) -> None:
        title, text, can_go = question_about_removal(rows)
        if not can_go:
            title = f"{title.removeprefix('Delete ').removesuffix('?').capitalize()} cannot be deleted"
            await Question(self.window(), title, text, "Close", danger=False).ask()
        elif await Question(self.window(), title, text, "Delete").ask():
            self.presenter.remove([row for row in rows if not row.users])

    def _act(self, name: str, part: str) -> None:
        row = self.row(name)
        if row is not None and part == "inspect":
            self.show_inspect(name)
        elif row is not None:
            self._scope.run(self._ask_to_remove([row]))

    def _inspect_selected(self) -> None:
        for row in self.selected()[:1]:
            self.show_inspect(row.name)

    def show_inspect(self, name: str) -> None:
        """Show a volume's own JSON."""
        self.presenter.inspect(name, lambda data: InspectDialog(self.window(), name, data, self.tokens).open())

    def menu_entries(self, rows: list[VolumeRow]) -> list[MenuEntry]:
        """Return the menu of the selected rows."""
        clipboard = QGuiApplication.clipboard()
        names = " ".join(row.name for row in rows)
        one: list[MenuEntry] = []
        if len(rows) == 1:
            mount = f"-v {rows[0].name}:/data"
            one = [
                ("Inspect", self._inspect_selected),
                ("", None),
                ("Copy for docker run", lambda: clipboard.setText(mount)),
                ("Copy its place on the host", lambda: clipboard.setText(rows[0].mountpoint)),
            ]
        return [
            *one,
            ("Copy name", lambda: clipboard.setText(names)),
            ("", None),
            ("Delete…", self.ask_to_remove),
        ]
