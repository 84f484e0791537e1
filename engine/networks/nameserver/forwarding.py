"""Queries that no network answers: asked of the container's servers, one after the other.

An answer is passed on as it came, with the client's ID. Each server gets ``SERVER_S`` seconds by the
client's protocol (a truncated answer makes the client ask again by TCP). Those that a user named are asked
from the container's namespace. Source: moby's Resolver.forwardExtDNS.
"""

from __future__ import annotations

import _socket
import posix

from engine.networks.nameserver.loop import GONE, IN, OUT, Deadlines, Loop, nonblocking
from engine.networks.nameserver.packets import REFUSED, SERVFAIL, Query, build_failure, code_of, is_answer_to

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.networks.nameserver.zones import UpstreamState

    Reply = Callable[[bytes], None]

SERVER_S = 4.0
CONCURRENT = 1024
WAITING = 1024
_SIOCGSKNS = 0x894C
_CLONE_NEWNET = 0x40000000


class Budget:
    """What all containers together may have open: none of them can use up the process's descriptors."""

    __slots__ = ("left",)

    def __init__(self, limit: int) -> None:
        """``limit`` is how many at once."""
        self.left = limit


class Forwarder:
    """The queries of one container that are on their way."""

    __slots__ = ("active", "budget", "deadlines", "is_going_on", "loop", "namespace_of", "servers", "waiting")

    def __init__(self, loop: Loop, deadlines: Deadlines, budget: Budget, namespace_of: _socket.socket) -> None:
        """``namespace_of`` is any socket in the container's namespace."""
        self.loop = loop
        self.budget = budget
        self.deadlines = deadlines
        self.namespace_of = namespace_of
        self.servers: tuple[UpstreamState, ...] = ()
        self.active: dict[Exchange, None] = {}
        self.waiting: dict[Exchange, None] = {}
        self.is_going_on = False

    def ask(self, query: Query, reply: Reply, *, by_tcp: bool) -> None:
        """Ask the servers; ``reply`` is called once, with an error when none answers, unless closed before."""
        exchange = Exchange(self, query, reply, by_tcp=by_tcp)
        if not self.servers:
            reply(build_failure(query, SERVFAIL))
        elif self.has_room():
            exchange.begin()
        elif len(self.waiting) < WAITING:
            self.waiting[exchange] = None
            self.deadlines.restart(exchange)
        else:
            reply(build_failure(query, REFUSED))

    def has_room(self) -> bool:
        """Whether one more may be on its way."""
        return len(self.active) < CONCURRENT and self.budget.left > 0

    def go_on(self) -> None:
        """Begin what waited for its turn."""
        if self.is_going_on:  # what was begun has ended already: the loop below goes on
            return
        self.is_going_on = True
        while self.waiting and self.has_room():
            exchange = next(iter(self.waiting))
            del self.waiting[exchange]
            exchange.begin()
        self.is_going_on = False

    def close(self) -> None:
        """Drop everything."""
        for exchange in (*self.active, *self.waiting):
            exchange.drop()
        self.budget.left += len(self.active)
        self.active.clear()
        self.waiting.clear()


