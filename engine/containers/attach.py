"""Attaching a client to a process: its output to the client, the client's bytes to its stdin.

Serves containers and execs alike. Knows conmon's socket and any object that reads and writes bytes; not HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from engine.errors import InvalidArgument
from engine.runtime.conmon import STDERR, STDOUT, AttachSocket

DEFAULT_DETACH_KEYS = b"\x10\x11"
_BATCH_BYTES = 256 * 1024


class ClientStream(Protocol):
    """The client's end (engine.server.hijack.HijackedStream, or a fake)."""

    async def read(self) -> bytes:
        """Return what comes next, ``b""`` at the end."""

    async def write(self, data: bytes) -> None:
        """Send bytes; raises ConnectionResetError when the client has gone."""

    @property
    def closed(self) -> asyncio.Event:
        """Set when the connection has gone."""


@dataclass(frozen=True)
class AttachOptions:
    """What of a process is attached. ``framed`` puts Docker's 8-byte headers before each piece of output."""

    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    framed: bool = True
    detach_keys: bytes = DEFAULT_DETACH_KEYS
    close_stdin: bool = False


def parse_detach_keys(text: str, *, describe: Callable[[str], str] | None = None) -> bytes:
    """Return the bytes of a key sequence such as ``ctrl-p,ctrl-q``; empty means Docker's default.

    Raises InvalidArgument with moby's text for anything else.
    """
    if not text:
        return DEFAULT_DETACH_KEYS
    keys = bytearray()
    for word in text.split(","):
        key = word.strip() if len(word) > 1 else word
        if len(key) == 1 and key.isascii():
            keys += key.encode()
        elif key.startswith("ctrl-") and len(key) == 6:
            letter = key[5]
            if "a" <= letter <= "z":
                keys.append(ord(letter) - ord("a") + 1)
            elif letter in "@[\\]^_":
                keys.append(ord(letter) - ord("@"))
            else:
                raise InvalidArgument(_invalid(text, describe))
        else:
            raise InvalidArgument(_invalid(text, describe))
    return bytes(keys)


def _invalid(text: str, describe: Callable[[str], str] | None) -> str:
    return describe(text) if describe else f"Invalid detach keys ({text}) provided"


class DetachFilter:
    """Looks for the detach keys in what a client types, also across reads."""

    def __init__(self, keys: bytes) -> None:
        """``keys`` is the sequence; empty never detaches."""
        self._keys = keys
        self._matched = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """Return what goes on to the process and whether the client detaches."""
        if not self._keys or (not self._matched and self._keys[0] not in data):
            return data, False
        passed = bytearray()
        for byte in data:
            if byte == self._keys[self._matched]:
                self._matched += 1
                if self._matched == len(self._keys):
                    self._matched = 0
                    return bytes(passed), True
                continue
            passed += self._keys[: self._matched]
            self._matched = 0
            if byte == self._keys[0]:
                self._matched = 1
            else:
                passed.append(byte)
        return bytes(passed), False


async def serve(process: AttachSocket, client: ClientStream, options: AttachOptions) -> bool:
    """Move bytes both ways until the process's output ends, the client goes or detaches.

    Returns whether the client detached or left. Cancelling it leaves both connections to their owners.
    """
    output = asyncio.ensure_future(_send_output(process, client, options))
    tasks: list[asyncio.Future[bool]] = [output, asyncio.ensure_future(_gone(client))]
    if options.stdin:
        tasks.append(asyncio.ensure_future(_send_input(process, client, options)))
    try:
        pending: set[asyncio.Future[bool]] = set(tasks)
        while True:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            if output in done:
                return output.result()
            if any(task.result() for task in done):
                return True
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _gone(client: ClientStream) -> bool:
    await client.closed.wait()
    return True


async def _send_output(process: AttachSocket, client: ClientStream, options: AttachOptions) -> bool:
    wanted = {STDOUT: options.stdout, STDERR: options.stderr}
    ended = False
    while not ended:
        packet: tuple[int, bytes] | None = await process.read()
        blocks: list[bytes] = []
        size = 0
        while packet is not None:
            kind, data = packet
            if not kind:
                ended = True
                break
            if wanted.get(kind):
                if options.framed:
                    blocks.append(b"%c\0\0\0" % (kind - 1) + len(data).to_bytes(4, "big"))
                blocks.append(data)
                size += len(data)
            packet = process.read_nowait() if size < _BATCH_BYTES else None
        try:
            if blocks:
                await client.write(b"".join(blocks))
        except ConnectionResetError:
            return True
    return False


async def _send_input(process: AttachSocket, client: ClientStream, options: AttachOptions) -> bool:
    keys = DetachFilter(options.detach_keys)
    while True:
        data = await client.read()
        if not data:
            if options.close_stdin:
                process.close_write()
            return False
        passed, detached = keys.feed(data)
        try:
            if passed:
                await process.write(passed)
        except (BrokenPipeError, ConnectionResetError):
            return False  # the process reads no more; its output goes on
        if detached:
            return True
