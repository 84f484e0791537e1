"""Connecting containers to networks and taking them off, whether they run or not.

Holds the container's lock while that is done and stores what became of it; ``Networks`` knows how.
"""

from __future__ import annotations

from engine.containers.container import Container
from engine.containers.interfaces import Networks
from engine.containers.lifecycle import Lifecycle
from engine.containers.manager import ContainerManager
from engine.containers.paths import ContainerPaths
from engine.containers.store import ContainerStore
from engine.errors import Internal, InvalidArgument, NotFound
from engine.model.network import EndpointSettings


class ContainerNetworking:
    """Changes of containers' networks, as the API speaks of them."""

    def __init__(
        self,
        manager: ContainerManager,
        networks: Networks,
        lifecycle: Lifecycle,
        store: ContainerStore,
        paths: ContainerPaths,
    ) -> None:
        """Wire the parts."""
        self._manager = manager
        self._networks = networks
        self._lifecycle = lifecycle
        self._store = store
        self._paths = paths

    async def connect(self, container_ref: str, network_ref: str, settings: EndpointSettings) -> None:
        """Connect a container to a network; raises NotFound, InvalidArgument, Forbidden and Internal."""
        container = self._get(container_ref)
        async with container.lock:
            record = container.record
            if container.is_running:
                await self._networks.join(record, network_ref, settings, self._paths.data(record.id))
            else:
                self._check_stays(container)
                self._networks.enlist(record, network_ref, settings)
            await self._keep(container)

    async def disconnect(self, container_ref: str, network_ref: str, *, force: bool = False) -> None:
        """Take a container off a network; with ``force`` also off one that is no more."""
        try:
            container = self._get(container_ref)
        except NotFound as error:
            if not force:
                raise
            # Docker looks for what an unknown container has left on the network; here nothing is ever left.
            self._networks.check_exists(network_ref)
            raise NotFound(f"endpoint {container_ref} not found") from error
        async with container.lock:
            record = container.record
            if not container.is_running:
                self._check_stays(container)
                self._networks.delist(record, network_ref)
            else:
                try:
                    await self._networks.leave(record, network_ref, self._paths.data(record.id))
                except NotFound:
                    if not force:
                        raise
                    self._networks.delist(record, network_ref)
            await self._keep(container)

    async def unlink(self, path: str) -> None:
        """Take back a link, named ``/container/alias``; raises Internal with moby's texts."""
        parent_name, _, alias = path.removeprefix("/").rpartition("/")
        if not parent_name:
            self._manager.get(alias)
            raise Internal("Conflict, cannot remove the default link name of the container")
        try:
            parent = self._manager.get(parent_name)
        except NotFound as error:
            raise Internal(f"Cannot get parent /{parent_name} for link name /{parent_name}/{alias}") from error
        async with parent.lock:
            if alias not in parent.record.links:
                raise NotFound(f"No such container: {path}")
            parent.record.links = {name: child for name, child in parent.record.links.items() if name != alias}
            await self._keep(parent)

    def _get(self, container_ref: str) -> Container:
        if not container_ref:
            raise InvalidArgument('invalid name or ID supplied: ""')
        return self._manager.get(container_ref)

    def _check_stays(self, container: Container) -> None:
        if container.removing or container.record.state.status in ("removing", "dead"):
            raise Internal(
                f"Container {container.id} is marked for removal and cannot be connected or disconnected to the network"
            )

    async def _keep(self, container: Container) -> None:
        await self._store.save(container.record)
        self._lifecycle.changed(container)
