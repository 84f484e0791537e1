"""``images`` and ``history``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from engine.cli.command import Command
from engine.cli.filters import parse_filters
from engine.cli.flags import Flag, Parsed
from engine.cli.quantities import human_size, local_time, since
from engine.cli.references import try_reference
from engine.cli.table import ellipsis, render_rows, short_id
from engine.cli.template_run import Row
from engine.model.image import HistoryItem, ImageSummary

if TYPE_CHECKING:
    from engine.cli.session import Session

CREATED = "{{if .CreatedSince }}{{.CreatedSince}}{{else}}N/A{{end}}"
DEFAULT_TABLE = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t" + CREATED + "\t{{.Size}}"
DIGEST_TABLE = "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t" + CREATED + "\t{{.Size}}"
HISTORY_TABLE = "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
TITLES = {
    "ID": "IMAGE ID",
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
    "Containers": "CONTAINERS",
    "VirtualSize": "SIZE",
    "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE",
}
HISTORY_TITLES = {
    "ID": "IMAGE",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "CreatedBy": "CREATED BY",
    "Size": "SIZE",
    "Comment": "COMMENT",
}
GO_EPOCH = -62135596800
"""Seconds of Go's zero time, which stands for no time at all."""
HISTORY_EPOCH = 946684800
CREATED_BY_WIDTH = 45


class ImageRow(Row):
    """One line of ``images``."""

    type_name = "*formatter.imageContext"

    def __init__(self, image: ImageSummary, repository: str, tag: str, digest: str, *, is_short: bool) -> None:
        """An image has a line for each of its names."""
        self._image = image
        self._names = (repository, tag, digest)
        self._is_short = is_short

    def created_since(self) -> str:
        """How long ago it was made, empty when nobody knows."""
        return "" if self._image.created == GO_EPOCH else since(self._image.created)

    def unique_size(self) -> str:
        """The size of what no other image has."""
        if -1 in (self._image.size, self._image.shared_size):
            return "N/A"
        return human_size(self._image.size - self._image.shared_size)

    def shared_size(self) -> str:
        """The size of what other images have too."""
        return "N/A" if self._image.shared_size == -1 else human_size(self._image.shared_size)

    fields: ClassVar = {
        "ID": lambda row: short_id(row._image.id) if row._is_short else row._image.id,
        "Repository": lambda row: row._names[0],
        "Tag": lambda row: row._names[1],
        "Digest": lambda row: row._names[2],
        "CreatedSince": created_since,
        "CreatedAt": lambda row: local_time(row._image.created),
        "Size": lambda row: human_size(row._image.size, 3),
        "Containers": lambda row: "N/A" if row._image.containers == -1 else str(row._image.containers),
        "VirtualSize": lambda row: human_size(row._image.size),
        "SharedSize": shared_size,
        "UniqueSize": unique_size,
    }


def is_dangling(image: ImageSummary) -> bool:
    """Whether an image has no name."""
    tags, digests = image.repo_tags or [], image.repo_digests or []
    return (not tags and not digests) or (tags == ["<none>:<none>"] and digests == ["<none>@<none>"])


def image_rows(
    images: list[ImageSummary], *, is_short: bool, with_digests: bool, lists_digests: bool
) -> list[ImageRow]:
    """Return a line for each name of each image; ``lists_digests`` is ``--digests``."""
    rows: list[ImageRow] = []
    for image in images:
        if is_dangling(image):
            rows.append(ImageRow(image, "<none>", "<none>", "<none>", is_short=is_short))
            continue
        tags: dict[str, list[str]] = {}
        digests: dict[str, list[str]] = {}
        for name in image.repo_tags or ():
            reference = try_reference(name)
            if reference is not None and reference.tag:
                tags.setdefault(reference.familiar_name, []).append(reference.tag)
        for name in image.repo_digests or ():
            reference = try_reference(name)
            if reference is not None and reference.digest:
                digests.setdefault(reference.familiar_name, []).append(reference.digest)
        for repository, names in tags.items():
            own = digests.pop(repository, []) if with_digests else []
            digests.pop(repository, None)
            rows += [
                ImageRow(image, repository, tag, digest, is_short=is_short)
                for tag in names
                for digest in own or ["<none>"]
            ]
        for repository, own in digests.items():
            shown = own if lists_digests else [""]
            rows += [ImageRow(image, repository, "<none>", digest, is_short=is_short) for digest in shown]
    return rows


