"""The OCI configuration of a container that starts, and of an exec in one that runs.

Between the records and ``engine/runtime/spec.py``, which is pure: looks users up in the image, finds the
namespaces of joined containers, fills new volumes, makes the working directory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from engine.containers.copyup import copy_up
from engine.containers.interfaces import Sandbox
from engine.containers.paths import ContainerPaths
from engine.errors import Conflict, Internal, InvalidArgument, NotFound
from engine.model.execution import ExecCreateRequest
from engine.model.record import ContainerRecord
from engine.runtime import apparmor, syscalls
from engine.runtime.drivers import OciRuntime
from engine.runtime.host import HostFacts
from engine.runtime.mounts import unmount
from engine.runtime.rootfs import RootDir
from engine.runtime.seccomp import SeccompCache
from engine.runtime.spec import (
    ExecInputs,
    Remapped,
    SourcedMount,
    SpecDefaults,
    SpecInputs,
    apparmor_profile,
    build_exec_process,
    build_spec,
)
from engine.runtime.usernamespaces import acting_as
from engine.runtime.users import ResolvedUser, resolve_user

DEFAULT_SHM_BYTES = 64 * 1024 * 1024


class ContainerSpecs:
    """Makes configurations; its work is done in threads."""

    def __init__(
        self,
        paths: ContainerPaths,
        host: HostFacts,
        defaults: SpecDefaults,
        find: Callable[[str], ContainerRecord],
    ) -> None:
        """``find`` returns the record that a reference means, for joined namespaces."""
        self._paths = paths
        self._host = host
        self._defaults = defaults
        self._find = find
        self._filters = SeccompCache(paths.exec_root / "seccomp")
        self._profiles: dict[str, dict[str, Any]] = {}

    async def container(
        self,
        record: ContainerRecord,
        sandbox: Sandbox,
        cgroup: str,
        runtime: OciRuntime,
        mounts: Sequence[SourcedMount],
        remapped: Remapped | None = None,
    ) -> dict[str, Any]:
        """Fill the mounted root file system and return ``config.json``.

        Raises InvalidArgument for an unknown user, Conflict for a joined container that does not run.
        """
        joined = {kind: self._joined(record, kind) for kind in ("ipc", "pid")}
        if self._host.apparmor and apparmor_profile(record, self._defaults) == self._defaults.apparmor_profile:
            await asyncio.to_thread(apparmor.ensure_loaded, self._defaults.apparmor_profile)
        return await asyncio.to_thread(self._build, record, sandbox, cgroup, runtime, mounts, joined, remapped)

    def _joined(self, record: ContainerRecord, kind: str) -> ContainerRecord | None:
        mode = record.host_config.ipc_mode if kind == "ipc" else record.host_config.pid_mode
        if not mode.startswith("container:"):
            return None
        donor = mode.removeprefix("container:")
        try:
            return self._donor(donor, kind)
        except (NotFound, Conflict, InvalidArgument) as error:
            # moby finds out about PID namespaces where every fault counts as one of its own.
            wrapped = Internal if kind == "pid" else InvalidArgument if isinstance(error, NotFound) else type(error)
            raise wrapped(error.message, hint=error.hint) from error

    def _donor(self, donor: str, kind: str) -> ContainerRecord:
        other = self._find(donor)
        if other.state.status not in ("running", "paused") or not other.state.pid:
            raise Conflict(f"container {donor} is not running")
        if kind == "ipc" and other.host_config.ipc_mode not in ("shareable", "host"):
            raise InvalidArgument(
                f"container {donor}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
            )
        return other

    def _build(
        self,
        record: ContainerRecord,
        sandbox: Sandbox,
        cgroup: str,
        runtime: OciRuntime,
        mounts: Sequence[SourcedMount],
        joined: dict[str, ContainerRecord | None],
        remapped: Remapped | None,
    ) -> dict[str, Any]:
        with acting_as(remapped.mapping.root if remapped else None):
            return self._build_inside(record, sandbox, cgroup, runtime, mounts, joined, remapped)

    def _build_inside(
        self,
        record: ContainerRecord,
        sandbox: Sandbox,
        cgroup: str,
        runtime: OciRuntime,
        mounts: Sequence[SourcedMount],
        joined: dict[str, ContainerRecord | None],
        remapped: Remapped | None,
    ) -> dict[str, Any]:
        rootfs = self._paths.merged(record.id)
        for item in mounts:
            if item.mount.copy_up:
                copy_up(rootfs, item.mount, item.source)
        user = resolve_user(rootfs, record.config.user, record.host_config.group_add or ())
        if record.config.working_dir:
            self._make_working_dir(rootfs, record.config.working_dir, mounts)
        ipc, pid = joined["ipc"], joined["pid"]
        inputs = SpecInputs(
            record=record,
            rootfs=rootfs,
            files_dir=remapped.files_dir if remapped else self._paths.data(record.id),
            user=user,
            cgroups_path=cgroup,
            host=self._host,
            mounts=mounts,
            netns_path=sandbox.netns_path,
            ipc_path=f"/proc/{ipc.state.pid}/ns/ipc" if ipc else None,
            pid_path=f"/proc/{pid.state.pid}/ns/pid" if pid else None,
            shm_path=self._shm(record, ipc, remapped),
            remapped=remapped,
            data_root=self._paths.data_root,
            defaults=self._defaults,
        )
        spec = build_spec(inputs)
        if runtime.binary.kind == "crun":
            profile = spec["linux"].get("seccomp")
            self._filters.apply(spec)
            if profile is not None and spec["linux"]["seccomp"] is profile:
                self._profiles[record.id] = profile
        return spec

    def _make_working_dir(self, rootfs: Path, folder: str, mounts: Sequence[SourcedMount]) -> None:
        if any(folder == item.mount.destination or folder.startswith(item.mount.destination + "/") for item in mounts):
            return  # beneath a mount: the runtime makes it there
        with RootDir(rootfs) as root:
            try:
                root.make_dirs(folder)
            except NotADirectoryError:
                raise InvalidArgument(f"Cannot mkdir: {folder} is not a directory") from None

    def _shm(self, record: ContainerRecord, ipc: ContainerRecord | None, remapped: Remapped | None) -> Path | None:
        """Return the tmpfs that a shareable container has on the host, made now, or a joined one's."""
        if ipc is not None:
            return None if ipc.host_config.ipc_mode == "host" else self._paths.shm(ipc.id)
        if record.host_config.ipc_mode != "shareable":
            return None
        path = self._paths.shm(record.id)
        path.mkdir(mode=0o700, exist_ok=True)
        size = record.host_config.shm_size or DEFAULT_SHM_BYTES
        flags = syscalls.MS_NOEXEC | syscalls.MS_NOSUID | syscalls.MS_NODEV
        owner = ",uid={},gid={}".format(*remapped.mapping.root) if remapped else ""
        syscalls.mount("shm", str(path), "tmpfs", flags, f"mode=1777,size={size}{owner}")
        return path

    def created(self, record: ContainerRecord, state_dir: Path) -> None:
        """Keep the seccomp filter that the runtime compiled for this container (blocking, one read)."""
        profile = self._profiles.pop(record.id, None)
        if profile is not None:
            self._filters.keep(profile, state_dir)

    def removed(self, record: ContainerRecord) -> None:
        """Unmount what ``container`` mounted for it."""
        self._profiles.pop(record.id, None)
        with suppress(FileNotFoundError):
            unmount(self._paths.shm(record.id))

    async def process(self, record: ContainerRecord, request: ExecCreateRequest) -> dict[str, Any]:
        """Return the OCI process of an exec; its user is looked up in the running container."""
        user = await asyncio.to_thread(self._exec_user, record, request.user)
        return build_exec_process(ExecInputs(record, user, self._host, self._defaults), request)

    def _exec_user(self, record: ContainerRecord, user: str) -> ResolvedUser:
        root = Path(f"/proc/{record.state.pid}/root")
        return resolve_user(root, user or record.config.user, record.host_config.group_add or ())
