"""Operations tagged Exec (API 1.51)."""

from __future__ import annotations

from contextlib import suppress

from aiohttp import web

from engine.containers.execs import ExecManager
from engine.errors import InvalidArgument, PortsideError
from engine.model.container import IdResponse
from engine.model.execution import ExecCreateRequest, ExecStartRequest
from engine.server.hijack import RAW_STREAM, HijackResponse
from engine.server.http import Route, api_version, decode_body, empty_response, json_response
from engine.wire.frames import STDOUT, encode_frame

MULTIPLEXED_STREAM = "application/vnd.docker.multiplexed-stream"


def stream_type(request: web.Request, *, tty: bool) -> str:
    """Return the content type of a hijacked stream: multiplexed has a name of its own from API 1.42 on."""
    return RAW_STREAM if tty or api_version(request) < (1, 42) else MULTIPLEXED_STREAM


class ExecApi:
    """Handlers over an ExecManager."""

    def __init__(self, execs: ExecManager) -> None:
        """Serve ``execs``."""
        self._execs = execs

    def routes(self) -> list[Route]:
        """Return the operations."""
        return [
            Route("POST", "/containers/{name}/exec", self.create),
            Route("POST", "/exec/{id}/start", self.start),
            Route("POST", "/exec/{id}/resize", self.resize),
            Route("GET", "/exec/{id}/json", self.inspect),
        ]

    async def create(self, request: web.Request) -> web.StreamResponse:
        """``ContainerExec``: 201 with the ID."""
        body = await decode_body(request, ExecCreateRequest, optional=True)
        return json_response(IdResponse(id=self._execs.create(request.match_info["name"], body)), 201)

    async def start(self, request: web.Request) -> web.StreamResponse:
        """``ExecStart``: hijacks the connection unless ``Detach``."""
        body = await decode_body(request, ExecStartRequest, optional=True)
        item = self._execs.ready(request.match_info["id"])
        size = body.console_size
        console = None
        if isinstance(size, list) and size:
            if len(size) != 2:
                raise InvalidArgument(f"ConsoleSize has {len(size)} values: give height and width")
            if body.tty and api_version(request) >= (1, 42):  # without a terminal it means nothing, as for moby
                console = (size[0], size[1])
        if body.detach:
            await self._execs.start(item, None, console)
            return empty_response(200)
        # moby goes by what the start says, not by what the exec was made with: clients rely on it.
        response = HijackResponse(stream_type(request, tty=body.tty))
        stream = await response.take_over(request)
        try:
            await self._execs.start(item, stream, console, framed=not body.tty)
        except PortsideError as error:  # the head has gone out: the error follows in the stream, as Docker's does
            text = f"{error.message}\r\n".encode()
            with suppress(ConnectionResetError):
                await stream.write(text if body.tty else encode_frame(STDOUT, text))
        except ConnectionResetError:
            pass
        finally:
            stream.close()
        return response

    async def resize(self, request: web.Request) -> web.StreamResponse:
        """``ExecResize``: 200 without a body."""
        rows, columns = terminal_size(request)
        self._execs.resize(request.match_info["id"], rows, columns)
        return empty_response(200)

    async def inspect(self, request: web.Request) -> web.StreamResponse:
        """``ExecInspect``."""
        return json_response(self._execs.inspect(request.match_info["id"]))


_UINT32, _UINT32_DIGITS = 2**32 - 1, 40
_MAX_SIZE = 2**16 - 1


def terminal_size(request: web.Request) -> tuple[int, int]:
    """Return rows and columns from the query's ``h`` and ``w``, at most what the kernel takes.

    Raises InvalidArgument with moby's text when one is missing, no number, negative or above 32 bits.
    """
    size = []
    for name, what in (("h", "height"), ("w", "width")):
        text = request.query.get(name, "")
        digits = text.removeprefix("-")
        reason = ""
        if not (digits.isascii() and digits.isdigit()):
            reason = "invalid syntax"
        elif text.startswith("-") or len(digits) > _UINT32_DIGITS or int(digits) > _UINT32:
            reason = "value out of range"
        if reason:
            raise InvalidArgument(f'invalid resize {what} "{text}": {reason}')
        size.append(min(int(digits), _MAX_SIZE))
    return size[0], size[1]
