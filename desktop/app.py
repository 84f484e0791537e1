"""The desktop's composition root: ``portside-desktop``."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication

from desktop import loop
from desktop.messages import Message, explain
from desktop.theme import style
from desktop.theme.tokens import DARK, LIGHT, Tokens
from desktop.window import MainWindow

if TYPE_CHECKING:
    from desktop.enginecontrol import Advice
    from desktop.state.picture import Picture
    from desktop.tray import Tray

PAGES = ("containers", "images")


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Return the command line; ends the program with exit code 2 for a wrong one."""
    parser = argparse.ArgumentParser(prog="portside-desktop", description="Portside's window")
    parser.add_argument("-H", "--host", default="", help="engine to show, such as unix:///run/portside/engine.sock")
    parser.add_argument("--theme", choices=("system", "light", "dark"), default="system")
    parser.add_argument("--page", choices=PAGES, default=PAGES[0], help="page to begin with")
    parser.add_argument("--screenshot", type=Path, help="save a picture of the window once it is filled, then end")
    parser.add_argument("--first-paint", action="store_true", help="print the seconds to the first paint, then end")
    return parser.parse_args(arguments)


class Desktop:
    """The application: a window, a tray icon, one engine."""

    def __init__(self, app: QApplication, arguments: argparse.Namespace) -> None:
        """Show the window; everything else is loaded after it was painted."""
        self.app = app
        self._arguments = arguments
        self.tokens = self._choose()
        style.apply(app, self.tokens)
        self.window = MainWindow(lambda: self.tokens, self._help, self._details)
        self.window.closed.connect(self._closed)
        self._dressed: list[Callable[[Tokens], None]] = [self.window.dress]
        self._quit: asyncio.Event | None = None
        self._scope: loop.Scope | None = None
        self._picture: Picture | None = None
        self._tray: Tray | None = None
        self._was_lost = False
        self._is_local = False
        app.setQuitOnLastWindowClosed(False)
        QGuiApplication.styleHints().colorSchemeChanged.connect(lambda _: self.dress())
        self.window.show()

    def _choose(self) -> Tokens:
        theme = self._arguments.theme
        if theme == "system":
            scheme = QGuiApplication.styleHints().colorScheme()
            theme = "dark" if scheme == Qt.ColorScheme.Dark else "light"
        return DARK if theme == "dark" else LIGHT

    def dress(self) -> None:
        """Follow the system's theme."""
        tokens = self._choose()
        if tokens is self.tokens:
            return
        self.tokens = tokens
        style.apply(self.app, tokens)
        for dress in self._dressed:
            dress(tokens)

    async def run(self) -> int:
        """Load the rest, then go on until a person quits."""
        self._quit = asyncio.Event()
        self._scope = loop.Scope(self.report)
        await asyncio.sleep(0)
        self._build()
        try:
            await self._quit.wait()
        finally:
            await self._scope.aclose()
            if self._tray is not None:
                self._tray.hide()
            self.window.hide()
        return 0

    def _build(self) -> None:
        # The client and the pages cost import time that the first paint does not wait for.
        from desktop.actions import ClientActions, ImageClientActions
        from desktop.pages.containers.page import ContainersPage
        from desktop.pages.containers.presenter import ContainersPresenter
        from desktop.pages.images.page import ImagesPage
        from desktop.pages.images.presenter import ImagesPresenter
        from desktop.state.door import ClientDoor
        from desktop.state.picture import Picture
        from desktop.tray import Tray
        from engine.client import EngineClient, resolve_endpoint

        assert self._scope is not None
        scope = self._scope
        endpoint = resolve_endpoint(self._arguments.host or None, os.environ)
        client = EngineClient(endpoint)
        picture = Picture(ClientDoor(client, str(endpoint)))
        self._picture = picture
        self._is_local = str(endpoint).startswith("unix:///run/portside/")
        actions, image_actions = ClientActions(client), ImageClientActions(client)
        containers = ContainersPresenter(picture, lambda: actions, scope.run, self.notify, time.time)
        images = ImagesPresenter(picture, lambda: image_actions, scope.run, self.notify, time.time)
        containers_page = ContainersPage(
            containers, picture, scope, actions, lambda: self.tokens, lambda: self.window.go_to(1)
        )
        images_page = ImagesPage(images, picture, scope, lambda: self.tokens)
        self.window.add_page("Containers", "containers", containers_page)
        self.window.add_page("Images", "images", images_page)
        self._dressed += [containers_page.dress, images_page.dress]
        self.window.go_to(PAGES.index(self._arguments.page))
        self._tray = Tray(self.show_window, self._start_engine, self._stop_engine, self.quit)
        picture.listen(self._changed)
        self._changed(frozenset({"connection"}))
        scope.run(picture.run())
        if self._arguments.screenshot is not None:
            scope.run(self._take_picture(self._arguments.screenshot))

    def _changed(self, parts: frozenset[str]) -> None:
        from desktop.state.connection import Stage

        if "connection" not in parts or self._picture is None or self._tray is None:
            return
        connection = self._picture.connection
        self.window.engine_line.show_connection(connection)
        self._tray.show_connection(connection, is_local=self._is_local)
        if connection.stage is Stage.LOST and not self._was_lost and self._picture.is_loaded:
            self._was_lost = True
        elif connection.stage is Stage.RUNNING and self._was_lost:
            self._was_lost = False
            self.notify(Message("The engine is back", "Its containers went on meanwhile."), "info")

    def notify(self, message: Message, kind: str = "error") -> None:
        """Show a notice."""
        self.window.notices.show_message(message, kind)

    def report(self, error: BaseException) -> None:
        """Show a fault of ours."""
        self.notify(explain("do that", error))

    def _help(self) -> None:
        from desktop.enginecontrol import advice_for_access, advice_to_install
        from desktop.state.connection import Stage

        if self._picture is None:
            return
        stage = self._picture.connection.stage
        if stage is Stage.NOT_INSTALLED:
            self._show_advice(advice_to_install())
        elif stage is Stage.REFUSED:
            self._show_advice(advice_for_access(self._picture.connection.endpoint))
        else:
            self._start_engine()

    def _details(self) -> None:
        from desktop.enginecontrol import Advice

        if self._picture is not None:
            connection = self._picture.connection
            self._show_advice(Advice(connection.sentence, f"Address: {connection.endpoint}", connection.detail))

    def _show_advice(self, advice: Advice) -> None:
        from desktop.widgets.engineline import AdviceDialog

        AdviceDialog(self.window, advice).open()

    def _start_engine(self) -> None:
        if self._scope is not None:
            self._scope.run(self._control("start the engine", start=True))

    def _stop_engine(self) -> None:
        if self._scope is not None:
            self._scope.run(self._control("stop the engine", start=False))

    async def _control(self, what: str, *, start: bool) -> None:
        from desktop.enginecontrol import EngineControl
        from engine.errors import PortsideError

        assert self._picture is not None
        control = EngineControl()
        try:
            if start:
                self._picture.starting("asking the system to start it")
                await control.start()
                self._picture.starting("waiting for its first answer")
            else:
                await control.stop()
        except PortsideError as error:
            if start:
                from desktop.state.connection import Stage

                self._picture.set_stage(Stage.STOPPED, detail=error.message)
            self.notify(explain(what, error))

    def show_window(self) -> None:
        """Bring the window to the front."""
        self.window.show()
        self.window.raise_()
        self.window.activateWindow()

    def _closed(self) -> None:
        if self._tray is None or not self._tray.is_there:
            self.quit()

    def quit(self) -> None:
        """End the application; the engine and its containers go on."""
        if self._quit is not None:
            self._quit.set()

    async def _take_picture(self, path: Path) -> None:
        for _ in range(100):
            await asyncio.sleep(0.05)
            if self._picture is not None and (self._picture.is_loaded or self._picture.connection.detail):
                break
        await asyncio.sleep(0.3)
        self.window.grab().save(str(path))
        self.quit()


def main(arguments: list[str] | None = None) -> int:
    """Run the desktop; returns the exit code."""
    began = time.monotonic()
    parsed = parse_arguments(sys.argv[1:] if arguments is None else arguments)
    QApplication.setApplicationName("Portside")
    QApplication.setDesktopFileName("portside")
    app = QApplication(sys.argv[:1])
    desktop = Desktop(app, parsed)
    if parsed.first_paint:
        app.processEvents()  # no loop runs yet: this is only the measurement
        sys.stdout.write(f"{time.monotonic() - began:.3f}\n")
        return 0
    return loop.run(app, desktop.run, desktop.report)


if __name__ == "__main__":
    sys.exit(main())
