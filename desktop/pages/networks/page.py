"""The Networks page: a table, or a graph of what is connected to what; making, deleting, connecting."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QPoint
from PySide6.QtGui import QGuiApplication

from desktop.loop import Scope
from desktop.pages.networks.dialog import NetworkDialog
from desktop.pages.networks.graph import GraphView
from desktop.pages.networks.layout import Resident, lay_out
from desktop.pages.networks.presenter import Member, NetworkRow, NetworksPresenter, question_about_removal
from desktop.state.picture import CONTAINERS, NETWORKS, Picture
from desktop.theme.tokens import Tokens
from desktop.widgets.inspectdialog import InspectDialog
from desktop.widgets.parts import ActionButton, Question, Segments, button, shown
from desktop.widgets.rows import Column
from desktop.widgets.tablepage import Emptiness, MenuEntry, TablePage, show_menu

TABLE, GRAPH = "table", "graph"


def columns() -> list[Column[NetworkRow]]:
    """Return the table's columns."""
    return [
        Column(
            "Name", lambda row: row.name, lambda row: row.name.lower(), look="name", share=2,
            tone=lambda row: "green" if row.members else "grey",
        ),
        Column("Kind", lambda row: row.told_kind, lambda row: row.told_kind, 124, look="pill",
               tone=lambda row: "amber" if row.busy or row.is_internal else "grey", drop=3),
        Column("Subnet", lambda row: row.subnets_text, lambda row: row.subnets_text, 196, look="mono", drop=1),
        Column("Containers", lambda row: row.members_text, lambda row: (-len(row.members), row.members_text), share=3),
        Column("Created", lambda row: row.age, lambda row: -row.created_s, 96, right=True, drop=2),
        Column("", lambda row: "", lambda row: 0, 84, look="actions",
               parts=lambda row: () if row.busy
               else (("list", "inspect"),) if row.is_built_in
               else (("list", "inspect"), ("trash", "delete"))),
    ]  # fmt: skip


