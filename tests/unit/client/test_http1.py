"""The reading of HTTP/1.1 answers, however the network cuts them."""

from __future__ import annotations

import pytest

from engine.wire.http1 import ProtocolError, ResponseParser, encode_chunk, encode_request, encode_target

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n7;note=1\r\n, world\r\n0\r\nTrailer: x\r\n\r\n"
)


def read_all(parser: ResponseParser, pieces: list[bytes]) -> bytes:
    body = bytearray()
    for piece in pieces:
        parser.feed(piece)
        while data := parser.take_body():
            body += data
    return bytes(body)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_chunked_body_is_the_same_however_it_is_cut(size: int) -> None:
    parser = ResponseParser("GET")
    body = read_all(parser, [CHUNKED[start : start + size] for start in range(0, len(CHUNKED), size)])
    assert body == b"hello, world"
    assert parser.complete
    assert parser.head is not None
    assert parser.head.status == 200
    assert parser.head.keeps_alive


def test_fixed_length_body_ends_where_it_says() -> None:
    parser = ResponseParser("GET")
    assert read_all(parser, [b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", b"cNEXT"]) == b"abc"
    assert parser.complete


def test_body_without_length_ends_with_the_connection() -> None:
    parser = ResponseParser("GET")
    assert read_all(parser, [b"HTTP/1.0 200 OK\r\n\r\nabc"]) == b"abc"
    assert not parser.complete
    parser.feed_eof()
    assert parser.complete
    assert parser.head is not None
    assert not parser.head.keeps_alive


@pytest.mark.parametrize(
    ("method", "head"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"),
        ("POST", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("POST", b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    ],
)
def test_answers_without_a_body_are_complete_with_their_head(method: str, head: bytes) -> None:
    parser = ResponseParser(method)
    parser.feed(head)
    assert parser.complete


def test_what_follows_an_upgrade_belongs_to_the_stream() -> None:
    parser = ResponseParser("POST")
    parser.feed(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\nraw\r\nbytes")
    assert parser.head is not None
    assert parser.head.status == 101
    assert parser.leftover() == b"raw\r\nbytes"


@pytest.mark.parametrize("end", [b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"])
def test_a_cut_off_answer_is_an_error(end: bytes) -> None:
    parser = ResponseParser("GET")
    parser.feed(end)
    parser.take_body()
    with pytest.raises(ProtocolError, match="in the middle"):
        parser.feed_eof()


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 hello\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 300_000,
    ],
)
def test_what_is_not_http_is_refused(data: bytes) -> None:
    parser = ResponseParser("GET")
    with pytest.raises(ProtocolError):
        parser.feed(data)


@pytest.mark.parametrize("chunk", [b"zz\r\n", b"3\r\nabcd\r\n"])
def test_malformed_chunks_are_refused(chunk: bytes) -> None:
    parser = ResponseParser("GET")
    parser.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk)
    with pytest.raises(ProtocolError):
        read_all(parser, [b"0\r\n"])


def test_a_header_cannot_break_out_of_its_line() -> None:
    with pytest.raises(ProtocolError, match="X-Registry-Auth"):
        encode_request("GET", "/", {"X-Registry-Auth": "a\r\nHost: evil"})


def test_targets_quote_what_is_not_a_path() -> None:
    target = encode_target("/images/a b?c/json", [("names", "x:1"), ("names", "y&z")])
    assert target == "/images/a%20b%3Fc/json?names=x%3A1&names=y%26z"


def test_chunks_are_framed_and_ended() -> None:
    assert encode_chunk(b"x" * 26) + encode_chunk(b"") == b"1a\r\n" + b"x" * 26 + b"\r\n0\r\n\r\n"
