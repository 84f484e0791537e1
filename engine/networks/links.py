"""The bridge and the containers' links. Blocking calls; knows addresses and names, no container.

Called in one thread of the network manager (``plumbing.py``); every function raises the kinds of
``engine.errors``.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from pathlib import Path

from engine.errors import Internal, NotSupported, PortsideError, Unavailable
from engine.runtime import netlink, netns

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
_PROC_NET = Path("/proc/sys/net")


@dataclass(frozen=True)
class Wiring:
    """A container's interface: ``veth`` at the bridge, ``eth0`` inside, its MAC, addresses and gateways.

    ``isolated`` from other isolated ones; ``hairpin`` for one with published ports, which it may call itself.
    """

    veth: str
    mac: str
    addresses: tuple[Interface, ...]
    gateways: tuple[Address, ...]
    mtu: int = 0
    isolated: bool = False
    hairpin: bool = False


class Bridge:
    """The bridge of an engine and the way to it."""

    def __init__(self, name: str) -> None:
        """Open a socket in the namespace of the calling thread."""
        self.name = name
        self._socket = netlink.NetlinkSocket()
        self._index = 0
        self._has_ipv6 = (_PROC_NET / "ipv6").is_dir()

    def close(self) -> None:
        """Close the socket; the bridge stays."""
        self._socket.close()

    def present_addresses(self) -> list[Interface]:
        """Return the addresses that the bridge has; [] when there is none."""
        link = self._socket.link(self.name)
        if link is None:
            return []
        return [address for index, address in self._socket.addresses() if index == link.index]

    def foreign_networks(self) -> list[netlink.Network]:
        """Return the networks that the host uses besides this bridge, default routes left out."""
        link = self._socket.link(self.name)
        own = link.index if link else -1
        found = [route for route, index in self._socket.routes() if index != own and route.prefixlen > 0]
        return found + [address.network for index, address in self._socket.addresses() if index != own]

    def ensure(self, addresses: Sequence[Interface], *, mtu: int) -> None:
        """Make the bridge if there is none, give it exactly these addresses (link-local ones aside), set it up."""
        try:
            self._socket.request(netlink.build_bridge(self.name, _bridge_mac(self.name), mtu))
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                raise NotSupported(
                    "the kernel has no bridges", hint="load or enable the kernel's module `bridge`"
                ) from error
            if error.errno != errno.EEXIST:
                raise _translate(error, f"cannot make bridge {self.name}") from error
        link = self._socket.link(self.name)
        if link is None or link.kind != "bridge":
            raise Unavailable(
                f"link {self.name} is no bridge",
                hint=f"remove it (ip link delete {self.name}): Portside needs its name",
            )
        self._index = link.index
        present = self.present_addresses()
        changes = [
            netlink.build_address(link.index, address, delete=True)
            for address in present
            if address not in addresses and not address.is_link_local
        ]
        changes += [netlink.build_address(link.index, address) for address in addresses if address not in present]
        has_ipv6 = any(address.version == 6 for address in addresses)
        self._write_settings(has_ipv6=has_ipv6)
        try:
            self._socket.request(*changes, netlink.build_link_up(link.index, mtu=mtu))
        except OSError as error:
            raise _translate(error, f"cannot set up bridge {self.name}") from error

    def _write_settings(self, *, has_ipv6: bool) -> None:
        # Without route_localnet the kernel drops what is published on 127.0.0.1 as martian; the chain
        # `guard` keeps containers from using it to reach the host's loopback.
        _write(_PROC_NET / "ipv4/conf" / self.name / "route_localnet", "1", needed=True)
        inet6 = _PROC_NET / "ipv6/conf" / self.name
        if has_ipv6:
            _write(inet6 / "disable_ipv6", "0", needed=True)
            _write(inet6 / "accept_ra", "0", needed=False)
            # Nobody else gives out addresses here, and waiting for duplicates keeps neighbours silent for 2 s.
            _write(inet6 / "accept_dad", "0", needed=False)

    def gather(self, veths: Collection[str]) -> list[int]:
        """Make the links of these names ports of the bridge again if they are not; return its other ports."""
        links = self._socket.links()
        for link in links:
            if link.name in veths and link.master != self._index:
                with suppress(OSError):
                    self._socket.request(netlink.build_master(link.index, self._index))
        return [link.index for link in links if link.master == self._index and link.name not in veths]

    def remove_link(self, index: int) -> None:
        """Delete a link that a container left (20 to 30 ms); one that is gone is no error."""
        with suppress(OSError):
            self._socket.request(netlink.build_link_delete(index))

    def remove_veth(self, name: str) -> None:
        """Delete a link by its name; one that is gone is no error."""
        link = self._socket.link(name)
        if link is not None:
            self.remove_link(link.index)

    def remove(self) -> None:
        """Delete the bridge; none is no error."""
        link = self._socket.link(self.name)
        if link is not None:
            with suppress(OSError):
                self._socket.request(netlink.build_link_delete(link.index))
        self._index = 0

    def connect(self, wiring: Wiring) -> int:
        """Make a namespace with its loopback and its interface; return a descriptor that the caller closes."""
        if wiring.isolated and _rules_see_bridged_frames():
            # Then the rules isolate, and let published ports through as they should.
            wiring = replace(wiring, isolated=False)
        try:
            with netns.new_namespace() as fd:
                try:
                    self._wire(fd, wiring)
                except BaseException:
                    os.close(fd)
                    raise
                return fd
        except OSError as error:
            raise _translate(error, "cannot set up the container's network") from error

    def _wire(self, fd: int, wiring: Wiring) -> None:
        with netlink.NetlinkSocket() as inner:
            self._make_pair(fd, wiring)
            link = inner.link("eth0")
            if link is None:
                raise Internal("the container's interface vanished")
            has_ipv6 = any(address.version == 6 for address in wiring.addresses)
            name, value = ("accept_dad", "0") if has_ipv6 else ("disable_ipv6", "1")
            _write(_PROC_NET / "ipv6/conf/eth0" / name, value, needed=False)
            inner.request(
                netlink.build_link_up(1),
                netlink.build_link_up(link.index),
                *(netlink.build_address(link.index, address) for address in wiring.addresses),
                *(netlink.build_default_route(link.index, gateway) for gateway in wiring.gateways),
            )

    def _make_pair(self, fd: int, wiring: Wiring) -> None:
        settings = netlink.build_port_settings(
            wiring.veth, ipv6=self._has_ipv6, isolated=wiring.isolated, hairpin=wiring.hairpin
        )
        up = netlink.build_port_up(wiring.veth)
        try:
            self._socket.request(self._pair(fd, wiring), settings, up)
        except OSError as error:
            if error.errno not in (errno.ENODEV, errno.EINVAL) or not self._refresh():
                raise
            self._socket.request(self._pair(fd, wiring), settings, up)

    def _pair(self, fd: int, wiring: Wiring) -> netlink.Message:
        return netlink.build_veth(wiring.veth, "eth0", fd, bridge=self._index, mac=wiring.mac, mtu=wiring.mtu)

    def _refresh(self) -> bool:
        """Look the bridge up again: somebody may have deleted it and the watch made it anew."""
        link = self._socket.link(self.name)
        changed = link is not None and link.index != self._index
        self._index = link.index if link else self._index
        return changed


def lone_namespace() -> int:
    """Make a namespace that has nothing but its loopback; return a descriptor that the caller closes."""
    try:
        with netns.new_namespace() as fd:
            try:
                with netlink.NetlinkSocket() as inner:
                    inner.request(netlink.build_link_up(1))
            except BaseException:
                os.close(fd)
                raise
            return fd
    except OSError as error:
        raise _translate(error, "cannot make a network namespace") from error


def ip_forwarding(version: int = 4) -> bool:
    """Whether the host forwards packets."""
    path = _PROC_NET / ("ipv4/ip_forward" if version == 4 else "ipv6/conf/all/forwarding")
    try:
        return path.read_text().strip() == "1"
    except OSError:
        return False


def enable_ip_forwarding(version: int = 4) -> None:
    """Let the host forward packets; raises Unavailable when the kernel refuses."""
    paths = ["ipv4/ip_forward"] if version == 4 else ["ipv6/conf/default/forwarding", "ipv6/conf/all/forwarding"]
    for path in paths:
        _write(_PROC_NET / path, "1", needed=True)


def _bridge_mac(name: str) -> str:
    digest = hashlib.sha256(name.encode()).digest()
    return "02:42:" + ":".join(f"{byte:02x}" for byte in digest[:4])


def _rules_see_bridged_frames() -> bool:
    try:
        return (_PROC_NET / "bridge/bridge-nf-call-iptables").read_text().strip() == "1"
    except OSError:  # the module br_netfilter is not loaded
        return False


def _write(path: Path, value: str, *, needed: bool) -> None:
    try:
        if path.read_text().strip() != value:
            path.write_text(value)
    except OSError as error:
        if needed:
            raise Unavailable(f"cannot set {path} to {value}: {error.strerror}") from error


def _translate(error: OSError, what: str) -> PortsideError:
    subject = f" ({error.filename})" if error.filename else ""
    text = f"{what}: {error.strerror}{subject}"
    if error.errno in (errno.EPERM, errno.EACCES):
        return NotSupported(text, hint="the engine needs CAP_NET_ADMIN and CAP_SYS_ADMIN")
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.ENOMEM, errno.ENOBUFS):
        return Unavailable(text, hint="a limit of the host is reached: stop containers or raise it")
    return Internal(text)
