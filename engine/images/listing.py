"""The list of images, pruning, and what they take on the disk."""

from __future__ import annotations

import re

from msgspec import UNSET

from engine.errors import Conflict, InvalidArgument, NotFound
from engine.images.manager import ImageManager, names_of
from engine.images.records import ImageRecord
from engine.images.removal import ImageRemover
from engine.model.base import given
from engine.model.image import ImageConfig, ImageDelete, ImagesPruneReport, ImageSummary
from engine.wire.filters import Filters, match_labels, single_bool
from engine.wire.references import Reference
from engine.wire.times import parse_moment

ALLOWED_FILTERS = frozenset({"before", "dangling", "label", "reference", "since", "until"})
PRUNE_FILTERS = frozenset({"dangling", "label", "label!", "until"})


class ImageListing:
    """Answers questions about all images."""

    def __init__(self, images: ImageManager) -> None:
        """Look at ``images``."""
        self._images = images
        self._remover = ImageRemover(images)
        self._pruning = False

    def rows(
        self,
        filters: Filters,
        *,
        shared_size: bool = False,
        containers: bool = False,
        intermediate: bool = False,
        manifests: bool = False,
    ) -> list[ImageSummary]:
        """Return the list, newest first; raises InvalidArgument for filters that are no values.

        ``intermediate`` shows unnamed images that others are made from, too; ``manifests`` adds what there is of
        each image's index.
        """
        before = self._created(filters.get("before"))
        since = self._created(filters.get("since"), is_since=True)
        until = [parse_moment(text) for text in filters.get("until", ())]
        dangling = single_bool(filters, "dangling")
        shares = self._shares() if shared_size else {}
        parents = {record.parent for record in self._images.table.all()} - {""}
        nameless = self._images.variants.nameless()
        found: list[ImageSummary] = []
        for record in sorted(self._images.table.all(), key=lambda item: item.created_ns, reverse=True):
            if record.id in nameless or (dangling and record.id in parents):
                continue
            created = record.created_ns
            if (before is not None and created >= before) or (since is not None and created <= since):
                continue
            if any(created >= moment for moment in until):
                continue
            row = self._row(record, filters, dangling)
            if row is None:
                continue
            if record.id in parents and not intermediate and not row.repo_tags and not row.repo_digests:
                continue
            if shared_size:
                row.shared_size = sum(self._size(chain) for chain in record.layers if shares[chain] > 1)
            if containers:
                members = self._images.variants.members(record)
                row.containers = sum(len(self._images.users.containers_using(item.id)) for item in members)
            if manifests:
                row.manifests = self._images.variants.summaries(record)
            found.append(row)
        return found

    def _created(self, values: list[str] | None, *, is_since: bool = False) -> int | None:
        moments = [self._images.table.find(value).created_ns for value in values or ()]
        if not moments:
            return None
        return max(moments) if is_since else min(moments)  # several values are all to be met

    def _row(self, record: ImageRecord, filters: Filters, dangling: bool | None) -> ImageSummary | None:
        config = given(self._images.file(record).config, ImageConfig())
        labels = given(config.labels, {})
        if not match_labels(filters.get("label", ()), labels):
            return None
        references = self._images.table.references(record.id)
        if "reference" in filters:
            references = [item for item in references if any(matches(item, text) for text in filters["reference"])]
        tags, digests = names_of(references)
        if not references:
            if dangling is False or "reference" in filters:
                return None
        elif dangling and tags:
            return None
        return ImageSummary(
            id=record.id,
            parent_id=record.parent,
            created=record.created_ns // 1_000_000_000,
            labels=labels or None,
            repo_tags=tags,
            repo_digests=digests,
            size=self._images.variants.size(record),
            descriptor=self._images.variants.descriptor(record) or UNSET,
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
        """Delete images that nothing uses: those without a tag, or with ``dangling=false`` all without a container.

        Raises Conflict while another prune is at work.
        """
        only_dangling = single_bool(filters, "dangling", default=True)
        until = [parse_moment(text) for text in filters.get("until", ())]
        if len(until) > 1:
            raise InvalidArgument("more than one until filter specified")
        if self._pruning:
            raise Conflict("a prune operation is already running")
        sizes = {layer.chain_id: layer.size for layer in self._images.layers.all()}
        deleted: list[ImageDelete] = []
        self._pruning = True
        try:
            for record in self._images.table.all():
                if self._is_prunable(record, filters, until):
                    deleted += await self._prune_one(record, only_dangling=bool(only_dangling))
            await self._images.collect()
        finally:
            self._pruning = False
        freed = sum(sizes.get(item.deleted, 0) for item in deleted if isinstance(item.deleted, str))
        self._images.events.publish("image", "prune", "", {"reclaimed": str(freed)})
        return ImagesPruneReport(images_deleted=deleted or None, space_reclaimed=freed)

    def _is_prunable(self, record: ImageRecord, filters: Filters, until: list[int]) -> bool:
        table = self._images.table
        if not table.references(record.id) and any(image.parent == record.id for image in table.all()):
            return False
        if record.id in self._images.variants.nameless():
            return False
        labels = given(given(self._images.file(record).config, ImageConfig()).labels, {})
        refused = filters.get("label!")
        if not match_labels(filters.get("label", ()), labels) or (refused and match_labels(refused, labels)):
            return False
        return not until or record.created_ns <= until[0]

    async def _prune_one(self, record: ImageRecord, *, only_dangling: bool) -> list[ImageDelete]:
        references = self._images.table.references(record.id)
        if only_dangling and any(item.tag for item in references):
            return []
        done: list[ImageDelete] = []
        for name in [item.full for item in references] or [record.id]:
            try:
                done += await self._remover.remove(name)
            except (Conflict, NotFound):
                continue  # it is used, or gone since
        return done


def matches(reference: Reference, pattern: str) -> bool:
    """Whether a reference fits a pattern of the filter ``reference``: as people write it, or its name alone.

    Raises InvalidArgument for a broken pattern.
    """
    compiled = _compile(pattern)
    return bool(compiled.fullmatch(reference.familiar) or compiled.fullmatch(reference.familiar_name))


def _compile(pattern: str) -> re.Pattern[str]:
    """Return a pattern of Go's ``path.Match``, in which * and ? stop at slashes."""
    position, parts = 0, []
    for found in re.finditer(r"\*|\?|\[(\^?)((?:[^\]\\]|\\.)+)\]|\\(.)|[^\[\\*?]+", pattern, re.DOTALL):
        if found.start() != position:
            break
        position = found.end()
        text = found[0]
        if text == "*":
            parts.append("[^/]*")
        elif text == "?":
            parts.append("[^/]")
        elif found[2]:
            parts.append(f"[{found[1]}{found[2].replace('[', chr(92) + '[')}]")
        else:
            parts.append(re.escape(found[3] or text))
    if position != len(pattern):
        raise InvalidArgument("syntax error in pattern")
    try:
        return re.compile("".join(parts))
    except re.error:
        raise InvalidArgument("syntax error in pattern") from None
