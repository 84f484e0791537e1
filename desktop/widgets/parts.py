"""Small parts: labels, buttons, lines, the empty state, the question before something is lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from PySide6.QtCore import QPoint, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontMetrics, QIcon, QPainter, QPaintEvent, QPalette, QPen
from PySide6.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from desktop.theme import icons
from desktop.theme.tokens import SPACE, Tokens


def label(text: str, name: str = "", *, wrap: bool = False, selectable: bool = False) -> QLabel:
    """Return a label; ``name`` is its style: title, big, muted, faint, error."""
    made = QLabel(text)
    made.setTextFormat(Qt.TextFormat.PlainText)
    if name:
        made.setObjectName(name)
    made.setWordWrap(wrap)
    if selectable:
        made.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return made


def button(text: str, action: Callable[[], object] | None = None, kind: str = "") -> QPushButton:
    """Return a button; ``kind`` is "", primary or danger."""
    made = QPushButton(text)
    made.setCursor(Qt.CursorShape.PointingHandCursor)
    if kind:
        made.setProperty("kind", kind)
    if action is not None:
        made.clicked.connect(lambda: action())
    return made


class IconButton(QToolButton):
    """A button with an icon alone; its name is told to screen readers and as a tool tip."""

    def __init__(
        self, name: str, text: str, action: Callable[[], object] | None = None, *, checkable: bool = False
    ) -> None:
        """``name`` is an icon's."""
        super().__init__()
        self._name = name
        self.setToolTip(text)
        self.setAccessibleName(text)
        self.setIconSize(QSize(18, 18))
        self.setCheckable(checkable)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        if action is not None:
            self.clicked.connect(lambda: action())

    def dress(self, tokens: Tokens) -> None:
        """Colour the icon."""
        self.setIcon(icons.icon(self._name, tokens.muted, tokens.faint))
        if self.toolButtonStyle() != Qt.ToolButtonStyle.ToolButtonIconOnly:
            self.setIconSize(QSize(16, 16))


class Segments(QFrame):
    """One choice out of a few, side by side. ``chosen`` is emitted with the key of the new one."""

    chosen = Signal(str)

    def __init__(self, choices: Sequence[tuple[str, str]]) -> None:
        """``choices`` are (key, text); the first one is chosen."""
        super().__init__()
        self.setObjectName("segments")
        self.key = choices[0][0]
        self._texts = dict(choices)
        self.buttons: dict[str, QPushButton] = {}
        group = QButtonGroup(self)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.setSpacing(2)
        for key, text in choices:
            made = button(text, partial(self.choose, key))
            made.setObjectName("segment")
            made.setCheckable(True)
            made.setChecked(key == self.key)
            group.addButton(made)
            layout.addWidget(made)
            self.buttons[key] = made

    def choose(self, key: str) -> None:
        """Choose one."""
        self.buttons[key].setChecked(True)
        if key != self.key:
            self.key = key
            self.chosen.emit(key)

    def count(self, counts: dict[str, int]) -> None:
        """Write a number behind each text."""
        for key, made in self.buttons.items():
            made.setText(f"{self._texts[key]}  {counts[key]}" if key in counts else self._texts[key])


def search_field(placeholder: str, width: int) -> QLineEdit:
    """Return a field to search in, with its icon to be set by ``dress_search``."""
    made = QLineEdit()
    made.setPlaceholderText(placeholder)
    made.setAccessibleName(placeholder)
    made.setClearButtonEnabled(True)
    made.setMinimumWidth(120)
    made.setMaximumWidth(width)
    made.setObjectName("search")
    made.addAction(QIcon(), QLineEdit.ActionPosition.LeadingPosition)
    return made


def mark_invalid(field: QWidget, is_invalid: bool) -> None:
    """Show by a field's outline whether what it holds is wrong."""
    if field.property("invalid") != is_invalid:
        field.setProperty("invalid", is_invalid)
        field.style().unpolish(field)
        field.style().polish(field)


