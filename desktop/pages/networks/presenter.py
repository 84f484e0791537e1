"""What the Networks page does: rows, the check of a new subnet, making, deleting, connecting. Without Qt."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Protocol

from desktop.messages import explain
from desktop.pages.presenting import Doing, Notify, Run
from desktop.state.picture import Picture
from desktop.state.spans import age_text
from engine.errors import PortsideError
from engine.model.network import IPAM, IPAMConfig, NetworkCreateRequest, NetworkInspect

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
BUILT_IN = ("bridge", "host", "none", "podman")

Subnet = IPv4Network | IPv6Network


class NetworkActions(Protocol):
    """What the presenter asks of an engine."""

    async def create(self, request: NetworkCreateRequest) -> None:
        """Make a network."""

    async def remove(self, ref: str) -> None:
        """Remove a network."""

    async def connect(self, ref: str, container: str) -> None:
        """Connect a container."""

    async def disconnect(self, ref: str, container: str) -> None:
        """Take a container off a network."""

    async def inspect(self, ref: str) -> bytes:
        """Return the engine's own JSON of a network."""


@dataclass(frozen=True)
class Member:
    """A container on a network."""

    id: str
    name: str
    address: str
    is_running: bool


@dataclass(frozen=True)
class NetworkRow:
    """One network as the table shows it."""

    id: str
    name: str
    driver: str
    subnets: tuple[str, ...]
    members: tuple[Member, ...]
    is_internal: bool
    created_s: float
    age: str
    busy: str = ""

    @property
    def is_built_in(self) -> bool:
        """Whether the engine makes it by itself, so that it cannot be deleted."""
        return self.name in BUILT_IN

    @property
    def subnets_text(self) -> str:
        """Its subnets."""
        return ", ".join(self.subnets)

    @property
    def members_text(self) -> str:
        """Who is on it."""
        return ", ".join(member.name for member in self.members)

    @property
    def told_kind(self) -> str:
        """What the kind's pill says."""
        if self.busy:
            return f"{self.busy}…"
        return "built in" if self.is_built_in else "internal" if self.is_internal else self.driver


