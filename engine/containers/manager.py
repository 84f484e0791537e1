"""The containers of an engine, as the API speaks of them: create, start, stop, wait, remove and the rest.

Decides and checks; ``lifecycle`` knows the order of a start and an exit, ``launcher`` the kernel.
"""

from __future__ import annotations

import asyncio
import errno
import secrets
from collections.abc import Callable
from contextlib import suppress

from engine.containers.announce import ContainerEvents
from engine.containers.container import Container
from engine.containers.creator import Creator
from engine.containers.index import ContainerIndex
from engine.containers.interfaces import ImageSource, Networks, Volumes
from engine.containers.launcher import Launcher
from engine.containers.lifecycle import Lifecycle
from engine.containers.mounts import has_volume, uses_image
from engine.containers.reconcile import Verdict, empty_trash, judge_all, started_ns, sweep
from engine.containers.restarts import should_start_with_engine
from engine.containers.signals import parse_signal, stop_signal
from engine.containers.stopping import SIGKILL, Stopper
from engine.containers.store import ContainerStore
from engine.errors import Conflict, Internal, InvalidArgument, NotFound, NotModified, PortsideError, Unavailable
from engine.model.container import ContainerCreateRequest, ContainerUpdateRequest
from engine.model.record import ContainerRecord

REMOVE_STOP_TIMEOUT_S = 3


