"""The networks of an engine: the default bridge, host, none and another container's; ports, names, files.

Owns addresses, host ports, the bridge, the table of rules and the process that holds ports. Knows of
containers only what their records say. User-defined networks are not there yet.

A container's namespace is made when it starts and held by a descriptor of the engine until its process is
in it; the kernel removes it, and the veth pair with it, when both are gone. So nothing has to be cleaned
up after a crash but leases, ports and rules, and those are worked out anew from what runs.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, ip_address
from pathlib import Path

import msgspec

from engine.containers.interfaces import Sandbox
from engine.errors import Conflict, Internal, NotFound, PortsideError, Unavailable
from engine.events import EventSink
from engine.model.base import given
from engine.model.network import EndpointSettings, NetworkInspect
from engine.model.record import ContainerRecord
from engine.networks import files
from engine.networks.attachment import Attachment, port_map, veth_name
from engine.networks.builtin import BRIDGE, DRIVERS, HOST, NONE, NetworkRecord, describe, load_networks
from engine.networks.defaultbridge import DefaultBridge
from engine.networks.holding import PortBusyError, PortHolder, bind
from engine.networks.ports import (
    DEFAULT_RANGE,
    PortAllocator,
    PublishedPort,
    parse_host_address,
    parse_host_port,
    parse_port,
    read_requests,
)
from engine.networks.settings import NetworkSettings
from engine.networks.validation import check_record
from engine.runtime import netns
from engine.store.database import Database

_log = logging.getLogger(__name__)
_CONTAINER = "container:"
_SETUP_FAILED = "failed to set up container networking"
_BIND_ATTEMPTS = 64
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
        self._database = database
        self._host = host
        self._settings = settings
        self._events = events
        self._find = find_container
        self._networks: dict[str, NetworkRecord] = {}
        self._attachments: dict[str, Attachment] = {}
        self._restored = False
        self._allocator = PortAllocator(host.ephemeral_ports)
        self._holder = PortHolder(host.exec_root)
        self._bridge = DefaultBridge(host.bridge, host.instance, settings, self._published, self._veths)
        self._guests: dict[str, str] = {}  # who has joined whose namespace

    # Start and stop

    async def restore(self, running: Iterable[ContainerRecord]) -> None:
        """At start: take over the endpoints and ports of running containers, remove what belongs to no one.

        Makes the default bridge and its rules. Raises NotSupported or Unavailable when this host cannot.
        """
        self._networks = await load_networks(self._database)
        records = list(running)
        wanted = [
            IPv4Interface(f"{endpoint.ip_address}/{endpoint.ip_prefix_len}")
            for record in records
            if (endpoint := record.networks.get(BRIDGE)) is not None and endpoint.ip_address
        ]
        await self._bridge.prepare(wanted)
        for record in records:
            self._adopt(record)
        held = {item.container_id: item.ports for item in self._attachments.values() if item.ports}
        _, lost = await asyncio.gather(self._bridge.put_in_place(), self._holder.restore(held))
        self._restored = True
        for port in lost:
            _log.warning("published port %s is held by another program: it still leads to the container", port)

    def _adopt(self, record: ContainerRecord) -> None:
        network = record.host_config.network_mode
        if network.startswith(_CONTAINER):
            self._guests[record.id] = network.removeprefix(_CONTAINER)
        endpoint = record.networks.get(network)
        if network not in DRIVERS or endpoint is None:
            return
        item = Attachment(record.id, record.name, network, endpoint, ruled=True, announced=True)
        self._attachments[record.id] = item
        if network != BRIDGE:
            return
        for text in (endpoint.ip_address, endpoint.global_ipv6_address):
            if text and self._bridge.adopt(ip_address(text)):
                item.addresses.append(ip_address(text))
        if not item.addresses:
            return
        for key, places in record.ports.items():
            number, protocol = parse_port(key)
            for place in places or []:
                address = parse_host_address(place.host_ip)
                first, _ = parse_host_port(place.host_port)
                if address is None or not first:
                    continue
                inner = _container_address(item, address.version)
                item.ports.append(PublishedPort(protocol, address, first, inner, number))
                self._allocator.adopt([address], protocol, first)

    async def aclose(self) -> None:
        """Leave running containers' networking as it is; with none, remove bridge, table, rules and helper.

        An engine that failed before it knew what runs removes nothing.
        """
        in_use = not self._restored or any(item.network == BRIDGE for item in self._attachments.values())
        for item in self._attachments.values():
            item.close()
        self._holder.close(keep=not self._restored or any(item.ports for item in self._attachments.values()))
        await self._bridge.aclose(keep=in_use)

    async def check_rules(self) -> None:
        """Look at once whether rules that others may have removed are in place; otherwise that is done by and by."""
        await self._bridge.check_rules()

    # What containers ask for

    def validate(self, record: ContainerRecord) -> list[str]:
        """Check network mode, endpoints and port bindings when a container is created; return warnings.

        Notes the MAC addresses that are asked for: later the endpoints hold those that are in use.

        Raises InvalidArgument or NotSupported with moby's text. As with Docker, a network that does not
        exist is refused when the container starts.
        """
        warnings = check_record(record, self._find)
        record.wanted_macs = {name: item.mac_address for name, item in record.networks.items() if item.mac_address}
        return warnings

    def reserve(self, record: ContainerRecord) -> Sandbox:
        """Choose addresses, MAC and host ports for a container that starts, and bind the ports.

        Raises NotFound for an unknown network, Conflict when the container to join does not run, Internal
        when a port is taken, Unavailable when there is no address left: all with moby's texts.
        """
        if record.id in self._attachments:
            raise Conflict(f"container {record.name.removeprefix('/')} is connected already")
        mode = record.host_config.network_mode
        if mode.startswith(_CONTAINER):
            host, path = self._joined(record, mode.removeprefix(_CONTAINER))
            self._guests[record.id] = host
            return Sandbox(record.id, path)
        for name in (mode, *record.networks):
            if name not in DRIVERS:
                raise NotFound(
                    f"{_SETUP_FAILED}: network {name} not found", hint="networks of your own come with a later version"
                )
        settings = msgspec.structs.replace(
            record.networks.get(mode) or EndpointSettings(),
            network_id=self._networks[mode].id,
            endpoint_id=secrets.token_hex(32),
            mac_address=record.wanted_macs.get(mode, ""),
        )
        item = Attachment(record.id, record.name, mode, settings)
        if mode == HOST:
            self._attachments[record.id] = item
            return Sandbox(record.id, None, {mode: settings})
        try:
            if mode == BRIDGE:
                self._bridge.lease(item)
                self._publish(item, record)
                self._bridge.wire(item)
            # The namespace's descriptor gets its number now, so that its path is known before it is made.
            item.netns_fd = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        except BaseException:
            self._forget(item)
            raise
        self._attachments[record.id] = item
        ports = port_map(item.ports, list(given(record.config.exposed_ports, {}))) if mode == BRIDGE else {}
        return Sandbox(record.id, netns.path_of(item.netns_fd), {mode: settings}, ports)

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

    def _publish(self, item: Attachment, record: ContainerRecord) -> None:
        requests = read_requests(
            record.host_config.port_bindings or {},
            given(record.config.exposed_ports, {}),
            publish_all=record.host_config.publish_all_ports,
            default_address=self._settings.default_ip,
            has_ipv6=self._host.listens_on_ipv6 and (self._settings.userland_proxy or self._settings.ipv6),
        )
        for request in requests:
            busy: PortBusyError | None = None
            try:
                for attempt, port in enumerate(self._allocator.candidates(request)):
                    places = [
                        PublishedPort(
                            request.protocol,
                            address,
                            port,
                            _container_address(item, address.version),
                            request.container_port,
                        )
                        for address in request.addresses
                    ]
                    try:
                        sockets = _bind_all(places, ranged=not request.exact)
                    except PortBusyError as error:
                        busy = error
                        if request.exact or attempt == _BIND_ATTEMPTS:
                            raise Internal(error.message) from error
                        continue
                    self._allocator.take(request, port)
                    item.ports += places
                    item.sockets += sockets
                    break
            except (Conflict, Internal, Unavailable) as error:
                raise self._port_error(item, error, busy) from error

    def _port_error(self, item: Attachment, error: PortsideError, busy: PortBusyError | None) -> PortsideError:
        # dockerd answers all of these with status 500, and tools look for its words.
        reason = busy.message if busy is not None and not isinstance(error, Conflict) else error.message
        return Internal(
            f"{_SETUP_FAILED}: driver failed programming external connectivity on endpoint "
            f"{item.container_name.removeprefix('/')} ({item.settings.endpoint_id}): {reason}",
            hint="stop what uses the port or publish on another one",
        )

    async def connect(self, sandbox: Sandbox) -> None:
        """Make the namespace, its links and addresses, firewall rules and port holders: all before the process runs."""
        item = self._attachments.get(sandbox.container_id)
        if item is None:
            return
        if item.network == BRIDGE and item.wiring is not None:
            item.ruled = True
            made = await self._bridge.connect(item.wiring, item.ports)
        elif item.network == NONE:
            made = await self._bridge.isolate()
        else:
            self._announce(item, "connect")
            return
        try:
            if self._attachments.get(sandbox.container_id) is not item or item.netns_fd < 0:
                raise Conflict("the container was taken down while its network was made")
            os.dup2(made, item.netns_fd, inheritable=False)
        finally:
            os.close(made)
        if item.ports:
            sockets, item.sockets = item.sockets, []
            self._holder.hold(item.container_id, item.ports, sockets)
        self._announce(item, "connect")

    async def release(self, container_id: str) -> None:
        """Take back whatever ``reserve`` and ``connect`` gave; a container that has nothing is no error."""
        self._guests.pop(container_id, None)
        item = self._attachments.pop(container_id, None)
        if item is None:
            return
        ports = self._forget(item)
        if item.network == BRIDGE and container_id in self._guests.values():
            await self._bridge.disconnect(item.wiring, item.settings.endpoint_id)
        if ports:
            await self._holder.drop(container_id)
        for port in ports:
            self._allocator.give_back(port.host_address, port.protocol, port.host_port)
        if item.announced:
            self._announce(item, "disconnect")

    def _forget(self, item: Attachment) -> list[PublishedPort]:
        """Take back what needs no waiting; return the ports, which are out until the helper has closed them."""
        handed_over = bool(item.ports) and not item.sockets
        ports, item.ports = item.ports, []
        item.close()
        self._bridge.give_back(item.addresses, ports if item.ruled else [])
        if handed_over:
            return ports
        for port in ports:
            self._allocator.give_back(port.host_address, port.protocol, port.host_port)
        return []

    def _announce(self, item: Attachment, action: str) -> None:
        record = self._networks[item.network]
        item.announced = True
        attributes = {"container": item.container_id, "name": record.name, "type": record.driver}
        self._events.publish("network", action, record.id, attributes)

    def netns_path(self, container_id: str) -> Path:
        """Return a path by which a running container's network namespace can be entered."""
        return netns.path_of_process(self._find(container_id).state.pid)

    def write_files(self, record: ContainerRecord, sandbox: Sandbox, directory: Path) -> None:
        """Write ``hosts``, ``hostname`` and ``resolv.conf`` for a container into ``directory``."""
        mode = record.host_config.network_mode
        if mode.startswith(_CONTAINER):
            other = directory.parent / self._find(mode.removeprefix(_CONTAINER)).id
            for name in ("hosts", "hostname", "resolv.conf"):
                files.share(other / name, directory / name)
            return
        host_config, settings = record.host_config, self._settings
        own = sandbox.endpoints.get(BRIDGE) or EndpointSettings()
        extra = files.resolve_extra_hosts(host_config.extra_hosts or [], self._bridge.host_gateways())
        hostname = record.config.hostname
        if mode == HOST and not extra:
            hosts = _read_host_file(Path("/etc/hosts"))
        else:
            hosts = files.build_hosts(
                hostname,
                record.config.domainname,
                [own.ip_address, own.global_ipv6_address],
                extra,
                ipv6=self._host.has_ipv6 and not _disables_ipv6(record),
            )
        resolv = files.read_host_resolv_conf(follow_systemd=mode != HOST)
        resolv.override(
            host_config.dns or settings.dns,
            host_config.dns_search or settings.dns_search,
            host_config.dns_options or settings.dns_options,
        )
        if mode != HOST:
            resolv.adapt_to_bridge(ipv6=mode == BRIDGE and settings.ipv6)
        files.write_atomically(directory / "hosts", hosts)
        files.write_atomically(directory / "hostname", f"{hostname}\n")
        files.write_unless_edited(directory / "resolv.conf", resolv.render())

    # What the API shows

    def describe_all(self) -> list[NetworkInspect]:
        """Return all networks with their containers, as inspect shows them."""
        return [
            describe(
                record,
                self._settings,
                self._host.bridge,
                self._bridge.gateways,
                {
                    item.container_id: item.describe(self._name_of(item))
                    for item in self._attachments.values()
                    if item.network == record.name
                },
            )
            for record in self._networks.values()
        ]

    def _name_of(self, item: Attachment) -> str:
        try:
            return self._find(item.container_id).name.removeprefix("/")
        except NotFound:
            return item.container_name.removeprefix("/")

    def _veths(self) -> set[str]:
        return {veth_name(item.settings.endpoint_id) for item in self._attachments.values() if item.network == BRIDGE}

    def _published(self) -> list[PublishedPort]:
        return [port for item in self._attachments.values() for port in item.ports]


def _container_address(item: Attachment, version: int) -> IPv4Address | IPv6Address:
    same = [address for address in item.addresses if address.version == version]
    return (same or item.addresses)[0]


def _bind_all(places: list[PublishedPort], *, ranged: bool) -> list[socket.socket]:
    """Bind all places or none; raises as ``bind`` does."""
    bound: list[socket.socket] = []
    try:
        for place in places:
            bound.append(bind(place, ranged=ranged))
    except BaseException:
        for held in bound:
            held.close()
        raise
    return bound


def _read_host_file(path: Path) -> str:
    try:
        return path.read_text(errors="surrogateescape")
    except OSError:
        return ""


def _disables_ipv6(record: ContainerRecord) -> bool:
    sysctls = given(record.host_config.sysctls, {})
    return any(sysctls.get(f"net.ipv6.conf.{where}.disable_ipv6") == "1" for where in ("all", "lo"))


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
