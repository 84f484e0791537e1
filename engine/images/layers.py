"""Layers, unpacked by chain ID: one folder each, with a name short enough for long chains.

A layer is in the store (the table ``layers``) once it is whole and on the disk; folders that are not
there are swept at start.
"""

from __future__ import annotations

import array
import asyncio
import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec

from engine.errors import InvalidArgument, PortsideError, Unavailable
from engine.images.arrival import Arrival
from engine.images.blobs import BlobStore
from engine.images.unpacking import run_untar, run_untar_growing
from engine.runtime.syscalls import syncfs
from engine.store.database import Database

_NAME_LENGTH = 20
_GET_FLAGS = 0x80086601  # FS_IOC_GETFLAGS
_SET_FLAGS = 0x40086602  # FS_IOC_SETFLAGS
_TOP_OF_TREES = 0x00020000  # FS_TOPDIR_FL


class LayerRecord(msgspec.Struct, kw_only=True):
    """One unpacked layer; ``size`` are its files' bytes.

    ``blob`` is what it was unpacked from, or packed into since; "" for a layer that was made here and has none yet.
    """

    chain_id: str
    diff_id: str
    parent: str = ""
    folder: str
    size: int
    blob: str
    media_type: str = ""


class _Unpacking:
    """A layer on its way and how many wait for it."""

    def __init__(self, work: Coroutine[None, None, LayerRecord], arrival: Arrival | None) -> None:
        self.task = asyncio.ensure_future(work)
        self.arrival = arrival
        self.waiters = 0

    def suits(self, arrival: Arrival | None) -> bool:
        """Whether it ends soon enough for somebody who has the blob, or waits for the same one."""
        return self.arrival is None or self.arrival is arrival or self.arrival.is_complete


def chain_id(parent: str, diff_id: str) -> str:
    """Return the chain ID of a layer on top of ``parent`` ("" for none): OCI image-spec, config.md."""
    if not parent:
        return diff_id
    return f"sha256:{hashlib.sha256(f'{parent} {diff_id}'.encode()).hexdigest()}"


def chain_ids(diff_ids: list[str]) -> list[str]:
    """Return the chain IDs of layers, lowest first."""
    found: list[str] = []
    for diff_id in diff_ids:
        found.append(chain_id(found[-1] if found else "", diff_id))
    return found


