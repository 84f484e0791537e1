"""The Networks page: what is there, making, deleting, connecting by dragging in the graph."""

from __future__ import annotations

import asyncio

from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest

from desktop.pages.networks.page import GRAPH, NetworksPage
from tests.gui.fake_engine import network
from tests.gui.stage import Stage, scenario


async def opened(stage: Stage) -> NetworksPage:
    stage.engine.have(networks=[network("bridge", "172.17.0.0/16"), network("shop", "10.1.0.0/24"), network("lab")])
    stage.engine.place("web", {"shop": "10.1.0.2"})
    await stage.loaded()
    stage.window.go_to(3)
    page = stage.desktop.networks_page
    assert page is not None
    await stage.until(lambda: len(page.model.rows()) == 3)
    return page


def names(page: NetworksPage) -> list[str]:
    return [row.name for row in page.model.rows()]


@scenario
async def test_networks_are_listed_with_who_is_on_them(stage: Stage) -> None:
    page = await opened(stage)
    assert names(page) == ["bridge", "lab", "shop"]
    shop = page.model.rows()[2]
    assert (shop.members_text, shop.subnets_text, shop.told_kind) == ("web", "10.1.0.0/24", "bridge")
    assert page.table.isVisible()


@scenario
async def test_a_new_network_needs_a_subnet_that_is_free(stage: Stage) -> None:
    page = await opened(stage)
    page.ask_to_create()
    dialog = await stage.dialog()
    dialog.name.setText("staging")  # type: ignore[attr-defined]
    dialog.subnet.setText("10.1.0.0/25")  # type: ignore[attr-defined]
    assert not dialog.confirm.isEnabled()  # type: ignore[attr-defined]
    dialog.subnet.setText("10.2.0.0/24")  # type: ignore[attr-defined]
    dialog.internal.setChecked(True)  # type: ignore[attr-defined]
    dialog.accept()
    await stage.until(lambda: "staging" in names(page))
    made = stage.engine.networks_["id-staging"]
    assert made.internal
    assert made.ipam.config is not None
    assert made.ipam.config[0].subnet == "10.2.0.0/24"


@scenario
async def test_only_what_no_container_is_on_is_deleted(stage: Stage) -> None:
    page = await opened(stage)
    page.table.selectAll()
    page.ask_to_remove()
    dialog = await stage.dialog()
    dialog.accept()
    await stage.until(lambda: names(page) == ["bridge", "shop"])
    assert [call for call in stage.engine.calls if call[0] == "remove network"] == [
        ("remove network", network("lab").id)
    ]


@scenario
async def test_dragging_a_container_onto_a_network_connects_it(stage: Stage) -> None:
    page = await opened(stage)
    page.view.choose(GRAPH)
    await stage.until(lambda: page.graph.isVisible() and page.graph._graph.networks)
    graph = page.graph
    web = graph._graph.containers[0]
    lab = next(node for node in graph._graph.networks if node.row.name == "lab")

    def place(x: float, y: float) -> QPoint:
        return QPoint(round(x * graph._zoom + graph._offset.x()), round(y * graph._zoom + graph._offset.y()))

    QTest.mousePress(graph, Qt.MouseButton.LeftButton, pos=place(web.box.x + 20, web.box.middle_y))
    QTest.mouseMove(graph, place(lab.box.x + 30, lab.box.middle_y))
    await asyncio.sleep(0)
    QTest.mouseRelease(graph, Qt.MouseButton.LeftButton, pos=place(lab.box.x + 30, lab.box.middle_y))
    await stage.until(lambda: any(call[0] == "connect" for call in stage.engine.calls))
    assert ("connect", f"{network('lab').id} {web.id}") in stage.engine.calls
    assert web.name == "web"
