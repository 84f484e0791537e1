"""The only file that knows qasync, and the only way from a widget to a task.

Tasks belong to a scope (the application, a page); closing a scope cancels its tasks. A task that fails
is reported and ends nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any

os.environ["QT_API"] = "pyside6"

from PySide6.QtWidgets import QApplication
from qasync import QEventLoop  # type: ignore[import-untyped]

log = logging.getLogger(__name__)

Report = Callable[[BaseException], None]


class Scope:
    """Tasks that end together."""

    def __init__(self, report: Report) -> None:
        """``report`` is told what a task fails with."""
        self._report = report
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def run(self, work: Coroutine[Any, Any, None]) -> Callable[[], None]:
        """Run ``work`` until it ends or the scope is closed; the call that is returned cancels it."""
        if self._closed:
            work.close()
            return lambda: None
        task = asyncio.get_event_loop().create_task(self._supervised(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # One that was cancelled before it began would be reported as never awaited.
        task.add_done_callback(lambda _: work.close())

        def cancel() -> None:
            task.cancel()

        return cancel

    async def _supervised(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except asyncio.CancelledError:
            raise
        except Exception as error:  # the edge of a task
            log.exception("a task of the window failed")
            self._report(error)

    async def aclose(self) -> None:
        """Cancel the tasks and wait for their end."""
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def run(app: QApplication, main: Callable[[], Coroutine[Any, Any, int]], report: Report) -> int:
    """Run ``main`` under Qt's loop and return its result."""
    loop = QEventLoop(app)
    asyncio.set_event_loop(loop)
    loop.set_exception_handler(lambda _, context: _lost(context, report))

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        log.error("an event of the window failed", exc_info=(kind, error, trace))
        report(error)

    sys.excepthook = hook
    with loop:
        return int(loop.run_until_complete(main()))


def _lost(context: dict[str, Any], report: Report) -> None:
    error = context.get("exception")
    log.error("%s", context.get("message"), exc_info=error)
    if isinstance(error, Exception):
        report(error)
