"""The terminal's machine: text, sequences, buffers, sizes; pyte is asked where it is right."""

from __future__ import annotations

import time

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desktop.terminal.cells import PLAIN, RGB
from desktop.terminal.keys import key_bytes, mouse_bytes, paste_bytes
from desktop.terminal.parser import Parser
from desktop.terminal.screen import HISTORY, Screen


def shown(data: bytes, rows: int = 6, columns: int = 20) -> Screen:
    screen = Screen(rows, columns)
    Parser(screen).feed(data)
    return screen


def lines(screen: Screen) -> list[str]:
    return screen.text().split("\n")


def oracle(data: bytes, rows: int, columns: int) -> tuple[list[str], tuple[int, int]]:
    """Return what pyte shows."""
    screen = pyte.Screen(columns, rows)
    pyte.ByteStream(screen).feed(data)
    return [line.rstrip() for line in screen.display], (screen.cursor.y, min(screen.cursor.x, columns - 1))


SAMPLES = [
    b"hello\r\nworld",
    b"a long line that does not fit into twenty columns at all",
    b"\x1b[2J\x1b[3;5Hhere\x1b[1;1Htop",
    b"1\r\n2\r\n3\r\n4\r\n5\r\n6\r\n7\r\n8",
    b"\x1b[2;4r\x1b[4;1Ha\r\nb\r\nc\r\nd",
    b"abcdef\x1b[3D\x1b[2Pxy\x1b[1@z",
    b"one\r\ntwo\r\nthree\x1b[2;1H\x1b[L\x1b[Mnew",
    b"abcdef\x1b[1;3H\x1b[K\x1b[2;1Hx\x1b[1K",
    b"\x1b[5;1Hlast\x1b[1;1H\x1bM\x1bMup",
    b"tabs\there\tthere",
    b"\x1b7\x1b[3;3Hfar\x1b8back",
    b"overwrite\rOVER\b\b12",
    b"\x1b[4;10Hx\x1b[2A^\x1b[3Bv\x1b[5C>\x1b[8D<",
    b"\x1b[3Glike\x1b[4dthat",
    b"\x1b[10Xerased\x1b[3X",
    b"\x1b[0J\x1b[2;2Habc\x1b[1J",
]


@pytest.mark.parametrize("data", SAMPLES)
def test_it_shows_what_another_terminal_shows(data: bytes) -> None:
    screen = shown(data)
    text, cursor = oracle(data, 6, 20)
    assert [line.rstrip() for line in lines(screen)] == text
    assert (screen.cursor.row, screen.cursor.column) == cursor


def test_a_full_line_wraps_only_when_more_comes() -> None:
    screen = shown(b"12345678901234567890")
    assert (screen.cursor.row, screen.cursor.column) == (0, 19)
    screen = shown(b"12345678901234567890x")
    assert lines(screen)[:2] == ["12345678901234567890", "x"]
    assert screen.lines[0].wraps


def test_wide_and_combining_characters_keep_their_columns() -> None:
    screen = shown("漢字 e\u0301!".encode())
    assert screen.lines[0].chars[:8] == ["漢", "", "字", "", " ", "e\u0301", "!", " "]


def test_a_wide_character_never_hangs_over_the_edge() -> None:
    screen = shown("1234567890123456789漢".encode())
    assert lines(screen)[:2] == ["1234567890123456789 ", "漢"]


def test_a_sequence_that_comes_in_pieces_is_one() -> None:
    whole = b"\x1b[1;31mred\x1b[0m \xe6\xbc\xa2 \x1b]0;title\x07end"
    screen = Screen(2, 30)
    parser = Parser(screen)
    for place in range(len(whole)):
        parser.feed(whole[place : place + 1])
    assert lines(screen)[0].replace("\x00", "") == "red 漢 end"
    assert screen.title == "title"
    assert screen.lines[0].looks[0].foreground == 1
    assert screen.lines[0].looks[0].bold


def test_colours_of_all_kinds() -> None:
    screen = shown(b"\x1b[38;5;200ma\x1b[48;2;1;2;3mb\x1b[38:2::9:8:7mc\x1b[91md\x1b[39;49me\x1b[7;4;9;3;2mf\x1b[mg")
    looks = screen.lines[0].looks
    assert looks[0].foreground == 200
    assert looks[1].background == RGB | 1 << 16 | 2 << 8 | 3
    assert looks[2].foreground == RGB | 9 << 16 | 8 << 8 | 7
    assert looks[3].foreground == 9
    assert looks[4] == PLAIN
    assert (looks[5].inverse, looks[5].underline, looks[5].struck, looks[5].italic, looks[5].faint) == (True,) * 5
    assert looks[6] == PLAIN


def test_the_second_buffer_leaves_the_first_as_it_was() -> None:
    screen = shown(b"$ vim\r\n\x1b[?1049h\x1b[2J\x1b[1;1H~\r\n~\x1b[?1049lback")
    assert lines(screen)[:2] == ["$ vim", "back"]
    assert not screen.is_alternate
    assert not screen.history


