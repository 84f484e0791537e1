"""The mounts of a RUN: what the container gets, what of them counts for the key, what is given back afterwards.

Secrets lie in memory beneath the exec root while the step runs, and nowhere else.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import posixpath
import secrets as random
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from engine.build.build import Build
from engine.build.digests import TreeDigests
from engine.build.dockerfile.mounts import BuildMount
from engine.build.state import State
from engine.build.transfer import LayerWriter, Look
from engine.errors import Internal, InvalidArgument, NotFound
from engine.model.base import given
from engine.model.record import MountRecord

Sources = Callable[[str], Awaitable[State]]


@dataclass
class StepMounts:
    """Mounts that are ready. ``env`` are variables that they bring."""

    records: list[MountRecord] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)


def target_of(mount: BuildMount, state: State, number: int) -> str:
    """Return where a mount goes; raises InvalidArgument when it does not say and needs to."""
    target = mount.target
    if not target and mount.type == "secret":
        target = f"/run/secrets/{posixpath.basename(mount.id or mount.source)}"
    if not target and mount.type == "ssh":
        target = f"/run/buildkit/ssh_agent.{number}"
    if not target:
        raise InvalidArgument(f"invalid mount of type {mount.type}: target is missing")
    target = posixpath.normpath(posixpath.join("/", given(state.config.working_dir, ""), target))
    if target.strip("/") == "":
        raise InvalidArgument("invalid mount target /")
    return target


def cache_id(mount: BuildMount, target: str) -> str:
    """Return the ID of a cache mount: its own, or its target's."""
    return mount.id or target


async def mount_inputs(mounts: list[BuildMount], state: State, build: Build, resolve: Sources) -> dict[str, str]:
    """Return what of the mounts counts for the key: contents that are bound, and how the others look."""
    found: dict[str, str] = {}
    for number, mount in enumerate(mounts):
        target = target_of(mount, state, number)
        shape = f"{mount.type} {target} {mount.id} {mount.source} {mount.read_only} {mount.env}"
        if mount.type == "bind":
            root, sums = build.context.root, build.context.sums
            if mount.origin:
                origin = await resolve(mount.origin)
                view = await build.workspace.view(origin)
                root, sums = view or build.workspace.place("none"), None
                if view is None:
                    await asyncio.to_thread(root.mkdir, 0o755)
            try:
                digest = await asyncio.to_thread(TreeDigests(root, sums).source, mount.source or "/")
            except NotFound as error:
                raise Internal(f'failed to calculate checksum of mount source "{mount.source}": not found') from error
            shape += f" {digest.key}"
        found[f"mount {target}"] = shape
    return found


@asynccontextmanager
async def prepared_mounts(
    mounts: list[BuildMount], state: State, build: Build, resolve: Sources, root: Path
) -> AsyncIterator[StepMounts]:
    """Make the mounts for the length of a context; ``root`` is where cache mounts lie.

    Raises InvalidArgument and Internal for a secret, an agent or a source that is not there.
    """
    ready = StepMounts()
    async with AsyncExitStack() as stack:
        for number, mount in enumerate(mounts):
            target = target_of(mount, state, number)
            if mount.type == "tmpfs":
                options = [f"size={mount.size}"] if mount.size else []
                ready.records.append(MountRecord(type="tmpfs", destination=target, options=options))
            elif mount.type == "bind":
                ready.records.append(await _bind(mount, target, build, resolve))
            elif mount.type == "cache":
                place = await stack.enter_async_context(_cache(mount, target, build, resolve, root))
                ready.records.append(_bound(place, target, read_only=bool(mount.read_only)))
            elif mount.type == "secret":
                await _secret(mount, target, build, ready)
            else:
                _agent(mount, target, build, ready)
        yield ready


def _bound(place: Path, target: str, *, read_only: bool, subpath: str = "") -> MountRecord:
    return MountRecord(
        type="bind",
        source=str(place),
        destination=target,
        read_write=not read_only,
        propagation="rprivate",
        subpath=subpath,
    )


