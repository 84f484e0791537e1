"""From a record to a running process and back: mounts, network, spec, conmon.

Every step can be repeated and undone; ``tear_down`` takes back whatever was reached, from any state,
so it also serves after a crash. Knows nothing of policies, events or clients.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec

from engine.containers.copies import Copies
from engine.containers.copyup import copy_up, needs_copy
from engine.containers.failures import start_error
from engine.containers.interfaces import ImageSource, Networks, Sandbox, Volumes
from engine.containers.logreceivers import check_receiver
from engine.containers.mounts import prepare_bind
from engine.containers.paths import ContainerPaths
from engine.containers.remapping import Remapping
from engine.errors import Internal, NotFound, Unavailable
from engine.model.execution import ExecCreateRequest
from engine.model.record import ContainerRecord, MountRecord
from engine.runtime import cgroups, cgrouptree, conmon, netns
from engine.runtime.conmon import Launch, launched
from engine.runtime.drivers import OciRuntime, RuntimeCatalog
from engine.runtime.mounts import Mounter, unmount
from engine.runtime.spec import Remapped
from engine.runtime.subpath import bind_subpath, release_subpaths
from engine.runtime.usernamespaces import Namespaces

_CREATE_TIMEOUT_S = 60.0
_HOOKS_MARK = "hooks"


@dataclass(frozen=True)
class MountSource:
    """A mount of a container and where on the host it really comes from."""

    mount: MountRecord
    source: Path


class Specs(Protocol):
    """Makes the OCI configuration (engine/containers/specs.py)."""

    async def container(
        self,
        record: ContainerRecord,
        sandbox: Sandbox,
        cgroup: str,
        runtime: OciRuntime,
        mounts: Sequence[MountSource],
        remapped: Remapped | None = None,
    ) -> dict[str, Any]:
        """Fill the mounted root file system and return ``config.json``."""

    async def process(self, record: ContainerRecord, request: ExecCreateRequest) -> dict[str, Any]:
        """Return the process of an exec."""

    def created(self, record: ContainerRecord, state_dir: Path) -> None:
        """Told after the runtime's create."""

    def removed(self, record: ContainerRecord) -> None:
        """Told before a bundle is removed."""


