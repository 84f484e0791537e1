"""Checks of a new container's network options, with moby's texts. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from engine.errors import InvalidArgument, NotFound, NotSupported
from engine.model.base import given
from engine.model.network import EndpointSettings
from engine.model.record import ContainerRecord
from engine.networks.builtin import DRIVERS, HOST, NONE
from engine.networks.ports import parse_host_address, parse_host_port, parse_port
from engine.runtime.netlink import mac_bytes

_CONTAINER = "container:"


def check_record(record: ContainerRecord, find: Callable[[str], ContainerRecord]) -> list[str]:
    """Return warnings; raises InvalidArgument or NotSupported for what cannot work."""
    mode = record.host_config.network_mode
    _check_ports(record)
    if mode.startswith(_CONTAINER):
        with suppress(NotFound):  # Docker looks for it when the container starts
            _check_joined(record, find(mode.removeprefix(_CONTAINER)))
        return []
    if any(name not in DRIVERS for name in (mode, *record.networks)):
        # Docker takes a network at creation that it does not know, and refuses the start. A 404 here would
        # make its command line pull the image.
        return []
    _check_combination(record, mode)
    for name, endpoint in record.networks.items():
        _check_endpoint(name, endpoint)
    return []


def _check_joined(record: ContainerRecord, other: ContainerRecord) -> None:
    if other.id == record.id:
        raise InvalidArgument("cannot join own network namespace")


def _check_combination(record: ContainerRecord, mode: str) -> None:
    others = [name for name in record.networks if name != mode]
    if not others:
        return
    if HOST in (mode, *others):
        if mode != HOST:
            raise InvalidArgument(
                "cannot connect container to host network - container must be created in host network mode"
            )
        raise InvalidArgument(
            "container sharing network namespace with another container or host cannot be connected to any other "
            "network"
        )
    raise InvalidArgument(
        "container cannot be connected to multiple networks with one of the networks in private (none) mode"
        if NONE in (mode, *others)
        else f"container cannot be connected to network {others[0]}"
    )


def _check_endpoint(network: str, endpoint: EndpointSettings) -> None:
    problems: list[str] = []
    asked = endpoint.ipam_config
    if asked is not None and (given(asked.ipv4_address, "") or given(asked.ipv6_address, "")):
        problems.append("user specified IP address is supported on user defined networks only")
    if endpoint.aliases:
        problems.append("network-scoped alias is supported only for containers in user defined networks")
    if problems:
        raise InvalidArgument("invalid endpoint settings:\n" + "\n".join(problems))
    if endpoint.mac_address:
        try:
            mac_bytes(endpoint.mac_address)
        except ValueError as error:
            raise InvalidArgument(f"invalid MAC address {endpoint.mac_address}") from error
    if endpoint.links:
        raise NotSupported("links between containers (--link) are not supported")
    for option in endpoint.driver_opts or {}:
        raise NotSupported(f"driver option {option} of network {network} is not supported")


def _check_ports(record: ContainerRecord) -> None:
    for key in given(record.config.exposed_ports, {}):
        first, _, last = key.partition("/")[0].partition("-")
        if not last:
            parse_port(key)
        elif not (first.isdigit() and last.isdigit()):
            raise InvalidArgument(f"invalid port: '{key}': invalid syntax")
    for key, places in (record.host_config.port_bindings or {}).items():
        parse_port(key)
        for place in places or []:
            parse_host_address(place.host_ip)
            parse_host_port(place.host_port)
