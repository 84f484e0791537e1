"""Making containers end or stand still: signals, the time they get, the end of those that wait for their next start.

Knows the order of it; whether a container may be stopped is decided by who asks.
"""

from __future__ import annotations

import asyncio

from engine.containers.announce import ContainerEvents
from engine.containers.container import Container
from engine.containers.launcher import Launcher
from engine.containers.lifecycle import Lifecycle
from engine.containers.signals import parse_signal
from engine.containers.store import ContainerStore
from engine.errors import Conflict, Internal, PortsideError

SIGKILL = 9
SIGTERM = 15
DEFAULT_STOP_TIMEOUT_S = 10
KILL_TIMEOUT_S = 10.0


class Stopper:
    """Ends containers."""

    def __init__(
        self, lifecycle: Lifecycle, launcher: Launcher, store: ContainerStore, events: ContainerEvents
    ) -> None:
        """Wire the parts."""
        self._lifecycle = lifecycle
        self._launcher = launcher
        self._store = store
        self._events = events

    async def stop(self, container: Container, timeout_s: int | None, number: int = 0) -> None:
        """Send signal ``number`` (0: its own), then SIGKILL after ``timeout_s`` (None: its own, negative: never)."""
        config = container.record.config
        if timeout_s is None:
            timeout_s = config.stop_timeout if isinstance(config.stop_timeout, int) else DEFAULT_STOP_TIMEOUT_S
        if not number:
            number = (
                parse_signal(config.stop_signal)
                if isinstance(config.stop_signal, str) and config.stop_signal
                else SIGTERM
            )
        if await self.stop_restarting(container):
            return
        exited = container.next_exit()
        try:
            if container.is_running:
                await self.send(container, number)
                try:
                    await asyncio.wait_for(asyncio.shield(exited), None if timeout_s < 0 else timeout_s)
                except TimeoutError:
                    await self.kill_and_wait(container)
        finally:
            exited.cancel()
        self._events.publish(container.record, "stop")

    async def stop_restarting(self, container: Container) -> bool:
        """End a container's wait for its next start; returns whether it waited."""
        if not container.is_restarting:
            return False
        async with container.lock:
            if not container.is_restarting:
                return False
            self._lifecycle.cancel_restart(container)
            container.record.manually_stopped = True
            container.record.state.status = "exited"
            await self._store.save(container.record)
            self._lifecycle.changed(container)
        self._events.publish(container.record, "stop")
        return True

    async def send(self, container: Container, number: int) -> None:
        """Send a signal; one that ends a container also ends its restart policy, as in Docker."""
        record = container.record
        stop_signal = record.config.stop_signal
        has_stop_signal = isinstance(stop_signal, str) and bool(stop_signal)
        ends = number == SIGKILL or not has_stop_signal or parse_signal(str(stop_signal)) == number
        if ends:
            record.state.stopped_by_user = True
            record.manually_stopped = True
            self._store.save_soon(record)
        container.signal(number)
        if ends and record.state.status == "paused":
            await self._thaw(container)
        self._events.publish(record, "kill", signal=str(number))

    async def _thaw(self, container: Container) -> None:
        """Let a paused container go on so that it can end; it may end while the runtime still looks at it."""
        record = container.record
        try:
            await self._launcher.resume(record)
        except PortsideError:
            if container.signal(0):
                raise
        if record.state.status == "paused":
            record.state.status = "running"
            self._lifecycle.changed(container)
            self._events.publish(record, "unpause")

    async def kill_and_wait(self, container: Container) -> None:
        """Send SIGKILL and wait for the end; raises Internal when it does not come."""
        if await self.stop_restarting(container):
            return
        exited = container.next_exit()
        try:
            if not container.is_running:
                return
            await self.send(container, SIGKILL)
            try:
                await asyncio.wait_for(asyncio.shield(exited), KILL_TIMEOUT_S)
            except TimeoutError:
                raise Internal("tried to kill container, but did not receive an exit event") from None
        finally:
            exited.cancel()

    async def pause(self, container: Container) -> None:
        """Freeze a container's processes; raises Conflict unless it runs unpaused."""
        async with container.lock:
            container.require_running()
            record = container.record
            if record.state.status == "paused":
                raise Conflict(f"Container {container.id} is already paused")
            await self._launcher.pause(record)
            record.state.status = "paused"
            await self._store.save(record)
            self._lifecycle.changed(container)
        self._events.publish(record, "pause")

    async def unpause(self, container: Container) -> None:
        """Let a paused container go on; raises Conflict when it is not paused."""
        async with container.lock:
            record = container.record
            if record.state.status != "paused":
                raise Internal(f"Container {container.id} is not paused")
            await self._launcher.resume(record)
            record.state.status = "running"
            await self._store.save(record)
            self._lifecycle.changed(container)
        self._events.publish(record, "unpause")
