"""Netlink messages of our own: links, addresses and routes as bytes, and the socket they go through.

The encoding is pure. A socket belongs to the network namespace of the thread that opened it, for ever;
that is how a namespace is configured after its thread has left it. Knows no container and no bridge
of ours. Sources: linux/netlink.h, linux/rtnetlink.h, linux/if_link.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from types import TracebackType

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network

NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_DUMP = 0x300
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400

NLMSG_ERROR = 2
NLMSG_DONE = 3

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26

IFF_UP = 0x1
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER, IFLA_LINKINFO = 1, 3, 4, 5, 10, 18
IFLA_IFALIAS, IFLA_AF_SPEC, IFLA_NET_NS_FD = 20, 26, 28
IFLA_INFO_KIND, IFLA_INFO_DATA, _IFLA_INFO_SLAVE_KIND, _IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
_IFLA_INET6_ADDR_GEN_MODE = 8
_IFLA_BRPORT_MODE, _IFLA_BRPORT_ISOLATED = 4, 33
_VETH_INFO_PEER = 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST, _IFA_FLAGS = 1, 2, 4, 8
_IFA_F_NODAD = 0x02
_RTA_DST, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5
_RT_TABLE_MAIN, _RTPROT_BOOT, _RT_SCOPE_UNIVERSE, _RT_SCOPE_LINK, _RTN_UNICAST = 254, 3, 0, 253, 1

_SOL_NETLINK = 270
_NETLINK_ADD_MEMBERSHIP, _NETLINK_CAP_ACK, _NETLINK_EXT_ACK = 1, 10, 11
_NLM_F_ACK_TLVS = 0x200
_NLMSGERR_ATTR_MSG = 1
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Message:
    """One request: ``subject`` is what an error is about."""

    kind: int
    flags: int
    body: bytes
    subject: str


def attribute(kind: int, data: bytes) -> bytes:
    """Return one attribute, padded to four bytes."""
    return _ATTRIBUTE.pack(4 + len(data), kind) + data + bytes(-len(data) % 4)


def text_attribute(kind: int, text: str) -> bytes:
    """Return an attribute that holds a string with its closing zero."""
    return attribute(kind, text.encode() + b"\0")


def number_attribute(kind: int, number: int) -> bytes:
    """Return an attribute that holds an unsigned 32 bit number."""
    return attribute(kind, struct.pack("=I", number))


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield kind and content of the attributes in ``data``; stops at what is cut off."""
    offset = 0
    while offset + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4 or offset + length > len(data):
            return
        yield kind & 0x3FFF, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def mac_bytes(text: str) -> bytes:
    """Return the six bytes of a MAC address; raises ValueError for anything else."""
    data = bytes.fromhex(text.replace(":", "").replace("-", "").replace(".", ""))
    if len(data) != 6:
        raise ValueError(f"invalid MAC address {text}")
    return data


def build_bridge(name: str, mac: str, mtu: int = 0) -> Message:
    """Return the request that makes a bridge; EEXIST when there is a link of that name.

    Without a MAC address of its own it takes the lowest of its ports', and changes it as they come and go.
    """
    body = LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + text_attribute(IFLA_IFNAME, name)
    body += attribute(IFLA_ADDRESS, mac_bytes(mac))
    if mtu:
        body += number_attribute(IFLA_MTU, mtu)
    body += attribute(IFLA_LINKINFO, text_attribute(IFLA_INFO_KIND, "bridge"))
    return Message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, f"bridge {name}")


def build_veth(name: str, peer: str, netns_fd: int, *, bridge: int, mac: str = "", mtu: int = 0) -> Message:
    """Return the request for a veth pair: ``name``, a port of the bridge with that index, and ``peer`` in a namespace.

    Neither end may be up at its creation: the peer because the kernel refuses (ENOTCONN), ours because it
    would get an IPv6 address.
    """
    inner = LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + text_attribute(IFLA_IFNAME, peer)
    inner += number_attribute(IFLA_NET_NS_FD, netns_fd)
    if mac:
        inner += attribute(IFLA_ADDRESS, mac_bytes(mac))
    body = LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + text_attribute(IFLA_IFNAME, name)
    if mtu:
        inner += number_attribute(IFLA_MTU, mtu)
        body += number_attribute(IFLA_MTU, mtu)
    body += number_attribute(IFLA_MASTER, bridge)
    info = text_attribute(IFLA_INFO_KIND, "veth")
    info += attribute(IFLA_INFO_DATA, attribute(_VETH_INFO_PEER, inner))
    body += attribute(IFLA_LINKINFO, info)
    return Message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, f"veth {name}")