class LayerStore:
    """The unpacked layers of an engine."""

    def __init__(self, database: Database, root: Path, blobs: BlobStore) -> None:
        """Use ``root``; load what is known."""
        self._database = database
        self.root = root
        self._blobs = blobs
        root.mkdir(mode=0o711, parents=True, exist_ok=True)
        _spread(root)
        self._records: dict[str, LayerRecord] = {}
        self._unpacking: dict[str, _Unpacking] = {}
        for row in database.read("SELECT record FROM layers"):
            record = _decoder.decode(row[0])
            self._records[record.chain_id] = record
        self._durable = set(self._records)
        self._synced: set[str] = set()  # not durable yet, but their files are on the disk
        known = {record.folder for record in self._records.values()}
        self._strays = [entry for entry in root.iterdir() if entry.name not in known]

    async def sweep(self) -> None:
        """Delete folders that belong to no layer: an engine was killed while it unpacked or deleted them."""
        strays, self._strays = self._strays, []
        await delete_folders(strays)

    def get(self, chain: str) -> LayerRecord | None:
        """Return a layer that is there."""
        return self._records.get(chain)

    def all(self) -> list[LayerRecord]:
        """Return all layers."""
        return list(self._records.values())

    def path(self, record: LayerRecord) -> Path:
        """Return a layer's folder."""
        return self.root / record.folder

    async def unpack(
        self, parent: str, diff_id: str, blob: str, media_type: str = "", arrival: Arrival | None = None
    ) -> LayerRecord:
        """Unpack a blob as a layer on the chain ``parent``; the record is not durable before ``commit``.

        ``diff_id`` is "" where nothing says what the archive has to be. With ``arrival`` the blob is on its way,
        and what has come is unpacked meanwhile; only layers beneath that are there already are then seen.

        Two callers that want the same layer share the work. Raises InvalidArgument for a damaged archive
        or one that is not ``diff_id``, Unavailable when the disk is full, ArrivalBroken when the blob did not come.
        Cancelling leaves nothing.
        """
        if not diff_id:
            return await self._unpack(parent, diff_id, blob, media_type, arrival)
        chain = chain_id(parent, diff_id)
        present = self._records.get(chain)
        if present is not None:
            return present
        work = self._unpacking.get(chain)
        if work is None or not work.suits(arrival):
            work = _Unpacking(self._unpack(parent, diff_id, blob, media_type, arrival), arrival)
            self._unpacking.setdefault(chain, work)
        work.waiters += 1
        try:
            return await asyncio.shield(work.task)
        finally:
            work.waiters -= 1
            if work.task.done() or not work.waiters:
                if self._unpacking.get(chain) is work:
                    del self._unpacking[chain]
                work.task.cancel()
                with suppress(asyncio.CancelledError, PortsideError):
                    await work.task

    async def _unpack(
        self, parent: str, diff_id: str, blob: str, media_type: str, arrival: Arrival | None
    ) -> LayerRecord:
        async with self.folder() as path:
            if arrival is None:
                result = await run_untar(self._blobs.path(blob), path, self._beneath(parent))
            else:
                result = await run_untar_growing(arrival, path, self._beneath(parent))
                await arrival.wait_complete()
            _check_diff_id(result.diff_id, diff_id)
            return await self.register(parent, result.diff_id, path, result.size, blob, media_type)

    @asynccontextmanager
    async def folder(self) -> AsyncIterator[Path]:
        """Make an empty folder for a layer; it is deleted when the context ends with an error."""
        path = self.root / secrets.token_hex(_NAME_LENGTH // 2)
        path.mkdir(mode=0o755)
        try:
            yield path
        except BaseException:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, path, ignore_errors=True))
            raise

    async def register(
        self,
        parent: str,
        diff_id: str,
        path: Path,
        size: int,
        blob: str = "",
        media_type: str = "",
        *,
        is_synced: bool = False,
    ) -> LayerRecord:
        """Take a filled folder (of ``folder``) in as a layer; not durable before ``commit``.

        Where the layer is there already, that one is returned and the folder deleted. A layer without a blob is
        packed when it leaves this machine (see ``changeset``). With ``is_synced`` its files are on the disk.
        """
        record = LayerRecord(
            chain_id=chain_id(parent, diff_id),
            diff_id=diff_id,
            parent=parent,
            folder=path.name,
            size=size,
            blob=blob,
            media_type=media_type,
        )
        existing = self._records.get(record.chain_id)
        if existing is not None:
            await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
            return existing
        self._records[record.chain_id] = record
        if is_synced:
            self._synced.add(record.chain_id)
        return record

    async def set_blob(self, record: LayerRecord, blob: str, media_type: str) -> LayerRecord:
        """Say what blob a layer is packed in, durably; return its new record. The blob is there already."""
        changed = msgspec.structs.replace(record, blob=blob, media_type=media_type)
        if self._records.get(record.chain_id) is record:
            await self._database.execute(
                ("INSERT OR REPLACE INTO layers VALUES (?, ?)", (record.chain_id, _encoder.encode(changed)))
            )
            self._records[record.chain_id] = changed
        return changed

    def _beneath(self, chain: str) -> list[Path]:
        """Return the folders of the layers from ``chain`` downwards, as far as they are there."""
        found: list[Path] = []
        while (record := self._records.get(chain)) is not None:
            found.append(self.path(record))
            chain = record.parent
        return found

    async def commit(self, records: list[LayerRecord]) -> None:
        """Make layers durable: their files by one syncfs, then their rows; those that are so already cost nothing."""
        records = [record for record in records if record.chain_id not in self._durable]
        if not records:
            return
        chains = {record.chain_id for record in records}
        if not chains <= self._synced:  # of the whole file system: it waits for what everybody else writes too
            await asyncio.to_thread(self._sync)
        statements = [
            ("INSERT OR REPLACE INTO layers VALUES (?, ?)", (record.chain_id, _encoder.encode(record)))
            for record in records
        ]
        await self._database.execute(*statements)
        self._durable |= chains
        self._synced -= chains

    def _sync(self) -> None:
        descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            syncfs(descriptor)
        except OSError as error:
            raise Unavailable(f"writing layers to {self.root}: {error.strerror}") from error
        finally:
            os.close(descriptor)

    async def forget(self, records: list[LayerRecord]) -> list[Path]:
        """Take layers out of the store, durably; return their folders, which the caller deletes (or the next start)."""
        for record in records:
            self._records.pop(record.chain_id, None)
            self._synced.discard(record.chain_id)
            self._durable.discard(record.chain_id)
        if records:
            await self._database.execute(
                *(("DELETE FROM layers WHERE chain_id = ?", (record.chain_id,)) for record in records)
            )
        return [self.path(record) for record in records]


async def delete_folders(folders: list[Path]) -> None:
    """Delete the folders of layers that were forgotten."""
    for folder in folders:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _check_diff_id(found: str, wanted: str) -> None:
    if wanted and found != wanted:
        raise InvalidArgument(f'wrong diff id calculated on extraction "{found}": the image says {wanted}')


def _spread(root: Path) -> None:
    """Tell ext4 that the folders in ``root`` have nothing to do with each other, as chattr +T does.

    Each layer then begins in a part of the disk of its own. Otherwise all lie close to each other, and a layer
    is unpacked among the inodes of one just deleted, which ext4 without a journal passes over one by one.
    """
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flags = array.array("I", [0, 0])
        fcntl.ioctl(descriptor, _GET_FLAGS, flags)
        if not flags[0] & _TOP_OF_TREES:
            flags[0] |= _TOP_OF_TREES
            fcntl.ioctl(descriptor, _SET_FLAGS, flags)
    except OSError:
        return  # another file system, which needs no such word
    finally:
        os.close(descriptor)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(LayerRecord)
