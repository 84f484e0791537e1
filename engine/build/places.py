"""Paths in a tree that nobody is changing and nobody trusts: links are followed inside of it only.

For contexts and for the mounted images that COPY takes from and writes to. Blocking.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from engine.errors import InvalidArgument
from engine.wire.dockerignore import match_name

_MAX_LINKS = 255


def follow(root: Path, path: str) -> str:
    """Return where a path leads beneath ``root``, relative to it ("" is the root itself).

    Links mean what they mean to a process whose root it is; what does not exist stays as it is written.
    Raises InvalidArgument when links go round in a circle.
    """
    return _follow(root, path, is_last_kept=False)


def follow_parent(root: Path, path: str) -> str:
    """Return where a path leads, without following its own last link."""
    return _follow(root, path, is_last_kept=True)


def _follow(root: Path, path: str, *, is_last_kept: bool) -> str:
    waiting = [part for part in path.split("/") if part not in ("", ".")][::-1]
    walked: list[str] = []
    links = 0
    while waiting:
        part = waiting.pop()
        if part == "..":
            if walked:
                walked.pop()
            continue
        if is_last_kept and not waiting:
            walked.append(part)
            break
        try:
            target = os.readlink(root.joinpath(*walked, part))
        except OSError:
            walked.append(part)
            continue
        links += 1
        if links > _MAX_LINKS:
            raise InvalidArgument(f"too many links in {path}")
        if target.startswith("/"):
            walked.clear()
        waiting += [item for item in target.split("/") if item not in ("", ".")][::-1]
    return "/".join(walked)


def has_wildcards(path: str) -> bool:
    """Whether a path is a pattern."""
    at = 0
    while at < len(path):
        if path[at] == "\\":
            at += 1
        elif path[at] in "*?[":
            return True
        at += 1
    return False


def expand_wildcards(root: Path, pattern: str) -> list[str]:
    """Return the paths beneath ``root`` that a pattern fits, sorted; ``*`` stays within a folder, ``**`` does not.

    Links to folders are not entered. Raises InvalidArgument for a broken pattern.
    """
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    return list(dict.fromkeys(_matches(root, "", parts)))


def _matches(root: Path, base: str, parts: list[str]) -> Iterator[str]:
    if not parts:
        yield base
        return
    part, rest = parts[0], parts[1:]
    folder = root / base if base else root
    if part == "**":
        if rest:
            yield from _matches(root, base, rest)
        for name in _names(folder):
            path = f"{base}/{name}" if base else name
            if _is_folder(root / path):
                yield from _matches(root, path, parts)
            if not rest:
                yield path
        return
    for name in _names(folder):
        path = f"{base}/{name}" if base else name
        if match_name(part, name) and (not rest or _is_folder(root / path)):
            yield from _matches(root, path, rest)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder), key=os.fsencode)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False
