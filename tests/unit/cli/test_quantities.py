"""Sizes, durations and times: what go-units and Go's time package read and print."""

from __future__ import annotations

import pytest

from engine.cli.quantities import (
    format_timestamp,
    human_duration,
    human_size,
    human_size_binary,
    parse_duration_ns,
    parse_go_int,
    parse_size_bytes,
)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (999, "999B"), (1000, "1kB"), (1_984_172, "1.98MB"), (533_000_000, "533MB"), (1.5e9, "1.5GB")],
)
def test_sizes_for_people(size: float, text: str) -> None:
    assert human_size(size, 3) == text


def test_sizes_with_four_digits_and_binary_units() -> None:
    assert human_size(1_984_172) == "1.984MB"
    assert human_size_binary(1536 * 1024 * 1024) == "1.5GiB"


@pytest.mark.parametrize(
    ("text", "size"),
    [("512m", 2**29), ("1.5GiB", 3 * 2**29), ("4096", 4096), ("1kb", 1024), ("1 k", 1024), ("2T", 2**41)],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size_bytes(text) == size


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x", "invalid size: 'x'"),
        ("-1", "invalid size: '-1'"),
        ("1x", "invalid suffix: 'x'"),
        ("1kbb", "invalid suffix: 'kbb'"),
        ("1.2.3", 'strconv.ParseFloat: parsing "1.2.3": invalid syntax'),
    ],
)
def test_wrong_sizes_have_go_units_texts(text: str, message: str) -> None:
    with pytest.raises(ValueError, match="^" + message.replace(".", r"\.") + "$"):
        parse_size_bytes(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"), (3540, "59 minutes"),
        (3600, "About an hour"), (47 * 3600, "47 hours"), (48 * 3600, "2 days"), (14 * 86400, "2 weeks"),
        (70 * 86400, "2 months"), (800 * 86400, "2 years"),
    ],
)  # fmt: skip
def test_spans_for_people(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "duration_ns"), [("1h2m3.5s", 3723_500_000_000), ("-10ms", -10_000_000), ("0", 0), ("1.5µs", 1500)]
)
def test_durations_are_read(text: str, duration_ns: int) -> None:
    assert parse_duration_ns(text) == duration_ns


@pytest.mark.parametrize("text", ["", "5", "x", "1d", ".s", "1h1"])
def test_wrong_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^time: "):
        parse_duration_ns(text)


@pytest.mark.parametrize(
    ("text", "stamp"),
    [
        ("1700000000", "1700000000"),
        ("1700000000.5", "1700000000.5"),
        ("10m", "1699999400.000000000"),
        ("2026-01-02T03:04:05Z", "1767323045.000000000"),
        ("2026-01-02T03:04:05.000000006+01:00", "1767319445.000000006"),
    ],
)
def test_moments_are_sent_as_unix_times(text: str, stamp: str) -> None:
    assert format_timestamp(text, now=1_700_000_000) == stamp


def test_what_is_no_moment_is_refused() -> None:
    with pytest.raises(ValueError, match='failed to parse value as time or duration: "yesterday"'):
        format_timestamp("yesterday")


def test_whole_numbers_have_gos_bases_and_bounds() -> None:
    assert parse_go_int("0x10", "ParseInt", -100, 100) == 16
    assert parse_go_int("010", "ParseInt", -100, 100) == 8
    with pytest.raises(ValueError, match="value out of range"):
        parse_go_int("101", "ParseInt", -100, 100)
    with pytest.raises(ValueError, match=r"ParseUint.*invalid syntax"):
        parse_go_int("-1", "ParseUint", 0, 100)
