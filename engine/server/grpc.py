"""``/grpc`` and ``/session``: BuildKit's clients are let in, and every call is answered with why it cannot be.

A refused upgrade would lose its text in buildx, which then fetches a BuildKit of its own. So the upgrade to HTTP/2 is
accepted, and a server that knows just enough of it (RFC 9113, gRPC over HTTP/2) answers UNIMPLEMENTED with a sentence.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from aiohttp import web

from engine.errors import InvalidArgument
from engine.server.hijack import HijackedStream, HijackResponse
from engine.server.http import Route

SENTENCE = (
    "Portside does not speak BuildKit's API yet: build with portside build, or with DOCKER_BUILDKIT=0 docker build"
)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_UNIMPLEMENTED = 12
_MAX_FRAME_BYTES = 1 << 20
_HEAD_BYTES = 9
_DATA, _HEADERS, _SETTINGS, _PING, _GOAWAY, _WINDOW, _CONTINUATION = 0, 1, 4, 6, 7, 8, 9
_ACK = _END_STREAM = 0x1
_END_HEADERS = 0x4
_UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"


def encode_frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame of HTTP/2."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def encode_refusal(stream: int, message: str) -> bytes:
    """Return the answer of a call that is not implemented: headers and trailers in one, as gRPC allows."""
    block = b"\x88"  # :status 200, of HPACK's static table
    fields = (
        ("content-type", "application/grpc"),
        ("grpc-status", str(_UNIMPLEMENTED)),
        ("grpc-message", quote(message, safe=" !#$&'()*+,/:;=?@[]-._~")),
    )
    for name, value in fields:
        block += b"\x00" + _text(name) + _text(value)
    return encode_frame(_HEADERS, _END_STREAM | _END_HEADERS, stream, block)


def _text(text: str) -> bytes:
    data = text.encode()
    if len(data) < 127:
        return bytes((len(data),)) + data
    rest, encoded = len(data) - 127, bytearray(b"\x7f")
    while rest >= 128:
        encoded.append(rest % 128 + 128)
        rest //= 128
    return bytes(encoded) + bytes((rest,)) + data


class RefusingServer:
    """The server's side of one connection, without I/O."""

    def __init__(self, message: str = SENTENCE) -> None:
        """Answer every call with ``message``."""
        self._message = message
        self._buffer = bytearray()
        self._has_preface = False
        self.is_over = False

    def feed(self, data: bytes) -> bytes:
        """Return what is to be sent after ``data`` came; ``is_over`` says that the connection is to be closed."""
        self._buffer += data
        answer = bytearray()
        if not self._has_preface:
            if len(self._buffer) < len(PREFACE):
                self.is_over = not PREFACE.startswith(bytes(self._buffer))
                return b""
            if not self._buffer.startswith(PREFACE):
                self.is_over = True
                return b""
            del self._buffer[: len(PREFACE)]
            self._has_preface = True
            answer += encode_frame(_SETTINGS, 0, 0)
        for kind, flags, stream, payload in self._frames():
            if kind == _SETTINGS and not flags & _ACK:
                answer += encode_frame(_SETTINGS, _ACK, 0)
            elif kind == _PING and not flags & _ACK:
                answer += encode_frame(_PING, _ACK, 0, payload)
            elif kind in (_HEADERS, _CONTINUATION) and flags & _END_HEADERS:
                answer += encode_refusal(stream, self._message)
            elif kind == _DATA and payload:
                answer += encode_frame(_WINDOW, 0, 0, len(payload).to_bytes(4, "big"))
            elif kind == _GOAWAY:
                self.is_over = True
        return bytes(answer)

    def _frames(self) -> Iterator[tuple[int, int, int, bytes]]:
        while len(self._buffer) >= _HEAD_BYTES:
            size = int.from_bytes(self._buffer[:3], "big")
            if size > _MAX_FRAME_BYTES:
                self.is_over = True
                return
            if len(self._buffer) < _HEAD_BYTES + size:
                return
            kind, flags = self._buffer[3], self._buffer[4]
            stream = int.from_bytes(self._buffer[5:9], "big") & 0x7FFFFFFF
            payload = bytes(self._buffer[_HEAD_BYTES : _HEAD_BYTES + size])
            del self._buffer[: _HEAD_BYTES + size]
            yield kind, flags, stream, payload


class GrpcApi:
    """Handlers that accept an upgrade to HTTP/2."""

    def routes(self) -> list[Route]:
        """Return the operations."""
        return [
            Route("POST", "/grpc", self.grpc, since=(1, 39)),
            Route("POST", "/session", self.session, since=(1, 31)),
        ]

    async def grpc(self, request: web.Request) -> web.StreamResponse:
        """Answer calls of BuildKit's services."""
        response, stream = await self._upgraded(request)
        server = RefusingServer()
        try:
            while not server.is_over and (data := await stream.read()):
                answer = server.feed(data)
                if answer:
                    await stream.write(answer)
        except ConnectionResetError:
            pass  # the client has gone: so be it
        finally:
            stream.close()
        return response

    async def session(self, request: web.Request) -> web.StreamResponse:
        """``Session``: hold it until its client goes; nobody here calls it back."""
        response, stream = await self._upgraded(request)
        try:
            while await stream.read():
                pass
        finally:
            stream.close()
        return response

    async def _upgraded(self, request: web.Request) -> tuple[HijackResponse, HijackedStream]:
        protocol = request.headers.get("Upgrade", "")
        if not protocol:
            raise InvalidArgument("no upgrade proto in request")
        if protocol != "h2c":
            raise InvalidArgument(f"protocol {protocol} not supported")
        response = HijackResponse("")
        return response, await response.take_over(request, head=_UPGRADED)
