"""``network ls``."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from engine.cli.command import Command
from engine.cli.filters import parse_filters
from engine.cli.flags import Flag, Parsed
from engine.cli.quantities import parse_rfc3339_ns
from engine.cli.table import render_rows
from engine.cli.template_run import Row
from engine.model.network import NetworkInspect

if TYPE_CHECKING:
    from engine.cli.session import Session

DEFAULT_TABLE = "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}"
TITLES = {
    "ID": "NETWORK ID",
    "Name": "NAME",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "IPv4": "IPV4",
    "IPv6": "IPV6",
    "Internal": "INTERNAL",
    "Labels": "LABELS",
    "CreatedAt": "CREATED AT",
}


def go_time(text: str) -> str:
    """Return a time in RFC 3339 as Go prints it: ``2026-01-02 03:04:05.6 +0000 UTC``."""
    if parse_rfc3339_ns(text) is None:
        return text
    day, _, rest = text.replace("t", "T").partition("T")
    if rest.endswith(("Z", "z")):
        return f"{day} {rest[:-1]} +0000 UTC"
    return f"{day} {rest[:-6]} {rest[-6:].replace(':', '')} {rest[-6:].replace(':', '')}"


class NetworkRow(Row):
    """One line of ``network ls``."""

    type_name = "*network.networkContext"

    def __init__(self, network: NetworkInspect, *, is_short: bool) -> None:
        """``is_short`` cuts IDs."""
        self._network = network
        self._is_short = is_short

    def labels(self) -> str:
        """The labels."""
        return ",".join(f"{name}={value}" for name, value in (self._network.labels or {}).items())

    def label(self, name: str) -> str:
        """One label, empty when it is not set."""
        return (self._network.labels or {}).get(name, "")

    fields: ClassVar = {
        "ID": lambda row: row._network.id[:12] if row._is_short else row._network.id,
        "Name": lambda row: row._network.name,
        "Driver": lambda row: row._network.driver,
        "Scope": lambda row: row._network.scope,
        "IPv4": lambda row: str(row._network.enable_ipv4).lower(),
        "IPv6": lambda row: str(row._network.enable_ipv6).lower(),
        "Internal": lambda row: str(row._network.internal).lower(),
        "Labels": labels,
        "CreatedAt": lambda row: go_time(row._network.created),
    }
    methods: ClassVar = {"Label": label}


async def run_ls(session: Session, parsed: Parsed) -> int:
    """List networks."""
    networks = await session.client.networks.list(parse_filters(parsed.items("filter")))
    rows = [NetworkRow(item, is_short=not parsed.on("no-trunc")) for item in sorted(networks, key=lambda n: n.name)]
    source, quiet = parsed.text("format"), parsed.on("quiet")
    if not source and not quiet:
        source = session.config.text("networksFormat")
    session.console.out(render_rows(source, DEFAULT_TABLE, TITLES, rows, quiet=quiet))
    return 0


COMMANDS = {
    "network ls": Command(
        "[OPTIONS]",
        "List networks",
        run_ls,
        (
            Flag("filter", "f", "filter", "Which to show (driver=bridge, name=web …)"),
            Flag("format", kind="string", usage="'table', 'table TEMPLATE', 'json' or a Go template"),
            Flag("no-trunc", usage="Cut nothing off"),
            Flag("quiet", "q", usage="Show only IDs"),
        ),
        max_args=0,
        aliases=("network ls", "network list"),
    ),
}
