"""What happens to a container by itself: its start, its exit, the restart after it, its automatic removal.

Owns the order of things and what is stored when. A container is written as ``starting``, durably, before
its process runs, so that a crash at any instant leaves a record that the next start can judge.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from engine.containers.announce import ContainerEvents
from engine.containers.container import Container
from engine.containers.failures import exit_code_of
from engine.containers.interfaces import Networks
from engine.containers.launcher import Launcher
from engine.containers.restarts import next_delay_s, should_restart
from engine.containers.store import ContainerStore
from engine.errors import Conflict, NotModified, PortsideError

log = logging.getLogger(__name__)

_CLEAN_AGAIN_S = 0.5
_CLEAN_AT_LEAST_S = 30.0


class Observer:
    """Told when containers start and stop running: health checks, log rotation, cached views."""

    def container_started(self, container: Container) -> None:
        """``container`` runs."""

    def container_stopped(self, container: Container) -> None:
        """``container`` runs no more."""

    def container_changed(self, container: Container) -> None:
        """Something that lists or inspect show has changed."""


class Lifecycle:
    """Starts containers and deals with their exits."""

    def __init__(
        self,
        launcher: Launcher,
        networks: Networks,
        store: ContainerStore,
        events: ContainerEvents,
        observers: list[Observer],
    ) -> None:
        """``remove`` is set by the manager: it removes a container that asked for that."""
        self._launcher = launcher
        self._networks = networks
        self._store = store
        self._events = events
        self._observers = observers
        self._tasks: asyncio.TaskGroup | None = None
        self._running: set[asyncio.Task[None]] = set()
        self.remove: Callable[[Container], Awaitable[None]] | None = None

    def use_tasks(self, tasks: asyncio.TaskGroup) -> None:
        """Run restarts and removals in ``tasks``, which the engine owns."""
        self._tasks = tasks

    def spawn(self, work: Awaitable[None], name: str) -> asyncio.Task[None] | None:
        """Run ``work`` in the background; what it raises is logged and ends nothing else."""
        if self._tasks is None:
            return None
        task = self._tasks.create_task(_supervised(work, name), name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def end_tasks(self) -> None:
        """Cancel what runs in the background; the next engine takes it up again."""
        self._tasks = None
        for task in list(self._running):
            task.cancel()

    def changed(self, container: Container) -> None:
        """Tell the observers that what a container shows has changed."""
        for observer in self._observers:
            observer.container_changed(container)

    async def start(self, container: Container, *, by_policy: bool = False) -> None:
        """Start a container.

        Raises NotModified when it runs, Conflict when it is paused or being removed, and whatever kept it
        from starting; then everything is taken back and the record says why.
        """
        began = False
        try:
            async with container.lock:
                self._check_startable(container)
                if not by_policy:
                    container.record.manually_stopped = False
                    container.record.state.restart_count = 0
                    container.restart_delay_s = 0
                    self.cancel_restart(container)
                began = True
                await self._start_locked(container)
        except PortsideError:
            if began and container.record.host_config.auto_remove:
                # Before the answer, as moby does: clients wait for the removal.
                await _supervised(self._remove(container), f"auto-remove {container.name}")
            raise

    def _check_startable(self, container: Container) -> None:
        state = container.record.state
        if container.removing or state.status in ("removing", "dead"):
            raise Conflict("container is marked for removal and cannot be started")
        if state.status == "paused":
            raise Conflict("cannot start a paused container, try unpause instead")
        if container.is_running:
            raise NotModified("container is already running")

    async def _start_locked(self, container: Container) -> None:
        record = container.record
        state = record.state
        before = state.status
        try:
            sandbox = self._networks.reserve(record)
        except PortsideError as error:
            state.error, state.exit_code = error.message, exit_code_of(error.message)
            self._store.save_soon(record)
            container.drop_attachments(error.message)
            raise
        record.networks = sandbox.endpoints
        record.ports = sandbox.ports
        state.status = "starting"
        state.error = ""
        state.stopped_by_user = False
        state.oom_killed = False
        state.health = None
        container.started.clear()
        saved = asyncio.ensure_future(self._store.save(record))
        try:
            pid = await self._launcher.bring_up(record, sandbox, saved, container.open_attachments)
            state.pid = pid
            container.track(pid)
            state.started_ns = time.time_ns()
            await self._launcher.let_go(record)
        except BaseException as error:
            await self._take_back(container, error, before)
            raise
        state.status = "running"
        state.exit_code = 0
        self._store.save_soon(record)
        container.exited.clear()
        container.started.set()
        for observer in self._observers:
            observer.container_started(container)
        self.changed(container)
        self._events.publish(record, "start")

    def take_over(self, container: Container, pid: int, started_ns: int) -> None:
        """Go on with a container that runs since before this engine."""
        state = container.record.state
        if state.status == "starting":
            state.status = "running"
            state.started_ns = started_ns
            self._store.save_soon(container.record)
        state.pid = pid
        container.track(pid)
        container.started.set()
        for observer in self._observers:
            observer.container_started(container)

    async def _take_back(self, container: Container, error: BaseException, before: str) -> None:
        record = container.record
        state = record.state
        container.untrack()
        message = error.message if isinstance(error, PortsideError) else str(error) or type(error).__name__
        state.pid = 0
        state.status = "created" if before == "created" else "exited"
        state.exit_code = exit_code_of(message)
        state.error = message
        state.finished_ns = 0 if before == "created" else state.finished_ns
        await asyncio.shield(self._clean(container))
        await asyncio.shield(self._store.save(record))
        container.drop_attachments(message)
        container.announce_exit(state.exit_code)
        self.changed(container)
        if record.host_config.auto_remove and not isinstance(error, (PortsideError, asyncio.CancelledError)):
            self.spawn(self._remove(container), f"auto-remove {record.name}")

    async def _clean(self, container: Container) -> None:
        record = container.record
        await self._launcher.tear_down(record)
        await self._networks.release(record.id)
        record.ports = {}
        for endpoint in record.networks.values():
            endpoint.endpoint_id = endpoint.gateway = endpoint.ip_address = endpoint.mac_address = ""
            endpoint.ip_prefix_len = endpoint.global_ipv6_prefix_len = 0
            endpoint.ipv6_gateway = endpoint.global_ipv6_address = ""

    async def handle_exit(self, container: Container, exit_code: int, time_ns: int, *, lost: bool = False) -> None:
        """Deal with a container whose process has ended, at ``time_ns``; ``lost`` when nobody saw its exit code.

        Where its clean-up fails (a process that does not die, a disk that is full) the container counts as running
        still, and all is tried again until it succeeds, less and less often.
        """
        try:
            await self._handle_exit(container, exit_code, time_ns, lost=lost)
        except PortsideError as error:
            log.warning("container %s has ended and is not cleaned up yet: %s", container.name, error.message)
            self.spawn(self._exit_again(container, exit_code, time_ns, lost=lost), f"exit of container {container.id}")

    async def _exit_again(self, container: Container, exit_code: int, time_ns: int, *, lost: bool) -> None:
        delay_s = _CLEAN_AGAIN_S
        while True:
            await asyncio.sleep(delay_s)
            with suppress(PortsideError):
                return await self._handle_exit(container, exit_code, time_ns, lost=lost)
            delay_s = min(2 * delay_s, _CLEAN_AT_LEAST_S)

    async def _handle_exit(self, container: Container, exit_code: int, time_ns: int, *, lost: bool) -> None:
        async with container.lock:
            if not container.is_running:
                return
            record = container.record
            state = record.state
            ran_s = max(0.0, (time_ns - state.started_ns) / 1e9)
            for observer in self._observers:
                observer.container_stopped(container)
            if not state.oom_killed and self._launcher.was_oom_killed(record):
                state.oom_killed = True
                self._events.publish(record, "oom", time_ns=time_ns)
            container.untrack()
            await self._clean(container)
            state.pid = 0
            state.exit_code = exit_code
            state.finished_ns = time_ns
            if lost:
                state.error = ""
            restart = not container.removing and should_restart(record, exit_code)
            state.status = "restarting" if restart else "exited"
            if restart:
                state.restart_count += 1
            if restart or not container.removes_itself:
                await self._store.save(record)
            self._events.publish(record, "die", time_ns=time_ns, exitCode=str(exit_code), execDuration=str(int(ran_s)))
            container.started.clear()
            container.exited.set()
            container.announce_exit(exit_code)
            self.changed(container)
            if restart:
                container.restart_delay_s = next_delay_s(container.restart_delay_s, ran_s)
                container.restart_timer = self.spawn(self._restart_later(container), f"restart {record.name}")
            elif container.removes_itself and not container.removing:
                self.spawn(self._remove(container), f"auto-remove {record.name}")

    async def _restart_later(self, container: Container) -> None:
        await asyncio.sleep(container.restart_delay_s)
        container.restart_timer = None
        try:
            await self.start(container, by_policy=True)
        except (NotModified, Conflict):
            return
        except PortsideError as error:
            log.warning("container %s is not restarted: %s", container.name, error.message)

    def cancel_restart(self, container: Container) -> bool:
        """Give up the next start by the policy; returns whether one was planned."""
        timer, container.restart_timer = container.restart_timer, None
        if timer is None or timer is asyncio.current_task():
            return False
        timer.cancel()
        return True

    async def _remove(self, container: Container) -> None:
        if self.remove is not None:
            await self.remove(container)


async def _supervised(work: Awaitable[None], name: str) -> None:
    try:
        await work
    except PortsideError as error:
        log.warning("%s: %s", name, error.message)
    except Exception:  # the edge of a background task: nothing else must end with it
        log.exception("%s failed", name)
