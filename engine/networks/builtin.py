"""The three networks that every engine has, and how the API shows them. No kernel, no containers' records."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Interface, IPv6Interface

import msgspec

from engine.model.network import IPAM, IPAMConfig, NetworkContainer, NetworkInspect
from engine.networks.settings import NetworkSettings
from engine.store.database import Database

BRIDGE, HOST, NONE = "bridge", "host", "none"
DRIVERS = {BRIDGE: "bridge", HOST: "host", NONE: "null"}
Interface = IPv4Interface | IPv6Interface


class NetworkRecord(msgspec.Struct, kw_only=True):
    """What the store keeps of a network."""

    id: str
    name: str
    driver: str
    created_ns: int


async def load_networks(database: Database) -> dict[str, NetworkRecord]:
    """Return the networks by name; makes those of the three that the store does not have yet."""
    found: dict[str, NetworkRecord] = {}
    for (data,) in database.read("SELECT record FROM networks"):
        record = msgspec.json.decode(data, type=NetworkRecord)
        found[record.name] = record
    missing = [
        NetworkRecord(id=secrets.token_hex(32), name=name, driver=driver, created_ns=time.time_ns())
        for name, driver in DRIVERS.items()
        if name not in found
    ]
    if missing:
        statement = "INSERT INTO networks (id, name, record) VALUES (?, ?, ?)"
        await database.execute(
            *((statement, (record.id, record.name, msgspec.json.encode(record))) for record in missing)
        )
    return found | {record.name: record for record in missing}


def rfc3339(time_ns: int) -> str:
    """Return nanoseconds since 1970 as the API writes times."""
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    fraction = f".{nanoseconds:09d}".rstrip("0").rstrip(".")
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + fraction + "Z"


def describe(
    record: NetworkRecord,
    settings: NetworkSettings,
    bridge: str,
    gateways: Iterable[Interface],
    containers: Mapping[str, NetworkContainer],
) -> NetworkInspect:
    """Return a network as inspect shows it."""
    shown = NetworkInspect(
        name=record.name,
        id=record.id,
        created=rfc3339(record.created_ns),
        driver=record.driver,
        enable_ipv4=True,
        ipam=IPAM(driver="default", options=None, config=None),
        containers=dict(containers),
        options={},
        labels={},
    )
    if record.name != BRIDGE:
        return shown
    shown.enable_ipv6 = settings.ipv6
    shown.ipam.config = []
    for gateway in gateways:
        entry = IPAMConfig(subnet=str(gateway.network), gateway=str(gateway.ip))
        if gateway.version == 4 and settings.fixed_cidr is not None:
            entry.ip_range = str(settings.fixed_cidr)
        shown.ipam.config.append(entry)
    shown.options = {
        "com.docker.network.bridge.default_bridge": "true",
        "com.docker.network.bridge.enable_icc": _word(settings.icc),
        "com.docker.network.bridge.enable_ip_masquerade": _word(settings.ip_masq),
        "com.docker.network.bridge.host_binding_ipv4": str(settings.default_ip),
        "com.docker.network.bridge.name": bridge,
        "com.docker.network.driver.mtu": str(settings.bridge_mtu or 1500),
    }
    return shown


def _word(value: bool) -> str:
    return "true" if value else "false"
