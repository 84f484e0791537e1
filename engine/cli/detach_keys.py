"""The key sequence that leaves a container's terminal without ending it (``ctrl-p,ctrl-q``).

Pure: bytes in, bytes out. The engine watches for the same sequence; the client does so that it can go at once.
"""

from __future__ import annotations

CONTROL_LETTERS = "@abcdefghijklmnopqrstuvwxyz[\\]^_"
"""In the order of their codes, from 0."""
DEFAULT_SEQUENCE = b"\x10\x11"


class Detached(Exception):
    """The sequence was typed."""


def parse_detach_keys(text: str) -> bytes:
    """Return the bytes of ``ctrl-a,b``; raises ValueError for what is no key."""
    keys = bytearray()
    for name in text.split(","):
        if len(name) == 1:
            keys += name.encode()
            continue
        letter = name.lower().removeprefix("ctrl-")
        if len(letter) != 1 or letter == name.lower() or letter not in CONTROL_LETTERS:
            raise ValueError(f"Unknown character: '{name}'")
        keys.append(CONTROL_LETTERS.index(letter))
    return bytes(keys)


class DetachFilter:
    """Lets input through until the sequence comes; a beginning of it is held back until it is known to be none."""

    def __init__(self, sequence: bytes = DEFAULT_SEQUENCE) -> None:
        """``sequence`` is what ends the input."""
        self._sequence = sequence
        self._held = 0

    def feed(self, data: bytes) -> bytes:
        """Return what may be sent; raises Detached once the sequence is complete."""
        passed = bytearray()
        for byte in data:
            if byte == self._sequence[self._held]:
                self._held += 1
                if self._held == len(self._sequence):
                    raise Detached
                continue
            if self._held:
                passed += self._sequence[: self._held]
                self._held = 0
                if byte == self._sequence[0]:
                    self._held = 1
                    continue
            passed.append(byte)
        return bytes(passed)
