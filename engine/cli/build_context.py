"""The context of ``portside build``: a folder as a tar, without what .dockerignore leaves out.

Knows no engine. Files belong to root and have whole seconds, as the docker command sends them.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import stat
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from engine.cli.failures import CommandError
from engine.errors import InvalidArgument
from engine.wire.dockerignore import IgnoreRules, read_patterns
from engine.wire.tarencode import (
    BLOCK,
    CHARACTER,
    END,
    FILE,
    FOLDER,
    HARD_LINK,
    PIPE,
    SYMLINK,
    encode_member,
    padding,
)

IGNORE_FILE = ".dockerignore"
_REMOVED = b"../removed"
_RACY_NS = 2_000_000_000
_BLOCK = 1 << 20
_KINDS = {stat.S_IFCHR: CHARACTER, stat.S_IFBLK: BLOCK, stat.S_IFIFO: PIPE}
_MAGIC = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")


Facts = tuple[int, int, int, int, int]
"""What tells whether a file has changed: mode, size, times of content and of the rest, inode."""


def facts_of(info: os.stat_result) -> Facts:
    """Return a file's facts; of a folder only its mode counts."""
    if stat.S_ISDIR(info.st_mode):
        return info.st_mode, 0, 0, 0, 0
    return info.st_mode, info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino


@dataclass
class LocalContext:
    """A folder that is sent. ``extra`` are files that are put beside what is in it."""

    folder: Path
    dockerfile: str
    text: str
    rules: IgnoreRules
    extra: dict[str, bytes] = field(default_factory=dict)
    base: Mapping[str, Facts] | None = None
    seen: dict[str, Facts] = field(default_factory=dict)
    sent_bytes: int = 0

    def why_ignored(self, path: str) -> str:
        """Return the pattern that leaves a path out, "" when it is not left out."""
        return self.rules.why(path.strip("/"))

    async def blocks(self) -> AsyncIterator[bytes]:
        """Yield the tar; with ``base`` only what is different from it, and what is not there any more."""
        self.seen = {}
        pieces = _batched(self._pieces())
        while (block := await asyncio.to_thread(next, pieces, None)) is not None:
            self.sent_bytes += len(block)
            yield block

    def _pieces(self) -> Iterator[bytes]:
        now_s = int(time.time())
        for name, data in self.extra.items():
            yield encode_member(os.fsencode(name), FILE, mode=0o600, size=len(data), mtime_s=now_s)
            yield data + padding(len(data))
        entries = list(self._entries("", str(self.folder)))
        self.seen = {path: facts_of(info) for path, info in entries}
        base = self.base
        if base is not None:
            gone = b"".join(os.fsencode(path) + b"\0" for path in base if path not in self.seen)
            yield encode_member(_REMOVED, FILE, mode=0o600, size=len(gone)) + gone + padding(len(gone))
        links: dict[tuple[int, int], bytes] = {}
        always = (IGNORE_FILE, self.dockerfile)  # the engine may have hidden them
        for path, info in entries:
            if base is None or path in always or base.get(path) != self.seen[path]:
                yield from _member(self.folder, path, info, links)
        yield END

    def settled(self) -> dict[str, Facts]:
        """Return what was sent; what is so new that it may have changed while it was read has facts of no file."""
        newest = time.time_ns() - _RACY_NS
        return {
            path: facts if max(facts[2], facts[3]) < newest else (0, 0, 0, 0, 0) for path, facts in self.seen.items()
        }

    def _entries(self, beneath: str, folder: str) -> Iterator[tuple[str, os.stat_result]]:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: os.fsencode(entry.name))
        for entry in found:
            path = f"{beneath}/{entry.name}" if beneath else entry.name
            if path in self.extra:
                continue
            is_kept = path in (IGNORE_FILE, self.dockerfile) or not self.rules.ignores(path)
            is_folder = entry.is_dir(follow_symlinks=False)
            if is_kept:
                yield path, entry.stat(follow_symlinks=False)
            holds_dockerfile = self.dockerfile.startswith(f"{path}/")
            if is_folder and (is_kept or holds_dockerfile or not self.rules.may_skip(path)):
                yield from self._entries(path, entry.path)


def _batched(pieces: Iterator[bytes]) -> Iterator[bytes]:
    batch = bytearray()
    for piece in pieces:
        batch += piece
        if len(batch) >= _BLOCK:
            yield bytes(batch)
            batch.clear()
    if batch:
        yield bytes(batch)


