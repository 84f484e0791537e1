"""``changes`` of an import: instructions of a Dockerfile that only change an image's configuration."""

from __future__ import annotations

import re
import shlex

import msgspec

from engine.errors import InvalidArgument
from engine.model.base import given
from engine.model.image import ImageConfig

_ALLOWED = ("CMD", "ENTRYPOINT", "ENV", "EXPOSE", "LABEL", "ONBUILD", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR")
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?")


def apply_changes(config: ImageConfig, changes: list[str]) -> None:
    """Change ``config`` as instructions say; raises InvalidArgument for another instruction or a broken one."""
    for change in changes:
        word, _, rest = change.strip().partition(" ")
        name, rest = word.upper(), rest.strip()
        if name not in _ALLOWED:
            raise InvalidArgument(f"{word} is not a valid change command")
        if not rest:
            raise InvalidArgument(f"{name} requires at least one argument")
        _apply(config, name, rest)


def _apply(config: ImageConfig, name: str, rest: str) -> None:
    if name == "CMD":
        config.cmd = _command(rest)
    elif name == "ENTRYPOINT":
        config.entrypoint = _command(rest)
    elif name == "ENV":
        env = dict(item.partition("=")[::2] for item in given(config.env, []))
        env |= _pairs(rest, name)
        config.env = [f"{key}={value}" for key, value in env.items()]
    elif name == "LABEL":
        config.labels = given(config.labels, {}) | _pairs(rest, name)
    elif name == "EXPOSE":
        config.exposed_ports = given(config.exposed_ports, {}) | {port: {} for port in _ports(rest)}
    elif name == "VOLUME":
        config.volumes = given(config.volumes, {}) | {place: {} for place in _json_list(rest) or _words(rest)}
    elif name == "USER":
        config.user = rest
    elif name == "WORKDIR":
        before = given(config.working_dir, "") or "/"
        config.working_dir = rest if rest.startswith("/") else f"{before.rstrip('/')}/{rest}"
    elif name == "STOPSIGNAL":
        config.stop_signal = rest
    else:
        config.on_build = [*given(config.on_build, []), rest]


def _json_list(text: str) -> list[str] | None:
    if not text.startswith("["):
        return None
    try:
        return msgspec.json.decode(text, type=list[str])
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None


def _command(text: str) -> list[str]:
    return _json_list(text) or ["/bin/sh", "-c", text]


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise InvalidArgument(f"{text}: {error}") from error


def _pairs(text: str, name: str) -> dict[str, str]:
    words = _words(text)
    if "=" not in words[0]:
        key, _, value = text.partition(" ")
        if not value:
            raise InvalidArgument(f"{name} must have two arguments")
        return {key: value.strip()}
    for word in words:
        if "=" not in word:
            raise InvalidArgument(f'Syntax error - can\'t find = in "{word}". Must be of the form: name=value')
    return dict(word.partition("=")[::2] for word in words)


def _ports(text: str) -> list[str]:
    found: list[str] = []
    for word in _words(text):
        match = _PORT.fullmatch(word)
        if match is None or int(match[2] or match[1]) > 65535:
            raise InvalidArgument(f"invalid containerPort: {word}")
        last = int(match[2] or match[1])
        found += [f"{port}/{match[3] or 'tcp'}" for port in range(int(match[1]), last + 1)]
    return found