class NetworksPresenter:
    """Rows and actions of the page."""

    def __init__(
        self,
        picture: Picture,
        actions: Callable[[], NetworkActions],
        run: Run,
        notify: Notify,
        clock: Callable[[], float],
    ) -> None:
        """``actions`` is asked for at each use, since the engine may change."""
        self._picture = picture
        self._actions = actions
        self._run = run
        self._notify = notify
        self._clock = clock
        self.doing = Doing(run, notify)

    def rows(self, text: str = "") -> list[NetworkRow]:
        """Return the rows that fit a search."""
        members = self._members()
        words = text.lower().split()
        now = self._clock()
        found = []
        for item in self._picture.networks.values():
            created = _seconds(item.created)
            row = NetworkRow(
                id=item.id,
                name=item.name,
                driver=item.driver,
                subnets=subnets_of(item),
                members=tuple(sorted(members.get(item.name, []), key=lambda member: member.name)),
                is_internal=item.internal,
                created_s=created,
                age=age_text(max(0.0, now - created)) if created > 0 else "",
                busy=self.doing.of(item.id),
            )
            haystack = f"{row.name} {row.driver} {row.subnets_text} {row.members_text} {row.id}".lower()
            if all(word in haystack for word in words):
                found.append(row)
        return found

    def _members(self) -> dict[str, list[Member]]:
        """Return the containers of each network by its name, as the containers' own list has them."""
        found: dict[str, list[Member]] = {}
        for container in self._picture.containers.values():
            name = (container.names or ["/?"])[0].lstrip("/")
            for network, endpoint in (container.network_settings.networks or {}).items():
                member = Member(container.id, name, endpoint.ip_address or "", container.state == "running")
                found.setdefault(network, []).append(member)
        return found

    def name_problem(self, name: str) -> str:
        """Return what is wrong with a new network's name, "" for nothing."""
        if not name:
            return "A network needs a name."
        if not _NAME.fullmatch(name):
            return "Letters, digits, _ . and - are allowed, and it begins with a letter or a digit."
        if any(item.name == name for item in self._picture.networks.values()):
            return f"There is a network {name} already."
        return ""

    def subnet_problem(self, text: str) -> str:
        """Return what is wrong with a subnet, "" for nothing; an empty one is chosen by the engine."""
        if not text:
            return ""
        subnet = parse_subnet(text)
        if subnet is None:
            return "A subnet is an address and the length of its prefix, such as 10.20.0.0/24."
        if subnet.num_addresses < 4:
            return "There is no room for containers in it: give a prefix of 30 or less."
        for item in self._picture.networks.values():
            for other in map(parse_subnet, subnets_of(item)):
                if other is not None and other.version == subnet.version and other.overlaps(subnet):
                    return f"It overlaps with {other} of the network {item.name}."
        return ""

    def gateway_problem(self, text: str, subnet_text: str) -> str:
        """Return what is wrong with a gateway in a subnet, "" for nothing."""
        if not text:
            return ""
        subnet = parse_subnet(subnet_text)
        if subnet is None:
            return "A gateway needs a subnet."
        try:
            address = ip_address(text)
        except ValueError:
            return "A gateway is an address, such as 10.20.0.1."
        return "" if address in subnet else f"It is not in {subnet}."

    def create(self, name: str, driver: str, subnet: str, gateway: str, *, internal: bool, ipv6: bool) -> None:
        """Make a network; what was typed was checked."""
        config = []
        if subnet:
            config = [IPAMConfig(subnet=str(parse_subnet(subnet)))]
            if gateway:
                config[0].gateway = gateway
        request = NetworkCreateRequest(name=name, driver=driver, internal=internal, enable_ipv6=ipv6)
        if config:
            request.ipam = IPAM(config=config)

        async def work() -> None:
            await self._actions().create(request)

        self.doing.start(f"\0new {name}", "Making", f"make the network {name}", work)

    def unused(self) -> list[NetworkRow]:
        """Return the networks of a person's own that no container is on."""
        return [row for row in self.rows() if not row.members and not row.is_built_in]

    def remove(self, rows: list[NetworkRow]) -> None:
        """Remove networks: the question was asked before."""
        for row in rows:

            async def work(ref: str = row.id) -> None:
                await self._actions().remove(ref)

            self.doing.start(row.id, "Deleting", f"delete the network {row.name}", work, may_be_gone=True)

    def connectable(self, row: NetworkRow) -> list[Member]:
        """Return the containers that are not on a network yet, by name."""
        here = {member.id for member in row.members}
        found = [
            Member(item.id, (item.names or ["/?"])[0].lstrip("/"), "", item.state == "running")
            for item in self._picture.containers.values()
            if item.id not in here
        ]
        return sorted(found, key=lambda member: member.name)

    def connect(self, row: NetworkRow, member: Member) -> None:
        """Connect a container to a network."""

        async def work() -> None:
            await self._actions().connect(row.id, member.id)

        self.doing.start(f"{row.id} {member.id}", "Connecting", f"connect {member.name} to {row.name}", work)

    def disconnect(self, row: NetworkRow, member: Member) -> None:
        """Take a container off a network."""

        async def work() -> None:
            await self._actions().disconnect(row.id, member.id)

        self.doing.start(f"{row.id} {member.id}", "Disconnecting", f"take {member.name} off {row.name}", work)

    def inspect(self, row: NetworkRow, show: Callable[[bytes], None]) -> None:
        """Read a network's own JSON and show it."""

        async def work() -> None:
            try:
                show(await self._actions().inspect(row.id))
            except PortsideError as error:
                self._notify(explain(f"inspect {row.name}", error), "error")

        self._run(work())


def subnets_of(item: NetworkInspect) -> tuple[str, ...]:
    """Return a network's subnets."""
    return tuple(config.subnet for config in item.ipam.config or () if isinstance(config.subnet, str) and config.subnet)


def parse_subnet(text: str) -> Subnet | None:
    """Return a subnet, None for a text that is none."""
    try:
        return ip_network(text, strict=False) if "/" in text else None
    except ValueError:
        return None


def _seconds(stamp: str) -> float:
    try:
        return datetime.fromisoformat(stamp).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def question_about_removal(rows: list[NetworkRow]) -> tuple[str, str]:
    """Return title and text of the question before networks are deleted."""
    title = f"Delete the network {rows[0].name}?" if len(rows) == 1 else f"Delete {len(rows)} networks?"
    lines = [
        f"• {row.name}" + (f"  ({row.subnets_text})" if row.subnets else "")
        + (f"  — {row.members_text} on it, stays" if row.members else "")
        for row in rows
    ]  # fmt: skip
    shown = lines[:10] + ([f"… and {len(lines) - 10} more"] if len(lines) > 10 else [])
    return title, "\n".join(shown)
