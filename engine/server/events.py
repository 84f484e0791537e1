"""``GET /events``: past and new events, filtered as moby's daemon/events/filter.go does."""

from __future__ import annotations

from contextlib import aclosing

from aiohttp import web
from msgspec import UNSET
from msgspec.structs import replace

from engine.errors import InvalidArgument
from engine.events import EventBus
from engine.model.system import Event
from engine.server.http import JsonStream, Route, api_version
from engine.wire.filters import Filters, match_labels, parse_filters
from engine.wire.references import familiar_name
from engine.wire.times import parse_moment

_BY_KIND = ("config", "container", "daemon", "image", "network", "node", "plugin", "secret", "service", "volume")
ALLOWED = frozenset({*_BY_KIND, "event", "label", "scope", "type"})
_FUZZY = ("health_status", "exec_create", "exec_start")


def with_old_form(event: Event) -> Event:
    """Return an event with the fields ``status``, ``id`` and ``from`` that containers and images have besides."""
    if event.type == "container":
        image = event.actor.attributes.get("image", "")
        return replace(event, status=event.action, id=event.actor.id or UNSET, from_=image or UNSET)
    if event.type == "image":
        return replace(event, status=event.action, id=event.actor.id or UNSET)
    return event


def matches(event: Event, filters: Filters) -> bool:
    """Whether an event passes the filters: any value of each of them."""
    names = filters.get("event")
    if names:
        fuzzy = any(name in _FUZZY for name in names)
        if not any(event.action == name or (fuzzy and event.action.startswith(name)) for name in names):
            return False
    if filters.get("type") and event.type not in filters["type"]:
        return False
    if filters.get("scope") and event.scope not in filters["scope"]:
        return False
    if not match_labels(filters.get("label", ()), event.actor.attributes):
        return False
    return all(_matches_object(event, kind, filters[kind]) for kind in _BY_KIND if filters.get(kind))


def _matches_object(event: Event, kind: str, values: list[str]) -> bool:
    attributes = event.actor.attributes
    if kind == "image":
        return _matches_image(event, values)
    if event.type != kind:
        return False
    name = attributes.get("name", "")
    return any(
        event.actor.id == value or name == value or event.actor.id.startswith(value) or name.startswith(value)
        for value in values
    )


def _matches_image(event: Event, values: list[str]) -> bool:
    attributes = event.actor.attributes
    if event.type == "image":
        found = [event.actor.id, attributes.get("name", "")]
    elif event.type == "container":
        found = [attributes.get("image", "")]
    else:
        return False
    found += [familiar_name(item) for item in found if item]
    return any(value in found for value in values)


class EventsApi:
    """The handler over an EventBus."""

    def __init__(self, events: EventBus) -> None:
        """Serve ``events``."""
        self._events = events

    def routes(self) -> list[Route]:
        """Return the operation."""
        return [Route("GET", "/events", self.stream)]

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """``SystemEvents``: one JSON object a line, until ``until`` or until the client goes."""
        since, until = request.query.get("since", ""), request.query.get("until", "")
        since_ns, until_ns = parse_moment(since), parse_moment(until)
        if until_ns and until_ns < since_ns:
            raise InvalidArgument(f"`since` time ({since}) cannot be after `until` time ({until})")
        filters = parse_filters(request.query.get("filters", ""), None)  # moby passes over what it does not know
        knows_image_create = api_version(request) >= (1, 46)
        stream = JsonStream(request)
        await stream.start()
        async with aclosing(self._events.stream(since_ns, until_ns)) as events:
            async for event in events:
                if event.type == "image" and event.action == "create" and not knows_image_create:
                    continue
                if matches(event, filters):
                    await stream.send(with_old_form(event))
        await stream.response.write_eof()
        return stream.response
