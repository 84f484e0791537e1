"""Heads of tar archives, held against what the standard library's tarfile writes."""

from __future__ import annotations

import io
import tarfile

import pytest

from engine.wire.tarhead import Member, TarError, parse_number, parse_pax, read_members, read_sparse_map


class Bytes:
    """A Source over bytes."""

    def __init__(self, data: bytes) -> None:
        """Begin at the start."""
        self._file = io.BytesIO(data)

    def read(self, size: int) -> bytes:
        """Return ``size`` bytes."""
        return self._file.read(size)


def members_of(data: bytes) -> list[Member]:
    """Return all members, their contents skipped."""
    source = Bytes(data)
    found = []
    for member in read_members(source):
        found.append(member)
        source.read(member.size)
    return found


def archive(*infos: tarfile.TarInfo, form: int = tarfile.PAX_FORMAT) -> bytes:
    """Return a tar of empty members."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=form) as opened:
        for info in infos:
            opened.addfile(info, io.BytesIO(b"x" * info.size))
    return output.getvalue()


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_tarfile_writes_is_read(form: int) -> None:
    info = tarfile.TarInfo("folder/" + "n" * 90)
    info.size, info.mode, info.uid, info.gid, info.mtime = 1000, 0o4755, 1000, 2000, 1234567890
    link = tarfile.TarInfo("l")
    link.type, link.linkname = tarfile.SYMTYPE, "target"
    device = tarfile.TarInfo("d")
    device.type, device.devmajor, device.devminor = tarfile.CHRTYPE, 8, 17
    first, second, third = members_of(archive(info, link, device, form=form))
    assert (first.kind, first.name, first.size) == ("file", b"folder/" + b"n" * 90, 1000)
    assert (first.mode & 0o7777, first.uid, first.gid, first.mtime_ns) == (0o4755, 1000, 2000, 1234567890 * 10**9)
    assert (second.kind, second.link, second.size) == ("symlink", b"target", 0)
    assert (third.kind, third.major, third.minor) == ("device", 8, 17)


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_and_links(form: int) -> None:
    info = tarfile.TarInfo("n" * 5000)
    info.type, info.linkname = tarfile.SYMTYPE, "l" * 4000
    plain = tarfile.TarInfo("after")
    first, second = members_of(archive(info, plain, form=form))
    assert (len(first.name), len(first.link)) == (5000, 4000)
    assert second.name == b"after"


def test_times_before_1970_and_with_fractions() -> None:
    old, exact = tarfile.TarInfo("old"), tarfile.TarInfo("exact")
    old.mtime, exact.mtime = -1.5, 12.25
    first, second = members_of(archive(old, exact))
    assert (first.mtime_ns, second.mtime_ns) == (-1_500_000_000, 12_250_000_000)


@pytest.mark.parametrize(
    ("field", "number"),
    [
        (b"0000644\0", 0o644),
        (b" 644 \0\0\0", 0o644),
        (b"\0" * 8, 0),
        (b"\x80" + b"\0" * 3 + b"\x40\0\0\0", 1 << 30),
        (b"\xff" * 8, -1),
    ],
)
def test_numbers_are_octal_or_binary(field: bytes, number: int) -> None:
    assert parse_number(field) == number


@pytest.mark.parametrize("field", [b"9999999\0", b"abc\0\0\0\0\0", b"-1\0\0\0\0\0\0"[:8]])
def test_broken_numbers(field: bytes) -> None:
    if field.startswith(b"-"):
        assert parse_number(field) == -1  # and no size or owner may be that: see the next test
        return
    with pytest.raises(TarError):
        parse_number(field)


@pytest.mark.parametrize(
    "records",
    [b"5 a=b", b"x", b"999999999999 a=b\n", b"6 a=b\n" + b"junk", b"-5 a=b\n", b" 6 a=b\n"],
)
def test_broken_pax_records(records: bytes) -> None:
    with pytest.raises(TarError):
        parse_pax(records)


def test_pax_records() -> None:
    assert parse_pax(b"6 a=b\n11 c=d\ne=f\n") == {b"a": b"b", b"c": b"d\ne=f"}


@pytest.mark.parametrize("key", ["size", "uid", "gid", "mtime", "GNU.sparse.map"])
def test_pax_values_that_are_no_numbers(key: str) -> None:
    info = tarfile.TarInfo("f")
    info.pax_headers = {key: "not a number"}
    with pytest.raises(TarError):
        members_of(archive(info))


@pytest.mark.parametrize(("key", "value"), [("size", "-5"), ("uid", "-1"), ("gid", str(2**32)), ("size", str(2**60))])
def test_numbers_out_of_range(key: str, value: str) -> None:
    info = tarfile.TarInfo("f")
    info.pax_headers = {key: value}
    with pytest.raises(TarError, match="invalid"):
        members_of(archive(info))


def test_a_head_that_was_changed_is_found_out() -> None:
    data = bytearray(archive(tarfile.TarInfo("f")))
    data[0] ^= 1
    with pytest.raises(TarError, match="invalid tar header"):
        members_of(bytes(data))


def test_the_two_empty_blocks_may_be_missing() -> None:
    data = archive(tarfile.TarInfo("f"), form=tarfile.USTAR_FORMAT)
    assert [member.name for member in members_of(data[:512])] == [b"f"]


def test_a_map_of_pieces_in_the_content() -> None:
    text = b"2\n0\n10\n4096\n20\n".ljust(512, b"\0")
    assert read_sparse_map(Bytes(text), 10_000) == ([(0, 10), (4096, 20)], 512)


@pytest.mark.parametrize("text", [b"", b"x\n", b"5\n1\n", b"99999999\n", b"-1\n"])
def test_a_broken_map(text: bytes) -> None:
    with pytest.raises(TarError, match="invalid sparse map"):
        read_sparse_map(Bytes(text.ljust(1024, b"\0")), 1024)
