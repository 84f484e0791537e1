"""Mounts as clients write them: ``src:dst:options`` and the objects of ``HostConfig.Mounts``, read and checked.

Only texts and whether a bind's source exists; nothing is made. Texts of errors are moby's.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from engine.errors import InvalidArgument, NotSupported, PortsideError
from engine.model.base import given
from engine.model.mount import BindOptions, DriverConfig, ImageOptions, Mount, TmpfsOptions, VolumeOptions
from engine.model.record import MountRecord
from engine.runtime.tmpfs import merged_options

DEFAULT_PROPAGATION = "rprivate"
_PROPAGATION = frozenset({"private", "rprivate", "slave", "rslave", "shared", "rshared"})
_MODES: dict[str, str] = (
    dict.fromkeys(("rw", "ro"), "access")
    | dict.fromkeys(("z", "Z"), "label")
    | dict.fromkeys(_PROPAGATION, "propagation")
    | {"nocopy": "copy"}
    | dict.fromkeys(("consistent", "cached", "delegated"), "consistency")
)


@dataclass(frozen=True)
class MountPlan:
    """A mount that was read: its record, and what a volume that it names is made with."""

    record: MountRecord
    driver_options: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)


def is_valid_mode(mode: str) -> bool:
    """Whether ``mode`` is a list of known options, of each kind at most one."""
    if not mode:
        return True
    kinds = [_MODES.get(word, "") for word in mode.split(",")]
    return all(kinds) and len(set(kinds)) == len(kinds)


def parse_bind(raw: str, volume_driver: str = "") -> MountPlan:
    """Read one entry of ``Binds``; a source that is no absolute path is a volume's name.

    Raises InvalidArgument.
    """
    words = raw.split(":", 3)
    if not words[0] or len(words) > 3 or (len(words) == 2 and is_valid_mode(words[1])):
        raise InvalidArgument(f"invalid volume specification: '{raw}'")
    source, target = ("", words[0]) if len(words) == 1 else (words[0], words[1])
    mode = words[2] if len(words) == 3 else ""
    if not is_valid_mode(mode):
        raise InvalidArgument(f"invalid mode: {mode}")
    options = mode.split(",")
    propagation = next((word for word in options if word in _PROPAGATION), "")
    kind = "bind" if source.startswith("/") else "volume"
    try:
        _check_target(kind, target)
        if kind == "volume" and propagation:
            raise _invalid(kind, "field BindOptions must not be specified")
        if kind == "bind" and "nocopy" in options:
            raise _invalid(kind, "field VolumeOptions must not be specified")
    except InvalidArgument as error:
        raise InvalidArgument(f"invalid volume specification: '{raw}': {error.message}") from error
    record = MountRecord(type=kind, destination=posixpath.normpath(target), mode=mode, read_write="ro" not in options)
    if kind == "bind":
        record.source = posixpath.normpath(source)
        record.propagation = propagation or DEFAULT_PROPAGATION
        record.create_source = True
    else:
        record.name = source
        record.driver = volume_driver
        record.mode = mode or "z"
        record.copy_up = "nocopy" not in options
        record.anonymous = not source
    return MountPlan(record)


def parse_volumes_from(entry: str) -> tuple[str, bool]:
    """Read ``container[:ro|:rw]``; return the container and whether its mounts stay writable."""
    if not entry:
        raise InvalidArgument("volumes-from specification cannot be an empty string")
    container_ref, _, mode = entry.partition(":")
    words = mode.split(",")
    if not is_valid_mode(mode) or _PROPAGATION.intersection(words) or "nocopy" in words:
        raise InvalidArgument(f"invalid mode: {mode}")
    return container_ref, "ro" not in words


def check_mounts(mounts: Iterable[Mount], api_version: tuple[int, int]) -> None:
    """Check ``HostConfig.Mounts`` when a container is created; raises InvalidArgument or NotSupported."""
    for mount in mounts:
        _adapt_to_version(mount, api_version)
        check_mount(mount)


def _adapt_to_version(mount: Mount, version: tuple[int, int]) -> None:
    kind = given(mount.type, "")
    bind, volume = given(mount.bind_options, None), given(mount.volume_options, None)
    if version < (1, 42):
        # These were not looked at then.
        if kind != "volume":
            mount.volume_options = None
        if kind != "tmpfs":
            mount.tmpfs_options = None
        if bind:
            bind.create_mountpoint = False
    else:
        for options, owner, name in (
            (mount.volume_options, "volume", "VolumeOptions"),
            (mount.bind_options, "bind", "BindOptions"),
            (mount.tmpfs_options, "tmpfs", "TmpfsOptions"),
        ):
            if options and kind != owner:
                raise InvalidArgument(f'{name} must not be specified on mount type "{kind}"')
    if version < (1, 44) and kind == "bind" and bind and given(bind.read_only_force_recursive, False):
        raise InvalidArgument("BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer")
    if version < (1, 45) and volume and given(volume.subpath, ""):
        raise InvalidArgument("VolumeOptions.Subpath needs API v1.45 or newer")
    if version < (1, 48) and kind == "image":
        raise InvalidArgument('Mount type "Image" needs API v1.48 or newer')


def check_mount(mount: Mount) -> None:
    """Check one mount; raises InvalidArgument with moby's text."""
    kind = given(mount.type, "")
    target = given(mount.target, "")
    if not target:
        raise _invalid(kind, "field Target must not be empty")
    _check_target(kind, target)
    checks = {"bind": _check_bind, "volume": _check_volume, "tmpfs": _check_tmpfs, "image": _check_image}
    if kind in ("cluster", "npipe"):
        raise NotSupported(f"mounts of type {kind} are not supported")
    if kind not in checks:
        raise _invalid(kind, "mount type unknown")
    checks[kind](mount)


