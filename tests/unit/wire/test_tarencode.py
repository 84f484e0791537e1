"""Heads of tar archives, read back by the standard library and by our own reader."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.wire.tarencode import CHARACTER, END, FILE, FOLDER, HARD_LINK, SYMLINK, encode_member, padding
from engine.wire.tarhead import read_members


def read(data: bytes) -> list[tarfile.TarInfo]:
    return tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape").getmembers()


def test_a_plain_file_is_one_block_of_ustar() -> None:
    data = encode_member(b"etc/hosts", FILE, mode=0o4644, uid=12, gid=34, size=5, mtime_s=1_700_000_000)
    assert len(data) == 512
    (member,) = read(data + b"hello" + padding(5) + END)
    assert (member.name, member.mode, member.uid, member.gid) == ("etc/hosts", 0o4644, 12, 34)
    assert (member.size, member.mtime, member.pax_headers) == (5, 1_700_000_000, {})
    assert member.isreg()


def test_kinds_and_devices() -> None:
    data = encode_member(b"d/", FOLDER, mode=0o755)
    data += encode_member(b"l", SYMLINK, mode=0o777, link=b"/elsewhere")
    data += encode_member(b"h", HARD_LINK, mode=0o644, link=b"d/x")
    data += encode_member(b"c", CHARACTER, mode=0o600, major=5, minor=1)
    folder, link, hard, device = read(data + END)
    assert folder.isdir()
    assert link.issym()
    assert link.linkname == "/elsewhere"
    assert hard.islnk()
    assert hard.linkname == "d/x"
    assert device.ischr()
    assert (device.devmajor, device.devminor) == (5, 1)


@pytest.mark.parametrize("name", [b"n" * 101, "grün".encode(), b"\xff\xfe/x", b"a/" * 200 + b"b"])
def test_names_that_ustar_cannot_hold(name: bytes) -> None:
    data = encode_member(name, FILE, mode=0o644) + END
    (member,) = read_members(io.BytesIO(data))
    assert member.name == name
    assert read(data)[0].name.encode(errors="surrogateescape") == name


def test_numbers_that_ustar_cannot_hold() -> None:
    data = encode_member(b"big", FILE, mode=0o644, uid=2**31, gid=2**31 + 1, size=9 << 30, mtime_s=-5)
    member = next(read_members(io.BytesIO(data)))
    assert (member.size, member.uid, member.gid, member.mtime_ns) == (9 << 30, 2**31, 2**31 + 1, -5_000_000_000)


@given(st.integers(1, 1200))
def test_a_pax_record_says_its_own_length(length: int) -> None:
    value = b"v" * length
    data = encode_member(b"f", FILE, mode=0o644, xattrs={b"user.k": value})
    assert next(read_members(io.BytesIO(data))).xattrs == {b"user.k": value}
    assert len(data) % 512 == 0
