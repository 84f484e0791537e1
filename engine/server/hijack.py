"""Connections that a handler takes over: attach and exec.

The connection leaves aiohttp's parser for good: raw bytes both ways, half-close from the client kept
apart from its going away, and back-pressure in both directions.
"""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios
from collections import deque
from typing import TYPE_CHECKING, cast

from aiohttp import web

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.web_request import BaseRequest

READ_HIGH_BYTES = 256 * 1024
READ_LIMIT_S = 0.1
_LOOK_AGAIN_S = 0.001
RAW_STREAM = "application/vnd.docker.raw-stream"


class HijackedStream(asyncio.Protocol):
    """Raw bytes from and to a client whose connection was taken over."""

    def __init__(self, transport: asyncio.Transport, http: asyncio.Protocol, early: bytes) -> None:
        """Take over ``transport`` from aiohttp's ``http`` protocol; ``early`` bytes were read already."""
        self._transport = transport
        self._http = http
        self._blocks: deque[bytes] = deque([early] if early else [])
        self._buffered_bytes = len(early)
        self._eof = False
        self._lost = False
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self.closed = asyncio.Event()
        if early:
            self._readable.set()

    def data_received(self, data: bytes) -> None:
        """Queue what the client sent; stop reading while too much is queued."""
        self._blocks.append(data)
        self._buffered_bytes += len(data)
        if self._buffered_bytes > READ_HIGH_BYTES:
            self._transport.pause_reading()
        self._readable.set()

    def eof_received(self) -> bool:
        """Note the client's half-close and keep the other half open."""
        self._eof = True
        self._readable.set()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake whoever reads or writes, then let aiohttp forget the connection."""
        self._eof = self._lost = True
        self._readable.set()
        self._writable.set()
        self.closed.set()
        self._http.connection_lost(exc)

    def pause_writing(self) -> None:
        """Hold writers back: the client reads too slowly."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let writers go on."""
        self._writable.set()

    async def read(self) -> bytes:
        """Return what the client sent next; ``b""`` after its half-close or when it has gone."""
        while not self._blocks:
            if self._eof:
                return b""
            self._readable.clear()
            await self._readable.wait()
        data = self._blocks.popleft()
        was_paused = self._buffered_bytes > READ_HIGH_BYTES
        self._buffered_bytes -= len(data)
        if was_paused and self._buffered_bytes <= READ_HIGH_BYTES and not self._lost:
            self._transport.resume_reading()
        return data

    async def write(self, data: bytes) -> None:
        """Send bytes; waits while the client is slow. Raises ConnectionResetError when it has gone."""
        if self._lost or self._transport.is_closing():
            raise ConnectionResetError("the client has gone")
        self._transport.write(data)
        if not self._writable.is_set():
            await self._writable.wait()

    def write_soon(self, data: bytes) -> None:
        """Send a few bytes without waiting, in order with the others; nothing when the client has gone."""
        if not self._lost and not self._transport.is_closing():
            self._transport.write(data)

    async def wait_read(self, limit_s: float = READ_LIMIT_S) -> None:
        """Wait until the client has read what was sent, ``limit_s`` at most.

        docker-py reads the head through a buffer that it then throws away: output that comes in the same read is
        lost. dockerd is slower by itself; that a peer has read is no event, so it is asked for.
        """
        connection = self._transport.get_extra_info("socket")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limit_s
        while connection is not None and not self._lost and loop.time() < deadline:
            if not struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4)))[0]:
                return
            await asyncio.sleep(_LOOK_AGAIN_S)

    def close(self) -> None:
        """Send what is queued, then close the connection."""
        if not self._lost:
            self._transport.close()


class HijackResponse(web.StreamResponse):
    """An answer that hands the connection to its handler.

    ``stream = await HijackResponse(content_type).take_over(request)``; when the handler is done it calls
    ``stream.close()``, waits for nothing and returns the response.
    """

    def __init__(self, content_type: str) -> None:
        """``content_type`` is Docker's raw-stream or multiplexed-stream."""
        super().__init__(status=101, reason="UPGRADED")
        self._stream_type = content_type
        self._taken = False

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        """Do nothing: the head is written by ``take_over``; aiohttp calls this once more at the end."""
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: the connection is not aiohttp's any more."""

    @property
    def prepared(self) -> bool:
        """Whether the head has gone out."""
        return self._taken

    async def take_over(
        self, request: web.Request, extra_head: bytes = b"", *, head: bytes | None = None
    ) -> HijackedStream:
        """Send the head (101 when the client asked to upgrade, else 200; or ``head``) and take the connection."""
        protocol = request.protocol
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has gone")
        early = bytes(getattr(protocol, "_message_tail", b""))
        upgrade = request.headers.get("Upgrade")
        kind = (self._stream_type if upgrade else RAW_STREAM).encode()
        if head is not None:
            self.set_status(101)
        elif upgrade:
            head = b"HTTP/1.1 101 UPGRADED\r\nContent-Type: %s\r\nConnection: Upgrade\r\nUpgrade: %s\r\n" % (
                kind,
                upgrade.encode("latin-1"),
            )
        else:
            self.set_status(200)
            head = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\n" % kind
        stream = HijackedStream(transport, cast("asyncio.Protocol", protocol), early)
        protocol.keep_alive(False)
        protocol._message_tail = b""  # what was read already is in the stream: aiohttp must not parse it
        transport.set_protocol(stream)
        transport.resume_reading()
        transport.write(head + extra_head + b"\r\n")
        self._taken = True
        return stream
