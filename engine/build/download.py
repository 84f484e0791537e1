"""Files from the network: what ADD names by a URL, and contexts that are no upload."""

from __future__ import annotations

import asyncio
import hashlib
import os
import posixpath
import re
from collections.abc import AsyncIterator
from email.message import Message
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from engine.errors import Internal, InvalidArgument, Unavailable

_GIT = re.compile(r"(git://|git@|github\.com/)|https?://[^#]*\.git(#.*)?\Z")
_CONNECT_TIMEOUT_S = 30.0
_STALL_S = 120.0
_CHECKSUM = re.compile(r"(sha256):([0-9a-f]{64})|(sha512):([0-9a-f]{128})|(sha384):([0-9a-f]{96})")


def is_url(text: str) -> bool:
    """Whether a source is fetched by HTTP."""
    return text.startswith(("http://", "https://"))


def is_git(text: str) -> bool:
    """Whether a source is a git repository, as moby decides it."""
    return _GIT.match(text) is not None


class Download:
    """One file that is fetched into ``folder``."""

    def __init__(self, url: str, folder: Path, checksum: str = "") -> None:
        """Check ``checksum`` (``sha256:…``); raises InvalidArgument for another form."""
        if checksum and _CHECKSUM.fullmatch(checksum) is None:
            raise InvalidArgument(f'invalid checksum "{checksum}": sha256:, sha384: or sha512: and hexadecimal digits')
        self._url = url
        self._folder = folder
        self._checksum = checksum
        self._time_s = 0

    @property
    def _file(self) -> Path:
        return self._folder / ".download"

    async def fetch(self) -> str:
        """Fetch it and return the name that it has by itself, "" for none.

        Raises Unavailable and Internal with the URL and the reason, InvalidArgument when the checksum differs.
        """
        await asyncio.to_thread(self._folder.mkdir, 0o755)
        algorithm, _, wanted = self._checksum.partition(":")
        digest = hashlib.new(algorithm or "sha256")
        headers: dict[str, str] = {}
        with self._file.open("wb") as file:
            async for block in open_url(self._url, headers):
                digest.update(block)
                await asyncio.to_thread(file.write, block)
        if self._checksum and digest.hexdigest() != wanted:
            raise InvalidArgument(
                f"digest mismatch {algorithm}:{digest.hexdigest()}: {self._checksum}",
                hint=f"{self._url} is not what the Dockerfile expects: look why before changing the checksum",
            )
        if "last-modified" in headers:
            try:
                self._time_s = int(parsedate_to_datetime(headers["last-modified"]).timestamp())
            except (ValueError, OverflowError):
                self._time_s = 0
        path = urlsplit(self._url).path
        if path and not path.endswith("/"):
            return posixpath.basename(unquote(path))
        message = Message()
        message["Content-Disposition"] = headers.get("content-disposition", "")
        return posixpath.basename(message.get_filename() or "")

    def keep_as(self, name: str) -> None:
        """Give the file its name, mode and time (blocking)."""
        target = self._folder / name
        self._file.rename(target)
        target.chmod(0o600)
        os.utime(target, (self._time_s, self._time_s))


async def open_url(url: str, headers: dict[str, str]) -> AsyncIterator[bytes]:
    """Yield what a URL gives; its headers, in lower case, go into ``headers``.

    Raises Unavailable when it cannot be reached, Internal with moby's text for another status than 2xx.
    """
    import aiohttp  # only who downloads loads the client

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT_S, sock_read=_STALL_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True, auto_decompress=False) as session,
            session.get(url, headers={"Accept-Encoding": "identity"}) as response,
        ):
            if response.status >= 400:
                text = (await response.content.read(1024)).decode(errors="replace")
                raise Internal(f"failed to GET {url} with status {response.status} {response.reason}: {text}")
            headers.update({name.lower(): value for name, value in response.headers.items()})
            async for block in response.content.iter_chunked(1 << 18):
                yield block
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise Unavailable(f'Get "{url}": {error or type(error).__name__}') from error
