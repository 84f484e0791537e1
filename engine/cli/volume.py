"""``volume create``, ``ls``, ``rm``, ``prune`` and ``update``."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from engine.cli.command import Command
from engine.cli.container_life import for_each
from engine.cli.create_request import key_values
from engine.cli.failures import CommandError
from engine.cli.filters import parse_filters, prune_filters
from engine.cli.flags import Flag, Parsed
from engine.cli.network_values import check_label
from engine.cli.quantities import human_size
from engine.cli.table import render_rows
from engine.cli.template_run import Row
from engine.client.connection import parse_version
from engine.model.volume import Volume, VolumeCreateRequest, VolumeUsage

if TYPE_CHECKING:
    from engine.cli.session import Session

DEFAULT_TABLE = "{{.Driver}}\t{{.Name}}"
TITLES = {
    "Name": "VOLUME NAME",
    "Group": "GROUP",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "Availability": "AVAILABILITY",
    "Mountpoint": "MOUNTPOINT",
    "Labels": "LABELS",
    "Links": "LINKS",
    "Size": "SIZE",
    "Status": "STATUS",
}
PRUNES_ANONYMOUS_SINCE = (1, 42)


class VolumeRow(Row):
    """One line of ``volume ls``."""

    type_name = "*formatter.volumeContext"

    def __init__(self, volume: Volume) -> None:
        """Show a volume."""
        self._volume = volume

    def labels(self) -> str:
        """The labels."""
        return ",".join(f"{name}={value}" for name, value in (self._volume.labels or {}).items())

    def label(self, name: str) -> str:
        """One label, empty when it is not set."""
        return (self._volume.labels or {}).get(name, "")

    def links(self) -> str:
        """The number of containers that have it."""
        usage = self._volume.usage_data
        return str(usage.ref_count) if isinstance(usage, VolumeUsage) else "N/A"

    def size(self) -> str:
        """The size of its content."""
        usage = self._volume.usage_data
        return human_size(usage.size) if isinstance(usage, VolumeUsage) else "N/A"

    fields: ClassVar = {
        "Name": lambda row: row._volume.name,
        "Driver": lambda row: row._volume.driver,
        "Scope": lambda row: row._volume.scope,
        "Mountpoint": lambda row: row._volume.mountpoint,
        "Labels": labels,
        "Links": links,
        "Size": size,
        "Group": lambda _row: "N/A",
        "Availability": lambda _row: "N/A",
        "Status": lambda _row: "N/A",
    }
    methods: ClassVar = {"Label": label}


async def run_ls(session: Session, parsed: Parsed) -> int:
    """List volumes."""
    if parsed.on("cluster"):
        raise CommandError("cluster volumes are not supported")
    answer = await session.client.volumes.list(parse_filters(parsed.items("filter")))
    rows = [VolumeRow(volume) for volume in sorted(answer.volumes or (), key=lambda volume: volume.name)]
    source, quiet = parsed.text("format"), parsed.on("quiet")
    if not source and not quiet:
        source = session.config.text("volumesFormat")
    text = render_rows(source, DEFAULT_TABLE, TITLES, rows, quiet=quiet, quiet_format="{{.Name}}")
    session.console.out(text)
    for warning in answer.warnings or ():
        session.err(f"WARNING: {warning}")
    return 0


async def run_create(session: Session, parsed: Parsed) -> int:
    """Create a volume and print its name."""
    if any(parsed.is_set(flag.name) for flag in _CLUSTER_FLAGS):
        raise CommandError("cluster volumes are not supported", hint="they need a swarm: use a Docker engine in one")
    name = parsed.text("name")
    if parsed.args:
        if name:
            raise CommandError(
                "conflicting options: cannot specify a volume-name through both --name and as a positional arg"
            )
        name = parsed.args[0]
    request = VolumeCreateRequest(
        name=name,
        driver=parsed.text("driver"),
        driver_opts=key_values(parsed.items("opt")),
        labels=key_values(parsed.items("label")),
    )
    session.out((await session.client.volumes.create(request)).name)
    return 0


async def run_update(session: Session, parsed: Parsed) -> int:
    """Change a cluster volume, which an engine outside a swarm has none of."""
    volume = await session.client.volumes.inspect(parsed.args[0])
    cluster = volume.cluster_volume
    if not isinstance(cluster, dict):
        raise CommandError("can only update cluster volumes")
    spec = dict(cluster.get("Spec") or {})
    if parsed.is_set("availability"):
        spec["Availability"] = parsed.text("availability")
    version = (cluster.get("Version") or {}).get("Index", 0)
    await session.client.volumes.update(cluster.get("ID") or volume.name, version, spec)
    return 0


async def run_rm(session: Session, parsed: Parsed) -> int:
    """Remove volumes."""

    async def remove(name: str) -> None:
        await session.client.volumes.remove(name, force=parsed.on("force"))

    return await for_each(session, parsed.args, remove, passes_missing=parsed.on("force"))


async def prune_volumes(session: Session, filters: dict[str, list[str]]) -> tuple[int, str]:
    """Remove unused volumes; returns bytes and what is printed of it."""
    report = await session.client.volumes.prune(prune_filters(session, filters))
    if not report.volumes_deleted:
        return 0, ""
    return report.space_reclaimed, "Deleted Volumes:\n" + "".join(f"{name}\n" for name in report.volumes_deleted)


async def run_prune(session: Session, parsed: Parsed) -> int:
    """Remove unused volumes, after a question."""
    filters = parse_filters(parsed.items("filter"))
    version = parse_version(await session.client.negotiate()) or PRUNES_ANONYMOUS_SINCE
    which = "anonymous local volumes"
    if parsed.on("all") or version < PRUNES_ANONYMOUS_SINCE:
        which = "all local volumes"
    if parsed.on("all") and version >= PRUNES_ANONYMOUS_SINCE:
        if "all" in filters:
            raise CommandError("conflicting options: cannot specify both --all and --filter all=1")
        filters["all"] = ["true"]
    if not parsed.on("force"):
        question = (
            f"WARNING! This will remove {which} not used by at least one container.\nAre you sure you want to continue?"
        )
        if not session.console.confirm(question):
            raise CommandError("volume prune has been cancelled")
    size_bytes, text = await prune_volumes(session, filters)
    if text:
        session.out(text)
    session.out(f"Total reclaimed space: {human_size(size_bytes)}")
    return 0


_CLUSTER_FLAGS = tuple(
    Flag(name, kind=kind, is_hidden=True)
    for name, kind in (
        ("availability", "string"),
        ("group", "string"),
        ("limit-bytes", "string"),
        ("required-bytes", "string"),
        ("scope", "string"),
        ("secret", "list"),
        ("sharing", "string"),
        ("topology-preferred", "list"),
        ("topology-required", "list"),
        ("type", "string"),
    )
)

COMMANDS = {
    "volume ls": Command(
        "[OPTIONS]",
        "List volumes",
        run_ls,
        (
            Flag("cluster", is_hidden=True),
            Flag("filter", "f", "filter", "Which to show (dangling=true, name=data …)"),
            Flag("format", kind="string", usage="'table', 'table TEMPLATE', 'json' or a Go template"),
            Flag("quiet", "q", usage="Show only names"),
        ),
        max_args=0,
        aliases=("volume ls", "volume list"),
    ),
    "volume create": Command(
        "[OPTIONS] [VOLUME]",
        "Make a volume",
        run_create,
        (
            Flag("driver", "d", "string", "Driver of the volume", default="local"),
            Flag("label", kind="list", usage="Set labels", check=check_label),
            Flag("name", kind="string", is_hidden=True),
            Flag("opt", "o", "map", "Options of the driver"),
            *_CLUSTER_FLAGS,
        ),
        max_args=1,
    ),
    "volume rm": Command(
        "[OPTIONS] VOLUME [VOLUME...]",
        "Remove volumes",
        run_rm,
        (Flag("force", "f", usage="Do not mind when there is none"),),
        min_args=1,
        aliases=("volume rm", "volume remove"),
        completes="volume",
    ),
    "volume update": Command(
        "[OPTIONS] [VOLUME]",
        "Change a volume of a swarm (cluster volumes only)",
        run_update,
        (Flag("availability", kind="string", usage="'active', 'pause' or 'drain'", default="active"),),
        min_args=1,
        max_args=1,
        completes="volume",
    ),
    "volume prune": Command(
        "[OPTIONS]",
        "Remove unused volumes",
        run_prune,
        (
            Flag("all", "a", usage="Remove named ones too"),
            Flag("filter", kind="filter", usage="Which to remove (label=<label>)"),
            Flag("force", "f", usage="Do not ask"),
        ),
        max_args=0,
    ),
}
