"""The networks of an engine and the containers on them: addresses, interfaces, ports, names, files.

Implements what containers ask for; ``administration.py`` makes and removes networks, ``membership.py``
changes a running container's. Knows of containers only what their records say.

A container's namespace is made when it starts and held by a descriptor of the engine until its process is
in it; the kernel removes it, and the links with it, when both are gone. So nothing has to be cleaned
up after a crash but leases, ports and rules, and those are worked out anew from what runs.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from engine.containers.interfaces import Sandbox
from engine.errors import Conflict, Internal, NotFound, PortsideError, Unavailable
from engine.events import EventSink
from engine.model.base import given
from engine.model.container import PortMap
from engine.model.network import EndpointSettings
from engine.model.record import ContainerRecord
from engine.networks import containerfiles, files, legacylinks
from engine.networks.administration import Administration
from engine.networks.attachment import Attachment, Endpoint, port_map
from engine.networks.catalog import Catalog
from engine.networks.defaultbridge import host_gateways
from engine.networks.fabric import Fabric
from engine.networks.gateways import choose_way
from engine.networks.holding import PortHolder
from engine.networks.live import BridgeNetwork, LiveNetwork
from engine.networks.membership import Membership
from engine.networks.naming import NameService
from engine.networks.ports import DEFAULT_RANGE, PublishedPort
from engine.networks.publishing import Publisher
from engine.networks.record import BRIDGE, HOST
from engine.networks.restoration import Restoration
from engine.networks.settings import NetworkSettings
from engine.networks.validation import (
    CONTAINER,
    IFNAME,
    SETUP_FAILED,
    check_endpoint,
    check_record,
    check_start,
    parse_link_local,
    parse_sysctls,
)
from engine.networks.world import World
from engine.runtime import netns
from engine.store.database import Database

_log = logging.getLogger(__name__)
FindContainer = Callable[[str], ContainerRecord]


@dataclass(frozen=True)
class Host:
    """What of the host this engine's networks go by; ``instance`` names the table, ``bridge`` the link."""

    instance: str
    bridge: str
    exec_root: Path
    ephemeral_ports: tuple[int, int]
    listens_on_ipv6: bool
    has_ipv6: bool