class NetworksPage(TablePage[NetworkRow]):
    """The page."""

    def __init__(
        self,
        presenter: NetworksPresenter,
        picture: Picture,
        scope: Scope,
        residents: Callable[[], list[Resident]],
        open_container: Callable[[str], None],
        tokens: Callable[[], Tokens],
        help_: Callable[[], None],
    ) -> None:
        """``residents`` returns the containers for the graph, ``open_container`` shows one."""
        super().__init__(
            "Networks", "networks", columns(), picture, tokens, help_,
            searched="Search name, subnet, container", shows=frozenset({NETWORKS, CONTAINERS}),
        )  # fmt: skip
        self.presenter = presenter
        self._scope = scope
        self._residents = residents
        self.graph = GraphView(tokens)
        self.graph.opened.connect(open_container)
        self.graph.connected.connect(self._connect_dragged)
        self.graph.asked.connect(self._ask_in_graph)
        self.view = Segments([(TABLE, "Table"), (GRAPH, "Graph")])
        self.view.chosen.connect(lambda _: self.refresh())
        self.create_button = button("New network", self.ask_to_create, "primary")
        self.prune_button = ActionButton("broom", "Delete unused", self.ask_to_prune)
        presenter.doing.on_change = self.refresh
        self.table.acted.connect(self._act)
        self.table.opened.connect(self.show_inspect)
        self.table.deleted.connect(self.ask_to_remove)
        self.ready(
            [self.view],
            [self.prune_button, self.create_button],
            [
                ActionButton("list", "Inspect", self._inspect_selected),
                ActionButton("link", "Connect…", self._choose_to_connect),
                ActionButton("trash", "Delete", self.ask_to_remove, danger=True),
            ],
        )
        self.body.addWidget(self.graph)

    def listed(self, text: str) -> list[NetworkRow]:
        """Return the rows that fit a search."""
        return self.presenter.rows(text)

    def total(self) -> int:
        """Return how many networks there are."""
        return len(self.picture.networks)

    def told_count(self) -> str:
        """Return how many networks there are."""
        count = self.total()
        return "1 network" if count == 1 else f"{count} networks"

    def nothing_there(self) -> Emptiness:
        """Say why there are none: an engine has three of its own."""
        reason = self.picture.missing.get(NETWORKS, "They appear here as soon as the engine tells of them.")
        return Emptiness("No networks to show", reason, icon_name="plug")

    def refresh(self) -> None:
        """Show what the picture has."""
        super().refresh()
        loaded = self.picture.is_loaded and NETWORKS not in self.picture.missing
        for item in (self.create_button, self.view):
            item.setVisible(loaded)
        self.prune_button.setVisible(loaded and bool(self.presenter.unused()))
        rows = self.model.rows()
        if self.view.key == GRAPH and rows:
            self.graph.show_graph(lay_out(rows, self._residents()))
            self.body.setCurrentWidget(self.graph)
            self.bar.hide()

    def enable_actions(self, rows: list[NetworkRow]) -> None:
        """Inspect and connect are for one; what the engine made stays."""
        inspect, connect, remove = self.actions_
        inspect.setEnabled(len(rows) == 1)
        connect.setEnabled(len(rows) == 1 and rows[0].driver not in ("host", "null"))
        remove.setEnabled(any(not row.is_built_in and not row.busy for row in rows))

    def ask_to_create(self) -> None:
        """Ask what it is to be, then make a network."""
        self._scope.run(self._ask_to_create())

    async def _ask_to_create(self) -> None:
        dialog = NetworkDialog(self.window(), self.presenter)
        if await shown(dialog):
            name, subnet, gateway = dialog.values()
            self.presenter.create(
                name,
                dialog.driver.currentText(),
                subnet,
                gateway,
                internal=dialog.internal.isChecked(),
                ipv6=dialog.ipv6.isChecked(),
            )

    def ask_to_remove(self) -> None:
        """Ask, then delete what is selected."""
        rows = [row for row in self.selected() if not row.is_built_in]
        if rows:
            self._scope.run(self._ask_to_remove(rows))

    def ask_to_prune(self) -> None:
        """Ask, then delete the networks that no container is on."""
        self._scope.run(self._ask_to_remove(self.presenter.unused()))

    async def _ask_to_remove(self, rows: list[NetworkRow]) -> None:
        title, text = question_about_removal(rows)
        if all(row.members for row in rows):
            title = f"{rows[0].name} is in use" if len(rows) == 1 else "They are in use"
            await Question(self.window(), title, text, "Close", danger=False).ask()
        elif await Question(self.window(), title, text, "Delete").ask():
            self.presenter.remove([row for row in rows if not row.members])

    def _act(self, network_id: str, part: str) -> None:
        row = self.row(network_id)
        if row is not None and part == "inspect":
            self.show_inspect(network_id)
        elif row is not None:
            self._scope.run(self._ask_to_remove([row]))

    def _inspect_selected(self) -> None:
        for row in self.selected()[:1]:
            self.show_inspect(row.id)

    def show_inspect(self, network_id: str) -> None:
        """Show a network's own JSON."""
        row = self.row(network_id)
        if row is not None:
            self.presenter.inspect(row, lambda data: InspectDialog(self.window(), row.name, data, self.tokens).open())

    def _choose_to_connect(self) -> None:
        for row in self.selected()[:1]:
            place = self.actions_[1].mapToGlobal(QPoint(0, 0))
            show_menu(self, self._connect_entries(row), place)

    def _connect_entries(self, row: NetworkRow) -> list[MenuEntry]:
        def connect(member: Member) -> Callable[[], object]:
            return lambda: self.presenter.connect(row, member)

        found: list[MenuEntry] = [(f"Connect {one.name}", connect(one)) for one in self.presenter.connectable(row)]
        return found or [("Every container is on it already", lambda: None)]

    def _disconnect_entries(self, row: NetworkRow, only: str = "") -> list[MenuEntry]:
        def disconnect(member: Member) -> Callable[[], object]:
            return lambda: self.presenter.disconnect(row, member)

        return [
            (f"Take {member.name} off {row.name}", disconnect(member))
            for member in row.members
            if only in ("", member.id)
        ]

    def _connect_dragged(self, container_id: str, network_id: str) -> None:
        row = self.row(network_id)
        if row is not None:
            for member in self.presenter.connectable(row):
                if member.id == container_id:
                    self.presenter.connect(row, member)

    def _ask_in_graph(self, container_id: str, network_id: str, place: QPoint) -> None:
        entries: list[MenuEntry] = []
        if container_id:
            for row in self.model.rows():
                entries += self._disconnect_entries(row, container_id)
        elif (row_ := self.row(network_id)) is not None:
            entries = [("Inspect", lambda: self.show_inspect(network_id)), ("", None), *self._connect_entries(row_)]
        if entries:
            show_menu(self, entries, place)

    def menu_entries(self, rows: list[NetworkRow]) -> list[MenuEntry]:
        """Return the menu of the selected rows."""
        clipboard = QGuiApplication.clipboard()
        names = " ".join(row.name for row in rows)
        ids = " ".join(row.id for row in rows)
        one: list[MenuEntry] = []
        if len(rows) == 1:
            one = [("Inspect", self._inspect_selected), ("", None)]
            one += [*self._connect_entries(rows[0])[:20], *self._disconnect_entries(rows[0])[:20], ("", None)]
        deletion: list[MenuEntry] = [("", None), ("Delete…", self.ask_to_remove)]
        is_own = any(not row.is_built_in for row in rows)
        return [
            *one,
            ("Copy name", lambda: clipboard.setText(names)),
            ("Copy ID", lambda: clipboard.setText(ids)),
            *(deletion if is_own else []),
        ]
