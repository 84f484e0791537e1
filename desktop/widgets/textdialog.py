"""A dialog that asks for one line of text and says at once what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtWidgets import QDialog, QHBoxLayout, QLineEdit, QVBoxLayout, QWidget

from desktop.theme.tokens import SPACE
from desktop.widgets.parts import button, label, mark_invalid


class TextDialog(QDialog):
    """The dialog; ``text`` is what was typed, without spaces around it."""

    def __init__(
        self,
        parent: QWidget,
        title: str,
        name: str,
        hint: str,
        go_on: str,
        problem: Callable[[str], str],
        text: str = "",
    ) -> None:
        """``problem`` returns what is wrong with a text, "" for nothing."""
        super().__init__(parent)
        self.setWindowTitle("Portside")
        self.setModal(True)
        self.setMinimumWidth(420)
        self._problem = problem
        self._hint = hint
        self.field = QLineEdit(text)
        self.field.setAccessibleName(name)
        self._told = label(hint, "muted", wrap=True)
        self.confirm = button(go_on, self.accept, "primary")
        self.confirm.setDefault(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(3 * SPACE, 3 * SPACE, 3 * SPACE, 2 * SPACE)
        layout.setSpacing(SPACE)
        layout.addWidget(label(title, "big", wrap=True))
        layout.addSpacing(SPACE)
        layout.addWidget(label(name, "strong"))
        layout.addWidget(self.field)
        layout.addWidget(self._told)
        layout.addSpacing(SPACE)
        row = QHBoxLayout()
        row.addStretch()
        row.addWidget(button("Cancel", self.reject))
        row.addWidget(self.confirm)
        layout.addLayout(row)
        self.field.textChanged.connect(lambda _: self._check())
        self.field.setFocus()
        self._check()

    def text(self) -> str:
        """What was typed."""
        return self.field.text().strip()

    def _check(self) -> None:
        problem = self._problem(self.text())
        self._told.setText(problem or self._hint)
        mark_invalid(self.field, bool(problem))
        self.confirm.setEnabled(not problem)
