"""The Terminal tab: shells that are typed into, several at once, ended, closed; pasting is asked about."""

from __future__ import annotations

from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest

from desktop.pages.containers.tabs.terminal import TerminalTab
from engine.errors import Conflict
from tests.gui.stage import Stage, scenario

TERMINAL = 1


async def opened(stage: Stage) -> TerminalTab:
    await stage.loaded()
    page = stage.desktop.containers_page
    assert page is not None
    page.show_detail(next(row.id for row in page.model.rows() if row.name == "web"))
    page.detail.tabs.setCurrentIndex(TERMINAL)
    return page.terminal_tab


@scenario
async def test_a_shell_is_typed_into_and_shown(stage: Stage) -> None:
    tab = await opened(stage)
    await stage.until(lambda: stage.engine.shells and "/ #" in tab.sessions[0].view.vt.text())
    view, shell = tab.sessions[0].view, stage.engine.shells[0]
    QTest.keyClicks(view, "ls -l")
    QTest.keyClick(view, Qt.Key.Key_Return)
    QTest.keyClick(view, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    QTest.keyClick(view, Qt.Key.Key_Escape)
    await stage.until(lambda: shell.typed == b"ls -l\r\x03\x1b")
    shell.show("\x1b[32mgrün\x1b[0m\r\n".encode())
    await stage.until(lambda: "grün" in view.vt.text())
    assert stage.desktop.containers_page is not None
    assert stage.desktop.containers_page.detail.container_id, "Escape belongs to the shell"
    await stage.until(lambda: shell.size == (view.vt.rows, view.vt.columns))


@scenario
async def test_several_shells_go_on_out_of_sight_until_they_are_closed(stage: Stage) -> None:
    tab = await opened(stage)
    tab.add.click()
    await stage.until(lambda: len(stage.engine.shells) == 2)
    assert stage.desktop.containers_page is not None
    detail = stage.desktop.containers_page.detail
    detail.tabs.setCurrentIndex(0)
    stage.engine.shells[0].show(b"meanwhile")
    await stage.until(lambda: "meanwhile" in tab.sessions[0].view.vt.text())
    tab.close_session(0)
    await stage.until(lambda: stage.engine.shells[0].is_closed)
    assert not stage.engine.shells[1].is_closed
    stage.desktop.containers_page.show_list()
    await stage.until(lambda: stage.engine.shells[1].is_closed)


@scenario
async def test_a_shell_that_ended_begins_anew_with_return(stage: Stage) -> None:
    tab = await opened(stage)
    await stage.until(lambda: stage.engine.shells)
    stage.engine.shells[0].code = 127
    stage.engine.shells[0].show(b"")
    view = tab.sessions[0].view
    await stage.until(lambda: "There is no shell" in view.vt.text())
    QTest.keyClicks(view, "x")
    QTest.keyClick(view, Qt.Key.Key_Return)
    await stage.until(lambda: len(stage.engine.shells) == 2)
    assert stage.engine.shells[1].typed == b""


@scenario
async def test_a_refusal_is_said_in_the_terminal(stage: Stage) -> None:
    stage.engine.action_failure = Conflict("container web is paused")
    tab = await opened(stage)
    await stage.until(lambda: "Container web is paused. Return tries again." in tab.sessions[0].view.vt.text())


@scenario
async def test_pasting_several_lines_is_asked_about(stage: Stage) -> None:
    tab = await opened(stage)
    await stage.until(lambda: stage.engine.shells)
    view, shell = tab.sessions[0].view, stage.engine.shells[0]
    QGuiApplication.clipboard().setText("rm -r /data\nreboot\n")
    QTest.keyClick(view, Qt.Key.Key_V, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)
    dialog = await stage.dialog()
    assert shell.typed == b""
    dialog.accept()
    await stage.until(lambda: shell.typed == b"rm -r /data\rreboot\r")
    shell.show(b"\x1b[?2004h")
    await stage.until(lambda: view.vt.has_bracketed_paste)
    view.ask_to_paste()
    await stage.until(lambda: shell.typed.endswith(b"\x1b[200~rm -r /data\rreboot\r\x1b[201~"))


@scenario
async def test_text_is_selected_and_copied(stage: Stage) -> None:
    tab = await opened(stage)
    await stage.until(lambda: stage.engine.shells)
    view = tab.sessions[0].view
    stage.engine.shells[0].show(b"\r\nfirst line\r\nsecond line\r\n")
    await stage.until(lambda: "second" in view.vt.text())

    def place(row: int, column: int) -> tuple[float, float]:
        return 8 + (column + 0.5) * view._width, 8 + (row + 0.5) * view._height

    begin, end = place(1, 6), place(2, 5)
    port = view.viewport()
    QTest.mousePress(port, Qt.MouseButton.LeftButton, pos=QPoint(int(begin[0]), int(begin[1])))
    QTest.mouseMove(port, QPoint(int(end[0]), int(end[1])))
    await stage.until(lambda: view.selected_text())
    QTest.mouseRelease(port, Qt.MouseButton.LeftButton, pos=QPoint(int(end[0]), int(end[1])))
    assert view.selected_text() == "line\nsecond"
