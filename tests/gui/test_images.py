"""The Images page, clicked through."""

from __future__ import annotations

from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel, QPushButton

from desktop.pages.images.dialogs import PullDialog, RunDialog
from desktop.pages.images.page import ImagesPage
from desktop.pages.images.presenter import PullStep
from engine.errors import NotFound
from tests.gui.stage import Stage, click, scenario


async def page_of(stage: Stage) -> ImagesPage:
    await stage.loaded()
    click(stage.window.entries[1])
    page = stage.desktop.images_page
    assert page is not None
    return page


def cell(page: ImagesPage, name: str) -> QPoint:
    row = [item.name for item in page.model.rows()].index(name)
    return page.table.visualRect(page.model.index(row, 0)).center()


@scenario
async def test_it_lists_names_sizes_use_and_what_dangles(stage: Stage) -> None:
    page = await page_of(stage)
    rows = page.model.rows()
    assert [row.name for row in rows] == ["alpine", "nginx", "postgres", "<none>"]
    assert [row.used_by for row in rows] == [0, 1, 1, 0]
    assert rows[3].is_dangling


@scenario
async def test_a_pull_shows_its_layers_and_ends_with_news(stage: Stage) -> None:
    page = await page_of(stage)
    stage.engine.pull_steps = [
        PullStep("aaaaaaaaaaaa", "Downloading", 5, 10),
        PullStep("aaaaaaaaaaaa", "Pull complete"),
    ]
    click(page.pull_button)
    dialog = await stage.dialog()
    assert isinstance(dialog, PullDialog)
    QTest.keyClicks(dialog.name, "Redis:7")
    assert dialog.problem.text() == "A name is written in small letters."
    assert not dialog.go.isEnabled()
    dialog.name.clear()
    QTest.keyClicks(dialog.name, "docker pull redis:7")
    click(dialog.go)
    await stage.until(lambda: any(row.name == "redis" for row in page.model.rows()))
    assert ("pull", "redis:7") in stage.engine.calls
    assert [item.message.title for item in stage.window.notices.present()] == ["Pulled redis:7"]
    assert not stage.window.tasks.cards


@scenario
async def test_a_pull_is_cancelled_from_any_page(stage: Stage) -> None:
    page = await page_of(stage)
    stage.engine.pull_waits = True
    page.presenter.pull("redis:7")
    await stage.until(lambda: ("pull", "redis:7") in stage.engine.calls)
    stage.window.go_to(0)
    click(next(iter(stage.window.tasks.cards.values())).cancel)
    await stage.until(lambda: ("pull cancelled", "redis:7") in stage.engine.calls)
    await stage.until(lambda: not stage.window.tasks.cards)
    assert not stage.window.notices.present()


@scenario
async def test_a_pull_is_cancelled_before_it_began(stage: Stage) -> None:
    page = await page_of(stage)
    page.presenter.pull("redis:7")
    page.presenter.cancel(page.presenter.pulls[0])
    await stage.until(lambda: not stage.window.tasks.cards)
    assert ("pull", "redis:7") not in stage.engine.calls


@scenario
async def test_a_failed_pull_says_why(stage: Stage) -> None:
    page = await page_of(stage)
    stage.engine.action_failure = NotFound("pull access denied for redis, repository does not exist")
    page.presenter.pull("redis")
    await stage.until(lambda: stage.window.notices.present())
    message = stage.window.notices.present()[0].message
    assert message.title == "Could not pull redis"
    assert message.reason == "Pull access denied for redis, repository does not exist."


@scenario
async def test_the_form_checks_in_place_and_runs(stage: Stage) -> None:
    page = await page_of(stage)
    click(page.table.viewport(), cell(page, "nginx"), double=True)
    dialog = await stage.dialog()
    assert isinstance(dialog, RunDialog)
    dialog.ports.setPlainText("80800:80")
    assert not dialog.go.isEnabled()
    assert any(item.text().startswith("80800:80: give") for item in dialog.findChildren(QLabel))
    dialog.ports.setPlainText("127.0.0.1:8081:80")
    dialog.env.setPlainText("A=b c")
    dialog.volumes.setPlainText("data:/data:ro")
    dialog.command.setText("nginx -g 'daemon off;'")
    dialog.name.setText("front")
    click(dialog.go)
    await stage.until(lambda: stage.engine.requests)
    request = stage.engine.requests[0]
    assert request.image == "nginx:1.27-alpine"
    assert request.cmd == ["nginx", "-g", "daemon off;"]
    assert request.env == ["A=b c"]
    await stage.until(lambda: stage.desktop.containers_page is not None and stage.desktop.containers_page.isVisible())
    await stage.until(lambda: "front" in stage.containers)


@scenario
async def test_an_image_in_use_is_kept_and_the_reason_told(stage: Stage) -> None:
    page = await page_of(stage)
    click(page.table.viewport(), cell(page, "nginx"))
    QTest.keyClick(page.table, Qt.Key.Key_Delete)
    question = await stage.dialog()
    click(next(item for item in question.findChildren(QPushButton) if item.text() == "Delete"))
    await stage.until(lambda: stage.window.notices.present())
    assert stage.window.notices.present()[0].message.title == "Could not delete nginx:1.27-alpine"
    assert any(row.name == "nginx" for row in page.model.rows())


@scenario
async def test_dangling_images_are_deleted_after_a_question(stage: Stage) -> None:
    page = await page_of(stage)
    click(page.prune_button)
    question = await stage.dialog()
    click(next(item for item in question.findChildren(QPushButton) if item.text() == "Delete"))
    await stage.until(lambda: len(page.model.rows()) == 3)
    assert not page.prune_button.isVisible()