def dress_search(field: QLineEdit, tokens: Tokens) -> None:
    """Colour a search field's icon."""
    field.actions()[0].setIcon(icons.icon("search", tokens.faint, size=16))


def line() -> QFrame:
    """Return a thin horizontal line."""
    made = QFrame()
    made.setObjectName("line")
    made.setFixedHeight(1)
    return made


class ActionButton(QPushButton):
    """A quiet button with an icon and a word."""

    def __init__(self, name: str, text: str, action: Callable[[], object], *, danger: bool = False) -> None:
        """``name`` is an icon's."""
        super().__init__(text)
        self._name = name
        self._danger = danger
        self.setProperty("kind", "quiet")
        self.setIconSize(QSize(16, 16))
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.clicked.connect(lambda: action())

    def dress(self, tokens: Tokens) -> None:
        """Colour the icon."""
        self.setIcon(icons.icon(self._name, tokens.red if self._danger else tokens.muted, tokens.faint, size=16))


class CheckBox(QCheckBox):
    """A check box drawn of the palette: Fusion's own has no outline to be seen in the dark."""

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the box, its mark, the words and the focus."""
        colours = self.palette()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = QRectF(1.5, (self.height() - 17) / 2 + 0.5, 16, 16)
        accent = colours.color(QPalette.ColorRole.Accent)
        is_on = self.isChecked()
        rim = (
            accent
            if is_on or self.hasFocus() or self.underMouse()
            else colours.color(QPalette.ColorRole.PlaceholderText)
        )
        painter.setPen(QPen(rim, 1.2))
        painter.setBrush(accent if is_on else colours.color(QPalette.ColorRole.Base))
        painter.drawRoundedRect(box, 4, 4)
        if is_on:
            painter.setPen(QPen(colours.color(QPalette.ColorRole.Window), 1.8))
            left, top = box.left(), box.top()
            painter.drawPolyline(
                [QPointF(left + 4, top + 8.2), QPointF(left + 7, top + 11), QPointF(left + 12, top + 5)]
            )
        painter.setPen(colours.color(QPalette.ColorRole.WindowText))
        words = self.rect().adjusted(28, 0, 0, 0)
        painter.drawText(words, int(Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextShowMnemonic), self.text())
        painter.end()

    def sizeHint(self) -> QSize:
        """Leave room for the box."""
        return QSize(self.fontMetrics().horizontalAdvance(self.text()) + 34, 22)

    def hitButton(self, place: QPoint) -> bool:
        """The words count as the box."""
        return self.rect().contains(place)


class Pill(QWidget):
    """A state in a word, on a soft ground of its colour."""

    def __init__(self, tokens: Callable[[], Tokens]) -> None:
        """Begin without words."""
        super().__init__()
        self._tokens = tokens
        self.text = ""
        self._tone = "grey"
        self.setFixedHeight(24)

    def tell(self, text: str, tone: str) -> None:
        """Say ``text`` in green, amber, red or grey."""
        self.text, self._tone = text, tone
        self.setAccessibleName(text)
        self.setFixedWidth(QFontMetrics(self._small()).horizontalAdvance(text) + 22 if text else 0)
        self.update()

    def _small(self) -> QFont:
        font = QFont(self.font())
        font.setPixelSize(12)
        font.setWeight(QFont.Weight.Medium)
        return font

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw it."""
        if not self.text:
            return
        tokens = self._tokens()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(getattr(tokens, f"{self._tone}_soft")))
        painter.drawRoundedRect(QRectF(self.rect()), 12, 12)
        painter.setFont(self._small())
        painter.setPen(QColor(tokens.muted if self._tone == "grey" else getattr(tokens, self._tone)))
        painter.drawText(self.rect(), int(Qt.AlignmentFlag.AlignCenter), self.text)
        painter.end()


