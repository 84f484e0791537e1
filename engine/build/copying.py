"""COPY and ADD: from an instruction to sources with digests, and from those to a layer's folder."""

from __future__ import annotations

import asyncio
import os
import posixpath
import stat
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from engine.build.context import receive_context
from engine.build.digests import SourceDigest, TreeDigests, combined
from engine.build.dockerfile.instructions import Add, Copy, InlineFile, Transfer
from engine.build.download import Download, is_git, is_url
from engine.build.places import expand_wildcards, follow, has_wildcards
from engine.build.state import State
from engine.build.transfer import LayerWriter, Look, check_mode
from engine.build.workspace import Workspace
from engine.errors import Internal, InvalidArgument, NotFound, NotSupported, PortsideError
from engine.model.base import given
from engine.runtime.rootfs import RootDir
from engine.runtime.users import resolve_in
from engine.wire.dockerignore import IgnoreRules

_MAX_FILE_BYTES = 8 << 20
_ARCHIVES = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Origin:
    """Where sources are: a tree, its digests, and what an error calls it."""

    root: Path | None
    sums: Mapping[bytes, str] | None = None
    is_context: bool = False


@dataclass(frozen=True)
class Item:
    """One source: ``path`` as it was named or found beneath ``root``; ``base`` is its name at the destination."""

    root: Path
    path: str
    digest: SourceDigest
    base: str
    beneath: str = ""  # with --parents: the folders to make beneath the destination
    may_unpack: bool = False


@dataclass
class Plan:
    """A COPY or ADD with everything known that its key depends on."""

    instruction: Transfer
    keyword: str
    destination: str
    items: list[Item] = field(default_factory=list)
    keeps_owners: bool = False

    @property
    def shown(self) -> str:
        """What the history says of the sources."""
        return combined([item.digest.shown for item in self.items])

    @property
    def comment(self) -> str:
        """The history's line, without the shell."""
        owner = f"--chown={self.instruction.chown} " if self.instruction.chown else ""
        return f"{self.keyword} {owner}{self.shown} in {self.instruction.destination} "

    def inputs(self) -> dict[str, str]:
        """Return what goes into the key by name, so that a person can be told what changed."""
        found = {
            f"source {_shown(item.path) or '.'}": f"{_shown(item.base)} {_shown(item.beneath)} {item.digest.key}"
            for item in self.items
        }
        item = self.instruction
        found["destination"] = self.destination
        flags = [item.chown, item.chmod, str(item.link), *item.excludes, str(self.keeps_owners)]
        if isinstance(item, Copy):
            flags.append(str(item.parents))
        if isinstance(item, Add):
            flags.append(str(item.unpack))
        found["flags"] = " ".join(flags)
        return found


def _shown(path: str) -> str:
    """Return a path as text, also one that is no UTF-8, so that different ones stay different."""
    return path if path.isascii() else os.fsencode(path).decode("utf-8", "backslashreplace")


def destination_of(state: State, destination: str) -> str:
    """Return an absolute destination; a slash at its end stays."""
    if destination.startswith("/"):
        return destination
    joined = posixpath.normpath(posixpath.join("/", given(state.config.working_dir, "") or "/", destination))
    if destination.endswith(("/", "/.")) or destination in (".", "./", ""):
        joined = joined.rstrip("/") + "/"
    return joined


async def plan_copy(
    state: State, instruction: Transfer, origin: Origin, workspace: Workspace, *, is_image: bool
) -> Plan:
    """Find the sources and their digests; ``is_image`` when they come from an image or a stage.

    Raises NotFound and InvalidArgument with moby's texts.
    """
    keyword = "ADD" if isinstance(instruction, Add) else "COPY"
    plan = Plan(
        instruction,
        keyword,
        destination_of(state, instruction.destination),
        keeps_owners=is_image and not instruction.chown,
    )
    if instruction.chmod:
        check_mode(instruction.chmod)
    try:
        for source in instruction.sources:
            plan.items += await _items(plan, source, origin, workspace)
    except NotFound as error:
        raise Internal(f"{keyword} failed: {error.message}", hint=error.hint) from error
    for file in instruction.files:
        plan.items.append(await _inline(file, workspace))
    if not plan.items:
        raise Internal(f"{keyword} failed: no source files were specified")
    if len(plan.items) > 1 and not plan.destination.endswith("/"):
        raise InvalidArgument(
            f"When using {keyword} with more than one source file, the destination must be a directory and end with a /"
        )
    return plan


