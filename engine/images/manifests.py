"""Manifests and indexes: Docker schema 2 and the OCI image-spec. Without I/O."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import field

from engine.errors import InvalidArgument, NotFound, NotSupported

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1"
_TYPES = ("application/vnd.oci.image", "application/vnd.docker")
_OTHER_TYPES = ("application/octet-stream", "application/json", "text/html", "")


class Descriptor(msgspec.Struct, kw_only=True, rename="camel"):
    """A reference to a blob (OCI image-spec, descriptor.md)."""

    media_type: str = ""
    digest: str = ""
    size: int = 0
    annotations: dict[str, str] | None = None
    platform: dict[str, Any] | None = None
    urls: list[str] | None = None


class Manifest(msgspec.Struct, kw_only=True, rename="camel"):
    """An image manifest, or an index of them (then ``manifests``)."""

    media_type: str = ""
    config: Descriptor | None = None
    layers: list[Descriptor] = field(default_factory=list)
    manifests: list[Descriptor] | None = None


def parse_manifest(data: bytes, media_type: str) -> Manifest:
    """Return a manifest or an index; raises NotSupported for schema 1, InvalidArgument for anything else."""
    if media_type.startswith(_SCHEMA_1):
        raise NotSupported(
            "Docker Image Format v1 and Docker Image manifest version 2, schema 1 are not supported: "
            "ask the author of the image to bring it up to date"
        )
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
        raise InvalidArgument(f"invalid manifest: {error}") from error
    if (manifest.media_type or media_type) in (OCI_INDEX, DOCKER_INDEX) and manifest.manifests is None:
        raise InvalidArgument("invalid manifest: an index without manifests")
    return manifest


def choose_platform(items: list[Descriptor], platform: str) -> Descriptor:
    """Return the manifest for ``os/architecture[/variant]`` out of an index; raises NotFound with moby's text."""
    parts = [*platform.split("/"), "", ""]
    system, machine, variant = parts[0], {"x86_64": "amd64", "aarch64": "arm64"}.get(parts[1], parts[1]), parts[2]
    fitting: list[Descriptor] = []
    for item in items:
        offered = item.platform or {}
        if not any(offered.values()):
            fitting.append(item)  # it says nothing: it may fit, but after those that say so
            continue
        if offered.get("os") != system or (machine and offered.get("architecture") != machine):
            continue
        if variant and offered.get("variant") not in (None, "", variant):
            continue
        fitting.append(item)
    if not fitting:
        raise NotFound(f"no matching manifest for {platform} in the manifest list entries")
    fitting.sort(key=lambda item: not any((item.platform or {}).values()))
    if machine == "arm" and not variant:
        fitting.sort(key=lambda item: str((item.platform or {}).get("variant", "")), reverse=True)
    return fitting[0]


def check_media_type(media_type: str) -> None:
    """Raise InvalidArgument with moby's text for a configuration or a layer that is not an image's."""
    kind = media_type.lower()
    if kind in _OTHER_TYPES or any(kind == known or kind.startswith(f"{known}.") for known in _TYPES):
        return
    raise InvalidArgument(f"unsupported media type {media_type}")
