"""The Networks page without Qt: rows, the check of what is typed, where the graph's parts are."""

from __future__ import annotations

from itertools import pairwise

import pytest

from desktop.messages import Message
from desktop.pages.networks.layout import CARD_HEIGHT, NETWORK_HEIGHT, Resident, lay_out
from desktop.pages.networks.presenter import Member, NetworkRow, NetworksPresenter, question_about_removal
from desktop.state.picture import Picture
from engine.model.inspect import ContainerSummary
from engine.model.network import IPAM, EndpointSettings, IPAMConfig, NetworkInspect
from tests.unit.desktop.test_state import FakeDoor


def make(subnets: dict[str, str]) -> tuple[NetworksPresenter, Picture]:
    picture = Picture(FakeDoor())
    for name, subnet in subnets.items():
        item = NetworkInspect(id=f"id-{name}", name=name, driver="bridge")
        item.ipam = IPAM(config=[IPAMConfig(subnet=subnet)])
        picture.networks[item.id] = item

    def nothing(message: Message, kind: str) -> None:
        raise AssertionError(message)

    return NetworksPresenter(picture, lambda: None, lambda work: None, nothing, lambda: 0.0), picture  # type: ignore[arg-type,return-value]


async def test_who_is_on_a_network_comes_from_the_containers() -> None:
    presenter, picture = make({"shop": "10.1.0.0/24", "lab": "10.2.0.0/24"})
    web = ContainerSummary(id="c1", names=["/web"], state="running")
    web.network_settings.networks = {"shop": EndpointSettings(ip_address="10.1.0.2")}
    picture.containers["c1"] = web
    shop = next(row for row in presenter.rows() if row.name == "shop")
    assert shop.members == (Member("c1", "web", "10.1.0.2", is_running=True),)
    assert [row.name for row in presenter.rows("web")] == ["shop"]
    assert [row.name for row in presenter.unused()] == ["lab"]
    assert presenter.connectable(shop) == []


@pytest.mark.parametrize(
    ("subnet", "said"),
    [
        ("", ""),
        ("10.9.0.0/24", ""),
        ("10.1.0.128/25", "It overlaps with 10.1.0.0/24 of the network shop."),
        ("10.0.0.0/8", "It overlaps with 10.1.0.0/24 of the network shop."),
        ("10.9.0.0/31", "There is no room for containers in it: give a prefix of 30 or less."),
        ("10.9.0.0", "A subnet is an address and the length of its prefix, such as 10.20.0.0/24."),
        ("fd00::/64", ""),
        ("nonsense/8", "A subnet is an address and the length of its prefix, such as 10.20.0.0/24."),
    ],
)
async def test_a_subnet_is_checked_while_it_is_typed(subnet: str, said: str) -> None:
    presenter, _ = make({"shop": "10.1.0.0/24"})
    assert presenter.subnet_problem(subnet) == said


async def test_a_gateway_is_in_its_subnet() -> None:
    presenter, _ = make({})
    assert presenter.gateway_problem("10.1.0.1", "10.1.0.0/24") == ""
    assert presenter.gateway_problem("10.2.0.1", "10.1.0.0/24") == "It is not in 10.1.0.0/24."
    assert presenter.gateway_problem("10.2.0.1", "") == "A gateway needs a subnet."
    assert presenter.gateway_problem("first", "10.1.0.0/24") == "A gateway is an address, such as 10.20.0.1."


async def test_names_are_checked() -> None:
    presenter, _ = make({"shop": "10.1.0.0/24"})
    assert presenter.name_problem("shop") == "There is a network shop already."
    assert presenter.name_problem("a/b").startswith("Letters")
    assert presenter.name_problem("b") == ""


def row(name: str, *members: str) -> NetworkRow:
    people = tuple(Member(one, one, "10.0.0.2", is_running=True) for one in members)
    return NetworkRow(f"id-{name}", name, "bridge", (), people, is_internal=False, created_s=0, age="")


def test_the_question_says_what_stays() -> None:
    title, text = question_about_removal([row("a"), row("b", "web")])
    assert title == "Delete 2 networks?"
    assert text == "• a\n• b  — web on it, stays"


def test_nothing_of_the_graph_is_over_anything_else() -> None:
    networks = [row(f"n{number:02d}", *(f"c{number * 10 + one:03d}" for one in range(10))) for number in range(20)]
    networks.append(row("shared", "c000", "c199"))
    residents = [Resident(f"c{number:03d}", f"c{number:03d}", "green", ("80:80",)) for number in range(201)]
    graph = lay_out(networks, residents)
    assert len(graph.containers) == 200  # the last one is on no network
    tops = sorted(node.box.y for node in graph.containers)
    assert all(later - earlier >= CARD_HEIGHT for earlier, later in pairwise(tops))
    tops = sorted(node.box.y for node in graph.networks)
    assert all(later - earlier >= NETWORK_HEIGHT for earlier, later in pairwise(tops))
    assert all(node.box.right < graph.width for node in graph.networks)
    boxes = [node.box for node in graph.networks] + [node.box for node in graph.containers]
    assert max(box.y + box.height for box in boxes) < graph.height


def test_one_far_away_does_not_move_a_network() -> None:
    near = lay_out([row("a", "c0", "c1", "c2"), row("b", "c3", "c4", "c5")], residents_of(6))
    far = lay_out([row("a", "c0", "c1", "c2", "c5"), row("b", "c3", "c4", "c5")], residents_of(6))
    assert far.networks[0].box.y - near.networks[0].box.y <= CARD_HEIGHT


def residents_of(count: int) -> list[Resident]:
    return [Resident(f"c{number}", f"c{number}", "green", ()) for number in range(count)]
