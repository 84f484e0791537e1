"""The Overview tab: sections of names and values that can be selected and copied."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QScrollArea, QVBoxLayout, QWidget

from desktop.pages.containers.overview import Section
from desktop.theme.tokens import SPACE
from desktop.widgets.parts import label

_NAME_WIDTH = 160


class OverviewView(QScrollArea):
    """The sections, one beneath the other."""

    def __init__(self) -> None:
        """Begin empty."""
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QScrollArea.Shape.NoFrame)
        self._shown: list[Section] = []

    def show_sections(self, sections: Sequence[Section]) -> None:
        """Show other sections; what is the same is left as it is."""
        if list(sections) == self._shown:
            return
        self._shown = list(sections)
        inside = QWidget()
        inside.setObjectName("plain")
        layout = QVBoxLayout(inside)
        layout.setContentsMargins(2 * SPACE, 2 * SPACE, 2 * SPACE, 2 * SPACE)
        layout.setSpacing(3 * SPACE)
        for section in sections:
            grid = QGridLayout()
            grid.setHorizontalSpacing(2 * SPACE)
            grid.setVerticalSpacing(SPACE)
            grid.setColumnMinimumWidth(0, _NAME_WIDTH)
            grid.setColumnStretch(1, 1)
            grid.addWidget(label(section.title, "section"), 0, 0, 1, 2)
            for place, (name, value) in enumerate(section.lines, start=1):
                title = label(name, "muted", wrap=True)
                title.setMaximumWidth(2 * _NAME_WIDTH)
                grid.addWidget(title, place, 0, Qt.AlignmentFlag.AlignTop)
                grid.addWidget(label(value, wrap=True, selectable=True), place, 1)
            layout.addLayout(grid)
        layout.addStretch()
        place = self.verticalScrollBar().value()
        self.setWidget(inside)
        self.verticalScrollBar().setValue(place)