class ContainerManager:
    """All containers."""

    def __init__(
        self,
        lifecycle: Lifecycle,
        launcher: Launcher,
        images: ImageSource,
        networks: Networks,
        volumes: Volumes,
        store: ContainerStore,
        events: ContainerEvents,
        index: ContainerIndex,
        creator: Creator,
    ) -> None:
        """Wire the parts; ``lifecycle.remove`` becomes this manager's removal."""
        self._lifecycle = lifecycle
        self._launcher = launcher
        self._images = images
        self._networks = networks
        self._volumes = volumes
        self._store = store
        self._events = events
        self.index = index
        self._creator = creator
        self._stopper = Stopper(lifecycle, launcher, store, events)
        self._containers: dict[str, Container] = {}
        self._pruning = False
        lifecycle.remove = self._remove_by_itself

    # At start

    async def recover(self) -> None:
        """Take over what the store knows and find out what became of it; then exits and restarts follow.

        Called once, before anything is served.
        """
        records = self._store.load()
        verdicts = await asyncio.to_thread(judge_all, records, self._launcher)
        containers = [self.adopt(record) for record in records]
        alive = {key for key, verdict in verdicts.items() if verdict.outcome in ("running", "exited")}
        for container in containers:
            verdict = verdicts[container.id]
            if verdict.outcome == "running":
                self._lifecycle.take_over(container, verdict.pid, started_ns(verdict.pid))
        known = {record.id for record in records}
        await asyncio.to_thread(sweep, self._launcher.paths, known, alive, self._launcher.cgroup_parent)
        running = [item.record for item in containers if verdicts[item.id].outcome == "running"]
        await self._networks.restore(running)
        await asyncio.to_thread(self._mend_files, running)
        for container in containers:
            await self._settle(container, verdicts[container.id])
        self._lifecycle.spawn(empty_trash(self._launcher.paths), "emptying the trash")

    def _mend_files(self, records: list[ContainerRecord]) -> None:
        for record in records:
            self._networks.mend_files(record, self._launcher.paths.data(record.id))

    async def _settle(self, container: Container, verdict: Verdict) -> None:
        record = container.record
        if verdict.outcome == "removing":
            container.removing = True
            async with container.lock:
                await self._remove_locked(container, volumes=False)
        elif verdict.outcome == "unstarted":
            await self._launcher.tear_down(record)
            record.state.status = "exited" if record.state.finished_ns else "created"
            record.state.pid = 0
            await self._store.save(record)
        elif verdict.outcome in ("exited", "lost"):
            lost = verdict.outcome == "lost"
            if record.state.status == "starting":
                record.state.status = "running"
                record.state.started_ns = record.state.started_ns or verdict.time_ns
            await self._lifecycle.handle_exit(container, verdict.exit_code, verdict.time_ns, lost=lost)
        elif verdict.outcome == "still" and (container.is_restarting or should_start_with_engine(record)):
            self._lifecycle.spawn(self._start_again(container), f"start {record.name}")
        elif verdict.outcome == "still" and record.host_config.auto_remove and record.state.status == "exited":
            await self._remove(container, force=False, volumes=True)

    async def _start_again(self, container: Container) -> None:
        with suppress(NotModified):
            await self._lifecycle.start(container, by_policy=True)

    # Looking up

    def get(self, container_ref: str) -> Container:
        """Return a container by name, ID or unambiguous beginning of an ID.

        Raises NotFound (``No such container: x``) or InvalidArgument for an ambiguous one.
        """
        return self._containers[self.index.find(container_ref).id]

    def by_id(self, container_id: str) -> Container | None:
        """Return the container with this full ID."""
        return self._containers.get(container_id)

    def all(self) -> list[Container]:
        """Return every container."""
        return list(self._containers.values())

    def adopt(self, record: ContainerRecord) -> Container:
        """Take a record out of the store at start."""
        container = Container(record)
        self._containers[record.id] = container
        self.index.add(record)
        return container

    def health_changed(self, container: Container) -> None:
        """Store and show a new result of a container's health check."""
        self._store.save_soon(container.record)
        self._lifecycle.changed(container)

    def announce(self, container: Container, action: str) -> None:
        """Publish an event about a container."""
        self._events.publish(container.record, action)

    def containers_using(self, image_id: str) -> list[tuple[str, str, bool]]:
        """Return (ID, name, whether it runs) of each container made from an image, or being made, or that mounts it."""
        made = [(item.id, item.name, item.is_running) for item in self.all() if uses_image(item.record, image_id)]
        return made + self._creator.creating(image_id)

    def containers_using_volume(self, name: str) -> list[str]:
        """Return the IDs of containers that have a volume."""
        return [item.id for item in self.all() if has_volume(item.record, name)]

    def volumes_in_use(self) -> list[tuple[str, str]]:
        """Return (volume, container ID) of all running containers."""
        return [
            (mount.name, item.id)
            for item in self.all()
            if item.is_running
            for mount in item.record.mounts
            if mount.type == "volume"
        ]

    # Create and remove

    async def create(
        self,
        request: ContainerCreateRequest,
        name: str = "",
        platform: str | None = None,
        api_version: tuple[int, int] = (1, 51),
    ) -> tuple[str, list[str]]:
        """Create a container; return its ID and warnings.

        Raises NotFound for an unknown image or network, Conflict for a taken name, InvalidArgument and
        NotSupported for options. A failure leaves nothing.
        """
        container_id = secrets.token_hex(32)
        claimed = self.index.claim(name, container_id)
        try:
            record, warnings = await self._creator.create(request, claimed, container_id, platform, api_version)
            try:
                self._launcher.prepare(record)
                await self._launcher.populate(record)
                await self._store.insert(record)
            except BaseException:
                await self._launcher.discard(record)
                await self._creator.undo(record)
                raise
        except OSError as error:
            self.index.release(claimed)
            reason = error.strerror or str(error)
            raise Unavailable(f"container {claimed} cannot be created: {reason}", hint=_way_out(error)) from error
        except BaseException:
            self.index.release(claimed)
            raise
        else:
            self.adopt(record)
        finally:
            self._creator.settle(container_id)
        self._events.publish(record, "create")
        return container_id, warnings

    async def remove(self, container_ref: str, *, force: bool = False, volumes: bool = False) -> None:
        """Remove a container, with its anonymous volumes when ``volumes``.

        Raises Conflict when it runs and ``force`` is not given, or when it is being removed already.
        """
        container = self.get(container_ref)
        if container.removing:
            raise Conflict(f"removal of container {container_ref} is already in progress")
        await self._remove(container, force=force, volumes=volumes)

    async def _remove_by_itself(self, container: Container) -> None:
        if not container.removing and container.id in self._containers:
            await self._remove(container, force=False, volumes=True)

    async def _remove(self, container: Container, *, force: bool, volumes: bool) -> None:
        if not force and (container.is_running or container.is_restarting):
            raise self._still_alive(container)
        container.removing = True
        try:
            if container.is_running or container.is_restarting:
                await self._stopper.kill_and_wait(container)
            async with container.lock:
                await self._remove_locked(container, volumes=volumes)
        except BaseException as error:
            container.removing = False
            container.fail_removal(error)
            raise

    def _still_alive(self, container: Container) -> Conflict:
        status = container.record.state.status
        reason = f"container is {status}: stop the container before removing or force remove"
        if status == "paused":
            reason = "container is paused and must be unpaused first"
        return Conflict(
            f'cannot remove container "{container.name}": {reason}', hint=f"portside rm --force {container.name}"
        )

    async def _remove_locked(self, container: Container, *, volumes: bool) -> None:
        record = container.record
        if container.is_running:  # started between the check and the lock
            raise self._still_alive(container)
        record.state.status = "removing"
        self._lifecycle.changed(container)
        await self._launcher.tear_down(record)
        await self._networks.release(record.id)
        # The record goes first: a crash after it leaves files that the next start sweeps, never a half container.
        await self._store.delete(record.id)
        self.index.remove(record)
        del self._containers[record.id]
        self._lifecycle.changed(container)  # its row in the list goes too
        try:
            if volumes:  # before the announcement: who waits for the removal finds them gone
                await self._remove_volumes(record)
        finally:
            container.drop_attachments(f"No such container: {record.id}")
            container.exited.set()
            container.announce_exit(record.state.exit_code)
            self._events.publish(record, "destroy")  # before anyone goes on who waits for the removal
            container.announce_removal()
        await self._launcher.discard(record)

    async def _remove_volumes(self, record: ContainerRecord) -> None:
        for mount in record.mounts:
            if mount.anonymous:
                with suppress(NotFound, Conflict):
                    await self._volumes.remove_anonymous(mount.name)

    async def prune(self, accepts: Callable[[ContainerRecord], bool]) -> tuple[list[str], int]:
        """Remove stopped containers that ``accepts`` takes; return their IDs and the bytes that came free.

        Raises Conflict while another prune is at work.
        """
        if self._pruning:
            raise Conflict("a prune operation is already running")
        self._pruning = True
        try:
            removed, freed = await self._prune(accepts)
        finally:
            self._pruning = False
        self._events.publish_prune(freed)
        return removed, freed

    async def _prune(self, accepts: Callable[[ContainerRecord], bool]) -> tuple[list[str], int]:
        removed: list[str] = []
        freed = 0
        for container in self.all():
            if container.is_running or container.is_restarting or container.removing or not accepts(container.record):
                continue
            size = await self._launcher.writable_size(container.record)
            try:
                await self.remove(container.id)
            except (Conflict, NotFound):
                continue
            removed.append(container.id)
            freed += size
        return removed, freed

    # Start and stop

    async def start(self, container_ref: str) -> None:
        """Start a container; raises NotModified when it runs already."""
        await self._lifecycle.start(self.get(container_ref))

    async def stop(self, container_ref: str, *, timeout_s: int | None = None, signal: str = "") -> None:
        """Stop a container: its stop signal, then SIGKILL after ``timeout_s`` (negative: never).

        Raises NotModified when it does not run.
        """
        container = self.get(container_ref)
        number = stop_signal(signal, container_ref, "stop")
        if not container.is_running and not container.is_restarting:
            raise NotModified("container is already stopped")
        await self._stopper.stop(container, timeout_s, number)

    async def restart(self, container_ref: str, *, timeout_s: int | None = None, signal: str = "") -> None:
        """Stop a container if it runs, then start it; one that removes itself is kept."""
        container = self.get(container_ref)
        number = stop_signal(signal, container_ref, "restart")
        container.is_kept = True
        try:
            if container.is_running or container.is_restarting:
                await self._stopper.stop(container, timeout_s, number)
            with suppress(NotModified):
                await self._lifecycle.start(container)
        finally:
            container.is_kept = False
        self._events.publish(container.record, "restart")

    async def kill(self, container_ref: str, signal: str = "") -> None:
        """Send a signal (SIGKILL by default, then wait for the end).

        Raises Conflict when it does not run, InvalidArgument for an unknown signal.
        """
        try:
            container = self.get(container_ref)
            number = parse_signal(signal) if signal else SIGKILL
        except PortsideError as error:
            raise type(error)(f"cannot kill container: {container_ref}: {error.message}", hint=error.hint) from error
        if not container.is_running:
            if container.is_restarting:
                container.record.manually_stopped = True
                await self._stopper.stop_restarting(container)
                return
            raise Conflict(f"cannot kill container: {container_ref}: container {container.id} is not running")
        if number == SIGKILL:
            await self._stopper.kill_and_wait(container)
        else:
            await self._stopper.send(container, number)

    async def pause(self, container_ref: str) -> None:
        """Freeze a container's processes; raises Conflict unless it runs unpaused."""
        await self._stopper.pause(self.get(container_ref))

    async def unpause(self, container_ref: str) -> None:
        """Let a paused container go on; raises Internal, as moby, when it is not paused."""
        await self._stopper.unpause(self.get(container_ref))

    # The rest

    async def wait(self, container_ref: str, condition: str = "") -> asyncio.Future[int]:
        """Return a future of the exit code: ``not-running`` (the default), ``next-exit`` or ``removed``.

        It is resolved at once when a container does not run and ``not-running`` is waited for. Cancel it
        when it is no longer wanted. Raises InvalidArgument for another condition.
        """
        container = self.get(container_ref)
        if condition not in ("", "not-running", "next-exit", "removed"):
            raise InvalidArgument(f"invalid condition: {condition!r}".replace("'", '"'))
        if condition == "removed":
            return container.next_removal()
        if condition != "next-exit" and not container.is_running and not container.is_restarting:
            done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            done.set_result(container.record.state.exit_code)
            return done
        return container.next_exit()  # also of one that starts again: moby counts its exit as the end of this wait

    async def rename(self, container_ref: str, new_name: str) -> None:
        """Give a container another name; raises InvalidArgument or Conflict with moby's texts."""
        container = self.get(container_ref)
        new_name = new_name.removeprefix("/")
        if not new_name:
            raise InvalidArgument("Neither old nor new names may be empty")
        record = container.record
        old_name = record.name
        if new_name == old_name:
            raise InvalidArgument("Renaming a container with the same name as its current name")
        try:
            claimed = self.index.claim(f"/{new_name}", record.id)
        except PortsideError as error:
            raise type(error)(f"Error when allocating new name: {error.message}", hint=error.hint) from error
        record.name = claimed
        self._networks.renamed(record)
        try:
            await self._store.save(record)
        except BaseException:
            record.name = old_name
            self._networks.renamed(record)
            self.index.release(claimed)
            raise
        self.index.release(old_name)
        self._lifecycle.changed(container)
        self._events.publish(record, "rename", oldName=f"/{old_name}")

    async def update(self, container_ref: str, request: ContainerUpdateRequest) -> list[str]:
        """Change a container's restart policy and limits, at once where it runs; return warnings.

        Raises InvalidArgument for bad limits, Conflict for those that contradict what it has.
        """
        warnings = self._creator.check_update(request)
        container = self.get(container_ref)
        refused = f"Cannot update container {container.id}: "
        async with container.lock:
            record = container.record
            if container.removing or record.state.status in ("removing", "dead"):
                raise Conflict(f'{refused}container is marked for removal and cannot be "update"')
            try:
                changed, resources = self._creator.update(record, request)
            except PortsideError as error:
                raise type(error)(f"{refused}{error.message}", hint=error.hint) from error
            if resources and container.is_running:
                try:
                    await self._launcher.update(record, resources)
                except PortsideError as error:
                    raise Internal(f"{refused}{error.message}") from error
            record.host_config = changed
            await self._store.save(record)
            self._lifecycle.changed(container)
        self._events.publish(record, "update")
        return warnings

    def resize(self, container_ref: str, rows: int, columns: int) -> None:
        """Set the size of a running container's terminal."""
        container = self.get(container_ref)
        container.require_running()
        self._launcher.resize(container.record, rows, columns)
        self._events.publish(container.record, "resize", height=str(rows), width=str(columns))


def _way_out(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free some space: portside system prune"
    return ""
