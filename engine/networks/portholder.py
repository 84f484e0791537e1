"""The process that holds published ports: started with ``python -I -S``, outlives the engine.

It owns the listening sockets of one engine's containers, so that nobody else can bind the ports, and
carries connections that no firewall rule takes to the container: those to IPv6 host addresses of
containers without IPv6. It imports nothing but three C modules, to stay small, and nothing of ours.

On descriptor 3 it inherits a listening SOCK_SEQPACKET socket; each packet is one command, fields
separated by spaces, descriptors by SCM_RIGHTS:

    hold KEY, then a line ``PROTOCOL HOST PORT ADDRESS PORT`` for each descriptor   no answer
    drop KEY       answered by ``dropped KEY`` when its sockets are closed
    list           answered by a packet ``held KEY`` with such lines for each key, then ``end``
    quit           ends the process

It ends by itself when it holds nothing and no engine is connected.
"""

import _socket
import select
import sys
from time import monotonic

TCP_BLOCK = 65536
UDP_BLOCK = 65535
UDP_IDLE_S = 90.0
UDP_SESSIONS = 1024
RETRY_S = 0.5
CONTROL_LIMIT = 1 << 18
IN, OUT, GONE = select.EPOLLIN, select.EPOLLOUT, select.EPOLLHUP | select.EPOLLERR
PKTINFO_SPACE = 64
IP_PKTINFO = 8

Place = tuple[str, str, int, str, int]


def nonblocking(raw: _socket.socket) -> _socket.socket:
    """Return the socket, never blocking."""
    raw.setblocking(False)
    return raw


def accept(listener: _socket.socket) -> _socket.socket | None:
    """Return the next connection; None when there is none any more."""
    try:
        fd, _ = listener._accept()  # type: ignore[attr-defined]
    except (BlockingIOError, ConnectionAbortedError):
        return None
    return nonblocking(_socket.socket(listener.family, listener.type, listener.proto, fd))


def family_of(address: str) -> int:
    """Return the socket family of an address in text."""
    return _socket.AF_INET6 if ":" in address else _socket.AF_INET


class Loop:
    """Sockets waited for, with what to call for each."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.epoll = select.epoll()
        self.calls: dict = {}  # type: ignore[type-arg]
        self.later: list = []  # type: ignore[type-arg]

    def watch(self, raw: _socket.socket, mask: int, call) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
        """Call ``call(events)`` when a socket is ready."""
        fd = raw.fileno()
        if fd in self.calls:
            self.epoll.modify(fd, mask)
        else:
            self.epoll.register(fd, mask)
        self.calls[fd] = call

    def forget(self, raw: _socket.socket) -> None:
        """Wait for a socket no more and close it."""
        fd = raw.fileno()
        if fd >= 0 and self.calls.pop(fd, None) is not None:
            self.epoll.unregister(fd)
        raw.close()

    def pause(self, raw: _socket.socket) -> None:
        """Leave a listener alone for a moment: there are no descriptors for what it has."""
        fd = raw.fileno()
        self.epoll.modify(fd, 0)
        self.later.append((monotonic() + RETRY_S, fd))

    def turn(self, timeout_s: float) -> None:
        """Wait once and call what is ready."""
        if self.later:
            timeout_s = RETRY_S
        for fd, events in self.epoll.poll(timeout_s, 64):
            call = self.calls.get(fd)
            if call is not None:
                call(events)
        now = monotonic()
        for entry in [entry for entry in self.later if entry[0] <= now]:
            self.later.remove(entry)
            if entry[1] in self.calls:
                self.epoll.modify(entry[1], IN)


class Relay:
    """One connection carried to a container, both ways, each half closed on its own."""

    def __init__(self, loop: Loop, client: _socket.socket, address: str, port: int) -> None:
        """Begin to connect; a container that refuses closes the client's connection."""
        self.loop = loop
        self.sides = [client, nonblocking(_socket.socket(family_of(address), _socket.SOCK_STREAM))]
        self.waiting = [b"", b""]  # bytes read from the other side that this one has not taken yet
        self.ended = [False, False]  # nothing more comes from this side
        self.shut = [False, False]  # nothing more goes to this side
        self.connected = False
        try:
            self.sides[1].connect((address, port))
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        loop.watch(client, 0, lambda events: self.ready(0, events))
        loop.watch(self.sides[1], OUT, lambda events: self.ready(1, events))

    def ready(self, side: int, events: int) -> None:
        """Move what can be moved."""
        try:
            if not self.connected:
                if self.sides[1].getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR) or side == 0:
                    self.close()
                    return
                self.connected = True
            if events & OUT and self.waiting[side]:
                self.write(side)
            if events & (IN | GONE):
                self.read(side)
            self.settle()
        except BlockingIOError:
            self.settle()
        except OSError:
            self.close()

    def read(self, side: int) -> None:
        other = 1 - side
        if self.ended[side] or self.waiting[other]:
            return
        data = self.sides[side].recv(TCP_BLOCK)
        if not data:
            self.ended[side] = True
            return
        self.waiting[other] = data
        self.write(other)

    def write(self, side: int) -> None:
        try:
            sent = self.sides[side].send(self.waiting[side])
        except BlockingIOError:
            return
        self.waiting[side] = self.waiting[side][sent:]

    def settle(self) -> None:
        for side in (0, 1):
            if self.ended[1 - side] and not self.waiting[side] and not self.shut[side]:
                self.shut[side] = True
                self.sides[side].shutdown(_socket.SHUT_WR)
        if all(self.shut):
            self.close()
            return
        for side in (0, 1):
            mask = OUT if self.waiting[side] else 0
            if not self.ended[side] and not self.waiting[1 - side]:
                mask |= IN
            if mask:
                self.loop.watch(self.sides[side], mask, lambda events, side=side: self.ready(side, events))
            else:
                self.rest(side)

    def rest(self, side: int) -> None:
        # Epoll tells of a hang-up even when nothing is asked for: a side with nothing to do is taken out.
        fd = self.sides[side].fileno()
        if fd in self.loop.calls:
            self.loop.epoll.unregister(fd)
            del self.loop.calls[fd]

    def close(self) -> None:
        for raw in self.sides:
            self.loop.forget(raw)


