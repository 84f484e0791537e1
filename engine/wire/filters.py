"""The ``filters`` of a query: a JSON object of lists, or of objects of booleans as old clients send it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

import msgspec

from engine.errors import InvalidArgument

Filters = dict[str, list[str]]

_decoder = msgspec.json.Decoder(dict[str, list[str] | dict[str, bool]])


def parse_filters(text: str, allowed: Collection[str] | None) -> Filters:
    """Return a query's filters, values in their order; ``allowed`` None for any.

    Raises InvalidArgument with moby's texts for broken JSON and for a filter that is not ``allowed``.
    """
    if text in ("", "null"):
        return {}
    try:
        raw = _decoder.decode(text)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise InvalidArgument("invalid filter") from error
    found: Filters = {}
    for name, values in raw.items():
        if allowed is not None and name not in allowed:
            raise InvalidArgument(f"invalid filter '{name}'")
        found[name] = list(values)  # of an object its names, whatever they say: so moby reads them
    return found


def encode_filters(filters: Filters) -> str:
    """Return the query's form, with lists."""
    return msgspec.json.encode(filters).decode()


def single_bool(filters: Filters, name: str, default: bool | None = None) -> bool | None:
    """Return a filter that is one boolean: 1, true, 0 or false.

    Raises InvalidArgument with moby's texts for anything else and for both at once.
    """
    if name not in filters:
        return default
    values = filters[name]
    if not values:
        raise InvalidArgument(f"invalid filter '{name}'")
    is_true, is_false = bool({"1", "true"} & set(values)), bool({"0", "false"} & set(values))
    if is_true == is_false:
        raise InvalidArgument(f"invalid filter '{name}=[{' '.join(values)}]'")
    return is_true


def match_labels(wanted: Iterable[str], labels: dict[str, str] | None) -> bool:
    """Whether ``labels`` has every ``key`` or ``key=value`` of ``wanted``."""
    have = labels or {}
    for item in wanted:
        key, given, value = item.partition("=")
        if key not in have or (given and have[key] != value):
            return False
    return True


def match_pattern(patterns: Collection[str], value: str) -> bool:
    """Whether ``value`` is one of ``patterns`` or contains a match of one, a regular expression, as moby's Match."""
    if value in patterns:
        return True
    for pattern in patterns:
        try:
            if re.search(pattern, value):
                return True
        except re.error:
            continue
    return False