async def _items(plan: Plan, source: str, origin: Origin, workspace: Workspace) -> list[Item]:
    instruction = plan.instruction
    if is_url(source) or is_git(source):
        if not isinstance(instruction, Add):
            raise Internal("COPY failed: source can't be a URL for COPY")
        if is_git(source):
            raise NotSupported("ADD of a git repository is not supported by Portside yet: clone it in a RUN step")
        return [await _downloaded(plan, instruction, source, workspace)]
    if isinstance(instruction, Add) and instruction.checksum:
        raise InvalidArgument("checksum requires HTTP(S) or Git sources")
    if origin.root is None:
        raise NotFound(f"stat {source}: file does not exist")
    return await asyncio.to_thread(_local, plan, source, origin, origin.root)


async def _downloaded(plan: Plan, instruction: Add, source: str, workspace: Workspace) -> Item:
    folder = workspace.place("download")
    download = Download(source, folder, instruction.checksum)
    name = await download.fetch()
    if not name:
        if plan.destination.endswith("/"):
            raise Internal(f"ADD failed: cannot determine filename for source {source}")
        name = posixpath.basename(plan.destination)
    await asyncio.to_thread(download.keep_as, name)
    digest = await asyncio.to_thread(TreeDigests(folder).source, name)
    return Item(folder, name, digest, name, may_unpack=bool(instruction.unpack))


async def _inline(file: InlineFile, workspace: Workspace) -> Item:
    folder = workspace.place("inline")

    def write() -> SourceDigest:
        folder.mkdir(mode=0o755)
        place = folder / file.name.replace("/", "_")
        place.write_bytes(file.data.encode("utf-8", "surrogateescape"))
        place.chmod(0o644)
        os.utime(place, (0, 0))
        return TreeDigests(folder).source(place.name)

    digest = await asyncio.to_thread(write)
    name = file.name.replace("/", "_")
    return Item(folder, name, digest, name)


def _local(plan: Plan, source: str, origin: Origin, root: Path) -> list[Item]:
    instruction = plan.instruction
    digests = TreeDigests(root, origin.sums)
    ignores = IgnoreRules(instruction.excludes).ignores if instruction.excludes else None
    unpacks = isinstance(instruction, Add) and instruction.unpack is not False
    parents = isinstance(instruction, Copy) and instruction.parents
    pivot, path = "", source.lstrip("/").removeprefix("./")
    if parents and "/./" in source:
        pivot, _, path = source.lstrip("/").partition("/./")
    whole = f"{pivot}/{path}" if pivot else path
    paths = expand_wildcards(root, whole) if has_wildcards(whole) else [whole]
    items: list[Item] = []
    for found in paths:
        if ignores is not None and found != whole and ignores(found):
            continue
        try:
            digest = digests.source(found, ignores)
        except NotFound as error:
            if not origin.is_context:
                raise
            raise NotFound(
                f"file not found in build context or excluded by .dockerignore: {error.message}",
                hint="look whether it is in the context, and whether .dockerignore leaves it out",
            ) from error
        base = posixpath.basename(posixpath.normpath(found)) if found.strip("/.") else ""
        beneath = posixpath.dirname(found.removeprefix(f"{pivot}/") if pivot else found) if parents else ""
        items.append(Item(root, found, digest, base, beneath, unpacks))
    return items


def owner_of(chown: str, view: Path | None) -> tuple[int, int]:
    """Return the user and group of ``--chown``, looked up in the image; raises Internal with moby's texts."""
    user, colon, group = chown.partition(":")
    if ":" in group:
        raise Internal(f"invalid chown string format: {chown}")
    passwd = groups = None
    if view is not None:
        with RootDir(view) as root:
            passwd = root.read_file("/etc/passwd", _MAX_FILE_BYTES)
            groups = root.read_file("/etc/group", _MAX_FILE_BYTES)
    refusal = "unable to convert uid/gid chown string to host mapping"
    uid_known = user.isascii() and user.isdigit()
    try:
        found = resolve_in(passwd, groups, user)
    except InvalidArgument as error:
        raise Internal(f"{refusal}: can't find uid for user {user}: no such user: {user}") from error
    uid = int(user) if uid_known else found.uid
    word = group if colon and group else user
    if word.isascii() and word.isdigit():
        return uid, int(word)
    try:
        return uid, resolve_in(passwd, groups, f"0:{word}").gid
    except InvalidArgument as error:
        if not colon:  # no group of that name: the user's own
            return uid, found.gid
        raise Internal(f"{refusal}: can't find gid for group {word}: no such group: {word}") from error


