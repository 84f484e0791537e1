"""The Containers page, clicked through."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel, QPushButton

from desktop.pages.containers.page import ContainersPage
from engine.errors import Conflict, Unavailable
from tests.gui.fake_engine import container
from tests.gui.stage import Stage, click, scenario


def page_of(stage: Stage) -> ContainersPage:
    page = stage.desktop.containers_page
    assert page is not None
    return page


def cell(page: ContainersPage, name: str, column: int) -> QPoint:
    row = [item.name for item in page.model.rows()].index(name)
    return page.table.visualRect(page.model.index(row, column)).center()


@scenario
async def test_it_lists_what_the_engine_has_sorted_by_name(stage: Stage) -> None:
    await stage.loaded()
    assert stage.containers == ["db", "migrate", "web"]
    assert page_of(stage).filter.buttons["running"].text() == "Running  2"


@scenario
async def test_events_refresh_rows_without_listing_again(stage: Stage) -> None:
    await stage.loaded()
    stage.engine.put(container("cache", "redis:7"))
    await stage.until(lambda: "cache" in stage.containers)
    assert stage.engine.lists == 1


@scenario
async def test_search_and_filter_narrow_the_table(stage: Stage) -> None:
    await stage.loaded()
    page = page_of(stage)
    QTest.keyClicks(page.search, "8080")
    assert stage.containers == ["web"]
    page.search.clear()
    click(page.filter.buttons["stopped"])
    assert stage.containers == ["migrate"]
    QTest.keyClicks(page.search, "nothing of that name")
    assert stage.containers == []
    click(next(item for item in page.findChildren(QPushButton) if item.text() == "Show all containers"))
    assert stage.containers == ["db", "migrate", "web"]


@scenario
async def test_several_are_stopped_at_once_and_the_selection_stays(stage: Stage) -> None:
    await stage.loaded()
    page = page_of(stage)
    click(page.table.viewport(), cell(page, "db", 0))
    click(page.table.viewport(), cell(page, "web", 0), ctrl=True)
    selected = page.table.selected_ids()
    assert len(selected) == 2
    click(next(item for item in page.bar.findChildren(QPushButton) if item.text() == "Stop"))
    await stage.until(lambda: page.presenter.counts()["running"] == 0)
    assert page.table.selected_ids() == selected
    assert {verb for verb, _ in stage.engine.calls if verb != "logs"} == {"stop"}


@scenario
async def test_the_quick_action_of_a_row_starts_it_without_selecting(stage: Stage) -> None:
    await stage.loaded()
    page = page_of(stage)
    row = page.model.row_of(next(item.id for item in page.model.rows() if item.name == "migrate"))
    area = page.table.visualRect(page.model.index(row, 7))
    click(page.table.viewport(), QPoint(area.right() - 8 - 30 - 14, area.center().y()))
    await stage.until(lambda: page.presenter.counts()["running"] == 3)
    assert page.table.selected_ids() == []


@scenario
async def test_delete_asks_with_the_list_and_cancel_keeps_all(stage: Stage) -> None:
    await stage.loaded()
    page = page_of(stage)
    click(page.table.viewport(), cell(page, "web", 0))
    QTest.keyClick(page.table, Qt.Key.Key_Delete)
    question = await stage.dialog()
    told = " ".join(item.text() for item in question.findChildren(QLabel))
    assert "Delete web?" in told
    assert "running, will be killed" in told
    click(next(item for item in question.findChildren(QPushButton) if item.text() == "Cancel"))
    await stage.until(lambda: not question.isVisible())
    assert "web" in stage.containers


@scenario
async def test_delete_removes_after_the_question(stage: Stage) -> None:
    await stage.loaded()
    page = page_of(stage)
    click(page.table.viewport(), cell(page, "migrate", 0))
    QTest.keyClick(page.table, Qt.Key.Key_Delete)
    question = await stage.dialog()
    click(next(item for item in question.findChildren(QPushButton) if item.text() == "Delete"))
    await stage.until(lambda: stage.containers == ["db", "web"])


@scenario
async def test_a_failed_action_is_told_with_reason_and_way_out(stage: Stage) -> None:
    await stage.loaded()
    page = page_of(stage)
    stage.engine.action_failure = Conflict("port 8080 on 0.0.0.0 is used by container other", hint="stop it first")
    page.presenter.start([next(item.id for item in page.model.rows() if item.name == "migrate")])
    await stage.until(lambda: stage.window.notices.present())
    notice = stage.window.notices.present()[0]
    assert notice.message.title == "Could not start migrate"
    assert notice.message.reason == "Port 8080 on 0.0.0.0 is used by container other."
    assert notice.message.way_out == "Stop it first."
    click(notice.close_button)
    assert stage.window.notices.present() == []


@scenario
async def test_the_detail_follows_the_log_searches_and_copies(stage: Stage) -> None:
    stage.engine.log = [(b"".join(b"line %d of the log\n" % i for i in range(500)), False), (b"it broke\n", True)]
    await stage.loaded()
    page = page_of(stage)
    click(page.table.viewport(), cell(page, "web", 0), double=True)
    log = page.logs_tab
    await stage.until(lambda: len(log.view.buffer) == 501)
    assert log.view.buffer.is_marked(500)
    assert not log.view.buffer.is_marked(499)
    QTest.keyClicks(log.text.search, "line 77 ")
    assert log.text.matches.text() == "1 match"
    assert log.view.found == 77
    assert not log.view.follow
    log.text.search.setText("line 4")
    first = log.view.found
    QTest.keyClick(log.text.search, Qt.Key.Key_Return)
    assert log.view.found > first
    log.view.copy()
    assert QGuiApplication.clipboard().text().startswith("line 0 of the log\nline 1 ")
    log.view.set_follow(True)
    await stage.until(lambda: log.view.verticalScrollBar().value() == log.view.verticalScrollBar().maximum())


@scenario
async def test_processes_are_read_only_while_they_are_in_sight(stage: Stage) -> None:
    await stage.loaded()
    page = page_of(stage)
    page.show_detail(next(item.id for item in page.model.rows() if item.name == "web"))
    assert not [call for call in stage.engine.calls if call[0] == "top"]
    page.detail.tabs.setCurrentIndex(3)
    processes = page.detail.tab
    await stage.until(lambda: processes.model.rows())  # type: ignore[attr-defined]
    assert [row.cells[1] for row in processes.model.rows()] == ["9", "71"]  # type: ignore[attr-defined]
    page.detail.tabs.setCurrentIndex(0)
    read = len(stage.engine.calls)
    await asyncio.sleep(0.1)
    assert len(stage.engine.calls) == read


@scenario
async def test_the_detail_shows_overview_and_inspection(stage: Stage) -> None:
    await stage.loaded()
    page = page_of(stage)
    page.show_detail(next(item.id for item in page.model.rows() if item.name == "web"))
    page.detail.tabs.setCurrentIndex(4)
    await stage.until(lambda: any("172.17.0.2" in item.text() for item in page.detail.findChildren(QLabel)))
    page.detail.tabs.setCurrentIndex(5)
    await stage.until(lambda: '"Name": "/web",' in page.inspect_tab.view.buffer.text())
    QTest.keyClick(page.detail, Qt.Key.Key_Escape)
    assert page.detail.container_id == ""


@scenario
async def test_the_log_is_read_anew_when_a_container_starts_again(stage: Stage) -> None:
    await stage.loaded()
    page = page_of(stage)
    one = next(item.id for item in page.model.rows() if item.name == "web")
    page.show_detail(one)
    await stage.until(lambda: ("logs", one) in stage.engine.calls)
    await stage.engine.stop(one)
    await stage.engine.start(one)
    await stage.until(lambda: stage.engine.calls.count(("logs", one)) == 2)


@scenario
async def test_usage_has_columns_only_when_the_engine_serves_it(stage: Stage) -> None:
    await stage.loaded()
    page = page_of(stage)
    await stage.until(lambda: page.table.isColumnHidden(4))
    stage.engine.serves_stats = True
    page._feed.reset()
    page._usage_changed()
    await stage.until(lambda: not page.table.isColumnHidden(4))
    assert next(item for item in page.model.rows() if item.name == "web").memory_text == "12 MiB"
    stage.window.go_to(1)
    await stage.until(lambda: not page._feed.watched)


@scenario
async def test_selection_and_search_survive_the_engines_restart(stage: Stage) -> None:
    await stage.loaded()
    page = page_of(stage)
    click(page.table.viewport(), cell(page, "web", 0))
    QTest.keyClicks(page.search, "nginx")
    stage.engine.die(Unavailable("cannot connect to the engine: connection refused"))
    await stage.until(lambda: stage.window.engine_line.text.text() == "Portside Engine does not answer")
    assert stage.containers == ["web"]
    stage.engine.come_back()
    await stage.until(lambda: any("is back" in item.message.title for item in stage.window.notices.present()))
    assert stage.containers == ["web"]
    assert len(page.table.selected_ids()) == 1


@scenario
async def test_the_menu_pauses_kills_and_renames(stage: Stage) -> None:
    await stage.loaded()
    page = page_of(stage)

    def entry(text: str) -> Callable[[], object]:
        row = next(item for item in page.model.rows() if item.id == web)
        return next(do for name, do in page.menu_entries([row]) if name == text and do is not None)

    web = next(item.id for item in page.model.rows() if item.name == "web")
    entry("Pause")()
    await stage.until(lambda: ("pause", web) in stage.engine.calls)
    await stage.until(lambda: (row := page.presenter.row(web)) is not None and row.state == "paused" and not row.busy)
    entry("Continue")()
    await stage.until(lambda: (row := page.presenter.row(web)) is not None and row.state == "running" and not row.busy)
    entry("Rename…")()
    dialog = await stage.dialog()
    dialog.field.setText("migrate")  # type: ignore[attr-defined]
    assert not dialog.confirm.isEnabled()  # type: ignore[attr-defined]
    dialog.field.setText("front")  # type: ignore[attr-defined]
    dialog.accept()
    await stage.until(lambda: "front" in stage.containers)
    entry("Kill")()
    await stage.until(lambda: (row := page.presenter.row(web)) is not None and row.state == "exited")
