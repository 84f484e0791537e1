"""HTTP requests over dialled connections: keep-alive, uploads while answers come, timeouts, hijacking.

Owns connections and their reuse. Knows no operation of the Engine API. The way to the engine is a
``Dialer``; the format is ``engine/wire/http1.py``. It is our own because one door must carry ordinary
calls and raw streams with half-close over any dialer, and because httpx would double the start-up
time of every command (65 ms to import).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Mapping
from typing import TYPE_CHECKING

from engine.errors import Internal, InvalidArgument, PortsideError, Unavailable
from engine.wire.http1 import ProtocolError, ResponseHead, ResponseParser, encode_chunk, encode_request

if TYPE_CHECKING:
    from engine.client.dial import ByteStream, Dialer

MAX_IDLE_CONNECTIONS = 4
MAX_ANSWER_BYTES = 512 * 1024 * 1024
UPLOAD_END_TIMEOUT_S = 5.0

RequestBody = bytes | AsyncIterable[bytes]


class OpenResponse:
    """An answer whose head is there and whose body is still coming. ``close`` it, or read it to its end."""

    def __init__(
        self,
        transport: HttpTransport,
        connection: ByteStream,
        parser: ResponseParser,
        head: ResponseHead,
        upload: asyncio.Task[None] | None,
    ) -> None:
        """Made by ``HttpTransport.send``."""
        self._transport = transport
        self._connection = connection
        self._parser = parser
        self._upload = upload
        self._closed = False
        self.head = head

    async def read(self) -> bytes:
        """Return the next bytes of the body, ``b""`` at its end; raises Unavailable when it is cut off."""
        while not self._closed:
            data = self._parser.take_body()
            if data:
                return data
            if self._parser.complete:
                await self._finish()
                break
            try:
                received = await self._connection.read()
                if received:
                    self._parser.feed(received)
                else:
                    self._parser.feed_eof()
            except ProtocolError as error:
                raise self._failure(error) from error
            except PortsideError as error:
                raise self._failure(error) from error
        return b""

    async def read_all(self) -> bytes:
        """Return the whole body; raises Internal when it is larger than any answer can be."""
        pieces: list[bytes] = []
        size_bytes = 0
        while data := await self.read():
            pieces.append(data)
            size_bytes += len(data)
            if size_bytes > MAX_ANSWER_BYTES:
                self.close()
                raise Internal(f"the engine at {self._transport.name} answered more than {MAX_ANSWER_BYTES} bytes")
        return b"".join(pieces)

    def close(self) -> None:
        """Drop the connection: the engine sees its client go away. Does nothing after the end of the body."""
        if self._closed:
            return
        self._closed = True
        if self._upload is not None:
            self._upload.cancel()
        self._connection.close()

    async def aclose(self) -> None:
        """Drop the connection and wait until an upload of ours has ended."""
        self.close()
        if self._upload is not None:
            await asyncio.wait([self._upload], timeout=UPLOAD_END_TIMEOUT_S)

    async def _finish(self) -> None:
        """Keep the connection for the next request, unless an upload is unfinished."""
        self._closed = True
        if self._upload is not None and not self._upload.done():
            self._upload.cancel()
            await asyncio.wait([self._upload], timeout=UPLOAD_END_TIMEOUT_S)
            self._connection.close()
        elif self.head.keeps_alive:
            self._transport.keep(self._connection)
        else:
            self._connection.close()

    def _failure(self, error: Exception) -> PortsideError:
        self.close()
        cause = upload_failure(self._upload)
        if cause is not None:
            return cause
        if isinstance(error, PortsideError):
            return error
        return Unavailable(f"the engine at {self._transport.name} broke off its answer: {error}")


class HttpTransport:
    """Requests to one engine over as many connections as are in use, a few of them kept for the next."""

    def __init__(self, dialer: Dialer, name: str, user_agent: str) -> None:
        """``name`` is the endpoint as messages show it."""
        self._dialer = dialer
        self._user_agent = user_agent
        self._idle: list[ByteStream] = []
        self._closed = False
        self.name = name

    async def send(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: RequestBody | None = None
    ) -> OpenResponse:
        """Send a request and return once the answer's head is there.

        An iterable body is sent in chunks while the answer is read already. Cancellation closes the
        connection. Raises Unavailable or Forbidden when the engine is not reached or breaks off.
        """
        head = self._request_head(method, target, headers or {}, body)
        while True:
            connection, is_reused = await self._connect()
            try:
                return await self._exchange(connection, method, head, body)
            except _Stale as stale:
                # The engine closed a kept connection while we wrote to it: nothing of it was answered.
                if not is_reused or not isinstance(body, bytes | None) or method not in ("GET", "HEAD"):
                    raise stale.error from stale.error.__cause__

    async def hijack(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> tuple[ResponseHead, ByteStream, bytes, bytes]:
        """Ask to take the connection over; return head, stream, its first bytes and an error answer's body.

        With a status of 101 or 200 the stream is the caller's; with any other it is closed.
        """
        connection = await self._dialer.dial()
        parser = ResponseParser(method)
        asked = {"Connection": "Upgrade", "Upgrade": "tcp", **(headers or {})}
        try:
            await connection.write(self._request_head(method, target, asked, body) + body)
            while parser.head is None:
                parser.feed(await self._read_head(connection))
            answer = parser.head
            if answer.status in (101, 200):
                return answer, connection, parser.leftover(), b""
            response = OpenResponse(self, connection, parser, answer, None)
            return answer, connection, b"", await response.read_all()
        except ProtocolError as error:
            connection.close()
            raise Unavailable(f"the answer of {self.name} was not understood: {error}") from error
        except BaseException:
            connection.close()
            raise

    def keep(self, connection: ByteStream) -> None:
        """Take a connection back whose answer was read to its end."""
        if self._closed or connection.at_eof or len(self._idle) >= MAX_IDLE_CONNECTIONS:
            connection.close()
        else:
            self._idle.append(connection)

    async def aclose(self) -> None:
        """Close the kept connections and let the loop see their end; those in use belong to their users."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()
        await asyncio.sleep(0)

    async def _read_head(self, connection: ByteStream) -> bytes:
        data = await connection.read()
        if not data:
            raise Unavailable(f"the engine at {self.name} closed the connection without an answer")
        return data

    async def _connect(self) -> tuple[ByteStream, bool]:
        while self._idle:
            connection = self._idle.pop()
            if not connection.at_eof:
                return connection, True
            connection.close()
        return await self._dialer.dial(), False

    def _request_head(self, method: str, target: str, headers: Mapping[str, str], body: RequestBody | None) -> bytes:
        fields = {"Host": "docker", "User-Agent": self._user_agent, **headers}
        if isinstance(body, bytes):
            fields["Content-Length"] = str(len(body))
        elif body is not None:
            fields["Transfer-Encoding"] = "chunked"
        elif method in ("POST", "PUT"):
            fields["Content-Length"] = "0"
        try:
            return encode_request(method, target, fields)
        except ProtocolError as error:
            raise InvalidArgument(str(error)) from error

    async def _exchange(
        self, connection: ByteStream, method: str, head: bytes, body: RequestBody | None
    ) -> OpenResponse:
        """Write the request and read the answer's head; whatever goes wrong closes the connection."""
        parser = ResponseParser(method)
        upload: asyncio.Task[None] | None = None
        try:
            await connection.write(head + body if isinstance(body, bytes) else head)
            if body is not None and not isinstance(body, bytes):
                # Owned by the response from here on: it ends or cancels it.
                upload = asyncio.get_running_loop().create_task(_upload(connection, body), name="upload to the engine")
            while parser.head is None:
                parser.feed(await self._read_head(connection))
        except BaseException as error:
            connection.close()
            cause = upload_failure(upload)
            if upload is not None:
                upload.cancel()
                await asyncio.wait([upload], timeout=UPLOAD_END_TIMEOUT_S)
            if cause is not None:
                raise cause from cause.__cause__
            if isinstance(error, ProtocolError):
                raise Unavailable(f"the answer of {self.name} was not understood: {error}") from error
            if isinstance(error, PortsideError):
                raise _Stale(error) from error
            raise
        return OpenResponse(self, connection, parser, parser.head, upload)


class _Stale(Exception):
    """A connection ended before anything of the answer came; ``error`` says how."""

    def __init__(self, error: PortsideError) -> None:
        super().__init__(error.message)
        self.error = error


async def _upload(connection: ByteStream, body: AsyncIterable[bytes]) -> None:
    """Send a body in chunks. When its source fails the connection is closed: a cut-off body must not look whole."""
    try:
        async for data in body:
            if data:
                await connection.write(encode_chunk(data))
        await connection.write(encode_chunk(b""))
    except Unavailable:
        return  # the engine stopped reading; what it answers says why
    except BaseException:
        connection.close()
        raise


def upload_failure(upload: asyncio.Task[None] | None) -> PortsideError | None:
    """Return why the source of an upload failed, None when it did not."""
    if upload is None or not upload.done() or upload.cancelled():
        return None
    error = upload.exception()
    if error is None or isinstance(error, PortsideError):
        return error
    failure = Internal(f"reading what is sent to the engine failed: {error}")
    failure.__cause__ = error
    return failure