class Datagrams:
    """A held UDP port: each sender gets a socket towards the container and its answers come back by ours."""

    def __init__(self, loop: Loop, raw: _socket.socket, place: Place) -> None:
        self.loop = loop
        self.raw = raw
        self.place = place
        self.sessions: dict = {}  # type: ignore[type-arg]
        if raw.family == _socket.AF_INET6:
            raw.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_RECVPKTINFO, 1)
        else:
            raw.setsockopt(_socket.IPPROTO_IP, IP_PKTINFO, 1)
        loop.watch(raw, IN, self.ready)

    def ready(self, events: int) -> None:
        for _ in range(32):
            try:
                data, control, _, sender = self.raw.recvmsg(UDP_BLOCK, PKTINFO_SPACE)
            except OSError:
                return
            session = self.sessions.get(sender) or self.open(sender, control)
            if session is None:
                return
            session[1] = monotonic()
            try:
                session[0].send(data)
            except OSError:
                continue

    def open(self, sender: tuple, control: list) -> list | None:  # type: ignore[type-arg]
        self.expire(full=len(self.sessions) >= UDP_SESSIONS)
        address, port = self.place[3], self.place[4]
        try:
            raw = nonblocking(_socket.socket(family_of(address), _socket.SOCK_DGRAM))
            raw.connect((address, port))
        except OSError:
            return None
        answer_from = [entry for entry in control if entry[0] in (_socket.IPPROTO_IPV6, _socket.IPPROTO_IP)]
        session = [raw, monotonic(), answer_from]
        self.sessions[sender] = session
        self.loop.watch(raw, IN, lambda events: self.answer(sender, session))
        return session

    def answer(self, sender: tuple, session: list) -> None:  # type: ignore[type-arg]
        for _ in range(32):
            try:
                data = session[0].recv(UDP_BLOCK)
            except ConnectionRefusedError:
                continue
            except OSError:
                return
            session[1] = monotonic()
            try:
                self.raw.sendmsg([data], session[2], 0, sender)
            except OSError:
                return

    def expire(self, *, full: bool = False) -> None:
        limit = monotonic() - UDP_IDLE_S
        oldest = min(self.sessions, key=lambda sender: self.sessions[sender][1]) if full else None
        for sender, session in list(self.sessions.items()):
            if session[1] < limit or sender == oldest:
                self.loop.forget(session[0])
                del self.sessions[sender]

    def close(self) -> None:
        for session in self.sessions.values():
            self.loop.forget(session[0])
        self.sessions = {}
        self.loop.forget(self.raw)


