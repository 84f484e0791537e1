"""The lines that steps leave in an image's history, as Docker's classic builder writes them."""

from __future__ import annotations

from collections.abc import Sequence

from engine.build.dockerfile.instructions import Health
from engine.build.dockerfile.words import go_quote

_UNITS = ((3600 * 10**9, "h"), (60 * 10**9, "m"))


def nothing(shell: Sequence[str], comment: str) -> str:
    """Return the line of a step that changes the configuration."""
    return " ".join([*shell, "#(nop) ", comment])


def nothing_in_one(shell: Sequence[str], comment: str) -> str:
    """Return that of a step of the older kind (COPY, ADD, WORKDIR), which has one space less."""
    return " ".join([*shell, f"#(nop) {comment}"])


def quoted_list(words: Sequence[str]) -> str:
    """Return words as Go's ``%q`` prints a slice."""
    return f"[{' '.join(map(go_quote, words))}]"


def plain_list(words: Sequence[str]) -> str:
    """Return words as Go's ``%v`` prints a slice."""
    return f"[{' '.join(words)}]"


def health(check: Health) -> str:
    """Return a health check as Go's ``%q`` prints the pointer to it."""
    times = (check.interval, check.timeout, check.start_period, check.start_interval)
    shown = " ".join(go_quote(go_duration(time_ns)) for time_ns in times)
    return f"&{{{quoted_list(check.test)} {shown} {_quoted_number(check.retries)}}}"


def _quoted_number(number: int) -> str:
    char = chr(number) if number < 0x110000 and not 0xD800 <= number < 0xE000 else "\ufffd"
    if char == "'":
        return "'\\''"
    return f"'{go_quote(char)[1:-1]}'" if char != '"' else "'\"'"


def go_duration(time_ns: int) -> str:
    """Return nanoseconds as Go prints a duration: ``1h0m0s``, ``1.5s``, ``250ms``."""
    if time_ns == 0:
        return "0s"
    if time_ns < 10**9:
        for size, unit in ((10**6, "ms"), (10**3, "µs"), (1, "ns")):
            if time_ns >= size:
                return f"{_decimal(time_ns, size)}{unit}"
    text = ""
    for size, unit in _UNITS:
        if time_ns >= size or text:
            text += f"{time_ns // size}{unit}"
            time_ns %= size
    return f"{text}{_decimal(time_ns, 10**9)}s"


def _decimal(value: int, size: int) -> str:
    whole, rest = divmod(value, size)
    digits = len(str(size)) - 1
    fraction = str(rest).rjust(digits, "0").rstrip("0") if rest else ""
    return f"{whole}.{fraction}" if fraction else str(whole)