def _invalid(kind: str, reason: str) -> InvalidArgument:
    return InvalidArgument(f'invalid mount config for type "{kind}": {reason}')


def _check_target(kind: str, target: str) -> None:
    if posixpath.normpath(target) in ("/", "//"):
        raise _invalid(kind, "invalid specification: destination can't be '/'")
    if not target.startswith("/"):
        raise _invalid(kind, f"invalid mount path: '{target}' mount path must be absolute")
    if "\0" in target:
        raise _invalid(kind, "invalid mount path: it contains a NUL byte")


def check_tmpfs_target(target: str) -> None:
    """Check where an entry of ``HostConfig.Tmpfs`` goes."""
    if posixpath.normpath(target) in ("/", "//"):
        raise InvalidArgument("invalid specification: destination can't be '/'")
    if not target.startswith("/"):
        raise InvalidArgument(f"invalid mount path: '{target}' mount path must be absolute")


def _check_bind(mount: Mount) -> None:
    source = given(mount.source, "")
    options = given(mount.bind_options, BindOptions())
    if not source:
        raise _invalid("bind", "field Source must not be empty")
    propagation = given(options.propagation, "")
    if propagation and propagation not in _PROPAGATION:
        raise _invalid("bind", f"invalid propagation mode: {propagation}")
    _refuse_fields(mount, "VolumeOptions", "ImageOptions")
    if not source.startswith("/"):
        raise _invalid("bind", f"invalid mount path: '{source}' mount path must be absolute")
    read_only = given(mount.read_only, False)
    non_recursive = given(options.read_only_non_recursive, False)
    forced = given(options.read_only_force_recursive, False)
    for name, value in (("ReadOnlyNonRecursive", non_recursive), ("ReadOnlyForceRecursive", forced)):
        if value and not read_only:
            raise InvalidArgument(f"mount options conflict: !ReadOnly && BindOptions.{name}")
    if non_recursive and forced:
        raise InvalidArgument("mount options conflict: ReadOnlyNonRecursive && BindOptions.ReadOnlyForceRecursive")
    try:
        exists = Path(source).exists()
    except (OSError, ValueError) as error:
        raise _invalid("bind", f"stat {source}: {error}") from error
    if not exists and not given(options.create_mountpoint, False):
        raise InvalidArgument(
            f'invalid mount config for type "bind": bind source path does not exist: {source}',
            hint="create it, or use -v, which does",
        )


def _check_volume(mount: Mount) -> None:
    source = given(mount.source, "")
    _refuse_fields(mount, "BindOptions", "ImageOptions")
    subpath = given(given(mount.volume_options, VolumeOptions()).subpath, "")
    if subpath:
        if not source:
            raise _invalid("volume", "must not set Subpath when using anonymous volumes")
        _check_subpath("volume", subpath)
    if given(mount.read_only, False) and not source:
        raise _invalid("volume", "must not set ReadOnly mode when using anonymous volumes")


