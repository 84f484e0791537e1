"""What the Images page asks: the name to pull, and the small form to run an image."""

from __future__ import annotations

import re

from PySide6.QtWidgets import (
    QDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QVBoxLayout,
    QWidget,
)

from desktop.pages.images.presenter import RunForm, name_problem
from desktop.theme.tokens import SPACE
from desktop.widgets.parts import CheckBox, button, fit, label, mark_invalid

_LINE_HEIGHT = 54


def _title(widget: QWidget, text: str) -> QVBoxLayout:
    part = QVBoxLayout()
    part.setSpacing(SPACE // 2)
    title = label(text, "small")
    title.setBuddy(widget)
    widget.setAccessibleName(text)
    part.addWidget(title)
    part.addWidget(widget)
    return part


class RunDialog(QDialog):
    """The small form to run an image; what is wrong is said beneath its field."""

    def __init__(self, parent: QWidget, image: str) -> None:
        """Ask for what ``image`` needs."""
        super().__init__(parent)
        self.setWindowTitle("Run an image")
        self.setModal(True)
        self.setMinimumWidth(560)
        self._problems: dict[str, QLabel] = {}
        self._fields: dict[str, QWidget] = {}
        self.name, self.command = QLineEdit(), QLineEdit()
        self.name.setPlaceholderText("made up when empty")
        self.command.setPlaceholderText("the image's own when empty")
        self.ports, self.env, self.volumes = QPlainTextEdit(), QPlainTextEdit(), QPlainTextEdit()
        for field, hint in ((self.ports, "8080:80"), (self.env, "NAME=value"), (self.volumes, "data:/var/lib/data")):
            field.setObjectName("field")
            field.setPlaceholderText(hint)
            field.setFixedHeight(_LINE_HEIGHT)
            field.setTabChangesFocus(True)
            field.textChanged.connect(self._check)
        self.auto_remove = CheckBox("Delete the container when it ends")
        self.show_log = CheckBox("Show its log when it runs")
        self.show_log.setChecked(True)
        self.go = button("Run", self.accept, "primary")
        self.go.setDefault(True)
        for text in (self.name, self.command):
            text.textChanged.connect(self._check)
        self._lay_out(image)
        self.name.setFocus()

    def _lay_out(self, image: str) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(3 * SPACE, 3 * SPACE, 3 * SPACE, 2 * SPACE)
        layout.setSpacing(2 * SPACE)
        head = QVBoxLayout()
        head.setSpacing(2)
        head.addWidget(label("Run an image", "big"))
        head.addWidget(label(image, "muted"))
        layout.addLayout(head)
        grid = QGridLayout()
        grid.setHorizontalSpacing(2 * SPACE)
        grid.setVerticalSpacing(12)
        fields: tuple[tuple[str, str, QWidget, tuple[int, int, int]], ...] = (
            ("name", "Name", self.name, (0, 0, 1)), ("command", "Command", self.command, (0, 1, 1)),
            ("ports", "Ports, one a line", self.ports, (1, 0, 1)),
            ("env", "Environment, one a line", self.env, (1, 1, 1)),
            ("volumes", "Volumes and folders, one a line", self.volumes, (2, 0, 2)),
        )  # fmt: skip
        for key, title, field, (row, column, span) in fields:
            part = _title(field, title)
            problem = label("", "error", wrap=True)
            problem.hide()
            part.addWidget(problem)
            part.addStretch()
            self._problems[key], self._fields[key] = problem, field
            grid.addLayout(part, row, column, 1, span)
        grid.setColumnStretch(0, 1)
        grid.setColumnStretch(1, 1)
        layout.addLayout(grid)
        layout.addWidget(self.auto_remove)
        layout.addWidget(self.show_log)
        row_ = QHBoxLayout()
        row_.addStretch()
        row_.addWidget(button("Cancel", self.reject))
        row_.addWidget(self.go)
        layout.addLayout(row_)

    def form(self) -> RunForm:
        """Return what was typed."""
        return RunForm(
            self.name.text(),
            self.ports.toPlainText(),
            self.env.toPlainText(),
            self.volumes.toPlainText(),
            self.command.text(),
            self.auto_remove.isChecked(),
            self.show_log.isChecked(),
        )

    def _check(self) -> None:
        problems = self.form().problems()
        for key, shown in self._problems.items():
            shown.setText(problems.get(key, ""))
            shown.setVisible(key in problems)
            mark_invalid(self._fields[key], key in problems)
        self.go.setEnabled(not problems)
        fit(self)


class PullDialog(QDialog):
    """Asks for an image's name."""

    def __init__(self, parent: QWidget) -> None:
        """Begin empty."""
        super().__init__(parent)
        self.setWindowTitle("Pull an image")
        self.setModal(True)
        self.setMinimumWidth(460)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(3 * SPACE, 3 * SPACE, 3 * SPACE, 2 * SPACE)
        layout.setSpacing(2 * SPACE)
        head = QVBoxLayout()
        head.setSpacing(2)
        head.addWidget(label("Pull an image", "big"))
        head.addWidget(label("From Docker Hub, or from the registry that its name begins with.", "muted", wrap=True))
        layout.addLayout(head)
        self.name = QLineEdit()
        self.name.setPlaceholderText("nginx, postgres:17, registry.example.com/team/app:1.2")
        part = _title(self.name, "Name")
        self.problem = label("", "error", wrap=True)
        self.problem.hide()
        part.addWidget(self.problem)
        layout.addLayout(part)
        row = QHBoxLayout()
        row.addStretch()
        row.addWidget(button("Cancel", self.reject))
        self.go = button("Pull", self.accept, "primary")
        self.go.setDefault(True)
        self.go.setEnabled(False)
        row.addWidget(self.go)
        layout.addLayout(row)
        self.name.textChanged.connect(self._check)
        self.name.setFocus()

    def _check(self, text: str) -> None:
        name = re.sub(r"^(docker|podman|portside)\s+pull\s+", "", text.strip())
        problem = name_problem(name) if name else ""
        self.problem.setText(problem)
        self.problem.setVisible(bool(problem))
        self.go.setEnabled(bool(name) and not problem)
        fit(self)

    def wanted(self) -> str:
        """Return the name; a pasted ``docker pull`` in front of it is taken off."""
        return re.sub(r"^(docker|podman|portside)\s+pull\s+", "", self.name.text().strip())
