"""The icon in the tray: the engine's state, open, start or stop the engine, quit."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMenu, QSystemTrayIcon

from desktop.state.connection import Connection, Stage
from desktop.theme import icons

_COLOURS = {Stage.RUNNING: "#2fae74", Stage.STARTING: "#d08a1e", Stage.CONNECTING: "#d08a1e"}
_GREY, _RED = "#8d97a5", "#d04545"


class Tray(QObject):
    """The icon; ``is_there`` is false on desktops without a tray."""

    def __init__(
        self,
        open_window: Callable[[], None],
        start_engine: Callable[[], None],
        stop_engine: Callable[[], None],
        quit_: Callable[[], None],
    ) -> None:
        """Show nothing before ``show``."""
        super().__init__()
        self._icon = QSystemTrayIcon()
        self._menu = QMenu()
        self._state = QAction("Connecting", self._menu)
        self._state.setEnabled(False)
        self.open = QAction("Open Portside", self._menu)
        self.start = QAction("Start the engine", self._menu)
        self.stop = QAction("Stop the engine", self._menu)
        self.quit = QAction("Quit (containers go on)", self._menu)
        for action, do in (
            (self.open, open_window),
            (self.start, start_engine),
            (self.stop, stop_engine),
            (self.quit, quit_),
        ):
            action.triggered.connect(lambda _=False, do=do: do())
        self._menu.addAction(self._state)
        self._menu.addSeparator()
        for action in (self.open, self.start, self.stop):
            self._menu.addAction(action)
        self._menu.addSeparator()
        self._menu.addAction(self.quit)
        self._icon.setContextMenu(self._menu)
        self._icon.activated.connect(
            lambda reason: open_window() if reason == QSystemTrayIcon.ActivationReason.Trigger else None
        )

    @property
    def is_there(self) -> bool:
        """Whether this desktop has a tray."""
        return QSystemTrayIcon.isSystemTrayAvailable()

    def show_connection(self, connection: Connection, *, is_local: bool) -> None:
        """Tell the engine's state; only this machine's engine can be started and stopped."""
        colour = _COLOURS.get(connection.stage, _RED if connection.stage is Stage.LOST else _GREY)
        self._icon.setIcon(icons.icon("portside", colour, size=22))
        self._icon.setToolTip(f"Portside: {connection.sentence}")
        self._state.setText(connection.sentence)
        self.start.setVisible(is_local and connection.stage in (Stage.STOPPED, Stage.LOST))
        self.stop.setVisible(is_local and connection.stage is Stage.RUNNING)
        if self.is_there and not self._icon.isVisible():
            self._icon.show()

    def hide(self) -> None:
        """Take the icon away."""
        self._icon.hide()
