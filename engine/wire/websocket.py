"""Websocket frames and the answer to a handshake, server side (RFC 6455). No I/O."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from engine.errors import InvalidArgument

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
NORMAL, GOING_AWAY, PROTOCOL_ERROR = 1000, 1001, 1002
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MAX_CONTROL_BYTES = 125


class ProtocolViolationError(Exception):
    """The client's bytes are no websocket frames."""


@dataclass(frozen=True)
class Piece:
    """What arrived: a whole control frame, or a piece of the payload of a data frame (``BINARY`` for text too)."""

    kind: int
    data: bytes


def build_handshake(headers: Mapping[str, str]) -> bytes:
    """Return the head that accepts a client's handshake; raises InvalidArgument with the words that moby's has."""
    if headers.get("Upgrade", "").lower() != "websocket" or "upgrade" not in headers.get("Connection", "").lower():
        raise InvalidArgument("not websocket protocol")
    if headers.get("Sec-WebSocket-Version") != "13":
        raise InvalidArgument("missing or bad WebSocket Version")
    key = headers.get("Sec-WebSocket-Key", "")
    if not _is_key(key):
        raise InvalidArgument("mismatch challenge/response")
    protocols = [word.strip() for word in headers.get("Sec-WebSocket-Protocol", "").split(",") if word.strip()]
    if len(protocols) > 1:
        raise InvalidArgument("missing or bad WebSocket-Protocol")
    accept = base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest())
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    head += b"Sec-WebSocket-Accept: " + accept + b"\r\n"
    if protocols:
        head += f"Sec-WebSocket-Protocol: {protocols[0]}\r\n".encode("latin-1")
    return head


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def build_frame(kind: int, data: bytes) -> bytes:
    """Return one whole frame, unmasked as a server sends it."""
    size = len(data)
    if size < 126:
        return bytes((0x80 | kind, size)) + data
    if size < 65536:
        return bytes((0x80 | kind, 126)) + size.to_bytes(2, "big") + data
    return bytes((0x80 | kind, 127)) + size.to_bytes(8, "big") + data


def build_close(code: int) -> bytes:
    """Return a closing frame."""
    return build_frame(CLOSE, code.to_bytes(2, "big"))


class FrameReader:
    """Takes a client's bytes as they come; large frames are passed on in pieces, so nothing is held back."""

    def __init__(self) -> None:
        """At the beginning of a frame."""
        self._buffer = b""
        self._kind = 0
        self._left = 0  # of the payload of the data frame that is being read
        self._mask = b""
        self._offset = 0
        self._in_message = False

    def feed(self, data: bytes) -> list[Piece]:
        """Return what is complete; raises ProtocolViolationError, after which the connection is to be closed."""
        self._buffer += data
        pieces: list[Piece] = []
        while self._left or self._read_head():
            if self._kind >= CLOSE:
                if len(self._buffer) < self._left:
                    break
                pieces.append(Piece(self._kind, self._take(self._left)))
                self._kind = 0
                continue
            if not self._buffer:
                break
            pieces.append(Piece(BINARY, self._take(min(self._left, len(self._buffer)))))
        return pieces

    def _read_head(self) -> bool:
        """Read the head of the next frame with something to read in it; False when it is not whole yet."""
        while len(self._buffer) >= 2:
            first, second = self._buffer[0], self._buffer[1]
            kind, is_last, length = first & 0x0F, bool(first & 0x80), second & 0x7F
            self._check(kind, length, is_last=is_last, is_plain=not first & 0x70, is_masked=bool(second & 0x80))
            extra = {126: 2, 127: 8}.get(length, 0)
            if len(self._buffer) < 6 + extra:
                return False
            if extra:
                length = int.from_bytes(self._buffer[2 : 2 + extra], "big")
                if length >> 63:
                    raise ProtocolViolationError("a frame is too long")
            self._mask = self._buffer[2 + extra : 6 + extra]
            self._buffer = self._buffer[6 + extra :]
            self._kind, self._left, self._offset = kind, length, 0
            if kind < CLOSE:
                self._in_message = not is_last
            if length or kind >= CLOSE:
                return True
        return False

    def _check(self, kind: int, length: int, *, is_last: bool, is_plain: bool, is_masked: bool) -> None:
        if not is_plain:
            raise ProtocolViolationError("an extension was not agreed on")
        if not is_masked:
            raise ProtocolViolationError("a client's frames must be masked")
        if kind >= CLOSE:
            if kind > PONG or not is_last or length > _MAX_CONTROL_BYTES:
                raise ProtocolViolationError("bad control frame")
        elif kind > BINARY or (kind == CONTINUATION) != self._in_message:
            raise ProtocolViolationError("bad data frame")

    def _take(self, count: int) -> bytes:
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        mask = self._mask[self._offset % 4 :] + self._mask[: self._offset % 4]
        self._left -= count
        self._offset += count
        whole = (mask * (count // 4 + 1))[:count]
        return (int.from_bytes(data, "big") ^ int.from_bytes(whole, "big")).to_bytes(count, "big")
