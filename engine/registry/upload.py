"""Sending to a registry (OCI distribution-spec 1.1): blobs, cross-repository mounts, manifests.

An upload goes in one request, as Docker sends it. When the connection breaks, the registry is asked how far it
got and the rest is sent; one that does not know any more gets the blob anew.
"""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
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
_PASSING = frozenset({"BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID", "SIZE_INVALID"})
_PASSING_STATUSES = frozenset({404, 408, 416, *range(500, 600)})
_FINAL = frozenset({"UNAUTHORIZED", "UNSUPPORTED", "DENIED", "TOOMANYREQUESTS", "NAME_UNKNOWN"})


class BlobSource(Protocol):
    """A blob that is sent, perhaps while it is still being written."""

    def open(self) -> io.FileIO:
        """Open it from its beginning; only once something of it is written."""

    @property
    def written(self) -> int:
        """How many bytes of it can be read."""

    @property
    def digest(self) -> str:
        """Its digest, "" as long as it grows."""

    @property
    def failure(self) -> PortsideError | None:
        """Why there will be no more of it."""

    async def wait_beyond(self, position: int) -> None:
        """Wait until it has more than ``position`` bytes, or its digest, or a failure."""


@dataclass(frozen=True)
class StoredBlob:
    """A blob that is whole (see BlobSource)."""

    path: Path
    digest: str
    written: int
    failure: PortsideError | None = None

    def open(self) -> io.FileIO:
        """Open it."""
        return io.FileIO(self.path)

    async def wait_beyond(self, position: int) -> None:
        """Return at once."""


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
        await self.cancel_upload(place)
        return False

    async def put_blob(self, blob: BlobSource, sent: Sent, retrying: Retrying = pause) -> None:
        """Send a blob, going on after a broken connection, five times without progress at most.

        Raises RegistryProblem, Unavailable, and what keeps the blob from being written. A failure and cancelling
        take the upload back.
        """
        upload = _Upload(self, blob, sent)
        try:
            await upload.run(retrying)
        except BaseException:
            if upload.place:
                await asyncio.shield(self.cancel_upload(upload.place))
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

    async def cancel_upload(self, place: str) -> None:
        """Take an upload back, if the registry is there to hear it."""
        with suppress(PortsideError, TimeoutError):
            async with asyncio.timeout(_CANCEL_S), self.open("DELETE", place):
                return


_OCTETS = {"Content-Type": "application/octet-stream"}


class _Upload:
    """One blob on its way. ``place`` is where the next request goes to, "" for none."""

    def __init__(self, repository: PushRepository, blob: BlobSource, sent: Sent) -> None:
        self._repository = repository
        self._blob = blob
        self._sent = sent
        self._offset = 0
        self._is_unsure = False
        self.place = ""

    async def run(self, retrying: Retrying) -> None:
        """Send until the registry has it all."""
        failures, reached = 0, 0
        while True:
            try:
                if self._is_unsure:
                    await self._ask_where()
                if self._offset > reached:  # it goes on: that may break any number of times
                    failures, reached = 0, self._offset
                await self._send()
            except (RegistryProblem, Unavailable) as error:
                if self._blob.failure is not None:
                    raise self._blob.failure from error
                if not may_pass(error):
                    raise
                failure = error
            else:
                return
            log.debug("upload of %s broke off: %s", self._blob.digest, failure.message)
            if isinstance(failure, RegistryProblem) and failure.code == "DIGEST_INVALID":
                await self._give_up_place()  # what came of a broken request was added once more, say
            self._is_unsure = bool(self.place)
            failures += 1
            if failures == _ATTEMPTS:
                raise failure
            if failures > 1:
                await retrying((failures - 1) * self._repository.settings.retry_pause_s)

    async def _send(self) -> None:
        if not self.place:
            self._offset = 0
            self.place = await self._repository.begin_upload()
        if not self._blob.digest or self._offset < self._blob.written:
            await self._send_rest()
        await self._finish()

    async def _send_rest(self) -> None:
        """Send all that the registry lacks, in one request: what grows without saying how long it will be."""
        start, bodies = self._offset, list[AsyncGenerator[bytes, None]]()
        if start:
            await self._wait_whole()
        headers = dict(_OCTETS)
        if self._blob.digest:
            headers["Content-Length"] = str(self._blob.written - start)
        if start:
            headers["Content-Range"] = f"{start}-{self._blob.written - 1}"
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
        await self._wait_whole()
        self._offset = self._blob.written

    async def _wait_whole(self) -> None:
        while not self._blob.digest:
            await self._blob.wait_beyond(self._blob.written)
            if self._blob.failure is not None:
                raise self._blob.failure

    async def _blocks(self, start: int, stall: _Stall) -> AsyncGenerator[bytes, None]:
        await self._wait_beyond(start, stall)
        with self._blob.open() as file:
            file.seek(start)
            position = start
            while True:
                block = await asyncio.to_thread(file.read, _BLOCK)
                if block:
                    yield block
                    stall.went_on()
                    position += len(block)
                    self._sent(position)
                elif self._blob.digest and position >= self._blob.written:
                    return
                else:
                    await self._wait_beyond(position, stall)

    async def _wait_beyond(self, position: int, stall: _Stall) -> None:
        stall.hold()
        await self._blob.wait_beyond(position)
        stall.went_on()
        if self._blob.failure is not None:
            raise self._blob.failure

    async def _finish(self) -> None:
        async with self._repository.open("PUT", _with_digest(self.place, self._blob.digest), body=lambda: b""):
            self.place = ""

    async def _give_up_place(self) -> None:
        place, self.place, self._offset = self.place, "", 0
        if place:
            await self._repository.cancel_upload(place)

    async def _ask_where(self) -> None:
        """Ask how far the registry got; one that does not know the upload any more gets a new one."""
        try:
            async with self._repository.open("GET", self.place) as answer:
                last = answer.headers.get("Range", "").removeprefix("bytes=").rpartition("-")[2]
                self.place = self._repository.resolve(self.place, answer.headers.get("Location", self.place))
                self._offset = int(last) + 1 if last.isdigit() and last != "0" else 0
        except RegistryProblem:
            self.place, self._offset = "", 0
        if self._blob.digest and self._offset > self._blob.written:
            await self._give_up_place()
        self._is_unsure = False
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

    def hold(self) -> None:
        """Say that there is nothing to send for a while."""
        self._timeout.reschedule(None)

    def went_on(self) -> None:
        """Say that something was taken."""
        self._timeout.reschedule(asyncio.get_running_loop().time() + _STALL_S)


def _with_digest(place: str, digest: str) -> str:
    return f"{place}{'&' if '?' in place else '?'}digest={quote(digest, safe='')}"


def may_pass(error: PortsideError) -> bool:
    """Whether what failed so may work later: not what was refused, and not for want of room here."""
    if isinstance(error, RegistryProblem):
        return error.code in _PASSING or (error.code not in _FINAL and error.status in _PASSING_STATUSES)
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
