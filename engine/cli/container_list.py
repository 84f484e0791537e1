"""``ps``, ``top`` and ``port``."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from engine.cli.command import Command
from engine.cli.failures import CommandError
from engine.cli.filters import parse_filters
from engine.cli.flags import Flag, Parsed
from engine.cli.port_display import display_ports, join_host_port
from engine.cli.quantities import human_size, local_time, since
from engine.cli.references import try_reference
from engine.cli.table import check_format, columns, ellipsis, go_quote, render_rows, short_id
from engine.cli.template_run import Row
from engine.model.base import given
from engine.model.inspect import ContainerSummary

if TYPE_CHECKING:
    from engine.cli.session import Session

DEFAULT_TABLE = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}"
RAW_FORMAT = (
    "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}\n"
    "state: {{- pad .State 1 0}}\nstatus: {{- pad .Status 1 0}}\nnames: {{.Names}}\nlabels: {{- pad .Labels 1 0}}\n"
    "ports: {{- pad .Ports 1 0}}\n"
)
TITLES = {
    "ID": "CONTAINER ID",
    "Names": "NAMES",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "CreatedAt": "CREATED AT",
    "RunningFor": "CREATED",
    "Ports": "PORTS",
    "State": "STATE",
    "Status": "STATUS",
    "Size": "SIZE",
    "Labels": "LABELS",
    "Mounts": "MOUNTS",
    "LocalVolumes": "LOCAL VOLUMES",
    "Networks": "NETWORKS",
    "Platform": "PLATFORM",
}
COMMAND_WIDTH = 20
MOUNT_WIDTH = 15


class ContainerRow(Row):
    """One line of ``ps``."""

    type_name = "*formatter.ContainerContext"

    def __init__(self, container: ContainerSummary, *, is_short: bool = True) -> None:
        """``is_short`` cuts IDs, commands and mounts."""
        self._container = container
        self._is_short = is_short
        self.wants_size = False

    def identifier(self) -> str:
        """The ID."""
        return short_id(self._container.id) if self._is_short else self._container.id

    def names(self) -> str:
        """The names, without the links' where there is a plain one."""
        names = [name.removeprefix("/") for name in self._container.names]
        if self._is_short:
            names = next(([name] for name in names if "/" not in name), names)
        return ",".join(names)

    def image(self) -> str:
        """The image as it was asked for."""
        image = self._container.image
        if not image:
            return "<no image>"
        if not self._is_short:
            return image
        if short_id(self._container.image_id) == short_id(image):
            return short_id(image)
        reference = try_reference(image)
        if reference is None:
            return image
        return f"{reference.familiar_name}:{reference.tag}" if reference.tag else reference.familiar_name

    def command(self) -> str:
        """The command in quotes."""
        command = self._container.command
        return go_quote(ellipsis(command, COMMAND_WIDTH) if self._is_short else command)

    def size(self) -> str:
        """What the container wrote, and with its image."""
        self.wants_size = True
        own, whole = given(self._container.size_rw, 0), given(self._container.size_root_fs, 0)
        text = human_size(own, 3)
        return f"{text} (virtual {human_size(whole, 3)})" if whole > 0 else text

    def labels(self) -> str:
        """The labels, sorted."""
        return ",".join(sorted(f"{name}={value}" for name, value in (self._container.labels or {}).items()))

    def label(self, name: str) -> str:
        """One label, empty when it is not set."""
        return (self._container.labels or {}).get(name, "")

    def mounts(self) -> str:
        """The names or sources of the mounts."""
        names = [given(mount.name, "") or mount.source for mount in self._container.mounts or ()]
        return ",".join(ellipsis(name, MOUNT_WIDTH) if self._is_short else name for name in names)

    def local_volumes(self) -> str:
        """The number of volumes."""
        return str(sum(mount.driver == "local" for mount in self._container.mounts or ()))

    def networks(self) -> str:
        """The networks' names."""
        return ",".join(sorted(self._container.network_settings.networks or {}))

    fields: ClassVar = {
        "ID": identifier,
        "Names": names,
        "Image": image,
        "Command": command,
        "CreatedAt": lambda row: local_time(row._container.created),
        "RunningFor": lambda row: since(row._container.created),
        "Ports": lambda row: display_ports(row._container.ports or ()),
        "State": lambda row: row._container.state,
        "Status": lambda row: row._container.status,
        "Size": size,
        "Labels": labels,
        "Mounts": mounts,
        "LocalVolumes": local_volumes,
        "Networks": networks,
        "Platform": lambda _row: None,
    }
    methods: ClassVar = {"Label": label}


