"""Questions about one container: inspect, sizes, processes, figures. They change nothing."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from engine.containers.announce import ContainerEvents
from engine.containers.container import Container
from engine.containers.interfaces import ImageSource, Networks
from engine.containers.launcher import Launcher
from engine.containers.manager import ContainerManager
from engine.containers.statistics import Spawn, Statistics
from engine.containers.top import refuse_restarting, top
from engine.containers.views import inspect_view
from engine.errors import InvalidArgument, NotFound
from engine.model.container import TopResponse
from engine.model.inspect import ContainerInspect
from engine.model.record import ContainerRecord
from engine.runtime.cgrouptree import members


class ContainerQuestions:
    """Answers questions about containers."""

    def __init__(
        self,
        containers: ContainerManager,
        launcher: Launcher,
        images: ImageSource,
        networks: Networks,
        events: ContainerEvents,
        cgroup_version: int,
        spawn: Spawn,
    ) -> None:
        """Ask about those of ``containers``; ``spawn`` runs what goes on in the background."""
        self._containers = containers
        self._launcher = launcher
        self._images = images
        self._networks = networks
        self._events = events
        self.statistics = Statistics(lambda item: launcher.cgroup(item.record), cgroup_version, spawn)

    def image_id(self, image_ref: str) -> str | None:
        """Return the ID of the image that a reference means, None when there is none."""
        try:
            return self._images.resolve(image_ref).id
        except (NotFound, InvalidArgument):
            return None

    async def inspect(self, container: Container, *, size: bool = False) -> ContainerInspect:
        """Return what the API shows of a container; ``size`` walks its files."""
        record = container.record
        paths = self._launcher.paths
        try:
            lower = self._images.lower_dirs(record.image_id)
        except NotFound:  # removed by force while the container stayed
            lower = []
        view = inspect_view(
            record,
            paths,
            lower,
            self._networks.netns_path(record.id),
            container.exec_ids,
            await self.sizes(record) if size else None,
        )
        if record.host_config.links:
            view.host_config = replace(record.host_config, links=self._networks.shown_links(record))
        return view

    async def sizes(self, record: ContainerRecord) -> tuple[int, int]:
        """Return the bytes that a container has written, and those with its image's."""
        written = await self._launcher.writable_size(record)
        try:
            return written, written + self._images.size_bytes(record.image_id)
        except NotFound:
            return written, written

    async def top(self, container_ref: str, ps_arguments: str) -> TopResponse:
        """Return what ps says of a container's processes."""
        container = self._containers.get(container_ref)
        if container.is_restarting:
            raise refuse_restarting(container.id)
        container.require_running()
        pids = await asyncio.to_thread(members, self._launcher.cgroup(container.record))
        found = await top(pids or [container.record.state.pid], ps_arguments)
        self._events.publish(container.record, "top")
        return found
