"""The server over a real socket with handlers of its own: broken requests, clients that go, many at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from engine.errors import Conflict, NotModified
from engine.model.container import ContainerUpdateRequest
from engine.server import http
from engine.server.app import build_app
from engine.server.hijack import HijackResponse
from engine.server.http import JsonStream, Route, api_version, decode_body, json_response


class World:
    """A server whose handlers note what happens to them."""

    def __init__(self, socket: Path) -> None:
        """Nothing is served yet."""
        self.socket = str(socket)
        self.cancelled: list[str] = []
        self.finished: list[str] = []
        self.ended: asyncio.Queue[str] = asyncio.Queue()
        self.running = asyncio.Event()

    def routes(self) -> list[Route]:
        """Return the handlers."""
        return [
            Route("GET", "/version", self.version),
            Route("POST", "/decode", self.decode),
            Route("GET", "/conflict", self.conflict),
            Route("GET", "/modified", self.modified),
            Route("GET", "/broken", self.broken),
            Route("GET", "/broken/late", self.broken_late),
            Route("GET", "/refused/late", self.refused_late),
            Route("GET", "/endless", self.endless),
            Route("GET", "/slow", self.slow),
            Route("POST", "/hijack", self.hijack),
            Route("GET", "/new", self.version, since=(1, 40)),
        ]

    async def version(self, request: web.Request) -> web.StreamResponse:
        """Tell the version spoken."""
        return json_response(list(api_version(request)))

    async def decode(self, request: web.Request) -> web.StreamResponse:
        """Read a body."""
        return json_response(await decode_body(request, ContainerUpdateRequest))

    async def conflict(self, request: web.Request) -> web.StreamResponse:
        """Fail with a kind."""
        raise Conflict("the name is taken", hint="never sent")

    async def modified(self, request: web.Request) -> web.StreamResponse:
        """Have nothing to do."""
        raise NotModified("it runs")

    async def broken(self, request: web.Request) -> web.StreamResponse:
        """Fail as no handler should."""
        raise ZeroDivisionError("secret detail")

    async def broken_late(self, request: web.Request) -> web.StreamResponse:
        """Fail when the answer has begun."""
        await JsonStream(request).send({"part": 1})
        raise ZeroDivisionError("secret detail")

    async def refused_late(self, request: web.Request) -> web.StreamResponse:
        """Fail with a kind when the answer has begun."""
        await JsonStream(request).send({"part": 1})
        raise Conflict("too late")

    async def _note(self, name: str, work: Any) -> None:
        self.running.set()
        try:
            await work
        except asyncio.CancelledError:
            self.cancelled.append(name)
            self.ended.put_nowait(name)
            raise
        self.finished.append(name)

    async def endless(self, request: web.Request) -> web.StreamResponse:
        """Stream for ever."""
        stream = JsonStream(request)
        await stream.send({"part": 1})
        await self._note("endless", asyncio.sleep(3600))
        return stream.response

    async def slow(self, request: web.Request) -> web.StreamResponse:
        """Take a moment."""
        await self._note("slow", asyncio.sleep(0.3))
        return json_response("done")

    async def hijack(self, request: web.Request) -> web.StreamResponse:
        """Echo until the client ends its half."""
        response = HijackResponse("application/x")
        stream = await response.take_over(request)
        self.running.set()
        try:
            while data := await stream.read():
                await stream.write(data.upper())
        except asyncio.CancelledError:
            self.cancelled.append("hijack")
            raise
        finally:
            stream.close()
        return response

    async def ask(self, data: bytes) -> bytes:
        """Send bytes and return all that comes until the server closes."""
        reader, writer = await asyncio.open_unix_connection(self.socket)
        try:
            writer.write(data)
            async with asyncio.timeout(10):
                return await reader.read()
        finally:
            writer.close()

    async def get(self, path: str, body: bytes = b"", content_type: str = "application/json") -> tuple[int, bytes]:
        """Send one request; return status and body."""
        head = f"{'POST' if path == '/decode' else 'GET'} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        if body:
            head += f"Content-Length: {len(body)}\r\n"
        if content_type:
            head += f"Content-Type: {content_type}\r\n"
        answer = await self.ask(head.encode() + b"\r\n" + body)
        first, _, content = answer.partition(b"\r\n\r\n")
        return int(first.split()[1]), content


@asynccontextmanager
async def _served(folder: Path) -> AsyncIterator[tuple[World, web.AppRunner]]:
    world = World(folder / "s.sock")
    runner = web.AppRunner(build_app(world.routes()), handler_cancellation=True, access_log=None, shutdown_timeout=2)
    await runner.setup()
    await web.UnixSite(runner, world.socket, backlog=1024).start()
    try:
        yield world, runner
    finally:
        await runner.cleanup()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with _served(tmp_path) as (world, _):
        yield world


async def _message(world: World, path: str, **more: Any) -> tuple[int, str]:
    status, body = await world.get(path, **more)
    return status, json.loads(body)["message"]


async def test_each_path_is_there_with_and_without_a_version(world: World) -> None:
    assert await world.get("/version") == (200, b"[1,51]\n")
    assert await world.get("/v1.41/version") == (200, b"[1,41]\n")
    assert await world.get("/v1.24/version") == (200, b"[1,24]\n")
    assert await _message(world, "/v1.24/new") == (404, "page not found")
    assert (await world.get("/v1.40/new"))[0] == 200


async def test_every_answer_has_dockers_headers(world: World) -> None:
    for path in ("/version", "/nope", "/conflict", "/v1.99/version", "/v1.2/version"):
        answer = await world.ask(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        head = answer.partition(b"\r\n\r\n")[0].decode()
        assert "\r\nApi-Version: 1.51" in head
        assert "\r\nDocker-Experimental: false" in head
        assert "\r\nOstype: linux" in head
        assert "\r\nServer: Portside/" in head


async def test_a_client_too_old_for_json_gets_plain_text(world: World) -> None:
    status, body = await world.get("/v1.23/version")
    assert status == 400
    assert body.startswith(b"client version 1.23 is too old.")


async def test_failures_become_dockers_errors(world: World) -> None:
    assert await _message(world, "/conflict") == (409, "the name is taken")
    assert await world.get("/modified") == (304, b"")
    assert await _message(world, "/nope") == (404, "page not found")


async def test_a_handler_that_breaks_does_not_break_the_server(world: World, caplog: pytest.LogCaptureFixture) -> None:
    status, text = await _message(world, "/broken")
    assert (status, "secret" in text) == (500, False)
    assert "ZeroDivisionError: secret detail" in caplog.text
    assert (await world.get("/version"))[0] == 200


@pytest.mark.parametrize("path", ["/broken/late", "/refused/late"])
async def test_an_answer_that_fails_half_way_is_seen_to_be_cut(world: World, path: str) -> None:
    answer = await world.ask(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert answer.count(b"HTTP/1.1") == 1
    assert answer.endswith(b'{"part":1}\r\n\r\n')  # the chunk, but not the last one of length 0


BODIES: list[tuple[bytes, str, str]] = [
    (b"", "application/json", "invalid JSON: got EOF while reading request body"),
    (b"{", "application/json", "invalid JSON: "),
    (b"{}{}", "application/json", "unexpected content after JSON"),
    (b"\xff\xfe", "application/json", "invalid JSON: "),
    (b"[]", "application/json", "invalid JSON: "),
    (b'{"Memory": "much"}', "application/json", "invalid JSON: json: cannot unmarshal string into Go struct field "),
    (b'{"Memory": 1e400}', "application/json", "invalid JSON: "),
    (b'{"Memory": 99999999999999999999999999}', "application/json", "invalid JSON: json: cannot unmarshal number 9999"),
    (b'{"Memory": ' + b"9" * 5000 + b"}", "application/json", "invalid JSON: "),
    (b'{"a":' * 50_000, "application/json", "invalid JSON: "),
    (b"[" * 200_000 + b"]" * 200_000, "application/json", "invalid JSON: "),
    (b"{}", "text/plain", "unsupported Content-Type header (text/plain): must be 'application/json'"),
    (b"{}", "", "malformed Content-Type header (): mime: no media type"),
    (b'{"x":"' + b"y" * http.MAX_BODY_BYTES + b'"}', "application/json", "request body is larger than 4194304 bytes"),
]


@pytest.mark.parametrize(("body", "content_type", "text"), BODIES, ids=range(len(BODIES)))
async def test_a_bad_body_is_told(world: World, body: bytes, content_type: str, text: str) -> None:
    status, message = await _message(world, "/decode", body=body, content_type=content_type)
    assert status == 400
    assert message.startswith(text)


async def test_null_means_absent(world: World) -> None:
    status, body = await world.get("/decode", body=b'{"Memory": null, "CpuShares": 5, "Unknown": [1]}')
    assert status == 200
    assert json.loads(body)["CpuShares"] == 5


async def test_a_body_that_stops_half_way_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BODY_STALL_S", 0.2)
    head = b"POST /decode HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    reader, writer = await asyncio.open_unix_connection(world.socket)
    writer.write(head)
    answer = await asyncio.wait_for(reader.readuntil(b"}\n"), 5)
    writer.close()
    assert b"400" in answer.split(b"\r\n")[0]
    assert b"request body stopped after 1 bytes" in answer


@pytest.mark.parametrize(
    "data",
    [
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
        b"GET /" + b"y" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /decode HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /decode HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=range(7),
)
async def test_what_is_no_request_gets_400(world: World, data: bytes) -> None:
    assert b"400" in (await world.ask(data)).split(b"\r\n")[0]
    assert (await world.get("/version"))[0] == 200


async def test_a_client_that_goes_away_ends_its_handler(world: World) -> None:
    for path in ("/endless", "/slow"):
        world.running.clear()
        _, writer = await asyncio.open_unix_connection(world.socket)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await world.running.wait()
        writer.close()
        assert await asyncio.wait_for(world.ended.get(), 5) == path[1:]
    assert world.cancelled == ["endless", "slow"]


async def test_a_hijacked_stream_keeps_its_other_half_after_one_is_closed(world: World) -> None:
    reader, writer = await asyncio.open_unix_connection(world.socket)
    writer.write(b"POST /hijack HTTP/1.1\r\nHost: x\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 UPGRADED\r\n")
    blob = b"abc" * 500_000

    async def send() -> None:
        for start in range(0, len(blob), 65536):
            writer.write(blob[start : start + 65536])
            await writer.drain()
        writer.write_eof()

    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(send())
        data = await reader.read()
    assert data == blob.upper()
    writer.close()


async def test_500_clients_at_once_all_get_their_answers(world: World) -> None:
    answers = await asyncio.gather(*(world.get("/slow") for _ in range(500)))
    assert set(answers) == {(200, b'"done"\n')}


async def test_shutting_down_cuts_streams_and_lets_requests_finish(tmp_path: Path) -> None:
    async with _served(tmp_path) as (world, runner):
        requests = [asyncio.create_task(world.get("/slow"))]
        for data in (
            b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n",
            b"POST /hijack HTTP/1.1\r\nHost: x\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\n",
        ):
            world.running.clear()
            requests.append(asyncio.create_task(world.ask(data)))  # type: ignore[arg-type]
            await world.running.wait()
        started = asyncio.get_running_loop().time()
        await runner.cleanup()
        assert asyncio.get_running_loop().time() - started < 1.9
        assert await requests[0] == (200, b'"done"\n')
        assert sorted(world.cancelled) == ["endless", "hijack"]
        await asyncio.gather(*requests)
