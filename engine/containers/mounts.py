"""The mounts of a container: planned when it is created, prepared when it starts, shown by inspect.

Volumes are asked for through the narrow interface; the kernel mounts what the OCI configuration says.
"""

from __future__ import annotations

import posixpath
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from msgspec import UNSET, structs

from engine.containers.interfaces import ResolvedImage, Volumes
from engine.containers.mountspec import (
    MountPlan,
    check_tmpfs_target,
    parse_bind,
    parse_mount,
    parse_volumes_from,
)
from engine.errors import Conflict, InvalidArgument, NotFound
from engine.model.base import given
from engine.model.container import ContainerCreateRequest
from engine.model.mount import MountPoint
from engine.model.record import ContainerRecord, MountRecord
from engine.runtime.tmpfs import merged_options, split_options

ANONYMOUS_LABEL = "com.docker.volume.anonymous"
LOCAL_DRIVER = "local"
_ROOT_PROPAGATION = frozenset({"rslave", "rshared"})


async def plan_mounts(
    record: ContainerRecord,
    request: ContainerCreateRequest,
    image: ResolvedImage | None,
    volumes: Volumes,
    find_container: Callable[[str], ContainerRecord],
    *,
    find_image: Callable[[str], ResolvedImage] | None = None,
    data_root: Path | None = None,
    api_version: tuple[int, int] = (1, 51),
) -> list[MountRecord]:
    """Return the mounts of a new container, making the volumes that it names.

    ``record`` is the one of ``build_record``: its configuration has the image's volumes already. A failure
    removes the anonymous volumes that were made. Raises InvalidArgument, NotFound, Conflict, NotSupported.
    """
    plans = _collect(record, find_container)
    for plan in plans:
        _guard_data_root(plan.record, data_root)
        if api_version < (1, 44) and plan.record.type == "bind" and not plan.record.read_write:
            plan.record.read_only_non_recursive = True
    done: list[MountRecord] = []
    try:
        for plan in plans:
            if plan.record.type == "volume":
                await _make_volume(plan, record.id, volumes)
            elif plan.record.type == "image" and find_image is not None and not plan.record.name:
                plan.record.name, plan.record.source = plan.record.source, find_image(plan.record.source).id
            done.append(plan.record)
    except BaseException:
        await undo_mounts(record.id, done, volumes)
        raise
    return done


async def undo_mounts(container_id: str, mounts: list[MountRecord], volumes: Volumes) -> None:
    """Give back what ``plan_mounts`` made for a container whose creation failed."""
    for mount in mounts:
        if mount.type == "volume":
            await volumes.unmount(mount.name, container_id)
            if mount.anonymous:
                with suppress(NotFound, Conflict):
                    await volumes.remove_anonymous(mount.name)


def _collect(record: ContainerRecord, find_container: Callable[[str], ContainerRecord]) -> list[MountPlan]:
    host_config = record.host_config
    tmpfs = {_checked_tmpfs(place, options) for place, options in given(host_config.tmpfs, {}).items()}
    found: dict[str, MountPlan] = {}
    for entry in host_config.volumes_from or []:
        container_ref, writable = parse_volumes_from(entry)
        for mount in find_container(container_ref).mounts:
            if mount.type != "tmpfs":
                copied = structs.replace(mount, read_write=mount.read_write and writable, copy_up=False, mode="")
                found[mount.destination] = MountPlan(copied)
    asked = [parse_bind(raw, host_config.volume_driver) for raw in host_config.binds or []]
    asked += [parse_mount(mount) for mount in given(host_config.mounts, [])]
    taken: set[str] = set(tmpfs)
    for plan in asked:
        destination = plan.record.destination
        if destination in taken:
            raise InvalidArgument(f"Duplicate mount point: {destination}")
        taken.add(destination)
        found[destination] = plan
    for place in record.config.volumes or {}:
        destination = posixpath.normpath(place)
        if not destination.startswith("/") or destination.lstrip("/") == "":
            raise InvalidArgument(f"invalid volume specification: '{place}'")
        if destination not in found and destination not in tmpfs:
            anonymous = MountRecord(
                type="volume",
                destination=destination,
                driver=host_config.volume_driver,
                copy_up=True,
                anonymous=True,
            )
            found[destination] = MountPlan(anonymous)
    return list(found.values())


def _checked_tmpfs(place: str, options: str) -> str:
    check_tmpfs_target(place)
    merged_options(split_options(options))
    return posixpath.normpath(place)


async def _make_volume(plan: MountPlan, container_id: str, volumes: Volumes) -> None:
    mount = plan.record
    labels = plan.labels
    if not mount.name:
        mount.name = secrets.token_hex(32)
        labels = {**labels, ANONYMOUS_LABEL: ""}
    path = await volumes.ensure(mount.name, mount.driver, plan.driver_options, labels, container_id=container_id)
    mount.source = str(path)
    mount.driver = mount.driver or LOCAL_DRIVER


def _guard_data_root(mount: MountRecord, data_root: Path | None) -> None:
    # A bind that shows the engine's own mounts must let go of them when they are unmounted here.
    if mount.type != "bind" or data_root is None:
        return
    source = Path(mount.source)
    if not source.is_relative_to(data_root) and not data_root.is_relative_to(source):
        return
    if mount.propagation == "rprivate":
        mount.propagation = "rslave"
    elif mount.propagation not in _ROOT_PROPAGATION:
        raise InvalidArgument(
            'invalid mount config: must use either propagation mode "rslave" or "rshared" when mount source is '
            f'within the daemon root, daemon root: "{data_root}", bind mount source: "{source}", '
            f'propagation: "{mount.propagation}"'
        )


def has_volume(record: ContainerRecord, name: str) -> bool:
    """Whether a container has a volume."""
    return any(mount.type == "volume" and mount.name == name for mount in record.mounts)


def uses_image(record: ContainerRecord, image_id: str) -> bool:
    """Whether a container was made from an image or mounts it."""
    return record.image_id == image_id or any(
        mount.type == "image" and mount.source == image_id for mount in record.mounts
    )


def prepare_bind(mount: MountRecord) -> Path:
    """Return the source of a bind mount, made as a folder when it is absent and may be made (blocking)."""
    source = Path(mount.source)
    if mount.create_source and not source.exists():
        try:
            source.mkdir(mode=0o755, parents=True, exist_ok=True)
        except NotADirectoryError:
            return source  # the runtime says what is wrong with it
        except OSError as error:
            raise InvalidArgument(
                f"error while creating mount source path '{source}': mkdir {source}: {error.strerror}"
            ) from error
    elif not source.exists():
        raise InvalidArgument(f'invalid mount config for type "bind": bind source path does not exist: {source}')
    return source


def mount_points(record: ContainerRecord) -> list[MountPoint]:
    """Return the mounts as inspect and list show them."""
    return [
        MountPoint(
            type=mount.type,
            name=mount.name or UNSET,
            source=mount.source,
            destination=mount.destination,
            driver=mount.driver or UNSET,
            mode=mount.mode,
            rw=mount.read_write,
            propagation=mount.propagation,
        )
        for mount in record.mounts
    ]
