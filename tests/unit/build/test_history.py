"""What histories say, in Go's words."""

from __future__ import annotations

import pytest

from engine.build import history
from engine.build.dockerfile.errors import DockerfileError
from engine.build.dockerfile.instructions import Health
from engine.build.ports import parse_ports


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1500, "1.5µs"),
        (250_000_000, "250ms"),
        (1_500_000_000, "1.5s"),
        (90 * 10**9, "1m30s"),
        (3600 * 10**9, "1h0m0s"),
        (3661_500_000_000, "1h1m1.5s"),
    ],
)
def test_durations(time_ns: int, text: str) -> None:
    """Durations are printed as Go prints them."""
    assert history.go_duration(time_ns) == text


def test_lines() -> None:
    """The two kinds of lines of steps that run nothing, and a health check."""
    assert history.nothing(["/bin/sh", "-c"], "ENV A=b") == "/bin/sh -c #(nop)  ENV A=b"
    assert history.nothing_in_one(["/bin/sh", "-c"], "WORKDIR /x") == "/bin/sh -c #(nop) WORKDIR /x"
    check = Health(test=["CMD-SHELL", 'say "hi"'], interval=300 * 10**9, timeout=3 * 10**9, retries=2)
    assert history.health(check) == '&{["CMD-SHELL" "say \\"hi\\""] "5m0s" "3s" "0s" "0s" \'\\x02\'}'
    assert history.quoted_list(["a b", "c"]) == '["a b" "c"]'
    assert history.plain_list(["a b", "c"]) == "[a b c]"


def test_ports() -> None:
    """Ports, ranges, protocols, and what is none of them."""
    assert parse_ports(["80", "53/UDP", "8000-8002", "127.0.0.1:90:91"]) == [
        "80/tcp", "53/udp", "8000/tcp", "8001/tcp", "8002/tcp", "91/tcp",
    ]  # fmt: skip
    for text in ("x", "70000", "9-8", "1/xyz", ""):
        with pytest.raises(DockerfileError):
            parse_ports([text])
