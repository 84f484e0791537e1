"""The list of images, pruning, and what they take on the disk."""

from __future__ import annotations

import fnmatch

from engine.errors import Conflict, InvalidArgument, NotFound
from engine.images.manager import ImageManager, names_of
from engine.images.records import ImageRecord
from engine.model.base import given
from engine.model.image import ImageConfig, ImageDelete, ImagesPruneReport, ImageSummary
from engine.wire.filters import Filters, match_labels, single_bool
from engine.wire.references import Reference, parse_reference
from engine.wire.times import parse_moment

ALLOWED_FILTERS = frozenset({"before", "dangling", "label", "reference", "since", "until"})
PRUNE_FILTERS = frozenset({"dangling", "label", "label!", "until"})


class ImageListing:
    """Answers questions about all images."""

    def __init__(self, images: ImageManager) -> None:
        """Look at ``images``."""
        self._images = images

    def rows(self, filters: Filters, *, shared_size: bool = False, containers: bool = False) -> list[ImageSummary]:
        """Return the list, newest first; raises InvalidArgument for filters that are no values."""
        before = self._created(filters.get("before"))
        since = self._created(filters.get("since"))
        until = [parse_moment(text) for text in filters.get("until", ())]
        dangling = single_bool(filters, "dangling")
        shares = self._shares() if shared_size else {}
        found: list[ImageSummary] = []
        for record in sorted(self._images.table.all(), key=lambda item: item.created_ns, reverse=True):
            created = record.created_ns
            if (before is not None and created >= before) or (since is not None and created <= since):
                continue
            if any(created >= moment for moment in until):
                continue
            row = self._row(record, filters, dangling)
            if row is None:
                continue
            if shared_size:
                row.shared_size = sum(self._size(chain) for chain in record.layers if shares[chain] > 1)
            if containers:
                row.containers = len(self._images.users.containers_using(record.id))
            found.append(row)
        return found

    def _created(self, values: list[str] | None) -> int | None:
        found = None
        for value in values or ():
            found = self._images.table.find(value).created_ns
        return found

    def _row(self, record: ImageRecord, filters: Filters, dangling: bool | None) -> ImageSummary | None:
        config = given(self._images.file(record).config, ImageConfig())
        labels = given(config.labels, {})
        if not match_labels(filters.get("label", ()), labels):
            return None
        references = self._images.table.references(record.id)
        if dangling is not None and dangling == bool(references):
            return None
        if filters.get("reference"):
            references = [item for item in references if any(matches(item, text) for text in filters["reference"])]
            if not references:
                return None
        tags, digests = names_of(references)
        return ImageSummary(
            id=record.id,
            parent_id=record.parent,
            created=record.created_ns // 1_000_000_000,
            labels=labels or None,
            repo_tags=tags,
            repo_digests=digests,
            size=record.size,
        )

    def _shares(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for record in self._images.table.all():
            for chain in record.layers:
                counts[chain] = counts.get(chain, 0) + 1
        return counts

    def _size(self, chain: str) -> int:
        layer = self._images.layers.get(chain)
        return layer.size if layer else 0

    async def disk_usage(self) -> tuple[int, list[ImageSummary]]:
        """Return the bytes of all layers and the images with their shared sizes and containers."""
        total = sum(layer.size for layer in self._images.layers.all())
        return total, self.rows({}, shared_size=True, containers=True)

    async def prune(self, filters: Filters) -> ImagesPruneReport:
        """Delete images that nothing uses: dangling ones, or with ``dangling=false`` all without a container."""
        only_dangling = single_bool(filters, "dangling", default=True)
        until = [parse_moment(text) for text in filters.get("until", ())]
        if len(until) > 1:
            raise InvalidArgument("more than one until filter specified")
        before = sum(layer.size for layer in self._images.layers.all())
        deleted: list[ImageDelete] = []
        for record in self._images.table.all():
            references = self._images.table.references(record.id)
            if (only_dangling and references) or self._images.users.containers_using(record.id):
                continue
            labels = given(given(self._images.file(record).config, ImageConfig()).labels, {})
            refused = filters.get("label!")
            if not match_labels(filters.get("label", ()), labels) or (refused and match_labels(refused, labels)):
                continue
            if until and record.created_ns > until[0]:
                continue
            try:
                deleted += await self._images.remove(record.id, force=True)
            except (Conflict, NotFound):
                continue  # it is used since, or gone
        freed = before - sum(layer.size for layer in self._images.layers.all())
        self._images.events.publish("image", "prune", "", {"reclaimed": str(freed)})
        return ImagesPruneReport(images_deleted=deleted or None, space_reclaimed=freed)


def matches(reference: Reference, pattern: str) -> bool:
    """Whether a reference fits a pattern of the filter ``reference``: whole, or its name alone; * stops at slashes."""
    try:
        if parse_reference(pattern).full in (reference.full, reference.name):
            return True
    except InvalidArgument:
        pass
    return any(_match(text, pattern) for text in (reference.familiar, reference.familiar_name, reference.full))


def _match(text: str, pattern: str) -> bool:
    parts, wanted = text.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted))
