"""Health checks: what is run, and which status follows from a result."""

from __future__ import annotations

import pytest

from engine.containers.health import KEPT_RESULTS, next_status, probe_command
from engine.model.container import Health, HealthcheckResult, HealthConfig

SHELL = ["/bin/sh", "-c"]


def result(exit_code: int) -> HealthcheckResult:
    """Return the outcome of one probe."""
    return HealthcheckResult(start="", end="", exit_code=exit_code, output=str(exit_code))


@pytest.mark.parametrize(
    ("test", "command"),
    [
        (None, None),
        ([], None),
        (["NONE"], None),
        (["CMD", "true", "x y"], ["true", "x y"]),
        (["CMD-SHELL", "exit 0"], ["/bin/sh", "-c", "exit 0"]),
        (["CMD-SHELL"], None),
        (["OTHER", "x"], None),
    ],
)
def test_what_a_check_runs(test: list[str] | None, command: list[str] | None) -> None:
    assert probe_command(HealthConfig(test=test), SHELL) == command


def test_no_check_runs_nothing() -> None:
    assert probe_command(None, SHELL) is None


def run(codes: list[int], *, retries: int = 3, start_period: int = 0) -> tuple[list[str], Health]:
    """Return the status after each of the exit codes; the first ``start_period`` fall into the start period."""
    health = Health(status="starting", log=[])
    statuses = []
    for number, code in enumerate(codes):
        health.status = next_status(health, result(code), retries=retries, in_start_period=number < start_period)
        statuses.append(health.status)
    return statuses, health


@pytest.mark.parametrize(
    ("codes", "start_period", "statuses"),
    [
        ([0], 0, ["healthy"]),
        ([1, 1, 1], 0, ["starting", "starting", "unhealthy"]),
        ([1, 1, 0, 1, 1], 0, ["starting", "starting", "healthy", "healthy", "healthy"]),
        ([0, 1, 1, 1, 0], 0, ["healthy", "healthy", "healthy", "unhealthy", "healthy"]),
        ([1, 1, 1, 1, 1, 1], 3, ["starting"] * 5 + ["unhealthy"]),
        ([0, 1, 1, 1], 4, ["healthy", "healthy", "healthy", "unhealthy"]),  # the first success ends the start period
        ([-1, -1, -1], 0, ["starting", "starting", "unhealthy"]),
    ],
)
def test_the_status_follows_mobys_rules(codes: list[int], start_period: int, statuses: list[str]) -> None:
    assert run(codes, start_period=start_period)[0] == statuses


def test_the_last_five_results_are_kept_and_the_streak_is_counted() -> None:
    _, health = run([0, 1, 2, 3, 4, 5, 6], retries=100)
    assert [entry.exit_code for entry in health.log or []] == [2, 3, 4, 5, 6]
    assert len(health.log or []) == KEPT_RESULTS
    assert health.failing_streak == 6
