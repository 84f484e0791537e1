"""Clients that send their requests slowly or half: bounded, without harm to those that are merely idle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from engine.server.runner import HEAD_TIMEOUT_S, Runner

TIMEOUT_S = 0.3
REQUEST = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"


class Client:
    """A connection on which bytes are sent as they are."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> bytes:
        head = await self.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        return await self.reader.readexactly(5)

    async def is_cut(self) -> bool:
        """Wait for the end of the connection; it must come without an answer."""
        async with asyncio.timeout(10):
            return await self.reader.read() == b""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Path]:
    async def hello(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(text="hello")

    async def slow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.sleep(3 * TIMEOUT_S)
        await response.write(b"hello")
        return response

    app = web.Application()
    app.router.add_route("*", "/hello", hello)
    app.router.add_get("/slow", slow)
    runner = Runner(app, head_timeout_s=TIMEOUT_S, handler_cancellation=True, access_log=None)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "s")).start()
    yield tmp_path / "s"
    await runner.cleanup()


@pytest.fixture
async def client(server: Path) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_unix_connection(str(server))
    yield Client(reader, writer)
    writer.close()


@pytest.mark.parametrize(
    "half",
    [b"G", REQUEST[:-2], b"GET /" + b"x" * 500, b"\r\nGET /", REQUEST[:-4] + b"\r\nX-Long: "],
    ids=["letter", "no end", "path", "line break first", "field"],
)
async def test_half_a_head_is_cut_off(client: Client, half: bytes) -> None:
    await client.send(half)
    assert await client.is_cut()


async def test_a_head_that_comes_drop_by_drop_is_cut_off(client: Client) -> None:
    cut = asyncio.ensure_future(client.is_cut())
    await client.send(b"GET /")
    while not cut.done():
        await client.send(b"x")
        await asyncio.sleep(TIMEOUT_S / 10)
    assert await cut


async def test_half_a_second_head_is_cut_off_too(client: Client) -> None:
    for request in (REQUEST, POST + b"0123456789", REQUEST):
        await client.send(request)
        assert await client.answer() == b"hello"
    await client.send(REQUEST[:10])
    assert await client.is_cut()


async def test_a_head_in_two_parts_is_served(client: Client) -> None:
    for _ in range(3):
        await client.send(REQUEST[:20])
        await asyncio.sleep(TIMEOUT_S / 3)
        await client.send(REQUEST[20:])
        assert await client.answer() == b"hello"


async def test_an_idle_connection_is_kept(client: Client) -> None:
    await asyncio.sleep(2 * TIMEOUT_S)
    await client.send(POST)
    await client.send(b"01234")
    await asyncio.sleep(2 * TIMEOUT_S)  # a body has a limit of its own
    await client.send(b"56789")
    assert await client.answer() == b"hello"
    await client.send(b"\r\n")  # as old clients end a body
    await asyncio.sleep(2 * TIMEOUT_S)
    await client.send(REQUEST)
    assert await client.answer() == b"hello"


async def test_an_answer_that_takes_long_is_not_cut_off(client: Client) -> None:
    await client.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
    await client.reader.readuntil(b"\r\n\r\n")
    await client.send(REQUEST[:10])
    assert b"hello" in await client.reader.readuntil(b"0\r\n\r\n")
    await client.send(REQUEST[10:])
    assert await client.answer() == b"hello"


def test_the_limit_is_a_minute() -> None:
    assert HEAD_TIMEOUT_S == 60
