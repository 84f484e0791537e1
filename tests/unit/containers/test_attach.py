"""Detach keys and the two directions of an attached process, without a process."""

from __future__ import annotations

import asyncio
import socket

import pytest

from engine.containers.attach import AttachOptions, DetachFilter, parse_detach_keys, serve
from engine.errors import InvalidArgument
from engine.runtime.conmon import AttachSocket


class FakeClient:
    """A client whose typing is scripted."""

    def __init__(self, typed: list[bytes]) -> None:
        self.closed = asyncio.Event()
        self.sent = bytearray()
        self._typed = typed

    async def read(self) -> bytes:
        return self._typed.pop(0) if self._typed else b""

    async def write(self, data: bytes) -> None:
        if self.closed.is_set():
            raise ConnectionResetError
        self.sent += data


def process() -> tuple[AttachSocket, socket.socket]:
    """Return the engine's end and conmon's end of an attach socket."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    theirs.setblocking(False)
    return AttachSocket(ours), theirs


@pytest.mark.parametrize(
    ("text", "keys"),
    [("", b"\x10\x11"), ("ctrl-a", b"\x01"), ("a,ctrl-z", b"a\x1a"), ("ctrl-@,ctrl-[,ctrl-_", b"\x00\x1b\x1f")],
)
def test_detach_keys_are_read_as_docker_reads_them(text: str, keys: bytes) -> None:
    assert parse_detach_keys(text) == keys


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-A1", "ctrl-1", "abc", "ctrl-p,,", "é"])
def test_other_detach_keys_are_refused_with_the_text(text: str) -> None:
    with pytest.raises(InvalidArgument, match="Invalid detach keys"):
        parse_detach_keys(text)


@pytest.mark.parametrize(
    ("reads", "passed", "detached"),
    [
        ([b"plain"], b"plain", False),
        ([b"ab\x10\x11cd"], b"ab", True),
        ([b"ab\x10", b"\x11"], b"ab", True),
        ([b"\x10x"], b"\x10x", False),
        ([b"\x10\x10\x11"], b"\x10", True),
        ([b"\x10", b"a"], b"\x10a", False),
    ],
)
def test_detach_keys_are_found_across_reads(reads: list[bytes], passed: bytes, detached: bool) -> None:
    keys = DetachFilter(b"\x10\x11")
    results = [keys.feed(data) for data in reads]
    assert b"".join(data for data, _ in results) == passed
    assert results[-1][1] is detached


async def test_output_is_framed_and_ends_with_the_process() -> None:
    ours, theirs = process()
    client = FakeClient([])
    theirs.send(b"\x02out")
    theirs.send(b"\x03err")
    theirs.close()
    left = await serve(ours, client, AttachOptions())
    ours.close()
    assert not left
    assert bytes(client.sent) == b"\x01\0\0\0\0\0\0\x03out\x02\0\0\0\0\0\0\x03err"


async def test_a_stream_that_is_not_attached_is_dropped() -> None:
    ours, theirs = process()
    client = FakeClient([])
    theirs.send(b"\x02out")
    theirs.send(b"\x03err")
    theirs.close()
    await serve(ours, client, AttachOptions(stdout=False, framed=False))
    ours.close()
    assert bytes(client.sent) == b"err"


async def test_stdin_is_sent_in_small_packets_and_closed_when_asked() -> None:
    ours, theirs = process()
    client = FakeClient([b"x" * 20_000])
    task = asyncio.create_task(serve(ours, client, AttachOptions(stdin=True, close_stdin=True)))
    loop = asyncio.get_running_loop()
    received = bytearray()
    while block := await loop.sock_recv(theirs, 65536):
        assert len(block) <= 8192
        received += block
    assert bytes(received) == b"x" * 20_000
    theirs.close()
    assert await task is False
    ours.close()


async def test_detaching_leaves_the_process() -> None:
    ours, theirs = process()
    client = FakeClient([b"hi\x10\x11"])
    assert await serve(ours, client, AttachOptions(stdin=True)) is True
    assert theirs.recv(100) == b"hi"
    ours.close()
    theirs.close()


async def test_a_client_that_goes_away_ends_the_session() -> None:
    ours, theirs = process()
    client = FakeClient([])
    task = asyncio.create_task(serve(ours, client, AttachOptions()))
    await asyncio.sleep(0)
    client.closed.set()
    assert await asyncio.wait_for(task, 5) is True
    ours.close()
    theirs.close()
