"""Contexts that the engine fetches: an archive or a Dockerfile by HTTP, a repository by git."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

from engine.build.context import Context, receive_context
from engine.build.download import is_git, open_url
from engine.build.interfaces import Progress
from engine.build.workspace import Workspace
from engine.errors import Internal, InvalidArgument, NotSupported

_MAX_TEXT_BYTES = 16 << 20
_GIT_TIMEOUT_S = 600.0
_REFERENCE = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./@{}^~-]*")
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


async def fetch_context(url: str, workspace: Workspace, send: Progress) -> tuple[Context, str]:
    """Fetch what ``url`` names; return the context, and the Dockerfile's text when the URL is one itself.

    Raises Unavailable, Internal and InvalidArgument with moby's texts, NotSupported without git.
    """
    folder = workspace.folder / "context"
    if is_git(url):
        return await _clone(url, folder), ""
    headers: dict[str, str] = {}
    blocks = open_url(url, headers)
    first = await anext(blocks, b"")
    size = int(headers.get("content-length", "0") or 0)
    await send({"status": "Downloading context", "progressDetail": {"current": len(first), "total": size}, "id": url})
    if first and _BINARY.search(first[:512]) is None and first[257:262] != b"ustar":
        text = first
        async for block in blocks:
            text += block
            if len(text) > _MAX_TEXT_BYTES:
                raise InvalidArgument(f"the Dockerfile at {url} is larger than {_MAX_TEXT_BYTES} bytes")
        context = Context(folder)
        await asyncio.to_thread(context.root.mkdir, 0o755, parents=True)
        return context, text.decode("utf-8", "replace")
    return await receive_context(folder, _with_first(first, blocks)), ""


async def _with_first(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for block in rest:
        yield block


async def _clone(url: str, folder: Path) -> Context:
    if shutil.which("git") is None:
        raise NotSupported("a git repository as context needs git on the engine's host", hint="install the package git")
    remote, _, fragment = url.partition("#")
    reference, _, subfolder = fragment.partition(":")
    if remote.startswith("github.com/"):
        remote = f"https://{remote}"
    if reference and _REFERENCE.fullmatch(reference) is None:
        raise InvalidArgument(f"invalid refspec: {reference}")
    checkout = folder / "checkout"
    await asyncio.to_thread(checkout.mkdir, 0o755, parents=True)
    await _git(checkout, "init", "-q")
    await _git(checkout, "remote", "add", "origin", remote)
    await _git(checkout, "fetch", "-q", "--depth", "1", "origin", reference or "HEAD")
    await _git(checkout, "checkout", "-q", "FETCH_HEAD")
    await _git(checkout, "submodule", "update", "-q", "--init", "--recursive", "--depth=1")
    context = Context(folder)
    await asyncio.to_thread(_take, checkout, subfolder, context.root)
    return context


def _take(checkout: Path, subfolder: str, target: Path) -> None:
    shutil.rmtree(checkout / ".git", ignore_errors=True)
    source = (checkout / subfolder.strip("/")).resolve()
    if not source.is_relative_to(checkout.resolve()) or not source.is_dir():
        raise InvalidArgument(f"error setting git context, not a directory: {subfolder}")
    source.rename(target)


async def _git(folder: Path, *words: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_TERMINAL_PROMPT": "0", "GIT_PROTOCOL_FROM_USER": "0"}
    process = await asyncio.create_subprocess_exec(
        *("git", "-c", "protocol.ext.allow=never", *words),
        cwd=folder,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(_GIT_TIMEOUT_S):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await asyncio.shield(process.wait())
    if process.returncode:
        raise Internal(f"error fetching: {output.decode(errors='replace').strip()}")
