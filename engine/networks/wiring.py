"""Containers' interfaces: veth pairs into bridges, macvlan and ipvlan links, addresses and default routes.

Blocking calls in the thread of ``plumbing.py``. A container that starts gets a namespace with all of its
interfaces at once; one that runs can get another one or lose one. Knows namespaces, no container.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from pathlib import Path

from engine.errors import Internal, InvalidArgument, NotSupported
from engine.networks.links import PROC_NET, Links, translate, write
from engine.runtime import childlinks, netlink, netns

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
_MAX_INTERFACES = 1024


@dataclass(frozen=True)
class Wiring:
    """One interface of a container: its name inside, its MAC, addresses and the default routes that are its own.

    ``parent`` is the bridge that ``veth`` is plugged into, or the link that a macvlan or ipvlan sits on
    (``kind``). ``name`` may end with ``%d`` for the first number that is free. ``isolated`` from other
    isolated ports; ``hairpin`` for one with published ports, which it may call itself. An unspecified
    gateway stands for the interface itself. ``replaces`` is a link whose container has ended and whose
    address this one has: the kernel removes it by and by, and until then it would answer. ``sysctls`` are
    (path beneath /proc/sys/net, value), where ``IFNAME`` is the interface.
    """

    veth: str
    mac: str
    addresses: tuple[Interface, ...]
    gateways: tuple[Address, ...]
    mtu: int = 0
    isolated: bool = False
    hairpin: bool = False
    parent: str = ""
    kind: str = "veth"
    mode: int = 0
    flags: int = 0
    name: str = "eth0"
    replaces: str = ""
    sysctls: tuple[tuple[str, str], ...] = field(default=())


class Wirer:
    """Makes and removes interfaces."""

    def __init__(self, links: Links) -> None:
        """Work through ``links``, which stays its owner's."""
        self._links = links
        self._has_ipv6 = (PROC_NET / "ipv6").is_dir()

    def new_namespace(self, wirings: Sequence[Wiring], given: int = -1) -> int:
        """Make a namespace with its loopback and these interfaces; return a descriptor that the caller closes.

        ``given`` is a descriptor of an empty namespace that is to be used.
        """
        settled = [_settle_isolation(wiring) for wiring in wirings]
        try:
            with netns.new_namespace() if given < 0 else netns.given_namespace(given) as fd:
                try:
                    with netlink.NetlinkSocket() as inner:
                        inner.request(netlink.build_link_up(1))
                        for wiring in settled:
                            self._wire(fd, wiring, inner)
                except BaseException:
                    os.close(fd)
                    raise
                return fd
        except OSError as error:
            raise translate(error, "cannot set up the container's network") from error

    def attach(self, namespace: Path, wiring: Wiring, routes: Sequence[tuple[Address, Address]]) -> None:
        """Give a running container one more interface; ``routes`` as ``set_routes`` takes them."""
        wiring = _settle_isolation(wiring)
        try:
            fd = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
            try:
                with netns.inside(namespace), netlink.NetlinkSocket() as inner:
                    named = replace(wiring, name=_free_name(inner, wiring.name), gateways=())
                    self._wire(fd, named, inner)
                    _set_routes(inner, routes)
            finally:
                os.close(fd)
        except OSError as error:
            raise translate(error, "cannot change the container's network") from error

    def detach(self, namespace: Path, wiring: Wiring, routes: Sequence[tuple[Address, Address]]) -> None:
        """Take an interface from a running container; one that is gone is no error."""
        try:
            if wiring.kind == "veth":
                self._links.remove_named(wiring.veth)
            with netns.inside(namespace), netlink.NetlinkSocket() as inner:
                if wiring.kind != "veth":
                    index = _index_of(inner, wiring.addresses[0].ip) if wiring.addresses else 0
                    if index:
                        inner.request(netlink.build_link_delete(index))
                _set_routes(inner, routes)
        except OSError as error:
            raise translate(error, "cannot change the container's network") from error

    def mend(self, namespace: Path, wirings: Sequence[Wiring], routes: Sequence[tuple[Address, Address]]) -> None:
        """Give a running container what of these interfaces and default routes it lacks.

        Default routes that it has are left alone: its own processes may have made them.
        """
        try:
            fd = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
            try:
                with netns.inside(namespace), netlink.NetlinkSocket() as inner:
                    present = {address.ip for _, address in inner.addresses()}
                    for wiring in wirings:
                        if wiring.addresses and wiring.addresses[0].ip not in present:
                            named = replace(wiring, name=_free_name(inner, wiring.name), gateways=())
                            self._wire(fd, named, inner)
                    there = {route.version for route, _ in inner.routes() if route.prefixlen == 0}
                    lacking = [(own, gateway) for own, gateway in routes if gateway.version not in there]
                    _add_routes(inner, lacking)
            finally:
                os.close(fd)
        except OSError as error:
            raise translate(error, "cannot mend the container's network") from error

    def _wire(self, fd: int, wiring: Wiring, inner: netlink.NetlinkSocket) -> None:
        if wiring.kind == "veth":
            self._make_pair(fd, wiring)
        else:
            self._make_child(fd, wiring)
        link = inner.link(wiring.name)
        if link is None:
            raise Internal("the container's interface vanished")
        has_ipv6 = any(address.version == 6 for address in wiring.addresses)
        name, value = ("accept_dad", "0") if has_ipv6 else ("disable_ipv6", "1")
        write(PROC_NET / "ipv6/conf" / wiring.name / name, value, needed=False)
        inner.request(
            netlink.build_link_up(link.index),
            *(netlink.build_address(link.index, address) for address in wiring.addresses),
            *(netlink.build_default_route(link.index, gateway) for gateway in wiring.gateways),
        )
        for path, value in wiring.sysctls:
            try:
                (PROC_NET / path.replace("IFNAME", wiring.name)).write_text(value)
            except OSError as error:
                raise InvalidArgument(
                    f"failed to set sysctl net.{path.replace('/', '.')}={value} on {wiring.name}: {error.strerror}"
                ) from error

    def _make_pair(self, fd: int, wiring: Wiring) -> None:
        settings = netlink.build_port_settings(
            wiring.veth, ipv6=self._has_ipv6, isolated=wiring.isolated, hairpin=wiring.hairpin
        )
        up = netlink.build_port_up(wiring.veth)
        if wiring.replaces:
            self._links.remove_named(wiring.replaces)
        bridge = self._links.index(wiring.parent)
        try:
            self._links.socket.request(_pair(fd, wiring, bridge), settings, up)
        except OSError as error:
            if error.errno not in (errno.ENODEV, errno.EINVAL):
                raise
            now = self._links.refresh(wiring.parent)
            if now == bridge:
                raise
            self._links.socket.request(_pair(fd, wiring, now), settings, up)

    def _make_child(self, fd: int, wiring: Wiring) -> None:
        parent = self._links.socket.link(wiring.parent)
        if parent is None:
            raise Internal(f"parent interface {wiring.parent} was not found on the host")
        message = childlinks.build_child(
            wiring.kind,
            wiring.name,
            parent.index,
            fd,
            mode=wiring.mode,
            flags=wiring.flags,
            mac=wiring.mac if wiring.kind == "macvlan" else "",
            mtu=wiring.mtu,
        )
        try:
            self._links.socket.request(message)
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                raise lacks_driver(wiring.kind) from error
            raise