def build_port_settings(name: str, *, ipv6: bool, isolated: bool, hairpin: bool) -> Message:
    """Return the request that prepares a bridge's port before it is set up.

    It gets no link-local address, nor the probes and timers that come with one (``ipv6`` says that the
    kernel has IPv6 at all). ``isolated`` keeps the bridge from passing frames to other isolated ports;
    ``hairpin`` lets it send frames back where they came from, for a container that calls its own
    published port.
    """
    body = LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + text_attribute(IFLA_IFNAME, name)
    if ipv6:
        inet6 = attribute(socket.AF_INET6, attribute(_IFLA_INET6_ADDR_GEN_MODE, b"\x01"))
        body += attribute(IFLA_AF_SPEC, inet6)
    if isolated or hairpin:
        flags = attribute(_IFLA_BRPORT_MODE, bytes([hairpin])) + attribute(_IFLA_BRPORT_ISOLATED, bytes([isolated]))
        info = text_attribute(_IFLA_INFO_SLAVE_KIND, "bridge") + attribute(_IFLA_INFO_SLAVE_DATA, flags)
        body += attribute(IFLA_LINKINFO, info)
    return Message(RTM_NEWLINK, 0, body, f"veth {name}")


def build_master(index: int, bridge: int) -> Message:
    """Return the request that makes a link a port of a bridge."""
    body = LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0) + number_attribute(IFLA_MASTER, bridge)
    return Message(RTM_NEWLINK, 0, body, f"link {index}")


def build_port_up(name: str) -> Message:
    """Return the request that sets up a link that is known by name only."""
    body = LINK.pack(socket.AF_UNSPEC, 0, 0, IFF_UP, IFF_UP) + text_attribute(IFLA_IFNAME, name)
    return Message(RTM_NEWLINK, 0, body, f"veth {name}")


def build_link_up(index: int, *, mtu: int = 0) -> Message:
    """Return the request that sets a link up."""
    body = LINK.pack(socket.AF_UNSPEC, 0, index, IFF_UP, IFF_UP)
    if mtu:
        body += number_attribute(IFLA_MTU, mtu)
    return Message(RTM_NEWLINK, 0, body, f"link {index}")


def build_link_delete(index: int) -> Message:
    """Return the request that deletes a link (20 to 30 ms for a veth)."""
    return Message(RTM_DELLINK, 0, LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0), f"link {index}")


def build_address(index: int, address: Interface, *, delete: bool = False) -> Message:
    """Return the request that gives a link an address with its prefix, or takes it."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    body = _ADDRESS.pack(family, address.network.prefixlen, 0, 0, index)
    body += attribute(_IFA_LOCAL, address.ip.packed) + attribute(_IFA_ADDRESS, address.ip.packed)
    if isinstance(address, IPv4Interface) and address.network.prefixlen < 31:
        body += attribute(_IFA_BROADCAST, address.network.broadcast_address.packed)
    if address.version == 6:
        body += number_attribute(_IFA_FLAGS, _IFA_F_NODAD)  # ours to give out: no waiting for duplicates
    kind, flags = (RTM_DELADDR, 0) if delete else (RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE)
    return Message(kind, flags, body, f"address {address}")


def build_default_route(index: int, gateway: Address) -> Message:
    """Return the request for a default route through a gateway; an unspecified one stands for the link itself."""
    family = socket.AF_INET if gateway.version == 4 else socket.AF_INET6
    scope = _RT_SCOPE_LINK if gateway.is_unspecified and gateway.version == 4 else _RT_SCOPE_UNIVERSE
    body = _ROUTE.pack(family, 0, 0, 0, _RT_TABLE_MAIN, _RTPROT_BOOT, scope, _RTN_UNICAST, 0)
    if not gateway.is_unspecified:
        body += attribute(_RTA_GATEWAY, gateway.packed)
    body += number_attribute(_RTA_OIF, index)
    return Message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, body, f"default route through {gateway}")


def build_no_default_route(version: int) -> Message:
    """Return the request that takes the default route of a family away; ESRCH when there is none."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    body = _ROUTE.pack(family, 0, 0, 0, _RT_TABLE_MAIN, 0, 255, 0, 0)
    return Message(RTM_DELROUTE, 0, body, f"default route of IPv{version}")