def test_what_scrolls_off_is_kept_up_to_a_limit() -> None:
    screen = shown(b"".join(b"%d\r\n" % number for number in range(HISTORY + 100)), rows=4)
    assert len(screen.history) == HISTORY
    assert screen.dropped == 97
    assert screen.history[0].text() == "97"


def test_a_smaller_and_larger_window_keeps_the_lines() -> None:
    screen = shown(b"1\r\n2\r\n3\r\n4\r\n5\r\n$ ", rows=6)
    screen.resize(3, 20)
    assert lines(screen) == ["4", "5", "$"]
    assert screen.cursor.row == 2
    screen.resize(6, 30)
    assert lines(screen) == ["1", "2", "3", "4", "5", "$"]
    assert screen.cursor.row == 5


def test_line_drawing() -> None:
    assert lines(shown(b"\x1b(0lqk\x1b(Bq"))[0] == "┌─┐q"


def test_questions_are_answered() -> None:
    assert shown(b"\x1b[3;4H\x1b[6n\x1b[5n\x1b[c").replies == [b"\x1b[3;4R", b"\x1b[0n", b"\x1b[?62;22c"]


def test_nothing_but_titles_comes_out_of_an_osc() -> None:
    screen = shown(b"\x1b]52;c;aGVsbG8=\x07\x1b]2;\x01ti\ntle\x07\x1b]8;;http://x\x07link\x1b]8;;\x07")
    assert screen.replies == []
    assert lines(screen)[0] == "link"


PIECES = [*SAMPLES, b"\x1b[", b"\x1b]", b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?6h", "漢".encode()]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.one_of(st.binary(max_size=12), st.sampled_from([*SAMPLES, b"\x1b[", b"\x1b]", b"\x1b[?1049h"])), max_size=12
    )
)
def test_no_bytes_break_it(pieces: list[bytes]) -> None:
    screen = Screen(5, 10)
    parser = Parser(screen)
    for number, piece in enumerate(pieces):
        parser.feed(piece)
        screen.resize(2 + number % 6, 5 + number % 9)
        assert len(screen.lines) == screen.rows
        assert all(len(line.chars) == len(line.looks) == screen.columns for line in screen.lines)
        assert 0 <= screen.cursor.row < screen.rows
        assert 0 <= screen.cursor.column < screen.columns


def test_a_sequence_without_an_end_is_left_out() -> None:
    screen = Screen(3, 20)
    parser = Parser(screen)
    began = time.process_time()
    for _ in range(200):
        parser.feed(b"\x1b]0;" + b"x" * 5000)
    parser.feed(b"\x07\r\n\x1b[2J\x1b[Hok")
    assert lines(screen)[0] == "ok"
    assert time.process_time() - began < 20


@pytest.mark.parametrize(
    ("name", "text", "keys", "sent"),
    [
        ("A", "a", "", b"a"), ("C", "\x03", "ctrl", b"\x03"), ("Up", "", "", b"\x1b[A"),
        ("Up", "", "ctrl", b"\x1b[1;5A"),
        ("Return", "\r", "", b"\r"), ("Backspace", "\b", "", b"\x7f"), ("Tab", "\t", "", b"\t"),
        ("Backtab", "", "shift", b"\x1b[Z"), ("F1", "", "", b"\x1bOP"), ("F5", "", "", b"\x1b[15~"),
        ("F5", "", "shift", b"\x1b[15;2~"), ("Delete", "", "", b"\x1b[3~"), ("B", "b", "alt", b"\x1bb"),
        ("Space", "", "ctrl", b"\0"), ("Udiaeresis", "ü", "", "ü".encode()), ("Shift", "", "shift", b""),
    ],
)  # fmt: skip
def test_keys(name: str, text: str, keys: str, sent: bytes) -> None:
    screen = Screen()
    assert key_bytes(screen, name, text, shift="shift" in keys, ctrl="ctrl" in keys, alt="alt" in keys) == sent


def test_application_mode_changes_the_arrows() -> None:
    assert key_bytes(shown(b"\x1b[?1h"), "Up", "", shift=False, ctrl=False, alt=False) == b"\x1bOA"


def test_a_paste_cannot_end_its_brackets() -> None:
    assert paste_bytes(shown(b"\x1b[?2004h"), "a\x1b[201~rm\nb") == b"\x1b[200~a[201~rm\rb\x1b[201~"
    assert paste_bytes(shown(b""), "a\nb") == b"a\rb"


def test_the_mouse_is_told_only_to_who_asked() -> None:
    assert mouse_bytes(shown(b""), 0, 1, 2) == b""
    assert mouse_bytes(shown(b"\x1b[?1000h"), 0, 1, 2) == b'\x1b[M #"'
    assert mouse_bytes(shown(b"\x1b[?1000;1006h"), 0, 1, 2, released=True) == b"\x1b[<0;3;2m"
    assert mouse_bytes(shown(b"\x1b[?1000;1006h"), 0, 1, 2, moved=True) == b""
    assert mouse_bytes(shown(b"\x1b[?1002;1006h"), 0, 1, 2, moved=True) == b"\x1b[<32;3;2M"
