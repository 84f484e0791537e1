"""The Logs tab: what a container writes, followed, searched, copied."""

from __future__ import annotations

from collections.abc import Callable

from desktop.loop import Scope
from desktop.messages import sentence
from desktop.pages.containers.presenter import Row
from desktop.pages.containers.reading import Logs
from desktop.pages.containers.tabs.base import Tab, TextTools
from desktop.theme.tokens import Tokens
from desktop.widgets.logview import LogView
from desktop.widgets.parts import IconButton
from engine.errors import PortsideError


class LogsTab(Tab):
    """Reads on while another tab of the same container is in sight, so that nothing is read twice."""

    title = "Logs"
    goes_on = True

    def __init__(self, scope: Scope, logs: Logs, tokens: Callable[[], Tokens]) -> None:
        """``logs`` reads them."""
        super().__init__()
        self._scope = scope
        self._logs = logs
        self._end: Callable[[], None] | None = None
        self.view = LogView(tokens)
        self.text = TextTools(self.view)
        self._times = IconButton("clock", "Time stamps", checkable=True)
        self._times.toggled.connect(lambda _: self._read_anew())
        self._follow = IconButton("follow", "Follow the end", checkable=True)
        self._follow.setChecked(True)
        self._follow.clicked.connect(lambda on: self.view.set_follow(on))
        self.view.on_follow = lambda on: self._follow.setChecked(on)
        self.tools = self.text.widgets(self._times, self._follow)
        self.fill(self.view)

    def enter(self, container_id: str, row: Row | None) -> None:
        """Begin to read unless that goes on."""
        if self._end is None or container_id != self.container_id:
            self.container_id = container_id
            self._read_anew()
        self.text.find(anew=True)

    def forget(self) -> None:
        """Stop reading."""
        self._stop()
        self.container_id = ""
        self.view.clear()
        self.view.set_follow(True)
        self.text.search.clear()

    def changed(self, row: Row, *, new_life: bool) -> None:
        """The stream of a container that ends is over: a new life needs a new one."""
        if new_life:
            self._read_anew()

    def go_to_search(self) -> None:
        """Go to the search."""
        self.text.search.setFocus()

    def next_match(self, *, backwards: bool = False) -> None:
        """Go to the next match."""
        self.text.find(backwards=backwards)

    def dress(self, tokens: Tokens) -> None:
        """Colour the icons."""
        self.text.dress(tokens)
        self._times.dress(tokens)
        self._follow.dress(tokens)

    def _stop(self) -> None:
        if self._end is not None:
            self._end()
            self._end = None

    def _read_anew(self) -> None:
        self._stop()
        self.view.clear()
        if self.container_id:
            self._end = self._scope.run(self._read(self.container_id, timestamps=self._times.isChecked()))

    async def _read(self, container_id: str, *, timestamps: bool) -> None:
        try:
            async for data, is_error in self._logs.logs(container_id, timestamps=timestamps):
                self.view.append(data, marked=is_error)
        except PortsideError as error:
            if container_id == self.container_id:
                self.view.append(f"{sentence(error.message)}\n".encode(), marked=True)
