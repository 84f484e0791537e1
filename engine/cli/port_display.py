"""The PORTS column of ``ps``: published and exposed ports, neighbouring ones as a range, as Docker shows them."""

from __future__ import annotations

from collections.abc import Sequence

from engine.model.base import given
from engine.model.inspect import PortSummary


def join_host_port(host: str, port: str) -> str:
    """Return ``host:port``, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def display_ports(ports: Sequence[PortSummary]) -> str:
    """Return the ports of a container: ``0.0.0.0:8000-8002->8000-8002/tcp, 53/udp``."""
    groups: dict[str, tuple[int, int]] = {}
    shown: list[str] = []
    mappings: list[str] = []
    for port in sorted(ports, key=_order):
        address, public, current = given(port.ip, ""), given(port.public_port, 0), port.private_port
        key = port.type
        if address:
            if public != current:
                mappings.append(f"{join_host_port(address, str(public))}->{current}/{port.type}")
                continue
            key = f"{address}/{port.type}"
        group = groups.get(key)
        if group is not None and current == group[1] + 1:
            groups[key] = (group[0], current)
            continue
        if group is not None:
            shown.append(_group(key, *group))
        groups[key] = (current, current)
    shown += [_group(key, *group) for key, group in groups.items()]
    return ", ".join(shown + mappings)


def _order(port: PortSummary) -> tuple[int, str, int, str]:
    return port.private_port, given(port.ip, ""), given(port.public_port, 0), port.type


def _group(key: str, first: int, last: int) -> str:
    address, slash, protocol = key.rpartition("/")
    span = str(first) if first == last else f"{first}-{last}"
    if slash:
        return f"{join_host_port(address, span)}->{span}/{protocol}"
    return f"{span}/{protocol}"
