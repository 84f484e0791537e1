"""The rules of our own nftables table, as text. No I/O.

One table of family inet an engine, named as the instance; it is replaced as a whole, in one transaction,
when networks come and go. A published port is an element of a map, so that publishing costs one small
transaction. What comes in through prerouting for a local address is looked up in the maps and sent to the
container; what is forwarded to a bridge must have come that way, belong to a known connection, come from
the bridge itself or go where the network's gateway mode opens it. Nothing else passes from one bridge to
another, nor from outside.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from engine.networks.ports import PublishedPort

Network = IPv4Network | IPv6Network

NAT, NAT_UNPROTECTED, ROUTED, ISOLATED = "nat", "nat-unprotected", "routed", "isolated"


@dataclass(frozen=True)
class FamilyRules:
    """What the rules of one bridge depend on, of one family of addresses.

    ``mode`` is Docker's gateway mode; ``source`` what outgoing packets are rewritten to in place of the
    host's own choice.
    """

    subnet: Network
    mode: str = NAT
    source: IPv4Address | IPv6Address | None = None


@dataclass(frozen=True)
class BridgeRules:
    """What the rules of one bridge depend on; ``key`` names its chain.

    ``internal`` keeps all else out and its containers in; ``trusted`` are links of the host from where
    published ports may be reached at the container's own address.
    """

    key: str
    bridge: str
    families: tuple[FamilyRules, ...]
    icc: bool = True
    masquerade: bool = True
    internal: bool = False
    trusted: tuple[str, ...] = ()


def build_table(table: str, bridges: Sequence[BridgeRules], ports: Iterable[PublishedPort]) -> str:
    """Return a script that puts the table in place with all ports, whatever was there: one transaction."""
    name = f"inet {table}"
    names = ", ".join(f'"{item.bridge}"' for item in bridges)
    guard = f"    iifname {{ {names} }} ip daddr 127.0.0.0/8 counter drop" if bridges else ""
    local = f"    ip saddr 127.0.0.0/8 oifname {{ {names} }} counter masquerade" if bridges else ""
    chains = "".join(_chain(item) for item in bridges)
    script = f"""\
