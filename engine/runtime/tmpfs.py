"""Options of tmpfs mounts as Docker reads and merges them."""

from __future__ import annotations

from collections.abc import Iterable

from engine.errors import InvalidArgument

_BASE = ("noexec", "nosuid", "nodev", "rprivate")
_PROPAGATION = frozenset(
    "bind rbind unbindable runbindable private rprivate shared rshared slave rslave".split()  # noqa: SIM905
)
_GROUPS = {
    "ro": "ro",
    "rw": "ro",
    "suid": "suid",
    "nosuid": "suid",
    "dev": "dev",
    "nodev": "dev",
    "exec": "exec",
    "noexec": "exec",
    "sync": "sync",
    "async": "sync",
    "dirsync": "dirsync",
    "remount": "remount",
    "mand": "mand",
    "nomand": "mand",
    "atime": "atime",
    "noatime": "atime",
    "diratime": "diratime",
    "nodiratime": "diratime",
    "relatime": "relatime",
    "norelatime": "relatime",
    "strictatime": "strictatime",
    "nostrictatime": "strictatime",
} | dict.fromkeys(_PROPAGATION, "propagation")
_VALUES = frozenset({"size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"})


def merged_options(asked: Iterable[str]) -> list[str]:
    """Return Docker's defaults with what was asked: of options that exclude each other the last one stays.

    Raises InvalidArgument with moby's text for an option that a tmpfs does not have.
    """
    chosen: list[str] = []
    seen: set[str] = set()
    for option in reversed([*_BASE, *asked]):
        if option == "defaults":
            continue
        group = _GROUPS.get(option)
        if group is None:
            group, found, _ = option.partition("=")
            if not found or group not in _VALUES:
                words = " ".join(option.split("=", 1))
                raise InvalidArgument(f'invalid tmpfs option ["{words}"]')
        if group not in seen:
            seen.add(group)
            chosen.append(option)
    return chosen[::-1]


def split_options(text: str) -> list[str]:
    """Return the options of a comma-separated text; an empty one has none."""
    return text.split(",") if text else []
