"""``images --tree``: each image with what there is of it for each platform, laid out as Docker's, without colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from engine.cli.failures import CommandError
from engine.cli.quantities import human_size
from engine.cli.table import short_id
from engine.model.image import ImageSummary

if TYPE_CHECKING:
    from engine.cli.flags import Parsed
    from engine.cli.session import Session

_WARNING = "WARNING: This is an experimental feature. The output may change and shouldn't be depended on."
_LEGEND = " Info ->  U In Use "
_SPACING = 3
_LEAST_NAME_WIDTH = 12
_LEAST_WIDTH = 20
_USUAL_WIDTH = 80
_COLUMNS = (("ID", 12, False), ("DISK USAGE", 10, True), ("CONTENT SIZE", 12, True), ("EXTRA", 5, False))
"""Title, width and whether it is aligned to the right."""
_EXCLUDED = ("quiet", "no-trunc", "digests", "format")


@dataclass
class _Line:
    """One line: an image, or its form for one platform."""

    id: str
    usage_bytes: int
    content_bytes: int
    is_used: bool

    def cells(self) -> list[str]:
        """Return the columns behind the name."""
        sizes = [human_size(self.usage_bytes, 3), human_size(self.content_bytes, 3)]
        return [short_id(self.id), *sizes, "U" if self.is_used else " "]


@dataclass
class _Tree:
    names: list[str]
    top: _Line
    children: list[tuple[str, _Line]] = field(default_factory=list)


def check_tree_flags(parsed: Parsed) -> None:
    """Raise CommandError with Docker's text for a flag that does not go with ``--tree``."""
    for name in _EXCLUDED:
        if parsed.text("format") if name == "format" else parsed.on(name):
            shown = "show-digest" if name == "digests" else name
            raise CommandError(f"--{shown} is not yet supported with --tree")


async def show_tree(session: Session, filters: dict[str, list[str]], *, every: bool) -> int:
    """List images as trees; ``every`` shows those without a name too."""
    images = await session.client.images.list(all=every, filters=filters, manifests=True)
    if not every:
        images = [image for image in images if image.repo_tags or image.repo_digests]
    images.sort(key=lambda image: image.created, reverse=True)
    trees = [_tree(image) for image in images]
    width = max(session.console.size()[1] or _USUAL_WIDTH, _LEAST_WIDTH)
    session.console.out("\n".join(render(trees, width)) + "\n")
    return 0


def _tree(image: ImageSummary) -> _Tree:
    top = _Line(image.id, image.size, 0, image.containers > 0)
    tree = _Tree(sorted(image.repo_tags or (), key=len, reverse=True), top)
    for item in image.manifests if isinstance(image.manifests, list) else ():
        size = item.get("Size") or {}
        content, total = int(size.get("Content", 0)), int(size.get("Total", 0))
        top.content_bytes += content
        if item.get("Kind") == "image":
            data = item.get("ImageData") or {}
            line = _Line(str(item.get("ID", "")), total, content, bool(data.get("Containers")))
            top.is_used = top.is_used or line.is_used
            tree.children.append((_platform(data.get("Platform") or {}), line))
    return tree


def _platform(platform: dict[str, Any]) -> str:
    parts = [str(platform.get(key) or "") for key in ("os", "architecture", "variant")]
    return "/".join(part for part in parts if part) or "unknown"


def render(trees: Sequence[_Tree], width: int) -> list[str]:
    """Return the lines for a terminal of ``width`` columns."""
    columns, name_width = _fit(trees, width)
    lines = [_WARNING, _LEGEND.rjust(width), ""]
    titles = [title for title, _, _ in columns]
    lines.append(_line("IMAGE", titles, columns, name_width))
    has_children = any(tree.children for tree in trees)
    for tree in trees:
        lines += tree.names[:-1]
        lines.append(_line((tree.names or ["<untagged>"])[-1], tree.top.cells(), columns, name_width))
        for position, (platform, child) in enumerate(tree.children, 1):
            branch = "└─" if position == len(tree.children) else "├─"
            lines.append(_line(f"{branch} {platform}", child.cells(), columns, name_width))
        if has_children:
            lines.append("")
    return lines


def _fit(trees: Sequence[_Tree], width: int) -> tuple[list[tuple[str, int, bool]], int]:
    """Return the columns that have room, and the width of the first."""
    columns: list[tuple[str, int, bool]] = []
    left = width
    for column in _COLUMNS:
        if left - column[1] - _SPACING < _LEAST_NAME_WIDTH:
            break
        left -= column[1] + _SPACING
        columns.append(column)
    names = [name for tree in trees for name in tree.names]
    names += [f"└─ {platform}" for tree in trees for platform, _ in tree.children]
    return columns, min(left, max([len("Image"), *map(len, names)]))


def _line(name: str, cells: list[str], columns: list[tuple[str, int, bool]], name_width: int) -> str:
    parts = [_cut(name, name_width).ljust(name_width)]
    for cell, (_, width, is_right) in zip(cells, columns, strict=False):
        parts.append(_cut(cell, width).rjust(width) if is_right else _cut(cell, width).ljust(width))
    return (" " * _SPACING).join(parts)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
