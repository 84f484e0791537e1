"""conmon's log lines: the fast way must say what the slow one says, or say that it cannot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.wire.frames import STDERR, STDOUT, FrameDecoder
from engine.wire.loglines import MAX_FRAME_BYTES, frame_lines, parse_lines, strip_plain

STAMP = b"2026-11-24T11:45:53.307007610+00:00"


def line(stream: bytes, kind: bytes, text: bytes) -> bytes:
    return b"%s %s %s %s\n" % (STAMP, stream, kind, text)


def slowly(block: bytes) -> bytes:
    return b"".join(text for _, _, text in parse_lines(block))


def test_whole_lines_and_parts_become_their_text() -> None:
    block = line(b"stdout", b"F", b"a") + line(b"stdout", b"P", b"bb") + line(b"stdout", b"F", b"cc")
    assert strip_plain(block) == b"a\nbbcc\n"


def test_a_block_with_stderr_is_left_to_the_slow_way() -> None:
    assert strip_plain(line(b"stdout", b"F", b"a") + line(b"stderr", b"F", b"b")) is None


def test_text_that_looks_like_a_line_of_conmon_stays_text() -> None:
    block = line(b"stdout", b"F", STAMP + b" stdout P looks like one")
    assert strip_plain(block) == slowly(block)


_TEXTS = st.one_of(
    st.binary(max_size=80).map(lambda data: data.replace(b"\n", b"")),
    st.sampled_from([b"", STAMP + b" stdout P ", STAMP + b" stdout F x", STAMP + b" stderr F x"]),
)


@given(st.lists(st.tuples(st.sampled_from([b"stdout", b"stdout", b"stderr"]), st.sampled_from([b"F", b"P"]), _TEXTS)))
def test_the_fast_way_agrees_with_the_slow_one(records: list[tuple[bytes, bytes, bytes]]) -> None:
    block = b"".join(line(*record) for record in records)
    fast = strip_plain(block)
    assert fast is None or fast == slowly(block)


@pytest.mark.parametrize("stream", [STDOUT, STDERR])
def test_each_line_has_a_frame_of_its_own(stream: int) -> None:
    long = b"x" * (2 * MAX_FRAME_BYTES + 5)
    framed = frame_lines(stream, b"one\n\ntwo\n" + long + b"\nrest")
    assert list(FrameDecoder().feed(framed)) == [
        (stream, b"one\n"),
        (stream, b"\n"),
        (stream, b"two\n"),
        (stream, long[:MAX_FRAME_BYTES]),
        (stream, long[:MAX_FRAME_BYTES]),
        (stream, b"xxxxx\n"),
        (stream, b"rest"),
    ]
    assert frame_lines(stream, b"") == b""
