"""Containers played by network namespaces, and a client of DNS that speaks from inside them."""

from __future__ import annotations

import os
import random
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TypeVar

from engine.networks.naming import ContainerNames, EndpointNames
from engine.runtime import netlink, netns

T = TypeVar("T")
A, PTR, MX, TXT, AAAA = 1, 12, 15, 16, 28
TIMEOUT_S = 5.0


@dataclass
class Answer:
    """What a server said: the code, the truncated bit, and values of its answer records in text."""

    code: int
    truncated: bool
    values: list[str] = field(default_factory=list)
    ttls: set[int] = field(default_factory=set)
    raw: bytes = b""


@contextmanager
def namespaces(count: int) -> Iterator[list[int]]:
    """Make namespaces with a loopback that is up; yields descriptors."""
    made: list[int] = []
    try:
        for _ in range(count):
            with netns.new_namespace() as fd:
                made.append(fd)
                with netlink.NetlinkSocket() as inner:
                    inner.request(netlink.build_link_up(1))
        yield made
    finally:
        for fd in made:
            os.close(fd)


def within(fd: int | None, work: Callable[[], T]) -> T:
    """Run ``work`` in a namespace (this thread only); None is the present one."""
    if fd is None:
        return work()
    with netns.inside(netns.path_of(fd)):
        return work()


def build_query(name: str, kind: int = A, *, ident: int | None = None, edns: int = 0, klass: int = 1) -> bytes:
    """Return a query as a stub resolver sends it."""
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.rstrip(".").split(".") if label)
    ident = random.randrange(65536) if ident is None else ident
    head = struct.pack("!6H", ident, 0x0100, 1, 0, 0, 1 if edns else 0)
    extra = b"\0" + struct.pack("!HHIH", 41, edns, 0, 0) if edns else b""
    return head + labels + b"\0" + struct.pack("!HH", kind, klass) + extra


def read_name(data: bytes, at: int) -> tuple[str, int]:
    """Return a name, which may be compressed, and where it ends."""
    labels = []
    end = -1
    while data[at]:
        if data[at] >= 0xC0:
            end = at + 2 if end < 0 else end
            at = int.from_bytes(data[at : at + 2], "big") & 0x3FFF
            continue
        labels.append(data[at + 1 : at + 1 + data[at]].decode())
        at += 1 + data[at]
    return ".".join(labels), at + 1 if end < 0 else end


def parse_answer(data: bytes, query: bytes) -> Answer:
    """Return what an answer says; it must belong to the query."""
    ident, flags, questions, answers, _, _ = struct.unpack_from("!6H", data)
    assert data[:2] == query[:2], f"ID {ident:x}"
    assert flags & 0x8000
    found = Answer(flags & 15, bool(flags & 0x0200), raw=data)
    at = 12
    for _ in range(questions):
        _, at = read_name(data, at)
        assert data[12 : at + 4] == query[12 : at + 4], "another question"
        at += 4
    for _ in range(answers):
        _, at = read_name(data, at)
        kind, _, ttl, size = struct.unpack_from("!HHIH", data, at)
        at += 10
        value = data[at : at + size]
        found.ttls.add(ttl)
        found.values.append(read_name(data, at)[0] if kind == PTR else str(ip_address(value)))
        at += size
    return found


def ask(
    fd: int | None, name: str, kind: int = A, *, edns: int = 0, by_tcp: bool = False, server: str = "127.0.0.11"
) -> Answer:
    """Return the answer of the server at port 53 to a question from inside a namespace; TimeoutError for none."""
    return ask_raw(fd, build_query(name, kind, edns=edns), by_tcp=by_tcp, server=server)


def ask_raw(fd: int | None, query: bytes, *, by_tcp: bool = False, server: str = "127.0.0.11") -> Answer:
    """Send a packet and return what is answered."""
    kind = socket.SOCK_STREAM if by_tcp else socket.SOCK_DGRAM
    with within(fd, lambda: socket.socket(socket.AF_INET, kind)) as raw:
        raw.settimeout(TIMEOUT_S)
        raw.connect((server, 53))
        if not by_tcp:
            raw.send(query)
            return parse_answer(raw.recv(65535), query)
        raw.sendall(len(query).to_bytes(2, "big") + query)
        return parse_answer(read_message(raw), query)


def read_message(raw: socket.socket) -> bytes:
    """Return the next message of a TCP connection."""
    size = int.from_bytes(_read_exactly(raw, 2), "big")
    return _read_exactly(raw, size)


def _read_exactly(raw: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        block = raw.recv(count - len(data))
        if not block:
            raise ConnectionError("the server closed the connection")
        data += block
    return data


def endpoint(
    *names: str, addresses: str, network: str = "net", links: tuple[tuple[str, str], ...] = ()
) -> EndpointNames:
    """Return an endpoint with addresses separated by spaces."""
    return EndpointNames(f"id-of-{network}", network, tuple(map(ip_address, addresses.split())), names, links)


def names(*endpoints: EndpointNames, **options: object) -> ContainerNames:
    """Return what is known of a container."""
    return ContainerNames(endpoints, **options)  # type: ignore[arg-type]
