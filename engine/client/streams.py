"""Streams of an engine: answers that go on (progress, events, logs) and connections both ways (attach, exec).

Each one is an async iterator with one owner; ``aclose`` (or leaving ``async with``), cancellation and the
end all close the connection, so the engine sees at once that nobody listens. Knows no operation.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Literal, NamedTuple, Protocol, Self, TypeVar

import msgspec

from engine.client.failures import stream_error
from engine.errors import Internal, InvalidArgument
from engine.wire.frames import SYSTEM_ERROR, FrameDecoder
from engine.wire.jsonstream import JsonSplitter, JsonStreamError

if TYPE_CHECKING:
    from engine.client.dial import ByteStream
    from engine.client.http import OpenResponse

T = TypeVar("T")

StreamName = Literal["stdin", "stdout", "stderr"]
STREAM_NAMES: tuple[StreamName, ...] = ("stdin", "stdout", "stderr")


class Output(NamedTuple):
    """Bytes that a container wrote; with a terminal everything is ``stdout``."""

    stream: StreamName
    data: bytes


class Decoder(Protocol[T]):
    """Makes items of bytes that were cut anywhere."""

    def feed(self, data: bytes) -> list[T]:
        """Return the items that ``data`` completes."""

    def finish(self) -> list[T]:
        """Return what is left at the end."""


class Stream(Generic[T]):
    """Items of an answer as they come. The request is sent by ``open``, ``async with`` or the first item."""

    def __init__(self, connect: Callable[[], Awaitable[tuple[OpenResponse, Decoder[T]]]]) -> None:
        """``connect`` sends the request and says how its answer is read."""
        self._connect = connect
        self._response: OpenResponse | None = None
        self._decoder: Decoder[T] | None = None
        self._items: deque[T] = deque()
        self._ended = False

    async def open(self) -> None:
        """Send the request; returns when the engine has accepted it. Raises the kinds it answers with."""
        if self._response is None and not self._ended:
            self._response, self._decoder = await self._connect()

    def __aiter__(self) -> Self:
        """Return itself: a stream is read once."""
        return self

    async def __anext__(self) -> T:
        """Return the next item; raises what the engine reports in the stream, Unavailable when it breaks off."""
        try:
            while not self._items:
                if self._ended:
                    break
                await self.open()
                assert self._response is not None
                assert self._decoder is not None
                data = await self._response.read()
                if data:
                    self._items.extend(self._decoder.feed(data))
                else:
                    self._ended = True
                    self._items.extend(self._decoder.finish())
        except JsonStreamError as error:
            await self.aclose()
            raise Internal(f"the engine's stream was not understood: {error}") from error
        except BaseException:
            await self.aclose()
            raise
        if not self._items:
            raise StopAsyncIteration
        return self._items.popleft()

    async def aclose(self) -> None:
        """Close the connection; the iteration ends. May be called twice."""
        self._ended = True
        self._items.clear()
        if self._response is not None:
            await self._response.aclose()

    async def __aenter__(self) -> Self:
        """Open."""
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self.aclose()


class JsonDecoder(Generic[T]):
    """Concatenated JSON objects as structs."""

    def __init__(self, kind: type[T], decode: Callable[[bytes, type[T]], T]) -> None:
        """``decode`` makes one struct of one object."""
        self._kind = kind
        self._decode = decode
        self._splitter = JsonSplitter()

    def feed(self, data: bytes) -> list[T]:
        """Return the objects that ``data`` completes."""
        return [self._decode(value, self._kind) for value in self._splitter.feed(data)]

    def finish(self) -> list[T]:
        """Check that nothing was cut off."""
        self._splitter.finish()
        return []


class ProgressDetail(msgspec.Struct, kw_only=True):
    """How far a step of a pull or load is: bytes, or another unit when ``units`` says so."""

    current: int = 0
    total: int = 0
    units: str = ""


class ErrorDetail(msgspec.Struct, kw_only=True):
    """What went wrong inside a stream."""

    code: int | None = None
    message: str = ""


class Progress(msgspec.Struct, kw_only=True):
    """One line of a pull, import or load: ``id`` names the layer, ``aux`` carries a result."""

    status: str = ""
    id: str = ""
    progress: str = ""
    progress_detail: ProgressDetail | None = msgspec.field(name="progressDetail", default=None)
    stream: str = ""
    aux: dict[str, object] | None = None
    error: str = ""
    error_detail: ErrorDetail | None = msgspec.field(name="errorDetail", default=None)


class ProgressDecoder:
    """Progress objects; an error among them is raised once what came before it was taken."""

    def __init__(self, decode: Callable[[bytes, type[Progress]], Progress]) -> None:
        """``decode`` makes one struct of one object."""
        self._json = JsonDecoder(Progress, decode)

    def feed(self, data: bytes) -> list[Progress]:
        """Return the objects that ``data`` completes; an error is the last of them."""
        return self._json.feed(data)

    def finish(self) -> list[Progress]:
        """Check that nothing was cut off."""
        return self._json.finish()


class ProgressStream(Stream[Progress]):
    """A pull, load or import. Ends when it is done; raises the engine's error; closing it gives up."""

    async def __anext__(self) -> Progress:
        """Return the next step; raises the error that the engine puts into the stream."""
        item = await super().__anext__()
        message = item.error_detail.message if item.error_detail is not None else item.error
        if message or item.error:
            await self.aclose()
            raise stream_error(message or item.error, item.error_detail.code if item.error_detail else None)
        return item


