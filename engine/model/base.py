"""What all bodies of the API have in common."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from msgspec import UNSET, UnsetType

T = TypeVar("T")


class Body(msgspec.Struct, rename="pascal", kw_only=True):
    """A JSON body with Docker's PascalCase names; unknown fields are ignored as Go ignores them."""


def given(value: T | UnsetType | None, default: T) -> T:
    """Return ``value``, or ``default`` where it is absent or null."""
    return default if value is UNSET or value is None or isinstance(value, UnsetType) else value
