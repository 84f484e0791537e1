"""nf_tables by netlink messages of our own: the few that a container's namespace needs, in one transaction.

libnftables cannot be used there: it must be opened inside each namespace, and it calls select(), which ends
the whole process once the descriptor is above 1,023. Source: linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import socket
import struct

from engine.runtime.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REQUEST,
    NLMSG_ERROR,
    Message,
    NetlinkSocket,
    attribute,
    encode,
    failure_of,
    parse_answers,
    text_attribute,
)

LOCAL_IN, LOCAL_OUT = 1, 3
PRIORITY_RAW, PRIORITY_MANGLE = -300, -150
SOURCE_PORT, DESTINATION_PORT = 0, 2  # where they are in the header of TCP and UDP
SOURCE_ADDRESS, DESTINATION_ADDRESS = 12, 16  # in the header of IPv4

_NETFILTER = 12
_SUBSYSTEM = 10 << 8
_NEW_TABLE, _DELETE_TABLE, _NEW_CHAIN, _NEW_RULE = (_SUBSYSTEM | kind for kind in (0, 2, 3, 6))
_BATCH_BEGIN, _BATCH_END = 16, 17
_NLM_F_APPEND = 0x800
_NESTED = 0x8000
_HEADER = struct.Struct("=IHHII")
_REGISTER = 1
_NETWORK_HEADER, _TRANSPORT_HEADER = 1, 2
_META_L4PROTO = 16
_ACCEPT = 1
_CHECKSUM_OFFSET = {socket.IPPROTO_UDP: 6, socket.IPPROTO_TCP: 16}


def build_table(name: str, *, exclusive: bool = False) -> Message:
    """Return the request for a table of family ip; with ``exclusive`` EEXIST when there is one."""
    flags = NLM_F_CREATE | (NLM_F_EXCL if exclusive else 0)
    return Message(_NEW_TABLE, flags, _head() + text_attribute(1, name), f"table {name}")


def build_table_removal(name: str) -> Message:
    """Return the request that removes a table with all that is in it; ENOENT when there is none."""
    return Message(_DELETE_TABLE, 0, _head() + text_attribute(1, name), f"table {name}")


def build_filter_chain(table: str, name: str, hook: int, priority: int) -> Message:
    """Return the request for a chain of type filter at a hook, which accepts by default."""
    body = _head() + text_attribute(1, table) + text_attribute(3, name)
    body += attribute(4 | _NESTED, _number(1, hook) + _number(2, priority & 0xFFFFFFFF))
    body += _number(5, _ACCEPT) + text_attribute(7, "filter")
    return Message(_NEW_CHAIN, NLM_F_CREATE, body, f"chain {name}")


def build_port_rewriting(
    table: str, chain: str, protocol: int, address: tuple[int, bytes], port: tuple[int, int], new_port: int
) -> Message:
    """Return the request for a rule that puts another port into packets of a protocol.

    ``address`` says which address they must have, ``port`` which port, and that is the one that is replaced
    (constants of this module and values).
    """
    expressions = (
        _load_payload(_NETWORK_HEADER, address[0], 4)
        + _compare(address[1])
        + _expression("meta", _number(2, _META_L4PROTO) + _number(1, _REGISTER))
        + _compare(bytes((protocol,)))
        + _load_payload(_TRANSPORT_HEADER, port[0], 2)
        + _compare(port[1].to_bytes(2, "big"))
        + _expression("immediate", _number(1, _REGISTER) + _data(2, new_port.to_bytes(2, "big")))
        + _store_port(port[0], _CHECKSUM_OFFSET[protocol])
    )
    body = _head() + text_attribute(1, table) + text_attribute(2, chain) + attribute(4 | _NESTED, expressions)
    return Message(_NEW_RULE, NLM_F_CREATE | _NLM_F_APPEND, body, f"rule in {chain}")


def _head(resource: int = 0) -> bytes:
    return struct.pack("!BBH", socket.AF_INET, 0, resource)


def _number(kind: int, number: int) -> bytes:
    return attribute(kind, struct.pack("!I", number))


def _data(kind: int, value: bytes) -> bytes:
    return attribute(kind | _NESTED, attribute(1, value))


def _expression(name: str, content: bytes) -> bytes:
    return attribute(1 | _NESTED, text_attribute(1, name) + attribute(2 | _NESTED, content))


def _load_payload(base: int, offset: int, size: int) -> bytes:
    return _expression("payload", _number(1, _REGISTER) + _number(2, base) + _number(3, offset) + _number(4, size))


def _compare(value: bytes) -> bytes:
    return _expression("cmp", _number(1, _REGISTER) + _number(2, 0) + _data(3, value))


def _store_port(offset: int, checksum_offset: int) -> bytes:
    place = _number(2, _TRANSPORT_HEADER) + _number(3, offset) + _number(4, 2)
    return _expression("payload", _number(5, _REGISTER) + place + _number(6, 1) + _number(7, checksum_offset))


class NftSocket(NetlinkSocket):
    """A socket for nf_tables in the namespace of the thread that opens it."""

    def __init__(self) -> None:
        """Open it."""
        super().__init__(_NETFILTER)

    def __enter__(self) -> NftSocket:
        """Return itself; the socket is closed at the end."""
        return self

    def commit(self, *messages: Message) -> None:
        """Do all in one transaction or nothing; raises OSError for the first that failed (blocking)."""
        begin = self._sequence + 1
        first = begin + 1
        self._sequence = first + len(messages)
        data = _bracket(_BATCH_BEGIN, begin)
        data += b"".join(encode(message, first + number) for number, message in enumerate(messages))
        self._socket.sendto(data + _bracket(_BATCH_END, self._sequence), (0, 0))
        left = len(messages)
        failed: OSError | None = None
        while left:
            for answer in parse_answers(self._socket.recv(65536)):
                place = answer.sequence - first
                if answer.kind != NLMSG_ERROR or not -1 <= place < len(messages):
                    continue
                if place >= 0:
                    left -= 1
                failed = failed or failure_of(answer, messages[place].subject if place >= 0 else "transaction")
        if failed is not None:
            raise failed


def _bracket(kind: int, sequence: int) -> bytes:
    body = _head(resource=10)
    return _HEADER.pack(_HEADER.size + len(body), kind, NLM_F_REQUEST, sequence, 0) + body
