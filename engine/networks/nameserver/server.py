"""The name server of all containers of an engine: their sockets, the answers, the engine's commands.

Protocol: see ``engine/networks/resolver.py``.
"""

from __future__ import annotations

import _random
import _socket
import gc
import marshal
import sys

from engine.networks.nameserver.forwarding import SERVER_S, Budget, Forwarder
from engine.networks.nameserver.loop import GONE, IN, OUT, Deadlines, Loop, accept, nonblocking
from engine.networks.nameserver.packets import (
    AAAA,
    ANY_CLASS,
    MAX_SIZE,
    MIN_SIZE,
    MX,
    PTR,
    SERVFAIL,
    A,
    Query,
    build_answer,
    build_failure,
    encode_name,
    parse_query,
    parse_reverse,
    udp_size,
)
from engine.networks.nameserver.packets import IN as INTERNET
from engine.networks.nameserver.zones import Zones, addresses_of
from engine.networks.resolver import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.networks.nameserver.forwarding import Reply
    from engine.networks.nameserver.zones import State

CONTROL_LIMIT = 1 << 15  # a buffer of that size is made whenever there may be a command
CLIENTS = 256  # TCP connections of one container
UNANSWERED = 16  # queries of one TCP connection
IDLE_S = 8.0
_QUERY_LIMIT = 4096
_DATAGRAMS_A_TURN = 32
_LISTED_A_PACKET = 500
_START_S = 30.0
_SEND_S = 2.0
_TURNS_A_COLLECTION = 1 << 17  # should an error ever leave a circle behind

_random_source = _random.Random()


class Member:
    """A container with its two sockets."""

    __slots__ = ("clients", "container_id", "forwarder", "namespace", "server", "state", "tcp", "udp")

    def __init__(
        self, server: Server, container_id: str, namespace: int, udp: _socket.socket, tcp: _socket.socket
    ) -> None:
        self.server = server
        self.container_id = container_id
        self.namespace = namespace
        self.udp = nonblocking(udp)
        self.tcp = nonblocking(tcp)
        self.state: State = ((), (), False, False)
        self.clients: dict[Client, None] = {}
        self.forwarder = Forwarder(server.loop, server.askings, server.queries, udp)
        server.loop.watch(udp, IN, self.datagrams_ready)
        server.loop.watch(tcp, IN, self.connections_ready)

    def know(self, state: State) -> None:
        """Replace what is known of it."""
        self.server.zones.replace(self.state[0], state[0])
        self.state = state
        forwards = state[2]
        self.forwarder.servers = tuple(server for server in state[1] if forwards or not server[2])

    def close(self) -> None:
        """Forget its names and close its sockets."""
        self.know(((), (), False, False))
        for client in list(self.clients):
            client.close()
        self.forwarder.close()
        self.server.loop.close(self.udp)
        self.server.loop.close(self.tcp)

    def datagrams_ready(self, events: int) -> None:
        """Answer queries by UDP."""
        waiting = []
        try:
            for _ in range(_DATAGRAMS_A_TURN):
                waiting.append(self.udp.recvfrom(_QUERY_LIMIT))
        except OSError:
            pass
        self.server.hear_engines()
        for data, sender in waiting:
            answer = self.answer(data, lambda late, sender=sender: self.send(late, sender), by_tcp=False)  # type: ignore[misc]
            if answer:
                self.send(answer, sender)

    def send(self, answer: bytes, sender: tuple[str, int]) -> None:
        """Send a datagram; a client that is gone or does not read gets none."""
        try:
            self.udp.sendto(answer, sender)
        except OSError:
            return

    def connections_ready(self, events: int) -> None:
        """Take connections."""
        for _ in range(_DATAGRAMS_A_TURN):
            try:
                raw = accept(self.tcp)
            except OSError:
                self.server.loop.rest(self.tcp)
                return
            if raw is None:
                return
            if len(self.clients) >= CLIENTS or not self.server.connections.left:
                raw.close()
            else:
                Client(self, raw)

    def answer(self, data: bytes, late: Reply, *, by_tcp: bool) -> bytes:
        """Return the answer to a packet; empty when there is none or ``late`` will be called with it."""
        query = parse_query(data)
        if query is None:
            return b""
        if isinstance(query, bytes):
            return query
        answer = self.own_answer(query, by_tcp=by_tcp)
        if answer is None:
            self.forwarder.ask(query, late, by_tcp=by_tcp)
            return b""
        return answer

    def own_answer(self, query: Query, *, by_tcp: bool) -> bytes | None:
        """Return what the networks know; None for what others have to be asked."""
        name, kind = query.name, query.kind
        if name is None or query.klass not in (INTERNET, ANY_CLASS):
            return None
        endpoints = self.state[0]
        zones = self.server.zones
        if kind in (A, AAAA):
            found = zones.find(endpoints, name)
            if found is not None:
                values = addresses_of(found, ipv6=kind == AAAA)
                limit = MAX_SIZE if by_tcp else MIN_SIZE
                if len(values) > 1:
                    shuffle(values)
                    if not by_tcp:
                        limit = udp_size(query)
                return build_answer(query, kind, values, limit)
            if self.state[3] and b"." not in name:
                return build_answer(query, kind, [], MIN_SIZE)
        elif kind == MX:
            # A name without mail servers of its own: clients go to its addresses (RFC 5321, 5.1).
            if zones.find(endpoints, name) is not None:
                return build_answer(query, kind, [], MIN_SIZE)
        elif kind == PTR:
            address = parse_reverse(name)
            owner = zones.owner(endpoints, address) if address else None
            if owner is not None:
                encoded = encode_name(owner)
                return build_answer(query, kind, [encoded], MAX_SIZE) if encoded else build_failure(query, SERVFAIL)
        return None


