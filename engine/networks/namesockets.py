"""In a container's network namespace: the two sockets of its name server, and the way from port 53 to them.

The sockets are made by a thread that enters the namespace and ends there. Knows no names.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from contextlib import suppress
from ipaddress import IPv4Address

from engine.errors import NotSupported, PortsideError, Unavailable
from engine.runtime import syscalls
from engine.runtime.netlink import Message
from engine.runtime.netns import CLONE_NEWNET
from engine.runtime.nftmessages import (
    DESTINATION_ADDRESS,
    DESTINATION_PORT,
    LOCAL_IN,
    LOCAL_OUT,
    PRIORITY_MANGLE,
    PRIORITY_RAW,
    SOURCE_ADDRESS,
    SOURCE_PORT,
    NftSocket,
    build_filter_chain,
    build_port_rewriting,
    build_table,
    build_table_removal,
)

NAME_SERVER = IPv4Address("127.0.0.11")
_TABLE = "portside-names"
_DNS = 53
_BACKLOG = 128
_BIND_ATTEMPTS, _BIND_PAUSE_S = 100, 0.01


async def open_sockets(namespace: int, ports: tuple[int, int], *, fresh: bool) -> list[socket.socket]:
    """Return the UDP socket and the listening TCP socket of a container, with the rules that lead to them in place.

    ``namespace`` is a descriptor, borrowed. ``ports`` are those that rules lead to already; with ``fresh``
    there are no such rules, as far as is known. Raises Unavailable or NotSupported.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[list[socket.socket]] = loop.create_future()
    try:
        own = os.dup(namespace)  # the caller may close his before the thread is done
    except OSError as error:
        raise _translate(error) from error

    def settle(sockets: list[socket.socket], error: PortsideError | None) -> None:
        if done.cancelled():
            _close_all(sockets)
        elif error is not None:
            done.set_exception(error)
        else:
            done.set_result(sockets)

    def run() -> None:
        sockets: list[socket.socket] = []
        problem: PortsideError | None = None
        try:
            syscalls.setns(own, CLONE_NEWNET)
            sockets = _open_both(ports, fresh=fresh)
        except PortsideError as error:
            problem = error
        except OSError as error:
            problem = _translate(error)
        finally:
            os.close(own)
        try:
            loop.call_soon_threadsafe(settle, sockets, problem)
        except RuntimeError:  # the engine has ended
            _close_all(sockets)

    try:
        threading.Thread(target=run, name="names", daemon=True).start()
    except RuntimeError as error:
        os.close(own)
        raise Unavailable(f"cannot make a name server for the container: {error}") from error
    return await done


def _close_all(sockets: list[socket.socket]) -> None:
    for held in sockets:
        held.close()


def _open_both(ports: tuple[int, int], *, fresh: bool) -> list[socket.socket]:
    """In the namespace: bind both sockets, to ``ports`` if they are free; other ports get new rules."""
    udp = _bind(socket.SOCK_DGRAM, ports[0])
    try:
        tcp = _bind(socket.SOCK_STREAM, ports[1])
    except BaseException:
        udp.close()
        raise
    try:
        tcp.listen(_BACKLOG)
        now = udp.getsockname()[1], tcp.getsockname()[1]
        if now != ports:
            _translate_port_53(*now, fresh=fresh)
    except BaseException:
        udp.close()
        tcp.close()
        raise
    return [udp, tcp]


def _bind(kind: int, port: int) -> socket.socket:
    raw = socket.socket(socket.AF_INET, kind | socket.SOCK_CLOEXEC)
    try:
        if kind == socket.SOCK_STREAM:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if not (port and _bind_again(raw, port)):
            raw.bind((str(NAME_SERVER), 0))
    except BaseException:
        raw.close()
        raise
    return raw


def _bind_again(raw: socket.socket, port: int) -> bool:
    """Bind a port that a process had that is just dying: the kernel closes its sockets one after the other."""
    for _ in range(_BIND_ATTEMPTS):
        with suppress(OSError):
            raw.bind((str(NAME_SERVER), port))
            return True
        time.sleep(_BIND_PAUSE_S)
    return False


def _translate_port_53(udp: int, tcp: int, *, fresh: bool) -> None:
    """In the namespace: let port 53 of the name server's address lead to these ports, whatever did before."""
    with NftSocket() as netfilter:
        try:
            if fresh:
                try:
                    netfilter.commit(build_table(_TABLE, exclusive=True), *build_rules(udp, tcp))
                except FileExistsError:
                    pass  # the container was on a network before
                else:
                    return
            # Making it first lets the removal of a table that is not there pass.
            netfilter.commit(
                build_table(_TABLE), build_table_removal(_TABLE), build_table(_TABLE), *build_rules(udp, tcp)
            )
        except OSError as error:
            raise NotSupported(
                f"the kernel does not take the name server's rules: {error.filename}: {error.strerror}",
                hint="it needs nf_tables for family ip",
            ) from error


def build_rules(udp: int, tcp: int) -> list[Message]:
    """Return the chains and rules of a container's namespace: questions go to our ports, answers come from 53.

    Ports are rewritten in each packet instead of by NAT: that needs no connection tracking, which would cost
    memory and time in each namespace. Where a container's own rules track connections, they see the real port.
    """
    made = [
        build_filter_chain(_TABLE, "questions", LOCAL_OUT, PRIORITY_RAW),
        build_filter_chain(_TABLE, "answers", LOCAL_IN, PRIORITY_MANGLE),
    ]
    for protocol, port in ((socket.IPPROTO_UDP, udp), (socket.IPPROTO_TCP, tcp)):
        to, back = (DESTINATION_ADDRESS, NAME_SERVER.packed), (SOURCE_ADDRESS, NAME_SERVER.packed)
        made += [
            build_port_rewriting(_TABLE, "questions", protocol, to, (DESTINATION_PORT, _DNS), port),
            build_port_rewriting(_TABLE, "answers", protocol, back, (SOURCE_PORT, port), _DNS),
        ]
    return made


def _translate(error: OSError) -> Unavailable:
    return Unavailable(f"cannot make a name server for the container: {error.strerror}")