def lacks_driver(kind: str) -> NotSupported:
    """Return what is said where the kernel does not have a kind of links."""
    return NotSupported(
        f"the kernel has no {kind} links: operation not supported",
        hint=f"load or enable the kernel's module `{kind}`",
    )


def _pair(fd: int, wiring: Wiring, bridge: int) -> netlink.Message:
    return netlink.build_veth(wiring.veth, wiring.name, fd, bridge=bridge, mac=wiring.mac, mtu=wiring.mtu)


def _free_name(inner: netlink.NetlinkSocket, wanted: str) -> str:
    if not wanted.endswith("%d"):
        return wanted
    taken = {link.name for link in inner.links()}
    prefix = wanted.removesuffix("%d")
    return next(name for name in (f"{prefix}{number}" for number in range(_MAX_INTERFACES)) if name not in taken)


def _set_routes(inner: netlink.NetlinkSocket, routes: Sequence[tuple[Address, Address]]) -> None:
    """Make the default routes exactly these: (address that tells the interface, gateway)."""
    for version in (4, 6):
        mine = [(own, gateway) for own, gateway in routes if gateway.version == version]
        if not mine or version == 6:  # where replacing adds a further hop
            with suppress(OSError):
                inner.request(netlink.build_no_default_route(version))
        _add_routes(inner, mine)


def _add_routes(inner: netlink.NetlinkSocket, routes: Sequence[tuple[Address, Address]]) -> None:
    found = {address.ip: index for index, address in inner.addresses()} if routes else {}
    for own, gateway in routes:
        if own in found:
            inner.request(netlink.build_default_route(found[own], gateway))


def _index_of(inner: netlink.NetlinkSocket, address: Address) -> int:
    return next((index for index, found in inner.addresses() if found.ip == address), 0)


def _settle_isolation(wiring: Wiring) -> Wiring:
    """Return a wiring for this host; asked in the host's namespace, to which the setting belongs."""
    if wiring.isolated and _rules_see_bridged_frames():
        # Then the rules isolate, and let published ports through as they should.
        return replace(wiring, isolated=False)
    return wiring


def _rules_see_bridged_frames() -> bool:
    try:
        return (PROC_NET / "bridge/bridge-nf-call-iptables").read_text().strip() == "1"
    except OSError:  # the module br_netfilter is not loaded
        return False
