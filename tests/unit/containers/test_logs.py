"""Reading logs: what goes over the wire, tails over rotated files, parts of long lines, following."""

from __future__ import annotations

import asyncio
import os
import resource
import threading
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from engine.containers.logrotate import rotate
from engine.containers.logs import LogQuery, read_logs
from engine.runtime.inotify import Inotify, Watch
from engine.wire.frames import STDERR, STDOUT, FrameDecoder
from engine.wire.loglines import docker_stamp, parse_lines, parse_stamp

T = "2026-11-24T11:45:5{}.307007610+00:00"


def line(second: int, text: str, stream: str = "stdout", kind: str = "F") -> str:
    """Return a line as conmon writes it."""
    return f"{T.format(second)} {stream} {kind} {text}\n"


async def read(path: Path, **query: object) -> bytes:
    """Return what a query yields of a log that has ended."""
    inotify = Inotify()
    ended = asyncio.Event()
    ended.set()
    try:
        wanted = LogQuery(**query)  # type: ignore[arg-type]
        return b"".join([data async for data in read_logs(path, wanted, inotify, lambda: True, ended)])
    finally:
        inotify.close()


async def read_frames(path: Path, **query: object) -> list[tuple[int, bytes]]:
    """Return the frames that a query yields, those of one stream in a row joined."""
    decoder = FrameDecoder()
    joined: list[tuple[int, bytes]] = []
    for stream, data in decoder.feed(await read(path, **query)):
        if joined and joined[-1][0] == stream:
            joined[-1] = (stream, joined[-1][1] + data)
        else:
            joined.append((stream, data))
    assert decoder.is_whole
    return joined


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log with both streams."""
    path = tmp_path / "container.log"
    path.write_text(line(1, "o1") + line(2, "e1", "stderr") + line(3, "o2") + line(4, "e2", "stderr"))
    return path


async def test_both_streams_are_framed_in_order(log: Path) -> None:
    assert await read_frames(log) == [(STDOUT, b"o1\n"), (STDERR, b"e1\n"), (STDOUT, b"o2\n"), (STDERR, b"e2\n")]


async def test_one_stream_alone(log: Path) -> None:
    assert await read_frames(log, stderr=False) == [(STDOUT, b"o1\no2\n")]
    assert await read_frames(log, stdout=False) == [(STDERR, b"e1\ne2\n")]


async def test_a_terminals_log_has_no_frames(log: Path) -> None:
    assert await read(log, framed=False) == b"o1\ne1\no2\ne2\n"


async def test_timestamps_are_dockers(log: Path) -> None:
    assert (await read_frames(log, timestamps=True))[0] == (STDOUT, b"2026-11-24T11:45:51.307007610Z o1\n")


async def test_since_and_until(log: Path) -> None:
    second = parse_stamp(T.format(2).encode())
    third = parse_stamp(T.format(3).encode())
    assert await read(log, framed=False, since_ns=second, until_ns=third) == b"e1\no2\n"
    assert await read(log, framed=False, since_ns=third) == b"o2\ne2\n"
    assert await read(log, framed=False, until_ns=second) == b"o1\ne1\n"


@pytest.mark.parametrize(("tail", "text"), [(0, b""), (1, b"e2\n"), (3, b"e1\no2\ne2\n"), (99, b"o1\ne1\no2\ne2\n")])
async def test_the_tail(log: Path, tail: int, text: bytes) -> None:
    assert await read(log, framed=False, tail=tail) == text


async def test_the_tail_counts_lines_of_both_streams_as_moby_does(log: Path) -> None:
    assert await read(log, framed=False, tail=1, stderr=False) == b""
    assert await read(log, framed=False, tail=2, stderr=False) == b"o2\n"


async def test_a_last_line_without_an_end_is_a_line_of_the_tail(tmp_path: Path) -> None:
    path = tmp_path / "container.log"
    path.write_text(line(1, "a") + line(2, "b") + line(3, "prompt> ", kind="P"))
    assert await read(path, framed=False, tail=1) == b"prompt> "
    assert await read(path, framed=False, tail=2) == b"b\nprompt> "


async def test_the_tail_goes_on_in_rotated_files(tmp_path: Path) -> None:
    path = tmp_path / "container.log"
    for number, name in enumerate(("container.log.2", "container.log.1", "container.log")):
        (tmp_path / name).write_text(line(number, f"{name}a") + line(number, f"{name}b"))
    assert await read(path, framed=False, tail=3) == b"container.log.1b\ncontainer.loga\ncontainer.logb\n"
    assert await read(path, framed=False, tail=6) == await read(path, framed=False)
    assert (await read(path, framed=False)).count(b"\n") == 6


async def test_the_tail_of_a_log_larger_than_a_block(tmp_path: Path) -> None:
    path = tmp_path / "container.log"
    with path.open("w") as file:
        for number in range(20_000):
            file.write(line(1, f"line {number}"))
    expected = b"".join(b"line %d\n" % number for number in range(5_000, 20_000))
    assert await read(path, framed=False, tail=15_000) == expected


async def test_parts_are_joined_to_one_line(tmp_path: Path) -> None:
    path = tmp_path / "container.log"
    path.write_text(line(1, "abc", kind="P") + line(1, "def", kind="P") + line(1, "g") + line(2, "next"))
    assert await read(path, framed=False) == b"abcdefg\nnext\n"
    assert await read(path, framed=False, tail=2) == b"abcdefg\nnext\n"
    assert await read(path, framed=False, tail=1) == b"next\n"
    assert await read(path, framed=False, timestamps=True) == (
        b"2026-11-24T11:45:51.307007610Z abcdefg\n2026-11-24T11:45:52.307007610Z next\n"
    )


@pytest.mark.parametrize("framed", [False, True])
async def test_a_line_that_conmon_cut_has_one_stamp_and_a_long_one_has_one_in_16_kib(
    tmp_path: Path, framed: bool
) -> None:
    path = tmp_path / "container.log"
    stamp = b"2026-11-24T11:45:51.307007610Z "
    path.write_text(line(1, "abc", kind="P") + line(2, "def") + line(1, "x" * 8192, kind="P") * 5 + line(1, "y"))
    if framed:
        text = b"".join(data for _, data in await read_frames(path, timestamps=True))
    else:
        text = await read(path, framed=False, timestamps=True)
    long = b"x" * 16384
    assert text == stamp + b"abcdef\n" + stamp + long + stamp + long + stamp + b"x" * 8192 + b"y\n"


async def test_frames_hold_at_most_16_kib_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "container.log"
    path.write_text(line(1, "x" * 8192, kind="P") * 5 + line(1, "y") + line(1, "e", "stderr"))
    frames = list(FrameDecoder().feed(await read(path)))
    assert max(len(data) for _, data in frames) <= 16384
    assert b"".join(data for stream, data in frames if stream == STDOUT) == b"x" * 40960 + b"y\n"


async def test_since_and_until_decide_a_line_by_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "container.log"
    path.write_text(line(1, "old", kind="P") + line(5, "old too") + line(5, "new", kind="P") + line(6, "!"))
    assert await read(path, framed=False, since_ns=parse_stamp(T.format(4).encode())) == b"new!\n"
    assert await read(path, framed=False, until_ns=parse_stamp(T.format(4).encode())) == b"oldold too\n"


async def test_stderr_alone_is_sent_as_stderr(tmp_path: Path) -> None:
    path = tmp_path / "container.log"
    path.write_text(line(1, "a", "stderr") + line(1, "b", "stderr", "P") + line(1, "c", "stderr"))
    assert await read_frames(path) == [(STDERR, b"a\nbc\n")]
    assert await read(path, stderr=False) == b""


async def test_a_text_that_looks_like_a_marker_stays_text(tmp_path: Path) -> None:
    path = tmp_path / "container.log"
    path.write_text(line(1, "x stdout P y stderr F z") + line(2, f"{T.format(1)} stdout F inner"))
    assert await read(path, framed=False) == f"x stdout P y stderr F z\n{T.format(1)} stdout F inner\n".encode()


async def test_damage_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "container.log"
    path.write_bytes(b"\0\0\0garbage\n" + line(1, "good", "stderr").encode() + b"2026 stdout F cut without end")
    assert await read(path, framed=False) == b"good\n"


async def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert await read(tmp_path / "container.log") == b""


async def test_a_line_of_100_mb_takes_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "container.log"
    part = line(1, "x" * 8192, kind="P")
    with path.open("w") as file:
        for _ in range(100 * 1024 * 1024 // 8192):
            file.write(part)
        file.write(line(1, "end"))
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    inotify, ended = Inotify(), asyncio.Event()
    ended.set()
    size = 0
    try:
        async for data in read_logs(path, LogQuery(framed=False), inotify, lambda: True, ended):
            size += len(data)
            assert len(data) < 2 * 1024 * 1024
    finally:
        inotify.close()
    assert size == 100 * 1024 * 1024 + 4
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 20 * 1024


async def test_following_goes_on_over_rotation_until_the_end(tmp_path: Path) -> None:
    path = tmp_path / "container.log"
    path.write_text(line(1, "first"))
    inotify, ended = Inotify(), asyncio.Event()
    found: list[bytes] = []
    first, second = asyncio.Event(), asyncio.Event()

    async def follow() -> None:
        async for data in read_logs(path, LogQuery(framed=False, follow=True), inotify, ended.is_set, ended):
            found.append(data)
            first.set()
            if b"second" in b"".join(found):
                second.set()

    task = asyncio.ensure_future(follow())
    try:
        await asyncio.wait_for(first.wait(), 5)
        path.rename(tmp_path / "container.log.1")
        with (tmp_path / "container.log.1").open("a") as file:
            file.write(line(2, "between"))
        path.write_text(line(3, "second"))
        await asyncio.wait_for(second.wait(), 5)
        with path.open("a") as file:
            file.write(line(4, "last"))
        ended.set()
        await asyncio.wait_for(task, 5)
    finally:
        task.cancel()
        inotify.close()
    assert b"".join(found) == b"first\nbetween\nsecond\nlast\n"


async def test_following_misses_nothing_when_it_is_rotated_several_times_before_it_looks(tmp_path: Path) -> None:
    path = tmp_path / "container.log"
    path.write_text(line(1, "0"))
    inotify, ended = Inotify(), asyncio.Event()
    found: list[bytes] = []
    try:
        async for data in read_logs(path, LogQuery(framed=False, follow=True), inotify, ended.is_set, ended):
            found.append(data)
            if len(found) == 1:  # while the reader waits: three rotations at once, then the end
                for number in range(1, 4):
                    with path.open("a") as file:
                        file.write(line(1, f"{number} before"))
                    rotate(path, 5)
                    path.write_text(line(1, f"{number} after"))
                ended.set()
    finally:
        inotify.close()
    expected = "0\n" + "".join(f"{number} before\n{number} after\n" for number in range(1, 4))
    assert b"".join(found) == expected.encode()


async def test_following_ends_although_the_container_runs_again_already(tmp_path: Path) -> None:
    path = tmp_path / "container.log"
    path.write_text(line(1, "a"))
    inotify, ended = Inotify(), asyncio.Event()
    found: list[bytes] = []
    began = asyncio.Event()

    async def follow() -> None:
        async for data in read_logs(path, LogQuery(framed=False, follow=True), inotify, lambda: False, ended):
            found.append(data)
            began.set()

    task = asyncio.ensure_future(follow())
    try:
        async with asyncio.timeout(5):
            await began.wait()
            await asyncio.sleep(0.05)
            ended.set()
            ended.clear()
            await task
    finally:
        task.cancel()
        inotify.close()
    assert found == [b"a\n"]


async def test_following_waits_for_a_log_that_is_not_there_yet(tmp_path: Path) -> None:
    path = tmp_path / "container.log"
    inotify, ended = Inotify(), asyncio.Event()

    async def write() -> None:
        await asyncio.sleep(0.05)
        path.write_text(line(1, "late"))
        await asyncio.sleep(0.05)
        ended.set()

    task = asyncio.ensure_future(write())
    try:
        async with asyncio.timeout(5):
            query = LogQuery(framed=False, follow=True)
            assert b"".join([data async for data in read_logs(path, query, inotify, ended.is_set, ended)]) == b"late\n"
    finally:
        await task
        inotify.close()


def test_stamps_without_sense_count_as_the_beginning_of_time() -> None:
    assert parse_stamp(b"rubbish") == 0
    assert docker_stamp(b"rubbish") == b"rubbish"


def test_stamps_of_other_zones_are_shown_in_utc() -> None:
    assert docker_stamp(b"2026-11-24T01:45:53.300000001+02:00") == b"2026-11-23T23:45:53.300000001Z"


def test_lines_are_taken_apart() -> None:
    data = (line(1, "a") + line(2, "b", "stderr", "P")).encode()
    assert [(stream, text) for _, stream, text in parse_lines(data)] == [(STDOUT, b"a\n"), (STDERR, b"b")]


async def test_without_following_a_log_ends_where_it_was_when_it_was_asked_for(log: Path) -> None:
    """A container that writes faster than a client reads would else keep it for ever."""
    before = log.read_bytes()
    wanted = LogQuery(framed=False)
    inotify = Inotify()
    try:
        async with aclosing(read_logs(log, wanted, inotify, lambda: False, asyncio.Event())) as blocks:
            sent = b""
            with log.open("ab") as writer:
                async with asyncio.timeout(10):
                    async for data in blocks:
                        sent += data
                        writer.write(before)
                        writer.flush()
    finally:
        inotify.close()
    assert sent == b"o1\ne1\no2\ne2\n"


class CountingInotify(Inotify):
    """Counts what is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told = 0
        self.watched = asyncio.Event()

    def watch(self, path: Path, mask: int, callback: Callable[[str], None]) -> Watch:
        def count(name: str) -> None:
            self.told += 1
            callback(name)

        self.watched.set()
        return super().watch(path, mask, count)


