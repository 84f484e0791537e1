"""What containers write: attaching to them, raw or by websocket, and their logs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from typing import Literal
from urllib.parse import quote

from aiohttp import web

from engine.containers.attach import AttachOptions, ClientStream, parse_detach_keys, serve
from engine.containers.container import Container
from engine.containers.logoptions import is_readable, log_attributes
from engine.containers.logs import LogQuery, read_logs
from engine.containers.manager import ContainerManager
from engine.containers.paths import ContainerPaths
from engine.errors import Conflict, InvalidArgument, NotSupported, PortsideError
from engine.model.record import ContainerRecord
from engine.runtime.conmon import AttachSocket
from engine.runtime.inotify import Inotify
from engine.server.exec import stream_type
from engine.server.hijack import HijackResponse
from engine.server.http import Route, api_version, query_bool
from engine.server.websocket import WebSocketStream
from engine.wire.times import parse_moment
from engine.wire.websocket import build_handshake


class OutputApi:
    """Handlers over a ContainerManager."""

    def __init__(self, manager: ContainerManager, paths: ContainerPaths, inotify: Inotify) -> None:
        """Serve ``manager``."""
        self._manager = manager
        self._paths = paths
        self._inotify = inotify

    def routes(self) -> list[Route]:
        """Return the operations."""
        return [
            Route("GET", "/containers/{name}/logs", self.logs),
            Route("POST", "/containers/{name}/attach", self.attach),
            Route("GET", "/containers/{name}/attach/ws", self.attach_by_websocket),
        ]

    async def attach(self, request: web.Request) -> web.StreamResponse:
        """``ContainerAttach``: hijacks the connection; also before the container is started."""
        container = self._attachable(request)
        wanted = (query_bool(request, "stdin"), query_bool(request, "stdout"), query_bool(request, "stderr"))
        options = _attach_options(request, container.record, wanted, framed=not container.record.config.tty)
        response = HijackResponse(stream_type(request, tty=container.record.config.tty))
        with _attachment_to_come(container) as pending:
            stream = await response.take_over(request)
            try:
                if query_bool(request, "logs"):
                    await stream.wait_read()
                await self._serve(request, container, stream, options, pending)
            finally:
                stream.close()
        return response

    async def attach_by_websocket(self, request: web.Request) -> web.StreamResponse:
        """``ContainerAttachWebsocket``: output in binary frames, both streams together; in text frames before 1.28."""
        container = self._attachable(request)
        version = api_version(request)
        wanted = (True, True, True)
        if version >= (1, 42):
            wanted = (query_bool(request, "stdin"), query_bool(request, "stdout"), query_bool(request, "stderr"))
        options = _attach_options(request, container.record, wanted, framed=False)
        head = build_handshake(request.headers)
        response = HijackResponse("")
        with _attachment_to_come(container) as pending:
            stream = await response.take_over(request, head=head)
            try:
                async with WebSocketStream(stream, text=version < (1, 28), takes_input=options.stdin) as client:
                    await self._serve(request, container, client, options, pending)
            finally:
                stream.close()
        return response

    def _attachable(self, request: web.Request) -> Container:
        """Return the container to attach to; raises InvalidArgument, NotFound and Conflict, in moby's order."""
        _detach_keys(request)
        container = self._manager.get(request.match_info["name"])
        if container.record.state.status == "paused":
            raise Conflict(f"container {request.match_info['name']} is paused, unpause the container before attach")
        if container.is_restarting:
            raise Conflict(f"container {request.match_info['name']} is restarting, wait until the container is running")
        return container

    async def _serve(
        self,
        request: web.Request,
        container: Container,
        stream: ClientStream,
        options: AttachOptions,
        pending: asyncio.Future[AttachSocket] | None,
    ) -> None:
        try:
            if query_bool(request, "logs"):
                await self._send_logs(container, stream, options)
            if query_bool(request, "stream"):
                await self._attach(container, stream, options, pending)
        except (ConnectionResetError, PortsideError):
            pass  # the client has gone, or there will be no process: the start's answer says why

    async def _attach(
        self,
        container: Container,
        stream: ClientStream,
        options: AttachOptions,
        pending: asyncio.Future[AttachSocket] | None,
    ) -> None:
        self._manager.announce(container, "attach")
        process = await self._attachment(container, stream, pending)
        if process is None:
            return
        try:
            if await serve(process, stream, options):
                self._manager.announce(container, "detach")
        finally:
            process.close()

    async def _attachment(
        self, container: Container, stream: ClientStream, pending: asyncio.Future[AttachSocket] | None
    ) -> AttachSocket | None:
        """Return a connection to the process, waiting for its start; None when the client goes before."""
        if pending is None:
            return AttachSocket.connect(self._paths.bundle(container.id))
        gone = asyncio.ensure_future(stream.closed.wait())
        both: list[asyncio.Future[AttachSocket] | asyncio.Future[Literal[True]]] = [pending, gone]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
        return pending.result() if pending.done() else None

    async def _send_logs(self, container: Container, stream: ClientStream, options: AttachOptions) -> None:
        query = LogQuery(stdout=options.stdout, stderr=options.stderr, framed=options.framed)
        async with aclosing(self._read_logs(container, query)) as lines:
            async for data in lines:
                await stream.write(data)

    def _read_logs(self, container: Container, query: LogQuery) -> AsyncGenerator[bytes, None]:
        if container.removing:
            raise Conflict("can not get logs from container which is dead or marked for removal")
        if not is_readable(container.record.host_config.log_config):
            raise NotSupported("configured logging driver does not support reading")
        return read_logs(
            self._paths.log(container.id),
            query,
            self._inotify,
            lambda: not container.is_running and not container.is_starting,
            container.exited,
        )

    async def logs(self, request: web.Request) -> web.StreamResponse:
        """``ContainerLogs``: framed unless the container has a terminal."""
        container = self._manager.get(request.match_info["name"])
        query = request.query
        wanted = LogQuery(
            stdout=query_bool(request, "stdout"),
            stderr=query_bool(request, "stderr"),
            since_ns=parse_moment(query.get("since", "")),
            until_ns=parse_moment(query.get("until", "")),
            tail=parse_tail(query.get("tail", "")),
            follow=query_bool(request, "follow"),
            timestamps=query_bool(request, "timestamps"),
            framed=not container.record.config.tty,
            details=log_details(container.record) if query_bool(request, "details") else b"",
        )
        if not wanted.stdout and not wanted.stderr:
            raise InvalidArgument("Bad parameters: you must choose at least one stream")
        lines = self._read_logs(container, wanted)
        kind = stream_type(request, tty=container.record.config.tty)
        response = web.StreamResponse(headers={"Content-Type": kind})
        await response.prepare(request)
        async with aclosing(lines):
            async for data in lines:
                await response.write(data)
        await response.write_eof()
        return response


