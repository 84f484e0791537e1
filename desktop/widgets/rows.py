"""An item model over a list of rows with an ID, sorted and filtered by itself; selection survives refreshes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt

ID_ROLE = int(Qt.ItemDataRole.UserRole)
ROW_ROLE = ID_ROLE + 1

AnyIndex = QModelIndex | QPersistentModelIndex
_NO_INDEX = QModelIndex()


class HasId(Protocol):
    """A row."""

    @property
    def id(self) -> str:
        """What tells it from the others."""


R = TypeVar("R", bound=HasId)


@dataclass(frozen=True)
class Column(Generic[R]):
    """One column: what it is called, its text, what it is sorted by, and how it looks.

    ``width`` 0 stretches by ``share``.
    ``look`` is text, path, name (strong, with a dot), pill, links, mono or actions; ``tone``
    names the colour of the dot or pill, ``parts`` are the (text, address or action) that can be clicked,
    ``below`` is a second line shown while column ``below_when_hidden`` is hidden. Columns with the highest
    ``drop`` go first when the window is narrow.
    """

    title: str
    text: Callable[[R], str]
    key: Callable[[R], Any]
    width: int = 0
    share: int = 1
    right: bool = False
    look: str = "text"
    tone: Callable[[R], str] | None = None
    parts: Callable[[R], Sequence[tuple[str, str]]] | None = None
    below: Callable[[R], str] | None = None
    below_when_hidden: int = -1
    drop: int = 0


class RowModel(QAbstractTableModel, Generic[R]):
    """Rows in a table. One ``dataChanged`` a refresh where the rows stay, else one ``layoutChanged``."""

    def __init__(self, columns: Sequence[Column[R]]) -> None:
        """Begin empty, sorted by the first column."""
        super().__init__()
        self.columns = list(columns)
        self._rows: list[R] = []
        self._places: dict[str, int] = {}
        self._sort = 0
        self._descending = False

    def rows(self) -> list[R]:
        """Return the rows as they are shown."""
        return list(self._rows)

    def row_of(self, row_id: str) -> int:
        """Return where a row is, -1 when it is not shown."""
        return self._places.get(row_id, -1)

    def at(self, place: int) -> R | None:
        """Return the row at a place."""
        return self._rows[place] if 0 <= place < len(self._rows) else None

    def set_rows(self, rows: list[R]) -> None:
        """Show other rows, in the present order."""
        ordered = self._ordered(rows)
        if [row.id for row in ordered] == [row.id for row in self._rows]:
            changed = [place for place, (old, new) in enumerate(zip(self._rows, ordered, strict=True)) if old != new]
            self._rows = ordered
            if changed:
                last = self.index(changed[-1], len(self.columns) - 1)
                self.dataChanged.emit(self.index(changed[0], 0), last)
            return
        self.layoutAboutToBeChanged.emit()
        before = self.persistentIndexList()
        ids = [self._rows[index.row()].id for index in before]
        self._rows = ordered
        self._places = {row.id: place for place, row in enumerate(ordered)}
        after = [
            self.index(self._places[row_id], index.column()) if row_id in self._places else QModelIndex()
            for row_id, index in zip(ids, before, strict=True)
        ]
        self.changePersistentIndexList(before, after)
        self.layoutChanged.emit()

    def _ordered(self, rows: list[R]) -> list[R]:
        if not rows:
            return []
        key = self.columns[self._sort].key
        return sorted(rows, key=lambda row: (key(row), row.id), reverse=self._descending)

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column; one of actions has no order."""
        if 0 <= column < len(self.columns) and self.columns[column].look == "actions":
            return
        self._sort = max(0, column)
        self._descending = order == Qt.SortOrder.DescendingOrder
        self.set_rows(self._rows)

    def rowCount(self, parent: AnyIndex = _NO_INDEX) -> int:
        """Return how many rows there are."""
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: AnyIndex = _NO_INDEX) -> int:
        """Return how many columns there are."""
        return 0 if parent.isValid() else len(self.columns)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = int(Qt.ItemDataRole.DisplayRole)
    ) -> Any:  # noqa: ANN401 - Qt's variant
        """Return a column's title."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return self.columns[section].title
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignRight if self.columns[section].right else Qt.AlignmentFlag.AlignLeft
            return int(side | Qt.AlignmentFlag.AlignVCenter)
        return None

    def data(self, index: AnyIndex, role: int = int(Qt.ItemDataRole.DisplayRole)) -> Any:  # noqa: ANN401 - Qt's variant
        """Return what is shown of a cell."""
        row = self.at(index.row())
        if row is None:
            return None
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole, Qt.ItemDataRole.AccessibleTextRole):
            return self.columns[index.column()].text(row)
        if role == ID_ROLE:
            return row.id
        if role == ROW_ROLE:
            return row
        return None