async def test_a_follower_that_does_not_read_is_told_of_nothing(log: Path) -> None:
    inotify = CountingInotify()
    wanted = LogQuery(framed=False, follow=True)
    try:
        async with aclosing(read_logs(log, wanted, inotify, lambda: False, asyncio.Event())) as blocks:
            assert await anext(blocks) == b"o1\ne1\no2\ne2\n"
            asked = asyncio.ensure_future(anext(blocks))
            await asyncio.wait_for(inotify.watched.wait(), 10)
            await asyncio.sleep(0.05)  # it reads once more, and waits
            with log.open("a") as writer:
                writer.write(line(5, "more"))
                writer.flush()
                assert await asked == b"more\n"
                assert inotify.told
                told = inotify.told
                for _ in range(100):
                    writer.write(line(6, "unread"))
                    writer.flush()
                    await asyncio.sleep(0.001)
                assert inotify.told <= told + 1
                while b"unread" not in await anext(blocks):
                    continue
    finally:
        inotify.close()


async def test_a_reader_that_stops_half_way_reads_from_nothing_afterwards(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that reads ahead must be done before the descriptor is closed: its number may be another's then."""
    log.write_text(line(1, "x" * 1000) * 2000)
    closed: set[int] = set()
    stale: list[int] = []
    held = threading.Event()

    def close(descriptor: int) -> None:
        closed.add(descriptor)
        real_close(descriptor)

    def read(descriptor: int, size: int) -> bytes:
        if threading.current_thread() is not threading.main_thread():
            held.wait(0.2)
            if descriptor in closed:
                stale.append(descriptor)
                return b""
        return real_read(descriptor, size)

    real_close, real_read = os.close, os.read
    inotify = Inotify()
    monkeypatch.setattr("os.read", read)
    monkeypatch.setattr("os.close", close)
    try:
        for follow in (False, True):
            closed.clear()
            blocks = read_logs(log, LogQuery(follow=follow), inotify, lambda: False, asyncio.Event())
            assert await anext(blocks)
            await blocks.aclose()
            await asyncio.sleep(0.3)  # a thread that is left would read now
    finally:
        monkeypatch.undo()
        inotify.close()
    assert not stale
