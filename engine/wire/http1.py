"""Responses of HTTP/1.1 (RFC 9112) without I/O: head, fixed, chunked and until-close bodies.

Owns what the client needs to read an engine's answers and no more: requests are written by the
client. It is here because httpx takes 65 ms to import and h11 15, longer than most commands run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

MAX_HEAD_BYTES = 256 * 1024
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,16}")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: .*)?")


class ProtocolError(ValueError):
    """The other side does not speak HTTP/1.1 as it should."""


@dataclass(frozen=True)
class ResponseHead:
    """A final or 101 response's head; header names are lower-case."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    http_minor: int = 1

    @property
    def keeps_alive(self) -> bool:
        """Whether the connection may carry another request after the body."""
        return self.http_minor == 1 and "close" not in self.headers.get("connection", "").lower()


def encode_request(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    """Return a request's head; raises ProtocolError for a header that would break out of its line."""
    lines = [f"{method} {target} HTTP/1.1"]
    for name, value in headers.items():
        if "\r" in value or "\n" in value:
            raise ProtocolError(f"header {name} has a line break in it")
        lines.append(f"{name}: {value}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8")


def encode_target(path: str, query: Sequence[tuple[str, str]] = ()) -> str:
    """Return a request target: ``path`` has its slashes and colons kept, everything else quoted."""
    target = quote(path, safe="/:@!$&'()*+,;=-._~")
    return f"{target}?{urlencode(query)}" if query else target


def encode_chunk(data: bytes) -> bytes:
    """Return one chunk of a chunked body; ``b""`` ends the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class ResponseParser:
    """Reads one response: feed bytes until ``head`` is there, then ``take_body`` until ``complete``.

    ``leftover`` has what came after a 101 head: the first bytes of the hijacked stream.
    """

    def __init__(self, method: str) -> None:
        """``method`` decides whether there is a body at all."""
        self._method = method
        self._buffer = bytearray()
        self._remaining = 0
        self._mode = "head"
        self.head: ResponseHead | None = None
        self.complete = False

    def feed(self, data: bytes) -> None:
        """Add received bytes; raises ProtocolError for a malformed head."""
        self._buffer += data
        while self._mode == "head" and self._parse_head():
            pass

    def feed_eof(self) -> None:
        """Note the end of the connection; raises ProtocolError when the response is cut off."""
        if self._mode == "close":
            self._mode = "close-eof"
            self.complete = not self._buffer
            return
        if not self.complete:
            raise ProtocolError("the connection ended in the middle of the answer")

    def leftover(self) -> bytes:
        """Return, once, the bytes behind the head that no body accounts for."""
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    def take_body(self) -> bytes:
        """Return the body bytes that are there, ``b""`` when more must be fed or ``complete`` is set."""
        if self._mode == "length":
            return self._take_fixed()
        if self._mode in ("close", "close-eof"):
            data = self.leftover()
            self.complete = self._mode == "close-eof"
            return data
        if self._mode in ("chunk-size", "chunk-data", "chunk-end", "trailer"):
            return self._take_chunks()
        return b""

    def _parse_head(self) -> bool:
        """Parse a head out of the buffer; true when it was an informational one and another may follow."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise ProtocolError("the answer's headers have no end")
            if self._buffer and not b"HTTP/".startswith(bytes(self._buffer[:5])):
                raise ProtocolError("the answer is not HTTP")
            return False
        lines = bytes(self._buffer[:end]).split(b"\r\n")
        del self._buffer[: end + 4]
        match = _STATUS_LINE.fullmatch(lines[0])
        if match is None:
            raise ProtocolError(f"the answer is not HTTP: {lines[0][:80]!r}")
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, colon, value = line.partition(b":")
            if not colon or not name or name != name.strip():
                raise ProtocolError(f"malformed header line {line[:80]!r}")
            key, text = name.decode("latin-1").lower(), value.strip().decode("latin-1")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
        head = ResponseHead(int(match[2]), headers, int(match[1]))
        if 100 <= head.status < 200 and head.status != 101:
            return True
        self.head = head
        self._choose_body(head)
        return False

    def _choose_body(self, head: ResponseHead) -> None:
        if head.status == 101:
            self._mode = "switched"
            self.complete = True
        elif self._method == "HEAD" or head.status in (204, 304):
            self._mode, self.complete = "none", True
        elif "chunked" in head.headers.get("transfer-encoding", "").lower():
            self._mode = "chunk-size"
        elif "content-length" in head.headers:
            length = head.headers["content-length"]
            if not length.isascii() or not length.isdigit():
                raise ProtocolError(f"malformed Content-Length {length[:40]!r}")
            self._mode, self._remaining = "length", int(length)
            self.complete = self._remaining == 0
        else:
            self._mode = "close"

    def _take_fixed(self) -> bytes:
        data = bytes(self._buffer[: self._remaining])
        del self._buffer[: self._remaining]
        self._remaining -= len(data)
        self.complete = self._remaining == 0
        return data

    def _take_chunks(self) -> bytes:
        """Return the data of every chunk, whole or begun, that the buffer holds."""
        buffer = self._buffer
        pieces: list[bytes] = []
        position = 0
        while True:
            if self._mode == "chunk-data":
                piece = bytes(buffer[position : position + self._remaining])
                if not piece:
                    break
                pieces.append(piece)
                position += len(piece)
                self._remaining -= len(piece)
                if self._remaining:
                    break
                self._mode = "chunk-end"
            line_end = buffer.find(b"\r\n", position)
            if line_end < 0:
                if len(buffer) - position > MAX_HEAD_BYTES:
                    raise ProtocolError("a chunk's header has no end")
                break
            line = bytes(buffer[position:line_end])
            position = line_end + 2
            if self._mode == "chunk-end":
                if line:
                    raise ProtocolError("a chunk is longer than it says")
                self._mode = "chunk-size"
            elif self._mode == "chunk-size":
                match = _CHUNK_SIZE.match(line)
                if match is None:
                    raise ProtocolError(f"malformed chunk size {line[:40]!r}")
                self._remaining = int(match[0], 16)
                self._mode = "chunk-data" if self._remaining else "trailer"
            elif not line:
                self._mode, self.complete = "none", True
                break
        del buffer[:position]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
