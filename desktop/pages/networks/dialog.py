"""What the Networks page asks: the form of a new network, checked while it is typed."""

from __future__ import annotations

from PySide6.QtWidgets import QComboBox, QDialog, QGridLayout, QHBoxLayout, QLabel, QLineEdit, QVBoxLayout, QWidget

from desktop.pages.networks.presenter import NetworksPresenter
from desktop.theme.tokens import SPACE
from desktop.widgets.parts import CheckBox, button, fit, label, mark_invalid

_DRIVERS = ("bridge", "macvlan", "ipvlan")


class NetworkDialog(QDialog):
    """The form."""

    def __init__(self, parent: QWidget, presenter: NetworksPresenter) -> None:
        """``presenter`` checks what is typed."""
        super().__init__(parent)
        self.setWindowTitle("New network")
        self.setModal(True)
        self.setMinimumWidth(480)
        self._presenter = presenter
        self.name, self.subnet, self.gateway = QLineEdit(), QLineEdit(), QLineEdit()
        self.subnet.setPlaceholderText("chosen by the engine when empty")
        self.gateway.setPlaceholderText("the first address when empty")
        self.driver = QComboBox()
        self.driver.addItems(_DRIVERS)
        self.internal = CheckBox("Internal: no way out of it")
        self.ipv6 = CheckBox("IPv6 too")
        self.confirm = button("Make it", self.accept, "primary")
        self.confirm.setDefault(True)
        self._told: dict[QLineEdit, QLabel] = {}
        grid = QGridLayout()
        grid.setHorizontalSpacing(2 * SPACE)
        grid.setVerticalSpacing(SPACE // 2)
        fields: tuple[tuple[str, QWidget], ...] = (
            ("Name", self.name), ("Driver", self.driver), ("Subnet", self.subnet), ("Gateway", self.gateway),
        )  # fmt: skip
        for row, (text, field) in enumerate(fields):
            title = label(text, "strong")
            title.setBuddy(field)
            field.setAccessibleName(text)
            grid.addWidget(title, 2 * row, 0)
            grid.addWidget(field, 2 * row, 1)
            if isinstance(field, QLineEdit):
                self._told[field] = label("", "error", wrap=True)
                grid.addWidget(self._told[field], 2 * row + 1, 1)
                field.textChanged.connect(lambda _: self._check())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(3 * SPACE, 3 * SPACE, 3 * SPACE, 2 * SPACE)
        layout.setSpacing(2 * SPACE)
        layout.addWidget(label("New network", "big"))
        layout.addLayout(grid)
        layout.addWidget(self.internal)
        layout.addWidget(self.ipv6)
        foot = QHBoxLayout()
        foot.addStretch()
        foot.addWidget(button("Cancel", self.reject))
        foot.addWidget(self.confirm)
        layout.addLayout(foot)
        self.name.setFocus()
        self._check()

    def _check(self) -> None:
        presenter = self._presenter
        name, subnet, gateway = self.values()
        problems = {
            self.name: presenter.name_problem(name),
            self.subnet: presenter.subnet_problem(subnet),
            self.gateway: presenter.gateway_problem(gateway, subnet),
        }
        for field, problem in problems.items():
            is_shown = bool(problem) and bool(field.text())
            self._told[field].setText(problem if is_shown else "")
            self._told[field].setVisible(is_shown)
            mark_invalid(field, is_shown)
        self.confirm.setEnabled(not any(problems.values()))
        fit(self)

    def values(self) -> tuple[str, str, str]:
        """Return name, subnet and gateway as they were typed."""
        return self.name.text().strip(), self.subnet.text().strip(), self.gateway.text().strip()
