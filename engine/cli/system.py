"""``events``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from engine.cli.command import Command
from engine.cli.failures import CommandError
from engine.cli.filters import parse_filters
from engine.cli.flags import Flag, Parsed
from engine.cli.quantities import format_timestamp
from engine.cli.template_parse import TemplateError
from engine.cli.template_run import GoStruct, OpenMap, Template
from engine.model.system import Event

if TYPE_CHECKING:
    from engine.cli.session import Session


def event_line(event: Event) -> str:
    """Return an event as one line: time, kind, action, ID and attributes."""
    time_ns = event.time_nano or event.time * 10**9
    stamp = ""
    if time_ns:
        moment = time.localtime(time_ns // 10**9)
        zone = time.strftime("%z", moment)
        offset = "Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}"
        stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', moment)}.{time_ns % 10**9:09d}{offset} "
    attributes = ", ".join(f"{name}={value}" for name, value in sorted(event.actor.attributes.items()))
    tail = f" ({attributes})" if attributes else ""
    return f"{stamp}{event.type} {event.action} {event.actor.id}{tail}"


def event_value(event: Event) -> GoStruct:
    """Return an event for a template, with both the JSON's and Go's names of its fields."""
    value = msgspec.to_builtins(event)
    actor = value.get("Actor", {})
    actor["Attributes"] = OpenMap(actor.get("Attributes") or {})
    value["Actor"] = GoStruct(actor)
    zeros = {
        "Status": value.get("status", ""),
        "ID": value.get("id", ""),
        "From": value.get("from", ""),
        "Scope": value.get("scope", ""),
        "Time": event.time,
        "TimeNano": event.time_nano,
        "Type": event.type,
        "Action": event.action,
    }
    return GoStruct(value, "*events.Message", zeros)


async def run_events(session: Session, parsed: Parsed) -> int:
    """Follow events until they end or the command is interrupted."""
    source = parsed.text("format")
    template: Template | None = None
    if source:
        try:
            template = Template("{{json .}}" if source == "json" else source)
            template.render(event_value(Event()))
        except TemplateError as error:
            raise CommandError(f"Error parsing format: {error}", 64) from error
    try:
        since = format_timestamp(parsed.text("since")) if parsed.text("since") else ""
        until = format_timestamp(parsed.text("until")) if parsed.text("until") else ""
    except ValueError as error:
        raise CommandError(str(error)) from error
    events = session.client.system.events(since=since, until=until, filters=parse_filters(parsed.items("filter")))
    async with events:
        async for event in events:
            session.out(template.render(event_value(event)) if template is not None else event_line(event))
    return 0


COMMANDS = {
    "system events": Command(
        "[OPTIONS]",
        "Follow what happens in the engine",
        run_events,
        (
            Flag("filter", "f", "filter", "Which to show (type=container, event=die, container=web …)"),
            Flag("format", kind="string", usage="'json' or a Go template"),
            Flag("since", kind="string", usage="Show what happened since this time too"),
            Flag("until", kind="string", usage="End at this time"),
        ),
        max_args=0,
        aliases=("system events", "events"),
    ),
}
