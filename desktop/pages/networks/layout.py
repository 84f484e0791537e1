"""Where the parts of the graph of networks are: ports, containers, networks in three columns. Without Qt.

Containers stand beside the networks that they are on: those of one network together, those of several
between them (each is put at the mean of its networks, so that few lines cross). A network is then moved to the
median of its containers. Linear but for sorting: 200 containers on 20 networks take a few milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from desktop.pages.networks.presenter import NetworkRow

CARD_HEIGHT = 40
CARD_GAP = 12
NETWORK_HEIGHT = 56
NETWORK_GAP = 20
PORT_WIDTH = 132
CONTAINER_WIDTH = 232
NETWORK_WIDTH = 240
COLUMN_GAP = 120
GROUP_GAP = 20
MARGIN = 24


@dataclass(frozen=True)
class Box:
    """A part's place, in pixels of an unscaled picture."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle_y(self) -> float:
        """The height of its middle."""
        return self.y + self.height / 2

    @property
    def right(self) -> float:
        """Its right side."""
        return self.x + self.width

    def contains(self, x: float, y: float) -> bool:
        """Whether a point is in it."""
        return self.x <= x <= self.right and self.y <= y <= self.y + self.height


@dataclass(frozen=True)
class ContainerNode:
    """A container: its networks with its address there, its published ports as texts."""

    id: str
    name: str
    tone: str
    ports: tuple[str, ...]
    addresses: dict[str, str]
    box: Box
    ports_box: Box | None


@dataclass(frozen=True)
class NetworkNode:
    """A network."""

    row: NetworkRow
    box: Box


@dataclass(frozen=True)
class Graph:
    """All parts with their places; ``width`` and ``height`` hold them with a margin."""

    containers: tuple[ContainerNode, ...]
    networks: tuple[NetworkNode, ...]
    width: float
    height: float


@dataclass(frozen=True)
class Resident:
    """A container as the graph needs it: ID, name, tone of its state, ports as texts."""

    id: str
    name: str
    tone: str
    ports: tuple[str, ...]


def lay_out(networks: Sequence[NetworkRow], residents: Sequence[Resident]) -> Graph:
    """Return where everything is; containers that are on none of the networks are left out."""
    ordered = sorted(networks, key=lambda row: (not row.members, row.is_built_in, row.name))
    place = {row.id: number for number, row in enumerate(ordered)}
    addresses: dict[str, dict[str, str]] = {}
    for row in ordered:
        for member in row.members:
            addresses.setdefault(member.id, {})[row.id] = member.address

    def mean(one: Resident) -> float:
        on = [place[network] for network in addresses[one.id]]
        return sum(on) / len(on)

    shown = sorted((one for one in residents if one.id in addresses), key=lambda one: (mean(one), one.name))
    has_ports = any(one.ports for one in shown)
    container_x = MARGIN + (PORT_WIDTH + COLUMN_GAP // 2 if has_ports else 0)
    network_x = container_x + CONTAINER_WIDTH + COLUMN_GAP
    containers: list[ContainerNode] = []
    y, before = float(MARGIN), -1.0
    for one in shown:
        at = mean(one)
        if before >= 0 and at != before:
            y += GROUP_GAP
        before = at
        box = Box(container_x, y, CONTAINER_WIDTH, CARD_HEIGHT)
        ports_box = Box(MARGIN, y + 6, PORT_WIDTH, CARD_HEIGHT - 12) if one.ports else None
        containers.append(ContainerNode(one.id, one.name, one.tone, one.ports, addresses[one.id], box, ports_box))
        y += CARD_HEIGHT + CARD_GAP
    nodes = _place_networks(ordered, containers, network_x)
    bottom = max([node.box.y + node.box.height for node in nodes] + [y - CARD_GAP, 0.0])
    return Graph(tuple(containers), tuple(nodes), network_x + NETWORK_WIDTH + MARGIN, bottom + MARGIN)


def _place_networks(ordered: Sequence[NetworkRow], containers: Sequence[ContainerNode], x: float) -> list[NetworkNode]:
    """Put each network beside the median of its containers, which one far away does not move; none over another."""
    middles: dict[str, list[float]] = {}
    for node in containers:
        for network in node.addresses:
            middles.setdefault(network, []).append(node.box.middle_y)
    nodes: list[NetworkNode] = []
    least = float(MARGIN)
    for row in ordered:
        own = middles.get(row.id)
        wanted = median(own) - NETWORK_HEIGHT / 2 if own else least
        top = max(least, wanted)
        nodes.append(NetworkNode(row, Box(x, top, NETWORK_WIDTH, NETWORK_HEIGHT)))
        least = top + NETWORK_HEIGHT + NETWORK_GAP
    return nodes
