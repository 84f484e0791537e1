"""The heads of tar archives as Docker writes them: ustar, with pax records only where ustar has no room.

Without I/O. The other direction is ``tarhead.py``.
"""

from __future__ import annotations

import struct

BLOCK_BYTES = 512
END = bytes(2 * BLOCK_BYTES)
"""What an archive ends with."""

FILE, HARD_LINK, SYMLINK, CHARACTER, BLOCK, FOLDER, PIPE = b"0", b"1", b"2", b"3", b"4", b"5", b"6"

_HEAD = struct.Struct("100s8s8s8s12s12s8ss100s8s32s32s8s8s155s12x")
_MAGIC = b"ustar\00000"
_BLANK_SUM = b" " * 8
_MAX_ID = 0o7777777
_MAX_NUMBER = 0o77777777777
_MAX_TEXT = 100
_XATTR = b"SCHILY.xattr."
_SPARSE = b"GNU.sparse."


def encode_member(
    name: bytes,
    flag: bytes,
    *,
    mode: int,
    uid: int = 0,
    gid: int = 0,
    size: int = 0,
    mtime_s: int = 0,
    link: bytes = b"",
    major: int = 0,
    minor: int = 0,
    xattrs: dict[bytes, bytes] | None = None,
    records: dict[bytes, bytes] | None = None,
) -> bytes:
    """Return all that stands before a member's content: its head, and a pax head before that where it needs one.

    ``mode`` are the permission bits, ``size`` the bytes of a file's content, which the caller pads with
    ``padding``. Names are bytes of any kind; that of a folder ends with a slash. ``records`` are more pax records.

    The bytes for a member never change: layers without a blob are written anew from their folder, and have to
    get the digest that they had before.
    """
    records = dict(records or {})
    if len(name) > _MAX_TEXT or not name.isascii():
        records[b"path"] = name
        name = _plain(name)
    if len(link) > _MAX_TEXT or not link.isascii():
        records[b"linkpath"] = link
        link = _plain(link)
    if size > _MAX_NUMBER:
        records[b"size"] = b"%d" % size
        size = 0
    if not 0 <= mtime_s <= _MAX_NUMBER:
        records[b"mtime"] = b"%d" % mtime_s
        mtime_s = 0
    if uid > _MAX_ID:
        records[b"uid"] = b"%d" % uid
        uid = 0
    if gid > _MAX_ID:
        records[b"gid"] = b"%d" % gid
        gid = 0
    for key, value in (xattrs or {}).items():
        records[_XATTR + key] = value
    head = _HEAD.pack(
        name,
        b"%07o" % (mode & 0o7777),
        b"%07o" % uid,
        b"%07o" % gid,
        b"%011o" % size,
        b"%011o" % mtime_s,
        _BLANK_SUM,
        flag,
        link,
        _MAGIC,
        b"",
        b"",
        b"%07o" % major,
        b"%07o" % minor,
        b"",
    )
    head = b"%b%06o\0 %b" % (head[:148], sum(head), head[156:])
    return _pax_head(name, records) + head if records else head


def encode_sparse(
    name: bytes, pieces: list[tuple[int, int]], real_size: int
) -> tuple[bytes, dict[bytes, bytes], bytes]:
    """Return the name, the pax records and the map that a file with holes is written with (GNU's sparse 1.0).

    ``pieces`` are (offset, length) of what is no hole. The map is the beginning of the content; the pieces follow.
    """
    table = b"%d\n" % len(pieces) + b"".join(b"%d\n%d\n" % piece for piece in pieces)
    records = {
        _SPARSE + b"major": b"1",
        _SPARSE + b"minor": b"0",
        _SPARSE + b"name": name,
        _SPARSE + b"realsize": b"%d" % real_size,
    }
    folder, _, base = name.rpartition(b"/")
    title = b"/".join(part for part in (folder, b"GNUSparseFile.0", base) if part)
    return title, records, table + padding(len(table))


def padding(size: int) -> bytes:
    """Return what fills up a content of ``size`` bytes to whole blocks."""
    return bytes(-size % BLOCK_BYTES)


def _plain(text: bytes) -> bytes:
    """Return what stands in a head for a text that is in a pax record: readers without pax see at least this."""
    return bytes(byte for byte in text if byte < 0x80)[:_MAX_TEXT].rstrip(b"/")


def _pax_head(name: bytes, records: dict[bytes, bytes]) -> bytes:
    data = b"".join(_record(key, value) for key, value in sorted(records.items()))
    folder, _, base = name.rstrip(b"/").rpartition(b"/")
    title = b"/".join(part for part in (folder[:60], b"PaxHeaders.0", base[:20]) if part)
    head = encode_member(title, b"x", mode=0, size=len(data))
    return head + data + padding(len(data))


def _record(key: bytes, value: bytes) -> bytes:
    """Return a pax record, which begins with its own length."""
    bare = len(key) + len(value) + 3
    length = bare + len(str(bare))
    if len(str(length)) > len(str(bare)):
        length += 1
    return b"%d %b=%b\n" % (length, key, value)
