"""Mounts of a container: as asked for, and as inspect and list show them (API 1.51)."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, UnsetType, field

from engine.model.base import Body

EmptyObject = dict[str, Any]


class BindOptions(Body):
    """Options of a bind mount."""

    propagation: str | UnsetType = UNSET
    non_recursive: bool | UnsetType = UNSET
    create_mountpoint: bool | UnsetType = UNSET
    read_only_non_recursive: bool | UnsetType = UNSET
    read_only_force_recursive: bool | UnsetType = UNSET


class DriverConfig(Body):
    """A volume driver and its options."""

    name: str | UnsetType = UNSET
    options: dict[str, str] | UnsetType | None = UNSET


class VolumeOptions(Body):
    """Options of a volume mount."""

    no_copy: bool | UnsetType = UNSET
    labels: dict[str, str] | UnsetType | None = UNSET
    subpath: str | UnsetType = UNSET
    driver_config: DriverConfig | UnsetType | None = UNSET


class ImageOptions(Body):
    """Options of an image mount."""

    subpath: str | UnsetType = UNSET


class TmpfsOptions(Body):
    """Options of a tmpfs mount: size in bytes, mode as an integer."""

    size_bytes: int | UnsetType = UNSET
    mode: int | UnsetType = UNSET
    options: list[list[str]] | UnsetType | None = UNSET


class Mount(Body):
    """A mount as asked for by ``HostConfig.Mounts``."""

    type: str | UnsetType = UNSET
    source: str | UnsetType = UNSET
    target: str | UnsetType = UNSET
    read_only: bool | UnsetType = UNSET
    consistency: str | UnsetType = UNSET
    bind_options: BindOptions | UnsetType | None = UNSET
    volume_options: VolumeOptions | UnsetType | None = UNSET
    image_options: ImageOptions | UnsetType | None = UNSET
    tmpfs_options: TmpfsOptions | UnsetType | None = UNSET
    cluster_options: EmptyObject | UnsetType | None = UNSET


class MountPoint(Body):
    """A mount of a container as inspect and list show it."""

    type: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    source: str = ""
    destination: str = ""
    driver: str | UnsetType = UNSET
    mode: str = ""
    rw: bool = field(name="RW", default=False)
    propagation: str = ""
