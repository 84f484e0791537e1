"""The networks that exist: their records in the store and how they are found by name, ID or its beginning."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator

import msgspec

from engine.errors import Conflict, InvalidArgument, NotFound
from engine.networks.record import DRIVERS, NetworkRecord
from engine.store.database import Database


class Catalog:
    """All records, in the order in which they were made."""

    def __init__(self, database: Database) -> None:
        """Nothing is read before ``load``."""
        self._database = database
        self._records: dict[str, NetworkRecord] = {}
        self._claimed: set[str] = set()

    def __iter__(self) -> Iterator[NetworkRecord]:
        """Yield the records."""
        return iter(list(self._records.values()))

    async def load(self) -> None:
        """Read the store; makes those of the predefined networks that it does not have yet."""
        rows = self._database.read("SELECT record FROM networks")
        found = [msgspec.json.decode(data, type=NetworkRecord) for (data,) in rows]
        names = {record.name for record in found}
        missing = [
            NetworkRecord(id=secrets.token_hex(32), name=name, driver=driver, created_ns=time.time_ns())
            for name, driver in DRIVERS.items()
            if name not in names
        ]
        if missing:
            await self._database.execute(*(_insert(record) for record in missing))
        ordered = sorted([*found, *missing], key=lambda record: (not record.is_predefined, record.created_ns))
        self._records = {record.id: record for record in ordered}

    # Looking up

    def by_id(self, network_id: str) -> NetworkRecord | None:
        """Return the network with this full ID."""
        return self._records.get(network_id)

    def by_name(self, name: str) -> NetworkRecord | None:
        """Return the network with this name."""
        return next((record for record in self._records.values() if record.name == name), None)

    def find(self, network_ref: str) -> NetworkRecord:
        """Return a network by ID, name or unambiguous beginning of an ID.

        Raises NotFound or InvalidArgument with moby's texts.
        """
        found = self._records.get(network_ref) or self.by_name(network_ref)
        if found is not None:
            return found
        begun = [record for record in self._records.values() if network_ref and record.id.startswith(network_ref)]
        if len(begun) > 1:
            raise InvalidArgument(f"network {network_ref} is ambiguous ({len(begun)} matches found based on ID prefix)")
        if not begun:
            raise NotFound(f"network {network_ref} not found", hint="see the list of networks")
        return begun[0]

    def find_or_none(self, network_ref: str) -> NetworkRecord | None:
        """Return a network as ``find`` does, None where it raises."""
        try:
            return self.find(network_ref)
        except (NotFound, InvalidArgument):
            return None

    # Changes

    def claim(self, name: str) -> None:
        """Keep a name for a network that is being made; raises Conflict with moby's text when it is taken."""
        if name in self._claimed or self.by_name(name) is not None:
            raise Conflict(f"network with name {name} already exists")
        self._claimed.add(name)

    def unclaim(self, name: str) -> None:
        """Give a claimed name back."""
        self._claimed.discard(name)

    async def insert(self, record: NetworkRecord) -> None:
        """Store a new network; it is found when this returns."""
        await self._database.execute(_insert(record))
        self._records[record.id] = record

    async def delete(self, record: NetworkRecord) -> None:
        """Forget a network; it is not found from now on, unless the store fails."""
        del self._records[record.id]
        try:
            await self._database.execute(("DELETE FROM networks WHERE id = ?", (record.id,)))
        except BaseException:
            self._records[record.id] = record
            raise


def _insert(record: NetworkRecord) -> tuple[str, tuple[str, str, bytes]]:
    statement = "INSERT INTO networks (id, name, record) VALUES (?, ?, ?)"
    return statement, (record.id, record.name, msgspec.json.encode(record))