class Stream:
    """A held TCP or SCTP port."""

    def __init__(self, loop: Loop, raw: _socket.socket, place: Place) -> None:
        self.loop = loop
        self.raw = raw
        self.place = place
        raw.listen(1024)
        loop.watch(raw, IN, self.ready)

    def ready(self, events: int) -> None:
        for _ in range(32):
            try:
                client = accept(self.raw)
                if client is None:
                    return
                if self.place[0] == "tcp":
                    Relay(self.loop, client, self.place[3], self.place[4])
                else:
                    client.close()
            except OSError:
                self.loop.pause(self.raw)
                return

    def close(self) -> None:
        self.loop.forget(self.raw)


class Holder:
    """All that is held, by key, and the engine's commands."""

    def __init__(self, control: _socket.socket) -> None:
        self.loop = Loop()
        self.held: dict = {}  # type: ignore[type-arg]
        self.engines: set = set()  # type: ignore[type-arg]
        self.control = nonblocking(control)
        self.seen_engine = False
        self.running = True
        self.loop.watch(control, IN, self.connect)

    def run(self) -> None:
        """Serve until there is nothing to do."""
        while self.running and (self.held or self.engines or not self.seen_engine):
            sessions = any(port.sessions for ports in self.held.values() for port in ports if port.place[0] == "udp")
            self.loop.turn(UDP_IDLE_S / 3 if sessions else (-1 if self.seen_engine else 30))
            if sessions:
                for ports in self.held.values():
                    for port in ports:
                        if port.place[0] == "udp":
                            port.expire()
            self.seen_engine = self.seen_engine or not self.engines

    def connect(self, events: int) -> None:
        engine = accept(self.control)
        if engine is not None:
            self.seen_engine = True
            self.engines.add(engine)
            self.loop.watch(engine, IN, lambda events: self.command(engine))

    def command(self, engine: _socket.socket) -> None:
        try:
            data, control, _, _ = engine.recvmsg(CONTROL_LIMIT, _socket.CMSG_SPACE(253 * 4))
        except BlockingIOError:
            return
        except OSError:
            data, control = b"", []
        if not data:
            self.engines.discard(engine)
            self.loop.forget(engine)
            return
        fds = []
        for _, _, block in control:
            fds += [int.from_bytes(block[at : at + 4], sys.byteorder) for at in range(0, len(block) - 3, 4)]
        head, *lines = data.decode().splitlines()
        verb, _, key = head.partition(" ")
        engine.setblocking(True)
        try:
            if verb == "hold":
                self.hold(key, lines, fds)
            elif verb == "drop":
                for port in self.held.pop(key, ()):
                    port.close()
                engine.send(f"dropped {key}".encode())
            elif verb == "list":
                self.list(engine)
            elif verb == "quit":
                self.running = False
        except OSError:
            self.engines.discard(engine)
            self.loop.forget(engine)
            return
        engine.setblocking(False)

    def hold(self, key: str, lines: list[str], fds: list[int]) -> None:
        ports = self.held.setdefault(key, [])
        for line, fd in zip(lines, fds, strict=False):
            protocol, host, port, address, inner = line.split(" ")
            kind = _socket.SOCK_DGRAM if protocol == "udp" else _socket.SOCK_STREAM
            number = _socket.IPPROTO_SCTP if protocol == "sctp" else 0
            raw = nonblocking(_socket.socket(family_of(host), kind, number, fd))
            place = (protocol, host, int(port), address, int(inner))
            try:
                ports.append(Datagrams(self.loop, raw, place) if protocol == "udp" else Stream(self.loop, raw, place))
            except OSError:
                raw.close()

    def list(self, engine: _socket.socket) -> None:
        for key, ports in self.held.items():
            lines = [" ".join(str(part) for part in port.place) for port in ports]
            # A packet holds what a container of a thousand ports has; the rest follows under the same key.
            for at in range(0, max(len(lines), 1), 1000):
                engine.send("\n".join([f"held {key}", *lines[at : at + 1000]]).encode())
        engine.send(b"end")


def raise_limits() -> None:
    """Allow as many descriptors as the hard limit does: each port takes one."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> None:
    """Hold ports."""
    raise_limits()
    control = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, 3)
    control.listen(8)  # from now on peers see this process, not the engine that made the socket
    Holder(control).run()


if __name__ == "__main__":
    main()
