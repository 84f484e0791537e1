"""What a key, a paste or a mouse event is for the program in a terminal: xterm's sequences. Without Qt."""

from __future__ import annotations

import re

from desktop.terminal.screen import Screen

ARROWS = {"Up": "A", "Down": "B", "Right": "C", "Left": "D", "Home": "H", "End": "F"}
_TILDE = {
    "Insert": 2, "Delete": 3, "PageUp": 5, "PageDown": 6, "F5": 15, "F6": 17, "F7": 18, "F8": 19, "F9": 20, "F10": 21,
    "F11": 23, "F12": 24,
}  # fmt: skip
_FUNCTION = {"F1": "P", "F2": "Q", "F3": "R", "F4": "S"}
_PLAIN = {"Return": b"\r", "Enter": b"\r", "Tab": b"\t", "Escape": b"\x1b"}
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x0c\x0e-\x1f\x7f-\x9f]")


def key_bytes(screen: Screen, name: str, text: str, *, shift: bool, ctrl: bool, alt: bool) -> bytes:
    """Return what a key sends; ``name`` is Qt's without ``Key_``, ``text`` what it types. Empty for nothing."""
    modifiers = 1 + shift + 2 * alt + 4 * ctrl
    if name in ARROWS:
        if modifiers > 1:
            return f"\x1b[1;{modifiers}{ARROWS[name]}".encode()
        return f"\x1b{'O' if screen.has_application_cursor else '['}{ARROWS[name]}".encode()
    if name in _TILDE:
        return f"\x1b[{_TILDE[name]}{f';{modifiers}' if modifiers > 1 else ''}~".encode()
    if name in _FUNCTION:
        return (f"\x1b[1;{modifiers}{_FUNCTION[name]}" if modifiers > 1 else f"\x1bO{_FUNCTION[name]}").encode()
    if name == "Backspace":
        sent = b"\x08" if ctrl else b"\x7f"
    elif name == "Backtab" or (name == "Tab" and shift):
        return b"\x1b[Z"
    elif name in _PLAIN:
        sent = _PLAIN[name]
    elif ctrl and len(name) == 1 and "@" <= name <= "_":
        sent = bytes((ord(name) & 0x1F,))
    elif ctrl and name in ("Space", "2"):
        sent = b"\0"
    elif ctrl and name == "Slash":
        sent = b"\x1f"
    else:
        sent = text.encode()
    return b"\x1b" + sent if alt and sent else sent


def paste_bytes(screen: Screen, text: str) -> bytes:
    """Return what pasted text sends: line ends as Return, and nothing that could end a bracketed paste."""
    cleaned = text.replace("\r\n", "\r").replace("\n", "\r")
    cleaned = "".join(
        sign for sign in cleaned if sign in "\r\t" or (sign >= " " and sign != "\x7f" and not "\x80" <= sign < "\xa0")
    )
    if screen.has_bracketed_paste:
        return b"\x1b[200~" + cleaned.encode() + b"\x1b[201~"
    return cleaned.encode()


def mouse_bytes(
    screen: Screen, button: int, row: int, column: int, *, released: bool = False, moved: bool = False
) -> bytes:
    """Return what a mouse event sends; button 0 to 2, 3 for none, 64 and 65 for the wheel. Rows and columns from 0."""
    mode = screen.mouse_mode
    if not mode or (moved and mode < 1002) or (moved and mode == 1002 and button == 3):
        return b""
    code = button + (32 if moved else 0)
    if screen.mouse_sgr:
        return f"\x1b[<{code};{column + 1};{row + 1}{'m' if released else 'M'}".encode()
    if column > 222 or row > 222:
        return b""
    return b"\x1b[M" + bytes((32 + (3 if released else code), 33 + column, 33 + row))
