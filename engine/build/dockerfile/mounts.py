"""The values of ``RUN --mount=…``: comma-separated, of five types."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from engine.build.dockerfile.errors import DockerfileError, suggest

_TYPES = ("bind", "cache", "tmpfs", "secret", "ssh")
_SHARING = ("shared", "private", "locked")
_KEYS = (
    "type", "from", "source", "target", "readonly", "id", "sharing", "required", "size", "mode", "uid", "gid", "src",
    "dst", "destination", "ro", "rw", "readwrite", "env",
)  # fmt: skip
_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?) ?([kKmMgGtTpP]?)(?:[iI]?[bB])?", re.ASCII)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


@dataclass
class BuildMount:
    """One mount of a RUN. ``origin`` is ``from``; ``size`` are bytes; ``mode``, ``uid``, ``gid`` are None if unset."""

    type: str = "bind"
    origin: str = ""
    source: str = ""
    target: str = ""
    read_only: bool | None = None
    size: int = 0
    id: str = ""
    sharing: str = ""
    required: bool = False
    env: str | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None


def check_mount(text: str) -> None:
    """Raise DockerfileError for what is wrong before variables are known."""
    for item in _fields(text):
        key, equals, value = item.partition("=")
        at = value.find("$")
        if equals and key.lower() == "from" and at != -1 and at != len(value) - 1:
            raise DockerfileError("'from' doesn't support variable expansion, define alias stage instead")


def parse_mount(text: str, expand: Callable[[str], str]) -> BuildMount:
    """Return a mount with its variables replaced; raises DockerfileError with BuildKit's texts."""
    mount = BuildMount()
    for item in _fields(text):
        key, equals, value = item.partition("=")
        key = key.lower()
        if not equals:
            _bare(mount, key, item)
        else:
            _set(mount, key, expand(value), item)
    _check(mount)
    return mount


def _bare(mount: BuildMount, key: str, item: str) -> None:
    if key in ("readonly", "ro"):
        mount.read_only = True
    elif key in ("readwrite", "rw"):
        mount.read_only = False
    elif key == "required":
        _only_for(mount, key, "secret", "ssh")
        mount.required = True
    else:
        raise DockerfileError(f"invalid field '{item}' must be a key=value pair")


def _only_for(mount: BuildMount, key: str, *types: str) -> None:
    if mount.type not in types:
        raise DockerfileError(f"unexpected key '{key}' for mount type '{mount.type}'")


def _set(mount: BuildMount, key: str, value: str, item: str) -> None:
    if key == "type":
        mount.type = _one_of(value, _TYPES, "unsupported mount type")
    elif key == "sharing":
        mount.sharing = _one_of(value, _SHARING, "unsupported sharing value")
    elif key == "from":
        mount.origin = value
    elif key in ("source", "src"):
        mount.source = value
    elif key in ("target", "dst", "destination"):
        mount.target = value
    elif key in ("readonly", "ro"):
        mount.read_only = _bool(key, value)
    elif key in ("readwrite", "rw"):
        mount.read_only = not _bool(key, value)
    elif key == "required":
        _only_for(mount, key, "secret", "ssh")
        mount.required = _bool(key, value)
    elif key == "size":
        _only_for(mount, key, "tmpfs")
        mount.size = _size(value)
    elif key == "id":
        mount.id = value
    elif key == "env":
        mount.env = value
    elif key == "mode":
        mount.mode = _number(key, value, 8)
    elif key == "uid":
        mount.uid = _number(key, value, 10)
    elif key == "gid":
        mount.gid = _number(key, value, 10)
    else:
        raise DockerfileError(f"unexpected key '{key}' in '{item}'{suggest(key, _KEYS)}")


def _one_of(value: str, known: tuple[str, ...], refusal: str) -> str:
    if value.lower() not in known:
        raise DockerfileError(f'{refusal} "{value}"{suggest(value, known)}')
    return value.lower()


def _bool(key: str, value: str) -> bool:
    if value not in _TRUE + _FALSE:
        raise DockerfileError(f"invalid value for {key}: {value}")
    return value in _TRUE


def _number(key: str, value: str, base: int) -> int:
    pattern = r"[0-7]{1,11}" if base == 8 else r"\d{1,10}"
    if re.fullmatch(pattern, value, re.ASCII) is None or int(value, base) >= 2**32:
        raise DockerfileError(f"invalid value {value} for {key}")
    return int(value, base)


def _size(value: str) -> int:
    found = _SIZE.fullmatch(value)
    if found is None:
        raise DockerfileError(f"invalid value for size: {value}")
    return int(float(found[1]) * 1024 ** _POWERS[found[2].lower()])


def _check(mount: BuildMount) -> None:
    if mount.type not in ("secret", "ssh", "cache"):
        for name in ("mode", "uid", "gid"):
            if getattr(mount, name) is not None:
                raise DockerfileError(f'{name} not allowed for "{mount.type}" type mounts')
    if mount.read_only is None:
        mount.read_only = mount.type not in ("cache", "tmpfs")
    if mount.type == "secret":
        if mount.origin:
            raise DockerfileError("secret mount should not have a from")
        if mount.sharing:
            raise DockerfileError("secret mount should not define sharing")
        if not (mount.source or mount.target or mount.id):
            raise DockerfileError("invalid secret mount. one of source, target required")
        if mount.source and mount.id:
            raise DockerfileError("both source and id can't be set")
    if mount.sharing and mount.type != "cache":
        raise DockerfileError(f"invalid cache sharing set for {mount.type} mount")


def _fields(text: str) -> list[str]:
    """Return the fields of one line of CSV, as Go's reader takes them."""
    fields: list[str] = []
    at = 0
    while True:
        if text.startswith('"', at):
            field, at = _quoted(text, at + 1)
        else:
            end = text.find(",", at)
            end = len(text) if end < 0 else end
            field, at = text[at:end], end
            if '"' in field:
                raise DockerfileError('failed to parse csv mounts: bare " in non-quoted-field')
        fields.append(field)
        if at >= len(text):
            return fields
        at += 1


def _quoted(text: str, at: int) -> tuple[str, int]:
    parts: list[str] = []
    while True:
        end = text.find('"', at)
        if end < 0:
            raise DockerfileError('failed to parse csv mounts: extraneous or missing " in quoted-field')
        parts.append(text[at:end])
        if text.startswith('""', end):
            parts.append('"')
            at = end + 2
            continue
        if end + 1 < len(text) and text[end + 1] != ",":
            raise DockerfileError('failed to parse csv mounts: extraneous or missing " in quoted-field')
        return "".join(parts), end + 1
