"""What all tests share: an engine of their own, and the check that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine_process import EngineProcess


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--rounds``: how often the survival test kills the engine."""
    parser.addoption("--rounds", type=int, default=10)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let each asynchronous test fail that leaves a task behind."""
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.obj = _leaving_no_task(item.obj)


def _leaving_no_task(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., Coroutine[Any, Any, None]]:
    @functools.wraps(test)
    async def run(*arguments: object, **named: object) -> None:
        before = asyncio.all_tasks()
        await test(*arguments, **named)
        await check_no_task_left(before)

    return run


async def check_no_task_left(before: set[asyncio.Task[Any]]) -> None:
    """Raise AssertionError when tasks beside those of ``before`` do not end within a second.

    Those of an aiohttp server in the test's own loop last as long as its connections: its fixture ends them.
    """
    deadline = asyncio.get_running_loop().time() + 1
    while left := {task for task in asyncio.all_tasks() - before if "RequestHandler" not in repr(task.get_coro())}:
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"tasks are left: {[task.get_coro() for task in left]}")
        await asyncio.sleep(0.005)


def can_run_engines() -> bool:
    """Whether this process may start engines here."""
    return os.geteuid() == 0 and shutil.which("conmon") is not None


@pytest.fixture(scope="module")
def engine() -> Iterator[EngineProcess]:
    """An engine with the image ``busybox``, shared by a module's tests; it must leave nothing behind."""
    yield from _engine()


@pytest.fixture
def own_engine() -> Iterator[EngineProcess]:
    """An engine with the image ``busybox`` for one test, which may kill it."""
    yield from _engine()


def _engine() -> Iterator[EngineProcess]:
    if not can_run_engines():
        pytest.skip("an engine needs root and conmon")
    folder = Path(tempfile.mkdtemp(prefix="portside-test-"))
    process = EngineProcess(folder)
    try:
        process.start()
        process.load_busybox()
        yield process
        process.clean()
        leaks = leaks_of(process)
        said = process.unexpected_log()
    finally:
        process.remove_leftovers()
        shutil.rmtree(folder, ignore_errors=True)
    assert not leaks, f"the engine left behind: {leaks}"
    assert not said, "the engine logged what no test expected:\n" + "\n".join(said)


def leaks_of(process: EngineProcess) -> list[str]:
    """Return what an engine without containers should not have left: mounts, processes, namespaces."""
    found = [f"mount {point}" for point in process.mounts() if point != str(process.exec_root)]
    found += [f"process {pid}: {_command(pid)}" for pid in process.processes() if not _is_lingering(pid)]
    found += [f"container folder {entry.name}" for entry in (process.data_root / "containers").iterdir()]
    found += [f"bundle {entry.name}" for entry in (process.exec_root / "containers").iterdir()]
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return "gone"


def _is_lingering(pid: int) -> bool:
    """Whether a process is about to end: conmon may linger for two seconds, a helper until it sees that it is idle."""
    for _ in range(40):
        if not Path(f"/proc/{pid}").exists():
            return True
        time.sleep(0.1)
    return False