class NetworkManager:
    """Implements ``Networks`` of ``engine/containers/interfaces.py``."""

    def __init__(
        self,
        database: Database,
        host: Host,
        settings: NetworkSettings,
        events: EventSink,
        find_container: FindContainer,
    ) -> None:
        """Touch nothing; ``find_container`` returns a record by ID or name and raises NotFound."""
        self._host = host
        self._settings = settings
        self._events = events
        self._find = find_container
        self._restored = False
        self._world = World(Catalog(database))
        self._fabric = Fabric(host.instance, self._world.wanted, forwards=settings.ip_forward)
        self._publisher = Publisher(
            settings, PortHolder(host.exec_root), host.ephemeral_ports, host_has_ipv6=host.listens_on_ipv6
        )
        self._names = NameService(host.exec_root)
        self.administration = Administration(self._world, self._fabric, settings, events, host.instance, self._name_of)
        self._membership = Membership(self._world, self._fabric, self._publisher, self._names, settings, self)
        self._restoration = Restoration(
            self._world, self._fabric, self._publisher, self._names, settings, host.instance, host.bridge
        )

    # Start and stop

    async def restore(self, running: Iterable[ContainerRecord]) -> None:
        """At start: take over the endpoints and ports of running containers, remove what belongs to no one.

        Makes the bridges and their rules. Raises NotSupported or Unavailable when this host cannot.
        """
        lost = await self._restoration.restore(list(running), self.administration, self._membership)
        self._restored = True
        for port in lost:
            _log.warning("published port %s is held by another program: it still leads to the container", port)

    async def aclose(self) -> None:
        """Leave running containers' networking as it is; with none, remove bridges, table, rules and helpers.

        An engine that failed before it knew what runs removes nothing.
        """
        items = list(self._world.attachments.values())
        in_use = not self._restored or any(endpoint.addresses for item in items for endpoint in item.endpoints)
        for item in items:
            item.close()
        self._publisher.close(keep=not self._restored or any(item.ports for item in items))
        self._names.close(keep=not self._restored or any(item.named for item in items))
        await self._fabric.aclose(keep=in_use)

    async def check_rules(self) -> None:
        """Look at once whether rules that others may have removed are in place; otherwise that is done by and by."""
        await self._fabric.check_rules()

    # What containers ask for

    def validate(self, record: ContainerRecord) -> list[str]:
        """Check network mode, endpoints and port bindings when a container is created; return warnings.

        Endpoints are kept by their network's name from here on, and the MAC addresses that are asked for
        are noted: later the endpoints hold those that are in use. Raises InvalidArgument or NotSupported with
        moby's text. As with Docker, a network that does not exist is refused when the container starts.
        """
        catalog = self._world.catalog
        record.networks = {self._name_for(name): settings for name, settings in record.networks.items()}
        warnings = check_record(record, self._find, catalog.find_or_none)
        record.links = legacylinks.resolve_links(record, self._find, icc=self._settings.icc)
        record.wanted_macs = {name: item.mac_address for name, item in record.networks.items() if item.mac_address}
        return warnings

    def _name_for(self, network_ref: str) -> str:
        found = self._world.catalog.find_or_none(network_ref)
        return found.name if found is not None else network_ref

    def reserve(self, record: ContainerRecord) -> Sandbox:
        """Choose addresses, MACs and host ports for a container that starts, and bind the ports.

        Raises NotFound for an unknown network, Conflict when the container to join does not run, Internal
        when a port is taken or there is no address left: all with moby's texts.
        """
        if record.id in self._world.attachments:
            raise Conflict(f"container {record.name.removeprefix('/')} is connected already")
        mode = record.host_config.network_mode
        if mode.startswith(CONTAINER):
            host, path = self._joined(record, mode.removeprefix(CONTAINER))
            self._world.guests[record.id] = host
            return Sandbox(record.id, path)
        if record.links:
            record.link_environment = legacylinks.link_environment(record, self._find)
        check_start(record)
        item = Attachment(record.id, record.name, is_host=mode == HOST)
        try:
            for name, network in self._resolve(record):
                item.endpoints.append(self.lease(record, name, network))
            way = choose_way(item.endpoints, self._world.live)
            self._publisher.publish(item, record, way, self._world.live)
            counters: dict[str, int] = {}
            for endpoint in item.endpoints:
                network = self._world.live[endpoint.network_id]
                name = _interface_name(endpoint, network, counters, item.endpoints)
                network.wire(endpoint, name, way.versions(endpoint), hairpin=bool(item.ports))
            if not item.is_host:
                # The namespace's descriptor gets its number now, so that its path is known before it is made.
                item.netns_fd = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        except BaseException as error:
            self._forget(item)
            if isinstance(error, PortsideError) and not error.message.startswith(SETUP_FAILED):
                raise type(error)(f"{SETUP_FAILED}: {error.message}", hint=error.hint) from error
            raise
        self._world.attachments[record.id] = item
        if record.links:
            self._world.linking.add(record.id)
        endpoints = {endpoint.network: endpoint.settings for endpoint in item.endpoints}
        namespace = None if item.is_host else netns.path_of(item.netns_fd)
        return Sandbox(record.id, namespace, endpoints, self.ports_of(record, item))

    def ports_of(self, record: ContainerRecord, item: Attachment) -> PortMap:
        """Return a container's ports as inspect shows them."""
        way = choose_way(item.endpoints, self._world.live)
        outlets = [self._world.live[one.network_id] for one in (way.ipv4, way.ipv6) if one is not None]
        if not any(isinstance(network, BridgeNetwork) for network in outlets):
            return {}
        return port_map(item.ports, list(given(record.config.exposed_ports, {})))

    def _resolve(self, record: ContainerRecord) -> list[tuple[str, LiveNetwork]]:
        """Return a container's networks, that of its mode first; raises NotFound with moby's text."""
        found: list[tuple[str, LiveNetwork]] = []
        for name, settings in record.networks.items():
            network_ref = settings.network_id if settings.network_id and name not in (BRIDGE, HOST) else name
            network = self._world.catalog.find(network_ref) if network_ref != name else None
            network = network or self._world.catalog.find(name)
            found.append((name, self._world.live[network.id]))
        primary = self._world.catalog.find_or_none(record.host_config.network_mode)
        found.sort(key=lambda item: primary is None or item[1].record.id != primary.id)
        return found

    def lease(self, record: ContainerRecord, name: str, network: LiveNetwork) -> Endpoint:
        """Return a new endpoint of a container with its addresses; ``name`` is the key of its settings.

        Raises InvalidArgument, Forbidden and Internal with moby's texts; nothing is leased then.
        """
        asked = record.networks[name]
        check_endpoint(network.record, network.record.name, asked)
        settings = msgspec.structs.replace(
            asked,
            network_id=network.record.id,
            endpoint_id=secrets.token_hex(32),
            mac_address=record.wanted_macs.get(name, ""),
        )
        if not network.record.is_predefined:
            settings.dns_names = containerfiles.dns_names(record, settings.aliases)
        endpoint = Endpoint(
            network.record.id,
            network.record.name,
            settings,
            name=(settings.driver_opts or {}).get(IFNAME, ""),
            sysctls=parse_sysctls(settings),
            link_local=parse_link_local(settings),
        )
        try:
            network.lease(endpoint, ipv6=not containerfiles.disables_ipv6(record))
        except BaseException:
            network.give_back(endpoint.addresses)
            raise
        return endpoint

    def _joined(self, record: ContainerRecord, other_id: str) -> tuple[str, Path]:
        try:
            other = self._find(other_id)
        except NotFound as error:
            raise Internal(f"joining network namespace of container: {error.message}") from error
        if other.id == record.id:
            raise Internal("cannot join own network namespace")
        status = other.state.status
        if status not in ("running", "paused") or not other.state.pid:
            raise Conflict(
                "cannot join network namespace of a non running container: "
                f"container {other.name.removeprefix('/')} is {status}",
                hint=f"start {other.name.removeprefix('/')} first",
            )
        return other.id, netns.path_of_process(other.state.pid)

    async def connect(self, sandbox: Sandbox) -> None:
        """Make the namespace, its links and addresses, firewall rules and port holders: all before the process runs."""
        item = self._world.attachments.get(sandbox.container_id)
        if item is None:
            return
        if not item.is_host:
            await self._connect(item, sandbox.namespace)
        for endpoint in item.endpoints:
            self.announce(item, endpoint, "connect")

    async def _connect(self, item: Attachment, given: int) -> None:
        item.ruled = True
        wirings = [endpoint.wiring for endpoint in item.endpoints if endpoint.wiring is not None]
        made = await self._fabric.connect(wirings, self._world.ruled_ports(item), given)
        try:
            if self._world.attachments.get(item.container_id) is not item or item.netns_fd < 0:
                raise Conflict("the container was taken down while its network was made")
            os.dup2(made, item.netns_fd, inheritable=False)
        finally:
            os.close(made)
        self._publisher.hand_over(item)
        if any(containerfiles.has_names(endpoint) for endpoint in item.endpoints):
            record = self._find(item.container_id)
            names = containerfiles.build_names(record, item, self._world, self._settings)
            item.named = True
            await self._names.join(item.container_id, item.netns_fd, names)

    async def release(self, container_id: str) -> None:
        """Take back whatever ``reserve`` and ``connect`` gave; a container that has nothing is no error."""
        self._world.guests.pop(container_id, None)
        self._world.linking.discard(container_id)
        item = self._world.attachments.pop(container_id, None)
        if item is None:
            return
        if item.named:
            self._names.leave(container_id)
        veths = item.veths()
        ports, handed_over = self._forget(item)
        if veths and container_id in self._world.guests.values():
            await self._fabric.unplug(veths)
        await self._publisher.release(item, ports, handed_over=handed_over)
        for endpoint in item.endpoints:
            if endpoint.announced:
                self.announce(item, endpoint, "disconnect")

    def _forget(self, item: Attachment) -> tuple[list[PublishedPort], bool]:
        """Take back what needs no waiting; return the ports that the helper has to close, and whether it has any."""
        handed_over = any(port.host_port for port in item.ports) and not item.sockets
        if item.ruled:
            self._fabric.unpublish(self._world.ruled_ports(item))
        ports, item.ports = item.ports, []
        item.close()
        for endpoint in item.endpoints:
            network = self._world.live.get(endpoint.network_id)
            if network is not None:
                network.retire(endpoint)
        if handed_over:
            return ports, True
        self._publisher.give_back(ports)
        return [], False

    def announce(self, item: Attachment, endpoint: Endpoint, action: str) -> None:
        """Publish that a container was connected or disconnected."""
        record = self._world.catalog.by_id(endpoint.network_id)
        if record is None:
            return
        endpoint.announced = True
        attributes = {"container": item.container_id, "name": record.name, "type": record.driver}
        self._events.publish("network", action, record.id, attributes)

    def netns_path(self, container_id: str) -> Path:
        """Return a path by which a running container's network namespace can be entered."""
        return netns.path_of_process(self._find(container_id).state.pid)

    def write_files(self, record: ContainerRecord, sandbox: Sandbox, directory: Path) -> None:
        """Write ``hosts``, ``hostname`` and ``resolv.conf`` for a container into ``directory``."""
        mode = record.host_config.network_mode
        if mode.startswith(CONTAINER):
            other = directory.parent / self._find(mode.removeprefix(CONTAINER)).id
            for name in ("hosts", "hostname", "resolv.conf"):
                files.share(other / name, directory / name)
            return
        if self._world.default is None:
            raise Unavailable("the networks are not in place yet")
        containerfiles.write_files(
            record,
            self._world.attachments.get(record.id),
            self._settings,
            host_gateways(self._settings, self._world.default),
            legacylinks.hosts_lines(record, self._find) if record.links else [],
            directory,
            host_has_ipv6=self._host.has_ipv6,
        )
        self._tell_parents(record, directory)

    def _tell_parents(self, record: ContainerRecord, directory: Path) -> None:
        """Bring the hosts files of running containers that are linked to a starting one up to date."""
        endpoint = record.networks.get(BRIDGE)
        if endpoint is None or not endpoint.ip_address:
            return
        for parent_id in list(self._world.linking):
            try:
                parent = self._find(parent_id)
            except NotFound:
                continue
            for alias, child_id in parent.links.items():
                if child_id == record.id:
                    names = legacylinks.names_of(alias, record)
                    files.readdress_hosts(directory.parent / parent.id / "hosts", names, endpoint.ip_address)

    def mend_files(self, record: ContainerRecord, directory: Path) -> None:
        """At start: complete what an engine that was killed had begun with a running container's files."""
        item = self._world.attachments.get(record.id)
        if item is None or not any(containerfiles.has_names(endpoint) for endpoint in item.endpoints):
            return
        try:
            containerfiles.mend(record, item, self._settings, directory)
        except PortsideError as error:
            _log.warning("files of container %s are not in line with its networks: %s", record.name, error.message)

    # While a container runs

    def check_exists(self, network_ref: str) -> None:
        """Raise NotFound for a network that does not exist."""
        self._world.catalog.find(network_ref)

    def enlist(self, record: ContainerRecord, network_ref: str, settings: EndpointSettings) -> None:
        """Note a further network for a container that does not run."""
        self._membership.enlist(record, network_ref, settings)

    def delist(self, record: ContainerRecord, network_ref: str) -> None:
        """Strike a network from a container that does not run."""
        self._membership.delist(record, network_ref)

    async def join(
        self, record: ContainerRecord, network_ref: str, settings: EndpointSettings, directory: Path
    ) -> None:
        """Connect a running container to a further network; its files in ``directory`` follow."""
        await self._membership.join(record, network_ref, settings, directory)

    async def leave(self, record: ContainerRecord, network_ref: str, directory: Path) -> None:
        """Take a running container off a network; its files in ``directory`` follow."""
        await self._membership.leave(record, network_ref, directory)

    def shown_links(self, record: ContainerRecord) -> list[str] | None:
        """Return a container's links on the default bridge as inspect shows them."""
        return legacylinks.shown_links(record, self._find)

    def renamed(self, record: ContainerRecord) -> None:
        """Take notice of a container's new name."""
        self._membership.renamed(record)

    def _name_of(self, item: Attachment) -> str:
        try:
            return self._find(item.container_id).name.removeprefix("/")
        except NotFound:
            return item.container_name.removeprefix("/")


def _interface_name(
    endpoint: Endpoint, network: LiveNetwork, counters: dict[str, int], endpoints: Iterable[Endpoint]
) -> str:
    if endpoint.name:
        return endpoint.name
    taken = {other.name for other in endpoints}
    prefix = network.options.prefix if isinstance(network, BridgeNetwork) else "eth"
    while True:
        number = counters.get(prefix, 0)
        counters[prefix] = number + 1
        if f"{prefix}{number}" not in taken:
            return f"{prefix}{number}"


def read_host(instance: str, bridge: str, exec_root: Path) -> Host:
    """Return what this host offers (blocking, some reads of /proc)."""
    ephemeral = DEFAULT_RANGE
    try:
        first, last = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
        ephemeral = (int(first), int(last))
    except (OSError, ValueError):
        _log.info("the range of ephemeral ports cannot be read: %d to %d is used", *ephemeral)
    has_ipv6 = Path("/proc/sys/net/ipv6").is_dir()
    return Host(instance, bridge, exec_root, ephemeral, has_ipv6 and _listens_on_ipv6(), has_ipv6)


def _listens_on_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
