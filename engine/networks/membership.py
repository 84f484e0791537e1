"""Connecting containers to networks and taking them off, while they run and while they do not.

What one change needs of the kernel is done before anything is shown; when it fails, all is as it was.
The texts and kinds are moby's (daemon/container_operations.go).
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from engine.errors import Forbidden, Internal, InvalidArgument, NotFound, PortsideError
from engine.model.container import PortMap
from engine.model.network import EndpointSettings
from engine.model.record import ContainerRecord
from engine.networks import containerfiles
from engine.networks.attachment import Attachment, Endpoint
from engine.networks.fabric import Fabric
from engine.networks.gateways import Way, choose_way
from engine.networks.links import Gathered
from engine.networks.live import AddressedNetwork, BridgeNetwork, ChildNetwork, LiveNetwork
from engine.networks.naming import Address, NameService
from engine.networks.publishing import Publisher
from engine.networks.record import HOST, NONE, NetworkRecord
from engine.networks.settings import NetworkSettings
from engine.networks.validation import CONTAINER, FROM_HOST, NOTHING_ELSE, SHARED, TO_HOST, check_endpoint
from engine.networks.world import World
from engine.runtime import netns

_log = logging.getLogger(__name__)


class Hub(Protocol):
    """What the network manager does for a change."""

    def lease(self, record: ContainerRecord, name: str, network: LiveNetwork) -> Endpoint:
        """Return a new endpoint with its addresses."""

    def ports_of(self, record: ContainerRecord, item: Attachment) -> PortMap:
        """Return a container's ports as inspect shows them."""

    def announce(self, item: Attachment, endpoint: Endpoint, action: str) -> None:
        """Publish that a container was connected or disconnected."""


