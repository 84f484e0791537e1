"""Concatenated JSON values, split as they arrive, without I/O.

Progress, events and stats come as one JSON object after another, with or without line breaks between
them and cut anywhere by the network. Knows nothing of what the objects mean.
"""

from __future__ import annotations

import re

MAX_VALUE_BYTES = 64 * 1024 * 1024
_STRUCTURE = re.compile(rb'["{}\[\]]')
_STRING_END = re.compile(rb'["\\]')
_WHITESPACE = b" \t\r\n"


class JsonStreamError(ValueError):
    """What came is no stream of JSON objects."""


class JsonSplitter:
    """Cuts a byte stream into whole JSON objects (or arrays); the caller decodes them.

    The common case, one object a line, costs one ``split``; anything else is walked by brackets.
    """

    def __init__(self) -> None:
        """Start with nothing."""
        self._buffer = bytearray()
        self._scanned = 0
        self._depth = 0
        self._in_string = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the values that ``data`` completes, in order; raises JsonStreamError for what is none."""
        self._buffer += data
        values: list[bytes] = []
        start = 0
        while (end := self._value_end()) is not None:
            values.append(bytes(self._buffer[start:end]).strip(_WHITESPACE))
            start = end
        if start:
            del self._buffer[:start]
            self._scanned -= start
        if len(self._buffer) > MAX_VALUE_BYTES:
            raise JsonStreamError(f"a JSON value is longer than {MAX_VALUE_BYTES} bytes")
        return values

    def finish(self) -> None:
        """Note the end; raises JsonStreamError when it is in the middle of a value."""
        if self._buffer.strip(_WHITESPACE):
            raise JsonStreamError("the stream ended in the middle of a JSON value")

    def _value_end(self) -> int | None:
        """Return where the value that is being scanned ends, None when its end has not come."""
        buffer, position = self._buffer, self._scanned
        while True:
            if self._in_string:
                match = _STRING_END.search(buffer, position)
                if match is None:
                    position = len(buffer)
                    break
                if match[0] == b"\\":
                    if match.end() >= len(buffer):
                        position = match.start()
                        break
                    position = match.end() + 1
                    continue
                position, self._in_string = match.end(), False
                continue
            if self._depth == 0:
                position = self._skip_to_value(position)
            match = _STRUCTURE.search(buffer, position)
            if match is None:
                position = len(buffer)
                break
            position = match.end()
            if match[0] == b'"':
                self._in_string = True
            elif match[0] in b"{[":
                self._depth += 1
            else:
                self._depth -= 1
                if self._depth == 0:
                    self._scanned = position
                    return position
                if self._depth < 0:
                    raise JsonStreamError(f"unexpected {match[0].decode()} in a stream of JSON")
        self._scanned = position
        return None

    def _skip_to_value(self, position: int) -> int:
        """Return where the next value starts, or the end; raises JsonStreamError when no value does."""
        buffer = self._buffer
        while position < len(buffer):
            byte = buffer[position]
            if byte in b"{[":
                return position
            if byte not in _WHITESPACE:
                text = bytes(buffer[position : position + 40])
                raise JsonStreamError(f"a stream of JSON objects was expected, got {text!r}")
            position += 1
        return position