class Client:
    """A TCP connection of a container: queries with their length before each, answered in any order."""

    __slots__ = ("closed", "ended", "inbox", "is_answering", "member", "outbox", "raw", "unanswered")

    def __init__(self, member: Member, raw: _socket.socket) -> None:
        self.member = member
        self.raw = raw
        self.inbox = b""
        self.outbox = b""
        self.unanswered = 0
        self.ended = False
        self.closed = False
        self.is_answering = False
        member.clients[self] = None
        member.server.connections.left -= 1
        member.server.idle.restart(self)
        member.server.loop.watch(raw, IN, self.ready)

    def ready(self, events: int) -> None:
        """Read and write what can be."""
        try:
            if events & GONE:
                raise ConnectionError
            if events & OUT and self.outbox:
                self.outbox = self.outbox[self.raw.send(self.outbox) :]
            if events & IN and not self.ended:
                data = self.raw.recv(MAX_SIZE)
                self.ended = not data
                self.inbox += data
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        self.member.server.idle.restart(self)
        self.member.server.hear_engines()
        self.go_on()

    def go_on(self) -> None:
        """Answer what has arrived, as long as its answers are taken; end with the client."""
        if self.is_answering:  # an answer came at once: the loop below goes on
            return
        self.is_answering = True
        while not self.closed and self.unanswered < UNANSWERED and not self.outbox and len(self.inbox) >= 2:
            size = 2 + int.from_bytes(self.inbox[:2], "big")
            if len(self.inbox) < size:
                break
            data, self.inbox = self.inbox[2:size], self.inbox[size:]
            self.unanswered += 1
            answer = self.member.answer(data, self.late, by_tcp=True)
            if answer:
                self.send(answer)
        self.is_answering = False
        if self.closed:
            return
        if self.ended and not self.unanswered and not self.outbox:
            self.close()
            return
        reads = self.unanswered < UNANSWERED and not self.outbox and not self.ended
        self.member.server.loop.watch(self.raw, (IN if reads else 0) | (OUT if self.outbox else 0), self.ready)

    def late(self, answer: bytes) -> None:
        """Send an answer that came from elsewhere."""
        if not self.closed:
            self.send(answer)
            self.go_on()

    def send(self, answer: bytes) -> None:
        self.unanswered -= 1
        self.outbox += len(answer).to_bytes(2, "big") + answer
        try:
            self.outbox = self.outbox[self.raw.send(self.outbox) :]
        except BlockingIOError:
            return
        except OSError:
            self.close()

    def expire(self) -> None:
        """Too long nothing came or was taken."""
        if self.unanswered and not self.outbox:
            self.member.server.idle.restart(self)  # it waits for us
        else:
            self.close()

    def close(self) -> None:
        """Let go of it."""
        if self.closed:
            return
        self.closed = True
        del self.member.clients[self]
        self.member.server.connections.left += 1
        self.member.server.idle.stop(self)
        self.member.server.loop.close(self.raw)


