"""Requests over scripted connections: reuse, errors, uploads, cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from engine.client import EngineClient
from engine.client.dial import ByteStream
from engine.client.failures import is_response
from engine.errors import Conflict, Internal, NotFound, PortsideError, Unavailable
from engine.model.container import ContainerCreateRequest

PING = b"HTTP/1.1 200 OK\r\nApi-Version: 1.60\r\nContent-Length: 0\r\n\r\n"


def answer(status: str, body: bytes = b"", kind: str = "application/json") -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (
        status.encode(), kind.encode(), len(body), body,
    )  # fmt: skip


class FakeStream:
    """A connection that answers each request with the next script entry; an entry of None hangs."""

    def __init__(self, script: list[bytes | None], *, ends: bool = False) -> None:
        self.script = script
        self.sent = bytearray()
        self.is_closed = False
        self.write_ended = False
        self.ends = ends
        self.at_eof = False

    async def read(self) -> bytes:
        if self.script:
            entry = self.script.pop(0)
            if entry is not None:
                return entry
        elif self.ends:
            return b""
        await asyncio.Event().wait()
        return b""

    async def write(self, data: bytes) -> None:
        self.sent += data

    async def close_write(self) -> None:
        self.write_ended = True

    def close(self) -> None:
        self.is_closed = True


class FakeDialer:
    def __init__(self, *streams: FakeStream) -> None:
        self.streams = list(streams)
        self.dialled = 0

    async def dial(self) -> ByteStream:
        self.dialled += 1
        return self.streams.pop(0)


def client_of(*streams: FakeStream, timeout_s: float = 5.0) -> tuple[EngineClient, FakeDialer]:
    dialer = FakeDialer(*streams)
    return EngineClient("unix:///fake", dialer=dialer, timeout_s=timeout_s), dialer


async def test_the_version_is_the_lower_one_and_the_connection_is_used_again() -> None:
    stream = FakeStream([PING, answer("200 OK", b"[]")])
    client, dialer = client_of(stream)
    assert await client.containers.list(all=True) == []
    assert client.api_version == "1.51"
    assert dialer.dialled == 1
    assert b"GET /v1.51/containers/json?all=1 HTTP/1.1\r\n" in stream.sent


async def test_an_older_engine_is_spoken_to_in_its_version() -> None:
    client, _ = client_of(FakeStream([PING.replace(b"1.60", b"1.41")]))
    assert await client.negotiate() == "1.41"


async def test_a_closed_kept_connection_is_replaced_for_reading_and_never_for_changing() -> None:
    client, dialer = client_of(
        FakeStream([PING], ends=True), FakeStream([answer("200 OK", b"[]")], ends=True), FakeStream([])
    )
    await client.negotiate()
    assert await client.containers.list() == []
    assert dialer.dialled == 2
    with pytest.raises(Unavailable, match="without an answer"):
        await client.containers.create(ContainerCreateRequest(image="x"))
    assert dialer.dialled == 2


@pytest.mark.parametrize(
    ("status", "kind"), [("404 Not Found", NotFound), ("409 Conflict", Conflict), ("500 Oops", Internal)]
)
async def test_statuses_become_kinds_with_the_engines_words(status: str, kind: type[PortsideError]) -> None:
    client, _ = client_of(FakeStream([PING, answer(status, b'{"message":"No such container: x"}')]))
    with pytest.raises(kind) as caught:
        await client.containers.inspect("x")
    assert caught.value.message == "No such container: x"
    assert is_response(caught.value)


async def test_an_error_without_json_keeps_its_text() -> None:
    client, _ = client_of(FakeStream([PING, answer("404 Not Found", b"404 page not found\n", "text/plain")]))
    with pytest.raises(NotFound, match="404 page not found"):
        await client.containers.start("x")


async def test_a_304_is_a_success() -> None:
    client, _ = client_of(FakeStream([PING, b"HTTP/1.1 304 Not Modified\r\n\r\n"]))
    await client.containers.start("x")


async def test_nulls_stand_for_absent_values_but_unpublished_ports_stay() -> None:
    body = b'[{"Id":"a","Ports":null,"Labels":null,"Mounts":null,"NetworkSettings":null,"HostConfig":null}]'
    client, _ = client_of(FakeStream([PING, answer("200 OK", body)]))
    (container,) = await client.containers.list()
    assert container.ports == []
    body = b'{"Id":"a","Args":null,"NetworkSettings":{"Ports":{"80/tcp":null}}}'
    client, _ = client_of(FakeStream([PING, answer("200 OK", body)]))
    inspected = await client.containers.inspect("a")
    assert inspected.network_settings.ports == {"80/tcp": None}


async def test_a_silent_engine_is_given_up_with_its_name() -> None:
    stream = FakeStream([PING, None])
    client, _ = client_of(stream, timeout_s=0.05)
    with pytest.raises(Unavailable, match=r"unix:///fake did not answer GET /v1\.51/info within"):
        await client.system.info()
    assert stream.is_closed


async def test_cancelling_a_stream_closes_its_connection() -> None:
    ping, events = FakeStream([PING], ends=True), FakeStream([b"HTTP/1.1 200 OK\r\n\r\n", None])
    client, _ = client_of(ping, events)
    ping.at_eof = True
    stream = client.system.events()
    await stream.open()
    task = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert events.is_closed


async def test_an_error_inside_a_pull_is_raised_after_what_came_before_it() -> None:
    body = b'{"status":"Pulling","id":"a"}\r\n{"errorDetail":{"message":"disk full"},"error":"disk full"}\r\n'
    client, _ = client_of(FakeStream([PING, answer("200 OK", body)]))
    steps = client.images.pull("x", tag="1")
    assert (await anext(steps)).status == "Pulling"
    with pytest.raises(Internal, match="disk full") as caught:
        await anext(steps)
    assert not is_response(caught.value)


async def test_frames_are_told_apart_and_may_be_cut_anywhere() -> None:
    frames = b"\x01\0\0\0\0\0\0\x03out\x02\0\0\0\0\0\0\x03err"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\n\r\n"
    client, _ = client_of(FakeStream([PING, head + frames[:5], frames[5:12], frames[12:]], ends=True))
    outputs = [output async for output in client.containers.logs("x", is_tty=False)]
    assert [(output.stream, output.data) for output in outputs] == [("stdout", b"out"), ("stderr", b"err")]


async def test_a_hijacked_stream_keeps_its_first_bytes_and_ends_its_halves_apart() -> None:
    head = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    stream = FakeStream([head + b"\x01\0\0\0\0\0\0\x02hi"], ends=True)
    client, _ = client_of(FakeStream([PING]), stream)
    async with await client.containers.attach("x", stdin=True, is_tty=False) as attached:
        assert b"Upgrade: tcp\r\n" in stream.sent
        await attached.write(b"input")
        await attached.close_write()
        assert stream.write_ended
        assert [output.data async for output in attached] == [b"hi"]
    assert stream.is_closed


async def test_a_refused_hijack_is_an_error_with_the_engines_words() -> None:
    client, _ = client_of(FakeStream([PING]), FakeStream([answer("409 Conflict", b'{"message":"is not running"}')]))
    with pytest.raises(Conflict, match="is not running"):
        await client.exec.start("x")


async def test_an_upload_whose_source_fails_does_not_look_whole() -> None:
    async def source() -> AsyncIterator[bytes]:
        yield b"some"
        raise OSError("disk error")

    upload = FakeStream([], ends=True)
    ping = FakeStream([PING])
    client, _ = client_of(ping, upload)
    ping.at_eof = True
    with pytest.raises(PortsideError):
        await anext(client.images.load(source()))
    assert upload.is_closed
    assert b"0\r\n\r\n" not in upload.sent.partition(b"\r\n\r\n")[2]


async def test_credentials_do_not_show_in_errors() -> None:
    from engine.model.system import AuthConfig

    client, _ = client_of(
        FakeStream([PING, answer("401 Unauthorized", b'{"message":"incorrect username or password"}')])
    )
    with pytest.raises(PortsideError) as caught:
        await client.system.auth(AuthConfig(username="u", password="hunter2", serveraddress="r"))
    assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r} {AuthConfig(password='hunter2')!r}"
