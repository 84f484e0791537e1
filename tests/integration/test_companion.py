"""A process that outlives the engine: started, found again, dying slowly, letting go, hanging."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.networks.companion import Companion

SOCKETS = 400
PROGRAM = f"""
import socket, time
control = socket.socket(fileno=3)
control.listen(8)
held = []
for number in range({SOCKETS}):
    held.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    held[-1].bind(("127.0.0.1", 0))
while True:
    engine, _ = control.accept()
    while word := engine.recv(1000):
        if word == b"ports":
            engine.send(" ".join(str(item.getsockname()[1]) for item in held).encode())
        elif word == b"let go":
            break
        elif word == b"hang":
            time.sleep(1000)
        elif word == b"quit":
            raise SystemExit
        else:
            engine.send(word)
    engine.close()
"""


class Owner:
    """Whoever owns the process: remembers what it heard."""

    def __init__(self, folder: Path) -> None:
        program = folder / "program.py"
        program.write_text(PROGRAM)
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()
        self.lost = asyncio.Event()
        self.companion = Companion(folder, "s.sock", str(program), self.heard.put_nowait, self.lost.set)

    async def ask(self, word: bytes) -> bytes:
        self.companion.send(word)
        return await asyncio.wait_for(self.heard.get(), 20)

    @property
    def pid(self) -> int:
        control = self.companion._control
        assert control is not None
        return int.from_bytes(control.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], "little")


@pytest.fixture
async def owner(tmp_path: Path) -> AsyncIterator[Owner]:
    made = Owner(tmp_path)
    yield made
    made.companion.kill()
    made.companion.close()


async def until_dead(pid: int) -> None:
    async with asyncio.timeout(20):
        while is_alive(pid):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_it_is_started_once_and_found_again(owner: Owner, tmp_path: Path) -> None:
    assert not owner.companion.connect()
    owner.companion.connect_or_start()
    assert await owner.ask(b"hello") == b"hello"
    owner.companion.connect_or_start()
    owner.companion.close()
    other = Owner(tmp_path)
    assert other.companion.connect()
    assert await other.ask(b"again") == b"again"
    pid = other.pid
    assert pid != os.getpid(), "it listens itself"
    other.companion.quit(b"quit")
    await until_dead(pid)
    assert not other.companion.connect()
    other.companion.close()


async def test_its_death_is_told_when_all_its_sockets_are_closed(owner: Owner) -> None:
    owner.companion.connect_or_start()
    ports = [int(word) for word in (await owner.ask(b"ports")).split()]
    assert len(ports) == SOCKETS
    os.kill(owner.companion._pid, signal.SIGKILL)
    await asyncio.wait_for(owner.lost.wait(), 20)
    for port in ports:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", port))


async def test_who_needs_it_while_it_is_dying_gets_a_new_one_and_hears_of_the_death_before(owner: Owner) -> None:
    owner.companion.connect_or_start()
    await owner.ask(b"hello")
    first = owner.companion._pid
    os.kill(first, signal.SIGKILL)
    async with asyncio.timeout(20):
        while owner.companion.is_connected:  # noqa: ASYNC110 - the end of the connection, nothing else
            await asyncio.sleep(0)
    owner.companion.connect_or_start()
    assert owner.lost.is_set()
    assert await owner.ask(b"hello") == b"hello"
    assert owner.companion._pid != first


async def test_one_that_lets_go_and_lives_on_is_ended(owner: Owner) -> None:
    owner.companion.connect_or_start()
    await owner.ask(b"hello")
    first = owner.companion._pid
    owner.companion.send(b"let go")
    await asyncio.wait_for(owner.lost.wait(), 20)
    await until_dead(first)
    owner.companion.connect_or_start()
    assert await owner.ask(b"hello") == b"hello"


async def test_one_that_hangs_is_ended(owner: Owner) -> None:
    owner.companion.connect_or_start()
    await owner.ask(b"hello")
    first = owner.companion._pid
    owner.companion.send(b"hang")
    owner.companion.kill()
    await until_dead(first)
    assert not owner.companion.connect()


async def test_many_packets_wait_until_they_are_taken(owner: Owner) -> None:
    owner.companion.connect_or_start()
    for number in range(5000):
        owner.companion.send(f"{number:0900}".encode())
    for number in range(5000):
        assert int(await asyncio.wait_for(owner.heard.get(), 20)) == number