async def run_images(session: Session, parsed: Parsed) -> int:
    """List images."""
    filters = parse_filters(parsed.items("filter"))
    if parsed.args:
        filters.setdefault("reference", []).append(parsed.args[0])
    if parsed.on("tree"):
        from engine.cli.image_tree import check_tree_flags, show_tree

        check_tree_flags(parsed)
        return await show_tree(session, filters, every=parsed.on("all"))
    images = await session.client.images.list(all=parsed.on("all"), filters=filters)
    source, quiet, digests = parsed.text("format"), parsed.on("quiet"), parsed.on("digests")
    if not source and not quiet:
        source = session.config.text("imagesFormat")
    if source.startswith("table") and source != "table" and digests and "{{.Digest}}" not in source:
        source += "\t{{.Digest}}"
    rows = image_rows(
        images,
        is_short=not parsed.on("no-trunc"),
        with_digests=digests or "{{.Digest}}" in source,
        lists_digests=digests,
    )
    if source == "raw":
        digest_line = "digest: {{.Digest}}\n" if digests else ""
        source = "repository: {{ .Repository }}\ntag: {{.Tag}}\n" + digest_line
        source += "image_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n"
    session.console.out(render_rows(source, DIGEST_TABLE if digests else DEFAULT_TABLE, TITLES, rows, quiet=quiet))
    return 0


class HistoryRow(Row):
    """One line of ``history``."""

    type_name = "*image.historyContext"

    def __init__(self, item: HistoryItem, *, is_short: bool, is_human: bool) -> None:
        """``is_human`` shows sizes and times for people."""
        self._item = item
        self._is_short = is_short
        self._is_human = is_human

    def created_at(self) -> str:
        """The time in RFC 3339, in the local zone."""
        moment = time.localtime(self._item.created)
        text = time.strftime("%Y-%m-%dT%H:%M:%S%z", moment)
        return f"{text[:-5]}Z" if text.endswith("+0000") else f"{text[:-2]}:{text[-2:]}"

    def created_since(self) -> str:
        """How long ago it was made."""
        if not self._is_human:
            return self.created_at()
        return "N/A" if self._item.created <= HISTORY_EPOCH else since(self._item.created)

    def created_by(self) -> str:
        """The step that made it."""
        text = self._item.created_by.replace("\t", " ")
        return ellipsis(text, CREATED_BY_WIDTH) if self._is_short else text

    fields: ClassVar = {
        "ID": lambda row: short_id(row._item.id) if row._is_short else row._item.id,
        "CreatedAt": created_at,
        "CreatedSince": created_since,
        "CreatedBy": created_by,
        "Size": lambda row: human_size(row._item.size, 3) if row._is_human else str(row._item.size),
        "Comment": lambda row: row._item.comment,
    }


async def run_history(session: Session, parsed: Parsed) -> int:
    """Show an image's steps."""
    items = await session.client.images.history(parsed.args[0], parsed.text("platform"))
    is_short, is_human = not parsed.on("no-trunc"), parsed.on("human")
    rows = [HistoryRow(item, is_short=is_short, is_human=is_human) for item in items]
    table = HISTORY_TABLE if is_human else HISTORY_TABLE.replace("CreatedSince", "CreatedAt")
    text = render_rows(parsed.text("format"), table, HISTORY_TITLES, rows, quiet=parsed.on("quiet"))
    session.console.out(text)
    return 0


COMMANDS = {
    "image ls": Command(
        "[OPTIONS] [REPOSITORY[:TAG]]",
        "List images",
        run_images,
        (
            Flag("all", "a", usage="Show intermediate images too"),
            Flag("digests", usage="Show digests"),
            Flag("filter", "f", "filter", "Which to show (dangling=true, reference=alpine …)"),
            Flag("format", kind="string", usage="'table', 'table TEMPLATE', 'json' or a Go template"),
            Flag("no-trunc", usage="Cut nothing off"),
            Flag("quiet", "q", usage="Show only IDs"),
            Flag("tree", usage="Show what there is of each image for each platform (experimental)"),
        ),
        max_args=1,
        aliases=("image ls", "image list", "images"),
        completes="image",
    ),
    "image history": Command(
        "[OPTIONS] IMAGE",
        "Show the steps that made an image",
        run_history,
        (
            Flag("format", kind="string", usage="'table', 'table TEMPLATE', 'json' or a Go template"),
            Flag("human", "H", usage="Sizes and times for people", default=True),
            Flag("no-trunc", usage="Cut nothing off"),
            Flag("platform", kind="string", usage="Platform of the image (linux/arm64)"),
            Flag("quiet", "q", usage="Show only IDs"),
        ),
        min_args=1,
        max_args=1,
        aliases=("image history", "history"),
        completes="image",
    ),
}
