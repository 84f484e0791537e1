"""Health checks: what is run, and which status follows from a result."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

import pytest

from engine.containers.announce import ContainerEvents
from engine.containers.container import Container
from engine.containers.health import (
    KEPT_RESULTS,
    MAX_OUTPUT_BYTES,
    HealthMonitor,
    format_duration,
    next_status,
    probe_command,
)
from engine.model.container import ContainerConfig, HealthConfig
from engine.model.execution import ExecCreateRequest
from engine.model.inspect import Health, HealthcheckResult
from engine.model.record import ContainerRecord

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


@pytest.mark.parametrize(
    ("duration_ns", "text"),
    [
        (30_000_000_000, "30s"),
        (90_000_000_000, "1m30s"),
        (1_500_000_000, "1.5s"),
        (3_600_000_000_000, "1h0m0s"),
        (200_000_000, "200ms"),
    ],
)
def test_durations_are_printed_as_go_does(duration_ns: int, text: str) -> None:
    assert format_duration(duration_ns) == text


class Sink:
    """Keeps the actions of events; wakes who waits for the next."""

    def __init__(self) -> None:
        self.actions: list[str] = []
        self.changed = asyncio.Event()

    def publish(
        self,
        kind: str,
        action: str,
        actor_id: str,
        attributes: dict[str, str] | None = None,
        *,
        time_ns: int | None = None,
    ) -> None:
        self.actions.append(action)
        self.changed.set()

    async def wait(self) -> str:
        async with asyncio.timeout(5):
            await self.changed.wait()
        self.changed.clear()
        return self.actions[-1]


class Probes:
    """Answers probes with what was prepared; the last answer repeats."""

    def __init__(self, *answers: tuple[int, bytes] | TimeoutError) -> None:
        self.answers = list(answers)
        self.requests: list[ExecCreateRequest] = []

    async def run(
        self, container: Container, request: ExecCreateRequest, timeout_s: float, max_output_bytes: int
    ) -> tuple[int, bytes]:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, TimeoutError):
            raise answer
        return answer[0], answer[1][:max_output_bytes]


@asynccontextmanager
async def monitored(probes: Probes, check: HealthConfig) -> AsyncIterator[tuple[Container, HealthMonitor, Sink]]:
    """Run a monitor over one running container."""
    sink = Sink()
    container = Container(ContainerRecord(id="c" * 64, name="c", created_ns=1))
    container.record.config = ContainerConfig(healthcheck=check)
    container.record.state.status = "running"
    container.record.state.started_ns = time.time_ns()
    async with asyncio.TaskGroup() as tasks:

        def spawn(work: Awaitable[None], name: str) -> asyncio.Task[None]:
            async def run() -> None:
                await work

            return tasks.create_task(run(), name=name)

        monitor = HealthMonitor(probes.run, ContainerEvents(sink), spawn, lambda _: None)
        monitor.container_started(container)
        yield container, monitor, sink
        await monitor.aclose()


MILLISECOND = 1_000_000
EACH = HealthConfig(test=["CMD-SHELL", "probe"], interval=5 * MILLISECOND, retries=2)


def last_output(container: Container) -> str:
    health = container.record.state.health
    assert health is not None
    assert health.log
    return health.log[-1].output


async def test_a_container_becomes_healthy_and_unhealthy_with_an_event_each() -> None:
    probes = Probes((0, b"ok"), (1, b"bad"), (1, b"worse"))
    async with monitored(probes, EACH) as (container, _, sink):
        health = container.record.state.health
        assert health is not None
        assert health.status == "starting"
        assert await sink.wait() == "health_status: healthy"
        assert await sink.wait() == "health_status: unhealthy"
        assert last_output(container) == "worse"
        assert sink.actions == ["health_status: healthy", "health_status: unhealthy"]
        assert probes.requests[0].cmd == ["/bin/sh", "-c", "probe"]


async def test_a_probe_that_takes_too_long_counts_as_failed_and_shows_its_output() -> None:
    check = HealthConfig(test=["CMD", "probe"], interval=MILLISECOND, timeout=90_000 * MILLISECOND, retries=1)
    async with monitored(Probes(TimeoutError(b"half")), check) as (container, _, sink):
        assert await sink.wait() == "health_status: unhealthy"
        assert last_output(container) == "Health check exceeded timeout (1m30s): half"


async def test_long_output_is_cut_as_mobys() -> None:
    async with monitored(Probes((0, b"x" * 9000)), EACH) as (container, _, sink):
        await sink.wait()
        assert last_output(container) == "x" * MAX_OUTPUT_BYTES + "..."


async def test_failures_of_the_start_period_do_not_count() -> None:
    check = HealthConfig(
        test=["CMD", "probe"],
        interval=3600_000 * MILLISECOND,
        start_period=3600_000 * MILLISECOND,
        start_interval=MILLISECOND,
        retries=1,
    )
    async with monitored(Probes((1, b""), (1, b""), (1, b""), (0, b"")), check) as (container, _, sink):
        assert await sink.wait() == "health_status: healthy"
        health = container.record.state.health
        assert health is not None
        assert [entry.exit_code for entry in health.log or []] == [1, 1, 1, 0]


async def test_what_has_stopped_is_shown_as_unhealthy_and_is_not_probed() -> None:
    probes = Probes((0, b""))
    async with monitored(probes, EACH) as (container, monitor, sink):
        await sink.wait()
        container.record.state.status = "exited"
        monitor.container_stopped(container)
        asked = len(probes.requests)
        await asyncio.sleep(0.03)
        assert len(probes.requests) == asked
        health = container.record.state.health
        assert health is not None
        assert health.status == "unhealthy"


async def test_a_container_without_a_check_has_no_health() -> None:
    async with monitored(Probes((0, b"")), HealthConfig(test=["NONE"])) as (container, _, sink):
        assert container.record.state.health is None
        assert sink.actions == []
