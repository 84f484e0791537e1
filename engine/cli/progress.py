"""The progress of a pull or load: bars that move on a terminal, plain lines in a pipe.

Owns how it looks; the words are the engine's.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from engine.cli.console import Console
from engine.cli.quantities import human_size
from engine.client import Progress, ProgressStream

BAR_WIDTH = 50
MIN_BAR_COLUMNS = 110
CLEAR_LINE = "\x1b[2K\r"
REDRAW_INTERVAL_S = 0.05


class ProgressDisplay:
    """Shows progress on one of the console's streams."""

    def __init__(self, console: Console, descriptor: int) -> None:
        """``descriptor`` is STDOUT or STDERR."""
        self._console = console
        self._descriptor = descriptor
        self._is_terminal = console.is_terminal(descriptor)
        self._lines: dict[str, int] = {}
        self._pending: dict[str, Progress] = {}
        self._drawn_at = 0.0

    async def show(self, stream: ProgressStream, on_aux: Callable[[dict[str, object]], None] | None = None) -> None:
        """Show a stream to its end; raises the error that is in it, what came before it shown."""
        async with stream:
            try:
                async for step in stream:
                    if step.aux is not None and on_aux is not None:
                        on_aux(step.aux)
                    self.add(step)
            finally:
                self.flush()

    def add(self, step: Progress) -> None:
        """Show one step; bars are redrawn at most every 50 ms."""
        if not self._is_terminal:
            self._plain(step)
            return
        if step.id and (step.progress_detail is not None or step.id in self._lines):
            self._pending[step.id] = step
            if step.id not in self._lines or time.monotonic() - self._drawn_at > REDRAW_INTERVAL_S:
                self.flush()
            return
        self.flush()
        if step.id:
            self._pending[step.id] = step
            self.flush()
            return
        self._lines.clear()
        self._write((step.stream or f"{step.status}\n") if step.stream or step.status else "")

    def flush(self) -> None:
        """Draw what is waiting."""
        for identifier, step in self._pending.items():
            is_new = identifier not in self._lines
            if is_new:
                self._lines[identifier] = len(self._lines)
                self._write(f"{CLEAR_LINE}{self._text(step)}\n")
                continue
            up = len(self._lines) - self._lines[identifier]
            self._write(f"\x1b[{up}A{CLEAR_LINE}{self._text(step)}\x1b[{up}B\r")
        self._pending.clear()
        self._drawn_at = time.monotonic()

    def _plain(self, step: Progress) -> None:
        if step.stream:
            self._write(step.stream)
            return
        detail = step.progress_detail
        if detail is not None and (detail.current or detail.total):
            return
        if step.status:
            self._write(f"{step.id}: {step.status}\n" if step.id else f"{step.status}\n")

    def _text(self, step: Progress) -> str:
        bar = self._bar(step)
        text = f"{step.id}: {step.status}{' ' + bar if bar else ''}"
        width = self._console.size()[1]
        return text[: width - 1] if width else text

    def _bar(self, step: Progress) -> str:
        detail = step.progress_detail
        if detail is None or (not detail.current and not detail.total):
            return ""
        if detail.units:
            return (
                f"{detail.current}/{detail.total} {detail.units}"
                if detail.total
                else f"{detail.current} {detail.units}"
            )
        current = human_size(detail.current)
        if detail.total <= 0 or detail.current > detail.total:
            return f"{current:>8}"
        numbers = f"{current:>8}/{human_size(detail.total)}"
        if self._console.size()[1] <= MIN_BAR_COLUMNS:
            return numbers
        done = BAR_WIDTH * detail.current // detail.total
        return f"[{'=' * done}{'>' if done < BAR_WIDTH else ''}{' ' * (BAR_WIDTH - done - 1)}]  {numbers}"

    def _write(self, text: str) -> None:
        if text:
            self._console.write(self._descriptor, text.encode("utf-8", "surrogateescape"))
