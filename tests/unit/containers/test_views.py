"""What lists show: durations and statuses against moby's table, ports, commands."""

from __future__ import annotations

import pytest

from engine.containers.views import command_text, human_duration, port_summaries, shown_status, state_view, status_text
from engine.model.container import ContainerConfig, HostConfig, PortBinding
from engine.model.inspect import Health
from engine.model.record import ContainerRecord, StateRecord

SECOND = 1_000_000_000
MINUTE, HOUR, DAY = 60, 3600, 86400
NOW = 1_700_000_000 * SECOND


def record(status: str, **state: object) -> ContainerRecord:
    """Return a container that started an hour and ended three minutes ago."""
    made = ContainerRecord(id="a" * 64, name="web", created_ns=NOW - 2 * HOUR * SECOND, path="sh")
    made.state = StateRecord(status=status, started_ns=NOW - HOUR * SECOND, finished_ns=NOW - 3 * MINUTE * SECOND)
    for name, value in state.items():
        setattr(made.state, name, value)
    return made


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "Less than a second"), (0.99, "Less than a second"), (1, "1 second"), (1.9, "1 second"),
        (45, "45 seconds"), (59.9, "59 seconds"), (60, "About a minute"), (119, "About a minute"),
        (120, "2 minutes"), (46 * MINUTE, "46 minutes"), (59 * MINUTE + 59, "59 minutes"), (HOUR, "About an hour"),
        (89 * MINUTE, "About an hour"), (90 * MINUTE, "2 hours"), (2 * HOUR, "2 hours"), (47 * HOUR, "47 hours"),
        (2 * DAY, "2 days"), (13 * DAY, "13 days"), (14 * DAY, "2 weeks"), (59 * DAY, "8 weeks"),
        (60 * DAY, "2 months"), (365 * DAY, "12 months"), (729 * DAY, "24 months"), (730 * DAY, "2 years"),
        (1825 * DAY, "5 years"),
    ],
)  # fmt: skip
def test_durations_as_docker_says_them(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (record("created", started_ns=0, finished_ns=0), "Created"),
        (record("running"), "Up About an hour"),
        (record("running", health=Health(status="starting")), "Up About an hour (health: starting)"),
        (record("running", health=Health(status="healthy")), "Up About an hour (healthy)"),
        (record("running", health=Health(status="unhealthy")), "Up About an hour (unhealthy)"),
        (record("running", health=Health(status="none")), "Up About an hour"),
        (record("paused"), "Up About an hour (Paused)"),
        (record("restarting", exit_code=3), "Restarting (3) 3 minutes ago"),
        (record("removing"), "Removal In Progress"),
        (record("dead"), "Dead"),
        (record("exited", exit_code=137), "Exited (137) 3 minutes ago"),
        (record("starting", finished_ns=0, started_ns=0), "Created"),
    ],
)
def test_statuses_as_docker_says_them(made: ContainerRecord, text: str) -> None:
    assert status_text(made, NOW) == text


def test_a_clock_that_was_set_back_gives_no_negative_times() -> None:
    assert status_text(record("running", started_ns=NOW + HOUR * SECOND), NOW) == "Up Less than a second"


def test_a_start_is_shown_only_when_it_is_done() -> None:
    assert shown_status(record("starting", finished_ns=0)) == "created"
    assert shown_status(record("starting")) == "exited"
    assert status_text(record("starting", exit_code=2), NOW) == "Exited (2) 3 minutes ago"


@pytest.mark.parametrize(
    ("status", "flags"),
    [
        ("created", (False, False, False)),
        ("running", (True, False, False)),
        ("paused", (True, True, False)),
        ("restarting", (True, False, True)),
        ("exited", (False, False, False)),
    ],
)
def test_the_flags_of_the_state_are_mobys(status: str, flags: tuple[bool, bool, bool]) -> None:
    view = state_view(record(status, pid=5))
    assert (view.running, view.paused, view.restarting) == flags
    assert view.pid == (5 if status in ("running", "paused") else 0)


def test_times_that_never_were_are_gos_zero() -> None:
    view = state_view(record("created", started_ns=0, finished_ns=0))
    assert view.started_at == view.finished_at == "0001-01-01T00:00:00Z"


def test_ports_are_shown_while_it_runs() -> None:
    made = record("running")
    made.config = ContainerConfig(exposed_ports={"80/tcp": {}, "53/udp": {}, "junk": {}})
    made.host_config = HostConfig(port_bindings={"80/tcp": [PortBinding(host_port="8080")]})
    made.ports = {"80/tcp": [PortBinding(host_ip="0.0.0.0", host_port="8080"), PortBinding("::", "8080")]}
    found = [(port.ip, port.private_port, port.public_port, port.type) for port in port_summaries(made)]
    assert ("0.0.0.0", 80, 8080, "tcp") in found
    assert ("::", 80, 8080, "tcp") in found
    assert [port[1] for port in found] == [53, 80, 80]
    made.state.status = "exited"
    assert port_summaries(made) == []


def test_words_with_blanks_are_quoted_in_the_command() -> None:
    made = record("running")
    made.args = ["-c", "echo a b", ""]
    assert command_text(made) == "sh -c 'echo a b'"
