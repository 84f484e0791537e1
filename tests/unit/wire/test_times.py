"""Times as Docker writes and reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InvalidArgument
from engine.wire.times import format_ns, parse_duration, parse_moment, parse_rfc3339

NOW = 1_700_000_000_000_000_000


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (0, "0001-01-01T00:00:00Z"),
        (1_000_000_000, "1970-01-01T00:00:01Z"),
        (1_500_000_000, "1970-01-01T00:00:01.5Z"),
        (NOW + 120, "2023-11-14T22:13:20.00000012Z"),
        (NOW + 1, "2023-11-14T22:13:20.000000001Z"),
    ],
)
def test_times_are_written_as_go_writes_them(moment: int, text: str) -> None:
    assert format_ns(moment) == text


@given(st.integers(1, 4_000_000_000_000_000_000))
def test_every_time_is_read_as_it_was_written(moment: int) -> None:
    assert parse_rfc3339(format_ns(moment)) == moment


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2023-11-14T22:13:20Z", NOW),
        ("2023-11-14T23:13:20+01:00", NOW),
        ("2023-11-14T22:13:20.1", NOW + 100_000_000),
        ("2023-11-14T22:13", NOW - 20_000_000_000),
        ("2023-11-14", 1_699_920_000_000_000_000),
        ("2023-11-14Z", 1_699_920_000_000_000_000),
        ("0001-01-01T00:00:00Z", 0),
    ],
)
def test_rfc3339_in_the_forms_that_docker_takes(text: str, moment: int) -> None:
    assert parse_rfc3339(text) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "2023-13-01", "2023-02-30T00:00:00Z", "2023-11-14 22:13", "1e9"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid time"):
        parse_rfc3339(text)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0), ("1ns", 1), ("1us", 1000), ("2µs", 2000), ("3ms", 3_000_000), ("1.5s", 1_500_000_000),
        ("1h30m", 5_400_000_000_000), ("-5m", -300_000_000_000), (".5s", 500_000_000), ("+2s", 2_000_000_000),
    ],
)  # fmt: skip
def test_durations_in_gos_form(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "5", "1d", "s", "1.s.", "1h 2m", "--1s", "1S"])
def test_what_is_no_duration_has_gos_text(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_duration(text)
    assert caught.value.message == f'time: invalid duration "{text}"'


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("", 0),
        ("0", 0),
        ("1700000000", NOW),
        ("1700000000.5", NOW + 500_000_000),
        ("1700000000.000000001", NOW + 1),
        ("10m", NOW - 600_000_000_000),
        ("2023-11-14T22:13:20Z", NOW),
    ],
)
def test_since_and_until(text: str, moment: int) -> None:
    assert parse_moment(text, NOW) == moment


@pytest.mark.parametrize("text", ["never", "1700000000.0000000001", "0x10", "1,5", "٣"])
def test_since_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_moment(text, NOW)
