"""``-p`` and ``--expose``: what was typed as the ports of the API.

Pure functions; they raise ValueError with the texts of go-connections, which docker prints.
"""

from __future__ import annotations

import ipaddress

from engine.model.container import PortBinding, PortMap


def parse_port_range(text: str) -> tuple[int, int]:
    """Return (first, last) of ``80`` or ``80-90``; raises ValueError with go-connections' text."""
    if not text:
        raise ValueError("empty string specified for ports")
    first, dash, last = text.partition("-")
    start, end = _port(first), _port(last if dash else first)
    if end < start:
        raise ValueError(f"invalid range specified for port: {text}")
    return start, end


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f'strconv.ParseUint: parsing "{text}": invalid syntax')
    if int(text) > 65535:
        raise ValueError(f'strconv.ParseUint: parsing "{text}": value out of range')
    return int(text)


def parse_publish(specs: list[str]) -> tuple[dict[str, dict[str, object]], PortMap]:
    """Return exposed ports and bindings of ``-p`` values: ``[ip:][host:]container[/proto]``, with ranges.

    Raises ValueError with Docker's texts.
    """
    exposed: dict[str, dict[str, object]] = {}
    bindings: PortMap = {}
    for spec in specs:
        for port, binding in parse_port_spec(_short_notation(spec)):
            exposed[port] = {}
            bindings[port] = [*(bindings.get(port) or []), binding]
    return exposed, bindings


def _short_notation(spec: str) -> str:
    """Return ``target=80,published=8080,protocol=tcp`` in the short notation, others unchanged."""
    if "=" not in spec:
        return spec
    fields = {"protocol": "tcp", "published": "", "target": ""}
    for part in spec.split(","):
        key, equals, value = part.partition("=")
        if not equals or not key:
            raise ValueError(f"invalid publish opts format (should be name=value but got '{part}')")
        fields[key] = value
    return f"{fields['published']}:{fields['target']}/{fields['protocol']}"


def parse_port_spec(spec: str) -> list[tuple[str, PortBinding]]:
    """Return the (port, binding) pairs of one short spec; raises ValueError with go-connections' texts."""
    host_part, _, container = spec.rpartition(":")
    host_ip, host_port = "", host_part
    if ":" in host_part:
        host_ip, _, host_port = host_part.rpartition(":")
    host_ip = host_ip.removeprefix("[").removesuffix("]")
    if host_ip:
        try:
            ipaddress.ip_address(host_ip.partition("%")[0])
        except ValueError:
            raise ValueError(f"invalid IP address: {host_ip}") from None
    container, _, protocol = container.partition("/")
    protocol = protocol.lower() or "tcp"
    if not container:
        raise ValueError(f"no port specified: {spec}<empty>")
    try:
        start, end = parse_port_range(container)
    except ValueError:
        raise ValueError(f"invalid containerPort: {container}") from None
    host_start = host_end = 0
    if host_port:
        try:
            host_start, host_end = parse_port_range(host_port)
        except ValueError:
            raise ValueError(f"invalid hostPort: {host_port}") from None
        if end - start != host_end - host_start and end != start:
            raise ValueError(f"invalid ranges specified for container and host Ports: {container} and {host_port}")
    if protocol not in ("tcp", "udp", "sctp"):
        raise ValueError(f"invalid proto: {protocol}")
    pairs = []
    for offset in range(end - start + 1):
        chosen = ""
        if host_port:
            chosen = str(host_start + offset)
            if start == end and host_start != host_end:
                chosen = f"{host_start}-{host_end}"
        pairs.append((f"{start + offset}/{protocol}", PortBinding(host_ip=host_ip, host_port=chosen)))
    return pairs


def parse_expose(text: str) -> list[str]:
    """Return the ports of one ``--expose``: ``80``, ``80/udp``, ``80-90``."""
    if ":" in text:
        raise ValueError(f"invalid port format for --expose: {text}")
    port, _, protocol = text.partition("/")
    try:
        start, end = parse_port_range(port)
    except ValueError as error:
        raise ValueError(f"invalid range format for --expose: {text}, error: {error}") from None
    protocol = protocol.lower() or "tcp"
    if protocol not in ("tcp", "udp", "sctp"):
        raise ValueError(f"invalid proto: {protocol}")
    return [f"{number}/{protocol}" for number in range(start, end + 1)]
