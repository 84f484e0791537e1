"""Filters of events, and the fields that old clients read."""

from __future__ import annotations

import msgspec
import pytest

from engine.model.system import Event, EventActor
from engine.server.events import matches, with_old_form

CONTAINER = Event(
    type="container",
    action="exec_start: sh -c true",
    actor=EventActor(id="3f2a" * 16, attributes={"name": "web", "image": "host:5000/team/nginx:1", "tier": "front"}),
)
IMAGE = Event(type="image", action="tag", actor=EventActor(id="sha256:" + "ab" * 32, attributes={"name": "nginx:1"}))
NETWORK = Event(type="network", action="connect", actor=EventActor(id="aa" * 32, attributes={"name": "bridge"}))
DAEMON = Event(type="daemon", action="reload", actor=EventActor(id="id", attributes={"name": "host"}))


@pytest.mark.parametrize(
    ("event", "filters", "wanted"),
    [
        (CONTAINER, {}, True),
        (CONTAINER, {"event": ["exec_start"]}, True),
        (CONTAINER, {"event": ["start"]}, False),
        (CONTAINER, {"event": ["start", "exec_start: sh -c true"]}, True),
        (CONTAINER, {"event": ["exec"]}, False),
        (IMAGE, {"event": ["tag"]}, True),
        (IMAGE, {"event": ["ta"]}, False),
        (CONTAINER, {"type": ["container"]}, True),
        (CONTAINER, {"type": ["image", "container"]}, True),
        (CONTAINER, {"type": ["image"]}, False),
        (CONTAINER, {"scope": ["local"]}, True),
        (CONTAINER, {"scope": ["swarm"]}, False),
        (CONTAINER, {"container": ["web"]}, True),
        (CONTAINER, {"container": ["3f2a"]}, True),
        (CONTAINER, {"container": ["other"]}, False),
        (IMAGE, {"container": ["web"]}, False),
        (CONTAINER, {"container": ["other", "we"]}, True),
        (CONTAINER, {"container": []}, True),
        (CONTAINER, {"label": ["tier"]}, True),
        (CONTAINER, {"label": ["tier=front"]}, True),
        (CONTAINER, {"label": ["tier=back"]}, False),
        (CONTAINER, {"label": ["tier", "none"]}, False),
        (CONTAINER, {"image": ["host:5000/team/nginx:1"]}, True),
        (CONTAINER, {"image": ["host:5000/team/nginx"]}, True),
        (CONTAINER, {"image": ["nginx"]}, False),
        (IMAGE, {"image": ["nginx"]}, True),
        (IMAGE, {"image": ["nginx:1"]}, True),
        (IMAGE, {"image": ["nginx:2"]}, False),
        (NETWORK, {"image": ["nginx"]}, False),
        (NETWORK, {"network": ["bridge"]}, True),
        (NETWORK, {"network": ["host"]}, False),
        (DAEMON, {"daemon": ["host"]}, True),
        (CONTAINER, {"container": ["web"], "network": ["bridge"]}, False),
        (CONTAINER, {"container": ["web"], "event": ["exec_create"], "label": ["tier"]}, False),
    ],
)
def test_filters(event: Event, filters: dict[str, list[str]], wanted: bool) -> None:
    assert matches(event, filters) is wanted


def test_containers_and_images_have_the_fields_of_old_clients_besides() -> None:
    shown = msgspec.to_builtins(with_old_form(CONTAINER))
    assert (shown["status"], shown["id"], shown["from"]) == (
        CONTAINER.action,
        CONTAINER.actor.id,
        "host:5000/team/nginx:1",
    )
    shown = msgspec.to_builtins(with_old_form(IMAGE))
    assert (shown["status"], shown["id"]) == ("tag", IMAGE.actor.id)
    assert "from" not in shown
    assert set(msgspec.to_builtins(with_old_form(NETWORK))) == {"Type", "Action", "Actor", "scope", "time", "timeNano"}
