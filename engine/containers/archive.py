"""Archives of paths in containers: what is there, copied out, copied in (``docker cp``).

Decides what a copy sees and may do; ``copies.py`` runs it, ``copying.py`` does it. A container that does not run
is copied from through a read-only view of its layers, so that nothing of it is held up; copying into it holds
its lock, as a start does.
"""

from __future__ import annotations

import asyncio
import itertools
import posixpath
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

from engine.containers.announce import ContainerEvents
from engine.containers.container import Container
from engine.containers.copies import Copies, Copy, to_its_end
from engine.containers.copying import absolute
from engine.containers.interfaces import ImageSource, Volumes
from engine.containers.looking import Looker
from engine.containers.manager import ContainerManager
from engine.containers.mounts import prepare_bind
from engine.containers.paths import ContainerPaths
from engine.errors import InvalidArgument, NotFound
from engine.model.archive import PathStat
from engine.model.base import given
from engine.model.record import ContainerRecord, MountRecord
from engine.runtime.rootview import ViewMount, ViewPlan

_NETWORK_FILES = {"/etc/resolv.conf": "resolv.conf", "/etc/hostname": "hostname", "/etc/hosts": "hosts"}


class ContainerArchives:
    """Copies out of and into containers."""

    def __init__(
        self,
        containers: ContainerManager,
        images: ImageSource,
        volumes: Volumes,
        paths: ContainerPaths,
        copies: Copies,
        events: ContainerEvents,
    ) -> None:
        """Make the folders that views are mounted at, each in a namespace of its own."""
        self._containers = containers
        self._images = images
        self._volumes = volumes
        self._paths = paths
        self._copies = copies
        self._events = events
        self._looker = Looker()
        self._numbers = itertools.count()
        for place in (paths.view, paths.image_view):
            place.mkdir(mode=0o711, exist_ok=True)

    async def stat(self, container_ref: str, path: str) -> PathStat:
        """Return what a path is; raises NotFound with moby's text."""
        container = self._containers.get(container_ref)
        with _Missing(path, container_ref):
            found = await self._looker.look(container, path) if container.is_running else None
            if found is not None:
                return found
            async with self._copy(container, "stat", path) as copy:
                return await copy.stat()

    def close(self) -> None:
        """End the threads that look at paths."""
        self._looker.close()

    @asynccontextmanager
    async def get(
        self, container_ref: str, path: str, encoding: str = ""
    ) -> AsyncIterator[tuple[PathStat, AsyncGenerator[bytes, None]]]:
        """Give what a path is and its tar stream, compressed as ``encoding`` (gzip, deflate or none) says."""
        container = self._containers.get(container_ref)
        with _Missing(path, container_ref):
            async with self._copy(container, "get", absolute(path), encoding=encoding) as copy:
                found = await copy.stat()
                self._events.publish(container.record, "archive-path")
                async with aclosing(copy.blocks()) as blocks:
                    yield found, blocks

    async def put(
        self, container_ref: str, path: str, content: AsyncIterator[bytes], *, copy_owner: bool, no_overwrite: bool
    ) -> None:
        """Unpack an archive, compressed or not, into a folder.

        With ``copy_owner`` everything belongs to the user that the container runs as. Raises NotFound,
        InvalidArgument where it may not be written, Internal for a broken archive, all with moby's texts.
        """
        container = self._containers.get(container_ref)
        user = container.record.config.user if copy_owner else ""
        with _Missing(path, container_ref):
            async with self._copy(container, "put", path, user=user, no_overwrite=no_overwrite) as copy:
                await copy.take(content)
        self._events.publish(container.record, "extract-to-dir")

    @asynccontextmanager
    async def _copy(
        self,
        container: Container,
        what: str,
        path: str,
        *,
        user: str = "",
        no_overwrite: bool = False,
        encoding: str = "",
    ) -> AsyncIterator[Copy]:
        record = container.record
        async with AsyncExitStack() as stack:
            if what == "put" and not container.is_running:
                await stack.enter_async_context(container.lock)
            if container.is_running:
                plan = ViewPlan(str(self._paths.view), keeps=[mount.destination for mount in record.mounts])
                pidfd = container.pidfd
            else:
                plan = await self._stopped_view(stack, record, writable=what == "put")
                pidfd = -1
            asked: dict[str, Any] = {
                "what": what,
                "path": path,
                "view": plan.encode(),
                "protected": _protected(record, running=pidfd >= 0),
                "read_only_root": record.host_config.readonly_rootfs,
                "user": user,
                "no_overwrite": no_overwrite,
                "encoding": encoding,
            }
            yield await stack.enter_async_context(self._copies.start(container.id, asked, pidfd))

    async def _stopped_view(self, stack: AsyncExitStack, record: ContainerRecord, *, writable: bool) -> ViewPlan:
        lower = self._images.lower_dirs(record.image_id) if record.image_id else []
        root = lower[0].parent if lower else self._paths.data_root
        mounts = [await self._mount(stack, record, mount) for mount in _outermost_first(record.mounts)]
        taken = {mount.destination for mount in record.mounts}
        for destination, name in _NETWORK_FILES.items():
            source = self._paths.data(record.id) / name
            if destination not in taken and source.exists():
                mounts.append(ViewMount(destination, str(source), read_only=record.host_config.readonly_rootfs))
        return ViewPlan(
            str(self._paths.view),
            image_place=str(self._paths.image_view),
            layers_root=str(root),
            layers=[str(self._paths.init_layer), *(_short(path, root) for path in lower)],
            upper=str(self._paths.upper(record.id)),
            work=str(self._paths.work(record.id)),
            mounts=mounts,
            writable=writable,
            read_only_root=record.host_config.readonly_rootfs,
        )

    async def _mount(self, stack: AsyncExitStack, record: ContainerRecord, mount: MountRecord) -> ViewMount:
        source = Path(mount.source)
        if mount.type == "volume":
            holder = f"{record.id} {next(self._numbers)}"
            source = await self._volumes.mount(
                mount.name, record.id, destination=mount.destination, read_write=mount.read_write, holder=holder
            )
            stack.push_async_callback(self._give_back, mount.name, record.id, holder)
        elif mount.type == "bind":
            source = await asyncio.to_thread(prepare_bind, mount)
        layers = self._images.lower_dirs(mount.source) if mount.type == "image" else []
        return ViewMount(
            mount.destination,
            str(source),
            layers=[str(path) for path in layers],
            read_only=not mount.read_write,
            recursive=not mount.non_recursive,
            subpath=mount.subpath,
        )

    async def _give_back(self, volume: str, container_id: str, holder: str) -> None:
        await to_its_end(self._volumes.unmount(volume, container_id, holder=holder))