add table {name}
delete table {name}
table {name} {{
  map published {{ type inet_proto . inet_service : ipv4_addr . inet_service; }}
  map published_at {{ type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }}
  map published6 {{ type inet_proto . inet_service : ipv6_addr . inet_service; }}
  map published6_at {{ type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service; }}
  set opened {{ type ipv4_addr . inet_proto . inet_service; }}
  set opened6 {{ type ipv6_addr . inet_proto . inet_service; }}
  chain guard {{
    type filter hook prerouting priority raw; policy accept;
{guard}
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    ip daddr 127.0.0.0/8 return
    fib daddr type local jump publish
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    ip6 daddr ::1 return
    fib daddr type local jump publish
  }}
  chain publish {{
    dnat ip to ip daddr . meta l4proto . th dport map @published_at
    dnat ip to meta l4proto . th dport map @published
    dnat ip6 to ip6 daddr . meta l4proto . th dport map @published6_at
    dnat ip6 to meta l4proto . th dport map @published6
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
{_lines([local, *_translations(bridges)])}
  }}
{chains}  chain forward {{
    type filter hook forward priority filter; policy accept;
{_lines(_forwarding(bridges))}
  }}
}}
"""
    return script + build_changes(table, add=ports)


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(line for line in lines if line)


def _translations(bridges: Iterable[BridgeRules]) -> list[str]:
    lines: list[str] = []
    for item in bridges:
        for part in item.families:
            word = family(part.subnet)
            # A container that calls a published port must not be answered by its peer directly, past the translation.
            lines.append(f'    {word} saddr {part.subnet} oifname "{item.bridge}" ct status dnat counter masquerade')
            if item.masquerade and not item.internal and part.mode in (NAT, NAT_UNPROTECTED):
                target = f"snat {word} to {part.source}" if part.source is not None else "masquerade"
                lines.append(f'    {word} saddr {part.subnet} oifname != "{item.bridge}" counter {target}')
    return lines


def _forwarding(bridges: Sequence[BridgeRules]) -> list[str]:
    lines = [
        f'    iifname "{item.bridge}" oifname != "{item.bridge}" counter drop' for item in bridges if item.internal
    ]
    if bridges:
        elements = ", ".join(f'"{item.bridge}" : jump to_{item.key}' for item in bridges)
        lines.append(f"    oifname vmap {{ {elements} }}")
    return lines


def _chain(item: BridgeRules) -> str:
    between = "accept" if item.icc else "drop"
    inside = f'iifname "{item.bridge}" counter {between}'
    if item.internal:
        lines = [inside, "counter drop"]
    else:
        lines = ["ct state established,related accept", "ct status dnat accept", inside]
        for part in item.families:
            lines += _openings(part)
        if item.trusted:
            trusted = ", ".join(f'"{name}"' for name in item.trusted)
            lines += [
                f"iifname {{ {trusted} }} {family(part.subnet)} daddr . meta l4proto . th dport @{_opened(part)} accept"
                for part in item.families
            ]
        lines.append("counter drop")
    return f"  chain to_{item.key} {{\n" + "".join(f"    {line}\n" for line in lines) + "  }\n"


def _openings(part: FamilyRules) -> list[str]:
    word = family(part.subnet)
    if part.mode == NAT_UNPROTECTED:
        return [f"{word} daddr {part.subnet} counter accept"]
    if part.mode == ROUTED:
        ping = "icmp" if part.subnet.version == 4 else "ipv6-icmp"
        return [
            f"{word} daddr . meta l4proto . th dport @{_opened(part)} accept",
            f"{word} daddr {part.subnet} meta l4proto {ping} accept",
        ]
    return []


def _opened(part: FamilyRules) -> str:
    return "opened" if part.subnet.version == 4 else "opened6"


def build_changes(table: str, *, add: Iterable[PublishedPort] = (), remove: Iterable[PublishedPort] = ()) -> str:
    """Return a script that takes out and puts in published ports, in that order; empty for none.

    Ports that the rules cannot serve (an IPv6 host address and a container without IPv6) are left out.
    """
    lines = [f"delete element inet {table} {_map_of(port)} {{ {_key_of(port)} }}" for port in remove if is_ruled(port)]
    lines += [f"add element inet {table} {_map_of(port)} {{ {_element_of(port)} }}" for port in add if is_ruled(port)]
    return "".join(line + "\n" for line in dict.fromkeys(lines))


def build_removal(table: str) -> str:
    """Return a script that removes the table; that there is none is no error."""
    return f"add table inet {table}\ndelete table inet {table}\n"


def is_ruled(port: PublishedPort) -> bool:
    """Whether the rules send a port's packets to its container: DNAT stays within a family of addresses."""
    return port.host_address.version == port.container_address.version


def family(network: Network) -> str:
    """Return nft's word for a family of addresses."""
    return "ip" if network.version == 4 else "ip6"


def _map_of(port: PublishedPort) -> str:
    if not port.host_port:
        return "opened" if port.container_address.version == 4 else "opened6"
    name = "published" if port.host_address.version == 4 else "published6"
    return name if port.host_address.is_unspecified else f"{name}_at"


def _key_of(port: PublishedPort) -> str:
    if not port.host_port:
        return f"{port.container_address} . {port.protocol} . {port.container_port}"
    key = f"{port.protocol} . {port.host_port}"
    return key if port.host_address.is_unspecified else f"{port.host_address} . {key}"


def _element_of(port: PublishedPort) -> str:
    if not port.host_port:
        return _key_of(port)
    return f"{_key_of(port)} : {port.container_address} . {port.container_port}"
