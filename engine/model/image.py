"""Bodies of the Image operations (API 1.51)."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, UnsetType, field

from engine.model.base import Body
from engine.model.container import EmptyObject, HealthConfig
from engine.model.inspect import DriverData


class ImageConfig(Body):
    """The ``config`` of an image (OCI image-spec config.md with Docker's extensions), also as inspect shows it."""

    user: str | UnsetType = UNSET
    exposed_ports: dict[str, EmptyObject] | UnsetType | None = UNSET
    env: list[str] | UnsetType | None = UNSET
    entrypoint: list[str] | UnsetType | None = UNSET
    cmd: list[str] | UnsetType | None = UNSET
    volumes: dict[str, EmptyObject] | UnsetType | None = UNSET
    working_dir: str | UnsetType = UNSET
    labels: dict[str, str] | UnsetType | None = UNSET
    stop_signal: str | UnsetType = UNSET
    args_escaped: bool | UnsetType = UNSET
    healthcheck: HealthConfig | UnsetType | None = UNSET
    on_build: list[str] | UnsetType | None = UNSET
    shell: list[str] | UnsetType | None = UNSET


class RootFS(Body):
    """The diff IDs of an image's layers, lowest first."""

    type: str | UnsetType = UNSET
    layers: list[str] | UnsetType = UNSET


class ImageMetadata(Body):
    """What is known of an image here alone."""

    last_tag_time: str = "0001-01-01T00:00:00Z"


class ImageInspect(Body):
    """Answer of ``GET /images/{name}/json``; size in bytes, created in RFC 3339."""

    id: str = ""
    repo_tags: list[str] = field(default_factory=list)
    repo_digests: list[str] = field(default_factory=list)
    parent: str = ""
    comment: str = ""
    created: str | UnsetType = UNSET
    docker_version: str = ""
    author: str = ""
    config: ImageConfig | None = None
    architecture: str = ""
    variant: str | UnsetType = UNSET
    os: str = ""
    os_version: str | UnsetType = UNSET
    size: int = 0
    graph_driver: DriverData = field(default_factory=DriverData)
    root_fs: RootFS = field(name="RootFS", default_factory=RootFS)
    metadata: ImageMetadata = field(default_factory=ImageMetadata)
    descriptor: dict[str, Any] | UnsetType = UNSET
    manifests: list[dict[str, Any]] | UnsetType = UNSET


class ImageSummary(Body):
    """One row of ``GET /images/json``; sizes in bytes, created in Unix seconds, -1 where not asked for."""

    containers: int = -1
    created: int = 0
    id: str = ""
    labels: dict[str, str] | None = None
    parent_id: str = ""
    repo_digests: list[str] = field(default_factory=list)
    repo_tags: list[str] = field(default_factory=list)
    shared_size: int = -1
    size: int = 0
    descriptor: dict[str, Any] | UnsetType = UNSET
    manifests: list[dict[str, Any]] | UnsetType = UNSET


class HistoryItem(Body):
    """One row of ``GET /images/{name}/history``, newest first."""

    id: str = "<missing>"
    created: int = 0
    created_by: str = ""
    tags: list[str] | None = None
    size: int = 0
    comment: str = ""


class ImageDelete(Body):
    """One thing that a removal did."""

    deleted: str | UnsetType = UNSET
    untagged: str | UnsetType = UNSET


class ImagesPruneReport(Body):
    """Answer of ``POST /images/prune``; bytes."""

    images_deleted: list[ImageDelete] | None = None
    space_reclaimed: int = 0
