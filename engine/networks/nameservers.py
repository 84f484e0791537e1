"""The host's nameservers as networks: no subnet is chosen that would hide them."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

from engine.networks import files


def nameserver_networks() -> list[IPv4Network | IPv6Network]:
    """Return the addresses of the host's nameservers, each a network of its own."""
    return [ip_network(text) for text in files.read_host_resolv_conf().nameservers]
