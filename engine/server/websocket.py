"""A taken over connection that speaks websocket: what the client sends as bytes, what goes to it as frames.

Pings are answered and a closing client is noticed also while nobody reads.
"""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType

from engine.server.hijack import READ_HIGH_BYTES, HijackedStream
from engine.wire.websocket import (
    BINARY,
    CLOSE,
    NORMAL,
    PING,
    PONG,
    PROTOCOL_ERROR,
    TEXT,
    FrameReader,
    ProtocolViolationError,
    build_close,
    build_frame,
)


class WebSocketStream:
    """Implements ``ClientStream`` of ``engine/containers/attach.py``; a context manager, which sends the close."""

    def __init__(self, stream: HijackedStream, *, text: bool, takes_input: bool) -> None:
        """``text`` sends text frames (any bytes, as old versions do); without ``takes_input`` bytes are dropped."""
        self._stream = stream
        self._kind = TEXT if text else BINARY
        self._takes_input = takes_input
        self._blocks: deque[bytes] = deque()
        self._held_bytes = 0
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._ended = False
        self._close_code = NORMAL
        self._tasks: list[asyncio.Future[None]] = []
        self.closed = asyncio.Event()

    async def __aenter__(self) -> WebSocketStream:
        """Begin to read."""
        self._tasks = [asyncio.ensure_future(self._read_frames()), asyncio.ensure_future(self._watch())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Say goodbye unless the connection is lost; whoever took it over closes it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if not self._stream.closed.is_set():
            self._stream.write_soon(build_close(self._close_code))

    async def read(self) -> bytes:
        """Return what the client sent next; ``b""`` when it has closed or gone."""
        while not self._blocks:
            if self._ended:
                return b""
            self._changed.clear()
            await self._changed.wait()
        data = self._blocks.popleft()
        self._held_bytes -= len(data)
        self._room.set()
        return data

    async def write(self, data: bytes) -> None:
        """Send a frame; waits while the client is slow. Raises ConnectionResetError when it has gone."""
        if self.closed.is_set():
            raise ConnectionResetError("the client has closed")
        await self._stream.write(build_frame(self._kind, data))

    async def _read_frames(self) -> None:
        reader = FrameReader()
        try:
            while data := await self._stream.read():
                for piece in reader.feed(data):
                    if piece.kind == CLOSE:
                        return
                    if piece.kind == PING:
                        self._stream.write_soon(build_frame(PONG, piece.data))
                    elif piece.kind == BINARY and self._takes_input:
                        self._blocks.append(piece.data)
                        self._held_bytes += len(piece.data)
                        self._changed.set()
                while self._held_bytes > READ_HIGH_BYTES:
                    self._room.clear()
                    await self._room.wait()
        except ProtocolViolationError:
            self._close_code = PROTOCOL_ERROR
        finally:
            self._end()

    async def _watch(self) -> None:
        # A reader that waits for room does not see that the connection is lost.
        await self._stream.closed.wait()
        self._end()

    def _end(self) -> None:
        self._ended = True
        self._changed.set()
        self.closed.set()
