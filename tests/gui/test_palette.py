"""The command palette: opened by keys, it finds pages, actions and objects, and does what is chosen."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from desktop.widgets.palette import Palette
from tests.gui.stage import Stage, scenario


async def opened(stage: Stage) -> Palette:
    await stage.loaded()
    stage.desktop.show_palette()
    found: list[Palette] = []

    def is_there() -> bool:
        found[:] = [item for item in QApplication.topLevelWidgets() if isinstance(item, Palette) and item.isVisible()]
        return bool(found)

    await stage.until(is_there)
    return found[0]


@scenario
async def test_a_container_is_stopped_by_name(stage: Stage) -> None:
    palette = await opened(stage)
    QTest.keyClicks(palette.field, "stop web")
    assert palette.list.currentItem().text() == "Stop web"
    QTest.keyClick(palette.field, Qt.Key.Key_Return)
    await stage.until(lambda: any(call[0] == "stop" for call in stage.engine.calls))


@scenario
async def test_a_page_is_gone_to(stage: Stage) -> None:
    palette = await opened(stage)
    QTest.keyClicks(palette.field, "go to vol")
    QTest.keyClick(palette.field, Qt.Key.Key_Return)
    await stage.until(lambda: stage.window.pages.currentIndex() == 2)


@scenario
async def test_arrows_go_round_and_escape_does_nothing(stage: Stage) -> None:
    palette = await opened(stage)
    QTest.keyClick(palette.field, Qt.Key.Key_Up)
    assert palette.list.currentRow() == palette.list.count() - 1
    QTest.keyClick(palette.field, Qt.Key.Key_Down)
    assert palette.list.currentRow() == 0
    before = len(stage.engine.calls)
    QTest.keyClick(palette, Qt.Key.Key_Escape)
    assert len(stage.engine.calls) == before