class Exchange:
    """One query on its way."""

    __slots__ = ("by_tcp", "forwarder", "packet", "query", "received", "reply", "servers", "sock", "unsent")

    def __init__(self, forwarder: Forwarder, query: Query, reply: Reply, *, by_tcp: bool) -> None:
        self.forwarder = forwarder
        self.query = query
        self.reply = reply
        self.by_tcp = by_tcp
        self.servers = forwarder.servers
        self.sock: _socket.socket | None = None
        self.packet = b""
        self.unsent = b""
        self.received = b""

    def begin(self) -> None:
        """Ask the first server."""
        self.forwarder.active[self] = None
        self.forwarder.budget.left -= 1
        self.next()

    def next(self) -> None:
        """Ask the next server; with none left, fail."""
        while self.servers:
            server, self.servers = self.servers[0], self.servers[1:]
            self.drop()
            try:
                self.open(server)
            except OSError:
                continue
            self.forwarder.deadlines.restart(self)
            return
        self.finish(build_failure(self.query, SERVFAIL))

    def open(self, server: UpstreamState) -> None:
        address, port, from_host = server
        family = _socket.AF_INET6 if ":" in address else _socket.AF_INET
        kind = _socket.SOCK_STREAM if self.by_tcp else _socket.SOCK_DGRAM
        raw = _socket.socket(family, kind) if from_host else open_beside(self.forwarder.namespace_of, family, kind)
        self.sock = nonblocking(raw)
        # An ID of our own and a port of its own for each: a client's weak choice makes no forgery easier.
        self.packet = posix.urandom(2) + self.query.data[2:]
        if self.by_tcp:
            self.unsent = len(self.packet).to_bytes(2, "big") + self.packet
            self.received = b""
            try:  # noqa: SIM105 - contextlib is not imported here, to stay small
                raw.connect((address, port))
            except BlockingIOError:
                pass
            self.forwarder.loop.watch(raw, OUT, self.stream_ready)
        else:
            raw.connect((address, port))
            raw.send(self.packet)
            self.forwarder.loop.watch(raw, IN, self.datagram_ready)

    def datagram_ready(self, events: int) -> None:
        """Take the answer; what is none is left."""
        assert self.sock is not None
        try:
            answer = self.sock.recv(65535)
        except BlockingIOError:
            return
        except OSError:
            self.next()
            return
        self.take(answer)

    def stream_ready(self, events: int) -> None:
        """Send the rest of the query or read more of the answer."""
        raw = self.sock
        assert raw is not None
        try:
            if self.unsent:
                if events & GONE:
                    raise ConnectionError
                self.unsent = self.unsent[raw.send(self.unsent) :]
                if not self.unsent:
                    self.forwarder.loop.watch(raw, IN, self.stream_ready)
                return
            data = raw.recv(65535)
            if not data:
                raise ConnectionError
        except BlockingIOError:
            return
        except OSError:
            self.next()
            return
        self.received += data
        while len(self.received) >= 2 and self.sock is raw:
            size = 2 + int.from_bytes(self.received[:2], "big")
            if len(self.received) < size:
                break
            answer, self.received = self.received[2:size], self.received[size:]
            self.take(answer)

    def take(self, answer: bytes) -> None:
        """Pass an answer on, unless it is none or another server may know better."""
        if not is_answer_to(answer, self.packet, self.query.end):
            return
        if code_of(answer) in (SERVFAIL, REFUSED):
            self.next()
        else:
            self.finish(self.query.data[:2] + answer[2:])

    def expire(self) -> None:
        """The server, or the turn to ask one, did not come in time."""
        if self in self.forwarder.active:
            self.next()
        else:
            self.forwarder.waiting.pop(self, None)
            self.reply(build_failure(self.query, REFUSED))

    def finish(self, answer: bytes) -> None:
        """Answer the client and let the next query begin."""
        self.drop()
        if self in self.forwarder.active:
            del self.forwarder.active[self]
            self.forwarder.budget.left += 1
        self.reply(answer)
        self.forwarder.go_on()

    def drop(self) -> None:
        """Let go of the server."""
        self.forwarder.deadlines.stop(self)
        if self.sock is not None:
            self.forwarder.loop.close(self.sock)
            self.sock = None


def open_beside(other: _socket.socket, family: int, kind: int) -> _socket.socket:
    """Return a socket in the network namespace of another one; ends the process when there is no way back."""
    import ctypes
    import fcntl

    setns = ctypes.CDLL(None, use_errno=True).setns
    own = posix.open("/proc/self/ns/net", posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        there = fcntl.ioctl(other.fileno(), _SIOCGSKNS)
        try:
            if setns(there, _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            posix.close(there)
        try:
            return _socket.socket(family, kind)
        finally:
            if setns(own, _CLONE_NEWNET):
                posix._exit(1)  # the engine starts it anew
    finally:
        posix.close(own)