class EmptyState(QWidget):
    """What a page shows when there is nothing to show: an icon, what it is, the one thing to do."""

    def __init__(self, icon_name: str) -> None:
        """Begin without words."""
        super().__init__()
        self._tokens: Tokens | None = None
        self._icon_name = icon_name
        self._icon = QLabel()
        self._icon.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._title = label("", "big")
        self._text = label("", "muted", wrap=True)
        self._button = button("", None, "primary")
        self._action: Callable[[], object] | None = None
        self._button.clicked.connect(lambda: self._action() if self._action else None)
        for item in (self._title, self._text):
            item.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._text.setFixedWidth(440)  # a wrapped label without a width of its own is cut off in wider fonts
        layout = QVBoxLayout(self)
        layout.setSpacing(SPACE)
        layout.addStretch(2)
        layout.addWidget(self._icon)
        layout.addSpacing(SPACE)
        layout.addWidget(self._title)
        layout.addWidget(self._text, 0, Qt.AlignmentFlag.AlignHCenter)
        layout.addSpacing(SPACE)
        layout.addWidget(self._button, 0, Qt.AlignmentFlag.AlignHCenter)
        layout.addStretch(3)

    def show_text(
        self, title: str, text: str, action: str = "", do: Callable[[], object] | None = None, icon_name: str = ""
    ) -> None:
        """Say something; ``action`` is the button's text, "" for none, ``icon_name`` another icon than the page's."""
        if icon_name and icon_name != self._icon_name:
            self._icon_name = icon_name
            if self._tokens is not None:
                self.dress(self._tokens)
        self._title.setText(title)
        self._text.setText(text)
        self._button.setText(action)
        self._button.setVisible(bool(action))
        self._action = do

    def dress(self, tokens: Tokens) -> None:
        """Colour the icon."""
        self._tokens = tokens
        self._icon.setPixmap(icons.pixmap(self._icon_name, tokens.faint, 48))


class Question(QDialog):
    """A question before something is lost. ``await ask()`` returns whether to go on."""

    def __init__(
        self, parent: QWidget, title: str, text: str, go_on: str, option: str = "", *, danger: bool = True
    ) -> None:
        """``option`` is a check box's text, "" for none."""
        super().__init__(parent)
        self.setWindowTitle("Portside")
        self.setModal(True)
        self.setMinimumWidth(460)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(3 * SPACE, 3 * SPACE, 3 * SPACE, 2 * SPACE)
        layout.setSpacing(2 * SPACE)
        layout.addWidget(label(title, "big", wrap=True))
        layout.addWidget(label(text, "muted", wrap=True, selectable=True))
        self._option = CheckBox(option)
        self._option.setVisible(bool(option))
        layout.addWidget(self._option)
        row = QHBoxLayout()
        row.addStretch()
        cancel = button("Cancel", self.reject)
        self.confirm = button(go_on, self.accept, "danger" if danger else "primary")
        row.addWidget(cancel)
        row.addWidget(self.confirm)
        layout.addLayout(row)
        cancel.setDefault(True)
        cancel.setFocus()

    @property
    def option(self) -> bool:
        """Whether the check box is checked."""
        return self._option.isChecked()

    async def ask(self) -> bool:
        """Show the question and return the answer; never a loop of its own (see desktop notes)."""
        return await shown(self)


def fit(dialog: QDialog) -> None:
    """Give a dialog the height that its wrapped texts need at its width; Qt counts with a narrower one."""
    layout = dialog.layout()
    if layout is not None:
        layout.activate()
        width = max(dialog.minimumWidth(), dialog.sizeHint().width())
        dialog.resize(width, max(dialog.minimumSizeHint().height(), layout.totalHeightForWidth(width)))


async def shown(dialog: QDialog) -> bool:
    """Open a dialog and wait for its end; whether it was accepted."""
    import asyncio  # not before the first paint

    finished: asyncio.Future[int] = asyncio.get_event_loop().create_future()

    def end(result: int) -> None:
        if not finished.done():
            finished.set_result(result)

    dialog.finished.connect(end)
    fit(dialog)
    dialog.open()
    try:
        return await finished == int(QDialog.DialogCode.Accepted)
    finally:
        dialog.deleteLater()
