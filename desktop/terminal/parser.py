"""Reads what a program writes to its terminal and changes the screen: xterm's control sequences. Without Qt.

Text is taken in runs, and only what is not text is looked at closer; a sequence that is cut is kept for the
next piece. What is unknown is left out; nothing that a program writes can do anything but change the screen.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from typing import Any

from desktop.terminal.cells import PLAIN, RGB, Look
from desktop.terminal.screen import Screen

_TOKEN = re.compile(
    r"(?P<line>[^\x00-\x1f\x7f-\x9f]+)\r\n"
    r"|(?P<text>[^\x00-\x1f\x7f-\x9f]+)"
    r"|\x1b\[(?P<csi>[0-?]*)(?P<middle>[ -/]*)(?P<final>[@-~])"
    r"|\x1b\](?P<osc>[^\x07\x1b\x9c]*)(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[PX^_](?:[^\x1b]|\x1b(?!\\))*\x1b\\"
    r"|\x1b(?P<between>[ -/]+)(?P<last>[0-~])"
    r"|\x1b(?P<escape>[0-OQ-WYZ`-~=>\\])"
    r"|(?P<control>[\x00-\x1a\x1c-\x1f\x7f-\x9f])",
)
_MOST_LOOKS = 4096
_LONGEST = 4096
"""A sequence longer than this is none: what began it is left out."""


class Parser:
    """Feeds one screen."""

    def __init__(self, screen: Screen) -> None:
        """Change ``screen``."""
        self.screen = screen
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""
        self._looks: dict[tuple[Look, str], Look] = {}

    def feed(self, data: bytes) -> None:
        """Take what the program wrote."""
        text = self._rest + self._decoder.decode(data)
        place, end = 0, len(text)
        screen, match = self.screen, _TOKEN.match
        while place < end:
            found = match(text, place)
            if found is None:
                if end - place <= _LONGEST:
                    break
                place += 1  # an escape that leads nowhere
                continue
            place = found.end()
            kind = found.lastgroup
            if kind == "line":  # by far the most of what long outputs consist of
                screen.put(found["line"])
                screen.cursor.column = 0
                screen.line_feed()
            elif kind == "text":
                screen.put(found.group())
            elif kind == "control":
                self._control(found.group())
            elif kind == "final":
                self._csi(found["csi"], found["middle"], found["final"])
            elif kind == "osc":
                self._osc(found["osc"])
            elif kind == "escape":
                self._escape(found["escape"])
            elif kind == "last":
                self._charset(found["between"], found["last"])
        self._rest = text[place:]

    def _control(self, sign: str) -> None:
        screen = self.screen
        if sign == "\r":
            screen.cursor.column = 0
            screen.cursor.is_pending = False
        elif sign in "\n\v\f":
            screen.line_feed()
        elif sign == "\b":
            screen.move_by(columns=-1)
        elif sign == "\t":
            screen.tab()
        elif sign == "\a":
            screen.bells += 1
        elif sign in "\x0e\x0f":
            screen.cursor.charset = int(sign == "\x0e")

    def _escape(self, sign: str) -> None:
        screen = self.screen
        if sign == "c":
            screen.reset()
        elif sign in "=>":
            screen.has_application_keypad = sign == "="
        elif sign == "H":
            screen.tabs.add(screen.cursor.column)
        elif sign == "E":
            screen.cursor.column = 0
            screen.index()
        else:
            action = {"7": screen.save_cursor, "8": screen.restore_cursor, "D": screen.index, "M": screen.reverse_index}
            action.get(sign, _nothing)()

    def _charset(self, between: str, last: str) -> None:
        cursor = self.screen.cursor
        if between in "()" and len(between) == 1:
            sets = list(cursor.charsets)
            sets[between == ")"] = last == "0"
            cursor.charsets = (sets[0], sets[1])
        elif (between, last) == ("#", "8"):
            self.screen.align()

    def _osc(self, text: str) -> None:
        number, _, value = text.partition(";")
        if number in ("0", "2"):
            self.screen.title = "".join(sign for sign in value if sign.isprintable())[:200]

    def _csi(self, text: str, middle: str, final: str) -> None:
        prefix = text[:1] if text[:1] in "<=>?" else ""
        if prefix == "?" and final in "hl":
            for number in _numbers(text[1:]):
                self._private_mode(number, final == "h")
        elif not prefix and not middle and final == "m":
            self._sgr(text)
        elif not prefix and not middle:
            self._plain(final, _numbers(text))
        elif (prefix, final) == (">", "c"):
            self.screen.replies.append(b"\x1b[>0;10;1c")
        elif (middle, final) == (" ", "q"):
            self.screen.cursor_style = (_numbers(text) or [0])[0]
        elif (middle, final) == ("!", "p"):
            self._soft_reset()

    def _plain(self, final: str, numbers: list[int]) -> None:
        screen = self.screen
        first = numbers[0] if numbers else 0
        count = min(max(1, first), 10_000)
        if final in "Hf":
            screen.move_to(max(1, first) - 1, max(1, numbers[1] if len(numbers) > 1 else 1) - 1)
        elif final in "hl":
            for number in numbers:
                self._mode(number, final == "h")
        elif final == "r":
            last = numbers[1] if len(numbers) > 1 and numbers[1] else screen.rows
            screen.set_region(max(1, first) - 1, last - 1)
        elif final == "n":
            self._report(first)
        elif final == "c":
            screen.replies.append(b"\x1b[?62;22c")
        elif final == "g":
            if first == 3:
                screen.tabs.clear()
            else:
                screen.tabs.discard(screen.cursor.column)
        else:
            self._movements(count, first).get(final, _nothing)()

    def _movements(self, count: int, first: int) -> dict[str, Callable[[], None]]:
        screen = self.screen
        return {
            "A": lambda: screen.move_by(rows=-count),
            "B": lambda: screen.move_by(rows=count),
            "e": lambda: screen.move_by(rows=count),
            "C": lambda: screen.move_by(columns=count),
            "a": lambda: screen.move_by(columns=count),
            "D": lambda: screen.move_by(columns=-count),
            "E": lambda: screen.move_by(rows=count, columns=-screen.columns),
            "F": lambda: screen.move_by(rows=-count, columns=-screen.columns),
            "G": lambda: screen.move_to(None, count - 1),
            "`": lambda: screen.move_to(None, count - 1),
            "d": lambda: screen.move_to(count - 1, None),
            "I": lambda: screen.tab(count),
            "Z": lambda: screen.tab(-count),
            "J": lambda: screen.erase_screen(first),
            "K": lambda: screen.erase_line(first),
            "X": lambda: screen.erase_cells(count),
            "@": lambda: screen.insert_cells(count),
            "P": lambda: screen.delete_cells(count),
            "L": lambda: screen.insert_lines(count),
            "M": lambda: screen.delete_lines(count),
            "S": lambda: screen.scroll_up(count),
            "T": lambda: screen.scroll_down(count),
            "b": lambda: screen.repeat(count),
            "s": screen.save_cursor,
            "u": screen.restore_cursor,
        }

    def _report(self, what: int) -> None:
        cursor = self.screen.cursor
        if what == 5:
            self.screen.replies.append(b"\x1b[0n")
        elif what == 6:
            row = cursor.row - (self.screen.top if cursor.is_origin else 0)
            self.screen.replies.append(f"\x1b[{row + 1};{cursor.column + 1}R".encode())

    def _soft_reset(self) -> None:
        screen = self.screen
        screen.is_inserting = screen.has_application_cursor = screen.has_application_keypad = False
        screen.is_wrapping = screen.is_cursor_shown = True
        screen.cursor.look, screen.cursor.is_origin = PLAIN, False
        screen.cursor.charsets = (False, False)
        screen.top, screen.bottom = 0, screen.rows - 1

    def _mode(self, number: int, on: bool) -> None:
        if number == 4:
            self.screen.is_inserting = on
        elif number == 20:
            self.screen.is_newline = on

    def _private_mode(self, number: int, on: bool) -> None:
        screen = self.screen
        attribute = {
            1: "has_application_cursor", 5: "is_reversed", 7: "is_wrapping", 25: "is_cursor_shown", 66:
            "has_application_keypad", 1004: "tells_focus", 1006: "mouse_sgr", 2004: "has_bracketed_paste",
        }.get(number)  # fmt: skip
        if attribute is not None:
            setattr(screen, attribute, on)
        elif number == 6:
            screen.cursor.is_origin = on
            screen.move_to(0, 0)
        elif number in (9, 1000, 1002, 1003):
            screen.mouse_mode = number if on else 0
        elif number in (47, 1047):
            screen.use_alternate(on)
        elif number == 1048:
            (screen.save_cursor if on else screen.restore_cursor)()
        elif number == 1049:
            was_alternate = screen.is_alternate
            screen.use_alternate(on)
            if not on and was_alternate:
                screen.restore_main_cursor()

    def _sgr(self, text: str) -> None:
        cursor = self.screen.cursor
        known = self._looks.get((cursor.look, text))
        if known is None:
            if len(self._looks) > _MOST_LOOKS:
                self._looks.clear()
            known = self._looks[cursor.look, text] = _look_after(cursor.look, text)
        cursor.look = known


def _look_after(look: Look, text: str) -> Look:
    """Return the look that SGR parameters make of another."""
    parts = _flattened(text) if ":" in text else text.split(";")
    numbers = [int(part) if part.isdigit() and len(part) < 10 else 0 for part in parts]
    place = 0
    while place < len(numbers):
        number = numbers[place]
        if number in (38, 48):
            colour, used = _colour(numbers[place + 1 :])
            if colour is not None:
                look = _with(look, "foreground" if number == 38 else "background", colour)
            place += used
        else:
            look = _changed(look, number)
        place += 1
    return look


def _with(look: Look, name: str, value: Any) -> Look:  # noqa: ANN401 - each field has its own type
    changes: dict[str, Any] = {name: value}
    return look._replace(**changes)


def _nothing() -> None:
    """Leave out what is unknown."""


def _numbers(text: str) -> list[int]:
    return [int(part) if part.isdigit() and len(part) < 10 else 0 for part in text.split(";")] if text else []


def _flattened(text: str) -> list[str]:
    """Return SGR parameters with colons as those with semicolons: ``38:2::1:2:3`` has an empty colour space."""
    found: list[str] = []
    for part in text.split(";"):
        pieces = part.split(":")
        if len(pieces) == 6 and pieces[0] in ("38", "48") and pieces[1] == "2":
            del pieces[2]
        elif pieces[0] == "4" and len(pieces) > 1:
            pieces = ["24" if pieces[1] == "0" else "4"]
        found += pieces
    return found


def _colour(numbers: list[int]) -> tuple[int | None, int]:
    """Return the colour that follows 38 or 48, and how many numbers it took."""
    if len(numbers) >= 2 and numbers[0] == 5:
        return min(255, numbers[1]), 2
    if len(numbers) >= 4 and numbers[0] == 2:
        red, green, blue = (min(255, number) for number in numbers[1:4])
        return RGB | red << 16 | green << 8 | blue, 4
    return None, len(numbers)


_SWITCHES = {
    1: ("bold", True), 2: ("faint", True), 3: ("italic", True), 4: ("underline", True), 7: ("inverse", True),
    8: ("hidden", True), 9: ("struck", True), 21: ("underline", True), 23: ("italic", False),
    24: ("underline", False), 27: ("inverse", False), 28: ("hidden", False), 29: ("struck", False),
    39: ("foreground", None), 49: ("background", None),
}  # fmt: skip

_PALETTES = ((30, "foreground", 0), (40, "background", 0), (90, "foreground", 8), (100, "background", 8))


def _changed(look: Look, number: int) -> Look:
    if number == 0:
        return PLAIN
    if number == 22:
        return look._replace(bold=False, faint=False)
    if number in _SWITCHES:
        name, value = _SWITCHES[number]
        return _with(look, name, value)
    for first, name, base in (
        (30, "foreground", 0),
        (40, "background", 0),
        (90, "foreground", 8),
        (100, "background", 8),
    ):
        if first <= number < first + 8:
            return _with(look, name, number - first + base)
    return look
