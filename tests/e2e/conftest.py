"""What every test under the X server has."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.e2e.screen import kept_display


@pytest.fixture(scope="session", autouse=True)
def display() -> Iterator[None]:
    """Keep the X server from resetting between two windows."""
    if not os.environ.get("DISPLAY"):
        yield
        return
    with kept_display():
        yield
