"""Signals by name and number."""

from __future__ import annotations

import pytest

from engine.containers.signals import parse_signal
from engine.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "number"), [("9", 9), ("KILL", 9), ("sigterm", 15), ("SIGRTMIN+3", 37), ("RTMAX", 64), ("HUP", 1)]
)
def test_a_signal_has_one_number(text: str, number: int) -> None:
    assert parse_signal(text) == number


@pytest.mark.parametrize("text", ["", "0", "65", "-1", "NOPE", "SIGSIGKILL", "٣"])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid signal: "):
        parse_signal(text)
