"""What an engine does about networks when it starts: takes over what runs, removes what belongs to nothing.

Networks come from the store, addresses, ports and names from the records of running containers; bridges,
rules, holders and servers are compared with both.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Interface

from engine.errors import PortsideError
from engine.model.record import ContainerRecord
from engine.networks import containerfiles
from engine.networks.administration import Administration
from engine.networks.attachment import Attachment, Endpoint
from engine.networks.defaultbridge import default_bridge
from engine.networks.drivers import make_live
from engine.networks.fabric import Fabric
from engine.networks.gateways import choose_way
from engine.networks.live import LiveNetwork
from engine.networks.membership import Membership
from engine.networks.nameservers import nameserver_networks
from engine.networks.naming import NameService, RunningNames
from engine.networks.ports import PublishedPort
from engine.networks.publishing import Publisher
from engine.networks.record import BRIDGE, HOST, NetworkRecord
from engine.networks.settings import NetworkSettings
from engine.networks.validation import CONTAINER, IFNAME, parse_link_local, parse_sysctls
from engine.networks.world import World
from engine.runtime import netns

_log = logging.getLogger(__name__)


class Restoration:
    """The start of an engine's networks; used once."""

    def __init__(
        self,
        world: World,
        fabric: Fabric,
        publisher: Publisher,
        names: NameService,
        settings: NetworkSettings,
        instance: str,
        bridge: str,
    ) -> None:
        """Share the parts of the manager; ``bridge`` is the default bridge's link."""
        self._world = world
        self._fabric = fabric
        self._publisher = publisher
        self._names = names
        self._settings = settings
        self._instance = instance
        self._bridge = bridge

    async def restore(
        self, records: Sequence[ContainerRecord], administration: Administration, membership: Membership
    ) -> list[PublishedPort]:
        """Put everything in place; return the ports that somebody else has taken meanwhile.

        Raises NotSupported or Unavailable when this host cannot.
        """
        await self._world.catalog.load()
        for network in self._world.catalog:
            self._world.live[network.id] = self._revive(network)
        await self._prepare_default(records)
        for record in records:
            self._adopt(record)
        items = list(self._world.attachments.values())
        found, lost, _ = await asyncio.gather(
            self._fabric.put_in_place(), self._publisher.restore(items), self._restore_names(records)
        )
        await administration.restore_parents()
        await membership.mend(records, found)
        return lost

    def _revive(self, record: NetworkRecord) -> LiveNetwork:
        try:
            return make_live(record) if record.name != BRIDGE else LiveNetwork(record)
        except PortsideError as error:
            _log.warning("network %s cannot be used: %s", record.name, error.message)
            return LiveNetwork(record)

    async def _prepare_default(self, records: Iterable[ContainerRecord]) -> None:
        wanted = [
            IPv4Interface(f"{endpoint.ip_address}/{endpoint.ip_prefix_len}")
            for record in records
            if (endpoint := record.networks.get(BRIDGE)) is not None and endpoint.ip_address
        ]
        bridge = self._bridge
        own = {bridge, *(network.bridge for network in self._world.live.values() if network.bridge)}
        present, foreign = await self._fabric.survey(bridge, own)
        foreign += [*nameserver_networks(), *self._world.subnets()]
        record = self._world.catalog.by_name(BRIDGE)
        assert record is not None, "the catalog has the predefined networks"
        default = default_bridge(record, bridge, self._settings, self._instance, wanted, present, foreign)
        self._world.live[record.id] = self._world.default = default

    def _adopt(self, record: ContainerRecord) -> None:
        mode = record.host_config.network_mode
        if mode.startswith(CONTAINER):
            self._world.guests[record.id] = mode.removeprefix(CONTAINER)
            return
        item = Attachment(record.id, record.name, ruled=True, is_host=mode == HOST)
        for name, settings in record.networks.items():
            network = self._world.live.get(settings.network_id)
            if network is None:
                found = self._world.catalog.by_name(name)
                network = self._world.live.get(found.id) if found is not None else None
            if network is None or not settings.endpoint_id:
                continue
            endpoint = Endpoint(
                network.record.id,
                name,
                settings,
                name=(settings.driver_opts or {}).get(IFNAME, ""),
                sysctls=parse_sysctls(settings),
                link_local=parse_link_local(settings),
                announced=True,
            )
            network.adopt(endpoint)
            item.endpoints.append(endpoint)
        self._world.attachments[record.id] = item
        if record.links:
            self._world.linking.add(record.id)
        self._publisher.adopt(item, record, choose_way(item.endpoints, self._world.live))

    async def _restore_names(self, records: Iterable[ContainerRecord]) -> None:
        wanted: dict[str, RunningNames] = {}
        for record in records:
            item = self._world.attachments.get(record.id)
            if item is None:
                continue
            names = containerfiles.build_names(record, item, self._world, self._settings)
            if names.endpoints:
                item.named = True
                wanted[item.container_id] = RunningNames(netns.path_of_process(record.state.pid), names)
        await self._names.restore(wanted)
