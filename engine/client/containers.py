"""Container operations. ``ref`` is a full ID, a unique beginning of one, or a name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.client.connection import EngineConnection, Filters, decode_answer, encode_filters, output_decoder
from engine.client.streams import Decoder, HijackedStream, Output, Stream
from engine.errors import Internal
from engine.model.archive import STAT_HEADER, PathStat, decode_stat
from engine.model.commit import CommitResponse, FilesystemChanges
from engine.model.container import (
    ContainerCreateRequest,
    ContainerCreateResponse,
    ContainersPruneReport,
    ContainerUpdateRequest,
    ContainerUpdateResponse,
    TopResponse,
    WaitResponse,
)
from engine.model.inspect import ContainerInspect, ContainerSummary

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Sequence

    from engine.client.http import OpenResponse

STOP_MARGIN_S = 60.0
LONG_TIMEOUT_S = 600.0


class Wait:
    """A wait that the engine has registered: ``await wait.result()`` gives the exit."""

    def __init__(self, response: OpenResponse) -> None:
        """Made by ``ContainersApi.start_wait``."""
        self._response = response

    async def result(self) -> WaitResponse:
        """Return the exit code, or the error that ended the wait; cancellation gives up waiting."""
        try:
            return decode_answer(await self._response.read_all(), WaitResponse)
        finally:
            self._response.close()

    def close(self) -> None:
        """Give up waiting."""
        self._response.close()


class ContainersApi:
    """Containers (``client.containers``)."""

    def __init__(self, connection: EngineConnection) -> None:
        """Made by ``EngineClient``."""
        self._connection = connection

    async def list(
        self,
        *,
        all: bool = False,  # noqa: A002 - the API's word
        limit: int | None = None,
        size: bool = False,
        filters: Filters | None = None,
    ) -> list[ContainerSummary]:
        """Return containers, newest first (ContainerList); only running ones unless ``all``."""
        query = {
            "all": True if all else None,
            "limit": limit if limit and limit > 0 else None,
            "size": True if size else None,
            "filters": encode_filters(filters),
        }
        answer = await self._connection.call("GET", "/containers/json", query, timeout_s=LONG_TIMEOUT_S if size else -1)
        return decode_answer(answer, list[ContainerSummary])

    async def create(
        self, request: ContainerCreateRequest, *, name: str = "", platform: str = ""
    ) -> ContainerCreateResponse:
        """Create a container (ContainerCreate); raises NotFound for the image, Conflict for the name."""
        query = {"name": name or None, "platform": platform or None}
        return await self._connection.post("/containers/create", ContainerCreateResponse, query, request)

    async def inspect(self, ref: str, *, size: bool = False) -> ContainerInspect:
        """Return everything of one container (ContainerInspect)."""
        return decode_answer(await self.inspect_raw(ref, size=size), ContainerInspect)

    async def inspect_raw(self, ref: str, *, size: bool = False) -> bytes:
        """Return the engine's own JSON of one container."""
        return await self._connection.call("GET", f"/containers/{ref}/json", {"size": True if size else None})

    async def start(self, ref: str, *, detach_keys: str = "") -> None:
        """Start a container (ContainerStart); one that runs already is left alone."""
        await self._connection.call("POST", f"/containers/{ref}/start", {"detachKeys": detach_keys or None})

    async def stop(self, ref: str, *, timeout_s: int | None = None, signal: str = "") -> None:
        """Stop a container (ContainerStop): signal, then kill after ``timeout_s`` seconds (-1: never)."""
        query = {"t": timeout_s, "signal": signal or None}
        await self._connection.call("POST", f"/containers/{ref}/stop", query, timeout_s=stop_limit_s(timeout_s))

    async def restart(self, ref: str, *, timeout_s: int | None = None, signal: str = "") -> None:
        """Stop and start a container (ContainerRestart)."""
        query = {"t": timeout_s, "signal": signal or None}
        await self._connection.call("POST", f"/containers/{ref}/restart", query, timeout_s=stop_limit_s(timeout_s))

    async def kill(self, ref: str, *, signal: str = "") -> None:
        """Send a signal, KILL unless another is named (ContainerKill)."""
        await self._connection.call("POST", f"/containers/{ref}/kill", {"signal": signal or None})

    async def pause(self, ref: str) -> None:
        """Freeze a container (ContainerPause)."""
        await self._connection.call("POST", f"/containers/{ref}/pause")

    async def unpause(self, ref: str) -> None:
        """Thaw a container (ContainerUnpause)."""
        await self._connection.call("POST", f"/containers/{ref}/unpause")

    async def start_wait(self, ref: str, *, condition: str = "not-running") -> Wait:
        """Register a wait; returns once the engine watches, so that a start after it cannot be missed.

        ``condition`` is ``not-running``, ``next-exit`` or ``removed``.
        """
        return Wait(await self._connection.open_stream("POST", f"/containers/{ref}/wait", {"condition": condition}))

    async def wait(self, ref: str, *, condition: str = "not-running") -> WaitResponse:
        """Wait for a container's exit (ContainerWait), for as long as it takes."""
        return await (await self.start_wait(ref, condition=condition)).result()

    async def remove(self, ref: str, *, force: bool = False, volumes: bool = False, link: bool = False) -> None:
        """Remove a container (ContainerDelete); raises Conflict while it runs, unless ``force``."""
        query = {"force": True if force else None, "v": True if volumes else None, "link": True if link else None}
        await self._connection.call("DELETE", f"/containers/{ref}", query, timeout_s=LONG_TIMEOUT_S)

    async def rename(self, ref: str, name: str) -> None:
        """Give a container another name (ContainerRename); raises Conflict when it is taken."""
        await self._connection.call("POST", f"/containers/{ref}/rename", {"name": name})

    async def update(self, ref: str, request: ContainerUpdateRequest | dict[str, Any]) -> ContainerUpdateResponse:
        """Change limits or the restart policy (ContainerUpdate); a dict sends only what it holds."""
        return await self._connection.post(f"/containers/{ref}/update", ContainerUpdateResponse, None, request)

    async def top(self, ref: str, ps_args: str = "") -> TopResponse:
        """Return a container's processes (ContainerTop)."""
        return await self._connection.get(f"/containers/{ref}/top", TopResponse, {"ps_args": ps_args or None})

    def logs(
        self,
        ref: str,
        *,
        stdout: bool = True,
        stderr: bool = True,
        follow: bool = False,
        since: str = "",
        until: str = "",
        timestamps: bool = False,
        tail: str = "all",
        details: bool = False,
        is_tty: bool | None = None,
    ) -> Stream[Output]:
        """Read what a container wrote (ContainerLogs) as (stream, bytes); bytes are cut anywhere.

        ``since`` and ``until`` are Unix seconds with fractions; ``is_tty`` saves an inspect when it is known.
        """
        query = {
            "stdout": True if stdout else None,
            "stderr": True if stderr else None,
            "follow": True if follow else None,
            "since": since or None,
            "until": until or None,
            "timestamps": True if timestamps else None,
            "tail": tail or None,
            "details": True if details else None,
        }

        async def connect() -> tuple[OpenResponse, Decoder[Output]]:
            tty = is_tty if is_tty is not None else (await self.inspect(ref)).config.tty
            response = await self._connection.open_stream("GET", f"/containers/{ref}/logs", query)
            return response, output_decoder(response.head.headers.get("content-type", ""), is_tty=tty)

        return Stream(connect)

    async def attach(
        self,
        ref: str,
        *,
        stdin: bool = False,
        stdout: bool = True,
        stderr: bool = True,
        logs: bool = False,
        stream: bool = True,
        detach_keys: str = "",
        is_tty: bool | None = None,
    ) -> HijackedStream:
        """Connect to a container's main process (ContainerAttach); attach before start to miss nothing."""
        tty = is_tty if is_tty is not None else (await self.inspect(ref)).config.tty
        query = {
            "stream": True if stream else None,
            "stdin": True if stdin else None,
            "stdout": True if stdout else None,
            "stderr": True if stderr else None,
            "logs": True if logs else None,
            "detachKeys": detach_keys or None,
        }
        return await self._connection.hijack(f"/containers/{ref}/attach", query, is_tty=tty)

    async def resize(self, ref: str, *, height: int, width: int) -> None:
        """Tell a container's terminal its size in characters (ContainerResize)."""
        await self._connection.call("POST", f"/containers/{ref}/resize", {"h": height, "w": width})

    async def prune(self, filters: Filters | None = None) -> ContainersPruneReport:
        """Remove stopped containers (ContainerPrune)."""
        query = {"filters": encode_filters(filters)}
        answer = await self._connection.call("POST", "/containers/prune", query, timeout_s=LONG_TIMEOUT_S)
        return decode_answer(answer, ContainersPruneReport)

    async def commit(
        self,
        ref: str,
        *,
        repo: str = "",
        tag: str = "",
        author: str = "",
        comment: str = "",
        changes: Sequence[str] = (),
        pause: bool = True,
    ) -> str:
        """Make an image of what a container has written (ImageCommit); return its ID."""
        query: dict[str, str | int | bool | None] = {
            "container": ref,
            "repo": repo or None,
            "tag": tag or None,
            "author": author or None,
            "comment": comment or None,
            "pause": None if pause else False,
        }
        response = await self._connection.open_stream(
            "POST", "/commit", query, repeated=[("changes", change) for change in changes]
        )
        return decode_answer(await response.read_all(), CommitResponse).id

    async def changes(self, ref: str) -> FilesystemChanges:
        """Return what a container has changed of its image's file system (ContainerChanges)."""
        answer = await self._connection.call("GET", f"/containers/{ref}/changes", timeout_s=LONG_TIMEOUT_S)
        return decode_answer(answer, FilesystemChanges) if answer.strip() != b"null" else []

    def export(self, ref: str) -> Stream[bytes]:
        """Read a container's root file system as a tar (ContainerExport), in the pieces in which it comes."""
        return self._connection.bytes_stream(f"/containers/{ref}/export")

    async def stat_path(self, ref: str, path: str) -> PathStat:
        """Return what a path in a container is (ContainerArchiveInfo); raises NotFound."""
        response = await self._connection.open_stream("HEAD", f"/containers/{ref}/archive", {"path": path})
        await response.read_all()
        return _path_stat(response)

    async def copy_out(self, ref: str, path: str) -> tuple[PathStat, OpenResponse]:
        """Return what a path in a container is, and its tar stream, which the caller reads or closes."""
        response = await self._connection.open_stream("GET", f"/containers/{ref}/archive", {"path": path})
        return _path_stat(response), response

    async def copy_in(
        self, ref: str, path: str, body: AsyncIterable[bytes], *, copy_owner: bool = False, no_overwrite: bool = True
    ) -> None:
        """Unpack a tar stream into a folder of a container (PutContainerArchive)."""
        query = {
            "path": path,
            "noOverwriteDirNonDir": "true" if no_overwrite else None,
            "copyUIDGID": "true" if copy_owner else None,
        }
        headers = {"Content-Type": "application/x-tar"}
        response = await self._connection.open_stream(
            "PUT", f"/containers/{ref}/archive", query, headers=headers, body=body
        )
        await response.read_all()

    def stats(self, ref: str, *, stream: bool = True, one_shot: bool = False) -> Stream[dict[str, Any]]:
        """Follow a container's use of resources (ContainerStats), one JSON object a second."""
        query = {"stream": stream, "one-shot": True if one_shot else None}
        return self._connection.json_stream("GET", f"/containers/{ref}/stats", dict[str, Any], query)


def _path_stat(response: OpenResponse) -> PathStat:
    found = decode_stat(response.head.headers.get(STAT_HEADER.lower(), ""))
    if found is None:
        response.close()
        raise Internal("the engine did not say what the path is")
    return found


def stop_limit_s(timeout_s: int | None) -> float | None:
    """Return how long a stop may take: the container's own patience is unknown here, so it is generous."""
    if timeout_s is None:
        return LONG_TIMEOUT_S
    return None if timeout_s < 0 else timeout_s + STOP_MARGIN_S
