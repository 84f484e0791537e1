"""Sizes, durations, times and numbers as Go and the docker CLI read and print them.

Pure functions without I/O; sources: go-units and Go's strconv and time packages, whose texts scripts match.
"""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta, timezone

_DECIMAL_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")
_SIZE_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_DURATION_NS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_INTEGER = re.compile(r"([+-]?)(0[0-7]*([0-7])|0|[1-9][0-9]*|0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+)", re.ASCII)
_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
_DURATION_PART = re.compile(r"([0-9]*\.?[0-9]*)([^0-9.]*)")
_RFC3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?(Z|z|[+-]\d\d:\d\d)", re.ASCII)
_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))


def parse_go_bool(text: str) -> bool:
    """Read a boolean as Go's ParseBool; raises ValueError with its text."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')


def parse_go_int(text: str, function: str, low: int, high: int) -> int:
    """Read a whole number as Go's ParseInt with base 0; raises ValueError with the text of ``function``."""
    match = _INTEGER.fullmatch(text)
    if match is None or (match[1] and function == "ParseUint"):
        raise ValueError(f'strconv.{function}: parsing "{text}": invalid syntax')
    value = int(match[2], 8 if match[3] else 0) * (-1 if match[1] == "-" else 1)
    if not low <= value <= high:
        raise ValueError(f'strconv.{function}: parsing "{text}": value out of range')
    return value


def human_size(size_bytes: float, precision: int = 4) -> str:
    """Return a size in decimal units: ``1.024kB``."""
    return _with_unit(size_bytes, 1000.0, _DECIMAL_UNITS, precision)


def human_size_binary(size_bytes: float) -> str:
    """Return a size in binary units: ``1.5GiB``."""
    return _with_unit(size_bytes, 1024.0, _BINARY_UNITS, 4)


def _with_unit(size: float, base: float, units: tuple[str, ...], precision: int) -> str:
    index = 0
    while size >= base and index < len(units) - 1:
        size /= base
        index += 1
    return f"{size:.{precision}g}{units[index]}"


def parse_size_bytes(text: str) -> int:
    """Read ``512m``, ``1.5GiB`` or ``4096`` (powers of 1024); raises ValueError with go-units' text."""
    end = max((index for index, letter in enumerate(text) if letter in "0123456789. "), default=-1)
    if end < 0:
        raise ValueError(f"invalid size: '{text}'")
    number = text[: end + 1] if text[end] != " " else text[:end]
    suffix = text[end + 1 :].lower()
    if _FLOAT.fullmatch(number) is None:
        raise ValueError(f'strconv.ParseFloat: parsing "{number}": invalid syntax')
    size = float(number)
    if size < 0:
        raise ValueError(f"invalid size: '{text}'")
    if suffix in ("", "b"):
        return int(size)
    if suffix[0] in _SIZE_POWERS and suffix[1:] in ("", "b", "ib"):
        return int(size * 1024 ** _SIZE_POWERS[suffix[0]])
    raise ValueError(f"invalid suffix: '{text[end + 1 :]}'")


