"""The screen of a terminal: cursor, regions, two buffers, modes. Without Qt and without parsing.

Positions count from 0. What xterm documents (ctlseqs) is the measure where terminals differ.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from desktop.terminal.cells import PLAIN, Look, Row, width_of

HISTORY = 10_000
_TAB = 8
_GRAPHICS = dict(zip("`abcdefghijklmnopqrstuvwxyz{|}~", "◆▒␉␌␍␊°±␤␋┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·", strict=True))
"""DEC's line drawing set (``ESC ( 0``)."""


@dataclass
class Cursor:
    """Where the next character goes and how it looks; ``is_pending`` when a line is full and not yet wrapped."""

    row: int = 0
    column: int = 0
    look: Look = PLAIN
    is_pending: bool = False
    charsets: tuple[bool, bool] = (False, False)
    charset: int = 0
    is_origin: bool = False


class Screen:
    """What a terminal shows, changed by the parser."""

    def __init__(self, rows: int = 24, columns: int = 80) -> None:
        """Begin blank."""
        self.rows = rows
        self.columns = columns
        self.history: deque[Row] = deque(maxlen=HISTORY)
        self.dropped = 0
        """Rows that have left the history, so that a place in it can be told for good."""
        self.title = ""
        self.replies: list[bytes] = []
        self.bells = 0
        self.reset()

    def reset(self) -> None:
        """Begin anew (RIS); the history stays."""
        self.lines = [Row(self.columns) for _ in range(self.rows)]
        self._other: list[Row] | None = None
        self.cursor = Cursor()
        self._saved = Cursor()
        self._saved_main = Cursor()
        self.top, self.bottom = 0, self.rows - 1
        self.tabs = set(range(0, 1000, _TAB))
        self.is_wrapping = True
        self.is_inserting = False
        self.is_newline = False
        self.is_cursor_shown = True
        self.cursor_style = 0
        self.has_application_cursor = False
        self.has_application_keypad = False
        self.has_bracketed_paste = False
        self.tells_focus = False
        self.is_reversed = False
        self.mouse_mode = 0
        self.mouse_sgr = False
        self._last = " "

    @property
    def is_alternate(self) -> bool:
        """Whether the second buffer is shown, the one of full-screen programs."""
        return self._other is not None

    # Text

    def put(self, text: str) -> None:
        """Write printable characters."""
        cursor = self.cursor
        if cursor.charsets[cursor.charset]:
            text = "".join(_GRAPHICS.get(character, character) for character in text)
        if text.isascii() and not self.is_inserting:
            self._put_narrow(text)
        else:
            for character in text:
                self._put_one(character)
        self._last = text[-1]

    def _put_narrow(self, text: str) -> None:
        """Write characters of one column each, a row at a time."""
        cursor, columns = self.cursor, self.columns
        look = cursor.look
        begin, length = 0, len(text)
        while begin < length:
            if cursor.is_pending:
                self._wrap()
            line = self.lines[cursor.row]
            column = cursor.column
            count = min(length - begin, columns - column)
            line.chars[column : column + count] = text[begin : begin + count]
            line.looks[column : column + count] = [look] * count
            if column and line.chars[column - 1] and column + count < columns and line.chars[column + count] == "":
                line.chars[column + count] = " "  # the second half of a wide one that was overwritten
            begin += count
            if column + count >= columns:
                cursor.column = columns - 1
                cursor.is_pending = self.is_wrapping
                if not self.is_wrapping:
                    if begin < length:
                        line.chars[columns - 1] = text[-1]
                    return
            else:
                cursor.column = column + count

    def _put_one(self, character: str) -> None:
        cursor = self.cursor
        width = width_of(character)
        if width == 0:
            self._join(character)
            return
        if cursor.is_pending or (width == 2 and cursor.column == self.columns - 1 and self.is_wrapping):
            self._wrap()
        line = self.lines[cursor.row]
        if self.is_inserting:
            self.insert_cells(width)
        line.chars[cursor.column] = character
        line.looks[cursor.column] = cursor.look
        if width == 2 and cursor.column + 1 < self.columns:
            line.chars[cursor.column + 1] = ""
            line.looks[cursor.column + 1] = cursor.look
        if cursor.column + width >= self.columns:
            cursor.column = self.columns - 1
            cursor.is_pending = self.is_wrapping
        else:
            cursor.column += width

    def _join(self, character: str) -> None:
        cursor = self.cursor
        column = cursor.column if cursor.is_pending else cursor.column - 1
        chars = self.lines[cursor.row].chars
        if column > 0 and chars[column] == "":
            column -= 1
        if column >= 0 and len(chars[column]) < 8:
            chars[column] += character

    def _wrap(self) -> None:
        self.lines[self.cursor.row].wraps = True
        self.cursor.is_pending = False
        self.cursor.column = 0
        self.index()

    def repeat(self, count: int) -> None:
        """Write the last character again (REP)."""
        self.put(self._last * min(count, self.columns * self.rows))

    # Lines

    def index(self) -> None:
        """Go down a line, scrolling at the bottom of the region."""
        cursor = self.cursor
        cursor.is_pending = False
        if cursor.row == self.bottom:
            self.scroll_up(1)
        elif cursor.row < self.rows - 1:
            cursor.row += 1

    def reverse_index(self) -> None:
        """Go up a line, scrolling at the top of the region."""
        self.cursor.is_pending = False
        if self.cursor.row == self.top:
            self.scroll_down(1)
        elif self.cursor.row:
            self.cursor.row -= 1

    def line_feed(self) -> None:
        """Take a line feed."""
        self.index()
        if self.is_newline:
            self.cursor.column = 0

    def scroll_up(self, count: int) -> None:
        """Move the region's lines up; those that leave the whole screen go into the history."""
        for _ in range(min(count, self.bottom - self.top + 1)):
            gone = self.lines.pop(self.top)
            if self.top == 0 and self._other is None:
                if len(self.history) == HISTORY:
                    self.dropped += 1
                self.history.append(gone)
            self.lines.insert(self.bottom, self._blank())

    def scroll_down(self, count: int) -> None:
        """Move the region's lines down."""
        for _ in range(min(count, self.bottom - self.top + 1)):
            self.lines.pop(self.bottom)
            self.lines.insert(self.top, self._blank())

    def insert_lines(self, count: int) -> None:
        """Insert lines at the cursor (IL)."""
        self._within_region(count, insert=True)

    def delete_lines(self, count: int) -> None:
        """Delete lines at the cursor (DL)."""
        self._within_region(count, insert=False)

    def _within_region(self, count: int, *, insert: bool) -> None:
        row = self.cursor.row
        if not self.top <= row <= self.bottom:
            return
        for _ in range(min(count, self.bottom - row + 1)):
            self.lines.pop(self.bottom if insert else row)
            self.lines.insert(row if insert else self.bottom, self._blank())
        self.cursor.column = 0
        self.cursor.is_pending = False

    def _blank(self) -> Row:
        return Row(self.columns, self._ground())

    def _ground(self) -> Look:
        """Return the look of what is erased: the background alone stays."""
        background = self.cursor.look.background
        return PLAIN if background is None else Look(background=background)

    # Cells

    def insert_cells(self, count: int) -> None:
        """Insert blanks at the cursor (ICH)."""
        line, column = self.lines[self.cursor.row], self.cursor.column
        count = min(count, self.columns - column)
        line.chars[column:column] = [" "] * count
        line.looks[column:column] = [self._ground()] * count
        del line.chars[self.columns :], line.looks[self.columns :]

    def delete_cells(self, count: int) -> None:
        """Delete cells at the cursor (DCH)."""
        line, column = self.lines[self.cursor.row], self.cursor.column
        count = min(count, self.columns - column)
        del line.chars[column : column + count], line.looks[column : column + count]
        line.chars += [" "] * count
        line.looks += [self._ground()] * count
        self.cursor.is_pending = False

    def erase_cells(self, count: int) -> None:
        """Make cells blank from the cursor on (ECH)."""
        column = self.cursor.column
        self.lines[self.cursor.row].clear(column, min(self.columns, column + count), self._ground())

    def erase_line(self, how: int) -> None:
        """Make the line blank: after the cursor (0), before it (1), all of it (2)."""
        line, column = self.lines[self.cursor.row], self.cursor.column
        first, end = {0: (column, self.columns), 1: (0, column + 1), 2: (0, self.columns)}.get(how, (0, 0))
        line.clear(first, min(end, self.columns), self._ground())
        line.wraps = False
        self.cursor.is_pending = False

    def erase_screen(self, how: int) -> None:
        """Make the screen blank: after the cursor (0), before it (1), all of it (2), the history (3)."""
        if how == 3:
            self.dropped += len(self.history)
            self.history.clear()
            return
        if how in (0, 1):
            self.erase_line(how)
        rows = {0: range(self.cursor.row + 1, self.rows), 1: range(self.cursor.row), 2: range(self.rows)}.get(how, ())
        if how == 2 and not self.is_alternate:
            self._keep_screen()
        for row in rows:
            self.lines[row] = self._blank()

    def _keep_screen(self) -> None:
        """Put what ``clear`` wipes away into the history, as other terminals do."""
        last = max((number for number, line in enumerate(self.lines) if line.text()), default=-1)
        for line in self.lines[: last + 1]:
            if len(self.history) == HISTORY:
                self.dropped += 1
            self.history.append(line)

    def align(self) -> None:
        """Fill the screen with E (DECALN)."""
        for line in self.lines:
            line.chars = ["E"] * self.columns
            line.looks = [PLAIN] * self.columns
        self.top, self.bottom = 0, self.rows - 1
        self.move_to(0, 0)

    # Cursor

    def move_to(self, row: int | None = None, column: int | None = None) -> None:
        """Go to a place; rows count from the region's top in origin mode."""
        cursor = self.cursor
        cursor.is_pending = False
        if row is not None:
            first, last = (self.top, self.bottom) if cursor.is_origin else (0, self.rows - 1)
            cursor.row = max(first, min(last, row + (first if cursor.is_origin else 0)))
        if column is not None:
            cursor.column = max(0, min(self.columns - 1, column))

    def move_by(self, rows: int = 0, columns: int = 0) -> None:
        """Go some rows and columns, not over the region's edge."""
        cursor = self.cursor
        cursor.is_pending = False
        if rows < 0:
            cursor.row = max(self.top if cursor.row >= self.top else 0, cursor.row + rows)
        elif rows:
            cursor.row = min(self.bottom if cursor.row <= self.bottom else self.rows - 1, cursor.row + rows)
        cursor.column = max(0, min(self.columns - 1, cursor.column + columns))

    def tab(self, count: int = 1) -> None:
        """Go to the next tab stops, or back to earlier ones."""
        cursor = self.cursor
        for _ in range(abs(count)):
            if count > 0:
                stops = [stop for stop in self.tabs if cursor.column < stop < self.columns]
                cursor.column = min(stops, default=self.columns - 1)
            else:
                cursor.column = max((stop for stop in self.tabs if stop < cursor.column), default=0)
        cursor.is_pending = False

    def set_region(self, top: int, bottom: int) -> None:
        """Let only rows from ``top`` to ``bottom`` scroll (DECSTBM)."""
        if 0 <= top < bottom < self.rows:
            self.top, self.bottom = top, bottom
            self.move_to(0, 0)

    def save_cursor(self) -> None:
        """Keep the cursor with its look (DECSC)."""
        self._saved = replace(self.cursor)

    def restore_cursor(self) -> None:
        """Go back to the cursor that was kept (DECRC)."""
        self.cursor = replace(self._saved)
        self.cursor.row = min(self.cursor.row, self.rows - 1)
        self.cursor.column = min(self.cursor.column, self.columns - 1)

    # Buffers and size

    def use_alternate(self, on: bool, *, clears: bool = True) -> None:
        """Show the second buffer, or the first one again as it was."""
        if on and self._other is None:
            self._saved_main = replace(self.cursor)
            self._other = self.lines
            self.lines = [Row(self.columns) for _ in range(self.rows)]
        elif on and clears:
            self.lines = [Row(self.columns) for _ in range(self.rows)]
        elif not on and self._other is not None:
            self.lines, self._other = self._other, None
            self.top, self.bottom = 0, self.rows - 1

    def restore_main_cursor(self) -> None:
        """Go to where the cursor was before the second buffer was shown (1049)."""
        self.cursor = replace(self._saved_main)
        self.cursor.row = min(self.cursor.row, self.rows - 1)
        self.cursor.column = min(self.cursor.column, self.columns - 1)

    def resize(self, rows: int, columns: int) -> None:
        """Take another size. Lines that no longer fit go into the history, and come back out of it."""
        rows, columns = max(1, rows), max(2, columns)
        if (rows, columns) == (self.rows, self.columns):
            return
        for buffer in (self.lines, self._other or []):
            for line in buffer:
                line.resize(columns)
        self._fit_rows(self.lines, rows, keeps=self._other is None)
        if self._other is not None:
            self._fit_rows(self._other, rows, keeps=False)
        self.rows, self.columns = rows, columns
        self.top, self.bottom = 0, rows - 1
        for cursor in (self.cursor, self._saved, self._saved_main):
            cursor.row = max(0, min(rows - 1, cursor.row))
            cursor.column = min(columns - 1, cursor.column)
            cursor.is_pending = False

    def _fit_rows(self, lines: list[Row], rows: int, *, keeps: bool) -> None:
        columns = len(lines[0].chars)
        while len(lines) > rows:
            if self.cursor.row < len(lines) - 1 and not lines[-1].text():
                lines.pop()
                continue
            gone = lines.pop(0)
            if keeps:
                self.history.append(gone)
                self.cursor.row -= 1
        while len(lines) < rows:
            if keeps and self.history:
                back = self.history.pop()
                back.resize(columns)
                lines.insert(0, back)
                self.cursor.row += 1
            else:
                lines.append(Row(columns))

    def text(self) -> str:
        """Return what is on the screen, a line each."""
        return "\n".join(line.text() for line in self.lines)
