"""``--filter name=value``, as commands take it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.cli.session import Session


def parse_filters(entries: list[str]) -> dict[str, list[str]]:
    """Return filters by name; that each has a ``=`` was checked when the flag was read."""
    filters: dict[str, list[str]] = {}
    for entry in entries:
        if not entry:
            continue
        name, _, value = entry.partition("=")
        values = filters.setdefault(name.strip().lower(), [])
        if value.strip() not in values:
            values.append(value.strip())
    return filters


def prune_filters(session: Session, filters: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return a prune's filters with those of the configuration, as far as they do not contradict."""
    result = {name: list(values) for name, values in filters.items()}
    for entry in session.config.prune_filters:
        name, equals, value = entry.partition("=")
        opposite = {"label": "label!", "label!": "label"}.get(name, "")
        if equals and value not in result.get(opposite, []) and value not in result.get(name, []):
            result.setdefault(name, []).append(value)
    return result