async def run_ps(session: Session, parsed: Parsed) -> int:
    """List containers."""
    source, quiet, with_size = parsed.text("format"), parsed.on("quiet"), parsed.on("size")
    if not source:
        source = session.config.text("psFormat")
    elif quiet:
        session.err("WARNING: Ignoring custom format, because both --format and --quiet are set.")
    probe = ContainerRow(ContainerSummary(names=["/"], image="-"))
    check_format(source.removeprefix("table").strip().replace("\\t", "\t") if source != "raw" else "", probe)
    if source != "json" and probe.wants_size and not quiet and not parsed.is_set("size"):
        with_size = True
    limit = parsed.number("last")
    if parsed.on("latest") and limit == -1:
        limit = 1
    containers = await session.client.containers.list(
        all=parsed.on("all"), limit=limit, size=with_size, filters=parse_filters(parsed.items("filter"))
    )
    table = DEFAULT_TABLE + ("\t{{.Size}}" if with_size else "")
    if source == "raw":
        source = "container_id: {{.ID}}" if quiet else RAW_FORMAT + ("size: {{.Size}}\n" if with_size else "")
    elif quiet:
        source = ""
    rows = [ContainerRow(container, is_short=not parsed.on("no-trunc")) for container in containers]
    session.console.out(render_rows(source, table, TITLES, rows, quiet=quiet))
    return 0


async def run_top(session: Session, parsed: Parsed) -> int:
    """Show a container's processes."""
    answer = await session.client.containers.top(parsed.args[0], " ".join(parsed.args[1:]))
    session.console.out(columns(answer.titles, answer.processes, min_width=20))
    return 0


async def run_port(session: Session, parsed: Parsed) -> int:
    """Show a container's published ports."""
    container = await session.client.containers.inspect(parsed.args[0])
    ports = container.network_settings.ports or {}
    if len(parsed.args) > 1:
        number, _, protocol = parsed.args[1].partition("/")
        if not (number.isascii() and number.isdigit()):
            text = f'Error: invalid port ({number}): strconv.ParseUint: parsing "{number}": invalid syntax'
            raise CommandError(text)
        bindings = ports.get(f"{number}/{protocol or 'tcp'}")
        if not bindings:
            raise CommandError(f"Error: No public port '{parsed.args[1]}' published for {parsed.args[0]}")
        lines = [join_host_port(binding.host_ip, binding.host_port) for binding in bindings]
    else:
        lines = sorted(
            f"{port} -> {join_host_port(binding.host_ip, binding.host_port)}"
            for port, bindings in ports.items()
            for binding in bindings or ()
        )
    session.console.out("".join(f"{line}\n" for line in lines))
    return 0


COMMANDS = {
    "container ls": Command(
        "[OPTIONS]",
        "List containers",
        run_ps,
        (
            Flag("all", "a", usage="Show stopped ones too"),
            Flag("filter", "f", "filter", "Which to show (status=exited, name=web, label=a=b …)"),
            Flag("format", kind="string", usage="'table', 'table TEMPLATE', 'json' or a Go template"),
            Flag("last", "n", "int", "Show the last n that were created", default=-1),
            Flag("latest", "l", usage="Show the last one that was created"),
            Flag("no-trunc", usage="Cut nothing off"),
            Flag("quiet", "q", usage="Show only IDs"),
            Flag("size", "s", usage="Show sizes"),
        ),
        max_args=0,
        aliases=("container ls", "container list", "container ps", "ps"),
    ),
    "container port": Command(
        "CONTAINER [PRIVATE_PORT[/PROTO]]",
        "Show a container's published ports",
        run_port,
        min_args=1,
        max_args=2,
        aliases=("container port", "port"),
        completes="container",
    ),
    "container top": Command(
        "CONTAINER [ps OPTIONS]",
        "Show a container's processes",
        run_top,
        min_args=1,
        interspersed=False,
        aliases=("container top", "top"),
        completes="container",
    ),
}
