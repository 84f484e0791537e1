"""What presenters share: running work for a row, saying what failed. Without Qt."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from desktop.messages import Message, explain
from engine.errors import NotFound, PortsideError

Run = Callable[[Coroutine[Any, Any, None]], object]
"""Runs a task of the page; what it returns cancels it."""
Notify = Callable[[Message, str], None]
"""Shows a message of a kind: error or info."""

Work = Callable[[], Coroutine[Any, Any, None]]


class Doing:
    """What goes on for which object, each at most once; failures are told."""

    def __init__(self, run: Run, notify: Notify) -> None:
        """``run`` runs a task, ``notify`` shows a message."""
        self._run = run
        self._notify = notify
        self._busy: dict[str, str] = {}
        self.on_change: Callable[[], None] = lambda: None

    def of(self, key: str) -> str:
        """Return what is being done with an object (``Deleting``), "" for nothing."""
        return self._busy.get(key, "")

    def start(self, key: str, doing: str, what: str, work: Work, *, may_be_gone: bool = False) -> None:
        """Do something with an object unless something is being done with it already.

        ``what`` completes "Could not …"; ``may_be_gone`` takes an object that went meanwhile for done.
        """
        if key in self._busy:
            return
        self._busy[key] = doing
        self.on_change()
        self._run(self._do(key, what, work, may_be_gone))

    async def _do(self, key: str, what: str, work: Work, may_be_gone: bool) -> None:
        try:
            await work()
        except NotFound as error:
            if not may_be_gone:
                self._notify(explain(what, error), "error")
        except PortsideError as error:
            self._notify(explain(what, error), "error")
        finally:
            self._busy.pop(key, None)
            self.on_change()
