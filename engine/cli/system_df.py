"""``system df``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from engine.cli.command import Command
from engine.cli.container_list import TITLES as CONTAINER_TITLES
from engine.cli.container_list import ContainerRow
from engine.cli.failures import CommandError
from engine.cli.flags import Flag, Parsed
from engine.cli.image_list import TITLES as IMAGE_TITLES
from engine.cli.image_list import ImageRow, is_dangling
from engine.cli.quantities import human_size, parse_rfc3339_ns, since
from engine.cli.references import try_reference
from engine.cli.table import columns, parse_format, render_rows, short_id
from engine.cli.template_parse import TemplateError
from engine.cli.template_run import Row
from engine.cli.volume import TITLES as VOLUME_TITLES
from engine.cli.volume import VolumeRow
from engine.model.base import given
from engine.model.image import ImageSummary
from engine.model.system import DiskUsage
from engine.model.volume import VolumeUsage

if TYPE_CHECKING:
    from engine.cli.session import Session

DEFAULT_TABLE = "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}"
TITLES = {"Type": "TYPE", "TotalCount": "TOTAL", "Active": "ACTIVE", "Size": "SIZE", "Reclaimable": "RECLAIMABLE"}
IMAGE_TABLE = (
    "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
    "\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}"
)
CONTAINER_TABLE = (
    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}"
)
VOLUME_TABLE = "{{.Name}}\t{{.Links}}\t{{.Size}}"
CACHE_TITLES = ("CACHE ID", "CACHE TYPE", "SIZE", "CREATED", "LAST USED", "USAGE", "SHARED")
ACTIVE_STATES = ("running", "paused", "restarting")


class UsageRow(Row):
    """One kind of thing and the disk that it takes; sizes in bytes."""

    type_name = "*formatter.diskUsageImagesContext"

    def __init__(self, kind: str, total: int, active: int, size_bytes: int, reclaimable_bytes: int) -> None:
        """``reclaimable_bytes`` is what a prune would free."""
        self._values = (kind, str(total), str(active))
        self._size_bytes = size_bytes
        self._reclaimable_bytes = reclaimable_bytes

    def reclaimable(self) -> str:
        """What a prune would free, and its share."""
        text = human_size(self._reclaimable_bytes)
        if self._size_bytes > 0:
            return f"{text} ({self._reclaimable_bytes * 100 // self._size_bytes}%)"
        return text

    fields: ClassVar = {
        "Type": lambda row: row._values[0],
        "TotalCount": lambda row: row._values[1],
        "Active": lambda row: row._values[2],
        "Size": lambda row: human_size(row._size_bytes),
        "Reclaimable": reclaimable,
    }


def usage_rows(usage: DiskUsage) -> list[UsageRow]:
    """Return the four lines of ``system df``."""
    images, containers, volumes = usage.images or [], usage.containers or [], usage.volumes or []
    used = sum(
        image.size - image.shared_size
        for image in images
        if image.containers != 0 and -1 not in (image.size, image.shared_size)
    )
    written = [(given(container.size_rw, 0), container.state in ACTIVE_STATES) for container in containers]
    measured = [volume.usage_data for volume in volumes if isinstance(volume.usage_data, VolumeUsage)]
    sizes = [(data.size, data.ref_count) for data in measured if data.size != -1]
    cache = usage.build_cache or []
    cache_bytes = sum(int(record.get("Size", 0)) for record in cache)
    kept = sum(int(record.get("Size", 0)) for record in cache if record.get("InUse") and not record.get("Shared"))
    return [
        UsageRow(
            "Images",
            len(images),
            sum(image.containers > 0 for image in images),
            usage.layers_size,
            usage.layers_size - used,
        ),
        UsageRow(
            "Containers",
            len(containers),
            sum(active for _, active in written),
            sum(size for size, _ in written),
            sum(size for size, active in written if not active),
        ),
        UsageRow(
            "Local Volumes",
            len(volumes),
            sum(data.ref_count > 0 for data in measured),
            sum(size for size, _ in sizes),
            sum(size for size, count in sizes if count == 0),
        ),
        UsageRow(
            "Build Cache",
            len(cache),
            sum(bool(record.get("InUse")) for record in cache),
            cache_bytes,
            cache_bytes - kept,
        ),
    ]


def _image_row(image: ImageSummary, *, is_short: bool) -> ImageRow:
    reference = None if is_dangling(image) or not image.repo_tags else try_reference(image.repo_tags[0])
    if reference is None:
        return ImageRow(image, "<none>", "<none>", "", is_short=is_short)
    return ImageRow(image, reference.familiar_name, reference.tag, "", is_short=is_short)


async def run_df(session: Session, parsed: Parsed) -> int:
    """Show disk usage."""
    usage = await session.client.system.df()
    source = parsed.text("format")
    if not parsed.on("verbose"):
        if source == "raw":
            source = "type: {{.Type}}\ntotal: {{.TotalCount}}\nactive: {{.Active}}\nsize: {{.Size}}\n"
            source += "reclaimable: {{.Reclaimable}}\n"
        session.console.out(render_rows(source, DEFAULT_TABLE, TITLES, usage_rows(usage)))
        return 0
    is_table = source in ("", "table")
    containers = usage.containers or []
    for container in containers:
        container.size_root_fs = 0
    images = [_image_row(image, is_short=is_table) for image in usage.images or ()]
    rows: dict[str, Sequence[Row]] = {
        "Images": images,
        "Containers": [ContainerRow(container, is_short=is_table) for container in containers],
        "Volumes": [VolumeRow(volume) for volume in usage.volumes or ()],
        "BuildCache": [],
    }
    if is_table:
        session.console.out(_verbose_tables(rows, usage))
    else:
        try:
            text = parse_format("{{json .}}" if source == "json" else source).render(dict(rows))
        except TemplateError as error:
            raise CommandError(f"template parsing error: {error}") from error
        session.out(text)
    return 0


def _cache_cells(usage: DiskUsage) -> list[list[str]]:
    cells = []
    for record in usage.build_cache or ():
        shown = [short_id(str(record.get("ID", ""))), str(record.get("Type", "")), human_size(record.get("Size", 0), 3)]
        for key in ("CreatedAt", "LastUsedAt"):
            moment_ns = parse_rfc3339_ns(str(record.get(key) or ""))
            shown.append("" if moment_ns is None else since(moment_ns / 10**9))
        cells.append([*shown, str(record.get("UsageCount", 0)), str(bool(record.get("Shared"))).lower()])
    return cells


def _verbose_tables(rows: dict[str, Sequence[Row]], usage: DiskUsage) -> str:
    cache_bytes = sum(int(record.get("Size", 0)) for record in usage.build_cache or ())
    return (
        "Images space usage:\n\n"
        + render_rows("", IMAGE_TABLE, IMAGE_TITLES, rows["Images"])
        + "\nContainers space usage:\n\n"
        + render_rows("", CONTAINER_TABLE, CONTAINER_TITLES, rows["Containers"])
        + "\nLocal Volumes space usage:\n\n"
        + render_rows("", VOLUME_TABLE, VOLUME_TITLES, rows["Volumes"])
        + f"\nBuild cache usage: {human_size(cache_bytes)}\n\n"
        + columns(CACHE_TITLES, _cache_cells(usage))
    )


COMMANDS = {
    "system df": Command(
        "[OPTIONS]",
        "Show how much disk Portside uses",
        run_df,
        (
            Flag("format", kind="string", usage="'table', 'table TEMPLATE', 'json' or a Go template"),
            Flag("verbose", "v", usage="Show each object"),
        ),
        max_args=0,
    ),
}