class RawDecoder:
    """Output of a container with a terminal: no frames."""

    def feed(self, data: bytes) -> list[Output]:
        """Return the bytes as they are."""
        return [Output("stdout", data)] if data else []

    def finish(self) -> list[Output]:
        """Return nothing."""
        return []


class FramedDecoder:
    """Output of a container without a terminal: frames that name their stream."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._frames = FrameDecoder()

    def feed(self, data: bytes) -> list[Output]:
        """Return the frames that ``data`` completes; raises Internal for what is no frame, or the engine's error."""
        outputs: list[Output] = []
        try:
            for number, payload in self._frames.feed(data):
                if number == SYSTEM_ERROR:
                    raise Internal(f"error from daemon in stream: {payload.decode('utf-8', 'replace')}")
                outputs.append(Output(STREAM_NAMES[number], payload))
        except InvalidArgument as error:
            raise Internal(error.message) from error
        return outputs

    def finish(self) -> list[Output]:
        """Return nothing: a frame that is cut off is lost, as for every client."""
        return []


class BytesDecoder:
    """A body as it is (an image archive)."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the bytes as they are."""
        return [data] if data else []

    def finish(self) -> list[bytes]:
        """Return nothing."""
        return []


class HijackedStream:
    """A connection to a process in a container: its output comes by ``read`` or iteration, ``write`` is its input."""

    def __init__(self, connection: ByteStream, early: bytes, decoder: Decoder[Output]) -> None:
        """``early`` came with the answer's head."""
        self._connection = connection
        self._decoder = decoder
        self._items: deque[Output] = deque(decoder.feed(early) if early else [])
        self._ended = False

    async def read(self) -> Output | None:
        """Return the next output, None at its end; raises Unavailable when the connection breaks."""
        while not self._items:
            if self._ended:
                return None
            data = await self._connection.read()
            if data:
                self._items.extend(self._decoder.feed(data))
            else:
                self._ended = True
                self._items.extend(self._decoder.finish())
        return self._items.popleft()

    def __aiter__(self) -> Self:
        """Return itself: a stream is read once."""
        return self

    async def __anext__(self) -> Output:
        """Return the next output."""
        item = await self.read()
        if item is None:
            raise StopAsyncIteration
        return item

    async def write(self, data: bytes) -> None:
        """Send input; waits while the process does not read. Raises Unavailable when the connection has gone."""
        await self._connection.write(data)

    async def close_write(self) -> None:
        """End the input; the output goes on."""
        await self._connection.close_write()

    async def aclose(self) -> None:
        """Drop the connection (detach); the process goes on."""
        self._ended = True
        self._connection.close()
        await asyncio.sleep(0)

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self.aclose()
