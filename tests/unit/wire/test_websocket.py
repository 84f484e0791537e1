from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InvalidArgument
from engine.wire.websocket import (
    BINARY,
    CLOSE,
    PING,
    PROTOCOL_ERROR,
    TEXT,
    FrameReader,
    Piece,
    ProtocolViolationError,
    build_close,
    build_frame,
    build_handshake,
)

MASK = b"\x11\x22\x33\x44"
HANDSHAKE = {
    "Upgrade": "websocket", "Connection": "keep-alive, Upgrade", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}  # fmt: skip


def masked(kind: int, data: bytes, *, is_last: bool = True, wide: bool = False) -> bytes:
    body = bytes(byte ^ MASK[at % 4] for at, byte in enumerate(data))
    first = (0x80 if is_last else 0) | kind
    if wide or len(data) > 65535:
        return bytes((first, 0xFF)) + len(data).to_bytes(8, "big") + MASK + body
    if len(data) > 125:
        return bytes((first, 0xFE)) + len(data).to_bytes(2, "big") + MASK + body
    return bytes((first, 0x80 | len(data))) + MASK + body


def payload(pieces: list[Piece]) -> bytes:
    return b"".join(piece.data for piece in pieces if piece.kind == BINARY)


def test_the_example_of_the_rfc_is_accepted() -> None:
    head = build_handshake(HANDSHAKE)
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head
    assert b"WebSocket-Protocol" not in head
    assert build_handshake({**HANDSHAKE, "Sec-WebSocket-Protocol": "tty"}).endswith(b"Sec-WebSocket-Protocol: tty\r\n")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Upgrade": "tcp"}, "not websocket protocol"),
        ({"Connection": "close"}, "not websocket protocol"),
        ({"Sec-WebSocket-Version": "8"}, "missing or bad WebSocket Version"),
        ({"Sec-WebSocket-Key": ""}, "mismatch challenge/response"),
        ({"Sec-WebSocket-Key": "no base64"}, "mismatch challenge/response"),
        ({"Sec-WebSocket-Key": "c2hvcnQ="}, "mismatch challenge/response"),
        ({"Sec-WebSocket-Protocol": "a, b"}, "missing or bad WebSocket-Protocol"),
    ],
)
def test_other_handshakes_are_refused(changes: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        build_handshake({**HANDSHAKE, **changes})


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
def test_frames_have_the_shortest_length_and_no_mask(size: int) -> None:
    frame = build_frame(BINARY, bytes(size))
    assert frame[0] == 0x82
    assert not frame[1] & 0x80
    assert len(frame) == size + (2 if size < 126 else 4 if size < 65536 else 10)
    assert build_close(PROTOCOL_ERROR) == b"\x88\x02\x03\xea"


@given(st.lists(st.binary(max_size=300), max_size=6), st.integers(1, 40))
def test_messages_arrive_whole_however_they_are_cut(messages: list[bytes], step: int) -> None:
    wire = b""
    for number, message in enumerate(messages):
        cut = len(message) // 2
        wire += masked(TEXT if number % 2 else BINARY, message[:cut], is_last=False, wide=True)
        wire += masked(PING, b"are you there")
        wire += masked(0, message[cut:])
    wire += masked(CLOSE, b"\x03\xe8bye")
    reader = FrameReader()
    pieces = [piece for at in range(0, len(wire), step) for piece in reader.feed(wire[at : at + step])]
    assert payload(pieces) == b"".join(messages)
    assert [piece for piece in pieces if piece.kind == PING] == [Piece(PING, b"are you there")] * len(messages)
    assert pieces[-1] == Piece(CLOSE, b"\x03\xe8bye")


def test_a_long_frame_is_passed_on_before_it_is_whole() -> None:
    reader = FrameReader()
    wire = masked(BINARY, bytes(range(256)) * 1000)
    assert payload(reader.feed(wire[:1000])) == (bytes(range(256)) * 4)[:986]
    assert reader.feed(b"") == []


@pytest.mark.parametrize(
    "wire",
    [
        build_frame(TEXT, b"not masked"),
        b"\xc1\x80" + MASK,
        masked(3, b"x"),
        masked(0xB, b"x"),
        masked(PING, b"x", is_last=False),
        masked(PING, b"x" * 126),
        masked(0, b"nothing to continue"),
        masked(TEXT, b"a", is_last=False) + masked(TEXT, b"b"),
        b"\x82\xff" + b"\xff" * 8 + MASK,
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_what_breaks_the_protocol_is_told(wire: bytes) -> None:
    with pytest.raises(ProtocolViolationError):
        FrameReader().feed(wire)


@given(st.binary(max_size=200))
def test_garbage_raises_nothing_else(wire: bytes) -> None:
    reader = FrameReader()
    try:
        for at in range(len(wire)):
            reader.feed(wire[at : at + 1])
    except ProtocolViolationError:
        return
