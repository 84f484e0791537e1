"""Containers in the database."""

from __future__ import annotations

import sqlite3

from engine.model.record import ContainerRecord, decode_record, encode_record
from engine.store.database import Database


class ContainerStore:
    """The table ``containers``; the records are whole, one a container."""

    def __init__(self, database: Database) -> None:
        """Use ``database``."""
        self._database = database

    def load(self) -> list[ContainerRecord]:
        """Return all records (blocking)."""
        return [decode_record(row[0]) for row in self._database.read("SELECT record FROM containers")]

    async def insert(self, record: ContainerRecord) -> None:
        """Store a new container, durably."""
        data = encode_record(record)

        def change(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO containers VALUES (?, ?, ?)", (record.id, record.name, data))

        await self._database.write(change)

    async def save(self, record: ContainerRecord) -> None:
        """Store what a container has become, durably."""
        await self._database.execute(self._update(record))

    def save_soon(self, record: ContainerRecord) -> None:
        """Store what a container has become with the next commit; for what a start finds out anew."""
        self._database.write_soon(self._update(record))

    def _update(self, record: ContainerRecord) -> tuple[str, tuple[object, ...]]:
        # An update, never a replacement: a save that comes after the removal brings nothing back.
        data = encode_record(record)
        return "UPDATE containers SET name = ?, record = ? WHERE id = ?", (record.name, data, record.id)

    async def delete(self, container_id: str) -> None:
        """Forget a container, durably."""
        await self._database.execute(("DELETE FROM containers WHERE id = ?", (container_id,)))
