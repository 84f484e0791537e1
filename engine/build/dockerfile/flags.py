"""The flags of instructions (``--chown=…``), read as BuildKit reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.build.dockerfile.errors import DockerfileError, suggest

Kinds = Mapping[str, str]
"""Flags by name: ``bool``, ``string`` or ``strings`` (which may be repeated)."""


class Flags:
    """The flags that an instruction was given."""

    def __init__(self, given: Sequence[str], kinds: Kinds) -> None:
        """Read ``given``; raises DockerfileError with BuildKit's text for an unknown, repeated or empty one."""
        self._values: dict[str, list[str]] = {}
        for word in given:
            self._read(word, kinds)

    def _read(self, word: str, kinds: Kinds) -> None:
        shown, equals, value = word.partition("=")
        name = shown.removeprefix("--")
        if name not in kinds:
            raise DockerfileError(f"unknown flag: {shown}{suggest(name, kinds)}")
        if name in self._values and kinds[name] != "strings":
            raise DockerfileError(f"duplicate flag specified: {shown}")
        if kinds[name] == "bool":
            if equals and not value:
                raise DockerfileError(f"missing a value on flag: {shown}")
            if value.lower() not in ("true", "false", ""):
                raise DockerfileError(f"expecting boolean value for flag {shown}, not: {value}")
            value = value.lower() or "true"
        elif not equals:
            raise DockerfileError(f"missing a value on flag: {shown}")
        self._values.setdefault(name, []).append(value)

    def text(self, name: str, default: str = "") -> str:
        """Return a flag's value."""
        return self._values.get(name, [default])[0]

    def items(self, name: str) -> list[str]:
        """Return the values of a flag that may be repeated."""
        return self._values.get(name, [])

    def on(self, name: str) -> bool:
        """Whether a flag is true."""
        return self.text(name) == "true"

    def maybe(self, name: str) -> bool | None:
        """Return whether a flag is true, None when it was not given."""
        return self.on(name) if name in self._values else None
