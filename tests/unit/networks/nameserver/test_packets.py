from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.networks.nameserver.packets import (
    AAAA,
    FORMERR,
    NOTIMP,
    PTR,
    SERVFAIL,
    A,
    Query,
    build_answer,
    build_failure,
    code_of,
    encode_name,
    is_answer_to,
    parse_query,
    parse_reverse,
    udp_size,
)


def packet(name: bytes = b"\3web\0", *, flags: int = 0x0100, counts: tuple[int, ...] = (1, 0, 0, 0)) -> bytes:
    return struct.pack("!6H", 0x1234, flags, *counts) + name + b"\0\1\0\1"


def parsed(data: bytes) -> Query:
    query = parse_query(data)
    assert isinstance(query, Query)
    return query


def test_a_query_is_read_in_lower_case_and_without_its_last_dot() -> None:
    query = parsed(packet(b"\3WeB\3Net\0"))
    assert (query.name, query.kind, query.klass, query.end) == (b"web.net", A, 1, 25)


def test_the_root_is_a_name_without_labels() -> None:
    assert parsed(packet(b"\0")).name == b""


def test_a_dot_inside_a_label_separates_nothing() -> None:
    assert parsed(packet(b"\7web.net\0")).name is None


@pytest.mark.parametrize(
    "data", [b"", b"\x12\x34", packet()[:11], packet(flags=0x8100)], ids=["empty", "short", "header", "answer"]
)
def test_what_is_no_query_is_ignored(data: bytes) -> None:
    assert parse_query(data) is None


@pytest.mark.parametrize(
    "data",
    [
        packet()[:12],
        packet()[:16],
        packet()[:-1],
        packet(b"\3we"),
        packet(b"\x40" + b"x" * 64 + b"\0"),
        packet(b"\xc0\x0c"),
        packet(b"\1a" * 128 + b"\0"),
        packet(counts=(0, 0, 0, 0)),
        packet(counts=(2, 0, 0, 0)),
        packet(counts=(1, 2, 0, 0)),
        packet(counts=(1, 0, 2, 0)),
        packet(counts=(1, 0, 0, 3)),
    ],
)
def test_what_cannot_be_read_is_a_format_error(data: bytes) -> None:
    refusal = parse_query(data)
    assert isinstance(refusal, bytes)
    assert code_of(refusal) == FORMERR
    assert refusal[:2] == data[:2]
    assert refusal[2] & 0x80
    assert refusal[4:] == bytes(8)


def test_updates_and_notifications_are_not_implemented() -> None:
    refusal = parse_query(packet(flags=0x2800))
    assert isinstance(refusal, bytes)
    assert code_of(refusal) == NOTIMP


@given(st.binary(max_size=300))
def test_no_garbage_breaks_the_parser(tail: bytes) -> None:
    for data in (tail, packet()[:12] + tail, packet(counts=(1, 1, 1, 2)) + tail):
        query = parse_query(data)
        if isinstance(query, Query):
            assert udp_size(query) >= 512
            assert build_failure(query, SERVFAIL)[12:] == data[12 : query.end]
        is_answer_to(tail, packet(), 21)


def test_an_answer_repeats_id_and_question_and_points_to_the_name() -> None:
    query = parsed(packet(flags=0x0110))
    answer = build_answer(query, A, [b"\x0a\0\0\2", b"\x0a\0\0\3"], 512)
    assert answer[:12] == struct.pack("!6H", 0x1234, 0x8190, 1, 2, 0, 0)
    assert answer[12:21] == query.data[12:21]
    assert answer[21:37] == b"\xc0\x0c\0\1\0\1\0\0\x02\x58\0\4\x0a\0\0\2"


def test_an_answer_without_values_is_no_error() -> None:
    answer = build_answer(parsed(packet()), AAAA, [], 512)
    assert code_of(answer) == 0
    assert answer[6:8] == b"\0\0"


def test_too_many_values_are_cut_and_said_to_be() -> None:
    values = [bytes((10, 0, 0, number)) for number in range(200)]
    query = parsed(packet())
    for limit in (512, 1232):
        answer = build_answer(query, A, values, limit)
        assert limit - 16 < len(answer) <= limit
        assert answer[2] & 2
        assert int.from_bytes(answer[6:8], "big") == (limit - 21) // 16
    assert not build_answer(query, A, values, 65535)[2] & 2


def test_edns_says_how_long_an_answer_may_be() -> None:
    option = b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0)
    assert udp_size(parsed(packet(counts=(1, 0, 0, 1)) + option)) == 1232
    assert udp_size(parsed(packet())) == 512
    assert udp_size(parsed(packet(counts=(1, 0, 0, 1)) + b"\0" + struct.pack("!HHIH", 41, 10, 0, 0))) == 512
    record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 0, 4) + b"\1\2\3\4"
    assert udp_size(parsed(packet(counts=(1, 1, 0, 1)) + record + option)) == 1232


def test_only_an_answer_with_the_same_id_and_question_counts() -> None:
    query = packet()
    good = b"\x12\x34\x81\x80\0\1\0\0\0\0\0\0\3WEB\0\0\1\0\1"
    assert is_answer_to(good, query, 21)
    assert not is_answer_to(b"\x12\x35" + good[2:], query, 21)
    assert not is_answer_to(good[:2] + b"\1" + good[3:], query, 21)
    assert not is_answer_to(good.replace(b"WEB", b"WEC"), query, 21)
    assert not is_answer_to(good[:-4] + b"\0\2\0\1", query, 21)
    assert not is_answer_to(good[:11], query, 21)


def test_a_server_that_cannot_read_the_query_may_leave_the_question_out() -> None:
    query = packet()
    assert is_answer_to(b"\x12\x34\x81\x81" + bytes(8), query, 21)
    assert not is_answer_to(b"\x12\x34\x81\x80" + bytes(8), query, 21)


def test_names_are_encoded_or_refused() -> None:
    assert encode_name(b"web.net") == b"\3web\3net\0"
    assert encode_name(b"web.net.") == b"\3web\3net\0"
    for name in (b"", b".", b"a..b", b"x" * 64, b".".join([b"x" * 60] * 5)):
        assert encode_name(name) is None


def test_reverse_names() -> None:
    assert parse_reverse(b"2.0.0.10.in-addr.arpa") == bytes((10, 0, 0, 2))
    nibbles = ".".join(reversed("fd000000000000000000000000000002"))
    assert parse_reverse(f"{nibbles}.ip6.arpa".encode()) == b"\xfd" + bytes(14) + b"\2"
    for name in (
        b"256.0.0.10.in-addr.arpa", b"0.0.10.in-addr.arpa", b"x.0.0.10.in-addr.arpa", b"1.2.3.4.5.in-addr.arpa",
        b"in-addr.arpa", b"g" + b".0" * 31 + b".ip6.arpa", b"0.ip6.arpa", b"\xff" + b".0" * 31 + b".ip6.arpa", b"",
        b"\xb2.0.0.10.in-addr.arpa",
    ):  # fmt: skip
        assert parse_reverse(name) is None
    assert PTR == 12
