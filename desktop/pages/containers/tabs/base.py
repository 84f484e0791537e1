"""What a tab of a container's detail is, and the tools of those that show text."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtWidgets import QVBoxLayout, QWidget

from desktop.pages.containers.presenter import Row
from desktop.theme.tokens import Tokens
from desktop.widgets.logview import LogView
from desktop.widgets.parts import IconButton, dress_search, label, search_field


class Tab(QWidget):
    """One side of a container. ``title`` is its tab's text; ``tools`` stand beside the tabs while it is shown."""

    title = ""
    goes_on = False
    """Whether it is told of changes out of sight too."""

    def __init__(self) -> None:
        """Begin without a container."""
        super().__init__()
        self.container_id = ""
        self.tools: Sequence[QWidget] = ()
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)

    def fill(self, widget: QWidget) -> None:
        """Make a widget the tab's content."""
        self._layout.addWidget(widget)

    def enter(self, container_id: str, row: Row | None) -> None:
        """Come into sight for a container, perhaps the same as before."""

    def leave(self) -> None:
        """Go out of sight: stop what goes on."""

    def forget(self) -> None:
        """Another container will be shown: drop what is known of this one."""

    def changed(self, row: Row, *, new_life: bool) -> None:
        """Take a change of the container's state while in sight; ``new_life`` when it was started anew."""

    def go_to_search(self) -> None:
        """Put the keyboard where the tab is searched."""
        self.setFocus()

    def next_match(self, *, backwards: bool = False) -> None:
        """Go to the next match of the search."""

    def dress(self, tokens: Tokens) -> None:
        """Colour what the style sheet does not."""


class TextTools:
    """Search, wrap and copy for a tab that shows text; ``widgets`` in their order."""

    def __init__(self, view: LogView) -> None:
        """Work on ``view``."""
        self._view = view
        self.search = search_field("Search", 220)
        self.search.textChanged.connect(lambda _: self.find(anew=True))
        self.search.returnPressed.connect(self.find)
        self.matches = label("", "small")
        self._up = IconButton("up", "Previous match", lambda: self.find(backwards=True))
        self._down = IconButton("down", "Next match", self.find)
        self.wrap = IconButton("wrap", "Wrap long lines", checkable=True)
        self.wrap.toggled.connect(view.set_wrap)
        self.copy = IconButton("copy", "Copy what is selected, or everything", view.copy)

    def widgets(self, *between: QWidget) -> list[QWidget]:
        """Return the tools; what is ``between`` stands before wrap and copy."""
        return [self.matches, self.search, self._up, self._down, *between, self.wrap, self.copy]

    def find(self, *, backwards: bool = False, anew: bool = False) -> None:
        """Go to a match and say how many there are."""
        words = self.search.text()
        count, more = self._view.search(words, backwards=backwards, anew=anew)
        told = f"{count}+ matches" if more else "1 match" if count == 1 else f"{count} matches"
        self.matches.setText(told if words else "")
        self._up.setEnabled(count > 0)
        self._down.setEnabled(count > 0)

    def dress(self, tokens: Tokens) -> None:
        """Colour the icons."""
        for item in (self._up, self._down, self.wrap, self.copy):
            item.dress(tokens)
        dress_search(self.search, tokens)
        self._view.viewport().update()
