"""Which records of the cache go: by filters, by age, and down to a size."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.build.cache import CacheRecord
from engine.errors import InvalidArgument
from engine.wire.times import format_ns, parse_duration

_NAME_LENGTH = 64  # a whole digest; what is being made has more


def wanted(filters: Mapping[str, Sequence[str]], records: Sequence[CacheRecord], shared: set[str]) -> list[CacheRecord]:
    """Return the records that filters take, least recently used first; ``shared`` are the chain IDs of images.

    Raises InvalidArgument for a value that means nothing.
    """
    now_ns = time.time_ns()
    found = list(records)
    for name in ("until", "unused-for"):
        for value in filters.get(name, ()):
            age_ns = parse_duration(value)
            found = [record for record in found if now_ns - record.used_ns >= age_ns]
    for value in filters.get("id", ()):
        found = [record for record in found if _identifier_fits(record.key, value)]
    for value in filters.get("parent", ()):
        found = [record for record in found if _identifier_fits(record.parent_chain.removeprefix("sha256:"), value)]
    for value in filters.get("type", ()):
        found = [record for record in found if record.kind == value]
    for value in filters.get("description", ()):
        found = [record for record in found if value in record.description]
    if filters.get("inuse") or filters.get("label"):
        found = []  # nothing that is listed here is in use, and records have no labels
    if filters.get("shared"):
        found = [record for record in found if record.chain_id in shared]
    if filters.get("private"):
        found = [record for record in found if record.chain_id not in shared]
    return sorted(found, key=lambda record: record.used_ns)


def _identifier_fits(identifier: str, value: str) -> bool:
    if re.fullmatch(r"[a-f0-9]{1,64}", value) is None:
        raise InvalidArgument(f"invalid ID {value}")
    return identifier.startswith(value)


def down_to(records: Sequence[CacheRecord], total: int, limit: int) -> list[CacheRecord]:
    """Return the first of ``records`` (least recently used) that must go until ``total`` bytes are ``limit``."""
    going: list[CacheRecord] = []
    for record in records:
        if total <= limit:
            break
        going.append(record)
        total -= record.size
    return going


def sweep_cache_mounts(root: Path) -> None:
    """Delete cache mounts that were being made, and private copies, of an engine that was killed (blocking)."""
    for place in root.iterdir():
        if len(place.name) != _NAME_LENGTH:
            shutil.rmtree(place, ignore_errors=True)


def cache_mounts(root: Path) -> list[dict[str, Any]]:
    """Return the cache mounts of RUN steps as ``GET /system/df`` shows records (blocking)."""
    return [
        {
            "ID": place.name[:25],
            "Parents": None,
            "Type": "exec.cachemount",
            "Description": f"cached mount {_read(place / 'id')}",
            "InUse": False,
            "Shared": False,
            "Size": _size(place),
            "CreatedAt": format_ns((place / "id").stat().st_mtime_ns),
            "LastUsedAt": format_ns((place / "files").stat().st_mtime_ns),
            "UsageCount": 1,
        }
        for place in sorted(root.iterdir())
        if (place / "id").exists()
    ]


def remove_cache_mounts(root: Path, filters: Mapping[str, Sequence[str]], busy: set[str]) -> tuple[list[str], int]:
    """Delete the cache mounts that no step has now; return their IDs and bytes (blocking)."""
    gone: list[str] = []
    freed = 0
    ages = [parse_duration(value) for name in ("until", "unused-for") for value in filters.get(name, ())]
    for place in sorted(root.iterdir()):
        used_ns = (place / "files").stat().st_mtime_ns if (place / "files").exists() else 0
        if place.name in busy or any(time.time_ns() - used_ns < age for age in ages):
            continue
        freed += _size(place)
        shutil.rmtree(place, ignore_errors=True)
        gone.append(place.name[:25])
    return gone, freed


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _size(top: Path) -> int:
    return sum(path.lstat().st_size for path in top.rglob("*") if not path.is_dir())
