"""From ``POST /networks/create`` to a record: what was asked for checked in moby's order, with its texts. No I/O."""

from __future__ import annotations

import secrets
import time

import msgspec

from engine.errors import Forbidden, InvalidArgument, NotFound
from engine.model.network import NetworkCreateRequest
from engine.networks.catalog import Catalog
from engine.networks.ipam import asked_pools, check_ipam
from engine.networks.record import DRIVERS, NetworkRecord
from engine.wire.booleans import parse_go_bool

_ENABLE = {4: "com.docker.network.enable_ipv4", 6: "com.docker.network.enable_ipv6"}
_BUILT_IN = ("bridge", "host", "null", "macvlan", "ipvlan")
_IPAM_DRIVERS = ("default", "null")
_NO_SWARM = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm '
    "and try again."
)


def plan_record(request: NetworkCreateRequest, catalog: Catalog) -> NetworkRecord:
    """Return the record of a new network, its subnets as they were asked for.

    Claims the name in the catalog, which the caller gives back. Raises Forbidden, InvalidArgument, Conflict
    and NotFound.
    """
    if request.name in (*DRIVERS, "default"):
        raise Forbidden(f"operation is not permitted on predefined {request.name} network ")
    driver = request.driver or "bridge"
    if driver == "overlay":
        raise Forbidden(_NO_SWARM)
    options = dict(request.options or {})
    ipv4 = _enabled(4, request.enable_ipv4, options, default=True)
    ipv6 = _enabled(6, request.enable_ipv6, options, default=False)
    check_ipam(request.ipam, ipv6=ipv6)
    if not request.name.strip():
        raise InvalidArgument("invalid name: name is empty")
    record = NetworkRecord(
        id=secrets.token_hex(32),
        name=request.name,
        driver=driver,
        created_ns=time.time_ns(),
        enable_ipv4=ipv4,
        enable_ipv6=ipv6,
        internal=request.internal,
        attachable=request.attachable,
        config_only=request.config_only,
        config_from=request.config_from.network if request.config_from else "",
        options=options,
        labels=dict(request.labels or {}),
        ipam_driver=(request.ipam.driver if request.ipam else "") or _default_ipam(driver),
        ipam_options=request.ipam.options if request.ipam else None,
        pools=asked_pools(request.ipam),
    )
    catalog.claim(record.name)
    try:
        return _settle(record, request, catalog)
    except BaseException:
        catalog.unclaim(record.name)
        raise


def _enabled(version: int, asked: object, options: dict[str, str], *, default: bool) -> bool:
    key = _ENABLE[version]
    if isinstance(asked, bool):
        options.pop(key, None)
        return asked
    if key not in options:
        return default
    found = parse_go_bool(options[key])
    if found is None:
        raise InvalidArgument(f'driver-opt "{key}" is not a valid bool')
    return found


def _default_ipam(driver: str) -> str:
    return "null" if driver in ("host", "null") else "default"


def _settle(record: NetworkRecord, request: NetworkCreateRequest, catalog: Catalog) -> NetworkRecord:
    _check_configuration(record, request)
    if record.config_only:
        record.driver = "null"
        return record
    if record.driver not in _BUILT_IN:
        raise NotFound(f'plugin "{record.driver}" not found', hint=f"drivers are {', '.join(_BUILT_IN)}")
    if request.ingress:
        raise Forbidden("Ingress network can only be global scope network")
    if record.config_from:
        record = _configured(record, catalog)
    if request.scope == "swarm":
        raise Forbidden("cannot create a swarm scoped network when swarm is not active")
    if request.scope not in ("", "local"):
        raise InvalidArgument(f"invalid scope {request.scope}", hint="networks of Portside have the scope local")
    if record.driver in ("host", "null"):
        raise Forbidden(f'only one instance of "{record.driver}" network is allowed')
    if record.ipam_driver not in _IPAM_DRIVERS:
        raise NotFound(f'plugin "{record.ipam_driver}" not found')
    if record.driver == "bridge" and not record.enable_ipv4 and not record.enable_ipv6:
        raise InvalidArgument("IPv4 or IPv6 must be enabled")
    if record.ipam_driver == "null":
        version = 4 if record.enable_ipv4 else 6
        raise InvalidArgument(f"ipv{version} pool is empty", hint="use the address management driver `default`")
    return record


def _check_configuration(record: NetworkRecord, request: NetworkCreateRequest) -> None:
    if record.config_only and (request.ingress or record.internal or record.attachable or request.scope):
        raise Forbidden(
            "configuration network can only contain network specific fields. Network operator fields like "
            "[ ingress | internal | attachable | scope ] are not supported."
        )
    if not record.config_from:
        return
    if record.config_only:
        raise Forbidden("a configuration network cannot depend on another configuration network")
    if (
        record.ipam_driver != _default_ipam(record.driver)
        or not record.enable_ipv4
        or record.enable_ipv6
        or record.labels
        or record.ipam_options
        or record.pools
    ):
        raise Forbidden(
            "user specified configurations are not supported if the network depends on a configuration network"
        )
    if record.options:
        raise Forbidden("network driver options are not supported if the network depends on a configuration network")


def _configured(record: NetworkRecord, catalog: Catalog) -> NetworkRecord:
    """Return a record with what a configuration-only network says."""
    source = catalog.by_name(record.config_from)
    if source is None or not source.config_only:
        raise NotFound(f'configuration network "{record.config_from}" does not exist')
    return msgspec.structs.replace(
        record,
        enable_ipv4=source.enable_ipv4,
        enable_ipv6=source.enable_ipv6,
        labels=dict(source.labels),
        options=dict(source.options),
        ipam_driver=source.ipam_driver,
        ipam_options=source.ipam_options,
        pools=[msgspec.structs.replace(pool) for pool in source.pools],
    )
