"""Which compression an answer gets, and the header of a path."""

from __future__ import annotations

import pytest

from engine.model.archive import PathStat, decode_stat, encode_stat
from engine.server.archive import choose_encoding


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        ("", ""),
        ("identity", ""),
        ("gzip", "gzip"),
        ("gzip, deflate, br", "gzip"),
        ("deflate", "deflate"),
        ("deflate;q=0.9, gzip;q=0.5", "deflate"),
        ("gzip;q=0", ""),
        ("*", "gzip"),
        ("*;q=0.1, deflate", "deflate"),
        ("gzip;q=x", ""),
        ("br, zstd", ""),
    ],
)
def test_encodings(accepted: str, chosen: str) -> None:
    assert choose_encoding(accepted) == chosen


def test_the_header_of_a_path() -> None:
    found = PathStat(name="ü", size=5, mode=1 << 27 | 0o777, mtime="2023-11-14T22:13:21Z", link_target="/x")
    assert decode_stat(encode_stat(found)) == found
    assert found.is_link
    assert not found.is_folder
    assert decode_stat("") is None
    assert decode_stat("%%%") is None
