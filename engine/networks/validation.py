"""Checks of a container's network options, with moby's texts. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address

from engine.errors import InvalidArgument, NotFound, NotSupported
from engine.model.base import given
from engine.model.network import EndpointIPAMConfig, EndpointSettings
from engine.model.record import ContainerRecord
from engine.networks.bridgeoptions import check_interface_name
from engine.networks.ipam import join_problems
from engine.networks.ports import parse_host_address, parse_host_port, parse_port
from engine.networks.record import DRIVERS, HOST, NONE, NetworkRecord
from engine.runtime.netlink import mac_bytes

CONTAINER = "container:"
SETUP_FAILED = "failed to set up container networking"
IFNAME = "com.docker.network.endpoint.ifname"
SYSCTLS = "com.docker.network.endpoint.sysctls"
TO_HOST = "cannot connect container to host network - container must be created in host network mode"
FROM_HOST = "cannot disconnect container from host network - container was created in host network mode"
SHARED = "container sharing network namespace with another container or host cannot be connected to any other network"
NOTHING_ELSE = "container cannot be connected to multiple networks with one of the networks in private (none) mode"
_SYSCTL_ROOMS = ("ipv4", "ipv6", "mpls")
FindNetwork = Callable[[str], NetworkRecord | None]


def check_record(
    record: ContainerRecord, find: Callable[[str], ContainerRecord], find_network: FindNetwork
) -> list[str]:
    """Return warnings; raises InvalidArgument or NotSupported for what cannot work.

    Docker takes a network at creation that it does not know, and refuses the start. A 404 here would make
    its command line pull the image.
    """
    mode = record.host_config.network_mode
    _check_ports(record)
    if mode.startswith(CONTAINER):
        with suppress(NotFound):  # Docker looks for it when the container starts
            _check_joined(record, find(mode.removeprefix(CONTAINER)))
        return []
    problems: list[str] = []
    for name, endpoint in record.networks.items():
        try:
            check_endpoint(find_network(name), name, endpoint)
        except InvalidArgument as error:
            problems.append(f"invalid config for network {name}: {error.message}")
    if problems:
        raise InvalidArgument(join_problems(problems))
    return []


def _check_joined(record: ContainerRecord, other: ContainerRecord) -> None:
    if other.id == record.id:
        raise InvalidArgument("cannot join own network namespace")


def check_start(record: ContainerRecord) -> None:
    """Refuse networks that exclude each other, when a container starts as Docker does; raises InvalidArgument."""
    mode = record.host_config.network_mode
    if HOST in record.networks and mode != HOST:
        raise InvalidArgument(f"{SETUP_FAILED}: {TO_HOST}")
    if mode == HOST and any(name != HOST for name in record.networks):
        raise InvalidArgument(f"{SETUP_FAILED}: {SHARED}")
    if NONE in record.networks and len(record.networks) > 1:
        raise InvalidArgument(f"{SETUP_FAILED}: {NOTHING_ELSE}")


def check_endpoint(network: NetworkRecord | None, name: str, endpoint: EndpointSettings) -> None:
    """Check what is asked of an endpoint; ``network`` None where it does not exist (yet).

    Raises InvalidArgument with all faults, NotSupported for driver options that are not there.
    """
    asked = endpoint.ipam_config or EndpointIPAMConfig()
    problems: list[str] = []
    if name in DRIVERS:
        if given(asked.ipv4_address, "") or given(asked.ipv6_address, ""):
            problems.append("user specified IP address is supported on user defined networks only")
        if endpoint.aliases:
            problems.append("network-scoped alias is supported only for containers in user defined networks")
        if endpoint.links:
            raise NotSupported(f"links of an endpoint on network {name} are not supported: use HostConfig.Links")
    problems += _form_problems(asked)
    if network is not None:
        problems += [
            problem
            for version, text in ((4, given(asked.ipv4_address, "")), (6, given(asked.ipv6_address, "")))
            if text and (problem := _range_problem(network, version, text))
        ]
    if endpoint.mac_address:
        try:
            mac_bytes(endpoint.mac_address)
        except ValueError as error:
            raise InvalidArgument(f"invalid MAC address {endpoint.mac_address}") from error
    problems += _option_problems(name, endpoint)
    if problems:
        raise InvalidArgument("invalid endpoint settings:\n" + join_problems(problems))


def _form_problems(asked: EndpointIPAMConfig) -> list[str]:
    problems: list[str] = []
    for text, kind, word in (
        (given(asked.ipv4_address, ""), IPv4Address, "IPv4"),
        (given(asked.ipv6_address, ""), IPv6Address, "IPv6"),
    ):
        if text and not (isinstance(address := _address(text), kind) and not address.is_unspecified):
            problems.append(f"invalid {word} address: {text}")
    for text in given(asked.link_local_ips, []):
        address = _address(text)
        if address is None or address.is_unspecified:
            problems.append(f"invalid link-local IP address: {text}")
    return problems


def _range_problem(network: NetworkRecord, version: int, text: str) -> str:
    address = _address(text)
    subnets = [pool.network for pool in network.pools if pool.is_asked and pool.network.version == version]
    if not subnets:
        return "user specified IP address is supported only when connecting to networks with user configured subnets"
    if address is not None and any(address in subnet for subnet in subnets):
        return ""
    return f"no configured subnet or ip-range contain the IP address {text}"


def _option_problems(network: str, endpoint: EndpointSettings) -> list[str]:
    problems: list[str] = []
    for option, value in (endpoint.driver_opts or {}).items():
        if option == SYSCTLS:
            problems += [problem for text in value.split(",") if (problem := _sysctl_problem(text))]
        elif option == IFNAME:
            check_interface_name(value)
            if value == "lo":
                problems.append(f"invalid interface name: {value}")
        elif option.startswith("com.docker.network."):
            raise NotSupported(f"driver option {option} of network {network} is not supported")
    return problems


def parse_link_local(endpoint: EndpointSettings) -> tuple[IPv4Interface | IPv6Interface, ...]:
    """Return the link-local addresses that an interface gets besides its own.

    Raises InvalidArgument with moby's text for others.
    """
    found: list[IPv4Interface | IPv6Interface] = []
    for text in given((endpoint.ipam_config or EndpointIPAMConfig()).link_local_ips, []):
        address = _address(text)
        if address is None or not address.is_link_local:
            raise InvalidArgument(f"invalid link local IP address: {text}")
        if isinstance(address, IPv4Address):
            found.append(IPv4Interface((address, 16)))
        else:
            found.append(IPv6Interface((address, 64)))
    return tuple(found)


def _sysctl_problem(text: str) -> str:
    parts = text.split(".", 4)
    if len(parts) == 5 and parts[1] in _SYSCTL_ROOMS and parts[3] in ("IFNAME", "ifname"):
        place, equals, _ = parts[4].partition("=")
        if equals and "/" not in text.partition("=")[0] and parts[0] == "net" and place:
            return ""
    return (
        f"unrecognised network interface sysctl '{text}'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', "
        "'X' must be 'ipv4', 'ipv6' or 'mpls'"
    )


def parse_sysctls(endpoint: EndpointSettings) -> tuple[tuple[str, str], ...]:
    """Return an endpoint's settings of its interface as (path beneath /proc/sys/net, value); checked already."""
    found: list[tuple[str, str]] = []
    for text in (endpoint.driver_opts or {}).get(SYSCTLS, "").split(","):
        if text:
            key, _, value = text.partition("=")
            _, room, kind, _, name = key.split(".", 4)
            found.append((f"{room}/{kind}/IFNAME/{name.replace('.', '/')}", value))
    return tuple(found)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


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
