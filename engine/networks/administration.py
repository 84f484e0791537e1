"""Making, removing, pruning and showing networks, as the API speaks of them.

A network is made in the kernel first and stored then, and removed the other way round: what a crash leaves
in between is a bridge that belongs to no network, which the next start removes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from engine.errors import Conflict, Forbidden, PortsideError
from engine.events import EventSink
from engine.model.network import NetworkContainer, NetworkCreateRequest, NetworkInspect
from engine.networks.attachment import Attachment
from engine.networks.creation import plan_record
from engine.networks.defaultbridge import own_prefix
from engine.networks.drivers import check_conflicts, check_options, make_live
from engine.networks.fabric import Fabric
from engine.networks.ipam import Pools, Surroundings, check_bridge_pools, settle_pools
from engine.networks.live import BridgeNetwork, ChildNetwork, LiveNetwork
from engine.networks.nameservers import nameserver_networks
from engine.networks.parents import ParentLinks
from engine.networks.record import NetworkRecord
from engine.networks.settings import NetworkSettings
from engine.networks.views import describe, describe_default
from engine.networks.world import World


class Administration:
    """The networks of one engine, without their containers' side."""

    def __init__(
        self,
        world: World,
        fabric: Fabric,
        settings: NetworkSettings,
        events: EventSink,
        instance: str,
        name_of: Callable[[Attachment], str],
    ) -> None:
        """``name_of`` returns the present name of an attached container."""
        self._world = world
        self._fabric = fabric
        self._settings = settings
        self._events = events
        self._pools = Pools(settings.pools, settings.pools6 or ((own_prefix(instance), 64),))
        self._parents = ParentLinks(instance)
        self._name_of = name_of
        self._is_pruning = False

    # Make

    async def create(self, request: NetworkCreateRequest) -> str:
        """Make a network; return its ID. Nothing of it is left when that fails.

        Raises InvalidArgument, Forbidden, NotFound, Conflict and Internal with moby's texts.
        """
        catalog = self._world.catalog
        record = plan_record(request, catalog)
        try:
            live = LiveNetwork(record) if record.config_only else await self._settle(record)
            try:
                await self._make(live)
                try:
                    await catalog.insert(record)
                except BaseException:
                    await self._unmake(live)
                    raise
                self._world.live[record.id] = live
            finally:
                self._world.arriving.pop(record.id, None)
        finally:
            catalog.unclaim(record.name)
        self._announce(record, "create")
        return record.id

    async def _settle(self, record: NetworkRecord) -> LiveNetwork:
        needs_gateway = check_options(record)
        own = {network.bridge for network in self._world.all_networks() if network.bridge}
        host = (await self._fabric.survey("", own))[1] if _chooses_subnets(record) else []
        # From here to the entry in ``arriving`` nothing waits, so that two networks never choose one subnet.
        around = Surroundings(self._world.subnets(), [*host, *nameserver_networks()] if host else host)
        is_bridge = record.driver == "bridge"
        record.pools = settle_pools(
            record, self._pools, around, shares_subnets=not is_bridge, needs_gateway=needs_gateway
        )
        if is_bridge:
            check_bridge_pools(record)
        live = make_live(record)
        check_conflicts(live, self._world.all_networks())
        self._world.arriving[record.id] = live
        return live

    async def _make(self, live: LiveNetwork) -> None:
        if isinstance(live, BridgeNetwork):
            try:
                await self._fabric.add(live.spec())
            except BaseException:
                await self._unmake(live)
                raise
        elif isinstance(live, ChildNetwork):
            parents, record = self._parents, live.record
            await self._fabric.work(lambda tools: parents.ensure(tools.links, record))

    async def _unmake(self, live: LiveNetwork) -> None:
        self._world.arriving.pop(live.record.id, None)
        self._world.leaving[live.record.id] = live
        try:
            if isinstance(live, BridgeNetwork):
                await self._fabric.remove(live.spec())
            elif isinstance(live, ChildNetwork):
                used = {other.parent for other in self._world.live.values() if isinstance(other, ChildNetwork)}
                parents, record = self._parents, live.record
                await self._fabric.work(lambda tools: parents.remove(tools.links, record, used))
        finally:
            self._world.leaving.pop(live.record.id, None)

    # Remove

    async def remove(self, network_ref: str) -> None:
        """Remove a network; raises NotFound, and Forbidden for predefined ones and those in use."""
        record = self._world.catalog.find(network_ref)
        if record.is_predefined:
            raise Forbidden(f"{record.name} is a pre-defined network and cannot be removed")
        await self._remove(record)

    async def _remove(self, record: NetworkRecord) -> None:
        self._check_unused(record)
        live = self._world.live.pop(record.id)
        self._world.leaving[record.id] = live
        try:
            await self._world.catalog.delete(record)
        except BaseException:
            self._world.live[record.id] = live
            self._world.leaving.pop(record.id, None)
            raise
        await self._unmake(live)
        if not record.config_only:
            self._announce(record, "destroy")

    def _check_unused(self, record: NetworkRecord) -> None:
        if record.config_only and any(other.config_from == record.name for other in self._world.catalog):
            raise Forbidden(f'error while removing network: configuration network "{record.name}" is in use')
        users = [
            f'name:"{self._name_of(item)}" id:"{endpoint.settings.endpoint_id[:12]}"'
            for item, endpoint in self._world.endpoints_on(record.id)
        ]
        if users:
            raise Forbidden(
                f"error while removing network: network {record.name} has active endpoints ({', '.join(users)})",
                hint=f"disconnect them first: portside network disconnect {record.name} CONTAINER",
            )

    async def prune(self, accepts: Callable[[NetworkRecord], bool]) -> list[str]:
        """Remove the networks that no running container uses and that ``accepts`` takes; return their names."""
        if self._is_pruning:
            raise Conflict("a prune operation is already running")
        self._is_pruning = True
        removed: list[str] = []
        try:
            for record in self._world.catalog:
                unused = not any(True for _ in self._world.endpoints_on(record.id))
                if record.is_predefined or record.config_only or not unused or not accepts(record):
                    continue
                with suppress(PortsideError):
                    await self._remove(record)
                    removed.append(record.name)
        finally:
            self._is_pruning = False
        self._events.publish("network", "prune", "", {"reclaimed": "0"})
        return removed

    async def restore_parents(self) -> None:
        """At start: put the parents of networks in place, remove those that belong to none."""
        children = [live for live in self._world.live.values() if isinstance(live, ChildNetwork)]
        await self._fabric.work(lambda tools: self._parents.restore(tools.links, [live.record for live in children]))

    # Show

    def describe_all(self) -> list[NetworkInspect]:
        """Return all networks with their containers, as inspect shows them."""
        members: dict[str, dict[str, NetworkContainer]] = {}
        for item in self._world.attachments.values():
            name = self._name_of(item)
            for endpoint in item.endpoints:
                members.setdefault(endpoint.network_id, {})[item.container_id] = endpoint.describe(name)
        return [self._describe(record, members.get(record.id, {})) for record in self._world.catalog]

    def _describe(self, record: NetworkRecord, containers: dict[str, NetworkContainer]) -> NetworkInspect:
        default = self._world.default
        if default is not None and record is default.record:
            return describe_default(default, self._settings, containers)
        return describe(record, containers)

    def _announce(self, record: NetworkRecord, action: str) -> None:
        self._events.publish("network", action, record.id, {"name": record.name, "type": record.driver})


def _chooses_subnets(record: NetworkRecord) -> bool:
    asked = {pool.network.version for pool in record.pools}
    return (record.enable_ipv4 and 4 not in asked) or (record.enable_ipv6 and 6 not in asked)
