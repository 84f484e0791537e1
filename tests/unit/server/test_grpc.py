"""The little of HTTP/2 that refuses calls of BuildKit's clients."""

from __future__ import annotations

from engine.server.grpc import PREFACE, SENTENCE, RefusingServer, encode_frame


def _frames(data: bytes) -> list[tuple[int, int, int, bytes]]:
    found: list[tuple[int, int, int, bytes]] = []
    while data:
        size = int.from_bytes(data[:3], "big")
        found.append((data[3], data[4], int.from_bytes(data[5:9], "big"), data[9 : 9 + size]))
        data = data[9 + size :]
    return found


def test_a_call_is_answered_with_the_sentence() -> None:
    """Settings are exchanged; a call gets headers and trailers in one, with gRPC's status 12."""
    server = RefusingServer()
    data = PREFACE + encode_frame(4, 0, 0) + encode_frame(1, 4, 1, b"\x83") + encode_frame(0, 1, 1, b"hello")
    answers: list[tuple[int, int, int, bytes]] = []
    for position in range(0, len(data), 7):  # cut anywhere
        answers += _frames(server.feed(data[position : position + 7]))
    assert [(kind, flags, stream) for kind, flags, stream, _ in answers] == [(4, 0, 0), (4, 1, 0), (1, 5, 1), (8, 0, 0)]
    block = answers[2][3]
    assert block.startswith(b"\x88")
    assert b"\x0bgrpc-status\x0212" in block
    assert SENTENCE.encode() in block.replace(b"%", b"")
    assert not server.is_over


def test_pings_are_answered_and_ends_are_noticed() -> None:
    """A client that only looks whether somebody is there is served too."""
    server = RefusingServer()
    server.feed(PREFACE)
    assert _frames(server.feed(encode_frame(6, 0, 0, b"12345678"))) == [(6, 1, 0, b"12345678")]
    server.feed(encode_frame(7, 0, 0, bytes(8)))
    assert server.is_over


def test_what_is_no_http2_ends_the_connection() -> None:
    """Garbage, and frames without bounds."""
    server = RefusingServer()
    assert server.feed(b"GET / HTTP/1.1\r\n\r\n") == b""
    assert server.is_over
    server = RefusingServer()
    server.feed(PREFACE + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01")
    assert server.is_over
