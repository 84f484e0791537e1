"""The desktop's composition root: everything that ``portside-desktop`` is made of."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication

from desktop import lean
from desktop.messages import Message, explain
from desktop.theme import style
from desktop.theme.tokens import DARK, LIGHT, Tokens
from desktop.window import MainWindow

if TYPE_CHECKING:
    import asyncio

    from desktop import loop
    from desktop.backend import Backend
    from desktop.enginecontrol import Advice
    from desktop.pages.containers.page import ContainersPage
    from desktop.pages.images.page import ImagesPage
    from desktop.pages.images.presenter import ImagesPresenter
    from desktop.pages.networks.page import NetworksPage
    from desktop.pages.volumes.page import VolumesPage
    from desktop.state.picture import Picture
    from desktop.state.stats import StatsFeed
    from desktop.tray import Tray

PAGES = ("containers", "images", "volumes", "networks")
EXIT_USAGE = 2
_SETTLED_AFTER_S = 5.0
_SETTLING_STEP_S = 0.05


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Return the command line; ends the program with exit code 2 for a wrong one."""
    parser = argparse.ArgumentParser(prog="portside-desktop", description="Portside's window")
    parser.add_argument("-H", "--host", default="", help="engine to show, such as unix:///run/portside/engine.sock")
    parser.add_argument("--theme", choices=("system", "light", "dark"), default="system")
    parser.add_argument("--page", choices=PAGES, default=PAGES[0], help="page to begin with")
    parser.add_argument("--screenshot", type=Path, help="save a picture of the window once it is filled, then end")
    parser.add_argument("--first-paint", action="store_true", help=argparse.SUPPRESS)  # tells tests/bench the moment
    return parser.parse_args(arguments)


