"""What earlier builds have made: a record a step by its key, and the layers that records keep from being deleted.

A record with a layer says: this instruction on this parent with this content makes that layer. One without says
when a step that only changes the configuration was first taken, so that the same build gives the same image.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable

import msgspec
from msgspec import field

from engine.errors import PortsideError
from engine.images.layers import LayerRecord, LayerStore
from engine.store.database import Database

log = logging.getLogger(__name__)

_TOUCH_EVERY_NS = 60 * 1_000_000_000


class CacheRecord(msgspec.Struct, kw_only=True):
    """One step. ``chain_id`` is the layer's, "" for a step without one; ``inputs`` say what went into the key."""

    key: str
    kind: str = "regular"
    description: str = ""
    parent_chain: str = ""
    chain_id: str = ""
    size: int = 0
    created_ns: int = 0
    used_ns: int = 0
    uses: int = 0
    inputs: dict[str, str] = field(default_factory=dict)


def key_of(*parts: str | Iterable[str]) -> str:
    """Return the key of a step: a digest of everything that decides what it makes."""
    digest = hashlib.sha256()
    for part in parts:
        items = [part] if isinstance(part, str) else list(part)
        digest.update(b"%d;" % len(items))
        for item in items:
            data = item.encode("utf-8", "surrogateescape")
            digest.update(b"%d:" % len(data) + data)
    return digest.hexdigest()


class BuildCache:
    """The records of an engine; all in memory, written in the background unless asked otherwise."""

    def __init__(self, database: Database, layers: LayerStore) -> None:
        """Load what is known; a record whose layer is gone is forgotten."""
        self._database = database
        self._layers = layers
        self._records: dict[str, CacheRecord] = {}
        self._in_use: dict[str, int] = {}
        lost: list[str] = []
        for row in database.read("SELECT record FROM build_cache"):
            record = _decoder.decode(row[0])
            if record.chain_id and layers.get(record.chain_id) is None:
                lost.append(record.key)
            else:
                self._records[record.key] = record
        if lost:
            database.write_soon(*(("DELETE FROM build_cache WHERE key = ?", (key,)) for key in lost))

    def get(self, key: str) -> CacheRecord | None:
        """Return a record that counts."""
        record = self._records.get(key)
        if record is not None and record.chain_id and self._layers.get(record.chain_id) is None:
            del self._records[key]
            return None
        return record

    def touch(self, record: CacheRecord) -> None:
        """Note that a record was used."""
        now_ns = time.time_ns()
        is_due = now_ns - record.used_ns > _TOUCH_EVERY_NS
        record.used_ns, record.uses = now_ns, record.uses + 1
        if is_due:
            self._database.write_soon(_row(record))

    def layer(self, record: CacheRecord) -> LayerRecord | None:
        """Return a record's layer."""
        return self._layers.get(record.chain_id) if record.chain_id else None

    def hold(self, record: CacheRecord) -> None:
        """Let a record count, and its layer stay, from now on; ``add`` makes it durable."""
        self._records[record.key] = record

    async def add(self, record: CacheRecord, layer: LayerRecord | None) -> None:
        """Keep a record; it counts at once, and is durable with its layer when this returns."""
        self._records[record.key] = record
        try:
            if layer is not None:
                await self._layers.commit([layer])
            await self._database.execute(_row(record))
        except PortsideError as error:
            log.warning("a step is not cached: %s", error.message)
            self._records.pop(record.key, None)

    def add_soon(self, record: CacheRecord) -> None:
        """Keep a record without a layer; it is durable with the next commit."""
        self._records[record.key] = record
        self._database.write_soon(_row(record))

    def kept_chains(self) -> set[str]:
        """Return the chain IDs of all layers that records need, those beneath them too."""
        found: set[str] = set()
        for record in self._records.values():
            chain = record.chain_id
            while chain and chain not in found:
                found.add(chain)
                layer = self._layers.get(chain)
                chain = layer.parent if layer is not None else ""
        return found

    def all(self) -> list[CacheRecord]:
        """Return all records with a layer, oldest use first."""
        return sorted((item for item in self._records.values() if item.chain_id), key=lambda item: item.used_ns)

    def nearest(self, accepts: Callable[[CacheRecord], bool]) -> CacheRecord | None:
        """Return the newest record that ``accepts`` takes: with what a step is compared that was not found."""
        fitting = [item for item in self._records.values() if accepts(item)]
        return max(fitting, key=lambda item: item.used_ns, default=None)

    async def delete(self, records: Iterable[CacheRecord]) -> None:
        """Forget records, durably; their layers go with the next collection unless images have them."""
        keys = [record.key for record in records]
        for key in keys:
            self._records.pop(key, None)

        def change(connection: sqlite3.Connection) -> None:
            connection.executemany("DELETE FROM build_cache WHERE key = ?", [(key,) for key in keys])

        await self._database.write(change)

    async def delete_configuration_only(self) -> None:
        """Forget the records without layers."""
        await self.delete([item for item in self._records.values() if not item.chain_id])


class Committer:
    """Makes the records of one build durable while the build goes on."""

    def __init__(self, cache: BuildCache) -> None:
        """Write into ``cache``."""
        self._cache = cache
        self._waiting: asyncio.Queue[tuple[CacheRecord, LayerRecord | None] | None] = asyncio.Queue()

    def put(self, record: CacheRecord, layer: LayerRecord | None) -> None:
        """Take a record."""
        self._waiting.put_nowait((record, layer))

    def finish(self) -> None:
        """Let ``run`` end when everything is written; may be called twice."""
        self._waiting.put_nowait(None)

    async def run(self) -> None:
        """Write what comes until ``finish``."""
        while (item := await self._waiting.get()) is not None:
            await self._cache.add(*item)


def _row(record: CacheRecord) -> tuple[str, tuple[str, bytes]]:
    return "INSERT OR REPLACE INTO build_cache VALUES (?, ?)", (record.key, _encoder.encode(record))


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(CacheRecord)
