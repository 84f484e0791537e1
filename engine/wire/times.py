"""Times as Docker writes and reads them: RFC 3339 with nanoseconds, Unix seconds with a fraction, Go's durations."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

from engine.errors import InvalidArgument

ZERO_TIME = "0001-01-01T00:00:00Z"
SECOND_NS = 1_000_000_000
MAX_NS = 2**63 - 1
"""The last moment that 64 bits hold, in the year 2262."""

_MAX_TEXT = 100
_UNITS_NS = {
    "ns": 1, "us": 1_000, "µs": 1_000, "μs": 1_000, "ms": 1_000_000, "s": SECOND_NS, "m": 60 * SECOND_NS,
    "h": 3600 * SECOND_NS,
}  # fmt: skip
_DURATION = re.compile(
    r"[-+]?(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h)(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))*",
    re.ASCII,
)
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:T(\d\d:\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:\d\d)?)?(Z|[+-]\d\d:\d\d)?",
    re.ASCII,
)


def format_ns(time_ns: int) -> str:
    """Return nanoseconds since 1970 as Go's RFC3339Nano in UTC (no trailing zeros); 0 is Go's zero time."""
    if time_ns == 0:
        return ZERO_TIME
    seconds, fraction = divmod(time_ns, SECOND_NS)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{text}.{fraction:09d}".rstrip("0") + "Z" if fraction else f"{text}Z"


def parse_rfc3339(text: str) -> int:
    """Return nanoseconds since 1970 of an RFC 3339 time, also without seconds, zone (then UTC) or time of day.

    Raises InvalidArgument when it is none. Go's zero time is 0.
    """
    found = _RFC3339.fullmatch(text)
    if found is None:
        raise InvalidArgument(f"invalid time {text!r}: give RFC 3339, Unix seconds or a duration".replace("'", '"'))
    day, minutes, seconds, fraction, zone, day_zone = found.groups()
    zone = zone or day_zone or "+00:00"
    try:
        moment = datetime.fromisoformat(
            f"{day}T{minutes or '00:00'}:{seconds or '00'}{'+00:00' if zone == 'Z' else zone}"
        )
    except ValueError as error:
        raise InvalidArgument(f'invalid time "{text}": {error}') from error
    if moment.year == 1:
        return 0
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) * SECOND_NS + int(
        (fraction or "").ljust(9, "0")[:9] or 0
    )


def parse_duration(text: str) -> int:
    """Return the nanoseconds of a duration in Go's form (``1h30m``, ``1.5s``, ``-5m``); raises InvalidArgument."""
    if text in ("0", "+0", "-0"):
        return 0
    if _DURATION.fullmatch(text) is None:
        raise InvalidArgument(f'time: invalid duration "{text}"')
    total = sum(float(number) * _UNITS_NS[unit] for number, unit in _PART.findall(text))
    return -round(total) if text.startswith("-") else round(total)


def parse_moment(text: str, now_ns: int | None = None) -> int:
    """Return nanoseconds since 1970 of ``since`` and ``until``: Unix seconds with a fraction, RFC 3339, or a
    duration before now. Empty is 0. Raises InvalidArgument.

    What is before 1678 or after 2262 comes as the ends of the 64 bits.
    """
    return max(-MAX_NS, min(MAX_NS, _parse_moment(text, now_ns)))


def _parse_moment(text: str, now_ns: int | None) -> int:
    if not text:
        return 0
    if len(text) > _MAX_TEXT:
        raise InvalidArgument(f'failed to parse value as time or duration: "{text[:_MAX_TEXT]}…"')
    if re.fullmatch(r"-?\d+(\.\d{1,9})?", text, re.ASCII):
        whole, _, fraction = text.partition(".")
        value = abs(int(whole)) * SECOND_NS + int(fraction.ljust(9, "0") or 0)
        return -value if text.startswith("-") else value
    if _DURATION.fullmatch(text):
        return (time.time_ns() if now_ns is None else now_ns) - parse_duration(text)
    if _RFC3339.fullmatch(text) is None:
        raise InvalidArgument(f'failed to parse value as time or duration: "{text}"')
    return parse_rfc3339(text)
