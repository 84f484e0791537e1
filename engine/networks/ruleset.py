"""The rules of our own nftables table, as text. No I/O.

One table of family inet an engine, named as the instance. Chains never change while the engine runs: a
published port is an element of a map, so that publishing costs one small transaction. What comes in
through prerouting for a local address is looked up in the maps and sent to the container; what leaves
for the bridge must have come that way, belong to a known connection or come from the bridge itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from engine.networks.ports import PublishedPort

Network = IPv4Network | IPv6Network


@dataclass(frozen=True)
class BridgeRules:
    """What the rules depend on."""

    table: str
    bridge: str
    subnets: tuple[Network, ...]
    icc: bool = True
    masquerade: bool = True


def build_table(rules: BridgeRules, ports: Iterable[PublishedPort]) -> str:
    """Return a script that puts the table in place with all ports, whatever was there: one transaction."""
    table, bridge = f"inet {rules.table}", f'"{rules.bridge}"'
    # A container that calls a published port must not be answered by its peer directly, past the translation.
    inside = "\n".join(
        f"    {family(subnet)} saddr {subnet} oifname {bridge} ct status dnat counter masquerade"
        for subnet in rules.subnets
    )
    masquerade = "\n".join(
        f"    {family(subnet)} saddr {subnet} oifname != {bridge} counter masquerade"
        for subnet in rules.subnets
        if rules.masquerade
    )
    between = "accept" if rules.icc else "drop"
    script = f"""\
add table {table}
delete table {table}
table {table} {{
  map published {{ type inet_proto . inet_service : ipv4_addr . inet_service; }}
  map published_at {{ type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }}
  map published6 {{ type inet_proto . inet_service : ipv6_addr . inet_service; }}
  map published6_at {{ type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service; }}
  chain guard {{
    type filter hook prerouting priority raw; policy accept;
    iifname {bridge} ip daddr 127.0.0.0/8 counter drop
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
    ip saddr 127.0.0.0/8 oifname {bridge} counter masquerade
{inside}
{masquerade}
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    oifname {bridge} jump to_containers
  }}
  chain to_containers {{
    ct state established,related accept
    ct status dnat accept
    iifname {bridge} counter {between}
    counter drop
  }}
}}
"""
    return script + build_changes(rules.table, add=ports)


def build_changes(table: str, *, add: Iterable[PublishedPort] = (), remove: Iterable[PublishedPort] = ()) -> str:
    """Return a script that takes out and puts in published ports, in that order; empty for none.

    Ports that the rules cannot serve (an IPv6 host address and a container without IPv6) are left out.
    """
    lines = [f"delete element inet {table} {_map_of(port)} {{ {_key_of(port)} }}" for port in remove if is_ruled(port)]
    lines += [f"add element inet {table} {_map_of(port)} {{ {_element_of(port)} }}" for port in add if is_ruled(port)]
    return "".join(line + "\n" for line in lines)


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
    name = "published" if port.host_address.version == 4 else "published6"
    return name if port.host_address.is_unspecified else f"{name}_at"


def _key_of(port: PublishedPort) -> str:
    key = f"{port.protocol} . {port.host_port}"
    return key if port.host_address.is_unspecified else f"{port.host_address} . {key}"


def _element_of(port: PublishedPort) -> str:
    return f"{_key_of(port)} : {port.container_address} . {port.container_port}"
