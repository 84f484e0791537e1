"""Long work that goes on: what it is, how far, its steps on demand, and the way to give it up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QLabel, QProgressBar, QScrollArea, QVBoxLayout, QWidget

from desktop.theme.tokens import SPACE, Tokens
from desktop.widgets.parts import IconButton, label

_STEPS_HEIGHT = 152


@dataclass(frozen=True)
class Step:
    """One part of a task: its name, what is done, how much from 0 to 1 (None while nobody knows)."""

    name: str
    status: str
    share: float | None


@dataclass(frozen=True)
class Task:
    """A task as it is now."""

    title: str
    status: str
    share: float | None
    steps: tuple[Step, ...] = ()


def _bar() -> QProgressBar:
    made = QProgressBar()
    made.setTextVisible(False)
    made.setFixedHeight(6)
    return made


def _set(bar: QProgressBar, share: float | None) -> None:
    bar.setRange(0, 0 if share is None else 1000)
    if share is not None:
        bar.setValue(round(share * 1000))


class TaskCard(QFrame):
    """One task."""

    def __init__(self, cancel: Callable[[], None], tokens: Tokens) -> None:
        """``cancel`` gives it up."""
        super().__init__()
        self.setObjectName("card")
        self._title = label("", "strong")
        self.status = label("", "small")
        self.bar = _bar()
        self.more = IconButton("down", "Show the steps", checkable=True)
        self.more.toggled.connect(self._show_steps)
        self.cancel = IconButton("close", "Cancel", cancel)
        self._steps = QScrollArea()
        self._steps.setWidgetResizable(True)
        self._steps.setFrameShape(QScrollArea.Shape.NoFrame)
        self._steps.hide()
        inside = QWidget()
        inside.setObjectName("plain")
        self._grid = QGridLayout(inside)
        self._grid.setContentsMargins(0, SPACE // 2, SPACE, SPACE // 2)
        self._grid.setHorizontalSpacing(2 * SPACE)
        self._grid.setVerticalSpacing(6)
        self._grid.setColumnMinimumWidth(0, 104)
        self._grid.setColumnMinimumWidth(1, 150)
        self._grid.setColumnStretch(2, 1)
        self._steps.setWidget(inside)
        self._rows: list[tuple[QLabel, QLabel, QProgressBar]] = []
        head = QHBoxLayout()
        head.setSpacing(12)
        head.addWidget(self._title)
        head.addWidget(self.bar, 1)
        head.addWidget(self.status)
        head.addWidget(self.more)
        head.addWidget(self.cancel)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 6, 6, 6)
        layout.setSpacing(0)
        layout.addLayout(head)
        layout.addWidget(self._steps)
        self.dress(tokens)

    def dress(self, tokens: Tokens) -> None:
        """Colour the icons."""
        self.more.dress(tokens)
        self.cancel.dress(tokens)

    def _show_steps(self, on: bool) -> None:
        self._steps.setVisible(on)
        self.more.setToolTip("Hide the steps" if on else "Show the steps")

    def show_task(self, task: Task) -> None:
        """Show how far it is."""
        self._title.setText(task.title)
        self.status.setText(task.status)
        self.setAccessibleName(f"{task.title}: {task.status}")
        _set(self.bar, task.share)
        self.more.setVisible(bool(task.steps))
        while len(self._rows) < len(task.steps):
            place = len(self._rows)
            row = (label("", "small"), label("", "small"), _bar())
            for column, widget in enumerate(row):
                self._grid.addWidget(widget, place, column, Qt.AlignmentFlag.AlignVCenter)
            self._grid.setRowStretch(place, 0)
            self._grid.setRowStretch(place + 1, 1)
            self._rows.append(row)
            self._steps.setFixedHeight(min(_STEPS_HEIGHT, 22 * len(self._rows) + SPACE))
        for (name, status, bar), step in zip(self._rows, task.steps, strict=False):
            name.setText(step.name)
            status.setText(step.status)
            _set(bar, step.share)


class TasksArea(QFrame):
    """The tasks that go on, above the engine's line; gone when there are none."""

    def __init__(self, tokens: Callable[[], Tokens]) -> None:
        """Begin empty."""
        super().__init__()
        self.setObjectName("tasks")
        self._tokens = tokens
        self.cards: dict[int, TaskCard] = {}
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(2 * SPACE, SPACE, 2 * SPACE, SPACE)
        self._layout.setSpacing(SPACE)
        self.hide()

    def show_tasks(self, tasks: Sequence[tuple[int, Task, Callable[[], None]]]) -> None:
        """Show these tasks as (number, task, cancel), and no others."""
        present = {number for number, _, _ in tasks}
        for number in set(self.cards) - present:
            card = self.cards.pop(number)
            card.setParent(None)
            card.deleteLater()
        for number, task, cancel in tasks:
            if number not in self.cards:
                self.cards[number] = TaskCard(cancel, self._tokens())
                self._layout.addWidget(self.cards[number])
            self.cards[number].show_task(task)
        self.setVisible(bool(tasks))

    def dress(self, tokens: Tokens) -> None:
        """Colour the icons."""
        for card in self.cards.values():
            card.dress(tokens)
