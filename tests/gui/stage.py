"""Puts the whole window on an offscreen stage with a fake engine, and drives it under Qt's loop."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable

from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QDialog, QWidget

from desktop.app import Desktop, parse_arguments
from tests.gui.fake_engine import FakeEngine

_PATIENCE_S = 5.0
_LONGEST_S = 30.0


class Stage:
    """A window that runs; made by the fixture ``stage``."""

    def __init__(self, app: QApplication, engine: FakeEngine, *words: str) -> None:
        """``words`` are arguments of the command line."""
        self.engine = engine
        self.desktop = Desktop(app, parse_arguments(list(words)), engine.backend)
        self.window = self.desktop.window
        self.ending: asyncio.Task[int] | None = None

    async def open(self) -> Stage:
        """Run the window until its pages are there."""
        self.ending = asyncio.ensure_future(self.desktop.run())
        await self.until(lambda: self.desktop.images_page is not None)
        return self

    async def close(self) -> None:
        """Quit."""
        self.desktop.quit()
        if self.ending is not None:
            await self.ending
        self.window.deleteLater()
        await asyncio.sleep(0)

    async def until(self, is_so: Callable[[], object]) -> None:
        """Wait until something is so; fails after five seconds."""
        async with asyncio.timeout(_PATIENCE_S):
            while not is_so():  # noqa: ASYNC110 - widgets set no events
                await asyncio.sleep(0.01)

    async def loaded(self) -> None:
        """Wait until the engine's lists are there."""
        picture = self.desktop._picture
        assert picture is not None
        await self.until(lambda: picture.is_loaded)

    @property
    def containers(self) -> list[str]:
        """The names in the table, as they are shown."""
        page = self.desktop.containers_page
        assert page is not None
        return [row.name for row in page.model.rows()]

    async def dialog(self) -> QDialog:
        """Wait for a dialog and return it."""
        found: list[QDialog] = []

        def shown() -> bool:
            found[:] = [item for item in self.window.findChildren(QDialog) if item.isVisible()]
            return bool(found)

        await self.until(shown)
        return found[0]


def click(widget: QWidget, place: QPoint | None = None, *, double: bool = False, ctrl: bool = False) -> None:
    """Click with the left button."""
    keys = Qt.KeyboardModifier.ControlModifier if ctrl else Qt.KeyboardModifier.NoModifier
    point = place if place is not None else widget.rect().center()
    QTest.mouseClick(widget, Qt.MouseButton.LeftButton, keys, point)
    if double:
        QTest.mouseDClick(widget, Qt.MouseButton.LeftButton, keys, point)


def scenario(play: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Make a test of a coroutine that takes the stage: it runs under Qt's loop, with an end."""

    @functools.wraps(play)
    def test(stage: Stage) -> None:
        loop = asyncio.get_event_loop()

        async def whole() -> None:
            async with asyncio.timeout(_LONGEST_S):
                await stage.open()
                try:
                    await play(stage)
                finally:
                    await stage.close()

        loop.run_until_complete(whole())

    return test
