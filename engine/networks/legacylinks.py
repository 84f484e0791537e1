"""Links of the default bridge (``docker run --link``): names in /etc/hosts and variables in the environment.

A link is kept by the linked container's ID, so that renaming changes nothing; one whose container was removed is
gone. On user-defined networks links are names of the name server instead. Texts are moby's (daemon/links).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise

from engine.errors import Internal, InvalidArgument, NotFound, NotSupported
from engine.model.base import given
from engine.model.record import ContainerRecord
from engine.networks.ports import PROTOCOLS
from engine.networks.record import BRIDGE, DRIVERS
from engine.networks.validation import CONTAINER

FindContainer = Callable[[str], ContainerRecord]
_UNDEFINED = "This would result in undefined behavior"
_NOT_TOLD = ("HOME", "PATH")


def parse_link(text: str) -> tuple[str, str]:
    """Return name and alias of ``name``, ``name:alias`` or ``/name:/parent/alias``; raises InvalidArgument."""
    if not text:
        raise InvalidArgument("empty string specified for links")
    name, colon, alias = text.partition(":")
    if ":" in alias or not name:
        raise InvalidArgument(f"bad format for links: {text}")
    if not colon:
        return name, name
    if alias.startswith("/") or name.startswith("/"):
        return name.removeprefix("/"), alias.rpartition("/")[2]
    return name, alias


def resolve_links(record: ContainerRecord, find: FindContainer, *, icc: bool) -> dict[str, str]:
    """Return the IDs of the containers that a new one is linked to, by alias; raises InvalidArgument, NotSupported."""
    mode, asked = record.host_config.network_mode, record.host_config.links or []
    if not asked:
        return {}
    if mode.startswith(CONTAINER):
        raise InvalidArgument(f"conflicting options: container type network can't be used with links. {_UNDEFINED}")
    host = f"conflicting options: host type networking can't be used with links. {_UNDEFINED}"
    if mode == "host":
        raise InvalidArgument(host)
    if mode not in DRIVERS:
        return {}
    if not icc:
        raise NotSupported(
            "links between containers (--link) are not supported while icc is false",
            hint="put the containers into one network",
        )
    found: dict[str, str] = {}
    for text in asked:
        name, alias = parse_link(text)
        child = _find_linked(name, find)
        if child.host_config.network_mode == "host":
            raise InvalidArgument(host)
        found[alias] = child.id
    return found


def _find_linked(name: str, find: FindContainer) -> ContainerRecord:
    while True:
        try:
            child = find(name)
        except NotFound as error:
            raise InvalidArgument(f"could not get container for {name}: {error.message}") from error
        if not child.host_config.network_mode.startswith(CONTAINER):
            return child
        name = child.host_config.network_mode.removeprefix(CONTAINER)


def linked(record: ContainerRecord, find: FindContainer) -> dict[str, ContainerRecord]:
    """Return the containers that one is linked to, by alias, without those that are no more."""
    found: dict[str, ContainerRecord] = {}
    for alias, child_id in record.links.items():
        try:
            found[alias] = find(child_id)
        except NotFound:
            continue
    return found


def link_environment(record: ContainerRecord, find: FindContainer) -> list[str]:
    """Return the variables that tell a container of its links; raises Internal with moby's texts."""
    if BRIDGE not in record.networks:
        return []
    found: list[str] = []
    for alias, child in linked(record, find).items():
        path = f"/{record.name.removeprefix('/')}/{alias}"
        if child.state.status not in ("running", "paused"):
            raise Internal(f"Cannot link to a non running container: /{child.name.removeprefix('/')} AS {path}")
        endpoint = child.networks.get(BRIDGE)
        if endpoint is None:
            raise Internal(f"container {child.id} not attached to default bridge network")
        ports = _ports(given(child.config.exposed_ports, {}), child.host_config.port_bindings or {})
        found += variables(alias, path, endpoint.ip_address, ports, child.config.env or [])
    return found


def _ports(*keys: Iterable[str]) -> list[tuple[int, str]]:
    found = set()
    for key in (item for group in keys for item in group):
        number, _, protocol = key.partition("/")
        if number.isdigit():
            found.add((int(number), protocol or "tcp"))
    return sorted(found, key=lambda port: (PROTOCOLS.index(port[1]) if port[1] in PROTOCOLS else 9, port[0]))


def variables(
    alias: str, path: str, address: str, ports: Iterable[tuple[int, str]], environment: Iterable[str]
) -> list[str]:
    """Return the variables of one link; ``ports`` in order, ``path`` is ``/parent/alias``."""
    name = alias.upper().replace("-", "_")
    numbers = list(ports)
    found: list[str] = []
    for place, (number, protocol) in enumerate(numbers):
        url = f"{protocol}://{address}:{number}"
        if not place:
            found.append(f"{name}_PORT={url}")
        prefix = f"{name}_PORT_{number}_{protocol.upper()}"
        found += [
            f"{prefix}={url}",
            f"{prefix}_ADDR={address}",
            f"{prefix}_PORT={number}",
            f"{prefix}_PROTO={protocol}",
        ]
    for (first, protocol), (last, _) in _ranges(numbers):
        prefix = f"{name}_PORT_{first}_{protocol.upper()}"
        found += [
            f"{prefix}_START={protocol}://{address}:{first}",
            f"{prefix}_PORT_START={first}",
            f"{prefix}_END={protocol}://{address}:{last}",
            f"{prefix}_PORT_END={last}",
        ]
    found.append(f"{name}_NAME={path}")
    for item in environment:
        key, has_value, value = item.partition("=")
        if has_value and key not in _NOT_TOLD:
            found.append(f"{name}_ENV_{key}={value}")
    return found


def _ranges(ports: list[tuple[int, str]]) -> list[tuple[tuple[int, str], tuple[int, str]]]:
    """Return first and last of each run of ports that follow one another."""
    found: list[tuple[tuple[int, str], tuple[int, str]]] = []
    if not ports:
        return found
    start = ports[0]
    for before, now in pairwise([*ports, (-1, "")]):
        if now[0] == before[0] + 1 and now[1] == before[1]:
            continue
        if before != start:
            found.append((start, before))
        start = now
    return found


def hosts_lines(record: ContainerRecord, find: FindContainer) -> list[tuple[str, str]]:
    """Return (names, address) for /etc/hosts of a container with links."""
    if BRIDGE not in record.networks:
        return []
    lines: list[tuple[str, str]] = []
    for alias, child in linked(record, find).items():
        endpoint = child.networks.get(BRIDGE)
        if endpoint is None:
            continue
        names = names_of(alias, child)
        lines += [(names, text) for text in (endpoint.ip_address, endpoint.global_ipv6_address) if text]
    return lines


def names_of(alias: str, child: ContainerRecord) -> str:
    """Return the names by which a linked container is found: the alias, its host name and its own name."""
    name = child.name.removeprefix("/")
    return " ".join([alias, child.config.hostname, *([name] if name != alias else [])])


def shown_links(record: ContainerRecord, find: FindContainer) -> list[str] | None:
    """Return a container's links as inspect shows them."""
    name = record.name.removeprefix("/")
    found = [
        f"/{child.name.removeprefix('/')}:/{name}/{alias}" for alias, child in sorted(linked(record, find).items())
    ]
    return found or None
