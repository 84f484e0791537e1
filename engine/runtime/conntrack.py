"""The kernel's table of connections, as far as it stands in the way: forgotten UDP flows.

A UDP flow lives as long as its sender goes on. One that began before a port was published, or while
another container had it, keeps its old way for ever unless it is deleted. Source: linux/netfilter/
nfnetlink_conntrack.h; the kernel filters dumps from 5.8 on.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Collection

from engine.runtime.netlink import Message, NetlinkSocket, attribute, attributes

_PROTOCOL = 12
_SUBSYSTEM = 1
_GET, _DELETE = (_SUBSYSTEM << 8) | 1, (_SUBSYSTEM << 8) | 2
_NESTED = 0x8000
_ORIGINAL, _ID, _FILTER = 1, 12, 25
_TUPLE_PROTO = 2
_PROTO_NUMBER, _PROTO_TO_PORT = 1, 3
_FILTER_FLAGS = 1
_BY_PROTOCOL = 1 << 3


def forget_udp(ports: Collection[int], *, ipv6: bool = False) -> int:
    """Delete the flows that were begun towards UDP ports of this host; return how many.

    Blocking, some 10 ms: the kernel walks through its whole table, twice with ``ipv6``. In the
    calling thread's network namespace. Raises OSError where the kernel cannot.
    """
    deleted = 0
    with NetlinkSocket(_PROTOCOL) as netlink:
        for family in (socket.AF_INET, socket.AF_INET6) if ipv6 else (socket.AF_INET,):
            for body in netlink.dump(_GET, build_udp_filter(family)):
                found = dict(attributes(body[4:]))
                if udp_port(found.get(_ORIGINAL, b"")) not in ports:
                    continue
                wanted = attribute(_ORIGINAL | _NESTED, found[_ORIGINAL]) + attribute(_ID, found.get(_ID, b""))
                try:
                    netlink.request(Message(_DELETE, 0, _head(family) + wanted, "connection"))
                except OSError as error:
                    if error.errno != errno.ENOENT:  # it ended by itself
                        raise
                else:
                    deleted += 1
    return deleted


def build_udp_filter(family: int) -> bytes:
    """Return the body of a request for the UDP flows of a family of addresses."""
    protocol = attribute(_TUPLE_PROTO | _NESTED, attribute(_PROTO_NUMBER, bytes([socket.IPPROTO_UDP])))
    flags = attribute(_FILTER_FLAGS, struct.pack("=I", _BY_PROTOCOL))
    return _head(family) + attribute(_ORIGINAL | _NESTED, protocol) + attribute(_FILTER | _NESTED, flags)


def udp_port(flow: bytes) -> int:
    """Return the port that a flow was sent to, 0 for one that is not UDP."""
    protocol = dict(attributes(dict(attributes(flow)).get(_TUPLE_PROTO, b"")))
    if protocol.get(_PROTO_NUMBER) != bytes([socket.IPPROTO_UDP]):
        return 0
    return int.from_bytes(protocol.get(_PROTO_TO_PORT, b""), "big")


def _head(family: int) -> bytes:
    return struct.pack("=BBH", family, 0, 0)
