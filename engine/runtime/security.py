"""What ``--security-opt`` asks for, read into one structure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from engine.errors import InvalidArgument

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


@dataclass(frozen=True)
class SecurityOptions:
    """``seccomp`` is a profile's JSON, ``unconfined``, ``builtin`` or empty for the default; None is not asked."""

    no_new_privileges: bool = False
    seccomp: str = ""
    apparmor: str = ""
    writable_cgroups: bool | None = None
    labels: tuple[str, ...] = ()


def parse_security_options(options: Iterable[str], *, no_new_privileges: bool = False) -> SecurityOptions:
    """Read a list of options; ``no_new_privileges`` is the engine's default.

    Labels are for SELinux, which Portside leaves alone as Docker does unless it is switched on.
    Raises InvalidArgument with moby's text.
    """
    seccomp = apparmor = ""
    writable: bool | None = None
    labels: list[str] = []
    for option in options:
        if option == "no-new-privileges":
            no_new_privileges = True
            continue
        if option == "writable-cgroups":
            writable = True
            continue
        if option == "disable":
            labels.append(option)
            continue
        separator = "=" if "=" in option else ":"
        key, found, value = option.partition(separator)
        if not found:
            raise InvalidArgument(f'invalid --security-opt 1: "{option}"')
        if key == "label":
            labels.append(value)
        elif key == "apparmor":
            apparmor = value
        elif key == "seccomp":
            seccomp = value
        elif key == "no-new-privileges":
            no_new_privileges = _boolean(value, option)
        elif key == "writable-cgroups":
            writable = _boolean(value, option)
        else:
            raise InvalidArgument(f'invalid --security-opt 2: "{option}"')
    return SecurityOptions(no_new_privileges, seccomp, apparmor, writable, tuple(labels))


def _boolean(value: str, option: str) -> bool:
    if value not in _TRUE | _FALSE:
        raise InvalidArgument(f'invalid --security-opt 2: "{option}"')
    return value in _TRUE
