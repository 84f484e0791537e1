"""Signals by number and by name, as Docker reads them."""

from __future__ import annotations

import signal

from engine.errors import InvalidArgument

_RTMIN, _RTMAX = 34, 64
SIGNALS: dict[str, int] = {
    item.name.removeprefix("SIG"): int(item) for item in signal.Signals if not item.name.startswith("SIGRT")
} | {"CLD": int(signal.SIGCHLD), "RTMIN": _RTMIN, "RTMAX": _RTMAX, "STKFLT": 16}
SIGNALS |= {f"RTMIN+{offset}": _RTMIN + offset for offset in range(1, 16)}
SIGNALS |= {f"RTMAX-{offset}": _RTMAX - offset for offset in range(1, 15)}


def parse_signal(text: str) -> int:
    """Return a signal's number from ``9``, ``KILL`` or ``SIGKILL``; raises InvalidArgument with moby's text."""
    number = int(text) if text.isascii() and text.isdigit() else SIGNALS.get(text.upper().removeprefix("SIG"), 0)
    if not 0 < number <= _RTMAX:
        raise InvalidArgument(f"invalid signal: {text}")
    return number


def stop_signal(text: str, container_ref: str, verb: str) -> int:
    """Return the number of the signal that a stop or restart (``verb``) asks for, 0 for none."""
    try:
        return parse_signal(text) if text else 0
    except InvalidArgument as error:
        raise InvalidArgument(f"cannot {verb} container: {container_ref}: {error.message}") from error