async def perform(plan: Plan, view: Path | None, workspace: Workspace, latest_ns: int | None = None) -> Path:
    """Make the layer's folder of a plan; ``view`` is the image's mount (None: an empty image).

    Nothing in it is younger than ``latest_ns``, where that is given.
    """
    top = workspace.place("layer")
    await asyncio.to_thread(top.mkdir, 0o755)
    instruction = plan.instruction
    writer = LayerWriter(top, None if instruction.link else view)
    if instruction.chown:
        uid, gid = await asyncio.to_thread(owner_of, instruction.chown, view)
        look = Look(uid, gid, instruction.chmod, latest_ns)
    elif plan.keeps_owners:
        look = Look(None, None, instruction.chmod, latest_ns)
    else:
        look = Look(0, 0, instruction.chmod, latest_ns)
    for item in plan.items:
        try:
            archive = await asyncio.to_thread(_archive_of, item)
            if archive is not None:
                await _unpack(plan, archive, writer, workspace, latest_ns)
            else:
                await asyncio.to_thread(_place, plan, item, writer, look)
        except OSError as error:
            raise Internal(f"failed to copy files: {error.strerror}: {error.filename}") from error
        except PortsideError as error:
            raise type(error)(f"failed to copy files: {error.message}", hint=error.hint) from error
    return top


def _archive_of(item: Item) -> Path | None:
    """Return a source's path if it is an archive that ADD unpacks (blocking)."""
    if not item.may_unpack:
        return None
    path = item.root / follow(item.root, item.path)
    if not stat.S_ISREG(path.lstat().st_mode):
        return None
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(_ARCHIVES) or head[257:262] == b"ustar":
        return path
    return None


async def _unpack(plan: Plan, archive: Path, writer: LayerWriter, workspace: Workspace, latest_ns: int | None) -> None:
    folder = workspace.place("unpacked")
    try:
        unpacked = await receive_context(folder, _blocks(archive), keeps_owners=True)
    except InvalidArgument as error:
        if not await asyncio.to_thread(_is_compressed_file, archive):
            raise
        raise InvalidArgument(f"{archive.name}: {error.message}") from error

    def place() -> None:
        explicit = set(unpacked.sums or ())
        target = writer.resolve(plan.destination)
        writer.make_folders(target, Look(0, 0))
        writer.put_tree(unpacked.root, target, Look(latest_ns=latest_ns), None, explicit)

    await asyncio.to_thread(place)


def _is_compressed_file(archive: Path) -> bool:
    with archive.open("rb") as file:
        return file.read(6).startswith(_ARCHIVES)


async def _blocks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while block := await asyncio.to_thread(file.read, _BLOCK):
            yield block


def _place(plan: Plan, item: Item, writer: LayerWriter, look: Look) -> None:
    instruction = plan.instruction
    source = item.root / follow(item.root, item.path)
    ignores = IgnoreRules(instruction.excludes).ignores if instruction.excludes else None
    new = Look(look.uid or 0, look.gid or 0)  # of folders that come into being above
    destination = plan.destination
    if item.beneath:
        destination = f"{destination.rstrip('/')}/{item.beneath}/"
    target = writer.resolve(destination)
    if stat.S_ISDIR(source.lstat().st_mode):
        if item.beneath or (isinstance(instruction, Copy) and instruction.parents and item.base):
            target = f"{target}/{item.base}".strip("/")
            writer.make_folders(posixpath.dirname(target), new)
            writer.put_tree(source, target, look, ignores)
            return
        writer.make_folders(posixpath.dirname(target), Look(0, 0))  # as Docker does: only the last one is given away
        writer.make_folders(target, new)
        writer.put_tree(source, target, look, ignores)
        return
    if writer.kind(target) == stat.S_IFDIR or destination.endswith("/") or not target:
        target = writer.resolve(f"{target}/{item.base}") if target else writer.resolve(item.base)
        if writer.kind(target) == stat.S_IFDIR:
            raise InvalidArgument(f"cannot copy a file over the folder /{target}")
    writer.make_folders(posixpath.dirname(target), new)
    writer.put(source, target, look)