@contextmanager
def _attachment_to_come(container: Container) -> Iterator[asyncio.Future[AttachSocket] | None]:
    """Yield the future of the process that a container's next start makes; None when it runs already."""
    pending = None if container.is_running else container.next_attachment()
    try:
        yield pending
    finally:
        if pending is not None:
            pending.cancel()


def _detach_keys(request: web.Request) -> bytes:
    text = request.query.get("detachKeys", "")
    return parse_detach_keys(text, describe=lambda text: f"Invalid detach keys ({text}) provided")


def _attach_options(
    request: web.Request, record: ContainerRecord, wanted: tuple[bool, bool, bool], *, framed: bool
) -> AttachOptions:
    """Return what is attached of stdin, stdout and stderr."""
    config = record.config
    return AttachOptions(
        stdin=wanted[0] and config.open_stdin,
        stdout=wanted[1],
        stderr=wanted[2],
        framed=framed,
        detach_keys=_detach_keys(request) if config.tty else b"",
        close_stdin=config.stdin_once and not config.tty,
    )


def parse_tail(text: str) -> int | None:
    """Return the number of lines of ``tail``, None for all of them, as moby reads it."""
    return int(text) if text.isascii() and text.isdigit() else None


def log_details(record: ContainerRecord) -> bytes:
    """Return what ``--details`` puts before each line: the attributes that the log's options name."""
    found = log_attributes(record)
    pairs = ",".join(f"{quote(key)}={quote(value)}" for key, value in sorted(found.items()))
    return f"{pairs} ".encode()