class Server:
    """All containers, and the engine's commands."""

    def __init__(self, control: _socket.socket, descriptors: int) -> None:
        """``descriptors`` is how many the process may have: half of them are for sockets of containers."""
        self.loop = Loop(self.complain)
        self.queries = Budget(descriptors // 4)
        self.connections = Budget(descriptors // 4)
        self.askings: Deadlines = self.loop.deadlines_of(SERVER_S)
        self.idle: Deadlines = self.loop.deadlines_of(IDLE_S)
        self.zones = Zones()
        self.members: dict[str, Member] = {}
        self.engines: dict[_socket.socket, bytes] = {}
        self.control = nonblocking(control)
        self.seen_engine = False
        self.running = True
        self.loop.watch(control, IN, self.connect)

    def run(self) -> None:
        """Serve until there is nothing to do."""
        # Nothing here refers to itself in a circle, and with many names a collection takes milliseconds.
        gc.disable()
        turns = 0
        while self.running and (self.members or self.engines or not self.seen_engine):
            turns += 1
            if turns % _TURNS_A_COLLECTION == 0:
                gc.collect()
            self.loop.turn(-1.0 if self.seen_engine else _START_S)
            self.seen_engine = self.seen_engine or not self.engines

    def connect(self, events: int) -> None:
        """Take an engine's connection."""
        engine = accept(self.control)
        if engine is not None:
            self.seen_engine = True
            self.engines[engine] = b""
            self.loop.watch(engine, IN, lambda events: self.command(engine))

    def hear_engines(self) -> None:
        """Do what engines have said until now: who asks after a change must hear of it."""
        for engine in list(self.engines):
            self.command(engine)

    def command(self, engine: _socket.socket) -> None:
        """Take all packets that an engine has sent."""
        while engine.fileno() >= 0:
            try:
                data, control, _, _ = engine.recvmsg(CONTROL_LIMIT, _socket.CMSG_SPACE(2 * 4))
            except BlockingIOError:
                return
            except OSError:
                data, control = b"", []
            if not data:
                self.lose(engine)
                return
            self.engines[engine] += data[1:]
            if data[:1] == b"+":
                continue
            whole, self.engines[engine] = self.engines[engine], b""
            fds = []
            for _, _, block in control:
                fds += [int.from_bytes(block[at : at + 4], sys.byteorder) for at in range(0, len(block) - 3, 4)]
            self.obey(engine, marshal.loads(whole), fds)

    def obey(self, engine: _socket.socket, command: tuple[Any, ...], fds: list[int]) -> None:
        """Do what an engine says."""
        verb = command[0]
        if verb == "join":
            _, container_id, namespace, state = command
            self.leave(container_id)
            udp = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM, 0, fds[0])
            tcp = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, 0, fds[1])
            member = self.members[container_id] = Member(self, container_id, namespace, udp, tcp)
            member.know(state)
        elif verb == "know":
            known = self.members.get(command[1])
            if known is not None:
                known.know(command[2])
        elif verb == "leave":
            self.leave(command[1])
        elif verb == "list":
            self.list(engine)
        elif verb == "quit":
            self.running = False

    def leave(self, container_id: str) -> None:
        """Forget a container."""
        member = self.members.pop(container_id, None)
        if member is not None:
            member.close()

    def list(self, engine: _socket.socket) -> None:
        """Tell an engine which containers there are."""
        known = [(member.container_id, member.namespace) for member in self.members.values()]
        for at in range(0, len(known), _LISTED_A_PACKET):
            self.tell(engine, ("has", known[at : at + _LISTED_A_PACKET]))
        self.tell(engine, ("end", VERSION))

    def tell(self, engine: _socket.socket, message: tuple[object, ...]) -> None:
        """Send something to an engine; one that does not read is let go."""
        if engine.fileno() < 0:
            return
        try:
            engine.settimeout(_SEND_S)
            engine.send(marshal.dumps(message, 2))  # type: ignore[arg-type]
            engine.setblocking(False)
        except OSError:
            self.lose(engine)

    def lose(self, engine: _socket.socket) -> None:
        """An engine has gone."""
        self.engines.pop(engine, None)
        self.loop.close(engine)

    def complain(self, error: Exception) -> None:
        """Tell the engines of an error that nobody expected."""
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        where = f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}" if trace is not None else "?"
        for engine in list(self.engines):
            self.tell(engine, ("trouble", f"{type(error).__name__} in {where}: {error}"[:500]))


def shuffle(values: list[bytes]) -> None:
    """Put addresses into any order, so that callers spread."""
    for last in range(len(values) - 1, 0, -1):
        other = int(_random_source.random() * (last + 1))
        values[last], values[other] = values[other], values[last]