def parse_duration_ns(text: str) -> int:
    """Read a Go duration such as ``1h2m3.5s`` as nanoseconds; raises ValueError with Go's text."""
    shown = f'"{text}"'
    sign, rest = 1, text
    if rest[:1] in ("+", "-") and rest:
        sign, rest = (-1 if rest[0] == "-" else 1), rest[1:]
    if rest == "0":
        return 0
    if not rest:
        raise ValueError(f"time: invalid duration {shown}")
    total = 0
    while rest:
        match = _DURATION_PART.match(rest)
        if match is None or match[1] in ("", "."):
            raise ValueError(f"time: invalid duration {shown}")
        if not match[2]:
            raise ValueError(f"time: missing unit in duration {shown}")
        if match[2] not in _DURATION_NS:
            raise ValueError(f'time: unknown unit "{match[2]}" in duration {shown}')
        whole, _, fraction = match[1].partition(".")
        unit_ns = _DURATION_NS[match[2]]
        total += int(whole or "0") * unit_ns + (int(fraction) * unit_ns // 10 ** len(fraction) if fraction else 0)
        rest = rest[match.end() :]
    return sign * total


def human_duration(seconds: float) -> str:
    """Return a span as go-units says it: ``About a minute``, ``3 weeks``."""
    whole = int(seconds)
    minutes = int(seconds / 60)
    hours = int(seconds / 3600 + 0.5)
    if whole < 1:
        return "Less than a second"
    if whole < 60:
        return "1 second" if whole == 1 else f"{whole} seconds"
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    if hours < 24 * 7 * 2:
        return f"{hours // 24} days"
    if hours < 24 * 30 * 2:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{int(seconds / 3600) // 24 // 365} years"


def since(unix_seconds: float) -> str:
    """Return how long ago a time was: ``2 hours ago``."""
    return f"{human_duration(time.time() - unix_seconds)} ago"


def local_time(unix_seconds: float) -> str:
    """Return a time as Go's ``Time.String`` prints it in the local zone: ``2026-01-02 03:04:05 +0000 UTC``."""
    moment = datetime.fromtimestamp(unix_seconds).astimezone()
    return f"{moment:%Y-%m-%d %H:%M:%S %z} {moment.tzname()}"


def parse_rfc3339_ns(text: str) -> int | None:
    """Return a time with nanoseconds as Unix nanoseconds, None when it is none."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    zone = timezone.utc  # noqa: UP017 - datetime.UTC is no tzinfo subclass to mypy on 3.11's stubs
    if match[8] not in ("Z", "z"):
        hours, minutes = int(match[8][1:3]), int(match[8][4:6])
        offset = timedelta(hours=hours, minutes=minutes)
        zone = timezone(-offset if match[8][0] == "-" else offset)
    try:
        moment = datetime(*(int(match[index]) for index in range(1, 7)), tzinfo=zone)  # type: ignore[misc, arg-type]
    except ValueError:
        return None
    nanoseconds = int((match[7] or "").ljust(9, "0") or "0")
    return int(moment.timestamp()) * 10**9 + nanoseconds


def format_timestamp(text: str, now: float | None = None) -> str:
    """Return what ``--since`` or ``--until`` mean as Unix seconds with nanoseconds, as the API takes them.

    Takes Unix times, RFC 3339 with or without zone or time of day, and Go durations that count back from
    now. Raises ValueError for anything else.
    """
    if re.fullmatch(r"[0-9]+(\.[0-9]{1,9})?", text, re.ASCII):
        return text
    try:
        span_ns = parse_duration_ns(text)
    except ValueError:
        span_ns = None
    if span_ns is not None:
        moment_ns = int((time.time() if now is None else now) * 10**9) - span_ns
        return f"{moment_ns // 10**9}.{moment_ns % 10**9:09d}"
    moment_ns_or_none = parse_rfc3339_ns(text)
    if moment_ns_or_none is None:
        moment_ns_or_none = _local_timestamp_ns(text)
    if moment_ns_or_none is None:
        raise ValueError(f'failed to parse value as time or duration: "{text}"')
    return f"{moment_ns_or_none // 10**9}.{moment_ns_or_none % 10**9:09d}"


def _local_timestamp_ns(text: str) -> int | None:
    """Read the shorter forms that Docker takes: no zone (local), no seconds, no time of day."""
    body, fraction = text, 0
    if (match := re.fullmatch(r"(.*:\d\d)\.(\d{1,9})", text, re.ASCII)) is not None:
        body, fraction = match[1], int(match[2].ljust(9, "0"))
    zone = ""
    if body.endswith(("Z", "z")):
        body, zone = body[:-1], "+0000"
    elif (match := re.fullmatch(r"(\d{4}-\d\d-\d\d.*)([+-]\d\d):(\d\d)", body, re.ASCII)) is not None:
        body, zone = match[1], match[2] + match[3]
    for form in ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H", "%Y-%m-%d"):
        try:
            moment = datetime.strptime(body + zone, form + ("%z" if zone else ""))
        except ValueError:
            continue
        return int(moment.astimezone().timestamp()) * 10**9 + fraction
    return None
