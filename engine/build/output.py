"""What a build says, in the order of its Dockerfile though stages run at once.

Each stage speaks into a channel of its own. The first channel that has not ended goes out as it comes; what the
others say waits, up to a bound, then they do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

MAX_WAITING_BYTES = 1 << 20

Send = Callable[[dict[str, Any]], Awaitable[None]]


class BuildOutput:
    """The channels of one build."""

    def __init__(self, send: Send) -> None:
        """``send`` takes Docker's JSON messages; it raises when the client has gone."""
        self._send = send
        self._channels: list[Channel] = []
        self._lock = asyncio.Lock()
        self.log: list[str] = []

    def channel(self) -> Channel:
        """Return a new channel; the order in which they are made is that in which they are heard."""
        channel = Channel(self)
        self._channels.append(channel)
        return channel

    def is_heard(self, channel: Channel) -> bool:
        """Whether everything before a channel has ended."""
        for item in self._channels:
            if item is channel:
                return True
            if not item.ended:
                return False
        return True

    async def send(self, message: dict[str, Any]) -> None:
        """Send one message now."""
        async with self._lock:
            await self._send(message)

    async def advance(self) -> None:
        """Send what waits in the channels whose turn it is."""
        for item in list(self._channels):
            await item.drain()
            if not item.ended:
                return

    async def flush(self) -> None:
        """Send everything that waits, at the end of a build that failed."""
        for item in self._channels:
            item.ended = True
        await self.advance()


class Channel:
    """What one stage says."""

    def __init__(self, output: BuildOutput) -> None:
        """Made by ``BuildOutput.channel``."""
        self._output = output
        self._waiting: list[dict[str, Any]] = []
        self._size = 0
        self._turn = asyncio.Event()
        self.ended = False

    async def send(self, message: dict[str, Any]) -> None:
        """Say something; waits while too much is said before its turn."""
        if self._output.is_heard(self):
            await self.drain()
            await self._output.send(message)
            return
        self._waiting.append(message)
        self._size += len(str(message))
        if self._size > MAX_WAITING_BYTES:
            await self._turn.wait()
            await self.drain()

    async def text(self, text: str) -> None:
        """Say text as a step's output."""
        await self.send({"stream": text})

    async def line(self, text: str) -> None:
        """Say a line."""
        await self.send({"stream": f"{text}\n"})

    async def drain(self) -> None:
        """Send what waits; the turn has come."""
        self._turn.set()
        waiting, self._waiting, self._size = self._waiting, [], 0
        for message in waiting:
            await self._output.send(message)

    async def end(self) -> None:
        """Say that nothing more comes: the next channel is heard."""
        self.ended = True
        if self._output.is_heard(self):
            await self._output.advance()
