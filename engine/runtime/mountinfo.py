"""The mount table of this process, read from /proc/self/mountinfo."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_OCTAL = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True)
class MountEntry:
    """One mount: where it is, its optional fields (``shared:1``), its type and source."""

    place: str
    optional: tuple[str, ...]
    kind: str
    source: str


def read_mounts() -> list[MountEntry]:
    """Return all mounts in the kernel's order."""
    entries = []
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        before, _, after = line.partition(b" - ")
        words = before.split(b" ")
        kind, source = after.split(b" ")[:2]
        optional = tuple(word.decode() for word in words[6:] if word)
        entries.append(MountEntry(_unescape(words[4]), optional, kind.decode(), _unescape(source)))
    return entries


def _unescape(field: bytes) -> str:
    return os.fsdecode(_OCTAL.sub(lambda match: bytes([int(match[1], 8)]), field))


def mount_of(path: Path | str) -> MountEntry | None:
    """Return the mount that a path lies on, links followed; the uppermost where several are stacked."""
    resolved = os.path.realpath(path)
    best: MountEntry | None = None
    for entry in read_mounts():
        inside = resolved == entry.place or resolved.startswith(entry.place.rstrip("/") + "/")
        if inside and (best is None or len(entry.place) >= len(best.place)):
            best = entry
    return best


def is_mount_point(path: Path | str) -> bool:
    """Whether something is mounted exactly at ``path``."""
    resolved = os.path.realpath(path)
    return any(entry.place == resolved for entry in read_mounts())