class Desktop:
    """The application: a window, a tray icon, one engine."""

    def __init__(
        self, app: QApplication, arguments: argparse.Namespace, connect: Callable[[], Backend] | None = None
    ) -> None:
        """Show the window; everything else is loaded after it was painted. ``connect`` is another way to an engine."""
        self.app = app
        self._connect = connect or self._connect_by_arguments
        self._arguments = arguments
        self.tokens = self._choose()
        style.apply(app, self.tokens)
        self.window = MainWindow(lambda: self.tokens, self._help, self._details)
        self.window.closed.connect(self._closed)
        self._dressed: list[Callable[[Tokens], None]] = [self.window.dress]
        self._quit: asyncio.Event | None = None
        self._wants_quit = False
        self._backend: Backend | None = None
        self._scope: loop.Scope | None = None
        self._picture: Picture | None = None
        self._tray: Tray | None = None
        self._images: ImagesPresenter | None = None
        self._feed: StatsFeed | None = None
        self.containers_page: ContainersPage | None = None
        self.images_page: ImagesPage | None = None
        self.volumes_page: VolumesPage | None = None
        self.networks_page: NetworksPage | None = None
        self._was_lost = False
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
        import asyncio

        from desktop import loop
        from engine.errors import PortsideError

        if self._wants_quit:  # the window was closed while the rest was loading
            return 0
        self._quit = asyncio.Event()
        self._scope = loop.Scope(self.report)
        try:
            backend = self._backend = self._connect()
        except PortsideError as error:  # an address that is none
            hint = f" ({error.hint})" if error.hint else ""
            sys.stderr.write(f"portside-desktop: {error.message}{hint}\n")
            return EXIT_USAGE
        self._build(backend, self._scope)
        try:
            await self._quit.wait()
        finally:
            await self._scope.aclose()
            await backend.aclose()
            if self._tray is not None:
                self._tray.hide()
            self.window.hide()
        return 0

    def _connect_by_arguments(self) -> Backend:
        from desktop.backend import backend_of

        return backend_of(self._arguments.host, dict(os.environ))

    def _build(self, backend: Backend, scope: loop.Scope) -> None:
        # The client and the pages cost import time that the first paint does not wait for.
        from desktop.pages.containers.page import ContainersPage
        from desktop.pages.containers.presenter import ContainersPresenter
        from desktop.pages.images.page import ImagesPage
        from desktop.pages.images.presenter import ImagesPresenter
        from desktop.pages.networks.layout import Resident
        from desktop.pages.networks.page import NetworksPage
        from desktop.pages.networks.presenter import NetworksPresenter
        from desktop.pages.volumes.page import VolumesPage
        from desktop.pages.volumes.presenter import VolumesPresenter
        from desktop.state.picture import Picture
        from desktop.state.stats import StatsFeed
        from desktop.tray import Tray

        picture = self._picture = Picture(
            backend.door, is_ours=backend.is_ours, is_installed=backend.control.is_installed
        )
        feed = self._feed = StatsFeed(backend.stats, scope.run)
        containers = ContainersPresenter(picture, lambda: backend.containers, scope.run, self.notify, time.time)
        images = self._images = ImagesPresenter(picture, lambda: backend.images, scope.run, self.notify, time.time)
        containers_page = self.containers_page = ContainersPage(
            containers,
            picture,
            scope,
            backend.logs,
            feed,
            lambda: self.tokens,
            lambda: self.window.go_to(1),
            self._help,
        )
        images_page = self.images_page = ImagesPage(images, picture, scope, lambda: self.tokens, self._help)
        self.window.add_page("Containers", "containers", containers_page)
        self.window.add_page("Images", "images", images_page)
        volumes = VolumesPresenter(picture, lambda: backend.volumes, scope.run, self.notify, time.time)
        volumes_page = self.volumes_page = VolumesPage(volumes, picture, scope, lambda: self.tokens, self._help)
        self.window.add_page("Volumes", "volumes", volumes_page)
        networks = NetworksPresenter(picture, lambda: backend.networks, scope.run, self.notify, time.time)
        networks_page = self.networks_page = NetworksPage(
            networks,
            picture,
            scope,
            lambda: [Resident(row.id, row.name, row.tone, _port_texts(row.ports)) for row in containers.rows()],
            self._show_started,
            lambda: self.tokens,
            self._help,
        )
        self.window.add_page("Networks", "networks", networks_page)
        self._dressed += [page.dress for page in (containers_page, images_page, volumes_page, networks_page)]
        images.on_change = self._tasks_changed
        images.on_started = self._show_started
        self.window.add_shortcut("Ctrl+K", self.show_palette)
        self.window.go_to(PAGES.index(self._arguments.page))
        self._tray = Tray(self.show_window, self._start_engine, self._stop_engine, self.quit)
        picture.listen(self._changed)
        self._changed(frozenset({"connection"}))
        scope.run(picture.run())
        scope.run(self._settle())
        if self._arguments.screenshot is not None:
            scope.run(self._take_picture(self._arguments.screenshot))

    def show_palette(self) -> None:
        """Open the command palette."""
        from desktop.commands import commands
        from desktop.widgets.palette import Palette

        pages = (self.containers_page, self.images_page, self.volumes_page, self.networks_page)
        containers, images, volumes, networks = pages
        if self._picture is None or containers is None or images is None or volumes is None or networks is None:
            return
        offered = commands(self._picture, self.window.go_to, containers, images, volumes, networks)
        Palette(self.window, offered, lambda: self.tokens).open()

    async def _settle(self) -> None:
        """Give back what only the start needed, once the window is filled or says why not."""
        import asyncio

        await asyncio.sleep(_SETTLED_AFTER_S)
        for _ in lean.give_back_pages():
            await asyncio.sleep(_SETTLING_STEP_S)

    def show_images(self) -> None:
        """Show the Images page."""
        self.window.go_to(PAGES.index("images"))

    def _show_started(self, container_id: str) -> None:
        """Show one container, its log first."""
        if self.containers_page is not None:
            self.window.go_to(0)
            self.containers_page.show_detail(container_id)

    def _tasks_changed(self) -> None:
        from functools import partial

        from desktop.widgets.tasks import Step, Task

        if self._images is None:
            return
        shown = []
        for pull in self._images.pulls:
            steps = tuple(
                Step(item.layer, item.status, min(1.0, item.current / item.total) if item.total else None)
                for item in pull.layers.values()
            )
            task = Task(f"Pulling {pull.name}", pull.status, pull.share, steps)
            shown.append((id(pull), task, partial(self._images.cancel, pull)))
        self.window.tasks.show_tasks(shown)

    def _changed(self, parts: frozenset[str]) -> None:
        from desktop.state.connection import Stage

        picture = self._picture
        if picture is None or self._tray is None:
            return
        if picture.is_loaded:
            running = sum(item.state == "running" for item in picture.containers.values())
            self.window.entries[0].count(str(running) if running else "")
            for place, part in ((1, picture.images), (2, picture.volumes), (3, picture.networks)):
                self.window.entries[place].count(str(len(part)) if part else "")
        if "connection" not in parts:
            return
        connection = picture.connection
        self.window.engine_line.show_connection(connection)
        self._tray.show_connection(connection, is_local=self._backend is not None and self._backend.is_ours)
        if connection.stage in (Stage.LOST, Stage.STOPPED) and not self._was_lost and picture.is_loaded:
            self._was_lost = True
            if self._feed is not None:
                self._feed.reset()
        elif connection.stage is Stage.RUNNING and self._was_lost:
            self._was_lost = False
            self.notify(Message("The engine is back", "Its containers went on meanwhile."), "info")
            if self.containers_page is not None:
                self.containers_page.detail.reconnect()

    def notify(self, message: Message, kind: str = "error") -> None:
        """Show a notice."""
        self.window.notices.show_message(message, kind)

    def report(self, error: BaseException) -> None:
        """Show a fault of ours."""
        self.notify(explain("do that", error))

    def _help(self) -> None:
        """Do what the engine line's button says."""
        from desktop.enginecontrol import advice_for_access, advice_to_install, group_of
        from desktop.state.connection import Stage

        if self._picture is None:
            return
        connection = self._picture.connection
        if connection.stage is Stage.NOT_INSTALLED:
            self._show_advice(advice_to_install())
        elif connection.stage is Stage.REFUSED:
            self._show_advice(advice_for_access(connection.endpoint, group_of(connection.endpoint)))
        elif connection.can_start:
            self._start_engine()
        else:
            self._picture.hurry()

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
        from desktop.state.connection import Stage
        from engine.errors import PortsideError

        picture = self._picture
        assert picture is not None
        assert self._backend is not None
        control = self._backend.control
        try:
            if start:
                picture.starting("asking the system")
                await control.start(picture.starting)
                picture.starting("waiting for its first answer")
            else:
                await control.stop()
        except PortsideError as error:
            if start:
                picture.set_stage(Stage.STOPPED, detail=error.message, can_start=True)
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
        self._wants_quit = True
        if self._quit is not None:
            self._quit.set()

    async def _take_picture(self, path: Path) -> None:
        import asyncio

        for _ in range(100):
            await asyncio.sleep(0.05)
            if self._picture is not None and (self._picture.is_loaded or self._picture.connection.detail):
                break
        await asyncio.sleep(0.5)
        if not self.window.grab().save(str(path)):
            sys.stderr.write(f"portside-desktop: {path} could not be written\n")
        self.quit()


def main(arguments: list[str] | None = None) -> int:
    """Run the desktop; returns the exit code."""
    parsed = parse_arguments(sys.argv[1:] if arguments is None else arguments)
    QApplication.setApplicationName("Portside")
    QApplication.setDesktopFileName("portside")
    app = QApplication(["portside"])
    desktop = Desktop(app, parsed)
    if parsed.first_paint:
        desktop.window.painted.connect(_tell_first_paint)
    # No loop of asyncio runs yet: the window is on the screen before that and the client are imported.
    app.processEvents()
    from desktop import loop

    return loop.run(app, desktop.run, desktop.report)


def _port_texts(ports: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    return tuple(text for text, _ in ports)


def _tell_first_paint() -> None:
    sys.stdout.write(f"{time.monotonic():.4f} {time.process_time():.4f}\n")
    sys.stdout.flush()
