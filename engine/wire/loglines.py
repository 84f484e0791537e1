"""A container's log as conmon writes it: ``TIME stdout|stderr F|P TEXT`` a line, P for a part of a longer one.

Without I/O; from such lines to what the API sends.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from functools import lru_cache

from engine.errors import InvalidArgument
from engine.wire.frames import HEAD_BYTES, STDERR, STDOUT
from engine.wire.times import parse_rfc3339

MAX_FRAME_BYTES = 16 * 1024
"""Docker cuts longer lines into frames of this size."""

# conmon's times are all 35 bytes long: a pattern of fixed length is three times faster than [^ ]+.
_PLAIN = {
    stream: re.compile(rb"\n.{35} %s (?:F |P ([^\n]*)\n.{35} %s F )" % (name, name))
    for stream, name in ((STDOUT, b"stdout"), (STDERR, b"stderr"))
}
_LINE = re.compile(rb"([^ \n]+) (stdout|stderr) ([FP]) ([^\n]*)\n")
_STAMP_BYTES = 35
_MARKS = {STDOUT: b" stdout ", STDERR: b" stderr "}
_STREAMS = {b"stdout": STDOUT, b"stderr": STDERR}


def strip_plain(block: bytes, stream: int = STDOUT) -> bytes | None:
    """Return the text of a block if it holds nothing but lines of one stream, else None: then look at each line.

    conmon cuts a line wherever a read of 8 KiB ends, so a part (P) here and there is the rule; two parts in
    a row are not. One pass, since what a line says must never be taken for the next line's beginning; that
    every line was taken is seen by counting.
    """
    if not block.startswith(_MARKS[stream], _STAMP_BYTES):
        return None  # seen at once, without a pass
    text, count = _PLAIN[stream].subn(rb"\n\1", b"\n" + block)
    return text[1:] if count == text.count(b"\n") - 1 else None


def parse_lines(block: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    """Yield (time, stream, text) of each line of a block that ends with a line's end.

    Text has its newline where the line was whole. What is not in conmon's form is passed over.
    """
    for found in _LINE.finditer(block):
        stamp, stream, kind, text = found.groups()
        yield stamp, _STREAMS[stream], text + b"\n" if kind == b"F" else text


def parse_stamp(stamp: bytes) -> int:
    """Return nanoseconds since 1970 of conmon's time (``2026-11-24T11:45:53.307007610+00:00``).

    Damage counts as the beginning of time, so that the line is still shown.
    """
    if len(stamp) == _STAMP_BYTES and stamp.endswith(b"+00:00") and stamp[20:29].isdigit():
        # Lines come in order and many in a second: that second is worked out once.
        second = _parse(stamp[:19] + b"Z")
        return second + int(stamp[20:29]) if second else 0
    return _parse(stamp)


@lru_cache(maxsize=16)
def _parse(stamp: bytes) -> int:
    try:
        return parse_rfc3339(stamp.decode("ascii", "replace"))
    except InvalidArgument:
        return 0


def docker_stamp(stamp: bytes) -> bytes:
    """Return conmon's time as ``--timestamps`` shows it: nine digits in UTC. Damage is shown as it is."""
    if stamp.endswith(b"+00:00"):
        return stamp.removesuffix(b"+00:00") + b"Z"
    seconds, _ = divmod(parse_stamp(stamp), 1_000_000_000)
    fraction = re.search(rb"\.(\d{1,9})", stamp)
    if not seconds or fraction is None:
        return stamp
    return time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(seconds)).encode() + fraction[1].ljust(9, b"0") + b"Z"


def frame(stream: int, data: bytes) -> bytes:
    """Return Docker's frame of a piece of output."""
    return b"%c\0\0\0" % stream + len(data).to_bytes(HEAD_BYTES - 4, "big") + data


class _Heads(dict[int, bytes]):
    """The heads of frames by the size of their data, made when a size is first seen."""

    def __init__(self, stream: int) -> None:
        super().__init__()
        self._mark = b"%c\0\0\0" % stream

    def __missing__(self, size: int) -> bytes:
        head = self._mark + size.to_bytes(HEAD_BYTES - 4, "big")
        if size <= MAX_FRAME_BYTES:
            self[size] = head
        return head


_HEADS = {stream: _Heads(stream) for stream in (STDOUT, STDERR)}


def frame_lines(stream: int, text: bytes) -> bytes:
    """Return whole lines as Docker frames them, each by itself (docker-py's users read a line from each frame)."""
    heads = _HEADS[stream]
    lines = text.split(b"\n")
    last = lines.pop()
    if len(text) <= MAX_FRAME_BYTES or max(map(len, lines), default=0) < MAX_FRAME_BYTES:
        framed = b"".join([heads[len(line) + 1] + line + b"\n" for line in lines])
    else:
        framed = b"".join(_cut(heads, line + b"\n") for line in lines)
    return framed + _cut(heads, last) if last else framed


def _cut(heads: _Heads, line: bytes) -> bytes:
    pieces = [line[start : start + MAX_FRAME_BYTES] for start in range(0, len(line), MAX_FRAME_BYTES)]
    return b"".join([heads[len(piece)] + piece for piece in pieces])
