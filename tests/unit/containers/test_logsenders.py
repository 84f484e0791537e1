"""What a syslog and journald are sent for a line."""

from __future__ import annotations

import struct
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from engine.containers.logoptions import check_log_options, is_readable, parse_facility, parse_syslog_address
from engine.containers.logreceivers import journal_field
from engine.containers.logsenders import Journal, Syslog, calendar_seconds
from engine.errors import InvalidArgument
from engine.model.container import LogConfig

STAMP = "2026-02-03T04:05:06.123456789+00:00"


@pytest.fixture(autouse=True)
def _zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def syslog(**fields: Any) -> Syslog:
    task = {"protocol": "udp", "address": "", "facility": 24, "format": "", "tag": "web", **fields}
    return Syslog(task)


@pytest.mark.parametrize(
    ("form", "is_error", "message"),
    [
        ("", False, "<30>Feb  3 04:05:06 web[{pid}]: hello\n"),
        ("rfc3164", True, "<27>Feb  3 04:05:06 {host} web[{pid}]: hello\n"),
        ("rfc5424", False, "<30>1 2026-02-03T04:05:06Z {host} web {pid} web - hello\n"),
        ("rfc5424micro", False, "<30>1 2026-02-03T04:05:06.123456Z {host} web {pid} web - hello\n"),
    ],
)
def test_formats(form: str, is_error: bool, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "here")
    monkeypatch.setattr("os.getpid", lambda: 77)
    wanted = message.replace("{pid}", "77").replace("{host}", "here")
    assert syslog(format=form).encode(STAMP, is_error, b"hello") == wanted.encode()


def test_a_frame_counts_its_bytes_over_tls() -> None:
    data = syslog(format="rfc5424", protocol="tcp+tls").encode(STAMP, False, b"x")
    length, _, rest = data.partition(b" ")
    assert int(length) == len(rest)


def test_times_of_many_years() -> None:
    for text in ("1970-01-01T00:00:00", "2000-02-29T23:59:59", "2026-11-24T14:00:00", "2100-03-01T00:00:00"):
        assert calendar_seconds(text) == datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def test_journald_gets_fields_and_lines_of_several_lines() -> None:
    data = Journal({"fields": {"CONTAINER_ID": "abc", "LABEL": "a\nb"}}).encode(STAMP, True, b"hello", 5)
    assert data.startswith(b"PRIORITY=3\nMESSAGE=hello\nCONTAINER_ID=abc\n")
    assert b"LABEL\n" + struct.pack("<Q", 3) + b"a\nb\n" in data
    assert data.endswith(f"SYSLOG_TIMESTAMP={STAMP}\nCONTAINER_LOG_ORDINAL=5\n".encode())


@pytest.mark.parametrize(("name", "field"), [("a.b", "A_B"), ("__x1", "X1"), ("com.x-y", "COM_X_Y"), ("é", "")])
def test_names_of_fields(name: str, field: str) -> None:
    assert journal_field(name) == field


@pytest.mark.parametrize(
    ("address", "parsed"),
    [
        ("", ("", "")),
        ("udp://host", ("udp", "host:514")),
        ("tcp://1.2.3.4:99", ("tcp", "1.2.3.4:99")),
        ("tcp+tls://[::1]:6514", ("tcp+tls", "[::1]:6514")),
        ("udp://[::1]", ("udp", "[::1]:514")),
    ],
)
def test_addresses(address: str, parsed: tuple[str, str]) -> None:
    assert parse_syslog_address(address) == parsed


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("unix:///nowhere", "stat /nowhere: no such file or directory"),
        ("http://x", "unsupported scheme: 'http'"),
        ("localhost:514", "unsupported scheme"),
        ("udp://x:99999", "invalid port"),
        ("udp://x:a", "invalid port"),
    ],
)
def test_bad_addresses(address: str, text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        parse_syslog_address(address)


def test_facilities() -> None:
    assert [parse_facility(name) for name in ("", "daemon", "kern", "local7", "0", "23")] == [24, 24, 0, 184, 0, 184]
    for name in ("nothing", "24", "-1", "9" * 30):
        with pytest.raises(InvalidArgument, match="invalid syslog facility"):
            parse_facility(name)


@pytest.mark.parametrize(
    ("driver", "options", "text"),
    [
        ("syslog", {"max-size": "1m"}, "unknown log opt 'max-size' for syslog log driver"),
        ("journald", {"colour": "red"}, "unknown log opt 'colour' for journald log driver"),
        ("syslog", {"syslog-format": "morse"}, "Invalid syslog format"),
        ("syslog", {"cache-max-file": "0"}, "max-file cannot be less than 1"),
        ("syslog", {"cache-disabled": "maybe"}, "invalid value for option cache-disabled: maybe"),
        ("local", {"max-file": "1", "compress": "true"}, "compress cannot be true when max-file is less than 2"),
        ("json-file", {"compress": "true"}, "compress cannot be true when max-file is less than 2"),
        ("json-file", {"max-size": "1m", "max-file": "-1"}, "max-file cannot be less than 1"),
        ("fluentd", {}, "logger: no log driver named 'fluentd' is registered"),
    ],
)
def test_bad_options(driver: str, options: dict[str, str], text: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        check_log_options(driver, options)
    assert text in raised.value.message


def test_what_can_be_read() -> None:
    assert is_readable(LogConfig(type="syslog"))
    assert not is_readable(LogConfig(type="syslog", config={"cache-disabled": "true"}))
    assert not is_readable(LogConfig(type="none"))
    assert is_readable(LogConfig(type="json-file", config={"cache-disabled": "true"}))
