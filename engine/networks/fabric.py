"""All that networks have in the kernel besides containers' own interfaces: bridges, the table, the watch over both.

Knows bridges and published ports, no network's record and no container. What is wanted at any time comes
from one function of its owner, so that whatever was lost is put back as it should be now.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine.errors import NotSupported, PortsideError
from engine.networks.addresses import Address
from engine.networks.coexistence import NFNLGRP_NFTABLES, Coexistence, is_foreign_change
from engine.networks.links import BridgePlan, Gathered, Interface, enable_ip_forwarding, ip_forwarding
from engine.networks.plumbing import Plumbing, Tools
from engine.networks.ports import PublishedPort
from engine.networks.ruleset import BridgeRules, build_removal, build_table
from engine.networks.wiring import Wiring
from engine.runtime.netlink import MulticastSocket, Network
from engine.runtime.nftables import NftablesError

_log = logging.getLogger(__name__)
_NETLINK_NETFILTER = 12
_SETTLE_S = 0.1
_CHECK_S = 30.0


@dataclass(frozen=True)
class BridgeSpec:
    """A network's bridge and its rules."""

    plan: BridgePlan
    rules: BridgeRules


@dataclass(frozen=True)
class Wanted:
    """What is to be in the kernel: bridges, published ports, and the containers' links by bridge."""

    bridges: tuple[BridgeSpec, ...] = ()
    ports: tuple[PublishedPort, ...] = ()
    veths: Mapping[str, Collection[str]] = field(default_factory=dict)

    @property
    def has_ipv6(self) -> bool:
        """Whether a bridge has IPv6."""
        return any(spec.plan.ipv6 for spec in self.bridges)


