"""``stats``: what containers use, read from the engine's stream and drawn again each second."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

from engine.cli.attach_pump import beside
from engine.cli.command import Command
from engine.cli.flags import Flag, Parsed
from engine.cli.quantities import human_size, human_size_binary
from engine.cli.table import render_rows, short_id
from engine.cli.template_run import Row
from engine.errors import NotFound, PortsideError

if TYPE_CHECKING:
    from engine.cli.session import Session

DEFAULT_TABLE = "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}"
TITLES = {
    "Container": "CONTAINER",
    "Name": "NAME",
    "ID": "CONTAINER ID",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "NetIO": "NET I/O",
    "BlockIO": "BLOCK I/O",
    "PIDs": "PIDS",
}
REDRAW_INTERVAL_S = 0.5


class StatsRow(Row):
    """One container's line; ``sample`` is the engine's latest JSON, None before the first."""

    type_name = "*container.statsContext"

    def __init__(self, ref: str, *, is_short: bool = True) -> None:
        """``ref`` is what the user typed, ``is_short`` whether the ID is cut off."""
        self.ref = ref
        self.sample: dict[str, Any] | None = None
        self.failure: PortsideError | None = None
        self.is_short = is_short

    def number(self, *path: str) -> float:
        """Return a number of the sample, 0 where it is not."""
        value: Any = self.sample or {}
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return float(value or 0)

    def cpu(self) -> float:
        """Per cent of one CPU since the sample before."""
        used = self.number("cpu_stats", "cpu_usage", "total_usage") - self.number(
            "precpu_stats", "cpu_usage", "total_usage"
        )
        whole = self.number("cpu_stats", "system_cpu_usage") - self.number("precpu_stats", "system_cpu_usage")
        cpus = self.number("cpu_stats", "online_cpus") or 1.0
        return used / whole * cpus * 100 if used > 0 and whole > 0 else 0.0

    def memory(self) -> float:
        """Bytes in use without the page cache that can be given back."""
        usage = self.number("memory_stats", "usage")
        for key in ("total_inactive_file", "inactive_file"):
            cache = self.number("memory_stats", "stats", key)
            if 0 < cache < usage:
                return usage - cache
        return usage

    def memory_percent(self) -> float:
        """Per cent of the limit."""
        limit = self.number("memory_stats", "limit")
        return self.memory() / limit * 100 if limit else 0.0

    def network(self) -> tuple[float, float]:
        """Bytes received and sent."""
        networks = list(((self.sample or {}).get("networks") or {}).values())
        return sum(item.get("rx_bytes", 0) for item in networks), sum(item.get("tx_bytes", 0) for item in networks)

    def block(self) -> tuple[float, float]:
        """Bytes read and written."""
        entries = ((self.sample or {}).get("blkio_stats") or {}).get("io_service_bytes_recursive") or []
        sums = {"r": 0.0, "w": 0.0}
        for entry in entries:
            first = str(entry.get("op", ""))[:1].lower()
            if first in sums:
                sums[first] += entry.get("value", 0)
        return sums["r"], sums["w"]

    def name(self) -> str:
        """The container's name."""
        return str((self.sample or {}).get("name") or "--").removeprefix("/")

    def identifier(self) -> str:
        """The container's ID."""
        identifier = str((self.sample or {}).get("id") or "")
        return (short_id(identifier) if self.is_short else identifier) or "--"

    def _or_dashes(self, text: str) -> str:
        return text if self.sample is not None else "--"

    fields: ClassVar = {
        "Container": lambda row: row.ref,
        "Name": name,
        "ID": identifier,
        "CPUPerc": lambda row: row._or_dashes(f"{row.cpu():.2f}%"),
        "MemUsage": lambda row: (
            f"{human_size_binary(row.memory())} / {human_size_binary(row.number('memory_stats', 'limit'))}"
            if row.sample is not None
            else "-- / --"
        ),
        "MemPerc": lambda row: row._or_dashes(f"{row.memory_percent():.2f}%"),
        "NetIO": lambda row: row._or_dashes(" / ".join(human_size(size, 3) for size in row.network())),
        "BlockIO": lambda row: row._or_dashes(" / ".join(human_size(size, 3) for size in row.block())),
        "PIDs": lambda row: row._or_dashes(str(int(row.number("pids_stats", "current")))),
    }