async def _bind(mount: BuildMount, target: str, build: Build, resolve: Sources) -> MountRecord:
    subpath = mount.source.strip("/")
    if mount.origin:
        origin = await resolve(mount.origin)
        view = await build.workspace.view(origin) if mount.read_only else None
        view = view or await build.workspace.fresh_view(origin)
        return _bound(view, target, read_only=bool(mount.read_only), subpath=subpath)
    place = build.context.root
    if not mount.read_only:
        place = await build.workspace.overlay([place])
    return _bound(place, target, read_only=bool(mount.read_only), subpath=subpath)


@asynccontextmanager
async def _cache(mount: BuildMount, target: str, build: Build, resolve: Sources, root: Path) -> AsyncIterator[Path]:
    """Yield the folder of a cache mount: the shared one, or one of its own while another step has it."""
    identifier = cache_id(mount, target)
    name = hashlib.sha256(f"{identifier}\0{mount.origin}\0{mount.source}".encode()).hexdigest()
    shared = build.shared
    async with AsyncExitStack() as stack:
        if mount.sharing == "locked":
            await stack.enter_async_context(shared.locked_mounts.setdefault(name, asyncio.Lock()))
        place = root / name
        if mount.sharing == "private" and shared.mounts_in_use.get(name):
            place = root / f"{name}-{random.token_hex(8)}"
        shared.mounts_in_use[name] = shared.mounts_in_use.get(name, 0) + 1
        try:
            if not place.exists():
                view = await build.workspace.view(await resolve(mount.origin)) if mount.origin else None
                await asyncio.to_thread(_make_cache, place, mount, view, identifier)
            yield place / "files"
        finally:
            shared.mounts_in_use[name] -= 1
            if place.name != name:
                await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)


def _make_cache(place: Path, mount: BuildMount, view: Path | None, identifier: str) -> None:
    """Make a cache mount's folder whole, or not at all."""
    making = place.with_name(f"{place.name}.new-{random.token_hex(4)}")
    files = making / "files"
    files.mkdir(parents=True)
    (making / "id").write_text(identifier)
    if view is not None:
        source = view / mount.source.strip("/")
        if source.is_dir() and not source.is_symlink():
            LayerWriter(files, None).put_tree(source, "", Look())
    os.chown(files, mount.uid or 0, mount.gid or 0)
    files.chmod(mount.mode if mount.mode is not None else 0o755)
    try:
        making.rename(place)
    except OSError:  # another step was faster
        shutil.rmtree(making, ignore_errors=True)


async def _secret(mount: BuildMount, target: str, build: Build, ready: StepMounts) -> None:
    identifier = mount.id or mount.source or posixpath.basename(mount.target)
    content = build.options.secrets.get(identifier)
    if content is None:
        if mount.required:
            raise InvalidArgument(
                f"secret {identifier}: not found", hint=f"give it: portside build --secret id={identifier},src=FILE"
            )
        return
    if mount.env is not None:
        ready.env[mount.env or identifier] = content.decode(errors="surrogateescape")
        if not mount.target:
            return
    place = build.workspace.volatile / f"secret-{random.token_hex(8)}"

    def write() -> None:
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.chown(place, mount.uid or 0, mount.gid or 0)
        place.chmod(mount.mode if mount.mode is not None else 0o400)

    await asyncio.to_thread(write)
    ready.records.append(_bound(place, target, read_only=True))


def _agent(mount: BuildMount, target: str, build: Build, ready: StepMounts) -> None:
    identifier = mount.id or "default"
    path = build.options.agents.get(identifier)
    if path is None or not Path(path).is_socket():
        if mount.required:
            raise InvalidArgument(
                f"SSH agent {identifier}: not found", hint=f"give it: portside build --ssh {identifier}"
            )
        return
    ready.records.append(_bound(Path(path), target, read_only=False))
    ready.env.setdefault("SSH_AUTH_SOCK", target)
