"""The host's links: bridges, what is plugged into them, and the addresses in use. Blocking calls.

Knows addresses and names, no container. Called in one thread of the network manager (``plumbing.py``);
every function raises the kinds of ``engine.errors``. A bridge of ours is known by its name and its MAC
address, which it has from its creation on: whatever dies, no other engine's bridge is taken for ours.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path

from engine.errors import Internal, NotSupported, PortsideError, Unavailable
from engine.runtime import netlink

Interface = IPv4Interface | IPv6Interface
PROC_NET = Path("/proc/sys/net")


@dataclass(frozen=True)
class BridgePlan:
    """What a bridge is to be: exactly these addresses (link-local ones aside); ``mtu`` 0 is the kernel's."""

    name: str
    addresses: tuple[Interface, ...]
    mtu: int = 0
    ipv6: bool = False


@dataclass(frozen=True)
class Gathered:
    """What is at the bridges besides containers' links, by index, and which of these are not there, by name."""

    strangers: tuple[int, ...] = ()
    missing: frozenset[str] = frozenset()


class Links:
    """The links of the namespace that the calling thread is in."""

    def __init__(self, instance: str) -> None:
        """Open a socket; ``instance`` tells the bridges of this engine from those of others."""
        self.socket = netlink.NetlinkSocket()
        self._instance = instance
        self._indexes: dict[str, int] = {}

    def close(self) -> None:
        """Close the socket; all links stay."""
        self.socket.close()

    # What there is

    def present_addresses(self, name: str) -> list[Interface]:
        """Return the addresses that a link has; [] when there is none."""
        link = self.socket.link(name)
        if link is None:
            return []
        return [address for index, address in self.socket.addresses() if index == link.index]

    def foreign_networks(self, own: Collection[str]) -> list[netlink.Network]:
        """Return the networks that the host uses besides links of these names, default routes left out."""
        indexes = {link.index for link in self.socket.links() if link.name in own}
        found = [route for route, index in self.socket.routes() if index not in indexes and route.prefixlen > 0]
        return found + [address.network for index, address in self.socket.addresses() if index not in indexes]

    def index(self, name: str) -> int:
        """Return the index of a bridge; raises Internal when it has gone."""
        found = self._indexes.get(name)
        return found if found is not None else self.refresh(name)

    def refresh(self, name: str) -> int:
        """Look a link up anew: somebody may have deleted it and the watch made it again."""
        link = self.socket.link(name)
        if link is None:
            self._indexes.pop(name, None)
            raise Internal(f"adding interface to bridge {name} failed: Link not found")
        self._indexes[name] = link.index
        return link.index

    # Bridges

    def ensure(self, plan: BridgePlan) -> None:
        """Make the bridge if there is none, give it its addresses, set it up.

        A bridge of that name that somebody else made is taken as it is but for its addresses, and never deleted.
        """
        created = True
        try:
            self.socket.request(netlink.build_bridge(plan.name, bridge_mac(self._instance, plan.name), plan.mtu))
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                raise NotSupported(
                    "the kernel has no bridges", hint="load or enable the kernel's module `bridge`"
                ) from error
            if error.errno != errno.EEXIST:
                raise translate(error, f"cannot make bridge {plan.name}") from error
            created = False
        link = self.socket.link(plan.name)
        if link is None or link.kind != "bridge":
            raise Internal(
                f"existing interface {plan.name} is not a bridge",
                hint=f"remove it (ip link delete {plan.name}) or choose another name for the bridge",
            )
        self._indexes[plan.name] = link.index
        try:
            self._set_up(plan, link.index, present=[] if created else self.present_addresses(plan.name))
        except (OSError, PortsideError) as error:
            if created:
                self.remove_link(link.index)
                self._indexes.pop(plan.name, None)
            if isinstance(error, OSError):
                raise translate(error, f"cannot set up bridge {plan.name}") from error
            raise

    def _set_up(self, plan: BridgePlan, index: int, *, present: Sequence[Interface]) -> None:
        changes = [
            netlink.build_address(index, address, delete=True)
            for address in present
            if address not in plan.addresses and not address.is_link_local
        ]
        changes += [netlink.build_address(index, address) for address in plan.addresses if address not in present]
        self._write_settings(plan)
        self.socket.request(*changes, netlink.build_link_up(index, mtu=plan.mtu))

    def _write_settings(self, plan: BridgePlan) -> None:
        # Without route_localnet the kernel drops what is published on 127.0.0.1 as martian; the chain
        # `guard` keeps containers from using it to reach the host's loopback.
        write(PROC_NET / "ipv4/conf" / plan.name / "route_localnet", "1", needed=True)
        inet6 = PROC_NET / "ipv6/conf" / plan.name
        if plan.ipv6:
            if not inet6.is_dir():
                raise NotSupported("the kernel has no IPv6", hint="enable IPv6 on this host")
            write(inet6 / "disable_ipv6", "0", needed=True)
            write(inet6 / "accept_ra", "0", needed=False)
            # Nobody else gives out addresses here, and waiting for duplicates keeps neighbours silent for 2 s.
            write(inet6 / "accept_dad", "0", needed=False)

    def gather(self, ports: Mapping[str, Collection[str]]) -> Gathered:
        """Plug the links in ``ports`` (by bridge) in again where they are not; return what is too much or missing.

        Only ports of veth pairs are too much: what an administrator plugged in stays.
        """
        links = self.socket.links()
        bridges = {link.name: link.index for link in links if link.name in ports}
        self._indexes.update(bridges)
        home = {name: bridge for bridge, names in ports.items() for name in names}
        strangers: list[int] = []
        missing = set(home)
        for link in links:
            missing.discard(link.name)
            bridge = home.get(link.name)
            if bridge is not None and bridge in bridges:
                if link.master != bridges[bridge]:
                    with suppress(OSError):
                        self.socket.request(netlink.build_master(link.index, bridges[bridge]))
            elif link.kind == "veth" and link.name.startswith("veth") and link.master in bridges.values():
                strangers.append(link.index)
        return Gathered(tuple(strangers), frozenset(missing))

    def remove_link(self, index: int) -> None:
        """Delete a link (20 to 30 ms); one that is gone is no error."""
        with suppress(OSError):
            self.socket.request(netlink.build_link_delete(index))

    def remove_named(self, name: str) -> None:
        """Delete a link by its name; one that is gone is no error."""
        link = self.socket.link(name)
        if link is not None:
            self.remove_link(link.index)

    def remove_bridge(self, name: str) -> None:
        """Delete a bridge if this engine made it; none is no error."""
        link = self.socket.link(name)
        self._indexes.pop(name, None)
        if link is not None and self._is_ours(link):
            self.remove_link(link.index)

    def remove_bridges_but(self, names: Iterable[str]) -> None:
        """Delete all bridges that this engine made and that belong to no network any more."""
        wanted = set(names)
        for link in self.socket.links():
            if link.name not in wanted and self._is_ours(link):
                self.remove_link(link.index)

    def _is_ours(self, link: netlink.Link) -> bool:
        return link.kind == "bridge" and link.mac == bridge_mac(self._instance, link.name)


