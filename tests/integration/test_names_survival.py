"""The name server when its process or the engine is killed, and with many containers."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from engine.networks.naming import NameService, RunningNames
from engine.runtime.netns import path_of
from tests.integration.names_lab import ask, endpoint, names, namespaces, process_behind

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces and nftables")
SERVFAIL = 2


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[NameService]:
    made = NameService(tmp_path)
    await made.restore({})
    yield made
    made.close(keep=False)
    await until(lambda: not process_behind(tmp_path))


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what another process does cannot be awaited
            await asyncio.sleep(0.01)


async def value(fd: int, name: str, *, by_tcp: bool = False) -> str:
    return " ".join((await asyncio.to_thread(lambda: ask(fd, name, by_tcp=by_tcp))).values)


@contextmanager
def killed_engine(folder: Path, boxes: list[int]) -> Iterator[int]:
    """Play an engine that was killed with -9 after it gave each box a name server; yields the process's ID."""
    paths = [str(path_of(fd)) for fd in boxes]
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.names_child", str(folder), *paths], cwd=Path(__file__).parents[2]
    )
    try:
        for _ in range(2000):
            if (folder / "ready").exists():
                break
            with suppress(subprocess.TimeoutExpired):
                child.wait(0.01)
        left = process_behind(folder, maker=child.pid)
        assert left
    finally:
        child.kill()
        child.wait(10)
    try:
        yield left
    finally:
        for pid in {left, process_behind(folder, maker=child.pid)} - {0, os.getpid()}:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def wanted(boxes: Mapping[str, int], suffix: str = "") -> dict[str, RunningNames]:
    return {
        name: RunningNames(path_of(fd), names(endpoint(name + suffix, addresses=f"10.0.0.{int(name[1:]) + 2}")))
        for name, fd in boxes.items()
    }


async def test_names_go_on_while_the_engine_is_dead_and_the_next_takes_over(tmp_path: Path) -> None:
    with namespaces(3) as boxes, killed_engine(tmp_path, boxes[:2]) as left:
        for by_tcp in (False, True):
            assert await value(boxes[0], "c1", by_tcp=by_tcp) == "10.0.0.3"
            assert await value(boxes[1], "c0.net", by_tcp=by_tcp) == "10.0.0.2"
        service = NameService(tmp_path)
        await service.restore(wanted({"c0": boxes[0], "c1": boxes[1], "c2": boxes[2]}))
        assert process_behind(tmp_path) == left, "the process was taken over"
        assert await value(boxes[2], "c1") == "10.0.0.3"
        assert await value(boxes[0], "c2") == "10.0.0.4"
        service.update("c0", names(endpoint("renamed", addresses="10.0.0.2")))
        assert await value(boxes[1], "renamed") == "10.0.0.2"
        service.close(keep=True)
        assert await value(boxes[1], "renamed") == "10.0.0.2"
        last = NameService(tmp_path)
        await last.restore({})
        await until(lambda: not Path(f"/proc/{left}").exists())
        last.close(keep=False)


async def test_what_does_not_run_any_more_is_dropped_and_what_was_renamed_is_renamed(tmp_path: Path) -> None:
    with namespaces(2) as boxes, killed_engine(tmp_path, boxes):
        service = NameService(tmp_path)
        await service.restore(wanted({"c0": boxes[0]}, suffix="x"))
        assert await value(boxes[0], "c0x") == "10.0.0.2"
        assert await value(boxes[0], "c1") == ""
        assert await value(boxes[0], "c0") == ""
        with pytest.raises(ConnectionRefusedError):
            await value(boxes[1], "c0", by_tcp=True)
        service.close(keep=False)