class _Missing:
    """Says of which path and container something is not found, as moby does."""

    def __init__(self, path: str, container_ref: str) -> None:
        self._text = f"Could not find the file {path} in container {container_ref}"

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, NotFound) and not error.message:
            raise NotFound(self._text) from error


def check_path(path: str) -> str:
    """Return a path of a query; raises InvalidArgument with moby's text for an empty one."""
    if not path:
        raise InvalidArgument("bad parameter: pathcannot be empty")
    if "\0" in path:
        raise InvalidArgument("bad parameter: path contains a NUL byte")
    return path


def _outermost_first(mounts: list[MountRecord]) -> list[MountRecord]:
    # A tmpfs exists only while its container runs.
    found = [mount for mount in mounts if mount.type != "tmpfs"]
    return sorted(found, key=lambda mount: mount.destination.count("/"))


def _protected(record: ContainerRecord, *, running: bool) -> list[tuple[str, bool]]:
    """Return the mounts with whether they may be written to, innermost first."""
    found = {mount.destination: mount.read_write for mount in record.mounts if running or mount.type != "tmpfs"}
    if running:
        for place, options in given(record.host_config.tmpfs, {}).items():
            found[posixpath.normpath(place)] = "ro" not in options.split(",")
    return sorted(found.items(), key=lambda item: -item[0].count("/"))


def _short(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
