"""Running the command of a step in a container of the engine's own making: same launcher, limits and networks.

Such containers are in no list and no table. After a crash the sweep of the containers removes what they left,
since nobody knows their IDs.
"""

from __future__ import annotations

import asyncio
import codecs
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from msgspec import UNSET, structs

from engine.build.options import BuildOptions
from engine.build.state import State
from engine.containers.creator import Creator
from engine.containers.interfaces import Networks, ResolvedImage
from engine.containers.launcher import Launcher
from engine.errors import Internal, NotFound
from engine.images.layers import LayerStore
from engine.model.base import given
from engine.model.container import ContainerCreateRequest, HostConfig, LogConfig
from engine.model.record import ContainerRecord, MountRecord
from engine.runtime.conmon import STDERR, AttachSocket
from engine.runtime.inotify import Inotify

_EXIT_TIMEOUT_S = 30.0
_LATEST = (1, 51)

Say = Callable[[str], Awaitable[None]]


class BuildRoots:
    """The states of builds as images that containers are made from (see ImageSource), by an ID of their own."""

    def __init__(self, layers: LayerStore) -> None:
        """Look layers up in ``layers``."""
        self._layers = layers
        self._states: dict[str, State] = {}

    def add(self, state: State) -> str:
        """Know a state until ``remove``; return its ID."""
        identifier = f"sha256:{secrets.token_hex(32)}"
        self._states[identifier] = state
        return identifier

    def remove(self, identifier: str) -> None:
        """Forget a state."""
        self._states.pop(identifier, None)

    def _state(self, identifier: str) -> State:
        if identifier not in self._states:
            raise NotFound(f"No such image: {identifier}")
        return self._states[identifier]

    def resolve(self, image_ref: str, platform: str | None = None) -> ResolvedImage:
        """Return a state without what a step's container must not have: command, volumes, health check."""
        state = self._state(image_ref)
        config = structs.replace(
            state.config, cmd=UNSET, entrypoint=UNSET, volumes=UNSET, healthcheck=UNSET, exposed_ports=UNSET
        )
        return ResolvedImage(id=image_ref, config=config, os=state.os, architecture=state.architecture)

    def lower_dirs(self, image_id: str) -> list[Path]:
        """Return a state's layers, topmost first."""
        return [self._layers.path(layer) for layer in reversed(self._state(image_id).layers)]

    def size_bytes(self, image_id: str) -> int:
        """Return the bytes of a state's layers."""
        return sum(layer.size for layer in self._state(image_id).layers)

    def reference_name(self, image_id: str) -> str:
        """Return the ID: a state has no name."""
        return image_id


@dataclass(frozen=True)
class Command:
    """What a step runs."""

    argv: list[str]
    env: dict[str, str] = field(default_factory=dict)
    network: str = ""
    mounts: list[MountRecord] = field(default_factory=list)


@dataclass(frozen=True)
class Finished:
    """A command that has ended. ``upper`` is what it has written, ``container_id`` was its container's ID."""

    container_id: str
    exit_code: int
    upper: Path


class StepRunner:
    """Runs commands."""

    def __init__(
        self,
        creator: Creator,
        launcher: Launcher,
        networks: Networks,
        roots: BuildRoots,
        inotify: Inotify,
        records: dict[str, ContainerRecord],
    ) -> None:
        """``creator`` and ``launcher`` look images up in ``roots``.

        The records of the containers of steps that run are put into ``records``, where networks find them.
        """
        self._records = records
        self._creator = creator
        self._launcher = launcher
        self._networks = networks
        self._roots = roots
        self._inotify = inotify

    @asynccontextmanager
    async def run(
        self, state: State, command: Command, options: BuildOptions, started: Say, out: Say, err: Say
    ) -> AsyncIterator[Finished]:
        """Run a command on a state; yields when it has ended, and removes its container when the context ends.

        ``started`` is told the container's ID, ``out`` and ``err`` what it writes. Cancelling kills it.
        """
        root = self._roots.add(state)
        container_id = secrets.token_hex(32)
        try:
            record = await self._record(root, container_id, command, options)
            record.mounts += command.mounts
            self._records[container_id] = record
            try:
                await asyncio.to_thread(self._launcher.prepare, record)
                await started(container_id)
                code = await self._run(record, out, err)
                yield Finished(container_id, code, self._launcher.paths.upper(container_id))
            finally:
                await asyncio.shield(self._discard(record))
                self._records.pop(container_id, None)
        finally:
            self._roots.remove(root)

    async def _record(self, root: str, container_id: str, command: Command, options: BuildOptions) -> ContainerRecord:
        host = HostConfig(
            network_mode=command.network or options.network_mode or "default",
            extra_hosts=options.extra_hosts or None,
            shm_size=options.shm_size,
            memory=options.memory,
            memory_swap=options.memory_swap,
            cpu_shares=options.cpu_shares,
            cpu_period=options.cpu_period,
            cpu_quota=options.cpu_quota,
            cpuset_cpus=options.cpuset_cpus,
            cpuset_mems=options.cpuset_mems,
            cgroup_parent=options.cgroup_parent,
            ulimits=options.ulimits or None,
            log_config=LogConfig(type="none", config={}),
        )
        request = ContainerCreateRequest(
            image=root,
            cmd=command.argv,
            entrypoint=[""],
            env=[f"{name}={value}" for name, value in command.env.items()],
            attach_stdout=True,
            attach_stderr=True,
            host_config=host,
        )
        try:
            record, _ = await self._creator.create(request, f"build-{container_id[:12]}", container_id, None, _LATEST)
        finally:
            self._creator.settle(container_id)  # a build keeps its images itself
        return record

    async def _run(self, record: ContainerRecord, out: Say, err: Say) -> int:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        exit_file = self._launcher.paths.exits / record.id

        def seen() -> None:
            if not ended.done():
                ended.set_result(None)

        watch = self._inotify.watch_file(exit_file, seen)
        process: list[AttachSocket] = []
        try:
            sandbox = self._networks.reserve(record)
            record.networks = {**record.networks, **sandbox.endpoints}
            saved: asyncio.Future[None] = loop.create_future()
            saved.set_result(None)
            await self._launcher.bring_up(
                record, sandbox, saved, lambda bundle: process.append(AttachSocket.connect(bundle))
            )
            await self._launcher.let_go(record)
            await _pass_on(process[0], out, err)
            try:
                await asyncio.wait_for(ended, _EXIT_TIMEOUT_S)
            except TimeoutError:
                raise Internal("the exit of a step's container was not seen") from None
            return int(exit_file.read_text() or 255)
        finally:
            watch.close()
            for item in process:
                item.close()
            await asyncio.shield(self._take_down(record))

    async def _take_down(self, record: ContainerRecord) -> None:
        await self._launcher.tear_down(record)
        await self._networks.release(record.id)

    async def _discard(self, record: ContainerRecord) -> None:
        await self._launcher.discard(record)
        await self._creator.undo(record)


async def _pass_on(process: AttachSocket, out: Say, err: Say) -> None:
    """Hand a process's output on until it ends; characters that come in two pieces are put together."""
    decoders = {kind: codecs.getincrementaldecoder("utf-8")("replace") for kind in (2, 3)}
    while True:
        kind, data = await process.read()
        if not kind:
            return
        text = decoders[kind].decode(data)
        if text:
            await (err if kind == STDERR else out)(text)


def volumes_of(state: State) -> list[str]:
    """Return the places that an image declares as volumes."""
    return list(given(state.config.volumes, {}))
