"""Images that came out of one index: for which platform each is, and what the API shows of indexes and manifests.

An image here is for one platform. Those of the same index belong together: a name of one finds the others by
their platform, and the ones without a name of their own are shown and deleted with the one that has it. Of the
index itself and of attestations the engine keeps what it got, to show it and to hand it on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from engine.errors import InvalidArgument, NotFound
from engine.images.blobs import check_digest
from engine.images.manifests import OCI_INDEX, OCI_MANIFEST, Manifest
from engine.images.records import ImageFile, ImageRecord
from engine.model.base import given

if TYPE_CHECKING:
    from engine.images.manager import ImageManager

_REFERENCE_TYPE = "vnd.docker.reference.type"
_REFERENCE_DIGEST = "vnd.docker.reference.digest"
_UNKNOWN = {"os": "unknown", "architecture": "unknown"}
_MAX_DEPTH = 4
_KNOWN_TYPES = 1000


class Variants:
    """Answers questions about the images of an index."""

    def __init__(self, images: ImageManager) -> None:
        """Look at ``images``."""
        self._images = images
        self._media_types: dict[str, str] = {}

    def members(self, record: ImageRecord) -> list[ImageRecord]:
        """Return the images of the index that an image came from, itself first."""
        if not record.index:
            return [record]
        others = self._images.table.of_index(record.index)
        return [record, *(item for item in others if item is not record and not item.hidden)]

    def matching(self, record: ImageRecord, platform: str) -> ImageRecord | None:
        """Return the image for a platform out of those that belong to ``record``."""
        for item in self.members(record):
            if matches_platform(self._images.file(item), platform):
                return item
        return None

    def nameless(self) -> set[str]:
        """Return the IDs of images that are part of another one's name: not shown, pruned or deleted on their own."""
        table = self._images.table
        named = {item.index for item in table.all() if item.index and table.references(item.id)}
        return {item.id for item in table.all() if item.index in named and not table.references(item.id)}

    def size(self, record: ImageRecord) -> int:
        """Return the bytes of all layers of an image and those that belong to it, each counted once."""
        members = self.members(record)
        if len(members) == 1:
            return record.size
        layers = [self._images.layers.get(chain) for chain in {chain for item in members for chain in item.layers}]
        return sum(layer.size for layer in layers if layer is not None)

    def descriptor(self, record: ImageRecord, *, of_index: bool = True) -> dict[str, Any] | None:
        """Return the descriptor of the index or manifest that an image came as; None when it came as neither.

        With ``of_index`` false, of its own manifest.
        """
        digest = (record.index if of_index else "") or record.manifest
        size = self._images.blobs.size(digest) if digest else 0
        if not size:
            return None
        if digest not in self._media_types:
            if len(self._media_types) > _KNOWN_TYPES:
                self._media_types.clear()
            usual = OCI_INDEX if digest == record.index else OCI_MANIFEST
            self._media_types[digest] = _as_manifest(self._images.blobs.read(digest)).media_type or usual
        return {"mediaType": self._media_types[digest], "digest": digest, "size": size}

    def summaries(self, record: ImageRecord) -> list[dict[str, Any]]:
        """Return an ImageManifestSummary (API 1.47) for each manifest of an image's index, or for its only one."""
        target = self.descriptor(record)
        if target is None:
            return []
        members = {item.manifest: item for item in self.members(record)}
        descriptors = self._children(target, 0) if target["digest"] == record.index else [target]
        return [self._summary(item, members.get(str(item.get("digest", "")))) for item in descriptors]

    def _children(self, index: dict[str, Any], depth: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for item in index_items(self._images.blobs.read(index["digest"])):
            digest = str(item.get("digest", ""))
            is_index = "index" in str(item.get("mediaType", "")) or "manifest.list" in str(item.get("mediaType", ""))
            if is_index and depth < _MAX_DEPTH and self._has(digest):
                found += self._children({"digest": digest}, depth + 1)
            elif not is_index:
                found.append(item)
        return found

    def _has(self, digest: str) -> bool:
        try:
            return self._images.blobs.has(digest)
        except InvalidArgument:
            return False  # an index may name what is no digest

    def _summary(self, item: dict[str, Any], record: ImageRecord | None) -> dict[str, Any]:
        digest = str(item.get("digest", ""))
        content, is_whole = self._content(digest)
        summary: dict[str, Any] = {
            "ID": digest,
            "Descriptor": item,
            "Available": is_whole,
            "Size": {"Content": content, "Total": content},
            "Kind": "unknown",
        }
        if is_attestation(item):
            summary["Kind"] = "attestation"
            summary["AttestationData"] = {"For": (item.get("annotations") or {}).get(_REFERENCE_DIGEST, "")}
        elif not _is_unknown(item):
            summary["Kind"] = "image"
            summary["Available"] = record is not None
            platform = item.get("platform") or (platform_of(self._images.file(record)) if record else {})
            unpacked = record.size if record else 0
            users = self._images.users.containers_using(record.id) if record else []
            summary["Size"]["Total"] += unpacked
            summary["ImageData"] = {
                "Platform": platform,
                "Size": {"Unpacked": unpacked},
                "Containers": [user[0] for user in users],
            }
        return summary

    def _content(self, digest: str) -> tuple[int, bool]:
        """Return the bytes that are there of a manifest and its blobs, and whether that is everything."""
        if not self._has(digest):
            return 0, False
        size, is_whole = self._images.blobs.size(digest), True
        for blob in blobs_of(self._images.blobs.read(digest)):
            found = self._images.blobs.size(blob) if self._has(blob) else 0
            size += found
            is_whole = is_whole and bool(found)
        return size, is_whole


def index_items(data: bytes) -> list[dict[str, Any]]:
    """Return the descriptors of an index with everything that is in them; none for what is no index."""
    try:
        return list(msgspec.json.decode(data, type=_RawIndex).manifests or [])
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError):
        return []