def _member(top: Path, path: str, info: os.stat_result, links: dict[tuple[int, int], bytes]) -> Iterator[bytes]:
    name, mode, mtime_s = os.fsencode(path), stat.S_IMODE(info.st_mode), int(info.st_mtime)
    if stat.S_ISSOCK(info.st_mode):
        return
    if stat.S_ISDIR(info.st_mode):
        yield encode_member(name + b"/", FOLDER, mode=mode, mtime_s=mtime_s)
        return
    if stat.S_ISLNK(info.st_mode):
        target = os.fsencode((top / path).readlink())
        yield encode_member(name, SYMLINK, mode=0o777, mtime_s=mtime_s, link=target)
        return
    inode = (info.st_dev, info.st_ino)
    if info.st_nlink > 1:
        first = links.setdefault(inode, name)
        if first != name:
            yield encode_member(name, HARD_LINK, mode=mode, mtime_s=mtime_s, link=first)
            return
    if not stat.S_ISREG(info.st_mode):
        kind = _KINDS[stat.S_IFMT(info.st_mode)]
        major, minor = os.major(info.st_rdev), os.minor(info.st_rdev)
        yield encode_member(name, kind, mode=mode, mtime_s=mtime_s, major=major, minor=minor)
        return
    try:
        file = (top / path).open("rb", buffering=0)
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise CommandError(
            f"error checking context: can't stat {path!r}: {reason}", hint="leave it out with .dockerignore"
        ) from error
    with file:
        yield encode_member(name, FILE, mode=mode, mtime_s=mtime_s, size=info.st_size)
        left = info.st_size
        while left:
            block = file.read(min(left, _BLOCK)) or bytes(min(left, _BLOCK))  # it became shorter meanwhile
            left -= len(block)
            yield block
        yield padding(info.st_size)


def open_context(folder: Path, dockerfile: str, stdin: bytes | None = None) -> LocalContext:
    """Return the context of a folder; ``dockerfile`` is -f's value, and ``stdin`` its text when that is ``-``.

    Raises CommandError with Docker's texts when the folder or the Dockerfile is not there.
    """
    if not folder.is_dir():
        raise CommandError(f"unable to prepare context: path {str(folder)!r} not found".replace("'", '"'))
    extra: dict[str, bytes] = {}
    ignore_file = folder / IGNORE_FILE
    if stdin is not None:
        name, data = f".dockerfile.{secrets.token_hex(10)}", stdin
    else:
        place = _dockerfile_place(folder, dockerfile)
        try:
            data = place.read_bytes()
        except OSError as error:
            reason = "no such file or directory" if isinstance(error, FileNotFoundError) else str(error.strerror)
            raise CommandError(
                f"unable to prepare context: unable to evaluate symlinks in Dockerfile path: lstat {place}: {reason}",
                hint=_nearby(folder),
            ) from error
        own = place.with_name(f"{place.name}.dockerignore")
        ignore_file = own if own.is_file() else ignore_file
        try:
            name = place.resolve().relative_to(folder.resolve()).as_posix()
        except ValueError:
            name = f".dockerfile.{secrets.token_hex(10)}"
    ignored = ignore_file.read_bytes() if ignore_file.is_file() else b""
    try:
        rules = IgnoreRules(read_patterns(ignored.decode("utf-8", "surrogateescape")))
    except InvalidArgument as error:
        raise CommandError(f"error checking context: {ignore_file}: {error.message}") from error
    if name.startswith(".dockerfile."):
        extra[name] = data
        hidden = ignored + f"\n{IGNORE_FILE if not ignored else ''}\n{name}\n".encode()
        extra[IGNORE_FILE] = hidden
    return LocalContext(folder, name, data.decode("utf-8", "surrogateescape"), rules, extra)


def _dockerfile_place(folder: Path, dockerfile: str) -> Path:
    if dockerfile:
        return Path(dockerfile)
    place = folder / "Dockerfile"
    lower = folder / "dockerfile"
    return lower if not place.exists() and lower.exists() else place


def _nearby(folder: Path) -> str:
    names = sorted(entry.name for entry in folder.iterdir() if "dockerfile" in entry.name.lower())
    return f"there are {', '.join(names)}: name one with -f" if names else "name the Dockerfile with -f"


def is_archive(head: bytes) -> bool:
    """Whether what comes on standard input is a context and no Dockerfile."""
    return head.startswith(_MAGIC) or head[257:262] == b"ustar"


async def only_dockerfile(data: bytes) -> AsyncIterator[bytes]:
    """Yield a context that holds a Dockerfile and nothing else."""
    head = encode_member(b"Dockerfile", FILE, mode=0o600, size=len(data), mtime_s=int(time.time()))
    yield head + data + padding(len(data)) + END
