"""Users and groups of a container, looked up in its own root file system as Docker and runc look them up.

Files are read beneath the root only and up to a bound; a container may have written them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import InvalidArgument
from engine.runtime.rootfs import RootDir

_MAX_FILE_BYTES = 8 * 1024 * 1024
_MAX_ID = 2**31 - 1
_RANGE = f"uids and gids must be in range 0-{_MAX_ID}"


@dataclass(frozen=True)
class ResolvedUser:
    """Whom a process runs as. ``additional_gids`` begins with ``gid``, as Docker's does; ``home`` may be empty."""

    uid: int = 0
    gid: int = 0
    additional_gids: tuple[int, ...] = (0,)
    home: str = ""


@dataclass(frozen=True)
class _User:
    name: str
    uid: int
    gid: int
    home: str


@dataclass(frozen=True)
class _Group:
    name: str
    gid: int
    members: tuple[str, ...]


def resolve_user(rootfs: Path, user_spec: str, group_add: Sequence[str] = ()) -> ResolvedUser:
    """Look a user up (blocking): ``""``, user, uid, user:group, uid:gid and so on; numbers are never names.

    Raises InvalidArgument with runc's text (``unable to find user x: no matching entries in passwd file``).
    """
    with RootDir(rootfs) as root:
        passwd = root.read_file("/etc/passwd", _MAX_FILE_BYTES)
        group = root.read_file("/etc/group", _MAX_FILE_BYTES)
    return resolve_in(passwd, group, user_spec, group_add)


def resolve_in(
    passwd: bytes | None, group: bytes | None, user_spec: str, group_add: Sequence[str] = ()
) -> ResolvedUser:
    """Look a user up in the contents of passwd and group; None where there is no such file."""
    user_word, _, group_word = user_spec.partition(":")
    group_word = group_word.partition(":")[0]
    found = _find_user(passwd, user_word)
    if found is None and user_word and not _is_number(user_word):
        raise InvalidArgument(f"unable to find user {user_word}: no matching entries in passwd file")
    uid = found.uid if found else _in_range(user_word) if user_word else 0
    gid = found.gid if found else 0
    supplementary: list[int] = []
    if group_word:
        gid = _find_gid(group, group_word)
    elif found:
        supplementary = [item.gid for item in _groups(group) if found.name in item.members]
    added = _additional(group, group_add)
    return ResolvedUser(uid, gid, (gid, *supplementary, *added), found.home if found else "")


def _find_user(passwd: bytes | None, word: str) -> _User | None:
    if not word:
        return next((user for user in _users(passwd) if user.uid == 0), None)
    if _is_number(word):
        wanted = _in_range(word)
        return next((user for user in _users(passwd) if user.uid == wanted), None)
    return next((user for user in _users(passwd) if user.name == word), None)


def _find_gid(group: bytes | None, word: str) -> int:
    if _is_number(word):
        return _in_range(word)
    found = next((item.gid for item in _groups(group) if item.name == word), None)
    if found is None:
        raise InvalidArgument(f"unable to find group {word}: no matching entries in group file")
    return found


def _additional(group: bytes | None, words: Sequence[str]) -> list[int]:
    if not words:
        return []
    known = list(_groups(group))
    found: list[int] = []
    for word in words:
        gid = next((item.gid for item in known if word in (item.name, str(item.gid))), None)
        if gid is None:
            if not _is_number(word):
                raise InvalidArgument(f"Unable to find group {word}: no matching entries in group file")
            gid = _in_range(word)
        if gid not in found:
            found.append(gid)
    return found


def _is_number(word: str) -> bool:
    return word.removeprefix("-").isascii() and word.removeprefix("-").isdigit()


def _in_range(word: str) -> int:
    if len(word) > 11 or not 0 <= int(word) <= _MAX_ID:
        raise InvalidArgument(_RANGE)
    return int(word)


def _users(data: bytes | None) -> Iterator[_User]:
    for fields in _lines(data, 6):
        if fields[0]:
            yield _User(fields[0], _integer(fields[2]), _integer(fields[3]), fields[5])


def _groups(data: bytes | None) -> Iterator[_Group]:
    for fields in _lines(data, 3):
        if fields[0]:
            members = tuple(fields[3].split(",")) if len(fields) > 3 and fields[3] else ()
            yield _Group(fields[0], _integer(fields[2]), members)


def _integer(word: str) -> int:
    return int(word) if _is_number(word) and len(word) < 12 else 0


def _lines(data: bytes | None, least: int) -> Iterator[list[str]]:
    for line in (data or b"").decode(errors="surrogateescape").split("\n"):
        text = line.strip()
        if text and not text.startswith("#"):
            fields = text.split(":")
            yield fields + [""] * (least - len(fields))