async def test_a_container_that_has_a_new_namespace_gets_new_sockets(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with namespaces(3) as boxes, killed_engine(tmp_path, boxes[:2]):
        service = NameService(tmp_path)
        await service.restore(wanted({"c0": boxes[2], "c1": boxes[1]}))
        assert await value(boxes[2], "c1") == "10.0.0.3"
        with pytest.raises(ConnectionRefusedError):
            await value(boxes[0], "c1", by_tcp=True)
        service.close(keep=False)
    assert not caplog.records


async def test_engine_and_process_are_killed_and_all_is_made_anew(tmp_path: Path) -> None:
    with namespaces(2) as boxes, killed_engine(tmp_path, boxes) as left:
        os.kill(left, signal.SIGKILL)
        await until(lambda: not process_behind(tmp_path))
        service = NameService(tmp_path)
        await service.restore(wanted({"c0": boxes[0], "c1": boxes[1]}))
        for by_tcp in (False, True):
            assert await value(boxes[0], "c1", by_tcp=by_tcp) == "10.0.0.3"
        service.close(keep=False)


async def test_a_namespace_that_is_gone_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with namespaces(1) as boxes:
        service = NameService(tmp_path)
        gone = RunningNames(Path("/proc/0/ns/net"), names(endpoint("gone", addresses="10.0.0.9")))
        await service.restore({**wanted({"c0": boxes[0]}), "gone": gone})
        assert await value(boxes[0], "c0") == "10.0.0.2"
        assert await value(boxes[0], "gone") == ""
        service.close(keep=False)
    assert [record.message for record in caplog.records] == [
        "container gone has no names: its namespace is gone: No such file or directory"
    ]
    caplog.clear()


async def test_a_process_that_hangs_is_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with namespaces(2) as boxes, killed_engine(tmp_path, boxes) as left:
        os.kill(left, signal.SIGSTOP)
        service = NameService(tmp_path)
        await service.restore(wanted({"c0": boxes[0], "c1": boxes[1]}))
        assert await value(boxes[0], "c1") == "10.0.0.3"
        await until(lambda: not Path(f"/proc/{left}").exists() or "Z" in Path(f"/proc/{left}/stat").read_text())
        service.close(keep=False)
    assert [record.message for record in caplog.records] == ["the name server does not answer: it is started anew"]
    caplog.clear()


async def test_a_process_of_another_version_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with namespaces(2) as boxes, killed_engine(tmp_path, boxes) as left:
        monkeypatch.setattr("engine.networks.resolver.VERSION", 99)
        service = NameService(tmp_path)
        await service.restore(wanted({"c0": boxes[0], "c1": boxes[1]}))
        assert process_behind(tmp_path) != left
        assert await value(boxes[0], "c1") == "10.0.0.3"
        service.close(keep=False)


async def test_an_error_that_nobody_expected_is_told_and_ends_nothing(
    service: NameService, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with namespaces(1) as boxes:
        await service.join("c0", boxes[0], names(endpoint("c0", addresses="10.0.0.2")))
        before = process_behind(tmp_path)
        service._send("join", "no sockets came along", 1, ((), (), False, False))
        await until(lambda: caplog.records)
        assert caplog.records[0].message.startswith("the name server had an error: IndexError in obey:")
        assert await value(boxes[0], "c0") == "10.0.0.2"
        assert process_behind(tmp_path) == before
    caplog.clear()


async def test_a_process_that_is_killed_is_started_again_with_all_it_knew(
    service: NameService, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with namespaces(21) as boxes:
        for number, fd in enumerate(boxes[:20]):
            await service.join(f"c{number}", fd, names(endpoint(f"c{number}", addresses=f"10.0.0.{number + 2}")))
        for _ in range(3):
            before = process_behind(tmp_path)
            os.kill(before, signal.SIGKILL)
            await until(lambda before=before: process_behind(tmp_path) not in (0, before))  # type: ignore[misc]
            await until_answered(boxes[19])
            for number in (0, 7, 19):
                assert await value(boxes[number], "c11", by_tcp=True) == "10.0.0.13"
        # While nobody answers a container joins: those before it are told to the new process too.
        os.kill(process_behind(tmp_path), signal.SIGKILL)
        await service.join("c20", boxes[20], names(endpoint("c20", addresses="10.0.0.22")))
        await until_answered(boxes[3])
        assert await value(boxes[20], "c3") == "10.0.0.5"
        assert await value(boxes[3], "c20") == "10.0.0.22"
    assert {record.message for record in caplog.records} == {"the name server has died: it is started anew"}
    caplog.clear()


async def until_answered(fd: int) -> None:
    """Ask until there is an answer; in a thread, since the engine's loop has to bring it about."""
    async with asyncio.timeout(20):
        while True:
            with suppress(ConnectionError):
                if await value(fd, "c11", by_tcp=True) == "10.0.0.13":
                    return
            await asyncio.sleep(0.01)


async def test_200_containers(service: NameService, tmp_path: Path) -> None:
    with namespaces(200) as boxes:
        await asyncio.gather(
            *(
                service.join(
                    f"c{number}",
                    fd,
                    names(endpoint(f"c{number}", "all", addresses=f"10.0.{number}.2 fd00::{number:x}")),
                )
                for number, fd in enumerate(boxes)
            )
        )

        def look_up() -> None:
            for number, fd in enumerate(boxes):
                other = (number * 7 + 3) % 200
                assert ask(fd, f"c{other}").values == [f"10.0.{other}.2"]
                assert ask(fd, f"c{other}.net", by_tcp=True).values == [f"10.0.{other}.2"]
            assert len(ask(boxes[0], "all", by_tcp=True).values) == 200

        await asyncio.to_thread(look_up)
        pid = process_behind(tmp_path)
        assert memory_kib(pid) < 16 * 1024
        for number in range(199):
            service.leave(f"c{number}")
        await until(lambda: descriptors(pid) < 14)
        assert await value(boxes[199], "all") == "10.0.199.2"


async def test_an_engine_with_more_descriptors_than_select_takes(service: NameService) -> None:
    with namespaces(1) as boxes, ExitStack() as opened:
        for _ in range(1100):
            opened.callback(os.close, os.open("/dev/null", os.O_RDONLY))
        await service.join("high", boxes[0], names(endpoint("high", addresses="10.0.0.2")))
        assert await value(boxes[0], "high") == "10.0.0.2"


def descriptors(pid: int | str = "self") -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def memory_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


async def test_joining_and_leaving_leaves_nothing_behind(service: NameService, tmp_path: Path) -> None:
    with namespaces(2) as boxes:
        await service.join("stays", boxes[0], names(endpoint("stays", addresses="10.0.0.2")))
        pid = process_behind(tmp_path)
        ours = descriptors()
        for number in range(50):
            await service.join(f"c{number}", boxes[1], names(endpoint("guest", addresses="10.0.0.3")))
            service.leave(f"c{number}")
        assert await value(boxes[0], "guest") == ""
        await until(lambda: descriptors(pid) < 14)
        assert descriptors() <= ours


async def test_a_join_that_is_cancelled_or_overtaken_leaves_nothing(service: NameService, tmp_path: Path) -> None:
    with namespaces(2) as boxes:
        await service.join("stays", boxes[0], names(endpoint("stays", addresses="10.0.0.2")))
        pid = process_behind(tmp_path)
        ours = descriptors()
        guest = names(endpoint("guest", addresses="10.0.0.3"))
        for _ in range(30):
            joining = asyncio.create_task(service.join("guest", boxes[1], guest))
            await asyncio.sleep(0)
            joining.cancel()
            service.leave("guest")
            with suppress(asyncio.CancelledError):
                await joining
            overtaken = asyncio.create_task(service.join("guest", boxes[1], guest))
            await asyncio.sleep(0)
            service.leave("guest")
            with pytest.raises(Exception, match="taken down"):
                await overtaken
        await until(lambda: descriptors() <= ours)
        await until(lambda: descriptors(pid) < 14)
        assert await value(boxes[0], "guest") == ""
        await service.join("guest", boxes[1], guest)
        assert await value(boxes[1], "stays") == "10.0.0.2"
