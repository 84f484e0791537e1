"""The Overview and Inspect tabs: a container's configuration in words, and as its JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from desktop.loop import Scope
from desktop.messages import sentence
from desktop.pages.containers.overview import overview
from desktop.pages.containers.overviewview import OverviewView
from desktop.pages.containers.presenter import Row
from desktop.pages.containers.reading import Logs
from desktop.pages.containers.tabs.base import Tab, TextTools
from desktop.theme.tokens import Tokens
from desktop.widgets.jsontext import pretty, spans
from desktop.widgets.logview import LogView
from engine.errors import PortsideError


class ConfigurationTab(Tab):
    """Reads the configuration whenever it comes into sight or the container's state changes."""

    def __init__(self, scope: Scope, logs: Logs) -> None:
        """``logs`` reads it."""
        super().__init__()
        self._scope = scope
        self._logs = logs

    def enter(self, container_id: str, row: Row | None) -> None:
        """Read it."""
        self.container_id = container_id
        self._scope.run(self._read(container_id))

    def forget(self) -> None:
        """Show nothing."""
        self.container_id = ""
        self.show_configuration(b"", None)

    def changed(self, row: Row, *, new_life: bool) -> None:
        """Read it again."""
        self._scope.run(self._read(row.id))

    async def _read(self, container_id: str) -> None:
        value: Any = None
        try:
            data = await self._logs.inspect(container_id)
            value = msgspec.json.decode(data)
        except PortsideError as error:
            data = sentence(error.message).encode()
        except msgspec.DecodeError as error:
            data = f"The engine's answer is not JSON: {error}".encode()
        if container_id == self.container_id:
            self.show_configuration(data, value if isinstance(value, dict) else None)

    def show_configuration(self, data: bytes, value: dict[str, Any] | None) -> None:
        """Show the engine's answer: its bytes, and what they say."""
        raise NotImplementedError


class OverviewTab(ConfigurationTab):
    """The configuration in words."""

    title = "Overview"

    def __init__(self, scope: Scope, logs: Logs) -> None:
        """``logs`` reads the configuration."""
        super().__init__(scope, logs)
        self.view = OverviewView()
        self.fill(self.view)

    def show_configuration(self, data: bytes, value: dict[str, Any] | None) -> None:
        """Show it in sections."""
        self.view.show_sections(overview(value or {}))


class InspectTab(ConfigurationTab):
    """The configuration as JSON."""

    title = "Inspect"

    def __init__(self, scope: Scope, logs: Logs, tokens: Callable[[], Tokens]) -> None:
        """``logs`` reads the configuration."""
        super().__init__(scope, logs)
        self.view = LogView(tokens, spans)
        self.view.follow = False
        self.text = TextTools(self.view)
        self.tools = self.text.widgets()
        self.fill(self.view)

    def show_configuration(self, data: bytes, value: dict[str, Any] | None) -> None:
        """Show it; the place that is read stays."""
        place = self.view.verticalScrollBar().value()
        self.view.clear()
        self.view.append(pretty(data).encode() if value is not None else data)
        self.view.verticalScrollBar().setValue(place)
        self.text.find(anew=True)

    def go_to_search(self) -> None:
        """Go to the search."""
        self.text.search.setFocus()

    def next_match(self, *, backwards: bool = False) -> None:
        """Go to the next match."""
        self.text.find(backwards=backwards)

    def dress(self, tokens: Tokens) -> None:
        """Colour the icons."""
        self.text.dress(tokens)
