"""The context of a build: a folder with what COPY and ADD may take, and the digest of each member as Docker counts it.

It is filled from a tar while that arrives. Nothing in it is trusted: paths are looked up beneath its root only.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import msgspec

from engine.build.dockerfile.errors import DockerfileError
from engine.build.unpack import GONE, unpack_simple
from engine.errors import Internal, InvalidArgument, Unavailable
from engine.runtime.rootfs import RootDir
from engine.wire.dockerignore import IgnoreRules, read_patterns
from engine.wire.tarhead import TarError

DEFAULT_DOCKERFILE = "Dockerfile"
_MAX_DOCKERFILE_BYTES = 16 << 20
_STALL_S = 300.0
_SMALL_BYTES = 1 << 20
_HOME = Path(__file__).parents[2]
_LIBRARIES = os.pathsep.join(
    str(Path(spec.origin).parents[1])
    for spec in map(importlib.util.find_spec, ("isal", "zstandard"))
    if spec is not None and spec.origin is not None
)


class _Unpacked(msgspec.Struct):
    size: int = 0
    files: int = 0
    error: str = ""
    errno: int = 0


class Context:
    """A context in ``folder``; ``sums`` are the digests by path, none for what is not from an archive."""

    def __init__(self, folder: Path) -> None:
        """Use ``folder``, which holds the files in ``files`` and the digests in ``sums``."""
        self.folder = folder
        self.root = folder / "files"
        self._sums: dict[bytes, str] | None = None
        self.ignored: list[str] = []  # the patterns of .dockerignore, once the Dockerfile was read

    @property
    def sums(self) -> dict[bytes, str] | None:
        """The digests by path, None for a context that was no archive (blocking at the first use)."""
        if self._sums is None and (self.folder / "sums").exists():
            self._sums = {}
            for item in (self.folder / "sums").read_bytes().split(b"\0"):
                digest, _, name = item.partition(b" ")
                if digest == GONE:
                    self._sums.pop(name, None)
                elif digest:
                    self._sums[name] = digest.decode()
        return self._sums

    def dockerfile(self, name: str) -> tuple[str, str]:
        """Return the name and text of the Dockerfile (blocking), and hide what .dockerignore says to hide of it.

        Raises Internal with moby's text when it is not there, DockerfileError when it is empty.
        """
        name = name or DEFAULT_DOCKERFILE
        with RootDir(self.root) as root:
            data = root.read_file(name, _MAX_DOCKERFILE_BYTES)
            if data is None and name == DEFAULT_DOCKERFILE:
                lower = root.read_file(name.lower(), _MAX_DOCKERFILE_BYTES)
                name, data = (name.lower(), lower) if lower is not None else (name, data)
            ignored = root.read_file(".dockerignore", _MAX_DOCKERFILE_BYTES)
        if data is None:
            raise Internal(
                f"Cannot locate specified Dockerfile: {name}",
                hint="name it with -f, relative to the context; see whether .dockerignore hides it",
            )
        if ignored is not None:
            self._hide(name, ignored)
        if not data:
            raise DockerfileError(f"the Dockerfile ({name}) cannot be empty", 1, 1)
        return name, data.decode("utf-8", "replace")

    def _hide(self, name: str, ignored: bytes) -> None:
        self.ignored = read_patterns(ignored.decode("utf-8", "surrogateescape"))
        rules = IgnoreRules(self.ignored)
        for path in (".dockerignore", os.path.normpath(name)):
            if rules.ignores(path):
                place = self.root / path
                if place.parent.resolve().is_relative_to(self.root.resolve()):
                    place.unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete everything (blocking)."""
        shutil.rmtree(self.folder, ignore_errors=True)


async def receive_context(
    folder: Path, source: AsyncIterator[bytes], *, keeps_owners: bool = False, is_delta: bool = False
) -> Context:
    """Unpack an archive that arrives into ``folder``, which is made; return the context.

    Everything belongs to root unless ``keeps_owners``. With ``is_delta`` the folder holds an earlier context, which
    the archive changes.

    Raises InvalidArgument for a damaged archive or one that stops, Unavailable when the disk is full. A failure
    and cancelling leave what is there to the caller, who deletes the folder.
    """
    context = Context(folder)
    if not is_delta:
        context.root.mkdir(mode=0o755, parents=True)
        context.root.chmod(0o755)
    blocks = aiter(source)
    if not keeps_owners and not is_delta:
        first, is_whole = await _beginning(blocks)
        if is_whole and await asyncio.to_thread(_unpacked_here, first, context):
            return context
        blocks = _with_first(first, blocks)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-S", "-m", "engine.build.unpack", str(context.root), str(folder / "sums")),
        *(("keep",) if keeps_owners else ()),
        *(("delta",) if is_delta else ()),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=_HOME,  # where the package is, so that it runs from a checkout as well
        env={
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": _LIBRARIES,
            "PYTHONUTF8": "1",
            "PORTSIDE_PARENT": str(os.getpid()),
        },
    )
    try:
        assert process.stdin is not None
        with suppress(BrokenPipeError, ConnectionResetError):  # it has given up; its answer says why
            await _feed(process.stdin, blocks)
        with suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.close()
            await process.stdin.wait_closed()
        output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await asyncio.shield(process.wait())
    _check(output, errors, process.returncode)
    return context


async def _beginning(blocks: AsyncIterator[bytes]) -> tuple[bytes, bool]:
    """Return what comes first, and whether that is everything."""
    first = bytearray()
    while len(first) <= _SMALL_BYTES:
        block = await _next(blocks)
        if block is None:
            return bytes(first), True
        first += block
    return bytes(first), False


async def _with_first(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for block in rest:
        yield block


def _unpacked_here(data: bytes, context: Context) -> bool:
    """Unpack a small plain archive without a process, which would take longer than that; whether it was possible.

    What is compressed may be of any size, so it goes to a process.
    """
    if data[257:262] != b"ustar":
        return False
    try:
        result = unpack_simple(data, str(context.root), str(context.folder / "sums"))
    except TarError as error:
        raise InvalidArgument(f"Error processing tar file(exit status 1): {error}") from error
    except OSError as error:
        raise Unavailable(f"unpacking the context: {error.strerror}") from error
    if result is None:
        shutil.rmtree(context.root)
        context.root.mkdir(mode=0o755)
    return result is not None


async def _next(blocks: AsyncIterator[bytes]) -> bytes | None:
    try:
        async with asyncio.timeout(_STALL_S):
            return await anext(blocks, None)
    except TimeoutError:
        raise InvalidArgument(f"the context stopped: nothing came for {_STALL_S:.0f} s") from None


async def _feed(target: asyncio.StreamWriter, blocks: AsyncIterator[bytes]) -> None:
    while (block := await _next(blocks)) is not None:
        target.write(block)
        await target.drain()


def _check(output: bytes, errors: bytes, code: int | None) -> None:
    try:
        result = msgspec.json.decode(output, type=_Unpacked)
    except msgspec.DecodeError:
        told = errors.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {code}"]
        raise Unavailable(f"unpacking the context failed: {told[0]}") from None
    if result.errno in (28, 122):  # ENOSPC, EDQUOT
        raise Unavailable(
            f"unpacking the context: {result.error}", hint="free disk space: portside system prune, then try again"
        )
    if result.error:
        raise InvalidArgument(f"Error processing tar file(exit status 1): {result.error}")
