"""One thread that does all blocking work on links and rules, in order, with what waits taken together.

Containers that start at the same time share one nftables transaction, as writers share a commit.
Knows nothing of containers but the wiring and the ports that each wants.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar, cast

from engine.errors import Internal, PortsideError
from engine.networks.links import Links
from engine.networks.ports import PublishedPort
from engine.networks.ruleset import build_changes, is_ruled
from engine.networks.wiring import Wirer, Wiring
from engine.runtime.conntrack import forget_udp
from engine.runtime.netns import NamespaceStuckError
from engine.runtime.nftables import Nftables, NftablesError

T = TypeVar("T")
_log = logging.getLogger(__name__)
_BATCH = 8


@dataclass(frozen=True)
class Tools:
    """What the thread works with; only it may use them."""

    links: Links
    wirer: Wirer
    nftables: Nftables


@dataclass
class _Job:
    wirings: Sequence[Wiring] | None = None
    given: int = -1
    work: Callable[[Tools], Any] | None = None
    add: Sequence[PublishedPort] = ()
    remove: Sequence[PublishedPort] = ()
    done: asyncio.Future[Any] | None = None
    fd: int = -1
    result: Any = None
    failure: PortsideError | None = field(default=None)


class Plumbing:
    """The thread and its queue."""

    def __init__(self, table: str) -> None:
        """Nothing is opened before the first call; ``table`` names the instance too."""
        self._table = table
        self._tools: Tools | None = None
        self._thread = ThreadPoolExecutor(1, "networks")
        self._jobs: deque[_Job] = deque()
        self._strays: set[PublishedPort] = set()
        self._forgetting: asyncio.Future[int] | None = None
        self._flows_are_stuck = False
        self._working: asyncio.Future[list[_Job]] | None = None

    async def call(self, work: Callable[[Tools], T]) -> T:
        """Run ``work`` in the thread, after all that was asked for before and before all that comes later."""
        return cast("T", await self._submit(_Job(work=work)))

    async def connect(self, wirings: Sequence[Wiring], ports: Sequence[PublishedPort], given: int = -1) -> int:
        """Make a wired namespace and publish its ports; returns a descriptor of it that the caller closes.

        ``given`` is a descriptor of an empty namespace that is to be used.

        When the caller is cancelled the namespace goes away again; its ports have to be unpublished.
        """
        return cast("int", await self._submit(_Job(wirings=wirings, given=given, add=ports)))

    async def publish(self, ports: Sequence[PublishedPort]) -> None:
        """Put ports into the rules."""
        await self._submit(_Job(add=ports))

    def unpublish(self, ports: Sequence[PublishedPort]) -> None:
        """Take ports out of the rules with the next transaction, after all that was asked for before."""
        if ports:
            self._jobs.append(_Job(remove=ports))
            self._work_on()

    async def drain(self) -> None:
        """Wait until all that was asked for is done."""
        while self._working is not None or self._forgetting is not None:
            await asyncio.wait([task for task in (self._working, self._forgetting) if task is not None])
            await asyncio.sleep(0)

    async def aclose(self) -> None:
        """Finish what is asked for and end the thread."""
        await self.drain()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close_tools)
        self._thread.shutdown(wait=True)

    def _submit(self, job: _Job) -> asyncio.Future[Any]:
        job.done = asyncio.get_running_loop().create_future()
        self._jobs.append(job)
        self._work_on()
        return job.done

    def _work_on(self) -> None:
        if self._working is not None or not self._jobs:
            return
        batch = [self._jobs.popleft()]
        while batch[0].work is None and self._jobs and self._jobs[0].work is None and len(batch) < _BATCH:
            batch.append(self._jobs.popleft())
        self._working = asyncio.get_running_loop().run_in_executor(self._thread, self._run, batch)
        self._working.add_done_callback(lambda finished: self._settle(batch, finished))

    def _settle(self, batch: list[_Job], finished: asyncio.Future[list[_Job]]) -> None:
        self._working = None
        problem = None if finished.cancelled() else finished.exception()
        if isinstance(problem, NamespaceStuckError):
            _log.error("%s: its thread is given up", problem)
            self._thread.shutdown(wait=False)
            self._thread = ThreadPoolExecutor(1, "networks")
            self._tools = None
        self._work_on()
        self._forget_flows(batch)
        for job in batch:
            if problem is not None:
                job.failure = job.failure or Internal(f"cannot set up the container's network: {problem}")
            if job.done is None:
                if job.failure is not None:
                    _log.warning("%s", job.failure.message)
            elif job.done.done():  # whoever asked has gone
                _close(job)
            elif job.failure is not None:
                _close(job)
                job.done.set_exception(job.failure)
            else:
                job.done.set_result(job.result if job.work is not None else job.fd)

    # UDP flows to ports that change hands: nobody waits for that, and it does not hold up the thread

    def _forget_flows(self, batch: list[_Job]) -> None:
        changed = [port for job in batch for port in (*job.add, *job.remove)]
        self._strays |= {port for port in changed if port.protocol == "udp" and port.host_port and is_ruled(port)}
        if not self._strays or self._forgetting is not None:
            return
        strays, self._strays = self._strays, set()
        ipv6 = any(port.host_address.version == 6 for port in strays)
        work = partial(forget_udp, {port.host_port for port in strays}, ipv6=ipv6)
        self._forgetting = asyncio.get_running_loop().run_in_executor(None, work)
        self._forgetting.add_done_callback(self._forgot)

    def _forgot(self, finished: asyncio.Future[int]) -> None:
        self._forgetting = None
        problem = None if finished.cancelled() else finished.exception()
        if problem is not None and not self._flows_are_stuck:
            self._flows_are_stuck = True
            _log.warning("UDP flows to ports that change hands cannot be redirected: %s", problem)
        self._forget_flows([])

    # In the thread

    def _ready(self) -> Tools:
        if self._tools is None:
            links = Links(self._table)
            self._tools = Tools(links, Wirer(links), Nftables())
        return self._tools

    def _close_tools(self) -> None:
        if self._tools is not None:
            self._tools.links.close()
            self._tools.nftables.close()
            self._tools = None

    def _run(self, batch: list[_Job]) -> list[_Job]:
        tools = self._ready()
        for job in batch:
            try:
                if job.work is not None:
                    job.result = job.work(tools)
                elif job.wirings is not None:
                    job.fd = tools.wirer.new_namespace(job.wirings, job.given)
            except PortsideError as error:
                job.failure = error
        done = [job for job in batch if job.failure is None]
        self._change_rules(tools, done)
        return batch

    def _change_rules(self, tools: Tools, batch: list[_Job]) -> None:
        scripts = [build_changes(self._table, add=job.add, remove=job.remove) for job in batch]
        script = "".join(scripts)
        if not script:
            return
        with suppress(NftablesError):
            tools.nftables.run(script)
            return
        for job, alone in zip(batch, scripts, strict=True):  # one of them spoilt it for all
            try:
                if alone:
                    tools.nftables.run(alone)
            except NftablesError as error:
                job.failure = error


def _close(job: _Job) -> None:
    if job.fd >= 0:
        os.close(job.fd)
        job.fd = -1
