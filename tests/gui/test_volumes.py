"""The Volumes page: who uses what, sizes, making, deleting what is free."""

from __future__ import annotations

from desktop.pages.volumes.page import VolumesPage
from tests.gui.fake_engine import volume
from tests.gui.stage import Stage, scenario


async def opened(stage: Stage) -> VolumesPage:
    stage.engine.have(volumes=[volume("data"), volume("spare"), volume("ab" * 32)])
    stage.engine.place("web", volumes=["data"])
    await stage.loaded()
    stage.window.go_to(2)
    page = stage.desktop.volumes_page
    assert page is not None
    await stage.until(lambda: page.model.rows() and all(row.size > 0 for row in page.model.rows()))
    return page


def names(page: VolumesPage) -> list[str]:
    return [row.short_name for row in page.model.rows()]


@scenario
async def test_volumes_are_measured_when_they_are_looked_at(stage: Stage) -> None:
    page = await opened(stage)
    assert names(page) == ["abababababab", "data", "spare"]
    assert [row.users_text for row in page.model.rows()] == ["", "web", ""]
    assert stage.engine.calls.count(("measure", "")) == 1


@scenario
async def test_what_is_used_stays(stage: Stage) -> None:
    page = await opened(stage)
    page.ask_to_prune()
    dialog = await stage.dialog()
    dialog.accept()
    await stage.until(lambda: names(page) == ["data"])
    assert ("remove volume", "data") not in stage.engine.calls


@scenario
async def test_a_new_volume_needs_a_name_that_is_free(stage: Stage) -> None:
    page = await opened(stage)
    page.ask_to_create()
    dialog = await stage.dialog()
    dialog.field.setText("data")  # type: ignore[attr-defined]
    assert not dialog.confirm.isEnabled()  # type: ignore[attr-defined]
    dialog.field.setText("logs")  # type: ignore[attr-defined]
    dialog.accept()
    await stage.until(lambda: "logs" in names(page))
