"""Names and options of volumes of the driver ``local``: what is allowed, and how their mounts are made."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from engine.errors import InvalidArgument, Unavailable
from engine.runtime import syscalls

_NAME_CHARACTERS = "[a-zA-Z0-9][a-zA-Z0-9_.-]"
_NAME = re.compile(_NAME_CHARACTERS + "+")
_KNOWN = ("type", "o", "device", "size")
_NEEDED = {"device": ("type",), "type": ("device",), "o": ("device", "type")}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(?:([kKmMgGtTpP])(?:i?[bB])?|[bB])?", re.ASCII)
_PASSWORD = re.compile(r"password=[^,]*")

_MS_SYNCHRONOUS, _MS_MANDLOCK, _MS_DIRSYNC, _MS_NOATIME, _MS_NODIRATIME = 0x10, 0x40, 0x80, 0x400, 0x800
_MS_RELATIME, _MS_STRICTATIME, _MS_UNBINDABLE = 1 << 21, 1 << 24, 1 << 17
_SET = {
    "ro": syscalls.MS_RDONLY,
    "nosuid": syscalls.MS_NOSUID,
    "nodev": syscalls.MS_NODEV,
    "noexec": syscalls.MS_NOEXEC,
    "sync": _MS_SYNCHRONOUS,
    "dirsync": _MS_DIRSYNC,
    "mand": _MS_MANDLOCK,
    "noatime": _MS_NOATIME,
    "nodiratime": _MS_NODIRATIME,
    "relatime": _MS_RELATIME,
    "strictatime": _MS_STRICTATIME,
    "bind": syscalls.MS_BIND,
    "rbind": syscalls.MS_BIND | syscalls.MS_REC,
    "remount": syscalls.MS_REMOUNT,
}
_CLEAR = {
    "defaults": 0,
    "rw": syscalls.MS_RDONLY,
    "suid": syscalls.MS_NOSUID,
    "dev": syscalls.MS_NODEV,
    "exec": syscalls.MS_NOEXEC,
    "async": _MS_SYNCHRONOUS,
    "nomand": _MS_MANDLOCK,
    "atime": _MS_NOATIME,
    "diratime": _MS_NODIRATIME,
    "norelatime": _MS_RELATIME,
    "nostrictatime": _MS_STRICTATIME,
}
_PROPAGATION = {
    "private": syscalls.MS_PRIVATE,
    "slave": syscalls.MS_SLAVE,
    "shared": syscalls.MS_SHARED,
    "unbindable": _MS_UNBINDABLE,
} | {
    "rprivate": syscalls.MS_PRIVATE | syscalls.MS_REC,
    "rslave": syscalls.MS_SLAVE | syscalls.MS_REC,
    "rshared": syscalls.MS_SHARED | syscalls.MS_REC,
    "runbindable": _MS_UNBINDABLE | syscalls.MS_REC,
}


def check_name(name: str) -> None:
    """Raise InvalidArgument with moby's text unless ``name`` can be a volume's."""
    if len(name) == 1:
        raise InvalidArgument("volume name is too short, names should be at least two alphanumeric characters")
    if _NAME.fullmatch(name) is None:
        raise InvalidArgument(
            f'"{name}" includes invalid characters for a local volume name, only "{_NAME_CHARACTERS}" are allowed. '
            "If you intended to pass a host directory, use absolute path"
        )


def check_options(options: dict[str, str], *, has_quotas: bool = False) -> None:
    """Raise InvalidArgument with moby's text for an unknown, contradictory or incomplete set of options.

    ``has_quotas`` says that the file system of volumes can limit them.
    """
    for name in options:
        if name not in _KNOWN:
            raise InvalidArgument(f'invalid option: "{name}"')
    if options.get("type") == "cifs" and options.get("device"):
        try:
            port = urlsplit(options["device"]).port
        except ValueError as error:
            raise InvalidArgument(f"error parsing mount device url: {error}") from error
        if port is not None:
            raise InvalidArgument("port not allowed in CIFS device URL, include 'port' in 'o='")
    if quota_of(options) and not has_quotas:
        raise InvalidArgument(
            "quota size requested but no quota support", hint="use a tmpfs volume: type=tmpfs, o=size=100m"
        )
    for name, needed in _NEEDED.items():
        for other in needed:
            if name in options and other not in options:
                raise InvalidArgument(f'missing required option: "{other}"')


def parse_size(text: str) -> int:
    """Return the bytes of ``10m`` or ``1.5GiB``, powers of 1024; raises InvalidArgument with go-units' text."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise InvalidArgument(f"invalid size: '{text}'")
    number, unit = found.groups()
    return int(float(number) * 1024 ** (" kmgtp".index(unit.lower()) if unit else 0))


def quota_of(options: dict[str, str] | None) -> int:
    """Return the bytes that a volume with these options may take up, 0 for no limit; raises InvalidArgument."""
    return parse_size(options["size"]) if options and "size" in options else 0


def needs_mount(options: dict[str, str] | None) -> bool:
    """Whether a volume with these options is a mount of its own."""
    return bool(options and (options.get("device") or options.get("type")))


@dataclass(frozen=True)
class MountCall:
    """The arguments of mount(2) for a volume, and the propagation that a second call sets."""

    device: str
    kind: str
    flags: int
    data: str
    propagation: int


def mount_call(options: dict[str, str]) -> MountCall:
    """Read a volume's options into a mount; resolves the host name of an NFS or CIFS server (blocking)."""
    flags = propagation = 0
    data: list[str] = []
    device, kind = options.get("device", ""), options.get("type", "")
    for word in options.get("o", "").split(","):
        if word in _SET:
            flags |= _SET[word]
        elif word in _CLEAR:
            flags &= ~_CLEAR[word]
        elif word in _PROPAGATION:
            propagation |= _PROPAGATION[word]
        elif word:
            data.append(word)
    if kind.startswith("nfs"):
        data = [f"addr={_resolve(word[5:])}" if word.startswith("addr=") else word for word in data]
    elif kind == "cifs" and not any(word.startswith("addr=") for word in data):
        host = urlsplit(device).hostname
        if host and not _is_address(host):
            device = device.replace(host, _resolve(host), 1)
    return MountCall(device, kind, flags, ",".join(data), propagation)


def mount_volume(options: dict[str, str], target: Path) -> None:
    """Mount a volume at its data folder (blocking); raises Unavailable with moby's text, without passwords."""
    call = mount_call(options)
    try:
        syscalls.mount(call.device, str(target), call.kind, call.flags, call.data)
        # The first call of a bind mount ignores all other flags.
        others = call.flags & ~(syscalls.MS_BIND | syscalls.MS_REC)
        if call.flags & syscalls.MS_BIND and others:
            syscalls.mount("", str(target), "", syscalls.MS_BIND | syscalls.MS_REMOUNT | others)
        if call.propagation:
            syscalls.mount("", str(target), "", call.propagation)
    except OSError as error:
        data = _PASSWORD.sub("password=********", call.data)
        reason = (error.strerror or str(error)).lower()
        raise Unavailable(
            f"error while mounting volume '{target}': failed to mount local volume: "
            f"mount {call.device}:{target}, flags: {call.flags:#x}, data: {data}: {reason}",
            hint="check the volume's device and options: portside volume inspect",
        ) from error


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _resolve(host: str) -> str:
    if _is_address(host):
        return host
    try:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError as error:
        raise Unavailable(f"error resolving passed in network volume address: {host}: {error}") from error
