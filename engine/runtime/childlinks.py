"""Netlink messages for links that sit on another one: macvlan, ipvlan, VLANs, and the dummies under them. Pure.

Sources: linux/if_link.h.
"""

from __future__ import annotations

import socket
import struct

from engine.runtime.netlink import (
    IFLA_ADDRESS,
    IFLA_IFALIAS,
    IFLA_IFNAME,
    IFLA_INFO_DATA,
    IFLA_INFO_KIND,
    IFLA_LINK,
    IFLA_LINKINFO,
    IFLA_MTU,
    IFLA_NET_NS_FD,
    LINK,
    NLM_F_CREATE,
    NLM_F_EXCL,
    RTM_NEWLINK,
    Message,
    attribute,
    mac_bytes,
    number_attribute,
    text_attribute,
)

_MACVLAN_MODE, _IPVLAN_MODE, _IPVLAN_FLAGS, _VLAN_ID = 1, 1, 2, 1


def build_child(
    kind: str, name: str, parent: int, netns_fd: int, *, mode: int, flags: int = 0, mac: str = "", mtu: int = 0
) -> Message:
    """Return the request for a ``macvlan`` or ``ipvlan`` link in a namespace, on a parent of this one."""
    body = LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + text_attribute(IFLA_IFNAME, name)
    body += number_attribute(IFLA_LINK, parent) + number_attribute(IFLA_NET_NS_FD, netns_fd)
    if mac:
        body += attribute(IFLA_ADDRESS, mac_bytes(mac))
    if mtu:
        body += number_attribute(IFLA_MTU, mtu)
    if kind == "macvlan":
        data = number_attribute(_MACVLAN_MODE, mode)
    else:
        data = attribute(_IPVLAN_MODE, struct.pack("=H", mode)) + attribute(_IPVLAN_FLAGS, struct.pack("=H", flags))
    info = text_attribute(IFLA_INFO_KIND, kind) + attribute(IFLA_INFO_DATA, data)
    body += attribute(IFLA_LINKINFO, info)
    return Message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, f"{kind} {name}")


def build_dummy(name: str, mac: str) -> Message:
    """Return the request for a dummy link."""
    body = LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + text_attribute(IFLA_IFNAME, name)
    body += attribute(IFLA_ADDRESS, mac_bytes(mac))
    body += attribute(IFLA_LINKINFO, text_attribute(IFLA_INFO_KIND, "dummy"))
    return Message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, f"dummy {name}")


def build_vlan(name: str, parent: int, vlan_id: int) -> Message:
    """Return the request for a link that carries one VLAN (802.1Q) of its parent."""
    body = LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + text_attribute(IFLA_IFNAME, name)
    body += number_attribute(IFLA_LINK, parent)
    info = text_attribute(IFLA_INFO_KIND, "vlan")
    info += attribute(IFLA_INFO_DATA, attribute(_VLAN_ID, struct.pack("=H", vlan_id)))
    body += attribute(IFLA_LINKINFO, info)
    return Message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, f"vlan {name}")


def build_alias(name: str, alias: str) -> Message:
    """Return the request that notes something on a link, for whoever looks at it."""
    body = LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + text_attribute(IFLA_IFNAME, name)
    body += attribute(IFLA_IFALIAS, alias.encode())
    return Message(RTM_NEWLINK, 0, body, f"alias of {name}")
