"""How the API shows networks. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import UNSET

from engine.model.network import IPAM, ConfigReference, IPAMConfig, NetworkContainer, NetworkInspect
from engine.networks.live import BridgeNetwork
from engine.networks.record import NetworkRecord, PoolRecord
from engine.networks.settings import NetworkSettings
from engine.wire.times import format_ns


def describe(record: NetworkRecord, containers: Mapping[str, NetworkContainer]) -> NetworkInspect:
    """Return a network as inspect shows it."""
    pools = sorted(record.pools, key=lambda pool: (not pool.is_asked, pool.network.version))
    config = [_pool(pool) for pool in pools]
    return NetworkInspect(
        name=record.name,
        id=record.id,
        created=format_ns(record.created_ns),
        driver=record.driver,
        enable_ipv4=record.enable_ipv4,
        enable_ipv6=record.enable_ipv6,
        ipam=IPAM(driver=record.ipam_driver, options=record.ipam_options, config=config or None),
        internal=record.internal,
        attachable=record.attachable,
        config_from=ConfigReference(network=record.config_from),
        config_only=record.config_only,
        containers=dict(containers),
        options=dict(sorted(record.options.items())),
        labels=dict(sorted(record.labels.items())),
    )


def _pool(pool: PoolRecord) -> IPAMConfig:
    gateway = pool.asked_gateway if pool.is_asked else pool.gateway
    return IPAMConfig(
        subnet=pool.subnet,
        ip_range=pool.ip_range or UNSET,
        gateway=gateway or UNSET,
        auxiliary_addresses=dict(sorted(pool.auxiliary.items())) or UNSET,
    )


def describe_default(
    network: BridgeNetwork, settings: NetworkSettings, containers: Mapping[str, NetworkContainer]
) -> NetworkInspect:
    """Return the default bridge as inspect shows it: the configuration decides."""
    shown = describe(network.record, containers)
    shown.enable_ipv6 = settings.ipv6
    shown.ipam.config = []
    for own in network.own:
        entry = IPAMConfig(subnet=str(own.network), gateway=str(own.ip))
        if own.version == 4 and settings.fixed_cidr is not None:
            entry.ip_range = str(settings.fixed_cidr)
        shown.ipam.config.append(entry)
    shown.options = {
        "com.docker.network.bridge.default_bridge": "true",
        "com.docker.network.bridge.enable_icc": _word(settings.icc),
        "com.docker.network.bridge.enable_ip_masquerade": _word(settings.ip_masq),
        "com.docker.network.bridge.host_binding_ipv4": str(settings.default_ip),
        "com.docker.network.bridge.name": network.bridge,
        "com.docker.network.driver.mtu": str(settings.bridge_mtu or 1500),
    }
    return shown


def _word(value: bool) -> str:
    return "true" if value else "false"
