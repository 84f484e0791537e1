"""Restart policies as a table."""

from __future__ import annotations

import pytest

from engine.containers.restarts import next_delay_s, should_restart, should_start_with_engine
from engine.model.container import HostConfig, RestartPolicy
from engine.model.record import ContainerRecord, StateRecord


def record(
    policy: str, *, limit: int = 0, manual: bool = False, count: int = 0, status: str = "exited"
) -> ContainerRecord:
    """Return a container that has run, with a policy."""
    made = ContainerRecord(id="a" * 64, name="web", created_ns=1)
    made.host_config = HostConfig(restart_policy=RestartPolicy(name=policy, maximum_retry_count=limit))
    made.state = StateRecord(status=status, started_ns=5, restart_count=count, exit_code=1)
    made.manually_stopped = manual
    return made


@pytest.mark.parametrize(
    ("policy", "exit_code", "restarts"),
    [("no", 1, False), ("", 1, False), ("always", 0, True), ("unless-stopped", 0, True),
     ("on-failure", 0, False), ("on-failure", 1, True)],
)  # fmt: skip
def test_an_exit_is_followed_by_a_start_when_the_policy_says_so(policy: str, exit_code: int, restarts: bool) -> None:
    assert should_restart(record(policy), exit_code) is restarts


def test_on_failure_gives_up_after_its_limit() -> None:
    assert should_restart(record("on-failure", limit=3, count=2), 1)
    assert not should_restart(record("on-failure", limit=3, count=3), 1)


@pytest.mark.parametrize("policy", ["always", "unless-stopped", "on-failure"])
def test_what_a_user_stopped_stays_stopped(policy: str) -> None:
    assert not should_restart(record(policy, manual=True), 1)


def test_with_the_engine_always_starts_even_what_was_stopped() -> None:
    assert should_start_with_engine(record("always", manual=True))
    assert not should_start_with_engine(record("unless-stopped", manual=True))
    assert should_start_with_engine(record("unless-stopped"))
    assert not should_start_with_engine(record("no"))


def test_a_container_that_was_never_started_does_not_start_with_the_engine() -> None:
    made = record("always", status="created")
    made.state.started_ns = 0
    assert not should_start_with_engine(made)


def test_the_delay_doubles_up_to_a_minute_and_begins_anew_after_a_long_run() -> None:
    delays = [0.0]
    for _ in range(12):
        delays.append(next_delay_s(delays[-1], ran_s=0.1))
    assert delays[1:5] == [0.1, 0.2, 0.4, 0.8]
    assert delays[-1] == 60.0
    assert next_delay_s(60.0, ran_s=11) == 0.1