class Fabric:
    """The kernel's side of one engine's networks."""

    def __init__(self, table: str, wanted: Callable[[], Wanted], *, forwards: bool) -> None:
        """Touch nothing. ``forwards`` says that the engine may let the host forward packets."""
        self._table = table
        self._wanted = wanted
        self._forwards = forwards
        self._strangers: set[int] = set()
        self._plumbing = Plumbing(table)
        self._coexistence = Coexistence(f"portside:{table}")
        self._watch: MulticastSocket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._check: asyncio.Future[None] | None = None
        self._table_gone = False
        self._sweep: asyncio.Future[None] | None = None

    async def survey(self, bridge: str, own: Collection[str]) -> tuple[list[Interface], list[Network]]:
        """Return the addresses of a link and the networks that the host uses besides the bridges ``own``."""
        names = frozenset(own)
        return await self._plumbing.call(
            lambda tools: (tools.links.present_addresses(bridge), tools.links.foreign_networks(names))
        )

    async def put_in_place(self) -> Gathered:
        """Make bridges and rules as they should be; what belongs to no network and to no container goes.

        Returns what was too much and what is missing. Raises NotSupported or Unavailable when this host cannot.
        """
        self._watch_rules()
        wanted = self._wanted()
        found = await self._plumbing.call(lambda tools: self._install(tools, wanted))
        if found.strangers:
            stale = found.strangers
            self._sweep = asyncio.ensure_future(self._plumbing.call(lambda tools: _remove_links(tools, stale)))
            await asyncio.sleep(0)  # so that it comes before all that is asked for from now on
        self._check_later(_CHECK_S)
        return found

    def _install(self, tools: Tools, wanted: Wanted) -> Gathered:
        forwarded = self._enable_forwarding(ipv6=wanted.has_ipv6)
        tools.links.remove_bridges_but(spec.plan.name for spec in wanted.bridges)
        for number, spec in enumerate(wanted.bridges):
            try:
                tools.links.ensure(spec.plan)
            except PortsideError as error:
                if not number:  # without the first one, the default bridge, nothing works
                    raise
                # Its containers cannot start, as the error of their start will say; the rest goes on.
                _log.warning("network of bridge %s is not in place: %s", spec.plan.name, error.message)
        self._replace_table(tools, wanted)
        for family in forwarded:
            self._coexistence.close_forwarding(tools.nftables, family)
        self._let_through(tools, wanted)
        return tools.links.gather(wanted.veths)

    def _replace_table(self, tools: Tools, wanted: Wanted) -> None:
        try:
            tools.nftables.run(build_table(self._table, [spec.rules for spec in wanted.bridges], wanted.ports))
        except NftablesError as error:
            raise NotSupported(
                f"the kernel does not take the firewall's rules: {error.message}",
                hint="it needs nf_tables with nat, masquerade, fib and conntrack for family inet",
            ) from error

    def _let_through(self, tools: Tools, wanted: Wanted) -> None:
        families = ("ip", "ip6") if wanted.has_ipv6 else ("ip",)
        self._coexistence.ensure(tools.nftables, [spec.plan.name for spec in wanted.bridges], families)

    def _enable_forwarding(self, *, ipv6: bool) -> list[str]:
        if not self._forwards:
            return []
        switched: list[str] = []
        for version, family in ((4, "ip"), (6, "ip6")):
            if (version == 4 or ipv6) and not ip_forwarding(version):
                enable_ip_forwarding(version)
                switched.append(family)
        return switched

    # Networks come and go

    async def add(self, spec: BridgeSpec) -> None:
        """Make a bridge that ``wanted`` names by now, and its rules; nothing of it stays when that fails."""
        wanted = self._wanted()
        await self._plumbing.call(lambda tools: self._add(tools, spec, wanted))

    def _add(self, tools: Tools, spec: BridgeSpec, wanted: Wanted) -> None:
        forwarded = self._enable_forwarding(ipv6=spec.plan.ipv6)
        tools.links.ensure(spec.plan)
        try:
            self._replace_table(tools, wanted)
        except PortsideError:
            tools.links.remove_bridge(spec.plan.name)
            raise
        for family in forwarded:
            self._coexistence.close_forwarding(tools.nftables, family)
        self._let_through(tools, wanted)

    async def remove(self, spec: BridgeSpec) -> None:
        """Take away a bridge, if it was made here, and its rules; ``wanted`` names it no more."""
        wanted = self._wanted()
        await self._plumbing.call(lambda tools: self._take_away(tools, spec, wanted))

    def _take_away(self, tools: Tools, spec: BridgeSpec, wanted: Wanted) -> None:
        tools.links.remove_bridge(spec.plan.name)
        self._replace_table(tools, wanted)
        self._let_through(tools, wanted)

    async def work(self, work: Callable[[Tools], None]) -> None:
        """Run something else in the thread of links, in order with all else."""
        await self._plumbing.call(work)

    # Containers

    async def connect(self, wirings: Sequence[Wiring], ports: Sequence[PublishedPort], given: int = -1) -> int:
        """Make a wired namespace with its ports published; return a descriptor that the caller closes.

        ``given`` is a descriptor of an empty namespace that is to be used.
        """
        return await self._plumbing.connect(wirings, ports, given)

    async def attach(self, namespace: Path, wiring: Wiring, routes: Sequence[tuple[Address, Address]]) -> None:
        """Give a running container one more interface and these default routes."""
        await self._plumbing.call(lambda tools: tools.wirer.attach(namespace, wiring, routes))

    async def detach(self, namespace: Path, wiring: Wiring, routes: Sequence[tuple[Address, Address]]) -> None:
        """Take an interface from a running container and leave it these default routes."""
        await self._plumbing.call(lambda tools: tools.wirer.detach(namespace, wiring, routes))

    async def mend(self, namespace: Path, wirings: Sequence[Wiring], routes: Sequence[tuple[Address, Address]]) -> None:
        """Give a running container back what of its interfaces and default routes is missing."""
        await self._plumbing.call(lambda tools: tools.wirer.mend(namespace, wirings, routes))

    async def unplug(self, veths: Sequence[str]) -> None:
        """Remove a container's links although its namespace lives on: other containers have joined it."""
        await self._plumbing.call(lambda tools: _remove_named(tools, veths))

    async def publish(self, ports: Sequence[PublishedPort]) -> None:
        """Put ports into the rules."""
        await self._plumbing.publish(ports)

    def unpublish(self, ports: Sequence[PublishedPort]) -> None:
        """Take ports out of the rules with the next transaction."""
        self._plumbing.unpublish(ports)

    async def aclose(self, *, keep: bool) -> None:
        """Stop watching; unless containers still need them, remove rules and bridges."""
        if self._timer is not None:
            self._timer.cancel()
        if self._watch is not None:
            asyncio.get_running_loop().remove_reader(self._watch)
            self._watch.close()
            self._watch = None
        for task in (self._check, self._sweep):
            if task is not None:
                await asyncio.wait([task])
        await self._plumbing.drain()
        if not keep:
            await self._plumbing.call(self._remove_all)
        await self._plumbing.aclose()

    def _remove_all(self, tools: Tools) -> None:
        tools.nftables.run(build_removal(self._table))
        self._coexistence.remove(tools.nftables)
        tools.links.remove_bridges_but(())

    # The watch

    def _watch_rules(self) -> None:
        self._watch = MulticastSocket(_NETLINK_NETFILTER, [NFNLGRP_NFTABLES])
        asyncio.get_running_loop().add_reader(self._watch, self._hear)

    def _hear(self) -> None:
        foreign = gone = False
        while self._watch is not None:
            answers = self._watch.receive()
            if answers == []:
                break
            other, own = is_foreign_change(answers, self._table)
            foreign, gone = foreign or other, gone or own
        self._table_gone = self._table_gone or gone
        if foreign or gone:
            self._check_later(_SETTLE_S)

    def _check_later(self, delay_s: float) -> None:
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            if self._timer.when() <= loop.time() + delay_s:  # sooner already
                return
            self._timer.cancel()
        self._timer = loop.call_later(delay_s, self._begin_check)

    def _begin_check(self) -> None:
        self._timer = None
        if self._check is None or self._check.done():
            self._check = asyncio.ensure_future(self.check_rules())
        else:
            self._check_later(_SETTLE_S)

    async def check_rules(self) -> None:
        """Put back what somebody removed of our table and of our rules in other chains."""
        gone, self._table_gone = self._table_gone, False
        wanted = self._wanted()
        try:
            await self._plumbing.call(lambda tools: self._restore_rules(tools, wanted, gone=gone))
        except PortsideError as error:
            _log.warning("the rules could not be checked: %s", error.message)
        if self._watch is not None:
            self._check_later(_CHECK_S)

    def _restore_rules(self, tools: Tools, wanted: Wanted, *, gone: bool) -> None:
        # Our own replacing of the table is announced as its deletion, so it is looked for first.
        if gone and not tools.nftables.has_table(self._table):
            _log.warning("the table of rules was deleted by somebody: it is put back")
            self._replace_table(tools, wanted)
        self._let_through(tools, wanted)
        # The kernel removes a container's link by and by: only what is still there at the next look is a stray.
        found = set(tools.links.gather(wanted.veths).strangers)
        _remove_links(tools, found & self._strangers)
        self._strangers = found - self._strangers


def _remove_links(tools: Tools, indexes: Iterable[int]) -> None:
    for index in indexes:
        tools.links.remove_link(index)


def _remove_named(tools: Tools, names: Iterable[str]) -> None:
    for name in names:
        tools.links.remove_named(name)