class Launcher:
    """Brings containers up and takes them down."""

    def __init__(
        self,
        paths: ContainerPaths,
        cgroup_parent: str,
        conmon_path: Path,
        runtimes: RuntimeCatalog,
        mounter: Mounter,
        images: ImageSource,
        networks: Networks,
        volumes: Volumes,
        specs: Specs,
        copies: Copies,
        remapping: Remapping | None = None,
    ) -> None:
        """Wire the parts; makes the folders that all containers share (blocking)."""
        self._remapping = remapping
        self.paths = paths
        self.conmon = conmon_path
        self.cgroup_parent = cgroup_parent
        self._runtimes = runtimes
        self._mounter = mounter
        self._images = images
        self._networks = networks
        self._volumes = volumes
        self._specs = specs
        self._copies = copies
        self._root_shared = _is_root_shared()
        for folder in (paths.containers, paths.bundles, paths.exits, paths.runtime_state, paths.trash):
            folder.mkdir(mode=0o710, parents=True, exist_ok=True)
        _make_init_layer(paths.init_layer)

    def runtime(self, record: ContainerRecord) -> OciRuntime:
        """Return the OCI runtime of a container; raises NotFound for an unknown one."""
        name = record.host_config.runtime
        return self._runtimes.get(name if isinstance(name, str) else "")

    def cgroup(self, record: ContainerRecord) -> str:
        """Return the path of a container's control group."""
        parent = record.host_config.cgroup_parent or self.cgroup_parent
        return f"/{parent.strip('/')}/{record.id}"

    # A container's folders

    def prepare(self, record: ContainerRecord) -> None:
        """Make the folders of a new container (blocking, some system calls)."""
        data = self.paths.data(record.id)
        data.mkdir(mode=0o710)
        self.paths.upper(record.id).mkdir(mode=0o755)
        self.paths.work(record.id).mkdir(mode=0o700)

    async def populate(self, record: ContainerRecord) -> None:
        """Copy the image's content into the new volumes of a container that is being created.

        Volumes that are mounted on use are left for the first start. Raises InvalidArgument when a volume's
        place is a file, Unavailable when there is no room.
        """
        wanted: list[MountRecord] = []
        for mount in record.mounts:
            if mount.copy_up and not self._volumes.is_mounted_on_use(mount.name):
                mount.copy_up = await asyncio.to_thread(needs_copy, Path(mount.source))
                wanted += [mount] if mount.copy_up else []
        if not wanted:
            return
        bundle = self.paths.bundle(record.id)
        bundle.mkdir(mode=0o711)
        try:
            await self._mount_root(record)
            for mount in wanted:
                await asyncio.to_thread(copy_up, self.paths.merged(record.id), mount, Path(mount.source))
                mount.copy_up = False
        finally:
            await self._mounter.unmount(self.paths.merged(record.id))
            await asyncio.to_thread(_remove_bundle, bundle)

    async def discard(self, record: ContainerRecord) -> None:
        """Delete everything that a container has written.

        It is moved aside at once and deleted by and by: what a crash leaves is deleted at the next start.
        """
        data = self.paths.data(record.id)
        target = self.paths.trash / f"{record.id}-{secrets.token_hex(4)}"
        with suppress(FileNotFoundError):
            data.rename(target)
            await asyncio.to_thread(shutil.rmtree, target, ignore_errors=True)

    async def writable_size(self, record: ContainerRecord) -> int:
        """Return the bytes that a container has written to its root file system."""
        return await asyncio.to_thread(_tree_size, self.paths.upper(record.id))

    # Up

    async def bring_up(
        self,
        record: ContainerRecord,
        sandbox: Sandbox,
        saved: Awaitable[None],
        on_created: Callable[[Path], None],
    ) -> int:
        """Make a container's process, which does not run its program yet; return its PID.

        ``saved`` is awaited before, so that the store knows of the container first; ``on_created`` is
        called with the bundle when clients can attach. Raises with Docker's text when a step fails;
        the caller tears down.
        """
        bundle = self.paths.bundle(record.id)
        runtime = self.runtime(record)
        namespaces = await asyncio.to_thread(self._remapping.open, record) if self._remapping is not None else None
        if namespaces is not None:
            sandbox.namespace = namespaces.network
        remapped = self._remapped(record, namespaces)
        connecting = asyncio.ensure_future(self._networks.connect(sandbox))
        try:
            await asyncio.to_thread(self._make_bundle, record)
            files = asyncio.to_thread(self._networks.write_files, record, sandbox, self.paths.data(record.id))
            await asyncio.gather(self._mount_root(record, remapped), files)
            mounts = await self._mount_sources(record, remapped)
            spec = await self._specs.container(record, sandbox, self.cgroup(record), runtime, mounts, remapped)
            await asyncio.to_thread(_write_spec, bundle, spec)
            await connecting
            pid = await self._create(record, runtime, bundle, saved, fresh=bool(mounts) and not self._root_shared)
        except BaseException:
            connecting.cancel()
            await asyncio.gather(connecting, asyncio.ensure_future(saved), return_exceptions=True)
            raise
        finally:
            if namespaces is not None:
                namespaces.close()
            if any(mount.subpath or mount.type == "image" for mount in record.mounts):
                # The process has its own mounts by now.
                await asyncio.to_thread(release_subpaths, self.paths.subpaths(record.id))
        # The process has its own mount of its root: here it would only make every later start longer, since the
        # runtime reads the whole table of mounts.
        (self._remapping.mounter if self._remapping and remapped else self._mounter).unmount_soon(
            self.paths.merged(record.id)
        )
        on_created(bundle)
        return pid

    def _make_bundle(self, record: ContainerRecord) -> None:
        """Make an empty bundle, whatever a crash has left of an older one (blocking)."""
        bundle = self.paths.bundle(record.id)
        check_receiver(record)
        release_subpaths(self.paths.subpaths(record.id))
        shutil.rmtree(bundle, ignore_errors=True)
        bundle.mkdir(mode=0o711)
        (self.paths.exits / record.id).unlink(missing_ok=True)

    def _remapped(self, record: ContainerRecord, namespaces: Namespaces | None) -> Remapped | None:
        if self._remapping is None or namespaces is None:
            return None
        return Remapped(
            user_path=netns.path_of(namespaces.user),
            mapping=self._remapping.mapping,
            files_dir=self._remapping.place(self.paths.data(record.id)),
        )

    async def _mount_root(self, record: ContainerRecord, remapped: Remapped | None = None) -> None:
        lower = self._images.lower_dirs(record.image_id) if record.image_id else []
        place: Callable[[Path], Path] = lambda path: path  # noqa: E731 - nothing is shifted
        mounter = self._mounter
        if self._remapping is not None and remapped is not None:
            place, mounter = self._remapping.place, self._remapping.mounter
        await mounter.mount_overlay(
            [place(path) for path in (self.paths.init_layer, *lower)],
            place(self.paths.upper(record.id)),
            place(self.paths.work(record.id)),
            self.paths.merged(record.id),
        )

    async def _mount_sources(self, record: ContainerRecord, remapped: Remapped | None = None) -> list[MountSource]:
        sources: list[MountSource] = []
        for number, mount in enumerate(record.mounts):
            source = Path(mount.source)
            if mount.type == "volume":
                source = await self._volumes.mount(
                    mount.name, record.id, destination=mount.destination, read_write=mount.read_write
                )
                if self._remapping is not None and remapped and not self._volumes.is_mounted_on_use(mount.name):
                    source = self._remapping.place(source)
            elif mount.type == "bind":
                source = await asyncio.to_thread(prepare_bind, mount)
            elif mount.type == "image":
                source = self.paths.subpaths(record.id) / f"{number}-image"
                await self._mounter.mount_layers(self._images.lower_dirs(mount.source), source)
            if mount.subpath:
                place = self.paths.subpaths(record.id) / str(number)
                source = await asyncio.to_thread(bind_subpath, source, mount.subpath, place)
            sources.append(MountSource(mount, source))
        return sources

    async def _create(
        self, record: ContainerRecord, runtime: OciRuntime, bundle: Path, saved: Awaitable[None], *, fresh: bool
    ) -> int:
        config = record.config
        wanted = Launch(
            container_id=record.id,
            name=record.name,
            bundle=bundle,
            exit_dir=self.paths.exits,
            runtime=runtime.binary.path,
            runtime_arguments=runtime.arguments,
            log_path=None if record.host_config.log_config.type == "none" else self.paths.log(record.id),
            terminal=config.tty,
            stdin=config.open_stdin,
            # Docker closes the stdin of a terminal for nobody: after a detach the next one types on.
            leave_stdin_open=config.open_stdin and (config.tty or not config.stdin_once),
        )
        async with launched(runtime.spawner, self.conmon, wanted, fresh_mounts=fresh) as process:
            await process.begin()
            await saved
            try:
                pid = await process.pid(_CREATE_TIMEOUT_S)
            except Internal as error:
                raise start_error(error.message, record.path) from error
        self._specs.created(record, runtime.state_dir(record.id))
        size = record.host_config.console_size
        if config.tty and len(size) == 2 and all(size):
            with suppress(NotFound):
                conmon.resize(bundle, size[0], size[1])
        return pid

    async def let_go(self, record: ContainerRecord) -> None:
        """Let the process that ``bring_up`` made run its program."""
        await self.runtime(record).start(record.id, has_hooks=self._has_hooks(record))

    def _has_hooks(self, record: ContainerRecord) -> bool:
        """Whether the runtime has hooks to call after the start or at the end, which only it does."""
        return (self.paths.bundle(record.id) / _HOOKS_MARK).exists()

    # Down

    async def tear_down(self, record: ContainerRecord) -> None:
        """Take back all that ``bring_up`` made but the network; nothing there is no error."""
        bundle = self.paths.bundle(record.id)
        await self._copies.leave(record.id)
        try:
            runtime = self.runtime(record)
        except NotFound:  # its runtime was taken out of the configuration
            runtime = self._runtimes.get()
        state = runtime.state_dir(record.id)
        if self._has_hooks(record):
            await runtime.delete(record.id)
        gone = await asyncio.to_thread(self._remove_kernel_state, runtime, self.cgroup(record), state)
        if not gone:
            await runtime.delete(record.id)
            if not await asyncio.to_thread(cgrouptree.remove_group, self.cgroup(record)):
                raise Unavailable(f"processes of container {record.name} do not end: its control group is busy")
            await asyncio.to_thread(runtime.spawner.forget_group, self.cgroup(record))
        if bundle.exists():
            self._specs.removed(record)
            await self._mounter.unmount(self.paths.merged(record.id))
            await asyncio.to_thread(_remove_bundle, bundle)
        for mount in record.mounts:
            if mount.type == "volume":
                await self._volumes.unmount(mount.name, record.id)
        (self.paths.exits / record.id).unlink(missing_ok=True)

    def _remove_kernel_state(self, runtime: OciRuntime, cgroup: str, state: Path) -> bool:
        # What a finished container leaves is removed here without a process; the runtime's own delete,
        # which kills, is for what is not finished.
        if not cgrouptree.remove_group(cgroup, timeout_s=0.05):
            return False
        runtime.spawner.forget_group(cgroup)
        shutil.rmtree(state, ignore_errors=True)
        return True

    # While it runs

    def was_oom_killed(self, record: ContainerRecord) -> bool:
        """Whether the kernel killed a process of the container for its memory."""
        return (self.paths.bundle(record.id) / "oom").exists()

    async def pause(self, record: ContainerRecord) -> None:
        """Freeze its processes."""
        await self.runtime(record).pause(record.id)

    async def resume(self, record: ContainerRecord) -> None:
        """Let its processes go on."""
        await self.runtime(record).resume(record.id)

    async def update(self, record: ContainerRecord, resources: dict[str, Any]) -> None:
        """Change its limits."""
        runtime = self.runtime(record)
        lifted: list[str] = []
        if runtime.binary.kind == "crun":
            resources, lifted = cgroups.without_lifted(resources)
        if resources:
            await runtime.update(record.id, resources)
        for kind in lifted:
            await asyncio.to_thread(cgrouptree.lift_limit, self.cgroup(record), kind)

    def resize(self, record: ContainerRecord, rows: int, columns: int) -> None:
        """Set the size of its terminal."""
        conmon.resize(self.paths.bundle(record.id), rows, columns)

    async def exec_process(self, record: ContainerRecord, request: ExecCreateRequest) -> dict[str, Any]:
        """Return the OCI process of an exec."""
        return await self._specs.process(record, request)

    def kill_process(self, record: ContainerRecord, pid: int) -> None:
        """Kill one process if it is in the container's control group."""
        if pid > 0 and any(record.id in group for group in cgrouptree.process_group(pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, 9)


def _make_init_layer(top: Path) -> None:
    """Make what every container finds beside its image: the marker file and the mount points."""
    for name in ("dev/pts", "dev/shm", "proc", "sys", "etc"):
        (top / name).mkdir(mode=0o755, parents=True, exist_ok=True)
    for name in (".dockerenv", "dev/console", "etc/hostname", "etc/hosts", "etc/resolv.conf"):
        (top / name).touch(mode=0o755)  # as dockerd's
    with suppress(FileExistsError):
        (top / "etc/mtab").symlink_to("/proc/mounts")
    top.chmod(0o755)


def _write_spec(bundle: Path, spec: dict[str, Any]) -> None:
    if spec.get("hooks", {}).keys() & {"poststart", "poststop"}:
        (bundle / _HOOKS_MARK).touch()
    (bundle / "config.json").write_bytes(msgspec.json.encode(spec))


def _remove_bundle(bundle: Path) -> None:
    unmount(bundle / "merged")
    shutil.rmtree(bundle, ignore_errors=True)


def _tree_size(top: Path) -> int:
    size = 0
    seen: set[tuple[int, int]] = set()
    for folder, _, files in os.walk(top):
        for name in files:
            with suppress(OSError):
                info = os.lstat(os.path.join(folder, name))  # noqa: PTH118 - a Path a file is half of the time
                if (info.st_dev, info.st_ino) not in seen:
                    seen.add((info.st_dev, info.st_ino))
                    size += info.st_size
    return size


def _is_root_shared() -> bool:
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        fields = line.split(" ")
        if fields[4] == "/":
            return any(field.startswith("shared:") for field in fields[6 : fields.index("-")])
    return False