@dataclass(frozen=True)
class Link:
    """A link as the kernel lists it; ``master`` is the index of its bridge, 0 for none; ``mac`` as ``02:42:…``."""

    index: int
    name: str
    up: bool
    master: int = 0
    kind: str = ""
    mtu: int = 0
    mac: str = ""
    alias: str = ""


def parse_link(body: bytes) -> Link:
    """Return the link that a RTM_NEWLINK message describes."""
    _, _, index, flags, _ = LINK.unpack_from(body)
    name, kind, mac, alias, master, mtu = "", "", "", "", 0, 0
    for number, data in attributes(body[LINK.size :]):
        if number == IFLA_IFNAME:
            name = data.rstrip(b"\0").decode(errors="replace")
        elif number == IFLA_MASTER:
            master = int(struct.unpack("=I", data)[0])
        elif number == IFLA_MTU:
            mtu = int(struct.unpack("=I", data)[0])
        elif number == IFLA_ADDRESS:
            mac = data.hex(":")
        elif number == IFLA_IFALIAS:
            alias = data.rstrip(b"\0").decode(errors="replace")
        elif number == IFLA_LINKINFO:
            for inner, value in attributes(data):
                if inner == IFLA_INFO_KIND:
                    kind = value.rstrip(b"\0").decode(errors="replace")
    return Link(index, name, bool(flags & IFF_UP), master, kind, mtu, mac, alias)


def parse_address(body: bytes) -> tuple[int, Interface] | None:
    """Return link index and address of a RTM_NEWADDR message; None for a family that is not IP."""
    family, prefix, _, _, index = _ADDRESS.unpack_from(body)
    found = dict(attributes(body[_ADDRESS.size :]))
    data = found.get(_IFA_LOCAL, found.get(_IFA_ADDRESS, b""))
    if family == socket.AF_INET and len(data) == 4:
        return index, IPv4Interface((data, prefix))
    if family == socket.AF_INET6 and len(data) == 16:
        return index, IPv6Interface((data, prefix))
    return None


def parse_route(body: bytes) -> tuple[Network, int] | None:
    """Return destination and link index of a RTM_NEWROUTE message of the main table; None for others."""
    family, prefix, _, _, table, *_ = _ROUTE.unpack_from(body)
    if table != _RT_TABLE_MAIN or family not in (socket.AF_INET, socket.AF_INET6):
        return None
    found = dict(attributes(body[_ROUTE.size :]))
    out = found.get(_RTA_OIF, b"\0\0\0\0")
    index = int(struct.unpack("=I", out)[0])
    if family == socket.AF_INET:
        return IPv4Network((found.get(_RTA_DST, bytes(4)), prefix), strict=False), index
    return IPv6Network((found.get(_RTA_DST, bytes(16)), prefix), strict=False), index


def encode(message: Message, sequence: int) -> bytes:
    """Return a message with its header; every one asks for an acknowledgement."""
    flags = message.flags | NLM_F_REQUEST | NLM_F_ACK
    return _HEADER.pack(_HEADER.size + len(message.body), message.kind, flags, sequence, 0) + message.body


@dataclass(frozen=True)
class Answer:
    """One message out of a datagram of the kernel."""

    kind: int
    flags: int
    sequence: int
    body: bytes = field(repr=False)


def parse_answers(data: bytes) -> Iterator[Answer]:
    """Yield the messages in one datagram."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size:
            return
        yield Answer(kind, flags, sequence, data[offset + _HEADER.size : offset + length])
        offset += (length + 3) & ~3


def failure_of(answer: Answer, subject: str) -> OSError | None:
    """Return the error that an acknowledgement carries, with the kernel's own words where it has some."""
    number = -int(struct.unpack_from("=i", answer.body)[0])
    if number == 0:
        return None
    text = os.strerror(number)
    if answer.flags & _NLM_F_ACK_TLVS:
        for kind, data in attributes(answer.body[4 + _HEADER.size :]):
            if kind == _NLMSGERR_ATTR_MSG:
                text = f"{text} ({data.rstrip(bytes(1)).decode(errors='replace')})"
    return OSError(number, text, subject)


