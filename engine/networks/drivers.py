"""The built-in drivers: from a record to a live network, with what each needs and refuses. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address

from engine.errors import Forbidden, Internal
from engine.networks.addresses import Address, Network
from engine.networks.bridgeoptions import parse_bridge_options
from engine.networks.ipam import address_pool, enabled_pools
from engine.networks.live import BridgeNetwork, ChildNetwork, LiveNetwork, bridge_network
from engine.networks.record import NetworkRecord
from engine.networks.ruleset import ISOLATED

_MACVLAN_MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
_IPVLAN_MODES = {"l2": 0, "l3": 1, "l3s": 2}
_IPVLAN_FLAGS = {"bridge": 0, "private": 1, "vepa": 2}
_ROUTED_IPVLAN = ("l3", "l3s")


def check_options(record: NetworkRecord) -> dict[int, bool]:
    """Check the options of a network's driver; return by version whether the network needs a gateway."""
    if record.driver == "bridge":
        options = parse_bridge_options(record.options, internal=record.internal)
        return {
            4: options.mode4 != ISOLATED and not (options.inhibits_ipv4 and record.internal),
            6: options.mode6 != ISOLATED,
        }
    mode = _child_modes(record)[2]
    without = _is_cut_off(record) or mode in _ROUTED_IPVLAN
    return {4: not without, 6: not without}


def make_live(record: NetworkRecord) -> LiveNetwork:
    """Return the live network of a record whose pools are settled."""
    if record.config_only or record.driver in ("host", "null"):
        return LiveNetwork(record)
    pools = [address_pool(pool) for pool in enabled_pools(record)]
    if record.driver == "bridge":
        return bridge_network(record, parse_bridge_options(record.options, internal=record.internal), pools)
    number, flags, mode = _child_modes(record)
    gateways: dict[Network, Address] = {}
    for pool in enabled_pools(record):
        subnet = pool.network
        if mode in _ROUTED_IPVLAN:
            gateways[subnet] = IPv4Address(0) if subnet.version == 4 else IPv6Address(0)
        elif pool.gateway and not _is_cut_off(record):
            gateways[subnet] = ip_address(pool.gateway)
    return ChildNetwork(record, pools, gateways, parent=parent_of(record), mode=number, flags=flags)


def parent_of(record: NetworkRecord) -> str:
    """Return the link that a macvlan or ipvlan network sits on: the one asked for, or a dummy of its own."""
    return record.options.get("parent", "") or dummy_name(record)


def dummy_name(record: NetworkRecord) -> str:
    """Return the name of the dummy link under a network without a parent."""
    return f"dm-{record.short_id}"


def _is_cut_off(record: NetworkRecord) -> bool:
    return record.internal or not record.options.get("parent")


def _child_modes(record: NetworkRecord) -> tuple[int, int, str]:
    """Return the kernel's mode and flags, and the mode's name; raises Internal with moby's texts."""
    driver = record.driver
    if record.options.get("parent") == "lo":
        raise Internal(f"loopback interface is not a valid {driver} parent link")
    if driver == "macvlan":
        mode = record.options.get("macvlan_mode", "") or "bridge"
        if mode not in _MACVLAN_MODES:
            raise Internal(f"requested macvlan mode '{mode}' is not valid, 'bridge' mode is the macvlan driver default")
        return _MACVLAN_MODES[mode], 0, mode
    mode = record.options.get("ipvlan_mode", "") or "l2"
    if mode not in _IPVLAN_MODES:
        raise Internal(f"requested ipvlan mode '{mode}' is not valid, 'l2' mode is the ipvlan driver default")
    flag = record.options.get("ipvlan_flag", "") or "bridge"
    if flag not in _IPVLAN_FLAGS:
        raise Internal(f"requested ipvlan flag '{flag}' is not valid, 'bridge' is the ipvlan driver default")
    return _IPVLAN_MODES[mode], _IPVLAN_FLAGS[flag], mode


def check_conflicts(new: LiveNetwork, others: Iterable[LiveNetwork]) -> None:
    """Check that a network does not get in the way of others of its kind; raises Forbidden and Internal."""
    for other in others:
        if isinstance(new, BridgeNetwork) and isinstance(other, BridgeNetwork):
            _check_bridges(new, other)
        elif isinstance(new, ChildNetwork) and isinstance(other, ChildNetwork):
            _check_parents(new, other)


def _check_bridges(new: BridgeNetwork, other: BridgeNetwork) -> None:
    reason = ""
    if new.bridge == other.bridge:
        reason = "networks have same bridge name"
    for version in (4, 6):
        mine = [pool.subnet for pool in new.pools if pool.subnet.version == version]
        theirs = [pool.subnet for pool in other.pools if pool.subnet.version == version]
        if not reason and any(a.overlaps(b) for a in mine for b in theirs):
            reason = f"networks have overlapping IPv{version}"
    if reason:
        raise Forbidden(
            f"cannot create network {new.record.id} ({new.bridge}): conflicts with network "
            f"{other.record.id} ({other.bridge}): {reason}"
        )


def _check_parents(new: ChildNetwork, other: ChildNetwork) -> None:
    if new.parent != other.parent or new.record.driver != other.record.driver:
        return
    if new.record.driver == "ipvlan":
        raise Internal(f"network {dummy_name(other.record)} is already using parent interface {new.parent}")
    if new.record.options.get("macvlan_mode") == "passthru":
        raise Internal(
            f"cannot use mode passthru, macvlan network {other.record.id} is already using parent interface "
            f"{new.parent}"
        )
    if other.record.options.get("macvlan_mode") == "passthru":
        raise Internal(
            f"macvlan network {other.record.id} is already using parent interface {new.parent} in mode passthru"
        )
