"""Spans of time for people: ages of things, and how long a container has been as it is. Without Qt."""

from __future__ import annotations

import re

_UNITS_S = {
    "second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800, "month": 2_592_000, "year": 31_536_000,
}  # fmt: skip
_SPAN = re.compile(r"(Less than a|About an?|\d+) (second|minute|hour|day|week|month|year)s?")


def age_text(seconds: float) -> str:
    """Return an age in its largest unit: ``now``, ``5 min``, ``3 hours``, ``2 days``."""
    if seconds < 5:
        return "now"
    for limit, size, unit in ((60, 1, "s"), (3600, 60, "min"), (86_400, 3600, "hour"), (604_800 * 2, 86_400, "day")):
        if seconds < limit:
            count = int(seconds // size)
            return f"{count} {unit}" + ("s" if unit in ("hour", "day") and count != 1 else "")
    weeks = int(seconds // 604_800)
    if weeks < 9:
        return f"{weeks} weeks"
    months = int(seconds // 2_629_746)
    return f"{months} months" if months < 24 else f"{int(seconds // 31_556_952)} years"


def parse_span(status: str) -> float | None:
    """Return the seconds that a status tells ("Up About a minute"); None when it tells none."""
    found = _SPAN.search(status)
    if found is None:
        return None
    count = int(found[1]) if found[1].isdigit() else (0 if found[1].startswith("Less") else 1)
    return float(count * _UNITS_S[found[2]])


def state_text(state: str, status: str, seen_s: float, now_s: float) -> str:
    """Return a container's state for people, its time going on from when the status was read."""
    span = parse_span(status)
    since = "" if span is None else age_text(span + max(0.0, now_s - seen_s))
    if state == "running":
        health = re.search(r"\((?:health: )?(healthy|unhealthy|starting)\)", status)
        suffix = f" · {health[1]}" if health else ""
        return f"Up {since}{suffix}" if since and since != "now" else f"Running{suffix}"
    if state == "paused":
        return "Paused"
    if state == "restarting":
        return "Restarting"
    if state == "exited":
        code = re.search(r"\((-?\d+)\)", status)
        ago = f" {since} ago" if since and since != "now" else ""
        return f"Exited{f' ({code[1]})' if code else ''}{ago}"
    return state.capitalize() or "Unknown"