async def run_stats(session: Session, parsed: Parsed) -> int:
    """Show statistics once, or until it is interrupted; without names also of what starts meanwhile."""
    rows = {ref: StatsRow(ref, is_short=not parsed.on("no-trunc")) for ref in parsed.args}
    if parsed.on("no-stream"):
        if not parsed.args:
            listed = await session.client.containers.list(all=parsed.on("all"))
            rows = {item.id: StatsRow(item.id, is_short=not parsed.on("no-trunc")) for item in listed}
        async with asyncio.TaskGroup() as group:
            for row in rows.values():
                group.create_task(_follow(session, row, is_stream=False))
        _raise_failure(rows)
        session.console.out(_text(parsed, rows))
        return 0
    async with beside(_follow_named(session, rows) if rows else _follow_all(session, parsed, rows)) as work:
        while not work.done():
            await asyncio.wait((work,), timeout=REDRAW_INTERVAL_S)
            _raise_failure(rows)
            session.console.out("\x1b[H\x1b[J" + _text(parsed, rows))
        work.result()
    return 0


async def _follow_named(session: Session, rows: dict[str, StatsRow]) -> None:
    await asyncio.gather(*(_follow(session, row, is_stream=True) for row in rows.values()))


async def _follow_all(session: Session, parsed: Parsed, rows: dict[str, StatsRow]) -> None:
    """Follow what runs, with ``--all`` what there is; what starts comes in, what ends goes."""
    try:
        await _follow_events(session, parsed, rows)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def _follow_events(session: Session, parsed: Parsed, rows: dict[str, StatsRow]) -> None:
    is_all = parsed.on("all")
    followers: dict[str, asyncio.Task[None]] = {}

    def leave(container_id: str) -> None:
        rows.pop(container_id, None)
        if task := followers.pop(container_id, None):
            task.cancel()

    async with asyncio.TaskGroup() as group:

        def enter(container_id: str) -> None:
            if container_id not in rows:
                row = rows[container_id] = StatsRow(container_id, is_short=not parsed.on("no-trunc"))
                followers[container_id] = group.create_task(_follow(session, row, is_stream=True))

        # Events first: nothing that starts between the two is missed.
        async with session.client.system.events(filters={"type": ["container"]}) as events:
            for item in await session.client.containers.list(all=is_all):
                enter(item.id)
            async for event in events:
                if event.action == "start" or (is_all and event.action == "create"):
                    enter(event.actor.id)
                elif event.action == "destroy" or (not is_all and event.action == "die"):
                    leave(event.actor.id)
        for task in followers.values():
            task.cancel()


async def _follow(session: Session, row: StatsRow, *, is_stream: bool) -> None:
    try:
        async with session.client.containers.stats(row.ref, stream=is_stream) as stream:
            async for sample in stream:
                row.sample = sample
    except PortsideError as error:
        row.failure = error


def _raise_failure(rows: dict[str, StatsRow]) -> None:
    """Raise why a container gives no statistics, unless it only went away meanwhile."""
    for row in rows.values():
        if row.failure is not None and not (row.sample is not None and isinstance(row.failure, NotFound)):
            raise row.failure


def _text(parsed: Parsed, rows: dict[str, StatsRow]) -> str:
    return render_rows(parsed.text("format"), DEFAULT_TABLE, TITLES, list(rows.values()))


COMMANDS = {
    "container stats": Command(
        "[OPTIONS] [CONTAINER...]",
        "Show what containers use, live",
        run_stats,
        (
            Flag("all", "a", usage="Show stopped ones too"),
            Flag("format", kind="string", usage="'table', 'table TEMPLATE', 'json' or a Go template"),
            Flag("no-stream", usage="Show it once"),
            Flag("no-trunc", usage="Cut nothing off"),
        ),
        aliases=("container stats", "stats"),
        completes="container",
    ),
}
