"""A container's log as conmon writes it: ``TIME stdout|stderr F|P TEXT`` a line, P for a part of a longer one.

Without I/O; from such lines to what the API sends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from engine.wire.frames import HEAD_BYTES, STDERR, STDOUT

MAX_FRAME_BYTES = 16 * 1024
"""Docker cuts longer lines into frames of this size."""

# conmon's times are all 35 bytes long: a pattern of fixed length is three times faster than [^ ]+.
_PLAIN = re.compile(rb"\n.{35} stdout (?:F |P ([^\n]*)\n.{35} stdout F )")
_LINE = re.compile(rb"([^ \n]+) (stdout|stderr) ([FP]) ([^\n]*)\n")
_STREAMS = {b"stdout": STDOUT, b"stderr": STDERR}


def strip_plain(block: bytes) -> bytes | None:
    """Return the text of a block if it holds nothing but lines of stdout, else None: then look at each line.

    conmon cuts a line wherever a read of 8 KiB ends, so a part (P) here and there is the rule; two parts in
    a row are not. One pass, since what a line says must never be taken for the next line's beginning; that
    every line was taken is seen by counting.
    """
    text, count = _PLAIN.subn(rb"\n\1", b"\n" + block)
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
    from engine.errors import InvalidArgument
    from engine.wire.times import parse_rfc3339

    try:
        return parse_rfc3339(stamp.decode("ascii", "replace"))
    except InvalidArgument:
        return 0


def docker_stamp(stamp: bytes) -> bytes:
    """Return conmon's time as ``--timestamps`` shows it: nine digits and Z where the zone is UTC."""
    return stamp.removesuffix(b"+00:00") + b"Z" if stamp.endswith(b"+00:00") else stamp


def frame(stream: int, data: bytes) -> bytes:
    """Return Docker's frame of a piece of output."""
    return b"%c\0\0\0" % stream + len(data).to_bytes(HEAD_BYTES - 4, "big") + data
