"""The line that is always true, the tray, themes and what happens when things go wrong."""

from __future__ import annotations

import asyncio

from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QLabel, QPushButton

from desktop.theme.tokens import DARK
from engine.errors import Forbidden, Unavailable
from tests.gui.fake_engine import gone
from tests.gui.stage import Stage, click, scenario


@scenario
async def test_it_says_that_it_runs_and_where(stage: Stage) -> None:
    await stage.loaded()
    line = stage.window.engine_line
    assert line.text.text() == "Portside Engine 0.1.0 is running"
    assert not line.button.isVisible()
    assert not line.details.isVisible()


@scenario
async def test_a_stopped_engine_is_started_by_the_one_button(stage: Stage) -> None:
    await stage.loaded()
    stage.engine.die(gone())
    line = stage.window.engine_line
    await stage.until(lambda: line.text.text() == "Portside Engine is not running")
    assert line.button.text() == "Start the engine"
    click(line.button)
    await stage.until(lambda: line.text.text() == "Portside Engine 0.1.0 is running")
    assert ("start engine", "") in stage.engine.calls


@scenario
async def test_a_start_that_fails_says_why(stage: Stage) -> None:
    await stage.loaded()
    stage.engine.die(gone())
    line = stage.window.engine_line
    await stage.until(lambda: line.button.isVisible())
    stage.engine.action_failure = Unavailable("Unit portside.service is masked.")
    click(line.button)
    await stage.until(lambda: stage.window.notices.present())
    assert stage.window.notices.present()[0].message.reason == "Unit portside.service is masked."
    await stage.until(lambda: line.text.text() == "Portside Engine is not running")


@scenario
async def test_without_an_engine_it_tells_how_to_install(stage: Stage) -> None:
    stage.engine.failure, stage.engine.installed = gone(), False
    line = stage.window.engine_line
    stage.engine.die(gone())
    await stage.until(lambda: line.text.text() == "No engine is installed on this machine")
    click(line.button)
    dialog = await stage.dialog()
    click(next(item for item in dialog.findChildren(QPushButton) if item.text() == "Copy"))
    assert QGuiApplication.clipboard().text() == "installers/run.sh"
    dialog.reject()


@scenario
async def test_a_refusal_tells_how_to_get_access_and_the_exact_error(stage: Stage) -> None:
    await stage.loaded()
    stage.engine.die(Forbidden("permission denied on /run/portside/engine.sock"))
    line = stage.window.engine_line
    await stage.until(lambda: line.button.text() == "How to get access")
    click(line.details)
    dialog = await stage.dialog()
    assert any(item.text() == "permission denied on /run/portside/engine.sock" for item in dialog.findChildren(QLabel))
    dialog.reject()


@scenario
async def test_an_engine_that_hangs_does_not_hang_the_window(stage: Stage) -> None:
    await stage.loaded()
    stage.engine.hangs = True
    stage.engine.die(Unavailable("no answer"))
    stage.engine.failure = None
    await asyncio.sleep(0.5)
    stage.window.go_to(1)
    assert stage.window.pages.currentIndex() == 1


@scenario
async def test_the_theme_follows_the_system_while_it_runs(stage: Stage) -> None:
    await stage.loaded()
    stage.desktop._arguments.theme = "dark"
    stage.desktop.dress()
    assert stage.desktop.tokens is DARK
    assert stage.window.palette().window().color().name() == DARK.window


@scenario
async def test_closing_without_a_tray_quits(stage: Stage) -> None:
    await stage.loaded()
    stage.window.close()
    await stage.until(lambda: stage.ending is not None and stage.ending.done())


def test_a_window_closed_while_it_loads_ends_too(stage: Stage, qt_loop: asyncio.AbstractEventLoop) -> None:
    stage.window.close()
    assert qt_loop.run_until_complete(asyncio.wait_for(stage.desktop.run(), 5)) == 0


@scenario
async def test_the_tray_starts_stops_and_tells_the_state(stage: Stage) -> None:
    await stage.loaded()
    tray = stage.desktop._tray
    assert tray is not None
    assert tray.stop.isVisible()
    assert not tray.start.isVisible()
    tray.stop.trigger()
    await stage.until(lambda: tray.start.isVisible())
    tray.start.trigger()
    await stage.until(lambda: tray.stop.isVisible())


@scenario
async def test_a_fault_of_ours_is_told_and_the_window_goes_on(stage: Stage) -> None:
    await stage.loaded()

    async def broken() -> None:
        raise ZeroDivisionError("a bug")

    assert stage.desktop._scope is not None
    stage.desktop._scope.run(broken())
    await stage.until(lambda: stage.window.notices.present())
    assert "fault of ours" in stage.window.notices.present()[0].message.way_out
    assert len(stage.containers) == 3