class NetlinkSocket:
    """A netlink socket in the namespace of the thread that opens it. Blocking, one user at a time."""

    def __init__(self, protocol: int = socket.NETLINK_ROUTE) -> None:
        """Open it."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        self._socket.settimeout(_TIMEOUT_S)
        self._socket.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> NetlinkSocket:
        """Return itself; the socket is closed at the end."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the socket."""
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def request(self, *messages: Message) -> None:
        """Send messages in one datagram and wait for all acknowledgements; raises OSError for the first that failed."""
        first = self._sequence + 1
        self._sequence += len(messages)
        data = b"".join(encode(message, first + number) for number, message in enumerate(messages))
        self._socket.sendto(data, (0, 0))
        left = len(messages)
        failed: OSError | None = None
        while left:
            for answer in parse_answers(self._socket.recv(65536)):
                place = answer.sequence - first
                if answer.kind != NLMSG_ERROR or not 0 <= place < len(messages):
                    continue
                left -= 1
                failed = failed or failure_of(answer, messages[place].subject)
        if failed is not None:
            raise failed

    def dump(self, kind: int, body: bytes) -> list[bytes]:
        """Return the bodies of all objects of a kind; raises OSError."""
        self._sequence += 1
        sequence = self._sequence
        header = _HEADER.pack(_HEADER.size + len(body), kind, NLM_F_REQUEST | NLM_F_DUMP, sequence, 0)
        self._socket.sendto(header + body, (0, 0))
        found: list[bytes] = []
        while True:
            for answer in parse_answers(self._socket.recv(262144)):
                if answer.sequence != sequence:
                    continue
                if answer.kind == NLMSG_DONE:
                    return found
                if answer.kind == NLMSG_ERROR:
                    failed = failure_of(answer, f"dump {kind}")
                    if failed is not None:
                        raise failed
                    return found
                found.append(answer.body)

    def links(self) -> list[Link]:
        """Return all links of the namespace."""
        return [parse_link(body) for body in self.dump(RTM_GETLINK, LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0))]

    def link(self, name: str) -> Link | None:
        """Return the link of a name, or None."""
        body = LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + text_attribute(IFLA_IFNAME, name)
        self._sequence += 1
        header = _HEADER.pack(_HEADER.size + len(body), RTM_GETLINK, NLM_F_REQUEST, self._sequence, 0)
        self._socket.sendto(header + body, (0, 0))
        while True:
            for answer in parse_answers(self._socket.recv(65536)):
                if answer.sequence != self._sequence:
                    continue
                if answer.kind == RTM_NEWLINK:
                    return parse_link(answer.body)
                failed = failure_of(answer, f"link {name}")
                if failed is not None and failed.errno != errno.ENODEV:
                    raise failed
                return None

    def addresses(self) -> list[tuple[int, Interface]]:
        """Return link index and address of all IP addresses."""
        bodies = self.dump(RTM_GETADDR, _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0))
        return [found for found in map(parse_address, bodies) if found is not None]

    def routes(self) -> list[tuple[Network, int]]:
        """Return destination and link index of the main table's routes."""
        found: list[tuple[Network, int] | None] = []
        for family in (socket.AF_INET, socket.AF_INET6):
            bodies = self._dump_if_supported(RTM_GETROUTE, _ROUTE.pack(family, *([0] * 8)))
            found += map(parse_route, bodies)
        return [route for route in found if route is not None]

    def _dump_if_supported(self, kind: int, body: bytes) -> Sequence[bytes]:
        try:
            return self.dump(kind, body)
        except OSError as error:
            if error.errno in (errno.EOPNOTSUPP, errno.EAFNOSUPPORT, errno.EPFNOSUPPORT):  # no IPv6 in the kernel
                return ()
            raise


class MulticastSocket:
    """A netlink socket that hears what the kernel announces to groups; never blocks."""

    def __init__(self, protocol: int, groups: Iterable[int]) -> None:
        """Open it and join the groups."""
        flags = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_NETLINK, flags, protocol)
        self._socket.bind((0, 0))
        for group in groups:
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._socket.fileno()

    def receive(self) -> list[Answer] | None:
        """Return the messages of one datagram, [] when there is none, None when some were lost."""
        try:
            return list(parse_answers(self._socket.recv(262144)))
        except BlockingIOError:
            return []
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                return None
            raise

    def close(self) -> None:
        """Leave."""
        self._socket.close()