class _RawIndex(msgspec.Struct):
    manifests: list[dict[str, Any]] | None = None


def _as_manifest(data: bytes) -> Manifest:
    try:
        return msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError):
        return Manifest()


def blobs_of(data: bytes) -> list[str]:
    """Return the digests of what a manifest consists of."""
    manifest = _as_manifest(data)
    return ([manifest.config.digest] if manifest.config else []) + [layer.digest for layer in manifest.layers]


def is_attestation(item: dict[str, Any]) -> bool:
    """Whether a descriptor is of a statement about an image (BuildKit, attestation-storage.md)."""
    return _REFERENCE_TYPE in (item.get("annotations") or {})


def _is_unknown(item: dict[str, Any]) -> bool:
    platform = item.get("platform") or {}
    return {key: platform.get(key) for key in _UNKNOWN} == _UNKNOWN


def attested_by(items: Iterable[dict[str, Any]], manifests: Sequence[str]) -> list[str]:
    """Return the digests of the attestations that an index has for some of its manifests."""
    found = []
    for item in items:
        if is_attestation(item) and (item.get("annotations") or {}).get(_REFERENCE_DIGEST) in manifests:
            found.append(check_digest(str(item.get("digest", ""))))
    return found


def platform_of(file: ImageFile) -> dict[str, str]:
    """Return an image's platform as OCI writes it."""
    platform = {"architecture": file.architecture, "os": file.os, "variant": given(file.variant, "")}
    return {key: value for key, value in platform.items() if value}


def require_platform(record: ImageRecord | None, image_ref: str, platform: str) -> ImageRecord:
    """Return an image that was found; raises NotFound with moby's text when none is for the platform."""
    if record is None:
        raise NotFound(
            f"image with reference {image_ref} was found but does not provide the specified platform ({platform})"
        )
    return record


def platform_mismatch(image_ref: str, file: ImageFile, platform: str) -> str:
    """Return moby's text for an image that is for another platform."""
    has = "/".join(part for part in (file.os, file.architecture, given(file.variant, "")) if part)
    return (
        f"image with reference {image_ref} was found but its platform ({has}) does not match "
        f"the specified platform ({platform})"
    )


def matches_platform(file: ImageFile, platform: str) -> bool:
    """Whether an image is for ``os[/architecture[/variant]]`` or for an architecture alone."""
    parts = platform.split("/")
    if len(parts) == 1:
        return parts[0] in (file.os, file.architecture)
    if parts[0] != file.os or _architecture(parts[1]) != file.architecture:
        return False
    return len(parts) < 3 or not file.variant or parts[2] == file.variant


def _architecture(name: str) -> str:
    return {"x86_64": "amd64", "aarch64": "arm64", "x86-64": "amd64"}.get(name, name)
