"""DNS packets, as far as the name server looks into them (RFC 1035, 6891). No I/O.

It reads a query's header, question and EDNS size, writes answers of its own, and passes all other
packets on as they are. A library (dnslib) would double the memory of the process.
"""

from __future__ import annotations

from struct import Struct

A, PTR, MX, AAAA, OPT = 1, 12, 15, 28, 41
IN, ANY_CLASS = 1, 255
FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 1, 2, 3, 4, 5
TTL_S = 600
MIN_SIZE = 512
MAX_SIZE = 65535
HEADER_SIZE = 12

_RESPONSE, _TRUNCATED, _RECURSION_AVAILABLE = 0x8000, 0x0200, 0x0080
_KEPT = 0x7910  # opcode, RD and CD of the query
_HEADER = Struct("!6H")
_TYPE_CLASS = Struct("!2H")
_RECORD = Struct("!3HIH")  # a pointer to the question's name, type, class, TTL, length
_TO_QUESTION = 0xC00C


class Query:
    """A query with one question. ``name`` is in lower case, labels joined by dots; None when a label has a dot."""

    __slots__ = ("data", "end", "kind", "klass", "name")

    def __init__(self, data: bytes, name: bytes | None, kind: int, klass: int, end: int) -> None:
        """``end`` is where the question ends in ``data``."""
        self.data = data
        self.name = name
        self.kind = kind
        self.klass = klass
        self.end = end


def parse_query(data: bytes) -> Query | bytes | None:
    """Return the query in a packet, an answer that refuses it, or None for what is to be ignored."""
    if len(data) < HEADER_SIZE:
        return None
    _, flags, questions, answers, authorities, additional = _HEADER.unpack_from(data)
    if flags & _RESPONSE:
        return None
    if flags & 0x7800:
        return build_refusal(data, NOTIMP)
    if questions != 1 or answers > 1 or authorities > 1 or additional > 2:
        return build_refusal(data, FORMERR)
    labels = []
    at, size = HEADER_SIZE, len(data)
    dotted = False
    while True:
        if at >= size:
            return build_refusal(data, FORMERR)
        length = data[at]
        at += 1
        if not length:
            break
        label = data[at : at + length]
        at += length
        if length > 63 or at >= size or at > HEADER_SIZE + 254:
            return build_refusal(data, FORMERR)
        dotted = dotted or 46 in label
        labels.append(label)
    if at + 4 > size:
        return build_refusal(data, FORMERR)
    kind, klass = _TYPE_CLASS.unpack_from(data, at)
    return Query(data, None if dotted else b".".join(labels).lower(), kind, klass, at + 4)


def udp_size(query: Query) -> int:
    """Return how many bytes an answer by UDP may have: 512, or what the query's OPT record says."""
    data, at = query.data, query.end
    _, _, _, answers, authorities, additional = _HEADER.unpack_from(data)
    for _ in range(answers + authorities + additional):
        at = _skip_name(data, at)
        if at + 10 > len(data):
            break
        kind, size = _TYPE_CLASS.unpack_from(data, at)
        if kind == OPT:
            return max(int(size), MIN_SIZE)
        at += 10 + int.from_bytes(data[at + 8 : at + 10], "big")
    return MIN_SIZE


def _skip_name(data: bytes, at: int) -> int:
    while at < len(data):
        length = data[at]
        if length >= 0xC0:
            return at + 2
        at += 1 + length
        if not length:
            return at
    return len(data)


def build_answer(query: Query, kind: int, values: list[bytes], limit: int) -> bytes:
    """Return an answer with a record of ``kind`` for each of ``values``, cut to ``limit`` bytes."""
    data = query.data
    room = max(limit - query.end, 0)
    records = []
    for value in values:
        room -= 12 + len(value)
        if room < 0:
            break
        records.append(_RECORD.pack(_TO_QUESTION, kind, IN, TTL_S, len(value)) + value)
    flags = int.from_bytes(data[2:4], "big") & _KEPT | _RESPONSE | _RECURSION_AVAILABLE
    if len(records) < len(values):
        flags |= _TRUNCATED
    head = data[:2] + flags.to_bytes(2, "big") + b"\0\1" + len(records).to_bytes(2, "big") + b"\0\0\0\0"
    return head + data[HEADER_SIZE : query.end] + b"".join(records)


def build_failure(query: Query, code: int) -> bytes:
    """Return an answer that has the question and an error only."""
    flags = int.from_bytes(query.data[2:4], "big") & _KEPT | _RESPONSE | code
    return query.data[:2] + flags.to_bytes(2, "big") + b"\0\1\0\0\0\0\0\0" + query.data[HEADER_SIZE : query.end]


def build_refusal(data: bytes, code: int) -> bytes:
    """Return an answer to a packet whose question cannot be read."""
    flags = int.from_bytes(data[2:4], "big") & _KEPT | _RESPONSE | code
    return data[:2] + flags.to_bytes(2, "big") + bytes(8)


def is_answer_to(answer: bytes, query: bytes, end: int) -> bool:
    """Whether a packet answers a query whose question ends at ``end``: same ID and question.

    A server that could not read the query may leave the question out.
    """
    if len(answer) < HEADER_SIZE or answer[:2] != query[:2] or not answer[2] & 0x80:
        return False
    if answer[4:6] == b"\0\0":
        return code_of(answer) in (FORMERR, SERVFAIL, NOTIMP, REFUSED)
    return answer[4:6] == b"\0\1" and answer[HEADER_SIZE:end].lower() == query[HEADER_SIZE:end].lower()


def code_of(answer: bytes) -> int:
    """Return the response code."""
    return answer[3] & 0x0F


def encode_name(name: bytes) -> bytes | None:
    """Return a dotted name as it stands in a packet; None when it is none."""
    labels = name.rstrip(b".").split(b".")
    if not all(0 < len(label) < 64 for label in labels):
        return None
    encoded = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    return encoded if len(encoded) <= 255 else None


def parse_reverse(name: bytes) -> bytes | None:
    """Return the packed address that ``4.3.2.1.in-addr.arpa`` or its IPv6 form asks for; None when it is none."""
    try:
        if name.endswith(b".in-addr.arpa"):
            parts = name[:-13].split(b".")
            if len(parts) == 4 and all(part.isdigit() and len(part) < 4 for part in parts):
                return bytes(int(part) for part in reversed(parts))
        elif name.endswith(b".ip6.arpa"):
            nibbles = name[:-9].split(b".")
            if len(nibbles) == 32 and all(len(nibble) == 1 for nibble in nibbles):
                return bytes.fromhex(b"".join(reversed(nibbles)).decode("ascii"))
    except ValueError:
        pass
    return None
