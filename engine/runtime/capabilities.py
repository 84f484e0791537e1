"""Linux capabilities: their names, which of them this host gives, and what a container ends up with.

Knows nothing of containers but the lists that are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from engine.errors import InvalidArgument

NAMES: tuple[str, ...] = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)
"""All capabilities by their number (linux/capability.h)."""

DEFAULT: tuple[str, ...] = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
)
"""What a container has unless it asks for more or less; the same fourteen as Docker's."""

ALL = "ALL"


def names_in(mask: int) -> tuple[str, ...]:
    """Return the names of the bits that are set in a mask of /proc/<pid>/status."""
    return tuple(name for number, name in enumerate(NAMES) if mask >> number & 1)


def normalize(asked: Iterable[str], available: Sequence[str]) -> list[str]:
    """Return capabilities in their full upper-case names; ``ALL`` stays.

    Raises InvalidArgument with moby's text for one that is unknown or that this host does not give.
    """
    normalized = []
    for item in asked:
        name = item.upper()
        if name != ALL:
            name = name if name.startswith("CAP_") else f"CAP_{name}"
            if name not in NAMES:
                raise InvalidArgument(f'unknown capability: "{name}"')
            if name not in available:
                raise InvalidArgument(
                    f'capability not supported by your kernel or not available in the current environment: "{name}"'
                )
        normalized.append(name)
    return normalized


def effective(
    add: Sequence[str], drop: Sequence[str], available: Sequence[str], *, privileged: bool = False
) -> list[str]:
    """Return the capabilities of a container in a stable order, without duplicates.

    ``privileged`` is everything the host gives, whatever else is asked. The default ones that the host
    lacks are left out (an engine in a container may lack some).
    """
    if privileged:
        return list(available)
    added = normalize(add, available)
    dropped = set(normalize(drop, available))
    if ALL in added:
        chosen = [name for name in available if name not in dropped]
    elif ALL in dropped:
        chosen = added
    else:
        chosen = [name for name in DEFAULT if name in available and name not in dropped] + added
    return list(dict.fromkeys(chosen))