def _check_tmpfs(mount: Mount) -> None:
    _refuse_fields(mount, "BindOptions", "ImageOptions")
    if given(mount.source, ""):
        raise _invalid("tmpfs", "field Source must not be specified")
    try:
        tmpfs_mount_options(given(mount.tmpfs_options, TmpfsOptions()), read_only=given(mount.read_only, False))
    except PortsideError as error:
        raise _invalid("tmpfs", error.message) from error


def _check_image(mount: Mount) -> None:
    _refuse_fields(mount, "BindOptions", "VolumeOptions")
    if not given(mount.source, ""):
        raise _invalid("image", "field Source must not be empty")
    subpath = given(given(mount.image_options, ImageOptions()).subpath, "")
    if subpath:
        _check_subpath("image", subpath)


def _refuse_fields(mount: Mount, *names: str) -> None:
    fields = {
        "BindOptions": mount.bind_options,
        "VolumeOptions": mount.volume_options,
        "ImageOptions": mount.image_options,
    }
    for name in names:
        if fields[name]:
            raise _invalid(given(mount.type, ""), f"field {name} must not be specified")


def _check_subpath(kind: str, subpath: str) -> None:
    clean = posixpath.normpath(subpath)
    if subpath.startswith("/") or clean == ".." or clean.startswith("../") or "\0" in subpath:
        raise _invalid(kind, "subpath must be a relative path within the volume")


def tmpfs_mount_options(options: TmpfsOptions, *, read_only: bool) -> list[str]:
    """Return the options of a tmpfs mount merged with Docker's defaults; raises InvalidArgument."""
    asked = ["ro"] if read_only else []
    if given(options.mode, 0):
        asked.append(f"mode={given(options.mode, 0):o}")
    if given(options.size_bytes, 0):
        asked.append(f"size={_with_suffix(given(options.size_bytes, 0))}")
    for words in given(options.options, []):
        if not 1 <= len(words) <= 2:
            raise InvalidArgument("invalid option array length")
        if words[0] not in ("exec", "noexec"):
            raise InvalidArgument("invalid option: " + words[0])
        asked.append("=".join(words))
    return merged_options(asked)


def _with_suffix(size_bytes: int) -> str:
    for suffix, divisor in (("g", 1 << 30), ("m", 1 << 20), ("k", 1 << 10)):
        if size_bytes % divisor == 0:
            return f"{size_bytes // divisor}{suffix}"
    return str(size_bytes)


def parse_mount(mount: Mount) -> MountPlan:
    """Read one entry of ``HostConfig.Mounts``, which is checked again (its source may have gone)."""
    check_mount(mount)
    kind = given(mount.type, "")
    record = MountRecord(
        type=kind,
        destination=posixpath.normpath(given(mount.target, "")),
        read_write=not given(mount.read_only, False),
    )
    if kind == "bind":
        options = given(mount.bind_options, BindOptions())
        record.source = posixpath.normpath(given(mount.source, ""))
        record.propagation = given(options.propagation, "") or DEFAULT_PROPAGATION
        record.non_recursive = given(options.non_recursive, False)
        record.read_only_non_recursive = given(options.read_only_non_recursive, False)
        record.read_only_force_recursive = given(options.read_only_force_recursive, False)
        record.create_source = given(options.create_mountpoint, False)
        return MountPlan(record)
    if kind == "tmpfs":
        tmpfs = given(mount.tmpfs_options, TmpfsOptions())
        record.options = tmpfs_mount_options(tmpfs, read_only=not record.read_write)
        return MountPlan(record)
    if kind == "image":
        record.source = given(mount.source, "")
        record.subpath = given(given(mount.image_options, ImageOptions()).subpath, "")
        record.propagation = DEFAULT_PROPAGATION
        record.read_write = False
        return MountPlan(record)
    volume = given(mount.volume_options, VolumeOptions())
    driver = given(volume.driver_config, DriverConfig())
    record.name = given(mount.source, "")
    record.driver = given(driver.name, "")
    record.mode = "z"
    record.copy_up = not given(volume.no_copy, False)
    record.subpath = given(volume.subpath, "")
    record.anonymous = not record.name
    return MountPlan(record, given(driver.options, {}), given(volume.labels, {}))
