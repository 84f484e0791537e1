"""The links of the host that macvlan and ipvlan networks sit on, and those that are made for them. Blocking.

A network without a parent gets a dummy link; a parent ``eth0.10`` that is not there becomes VLAN 10 of
``eth0``. What was made here is known by its alias, and goes with the last network that uses it.
"""

from __future__ import annotations

import errno
import logging
import re
from collections.abc import Collection, Sequence

from engine.errors import Internal, PortsideError
from engine.networks.bridgeoptions import check_interface_name
from engine.networks.drivers import dummy_name, parent_of
from engine.networks.links import Links, bridge_mac, translate
from engine.networks.record import NetworkRecord
from engine.networks.wiring import lacks_driver
from engine.runtime import childlinks, netlink

_log = logging.getLogger(__name__)
_VLAN = re.compile(r"(.+)\.([0-9]{1,4})", re.ASCII)
_MAX_VLAN = 4094


class ParentLinks:
    """Makes and removes parents; ``instance`` marks those that are ours."""

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self._alias = f"portside:{instance}"

    def ensure(self, links: Links, record: NetworkRecord) -> None:
        """Make the parent of a network if it is not there; raises Internal with moby's texts, NotSupported."""
        name = check_interface_name(parent_of(record))
        if links.socket.link(name) is not None:
            return
        if name == dummy_name(record):
            message = childlinks.build_dummy(name, bridge_mac(self._instance, name))
            kind = "dummy"
        else:
            message, kind = self._vlan(links, name), "vlan"
        try:
            links.socket.request(message, childlinks.build_alias(name, self._alias), netlink.build_port_up(name))
        except OSError as error:
            links.remove_named(name)
            if error.errno == errno.EOPNOTSUPP:
                raise lacks_driver(kind) from error
            raise translate(error, f"failed to create the {kind} link {name}") from error

    def _vlan(self, links: Links, name: str) -> netlink.Message:
        found = _VLAN.fullmatch(name)
        if found is None:
            raise Internal(
                f"invalid subinterface vlan name {name}, example formatting is eth0.10",
                hint=f"there is no link {name} on this host",
            )
        parent, number = found[1], int(found[2])
        if not 1 <= number <= _MAX_VLAN:
            raise Internal(f"vlan id must be between 1-4094, received: {number}")
        link = links.socket.link(parent)
        if link is None:
            raise Internal(f"-o parent interface was not found on the host: {parent}")
        return childlinks.build_vlan(name, link.index, number)

    def remove(self, links: Links, record: NetworkRecord, used: Collection[str]) -> None:
        """Remove the parent of a network if it was made here and nobody else uses it."""
        name = parent_of(record)
        link = links.socket.link(name)
        if link is not None and link.alias == self._alias and name not in used:
            links.remove_link(link.index)

    def restore(self, links: Links, records: Sequence[NetworkRecord]) -> None:
        """Put parents in place after a boot; remove what was made here for networks that are no more."""
        wanted = {parent_of(record) for record in records}
        for link in links.socket.links():
            if link.alias == self._alias and link.name not in wanted:
                links.remove_link(link.index)
        for record in records:
            try:
                self.ensure(links, record)
            except PortsideError as error:
                _log.warning("network %s cannot be used: %s", record.name, error.message)
