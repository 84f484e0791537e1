"""Containers played by network namespaces, and a client of DNS that speaks from inside them."""

from __future__ import annotations

import os
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar

from engine.networks.naming import ContainerNames, EndpointNames, Upstream
from engine.runtime import netlink, netns

T = TypeVar("T")
A, PTR, MX, TXT, AAAA = 1, 12, 15, 16, 28
TIMEOUT_S = 15.0


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


def process_behind(folder: Path, *, maker: int = 0) -> int:
    """Return the ID of the process that answers names for an engine with this exec root; 0 for none.

    ``maker`` is the engine that started it, if not the present process: until the other one has begun to
    listen itself, the kernel names that.
    """
    while True:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
            try:
                probe.connect(str(folder / "names.sock"))
            except OSError:
                return 0
            credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        pid = int(struct.unpack("3i", credentials)[0])
        if pid != (maker or os.getpid()):
            return pid
        time.sleep(0.005)


Behaviour = Callable[[bytes], "list[bytes]"]


def answering(address: str) -> Behaviour:
    """Answer every question with one address."""

    def behave(query: bytes) -> list[bytes]:
        return [build_reply(query, address)]

    return behave


def build_reply(query: bytes, address: str = "", *, code: int = 0, truncated: bool = False) -> bytes:
    """Return an answer to a query."""
    end = read_name(query, 12)[1] + 4
    flags = 0x8180 | code | (0x0200 if truncated else 0)
    head = query[:2] + struct.pack("!5H", flags, 1, 1 if address else 0, 0, 0)
    record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + ip_address(address).packed if address else b""
    return head + query[12:end] + record


class Server:
    """A server of names elsewhere, by UDP and TCP on one port; ``behave`` says what goes back for a query."""

    def __init__(self, behave: Behaviour, *, fd: int | None = None, address: str = "127.0.0.1", port: int = 0) -> None:
        self.behave = behave
        self.queries: list[bytes] = []
        self.callers: list[str] = []
        self.by_tcp = 0
        self.udp, self.tcp = within(fd, lambda: _open_pair(address, port))
        self.port = self.udp.getsockname()[1]
        self._threads = [threading.Thread(target=self._serve_udp), threading.Thread(target=self._serve_tcp)]
        for thread in self._threads:
            thread.start()

    def upstream(self, *, from_host: bool = True) -> Upstream:
        return Upstream(ip_address(self.udp.getsockname()[0]), from_host=from_host, port=self.port)

    def _serve_udp(self) -> None:
        with suppress(OSError):
            while True:
                query, sender = self.udp.recvfrom(65535)
                if not query:
                    return
                self.queries.append(query)
                self.callers.append(sender[0])
                for reply in self.behave(query):
                    self.udp.sendto(reply, sender)

    def _serve_tcp(self) -> None:
        with suppress(OSError):
            while True:
                caller, sender = self.tcp.accept()
                with caller, suppress(OSError):
                    query = read_message(caller)
                    self.queries.append(query)
                    self.callers.append(sender[0])
                    self.by_tcp += 1
                    for reply in self.behave(query):
                        caller.sendall(len(reply).to_bytes(2, "big") + reply)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *error: object) -> None:
        for raw in (self.udp, self.tcp):
            with suppress(OSError):
                raw.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        self.udp.close()
        self.tcp.close()


def _open_pair(address: str, port: int) -> tuple[socket.socket, socket.socket]:
    for _ in range(50):
        tcp = socket.socket()
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tcp.bind((address, port))
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            udp.bind((address, tcp.getsockname()[1]))
        except OSError:
            tcp.close()
            udp.close()
            continue
        tcp.listen(64)
        return udp, tcp
    raise OSError("no port is free for both protocols")
