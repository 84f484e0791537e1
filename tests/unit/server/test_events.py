"""Which events pass which filters, as moby's filter decides."""

from __future__ import annotations

import msgspec
import pytest

from engine.model.system import Event, EventActor
from engine.server.events import matches, with_old_form

CONTAINER = Event(
    type="container",
    action="health_status: healthy",
    actor=EventActor(id="c" * 64, attributes={"name": "web", "image": "nginx:1", "tier": "front"}),
    time=1,
    time_nano=1_000_000_000,
)
IMAGE = Event(
    type="image", action="pull", actor=EventActor(id="nginx:1", attributes={"name": "nginx"}), time=1, time_nano=1
)
NETWORK = Event(
    type="network", action="connect", actor=EventActor(id="n" * 64, attributes={"name": "bridge"}), time=1, time_nano=1
)


@pytest.mark.parametrize(
    ("event", "filters", "passes"),
    [
        (CONTAINER, {}, True),
        (CONTAINER, {"event": ["health_status"]}, True),
        (CONTAINER, {"event": ["health_status: healthy"]}, True),
        (CONTAINER, {"event": ["health"]}, False),
        (CONTAINER, {"event": ["start", "health_status"]}, True),
        (IMAGE, {"event": ["pul"]}, False),
        (IMAGE, {"event": ["pull", "push"]}, True),
        (CONTAINER, {"type": ["container", "image"]}, True),
        (CONTAINER, {"type": ["image"]}, False),
        (CONTAINER, {"scope": ["local"]}, True),
        (CONTAINER, {"scope": ["swarm"]}, False),
        (CONTAINER, {"container": ["web"]}, True),
        (CONTAINER, {"container": ["we"]}, True),
        (CONTAINER, {"container": ["cccc"]}, True),
        (CONTAINER, {"container": ["eb"]}, False),
        (IMAGE, {"container": ["web"]}, False),
        (CONTAINER, {"label": ["tier"]}, True),
        (CONTAINER, {"label": ["tier=front", "name=web"]}, True),
        (CONTAINER, {"label": ["tier=back"]}, False),
        (CONTAINER, {"image": ["nginx"]}, True),
        (CONTAINER, {"image": ["nginx:1"]}, True),
        (CONTAINER, {"image": ["ngin"]}, False),
        (IMAGE, {"image": ["nginx"]}, True),
        (NETWORK, {"image": ["nginx"]}, False),
        (NETWORK, {"network": ["bri"]}, True),
        (NETWORK, {"network": ["nnn"], "type": ["network"]}, True),
        (NETWORK, {"volume": ["bridge"]}, False),
    ],
)
def test_filters_decide_as_mobys(event: Event, filters: dict[str, list[str]], passes: bool) -> None:
    assert matches(event, filters) is passes


def test_containers_and_images_have_the_old_fields_too() -> None:
    old = msgspec.to_builtins(with_old_form(CONTAINER))
    assert (old["status"], old["id"], old["from"]) == ("health_status: healthy", "c" * 64, "nginx:1")
    assert msgspec.to_builtins(with_old_form(IMAGE))["status"] == "pull"
    assert "status" not in msgspec.to_builtins(with_old_form(NETWORK))
