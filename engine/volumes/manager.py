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
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from engine.errors import Conflict, Internal, InvalidArgument, NotFound, PortsideError
from engine.events import EventSink
from engine.model.volume import Volume, VolumesPruneReport, VolumeUsage
from engine.runtime import syscalls
from engine.runtime.mountinfo import is_mount_point
from engine.store.database import Database
from engine.volumes.disk import VolumeFolders, tree_size
from engine.volumes.interfaces import NoDrivers, NoUsers, VolumeDrivers, VolumeUsers
from engine.volumes.locks import NamedLocks
from engine.volumes.options import check_name, check_options, mount_volume, needs_mount, quota_of
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


class VolumeManager:
    """All volumes of an engine; implements ``engine.containers.interfaces.Volumes``."""

    def __init__(
        self, root: Path, database: Database, events: EventSink, clock: Callable[[], int] = time.time_ns
    ) -> None:
        """Keep the volumes in ``root`` (``<data root>/volumes``); call ``load`` before anything else."""
        self.users: VolumeUsers = NoUsers()
        self.drivers: VolumeDrivers = NoDrivers()
        self._folders = VolumeFolders(root)
        self._database = database
        self._events = events
        self._clock = clock
        self._records: dict[str, VolumeRecord] = {}
        self._held: dict[str, set[str]] = {}
        self._mounted: dict[str, set[str]] = {}
        self._places: dict[str, Path] = {}  # where drivers of others have mounted what
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
        for record in self._records.values():
            if record.driver == DRIVER:
                self._make_again(record)
        for name in self._folders.orphans(set(self._records)):
            if not self._folders.drop_if_empty(name):
                _log.warning("folder %s belongs to no volume: left alone", self._folders.root / name)

    def _make_again(self, record: VolumeRecord) -> None:
        """Make what a crash kept from being made; a volume that cannot be had must not keep the engine down."""
        try:
            self._folders.make(record.name, quota_of(record.options))
        except PortsideError as error:
            _log.warning("volume %s: %s", record.name, error.message)

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
            mountpoint=str(self._place(record)),
            labels=record.labels,
            options=record.options,
        )

    def _place(self, record: VolumeRecord) -> Path | str:
        """Return where a volume is; that of another driver has a place only while it is mounted."""
        return self._folders.data(record.name) if record.driver == DRIVER else self._places.get(record.name, "")

    def _users_of(self, name: str) -> list[str]:
        held = self._held.get(name, set())
        mounted = {holder.partition(" ")[0] for holder in self._mounted.get(name, ())}
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
            record, is_new = await self._prepare(name, driver, options, labels)
            if is_new:
                await self._database.execute(_insert(record))
                await self._finish_creation(record)
        return self._describe(record)

    async def ensure(
        self, name: str, driver: str, options: dict[str, str], labels: dict[str, str], *, container_id: str = ""
    ) -> Path:
        """See ``Volumes.ensure``."""
        async with self._locks.one(name):
            record, is_new = await self._prepare(name, driver, options or None, labels or None)
            if container_id:
                self._held.setdefault(name, set()).add(container_id)
            if is_new:
                self._database.write_soon(_insert(record))
                await self._finish_creation(record)
        return self._folders.data(name)

    async def _prepare(
        self, name: str, driver: str, options: dict[str, str] | None, labels: dict[str, str] | None
    ) -> tuple[VolumeRecord, bool]:
        try:
            if driver not in ("", DRIVER):
                await self.drivers.find(driver)
            found = self._records.get(name)
            if found is not None:
                if driver not in ("", found.driver):
                    raise Conflict(f"driver '{found.driver}' already has volume '{name}': volume name must be unique")
                return found, False
            check_name(name)
            if driver in ("", DRIVER):
                check_options(options or {}, has_quotas=self._folders.has_quotas)
        except PortsideError as error:
            raise _op_error("create", name, error) from error
        driver = driver or DRIVER
        record = VolumeRecord(name=name, driver=driver, created_ns=self._clock(), options=options, labels=labels)
        return record, True

    async def _finish_creation(self, record: VolumeRecord) -> None:
        try:
            if record.driver == DRIVER:
                await asyncio.to_thread(self._folders.make, record.name, quota_of(record.options))
            else:
                await (await self.drivers.find(record.driver)).create(record.name, record.options or {})
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
        record = self._records.get(name)
        return record is not None and (record.driver != DRIVER or needs_mount(record.options))

    async def mount(
        self, name: str, container_id: str, *, destination: str = "", read_write: bool = True, holder: str = ""
    ) -> Path:
        """See ``Volumes.mount``; raises NotFound, or Unavailable when the mount fails."""
        async with self._locks.one(name):
            record = self._find(name, "get")
            path = self._folders.data(name)
            if record.driver != DRIVER:
                driver = await self.drivers.find(record.driver)
                path = self._places[name] = await driver.mount(name, holder or container_id)
            elif quota_of(record.options) and not self._folders.has_quotas:
                raise Internal("size quota requested for volume but no quota support")
            elif needs_mount(record.options) and not await asyncio.to_thread(is_mount_point, path):
                await asyncio.to_thread(mount_volume, record.options or {}, path)
            elif not path.exists():
                await asyncio.to_thread(self._folders.make, name, quota_of(record.options))
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
            if record.driver != DRIVER:
                await self._unmount_by_driver(record, holder or container_id)
            elif name not in self._mounted and needs_mount(record.options):
                await asyncio.to_thread(self._unmount, self._folders.data(name))
        self._events.publish("volume", "unmount", name, {"driver": record.driver, "container": container_id})

    async def _unmount_by_driver(self, record: VolumeRecord, holder: str) -> None:
        """Tell a driver of others; one that is gone does not keep a container from ending."""
        if record.name not in self._mounted:
            self._places.pop(record.name, None)
        try:
            await (await self.drivers.find(record.driver)).unmount(record.name, holder)
        except PortsideError as error:
            _log.warning("volume %s is not unmounted by its driver: %s", record.name, error.message)

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
                if record.driver != DRIVER:
                    await self._remove_by_driver(record)
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

    async def _remove_by_driver(self, record: VolumeRecord) -> None:
        try:
            await (await self.drivers.find(record.driver)).remove(record.name)
        except PortsideError as error:
            raise _op_error("remove", record.name, error) from error

    def _take_away(self, record: VolumeRecord) -> Path | None:
        if record.driver != DRIVER:
            return None
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
                if record.driver != DRIVER or record.options or self._users_of(record.name):
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
        for record in [item for item in self._filtered({}) if not item.options and item.driver == DRIVER]:
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
