"""Sending to a registry (OCI distribution-spec 1.1): blobs, cross-repository mounts, manifests.

An upload goes in one request, as Docker sends it. When the connection breaks, the registry is asked how far it
got and the rest is sent; one that does not know any more gets the blob anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from yarl import URL

from engine.errors import Forbidden, Internal, InvalidArgument, PortsideError, Unavailable
from engine.images.blobs import DiskFull
from engine.registry.connection import NoCredentials, RegistryConnection, RegistryProblem

log = logging.getLogger(__name__)

Sent = Callable[[int], None]
"""Told how many bytes of a blob the registry has been sent."""
Retrying = Callable[[int], Awaitable[None]]
"""Told the seconds until the next attempt; waits for them."""

_BLOCK = 1 << 20
_ATTEMPTS = 5

_STALL_S = 60.0
_CANCEL_S = 5.0
_FINAL = frozenset({"UNAUTHORIZED", "UNSUPPORTED", "DENIED", "TOOMANYREQUESTS", "NAME_UNKNOWN"})


async def pause(seconds: int) -> None:
    """Wait as ``Retrying`` says, telling nobody."""
    await asyncio.sleep(seconds)


class PushRepository(RegistryConnection):
    """One repository of a registry, to be written. ``settle`` it first."""

    async def has_blob(self, digest: str) -> bool:
        """Whether the repository has a blob; raises RegistryProblem, Unavailable."""
        try:
            async with self.open("HEAD", f"{{repository}}blobs/{digest}") as answer:
                return answer.status == 200
        except RegistryProblem as problem:
            if problem.status == 404:
                return False
            raise

    async def mount(self, digest: str, source: str) -> bool:
        """Take a blob over from another repository of the registry; returns whether that worked.

        An upload that the registry begins instead is cancelled. Raises Unavailable.
        """
        self.add_scope(f"repository:{source}:pull")
        query = f"mount={quote(digest, safe='')}&from={quote(source, safe='')}"
        try:
            async with self.open("POST", f"{{repository}}blobs/uploads/?{query}") as answer:
                if answer.status == 201:
                    return True
                place = self.resolve(str(answer.url), answer.headers.get("Location", ""))
        except RegistryProblem as problem:
            log.debug("mounting %s from %s: %s", digest, source, problem.message)
            return False
        await self._cancel(place)
        return False

    async def put_blob(self, path: Path, digest: str, size: int, sent: Sent, retrying: Retrying = pause) -> None:
        """Send a file as a blob, going on after a broken connection, five times without progress at most.

        Raises RegistryProblem, Unavailable. A failure and cancelling take the upload back.
        """
        upload = _Upload(self, path, digest, size, sent)
        try:
            await upload.run(retrying)
        except BaseException:
            if upload.place:
                await asyncio.shield(self._cancel(upload.place))
            raise

    async def put_bytes(self, data: bytes, digest: str) -> None:
        """Send a small blob unless it is there."""
        if await self.has_blob(digest):
            return
        attempts = 0
        while True:
            try:
                place = await self.begin_upload()
                async with self.open("PUT", _with_digest(place, digest), _OCTETS, lambda: data):
                    return
            except PortsideError as error:
                attempts += 1
                if attempts == _ATTEMPTS or not may_pass(error):
                    raise
                await asyncio.sleep(attempts * self.settings.retry_pause_s)

    async def put_manifest(self, reference: str, data: bytes, media_type: str) -> None:
        """Store a manifest under a tag or digest; raises RegistryProblem, Unavailable."""
        url = f"{{repository}}manifests/{quote(reference, safe=':')}"
        async with self.open("PUT", url, {"Content-Type": media_type}, lambda: data):
            return

    async def begin_upload(self) -> str:
        """Return where a new upload goes to."""
        async with self.open("POST", "{repository}blobs/uploads/", body=lambda: b"") as answer:
            return self.resolve(str(answer.url), answer.headers.get("Location", ""))

    def resolve(self, asked: str, location: str) -> str:
        """Return where an answer to ``asked`` says that the upload goes on; raises Unavailable for nowhere."""
        if not location:
            raise Unavailable(f"registry {self.domain} did not say where the upload goes")
        return str(URL(asked, encoded=True).join(URL(location, encoded=True)))

    async def _cancel(self, place: str) -> None:
        """Take an upload back, if the registry is there to hear it."""
        with suppress(PortsideError, TimeoutError):
            async with asyncio.timeout(_CANCEL_S), self.open("DELETE", place):
                return


_OCTETS = {"Content-Type": "application/octet-stream"}


class _Upload:
    """One blob on its way. ``place`` is where the next request goes to, "" for none."""

    def __init__(self, repository: PushRepository, path: Path, digest: str, size: int, sent: Sent) -> None:
        self._repository = repository
        self._path = path
        self._digest = digest
        self._size = size
        self._sent = sent
        self._offset = 0
        self.place = ""

    async def run(self, retrying: Retrying) -> None:
        failures, reached = 0, 0
        while True:
            try:
                if not self.place:
                    self._offset = 0
                    self.place = await self._repository.begin_upload()
                if self._offset < self._size:
                    await self._send_rest()
                await self._finish()
            except (RegistryProblem, Unavailable) as error:
                if not may_pass(error):
                    raise
                before, failure = self._offset, error
            else:
                return
            await self._ask_where()
            if self._offset > reached:  # it goes on: that may break any number of times
                failures, reached = 0, self._offset
            failures += 1
            log.debug("upload of %s broke off at %d, goes on at %d", self._digest, before, self._offset)
            if failures == _ATTEMPTS:
                raise failure
            if failures > 1 or not self.place:
                await retrying(failures * self._repository.settings.retry_pause_s)

    async def _send_rest(self) -> None:
        """Send all that the registry lacks, in one request."""
        headers = {**_OCTETS, "Content-Length": str(self._size - self._offset)}
        if self._offset:
            headers["Content-Range"] = f"{self._offset}-{self._size - 1}"
        start, bodies = self._offset, list[AsyncGenerator[bytes, None]]()
        async with _Stall() as stall:

            def body() -> AsyncIterator[bytes]:
                bodies.append(self._blocks(start, stall))
                return bodies[-1]

            try:
                async with self._repository.open("PATCH", self.place, headers, body) as answer:
                    if answer.status not in (201, 202, 204):
                        raise Unavailable(f"registry {self._repository.domain} answered an upload with {answer.status}")
                    self.place = self._repository.resolve(self.place, answer.headers.get("Location", self.place))
            finally:
                for sent in bodies:
                    with suppress(RuntimeError):  # one that is being read still is cancelled with its connection
                        await sent.aclose()
        self._offset = self._size

    async def _blocks(self, start: int, stall: _Stall) -> AsyncGenerator[bytes, None]:
        with self._path.open("rb", buffering=0) as file:
            file.seek(start)
            position = start
            while block := await asyncio.to_thread(file.read, _BLOCK):
                yield block
                stall.went_on()
                position += len(block)
                self._sent(position)

    async def _finish(self) -> None:
        async with self._repository.open("PUT", _with_digest(self.place, self._digest), body=lambda: b""):
            self.place = ""

    async def _ask_where(self) -> None:
        """Ask how far the registry got; one that does not know the upload gets a new one."""
        if not self.place:
            return
        try:
            async with self._repository.open("GET", self.place) as answer:
                last = answer.headers.get("Range", "").removeprefix("bytes=").rpartition("-")[2]
                self.place = self._repository.resolve(self.place, answer.headers.get("Location", self.place))
                self._offset = int(last) + 1 if last.isdigit() and last != "0" else 0
        except (RegistryProblem, Unavailable):
            self.place, self._offset = "", 0
        if self._offset > self._size:
            self.place, self._offset = "", 0
        self._sent(self._offset)


class _Stall:
    """Ends a request that nothing goes out of for a minute; the answer has its own limit."""

    def __init__(self) -> None:
        self._timeout = asyncio.timeout(None)

    async def __aenter__(self) -> _Stall:
        await self._timeout.__aenter__()
        self.went_on()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            await self._timeout.__aexit__(kind, error, None)
        except TimeoutError as stalled:
            raise Unavailable("net/http: timeout awaiting response") from stalled

    def went_on(self) -> None:
        """Say that something was taken."""
        self._timeout.reschedule(asyncio.get_running_loop().time() + _STALL_S)


def _with_digest(place: str, digest: str) -> str:
    return f"{place}{'&' if '?' in place else '?'}digest={quote(digest, safe='')}"


def may_pass(error: PortsideError) -> bool:
    """Whether what failed so may work later: not what was refused, and not for want of room here."""
    if isinstance(error, RegistryProblem):
        return error.code not in _FINAL and (error.status >= 500 or error.status in (404, 408, 416))
    return isinstance(error, Unavailable) and not isinstance(error, DiskFull)


def explain_push(problem: RegistryProblem) -> PortsideError:
    """Return the error that moby has for a registry's refusal of a push."""
    if isinstance(problem, NoCredentials):
        return Forbidden(problem.told, hint="log in: portside login")
    code = problem.code or {401: "UNAUTHORIZED", 429: "TOOMANYREQUESTS"}.get(problem.status, "")
    if not code:
        return Unavailable(problem.message)
    words = code.lower().replace("_", " ")
    message = f"{words}: {problem.told or _DEFAULTS.get(code, words)}"
    if code in ("DENIED", "UNAUTHORIZED"):
        return Forbidden(message, hint="log in: portside login")
    if code in ("UNSUPPORTED", "NAME_INVALID", "MANIFEST_INVALID", "TAG_INVALID"):
        return InvalidArgument(message)
    return (Unavailable if problem.status >= 500 or problem.status == 429 else Internal)(message)


_DEFAULTS = {
    "UNAUTHORIZED": "authentication required",
    "DENIED": "requested access to the resource is denied",
    "TOOMANYREQUESTS": "too many requests",
}
