"""Docker's framing of several streams, whole and cut anywhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InvalidArgument
from engine.wire.frames import MAX_FRAME_BYTES, STDERR, STDOUT, FrameDecoder, encode_frame


def test_a_frame_has_dockers_eight_bytes_before_its_data() -> None:
    assert encode_frame(STDERR, b"oops\n") == b"\x02\0\0\0\0\0\0\x05oops\n"
    assert encode_frame(STDOUT, b"") == b"\x01\0\0\0\0\0\0\0"


@given(
    st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=300)), max_size=8),
    st.lists(st.integers(1, 40), min_size=1, max_size=20),
)
def test_frames_come_out_as_they_went_in_however_they_are_cut(frames: list[tuple[int, bytes]], cuts: list[int]) -> None:
    data = b"".join(encode_frame(stream, text) for stream, text in frames)
    decoder = FrameDecoder()
    found: list[tuple[int, bytes]] = []
    position = 0
    while position < len(data):
        size = cuts[position % len(cuts)]
        found += decoder.feed(data[position : position + size])
        position += size
    assert found == frames
    assert decoder.is_whole


def test_an_unfinished_frame_is_not_whole() -> None:
    decoder = FrameDecoder()
    assert list(decoder.feed(encode_frame(STDOUT, b"text")[:-1])) == []
    assert not decoder.is_whole


@pytest.mark.parametrize("head", [b"Hello wo", b"\x04\0\0\0\0\0\0\0", b"\x01\0\0\0\xff\0\0\0"])
def test_bytes_that_are_no_frames_are_told(head: bytes) -> None:
    with pytest.raises(InvalidArgument, match="not a multiplexed stream"):
        list(FrameDecoder().feed(head))


def test_the_largest_frame_is_taken() -> None:
    decoder = FrameDecoder()
    assert list(decoder.feed(b"\x01\0\0\0" + MAX_FRAME_BYTES.to_bytes(4, "big"))) == []
