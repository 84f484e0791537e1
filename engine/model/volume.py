"""Bodies of the Volume operations (API 1.51)."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, UnsetType, field

from engine.model.base import Body


class VolumeUsage(Body):
    """How much a volume is used: bytes and containers, -1 where it was not measured."""

    size: int = -1
    ref_count: int = -1


class Volume(Body):
    """A volume; ``created_at`` in RFC 3339."""

    cluster_volume: dict[str, Any] | UnsetType = UNSET
    created_at: str | UnsetType = UNSET
    driver: str = "local"
    labels: dict[str, str] | None = None
    mountpoint: str = ""
    name: str = ""
    options: dict[str, str] | None = None
    scope: str = "local"
    status: dict[str, Any] | UnsetType = UNSET
    usage_data: VolumeUsage | UnsetType = UNSET


class VolumeCreateRequest(Body):
    """Body of ``POST /volumes/create``."""

    name: str = ""
    driver: str = ""
    driver_opts: dict[str, str] | None = None
    labels: dict[str, str] | None = None
    cluster_volume_spec: dict[str, Any] | UnsetType | None = UNSET


class VolumeList(Body):
    """Answer of ``GET /volumes``."""

    volumes: list[Volume] = field(default_factory=list)
    warnings: list[str] | None = None


class VolumesPruneReport(Body):
    """Answer of ``POST /volumes/prune``; bytes."""

    volumes_deleted: list[str] | None = None
    space_reclaimed: int = 0
