"""The Terminal tab: shells in a container, several at once; they go on while other tabs are in sight."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from PySide6.QtCore import QSize
from PySide6.QtWidgets import QStackedLayout, QTabBar, QWidget

from desktop.loop import Scope
from desktop.messages import sentence
from desktop.pages.containers.presenter import Row
from desktop.pages.containers.reading import Logs, Shell
from desktop.pages.containers.tabs.base import Tab
from desktop.terminal.view import TerminalView
from desktop.theme.tokens import Tokens
from desktop.widgets.parts import EmptyState, IconButton, Question
from engine.errors import PortsideError

_GATHER_S = 0.004
_NO_SHELL = (126, 127)


class Session:
    """One shell and the view of it. What is typed is sent in order; an ended shell can be begun anew."""

    def __init__(
        self, scope: Scope, reading: Logs, container_id: str, view: TerminalView, ended: Callable[[], None]
    ) -> None:
        """Begin when ``start`` is called; ``ended`` is told when the shell is over."""
        self._scope = scope
        self._reading = reading
        self._container_id = container_id
        self._ended = ended
        self._end: Callable[[], None] | None = None
        self._typed: asyncio.Queue[bytes] = asyncio.Queue()
        self._shell: Shell | None = None
        self.view = view
        self.is_running = False
        view.typed.connect(self._type)
        view.resized.connect(self._resized)
        view.pasting.connect(lambda text: scope.run(self._ask_to_paste(text)))

    def start(self) -> None:
        """Start the shell."""
        self.is_running = True
        self._end = self._scope.run(self._run())

    def stop(self) -> None:
        """Leave the shell: its terminal hangs up."""
        if self._end is not None:
            self._end()
            self._end = None

    def _type(self, data: bytes) -> None:
        if self.is_running:
            self._typed.put_nowait(data)
        elif data == b"\r":
            self.view.clear()
            self.start()

    def _resized(self, rows: int, columns: int) -> None:
        if self._shell is not None:
            self._scope.run(self._shell.resize(rows, columns))

    async def _ask_to_paste(self, text: str) -> None:
        lines = text.splitlines()
        shown = "\n".join(line[:80] for line in lines[:8]) + ("\n…" if len(lines) > 8 else "")
        title = f"Paste {len(lines)} lines?"
        told = f"Each line may be run as soon as it is pasted.\n\n{shown}"
        if await Question(self.view.window(), title, told, "Paste", danger=False).ask():
            self.view.paste(text)
        self.view.setFocus()

    async def _run(self) -> None:
        screen = self.view.vt
        try:
            self._shell = await self._reading.shell(self._container_id, screen.rows, screen.columns)
            writing = asyncio.ensure_future(self._write(self._shell))
            try:
                while data := await self._shell.read():
                    self.view.feed(data)
                    await asyncio.sleep(_GATHER_S)  # a program that writes without end leaves room for the window
                await self._tell_end(self._shell)
            finally:
                writing.cancel()
                await self._shell.aclose()
        except PortsideError as error:
            self.view.say(f"{sentence(error.message)} Return tries again.")
        finally:
            self._shell = None
            self.is_running = False
            self._ended()

    async def _tell_end(self, shell: Shell) -> None:
        code = await shell.exit_code()
        if code in _NO_SHELL:
            self.view.say("There is no shell in this container's image. Return tries again.")
        else:
            self.view.say(
                f"The shell ended with {code if code is not None else 'no exit code'}. Return starts another."
            )

    async def _write(self, shell: Shell) -> None:
        while True:
            data = await self._typed.get()
            while not self._typed.empty():
                data += self._typed.get_nowait()
            await shell.write(data)


class TerminalTab(Tab):
    """Shells of one container, a tab each."""

    title = "Terminal"

    def __init__(self, scope: Scope, reading: Logs, tokens: Callable[[], Tokens]) -> None:
        """``reading`` starts shells."""
        super().__init__()
        self._scope = scope
        self._reading = reading
        self._tokens = tokens
        self._is_running = False
        self._made = 0
        self.sessions: list[Session] = []
        self.bar = QTabBar()
        self.bar.setDrawBase(False)
        self.bar.currentChanged.connect(self._choose)
        self.add = IconButton("plus", "Another shell", self.open_session)
        self.tools = (self.bar, self.add)
        self._empty = EmptyState("terminal")
        holder = QWidget()
        self._stack = QStackedLayout(holder)
        self._stack.addWidget(self._empty)
        self.fill(holder)

    def enter(self, container_id: str, row: Row | None) -> None:
        """Show the shells, the first one is started."""
        self.container_id = container_id
        self._is_running = row is not None and row.is_running
        if self._is_running and not self.sessions:
            self.open_session()
        self._show()

    def forget(self) -> None:
        """Leave all shells."""
        while self.sessions:
            self.close_session(len(self.sessions) - 1)
        self.container_id = ""
        self._made = 0

    def changed(self, row: Row, *, new_life: bool) -> None:
        """Say when the container stops; begin anew when it starts."""
        self._is_running = row.is_running
        if self._is_running and not self.sessions:
            self.open_session()
        self._show()

    def dress(self, tokens: Tokens) -> None:
        """Colour the icons."""
        self.add.dress(tokens)
        self._empty.dress(tokens)
        for session in self.sessions:
            session.view.viewport().update()

    def open_session(self) -> None:
        """Start another shell."""
        view = TerminalView(self._tokens)
        self._made += 1
        session = Session(self._scope, self._reading, self.container_id, view, lambda: None)
        self.sessions.append(session)
        self._stack.addWidget(view)
        place = self.bar.addTab(f"Shell {self._made}")
        close = IconButton("close", "Close this shell", lambda: self.close_session(self.sessions.index(session)))
        close.dress(self._tokens())
        close.setIconSize(QSize(11, 11))
        self.bar.setTabButton(place, QTabBar.ButtonPosition.RightSide, close)
        self.bar.setCurrentIndex(len(self.sessions) - 1)
        self._show()
        session.start()

    def close_session(self, place: int) -> None:
        """Leave a shell."""
        session = self.sessions.pop(place)
        session.stop()
        self._stack.removeWidget(session.view)
        session.view.deleteLater()
        self.bar.removeTab(place)
        self._show()

    def _choose(self, place: int) -> None:
        if 0 <= place < len(self.sessions):
            self._stack.setCurrentWidget(self.sessions[place].view)
            self.sessions[place].view.setFocus()

    def _show(self) -> None:
        place = self.bar.currentIndex()
        self.add.setEnabled(self._is_running)
        if 0 <= place < len(self.sessions):
            self._choose(place)
        elif self._is_running:
            self._empty.show_text(
                "No shell", "Shells in the container are shown here.", "Open a shell", self.open_session
            )
            self._stack.setCurrentWidget(self._empty)
        else:
            self._empty.show_text("It does not run", "A shell needs a container that runs.")
            self._stack.setCurrentWidget(self._empty)
