"""What a build says, in the order of its Dockerfile though stages run at once.

A client of ours asks for details: it gets everything at once, each message with the number of its step
(``vertex``), and what becomes of the steps (``step``). For all others each stage speaks into a channel of its own:
the first one that has not ended goes out as it comes; what the others say waits, up to a bound, then they do.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

MAX_WAITING_BYTES = 1 << 20
MAX_LOG_CHARACTERS = 256 * 1024

Send = Callable[[dict[str, Any]], Awaitable[None]]


def printable(text: str) -> str:
    """Return text that JSON can hold: names of files may be no UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


class BuildOutput:
    """The channels of one build."""

    def __init__(self, send: Send, *, is_detailed: bool = False, hidden: Iterable[str] = ()) -> None:
        """``send`` takes Docker's JSON messages; it raises when the client has gone. The log has no ``hidden``."""
        self._send = send
        self.is_detailed = is_detailed
        self._channels: list[Channel] = []
        self._lock = asyncio.Lock()
        self.log = BuildLog(hidden)

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
        if "stream" in message:
            message = {**message, "stream": printable(message["stream"])}
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


class BuildLog:
    """The last of what steps have written, for the build's record."""

    def __init__(self, hidden: Iterable[str] = ()) -> None:
        """Begin empty; what is in ``hidden`` is never kept, also when a command writes it."""
        self._hidden = sorted((text for text in hidden if text.strip()), key=len, reverse=True)
        self._parts: deque[str] = deque()
        self._size = 0

    def add(self, text: str) -> None:
        """Take text; what came long before is forgotten."""
        self._parts.append(text)
        self._size += len(text)
        while self._size > MAX_LOG_CHARACTERS and len(self._parts) > 1:
            self._size -= len(self._parts.popleft())

    @property
    def text(self) -> str:
        """Everything that is left."""
        text = "".join(self._parts)[-MAX_LOG_CHARACTERS:]
        for item in self._hidden:
            text = text.replace(item, "***")
        return text


class Channel:
    """What one stage says. ``vertex`` is the number of the step that speaks."""

    def __init__(self, output: BuildOutput) -> None:
        """Made by ``BuildOutput.channel``."""
        self._output = output
        self._waiting: list[dict[str, Any]] = []
        self._size = 0
        self._turn = asyncio.Event()
        self.ended = False
        self.vertex = 0

    async def send(self, message: dict[str, Any]) -> None:
        """Say something; waits while too much is said before its turn."""
        if self._output.is_detailed:
            await self._output.send({**message, "vertex": self.vertex})
            return
        if self._output.is_heard(self):
            await self.drain()
            await self._output.send(message)
            return
        self._waiting.append(message)
        self._size += len(str(message))
        if self._size > MAX_WAITING_BYTES:
            await self._turn.wait()
            await self.drain()

    async def event(self, **facts: object) -> None:
        """Say what became of the step, to who asked for details."""
        if self._output.is_detailed:
            shown = {name: printable(fact) if isinstance(fact, str) else fact for name, fact in facts.items()}
            await self._output.send({"step": {"number": self.vertex, **shown}})

    async def written(self, text: str, *, is_error: bool = False) -> None:
        """Say what a step's command has written; errors are red, as Docker has them."""
        self._output.log.add(text)
        await self.send({"stream": f"\x1b[91m{text}\x1b[0m" if is_error and not self._output.is_detailed else text})

    async def text(self, text: str) -> None:
        """Say something about the build itself, which who asked for details knows from events."""
        self._output.log.add(text)
        if not self._output.is_detailed:
            await self.send({"stream": text})

    async def line(self, text: str) -> None:
        """Say a line about the build itself."""
        await self.text(f"{text}\n")

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