class Membership:
    """Changes of containers' networks. The caller holds the container's lock and stores its record."""

    def __init__(
        self,
        world: World,
        fabric: Fabric,
        publisher: Publisher,
        names: NameService,
        settings: NetworkSettings,
        hub: Hub,
    ) -> None:
        """Share the parts of the manager, which is the ``hub``."""
        self._world = world
        self._fabric = fabric
        self._publisher = publisher
        self._names = names
        self._settings = settings
        self._hub = hub

    # Containers that do not run

    def enlist(self, record: ContainerRecord, network_ref: str, settings: EndpointSettings) -> None:
        """Note a further network for a container that does not run.

        As with Docker, one that does not exist is refused when the container starts.
        """
        network = self._world.catalog.find_or_none(network_ref)
        if network is None:
            record.networks = {**record.networks, network_ref: settings}
            return
        check_endpoint(network, network.name, settings)
        if self._is_listed(record, network):
            return
        self._check_combination(record, network)
        self._note(record, network, settings)

    def delist(self, record: ContainerRecord, network_ref: str) -> None:
        """Strike a network from a container that does not run; raises Internal when it is not connected."""
        network = self._world.catalog.find_or_none(network_ref)
        name = network.name if network is not None else network_ref
        if name not in record.networks:
            raise Internal(f"container {record.id} is not connected to the network {name}")
        self._strike(record, name)

    def _note(self, record: ContainerRecord, network: NetworkRecord, settings: EndpointSettings) -> None:
        if not network.is_predefined:
            settings.dns_names = containerfiles.dns_names(record, settings.aliases)
        if settings.mac_address:
            record.wanted_macs = {**record.wanted_macs, network.name: settings.mac_address}
        record.networks = {**record.networks, network.name: settings}

    def _strike(self, record: ContainerRecord, name: str) -> None:
        record.networks = {key: item for key, item in record.networks.items() if key != name}
        record.wanted_macs = {key: mac for key, mac in record.wanted_macs.items() if key != name}

    def _is_listed(self, record: ContainerRecord, network: NetworkRecord) -> bool:
        return network.name in record.networks or any(
            settings.network_id == network.id for settings in record.networks.values()
        )

    def _check_combination(self, record: ContainerRecord, network: NetworkRecord) -> None:
        if record.host_config.network_mode.startswith(CONTAINER):
            raise InvalidArgument(SHARED)
        if network.name == HOST and record.host_config.network_mode != HOST:
            raise InvalidArgument(TO_HOST)
        if HOST in (network.name, *record.networks):
            raise InvalidArgument(SHARED)
        if record.networks and NONE in (network.name, *record.networks):
            raise InvalidArgument(NOTHING_ELSE)

    # Containers that run

    async def join(
        self, record: ContainerRecord, network_ref: str, settings: EndpointSettings, directory: Path
    ) -> None:
        """Connect a running container to a further network; ``directory`` holds its files.

        Raises NotFound, InvalidArgument, Forbidden and Internal with moby's texts.
        """
        if record.host_config.network_mode.startswith(CONTAINER):
            raise InvalidArgument(SHARED)
        network = self._world.catalog.find(network_ref)
        check_endpoint(network, network.name, settings)
        name = record.name.removeprefix("/")
        if self._is_listed(record, network):
            raise Forbidden(f"endpoint with name {name} already exists in network {network.name}")
        self._check_combination(record, network)
        if network.config_only:
            raise Forbidden("cannot create endpoint on configuration-only network")
        item = self._world.attachments.get(record.id)
        if item is None:
            raise NotFound(f"sandbox for container {record.id} not found")
        before = record.networks, record.wanted_macs
        self._note(record, network, settings)
        try:
            live = self._world.live[network.id]
            endpoint = self._hub.lease(record, network.name, live)
            await self._plug(record, item, endpoint, live)
        except BaseException:
            record.networks, record.wanted_macs = before
            raise
        record.networks = {**before[0], network.name: endpoint.settings}
        await self._follow(record, item, directory, added=endpoint)
        self._hub.announce(item, endpoint, "connect")

    async def _plug(self, record: ContainerRecord, item: Attachment, endpoint: Endpoint, live: LiveNetwork) -> None:
        old = choose_way(item.endpoints, self._world.live)
        item.endpoints.append(endpoint)
        try:
            way = choose_way(item.endpoints, self._world.live)
            prefix = live.options.prefix if isinstance(live, BridgeNetwork) else "eth"
            live.wire(endpoint, endpoint.name or f"{prefix}%d", (), hairpin=_publishes(record))
            if endpoint.wiring is not None:
                await self._fabric.attach(self._namespace(record, item), endpoint.wiring, self._routes(item, way))
            try:
                await self._move_ports(record, item, old, way)
            except BaseException:
                await self._unplug(record, item, endpoint)
                raise
        except BaseException:
            if endpoint in item.endpoints:
                item.endpoints.remove(endpoint)
            live.give_back(endpoint.addresses)
            raise

    async def leave(self, record: ContainerRecord, network_ref: str, directory: Path) -> None:
        """Take a running container off a network; raises NotFound, InvalidArgument and Internal with moby's texts."""
        network = self._world.catalog.find(network_ref)
        if network.name == HOST and record.host_config.network_mode == HOST:
            raise InvalidArgument(FROM_HOST)
        item = self._world.attachments.get(record.id)
        endpoint = item.endpoint_on(network.id) if item is not None else None
        if item is None or endpoint is None:
            raise Internal(f"container {record.id} is not connected to network {network.name}")
        old = choose_way(item.endpoints, self._world.live)
        await self._unplug(record, item, endpoint)
        live = self._world.live[network.id]
        try:
            await self._move_ports(record, item, old, choose_way(item.endpoints, self._world.live))
        except PortsideError as error:
            _log.warning("ports of container %s do not follow its networks: %s", item.container_name, error.message)
            record.ports = self._hub.ports_of(record, item)
        live.give_back(endpoint.addresses)
        self._strike(record, network.name)
        await self._follow(record, item, directory, removed=endpoint)
        self._hub.announce(item, endpoint, "disconnect")

    async def _unplug(self, record: ContainerRecord, item: Attachment, endpoint: Endpoint) -> None:
        item.endpoints.remove(endpoint)
        live = self._world.live[endpoint.network_id]
        if endpoint.wiring is None:  # it runs since before this engine
            live.wire(endpoint, "", (), hairpin=False)
        if endpoint.wiring is not None:
            routes = self._routes(item, choose_way(item.endpoints, self._world.live))
            await self._fabric.detach(self._namespace(record, item), endpoint.wiring, routes)

    def _namespace(self, record: ContainerRecord, item: Attachment) -> Path:
        if item.netns_fd >= 0:
            return Path(f"/proc/self/fd/{item.netns_fd}")
        return netns.path_of_process(record.state.pid)

    def _routes(self, item: Attachment, way: Way) -> list[tuple[Address, Address]]:
        found: list[tuple[Address, Address]] = []
        for endpoint in item.endpoints:
            live = self._world.live[endpoint.network_id]
            if isinstance(live, AddressedNetwork):
                found += live.routes_of(endpoint, way.versions(endpoint))
        return found

    async def _move_ports(self, record: ContainerRecord, item: Attachment, old: Way, new: Way) -> None:
        """Publish a container's ports on the networks that lead out now."""
        if _publishes(record) and (old.ipv4 is not new.ipv4 or old.ipv6 is not new.ipv6):
            self._fabric.unpublish(self._world.ruled_ports(item))
            ports, item.ports = item.ports, []
            await self._publisher.release(item, ports, handed_over=any(port.host_port for port in ports))
            try:
                self._publisher.publish(item, record, new, self._world.live)
                await self._fabric.publish(self._world.ruled_ports(item))
            except BaseException:
                # What was bound goes; the old ones come back by the way that is left.
                self._publisher.give_back(item.ports)
                item.ports = []
                for held in item.sockets:
                    held.close()
                item.sockets = []
                raise
            self._publisher.hand_over(item)
        record.ports = self._hub.ports_of(record, item)

    async def mend(self, records: Iterable[ContainerRecord], found: Gathered) -> None:
        """At start: complete what an engine that was killed had begun with running containers' interfaces.

        A connection that nobody was told of is gone with its link; one that was not taken off yet is made again.
        """
        for record in records:
            item = self._world.attachments.get(record.id)
            if item is None or item.is_host or not item.endpoints:
                continue
            children = any(isinstance(self._world.live[one.network_id], ChildNetwork) for one in item.endpoints)
            if not found.strangers and not children and not found.missing.intersection(item.veths()):
                continue
            for endpoint in item.endpoints:
                live = self._world.live[endpoint.network_id]
                prefix = live.options.prefix if isinstance(live, BridgeNetwork) else "eth"
                live.wire(endpoint, endpoint.name or f"{prefix}%d", (), hairpin=_publishes(record))
            wirings = [endpoint.wiring for endpoint in item.endpoints if endpoint.wiring is not None]
            routes = self._routes(item, choose_way(item.endpoints, self._world.live))
            try:
                await self._fabric.mend(netns.path_of_process(record.state.pid), wirings, routes)
            except PortsideError as error:
                _log.warning("the network of container %s is not whole: %s", item.container_name, error.message)

    # What follows a change

    async def _follow(
        self,
        record: ContainerRecord,
        item: Attachment,
        directory: Path,
        *,
        added: Endpoint | None = None,
        removed: Endpoint | None = None,
    ) -> None:
        names = containerfiles.build_names(record, item, self._world, self._settings)
        if item.named:
            if names.endpoints:
                self._names.update(record.id, names)
            else:
                self._names.leave(record.id)
                item.named = False
        elif names.endpoints:
            fd = os.open(self._namespace(record, item), os.O_RDONLY | os.O_CLOEXEC)
            try:
                await self._names.join(record.id, fd, names)
                item.named = True
            except PortsideError as error:
                _log.warning("container %s has no name server: %s", item.container_name, error.message)
            finally:
                os.close(fd)
        try:
            await asyncio.to_thread(
                containerfiles.follow_change, record, item, self._settings, directory, added=added, removed=removed
            )
        except PortsideError as error:
            _log.warning("files of container %s do not follow its networks: %s", item.container_name, error.message)

    def renamed(self, record: ContainerRecord) -> None:
        """Let a container be found by its new name."""
        item = self._world.attachments.get(record.id)
        for name, settings in record.networks.items():
            network = self._world.catalog.by_name(name)
            if network is not None and not network.is_predefined and settings.dns_names:
                settings.dns_names = containerfiles.dns_names(record, settings.aliases)
        if item is not None:
            item.container_name = record.name
            if item.named:
                self._names.update(record.id, containerfiles.build_names(record, item, self._world, self._settings))


def _publishes(record: ContainerRecord) -> bool:
    return bool(record.host_config.port_bindings) or record.host_config.publish_all_ports
