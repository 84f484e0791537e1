"""GET /containers/{id}/attach/ws: a browser's way to a container's terminal."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, UnixConnector, WSMsgType, WSServerHandshakeError

from tests.engine_process import EngineProcess

_HEAD = (
    "Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.fixture
def echoing(engine: EngineProcess) -> Iterator[str]:
    """A container that says back each line; killed at the end."""
    script = 'echo ready; while read line; do echo "$line"; echo "$line" >&2; done; echo over'
    engine.docker("run", "-di", "--name", "echoing", "--net", "none", "busybox", "sh", "-c", script)
    for _ in range(1000):
        if engine.docker("logs", "echoing").stdout:
            break
    yield "echoing"
    engine.docker("rm", "-f", "echoing")


@asynccontextmanager
async def connected(engine: EngineProcess, path: str) -> AsyncIterator[ClientWebSocketResponse]:
    async with (
        ClientSession(connector=UnixConnector(str(engine.socket))) as session,
        session.ws_connect(f"http://x{path}", max_msg_size=0) as client,
    ):
        yield client


async def read_until(client: ClientWebSocketResponse, end: bytes) -> bytes:
    data = b""
    async with asyncio.timeout(20):
        while not data.endswith(end):
            message = await client.receive()
            assert message.type == WSMsgType.BINARY, message
            data += message.data
    return data


async def read_count(client: ClientWebSocketResponse, count: int) -> bytes:
    data = b""
    async with asyncio.timeout(20):
        while len(data) < count:
            data += await client.receive_bytes()
    return data


async def test_output_comes_in_binary_frames_and_text_goes_in(engine: EngineProcess, echoing: str) -> None:
    async with connected(
        engine, f"/v1.51/containers/{echoing}/attach/ws?stream=1&logs=1&stdin=1&stdout=1&stderr=1"
    ) as client:
        assert await read_until(client, b"ready\n") == b"ready\n"
        await client.send_str("hé\n")
        assert await read_until(client, "hé\nhé\n".encode()) == "hé\nhé\n".encode()
        await client.send_bytes(b"by")
        await client.send_bytes(b"tes\n")
        await read_until(client, b"bytes\nbytes\n")
        await client.ping(b"x")
        await client.send_str("x" * 100_000 + "\n")
        assert (await read_count(client, 200_002)).count(b"x") == 200_000
    assert engine.api("GET", f"/containers/{echoing}/json")[1]["State"]["Running"]


async def test_only_the_streams_that_are_asked_for(engine: EngineProcess, echoing: str) -> None:
    async with (
        connected(engine, f"/v1.51/containers/{echoing}/attach/ws?stream=1&stderr=1") as reading,
        connected(engine, f"/v1.40/containers/{echoing}/attach/ws?stream=1") as both,
    ):
        await reading.send_str("is not passed on\n")
        await both.send_str("word\n")
        assert await read_until(both, b"word\nword\n") == b"word\nword\n"
        assert await read_until(reading, b"word\n") == b"word\n"


async def test_versions_before_1_28_get_text(engine: EngineProcess, echoing: str) -> None:
    async with connected(engine, f"/v1.27/containers/{echoing}/attach/ws?stream=1&logs=1") as client:
        message = await asyncio.wait_for(client.receive(), 20)
        assert (message.type, message.data) == (WSMsgType.TEXT, "ready\n")


async def test_the_end_of_the_process_closes(engine: EngineProcess) -> None:
    made = engine.api("POST", "/containers/create", {"Image": "busybox", "Cmd": ["echo", "hello"]})[1]["Id"]
    async with connected(engine, f"/v1.51/containers/{made}/attach/ws?stream=1&stdout=1") as client:
        await asyncio.to_thread(engine.api, "POST", f"/containers/{made}/start")
        assert await read_until(client, b"hello\n") == b"hello\n"
        message = await asyncio.wait_for(client.receive(), 20)
        assert message.type == WSMsgType.CLOSE
        assert message.data == 1000


async def test_a_closing_client_ends_the_input_of_a_container_that_wants_one_only(engine: EngineProcess) -> None:
    body = {"Image": "busybox", "Cmd": ["cat"], "OpenStdin": True, "StdinOnce": True, "AttachStdin": True}
    made = engine.api("POST", "/containers/create", body)[1]["Id"]
    async with connected(engine, f"/v1.51/containers/{made}/attach/ws?stream=1&stdin=1&stdout=1") as client:
        await asyncio.to_thread(engine.api, "POST", f"/containers/{made}/start")
        await client.send_str("last words\n")
        await read_until(client, b"last words\n")
    status, answer = await asyncio.to_thread(engine.api, "POST", f"/containers/{made}/wait")
    assert (status, answer["StatusCode"]) == (200, 0)


def test_bad_handshakes_and_containers_get_an_answer(engine: EngineProcess, echoing: str) -> None:
    assert engine.api("GET", "/containers/nope/attach/ws") == (404, {"message": "No such container: nope"})
    path = f"/containers/{echoing}/attach/ws"
    assert engine.api("GET", path) == (400, {"message": "not websocket protocol"})
    status, answer = engine.api("GET", f"{path}?detachKeys=nope")
    assert (status, answer["message"]) == (400, "Invalid detach keys (nope) provided")
    engine.docker("pause", echoing)
    try:
        assert engine.api("GET", path)[0] == 409
    finally:
        engine.docker("unpause", echoing)


async def test_a_handshake_without_a_key(engine: EngineProcess, echoing: str) -> None:
    async with ClientSession(connector=UnixConnector(str(engine.socket))) as session:
        headers = {"Sec-WebSocket-Version": "7"}
        with pytest.raises(WSServerHandshakeError) as caught:
            await session.ws_connect(f"http://x/containers/{echoing}/attach/ws", headers=headers)
        assert caught.value.status == 400


def raw(engine: EngineProcess, container: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(20)
    connection.connect(str(engine.socket))
    connection.sendall(f"GET /containers/{container}/attach/ws?stream=1&stdin=1&stdout=1 HTTP/1.1\r\n{_HEAD}".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(1)
    assert head.startswith(b"HTTP/1.1 101 ")
    return connection


@pytest.mark.parametrize(
    "garbage",
    [b"\x81\x05hello", b"\xff" * 200, b"GET / HTTP/1.1\r\n\r\n", b"\x83\x80aaaa", b"\x02\x80aaaa" * 2 + bytes(5000)],
    ids=["no mask", "ones", "HTTP", "opcode", "never ends"],
)
def test_garbage_gets_a_clean_close_and_harms_nobody(engine: EngineProcess, echoing: str, garbage: bytes) -> None:
    with raw(engine, echoing) as connection:
        connection.sendall(b"\x81\x80aaaa" + garbage)
        received = b""
        while block := connection.recv(1000):
            received += block
    assert received.endswith(b"\x88\x02\x03\xea")
    assert engine.api("GET", f"/containers/{echoing}/json")[1]["State"]["Running"]


def test_a_client_that_vanishes_is_let_go(engine: EngineProcess, echoing: str) -> None:
    raw(engine, echoing).close()
    before = _descriptors(engine)
    held = [raw(engine, echoing) for _ in range(10)]
    assert _descriptors(engine) >= before + 10
    for connection in held[:5]:
        connection.sendall(b"\x82\xfe\xff\xffaaaa" + b"half a frame")
    for connection in held:
        connection.close()
    for _ in range(2000):
        if _descriptors(engine) <= before:
            return
        engine.api("GET", "/_ping")
    pytest.fail(f"{_descriptors(engine) - before} descriptors more than before")


def _descriptors(engine: EngineProcess) -> int:
    return len(list(Path(f"/proc/{engine.pid}/fd").iterdir()))
