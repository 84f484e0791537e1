"""Health checks: probes in running containers, by Docker's rules for intervals, start periods and retries."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from engine.containers.announce import ContainerEvents
from engine.containers.container import Container
from engine.containers.lifecycle import Observer
from engine.errors import PortsideError
from engine.model.base import given
from engine.model.container import HealthConfig
from engine.model.execution import ExecCreateRequest
from engine.model.inspect import Health, HealthcheckResult
from engine.wire.times import format_ns

log = logging.getLogger(__name__)

DEFAULT_INTERVAL_NS = 30_000_000_000
DEFAULT_TIMEOUT_NS = 30_000_000_000
DEFAULT_START_INTERVAL_NS = 5_000_000_000
DEFAULT_RETRIES = 3
KEPT_RESULTS = 5
MAX_OUTPUT_BYTES = 4096

RunProbe = Callable[[Container, ExecCreateRequest, float, int], Awaitable[tuple[int, bytes]]]
"""Runs a command in a container: request, timeout in seconds, bytes of output; raises TimeoutError with
the output so far."""


def probe_command(config: HealthConfig | None, shell: list[str]) -> list[str] | None:
    """Return what a probe runs; None when there is no check."""
    test = given(config.test, []) if config is not None else []
    if not test or test[0] == "NONE":
        return None
    if test[0] == "CMD-SHELL":
        return [*shell, test[1]] if len(test) > 1 else None
    return test[1:] if test[0] == "CMD" else None


def next_status(health: Health, result: HealthcheckResult, *, retries: int, in_start_period: bool) -> str:
    """Put a result into ``health`` and return the status that follows from it."""
    health.log = [*(health.log or []), result][-KEPT_RESULTS:]
    if result.exit_code == 0:
        health.failing_streak = 0
        return "healthy"
    if in_start_period and health.status == "starting":
        return "starting"
    health.failing_streak += 1
    return "unhealthy" if health.failing_streak >= retries else health.status


class HealthMonitor(Observer):
    """Checks every running container that has a health check; one task each."""

    def __init__(
        self,
        run: RunProbe,
        events: ContainerEvents,
        spawn: Callable[[Awaitable[None], str], asyncio.Task[None] | None],
        changed: Callable[[Container], None],
    ) -> None:
        """``spawn`` runs a task in the engine's group; ``changed`` is told of every result, to store and show it."""
        self._run = run
        self._events = events
        self._spawn = spawn
        self._changed = changed
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def container_started(self, container: Container) -> None:
        """Begin to check a container."""
        config = container.record.config
        health = config.healthcheck if isinstance(config.healthcheck, HealthConfig) else None
        command = probe_command(health, given(config.shell, []) or ["/bin/sh", "-c"])
        if health is None or command is None:
            container.record.state.health = None
            return
        state = container.record.state
        if state.health is None or state.health.status == "none" or not state.health.log:
            state.health = Health(status="starting", log=[])
        task = self._spawn(self._watch(container, health, command), f"health of {container.name}")
        if task is not None:
            self._tasks[container.id] = task

    def container_stopped(self, container: Container) -> None:
        """End the checks of a container."""
        task = self._tasks.pop(container.id, None)
        health = container.record.state.health
        if health is not None:
            health.status = "unhealthy"  # as moby shows what is not checked any more
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    async def _watch(self, container: Container, config: HealthConfig, command: list[str]) -> None:
        interval_ns = given(config.interval, 0) or DEFAULT_INTERVAL_NS
        start_period_ns = given(config.start_period, 0)
        start_interval_ns = given(config.start_interval, 0) or DEFAULT_START_INTERVAL_NS
        while container.is_running:
            in_start = self._in_start_period(container, start_period_ns)
            pause_ns = start_interval_ns if in_start and self._is_starting(container) else interval_ns
            await asyncio.sleep(pause_ns / 1e9)
            if container.record.state.status != "running":
                continue  # frozen: nothing can be run in it
            await self._probe(container, config, command, start_period_ns)

    def _in_start_period(self, container: Container, start_period_ns: int) -> bool:
        return time.time_ns() - container.record.state.started_ns < start_period_ns

    def _is_starting(self, container: Container) -> bool:
        health = container.record.state.health
        return health is not None and health.status == "starting"

    async def _probe(
        self, container: Container, config: HealthConfig, command: list[str], start_period_ns: int
    ) -> None:
        timeout_ns = given(config.timeout, 0) or DEFAULT_TIMEOUT_NS
        timeout_s = timeout_ns / 1e9
        in_start = self._in_start_period(container, start_period_ns)
        request = ExecCreateRequest(cmd=command, attach_stdout=True, attach_stderr=True)
        began = time.time_ns()
        try:
            # One byte more than is kept tells that something was left out.
            code, output = await self._run(container, request, timeout_s, MAX_OUTPUT_BYTES + 1)
        except TimeoutError as error:
            code, output = -1, f"Health check exceeded timeout ({format_duration(timeout_ns)})".encode()
            if error.args and isinstance(error.args[0], bytes) and error.args[0]:
                output += b": " + _limited(error.args[0])
        except PortsideError as error:
            if not container.is_running:
                return
            code, output = -1, error.message.encode()
        else:
            output = _limited(output)
        result = HealthcheckResult(
            start=format_ns(began),
            end=format_ns(time.time_ns()),
            exit_code=code,
            output=output.decode(errors="replace"),
        )
        health = container.record.state.health
        if health is None or not container.is_running:
            return
        retries = given(config.retries, 0) or DEFAULT_RETRIES
        before = health.status
        health.status = next_status(health, result, retries=retries, in_start_period=in_start)
        self._changed(container)
        if health.status != before:
            self._events.publish(container.record, f"health_status: {health.status}")

    async def aclose(self) -> None:
        """End all checks; the next engine goes on with them."""
        for task in list(self._tasks.values()):
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()


def _limited(output: bytes) -> bytes:
    return output if len(output) <= MAX_OUTPUT_BYTES else output[:MAX_OUTPUT_BYTES] + b"..."


def format_duration(duration_ns: int) -> str:
    """Return a duration as Go prints it: ``1m30s``, ``1.5s``, ``200ms``."""
    if duration_ns < 1_000_000_000:
        for size, unit in ((1_000_000, "ms"), (1_000, "µs")):
            if duration_ns >= size:
                return f"{duration_ns / size:g}{unit}"
        return f"{duration_ns}ns"
    minutes, rest_ns = divmod(duration_ns, 60_000_000_000)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{rest_ns // 1_000_000_000}.{rest_ns % 1_000_000_000:09d}".rstrip("0").rstrip(".") + "s"
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + seconds
