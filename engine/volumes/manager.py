"""Named volumes: made, mounted, listed, removed.

A volume exists when its record is in the store; its folder follows. Creation stores the record, then makes
the folder; removal sets the folder aside, deletes the record, then deletes the folder. ``load`` finishes or
undoes what a crash cut off. Knows containers only as IDs, through ``VolumeUsers``.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Protocol

import msgspec

from engine.errors import Conflict, InvalidArgument, NotFound, PortsideError
from engine.events import EventSink
from engine.model.volume import Volume, VolumesPruneReport, VolumeUsage
from engine.runtime import syscalls
from engine.runtime.mountinfo import is_mount_point
from engine.store.database import Database
from engine.volumes.disk import VolumeFolders, tree_size
from engine.volumes.options import check_name, check_options, mount_volume, needs_mount
from engine.wire.filters import Filters, match_labels, match_pattern, single_bool
from engine.wire.times import SECOND_NS, format_ns

DRIVER = "local"
ANONYMOUS_LABEL = "com.docker.volume.anonymous"
LIST_FILTERS = frozenset({"dangling", "name", "driver", "label"})
PRUNE_FILTERS = frozenset({"label", "label!", "all"})

_log = logging.getLogger(__name__)


class VolumeRecord(msgspec.Struct, kw_only=True):
    """What the store keeps of a volume; null and empty options and labels are told apart, as clients see them."""

    name: str
    driver: str = DRIVER
    created_ns: int = 0
    options: dict[str, str] | None = None
    labels: dict[str, str] | None = None


class VolumeUsers(Protocol):
    """Who uses volumes (engine/containers)."""

    def containers_using_volume(self, name: str) -> list[str]:
        """Return the IDs of all containers, running or not, that have the volume."""


class NoUsers:
    """Nobody uses any volume: until the composition root says who does."""

    def containers_using_volume(self, name: str) -> list[str]:
        """Return nothing."""
        return []


class VolumeManager:
    """All volumes of an engine; implements ``engine.containers.interfaces.Volumes``."""

    def __init__(
        self, root: Path, database: Database, events: EventSink, clock: Callable[[], int] = time.time_ns
    ) -> None:
        """Keep the volumes in ``root`` (``<data root>/volumes``); call ``load`` before anything else."""
        self.users: VolumeUsers = NoUsers()
        self._folders = VolumeFolders(root)
        self._database = database
        self._events = events
        self._clock = clock
        self._records: dict[str, VolumeRecord] = {}
        self._held: dict[str, set[str]] = {}
        self._mounted: dict[str, set[str]] = {}
        self._locks = NamedLocks()
        self._pruning = False

    # Start

    def load(self) -> None:
        """Read the store and finish what a crash cut off (blocking)."""
        for (data,) in self._database.read("SELECT record FROM volumes"):
            record = _decoder.decode(data)
            self._records[record.name] = record
        for trash, name in self._folders.aside():
            # The record tells whether the removal got as far as it is told of.
            if name in self._records and not self._folders.data(name).parent.exists():
                self._folders.put_back(trash, name)
            else:
                self._folders.delete(trash)
        for name in self._records:
            self._folders.make(name)
        for name in self._folders.orphans(set(self._records)):
            if not self._folders.drop_if_empty(name):
                _log.warning("folder %s belongs to no volume: left alone", self._folders.root / name)

    def restore(self, in_use: Iterable[tuple[str, str]]) -> None:
        """Take over the volumes of running containers, as pairs of name and container ID; unmount the others."""
        for name, container_id in in_use:
            self._mounted.setdefault(name, set()).add(container_id)
        for record in self._records.values():
            path = self._folders.data(record.name)
            if needs_mount(record.options) and not self._mounted.get(record.name) and is_mount_point(path):
                syscalls.umount(str(path), syscalls.MNT_DETACH)

    # Looking up

    def get(self, name: str) -> Volume:
        """Return a volume; raises NotFound with moby's text."""
        return self._describe(self._find(name, "get"))

    def _find(self, name: str, operation: str) -> VolumeRecord:
        record = self._records.get(name)
        if record is None:
            raise NotFound(f"{operation} {name}: no such volume")
        return record

    def all(self, filters: Filters | None = None) -> list[Volume]:
        """Return the volumes that all filters (dangling, name, driver, label) accept, by name."""
        return [self._describe(record) for record in self._filtered(filters or {})]

    def _filtered(self, filters: Filters) -> Iterable[VolumeRecord]:
        dangling = single_bool(filters, "dangling")
        for name in sorted(self._records):
            record = self._records[name]
            if filters.get("name") and not match_pattern(filters["name"], name):
                continue
            if filters.get("driver") and record.driver not in filters["driver"]:
                continue
            if not match_labels(filters.get("label", []), record.labels):
                continue
            if any(match_labels([item], record.labels) for item in filters.get("label!", [])):
                continue
            if dangling is None or dangling is not bool(self._users_of(name)):
                yield record

    def _describe(self, record: VolumeRecord) -> Volume:
        return Volume(
            name=record.name,
            driver=record.driver,
            created_at=format_ns(record.created_ns // SECOND_NS * SECOND_NS),
            mountpoint=str(self._folders.data(record.name)),
            labels=record.labels,
            options=record.options,
        )

    def _users_of(self, name: str) -> list[str]:
        held, mounted = self._held.get(name, set()), self._mounted.get(name, set())
        return sorted({*self.users.containers_using_volume(name), *held, *mounted})

    # Create

    async def create(
        self,
        name: str = "",
        driver: str = "",
        options: dict[str, str] | None = None,
        labels: dict[str, str] | None = None,
    ) -> Volume:
        """Make a volume, durably, or return the one by that name; without a name an anonymous one.

        Raises InvalidArgument, and NotFound for an unknown driver, with moby's texts.
        """
        if not name:
            name = secrets.token_hex(32)
            labels = {**(labels or {}), ANONYMOUS_LABEL: ""}
        async with self._locks.one(name):
            record, is_new = self._prepare(name, driver, options, labels)
            if is_new:
                await self._database.execute(_insert(record))
                await self._finish_creation(record)
        return self._describe(record)

    async def ensure(
        self, name: str, driver: str, options: dict[str, str], labels: dict[str, str], *, container_id: str = ""
    ) -> Path:
        """See ``Volumes.ensure``."""
        async with self._locks.one(name):
            record, is_new = self._prepare(name, driver, options or None, labels or None)
            if container_id:
                self._held.setdefault(name, set()).add(container_id)
            if is_new:
                self._database.write_soon(_insert(record))
                await self._finish_creation(record)
        return self._folders.data(name)

    def _prepare(
        self, name: str, driver: str, options: dict[str, str] | None, labels: dict[str, str] | None
    ) -> tuple[VolumeRecord, bool]:
        try:
            if driver not in ("", DRIVER):
                raise NotFound(
                    f'error looking up volume plugin {driver}: plugin "{driver}" not found',
                    hint="the only volume driver is local",
                )
            found = self._records.get(name)
            if found is not None:
                return found, False
            check_name(name)
            check_options(options or {})
        except PortsideError as error:
            raise _op_error("create", name, error) from error
        record = VolumeRecord(name=name, created_ns=self._clock(), options=options, labels=labels)
        return record, True

    async def _finish_creation(self, record: VolumeRecord) -> None:
        try:
            await asyncio.to_thread(self._folders.make, record.name)
        except PortsideError as error:
            self._database.write_soon(_delete(record.name))
            raise _op_error("create", record.name, error) from error
        except BaseException:
            self._database.write_soon(_delete(record.name))
            raise
        self._records[record.name] = record
        self._events.publish("volume", "create", record.name, {"driver": record.driver})

    # Use

    def is_mounted_on_use(self, name: str) -> bool:
        """See ``Volumes.is_mounted_on_use``."""
        return name in self._records and needs_mount(self._records[name].options)

    async def mount(
        self, name: str, container_id: str, *, destination: str = "", read_write: bool = True, holder: str = ""
    ) -> Path:
        """See ``Volumes.mount``; raises NotFound, or Unavailable when the mount fails."""
        async with self._locks.one(name):
            record = self._find(name, "get")
            path = self._folders.data(name)
            if needs_mount(record.options) and not await asyncio.to_thread(is_mount_point, path):
                await asyncio.to_thread(mount_volume, record.options or {}, path)
            elif not path.exists():
                await asyncio.to_thread(self._folders.make, name)
            self._mounted.setdefault(name, set()).add(holder or container_id)
        attributes = {
            "driver": record.driver,
            "container": container_id,
            "destination": destination,
            "read/write": "true" if read_write else "false",
            "propagation": "",
        }
        self._events.publish("volume", "mount", name, attributes)
        return path

    async def unmount(self, name: str, container_id: str, *, holder: str = "") -> None:
        """See ``Volumes.unmount``."""
        async with self._locks.one(name):
            if not holder:
                _discard(self._held, name, container_id)
            record = self._records.get(name)
            if not _discard(self._mounted, name, holder or container_id) or record is None:
                return
            if name not in self._mounted and needs_mount(record.options):
                await asyncio.to_thread(self._unmount, self._folders.data(name))
        self._events.publish("volume", "unmount", name, {"driver": record.driver, "container": container_id})

    def _unmount(self, path: Path) -> None:
        if is_mount_point(path):
            syscalls.umount(str(path), syscalls.MNT_DETACH)

    # Remove

    async def remove(self, name: str, *, force: bool = False) -> None:
        """Remove a volume and its content, durably; with ``force`` an unknown one is no error.

        Raises NotFound, or Conflict with the IDs of the containers that use it.
        """
        if force and name not in self._records:
            return
        self._find(name, "get")
        await self._remove(name)

    async def remove_anonymous(self, name: str) -> None:
        """See ``Volumes.remove_anonymous``; raises Conflict when something uses it, NotFound."""
        self._find(name, "get")
        await self._remove(name)

    async def _remove(self, name: str) -> None:
        async with self._locks.one(name):
            record = self._find(name, "get")
            users = self._users_of(name)
            if users:
                raise Conflict(
                    f"remove {name}: volume is in use - [{', '.join(users)}]", hint="remove these containers first"
                )
            # Nobody can take it up between here and the end: they wait for the lock, then find nothing.
            del self._records[name]
            try:
                trash = await asyncio.to_thread(self._take_away, record)
            except asyncio.CancelledError:
                self._database.write_soon(_delete(name))  # the thread goes on: so does the removal
                raise
            except (PortsideError, OSError):
                self._records[name] = record
                raise
            try:
                await self._database.execute(_delete(name))
            except (PortsideError, sqlite3.Error):
                if trash is not None:
                    self._folders.put_back(trash, name)
                self._records[name] = record
                raise
            self._events.publish("volume", "destroy", name, {"driver": record.driver})
        if trash is not None:
            await asyncio.to_thread(self._folders.delete, trash)

    def _take_away(self, record: VolumeRecord) -> Path | None:
        if needs_mount(record.options):
            self._unmount(self._folders.data(record.name))
        return self._folders.set_aside(record.name)

    async def prune(self, filters: Filters) -> VolumesPruneReport:
        """Remove unused volumes without mount options: anonymous ones, or all with the filter ``all``.

        Cancelling stops between two volumes. Raises Conflict when a prune runs already.
        """
        wanted = {key: list(values) for key, values in filters.items() if key != "all"}
        if len(filters.get("all", [])) > 1:
            raise InvalidArgument(f"invalid filter 'all={filters['all']}': only one value is expected")
        if not single_bool(filters, "all", default=False):
            wanted["label"] = [*wanted.get("label", []), ANONYMOUS_LABEL]
        if self._pruning:
            raise Conflict("a prune operation is already running")
        self._pruning = True
        removed: list[str] = []
        reclaimed = 0
        try:
            for record in list(self._filtered(wanted)):
                if record.options or self._users_of(record.name):
                    continue
                size = await self._measure(record.name)
                with suppress(Conflict, NotFound):
                    await self._remove(record.name)
                    reclaimed += max(size, 0)
                    removed.append(record.name)
        finally:
            self._pruning = False
        self._events.publish("volume", "prune", "", {"reclaimed": str(reclaimed)})
        return VolumesPruneReport(volumes_deleted=removed, space_reclaimed=reclaimed)

    # Sizes

    async def usage(self) -> list[Volume]:
        """Return the volumes without mount options with their size in bytes and how many containers have them."""
        found = []
        for record in [item for item in self._filtered({}) if not item.options]:
            volume = self._describe(record)
            size = await self._measure(record.name)
            references = len(self.users.containers_using_volume(record.name))
            volume.usage_data = VolumeUsage(size=size, ref_count=references)
            found.append(volume)
        return found

    async def _measure(self, name: str) -> int:
        cancelled = threading.Event()
        try:
            return await asyncio.to_thread(tree_size, self._folders.data(name), cancelled)
        finally:
            cancelled.set()


class NamedLocks:
    """A lock by name that exists while someone has it or waits for it."""

    def __init__(self) -> None:
        """Begin with none."""
        self._locks: dict[str, tuple[asyncio.Lock, list[None]]] = {}

    @asynccontextmanager
    async def one(self, name: str) -> AsyncIterator[None]:
        """Have the lock of ``name`` for the length of a block.

        It is held across I/O on that one volume, which a mount, a rename or a commit bounds.
        """
        lock, users = self._locks.setdefault(name, (asyncio.Lock(), []))
        users.append(None)
        try:
            async with lock:
                yield
        finally:
            users.pop()
            if not users:
                del self._locks[name]


def _op_error(operation: str, name: str, error: PortsideError) -> PortsideError:
    """Return an error with what was done to which volume before it, as moby's store has it."""
    return type(error)(f"{operation} {name}: {error.message}", hint=error.hint)


def _discard(holders: dict[str, set[str]], name: str, container_id: str) -> bool:
    found = holders.get(name)
    if found is None or container_id not in found:
        return False
    found.discard(container_id)
    if not found:
        del holders[name]
    return True


def _insert(record: VolumeRecord) -> tuple[str, tuple[str, bytes]]:
    return "INSERT OR REPLACE INTO volumes (name, record) VALUES (?, ?)", (record.name, _encoder.encode(record))


def _delete(name: str) -> tuple[str, tuple[str]]:
    return "DELETE FROM volumes WHERE name = ?", (name,)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(VolumeRecord)