def bridge_mac(instance: str, name: str) -> str:
    """Return the MAC address of an engine's bridge: fixed, so that it does not follow its ports, and telling."""
    digest = hashlib.sha256(f"{instance}/{name}".encode()).digest()
    return "02:42:" + ":".join(f"{byte:02x}" for byte in digest[:4])


def ip_forwarding(version: int = 4) -> bool:
    """Whether the host forwards packets."""
    path = PROC_NET / ("ipv4/ip_forward" if version == 4 else "ipv6/conf/all/forwarding")
    try:
        return path.read_text().strip() == "1"
    except OSError:
        return False


def enable_ip_forwarding(version: int = 4) -> None:
    """Let the host forward packets; raises Unavailable when the kernel refuses."""
    paths = ["ipv4/ip_forward"] if version == 4 else ["ipv6/conf/default/forwarding", "ipv6/conf/all/forwarding"]
    for path in paths:
        write(PROC_NET / path, "1", needed=True)


def write(path: Path, value: str, *, needed: bool) -> None:
    """Write a setting of the kernel unless it is so already; raises Unavailable when it is ``needed`` and refused."""
    try:
        if path.read_text().strip() != value:
            path.write_text(value)
    except OSError as error:
        if needed:
            raise Unavailable(f"cannot set {path} to {value}: {error.strerror}") from error


def translate(error: OSError, what: str) -> PortsideError:
    """Return the kind of failure that an error of the kernel is; ``what`` could not be done."""
    subject = f" ({error.filename})" if error.filename else ""
    text = f"{what}: {error.strerror}{subject}"
    if error.errno in (errno.EPERM, errno.EACCES):
        return NotSupported(text, hint="the engine needs CAP_NET_ADMIN and CAP_SYS_ADMIN")
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.ENOMEM, errno.ENOBUFS):
        return Unavailable(text, hint="a limit of the host is reached: stop containers or raise it")
    return Internal(text)
