"""A container's hosts, hostname and resolv.conf, and what the name server is to know of it.

Between records and attachments on one side, ``files.py`` (text) and ``naming.py`` (the server) on the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from engine.model.base import given
from engine.model.record import ContainerRecord
from engine.networks import files
from engine.networks.attachment import Attachment, Endpoint
from engine.networks.gateways import choose_way
from engine.networks.naming import NAME_SERVER, ContainerNames, EndpointNames, Upstream
from engine.networks.record import BRIDGE, DRIVERS
from engine.networks.settings import NetworkSettings
from engine.networks.world import World

HostAddresses = Sequence[IPv4Address | IPv6Address]


def dns_names(record: ContainerRecord, aliases: Sequence[str] | None) -> list[str]:
    """Return the names of a container on a user-defined network, in Docker's order: the first is its own."""
    name = record.name.removeprefix("/")
    found = [name, *(aliases or ()), record.id[:12], record.config.hostname]
    return list(dict.fromkeys(item for item in found if item))


def build_names(record: ContainerRecord, item: Attachment, world: World, settings: NetworkSettings) -> ContainerNames:
    """Return what the name server is to know of a container; no endpoints means that it needs none."""
    endpoints = tuple(_endpoint_names(record, endpoint) for endpoint in item.endpoints if has_names(endpoint))
    if not endpoints:
        return ContainerNames(())
    resolv = _overridden(record, settings)
    ndots = resolv.has_ndots()
    servers = resolv.adapt_to_name_server(NAME_SERVER)
    way = choose_way(item.endpoints, world.live)
    return ContainerNames(
        endpoints,
        tuple(Upstream(address, from_host) for address, from_host in servers),
        forwards=way.ipv4 is not None or way.ipv6 is not None,
        ndots_set=ndots,
    )


def has_names(endpoint: Endpoint) -> bool:
    """Whether an endpoint's network has names: all but the predefined ones."""
    return endpoint.network not in DRIVERS


def _endpoint_names(record: ContainerRecord, endpoint: Endpoint) -> EndpointNames:
    links: list[tuple[str, str]] = []
    for text in endpoint.settings.links or ():
        name, _, alias = text.partition(":")
        links.append((alias or name, name))
    return EndpointNames(
        endpoint.network_id,
        endpoint.network,
        tuple(endpoint.addresses),
        # Not those in the settings: after a crash they may be older than the container's name.
        tuple(dns_names(record, endpoint.settings.aliases)),
        tuple(links),
    )


def _overridden(record: ContainerRecord, settings: NetworkSettings) -> files.ResolvConf:
    host_config = record.host_config
    resolv = files.read_host_resolv_conf(follow_systemd=host_config.network_mode != "host")
    resolv.override(
        host_config.dns or settings.dns,
        host_config.dns_search or settings.dns_search,
        host_config.dns_options or settings.dns_options,
    )
    return resolv


def write_files(
    record: ContainerRecord,
    item: Attachment | None,
    settings: NetworkSettings,
    gateways: HostAddresses,
    links: Sequence[tuple[str, str]],
    directory: Path,
    *,
    host_has_ipv6: bool,
) -> None:
    """Write the three files into ``directory``; ``links`` are (names, address) of legacy links (blocking)."""
    host_config = record.host_config
    is_host = item is not None and item.is_host
    extra = files.resolve_extra_hosts(host_config.extra_hosts or [], gateways)
    if is_host and not extra:
        hosts = _read_host_file(Path("/etc/hosts"))
    else:
        hosts = files.build_hosts(
            record.config.hostname,
            record.config.domainname,
            own_addresses(item),
            [*extra, *links],
            ipv6=host_has_ipv6 and not disables_ipv6(record),
        )
    files.write_atomically(directory / "hosts", hosts)
    files.write_atomically(directory / "hostname", f"{record.config.hostname}\n")
    files.write_unless_edited(directory / "resolv.conf", _resolv_conf(record, item, settings))


def _resolv_conf(record: ContainerRecord, item: Attachment | None, settings: NetworkSettings) -> str:
    resolv = _overridden(record, settings)
    endpoints = item.endpoints if item is not None else []
    if any(has_names(endpoint) for endpoint in endpoints):
        resolv.adapt_to_name_server(NAME_SERVER)
    elif item is None or not item.is_host:
        resolv.adapt_to_bridge(ipv6=settings.ipv6 and any(endpoint.network == BRIDGE for endpoint in endpoints))
    return resolv.render()


def own_addresses(item: Attachment | None) -> list[str]:
    """Return the addresses that a container's host name stands for."""
    endpoints = item.endpoints if item is not None else []
    return [
        text
        for endpoint in endpoints
        for text in (endpoint.settings.ip_address, endpoint.settings.global_ipv6_address)
        if text
    ]


def follow_change(
    record: ContainerRecord,
    item: Attachment,
    settings: NetworkSettings,
    directory: Path,
    *,
    added: Endpoint | None,
    removed: Endpoint | None,
) -> None:
    """Bring the files of a running container in line with its networks, in place (blocking).

    Its own lines in hosts come and go; resolv.conf is written anew unless the container has changed it.
    """
    names = files.host_names(record.config.hostname, record.config.domainname)
    lines = {(text, names) for text in _texts(removed)}
    files.edit_hosts(directory / "hosts", remove=lines, add=[(text, names) for text in _texts(added)])
    files.rewrite_unless_edited(directory / "resolv.conf", _resolv_conf(record, item, settings))


def mend(record: ContainerRecord, item: Attachment, settings: NetworkSettings, directory: Path) -> None:
    """Make a running container's own lines in hosts those of its networks, and resolv.conf what it should be."""
    names = files.host_names(record.config.hostname, record.config.domainname)
    files.settle_hosts(directory / "hosts", names, own_addresses(item))
    files.rewrite_unless_edited(directory / "resolv.conf", _resolv_conf(record, item, settings))


def _texts(endpoint: Endpoint | None) -> list[str]:
    if endpoint is None:
        return []
    found = (endpoint.settings.ip_address, endpoint.settings.global_ipv6_address)
    return [text for text in found if text]


def _read_host_file(path: Path) -> str:
    try:
        return path.read_text(errors="surrogateescape")
    except OSError:
        return ""


def disables_ipv6(record: ContainerRecord) -> bool:
    """Whether a container has IPv6 switched off."""
    sysctls = given(record.host_config.sysctls, {})
    return any(sysctls.get(f"net.ipv6.conf.{where}.disable_ipv6") == "1" for where in ("all", "lo"))
