"""The application: routes with and without a version, negotiation, headers, errors as JSON.

Source: moby's api/server (28): version middleware, page-not-found answers, error bodies.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterable
from functools import cache

import msgspec
from aiohttp import web

from engine import __version__
from engine.errors import InvalidArgument, NotModified, PortsideError
from engine.server.http import API_VERSION, Handler, Route
from engine.server.status import status_of

log = logging.getLogger(__name__)

MAX_VERSION = (1, 51)
MIN_VERSION = (1, 24)
_VERSIONED = re.compile(r"/v([0-9.]+)(/.*)")
_PLACEHOLDER = re.compile(r"\{(\w+)(?::([^{}]+))?\}")
_MAX_FIELD_BYTES = 64 * 1024
_MAX_DIGITS = 9
_SHOWN_CHARACTERS = 200
_STARTED: web.RequestKey[bool] = web.RequestKey("started", bool)

HEADERS = {
    "Api-Version": "1.51",
    "Docker-Experimental": "false",
    "Ostype": "linux",
    "Server": f"Portside/{__version__} (linux)",
}


def parse_version(text: str) -> tuple[int, int]:
    """Return an API version; what is missing counts as 0, as moby compares them."""
    numbers = [int(word[:_MAX_DIGITS]) if word else 0 for word in text.split(".")] + [0, 0]
    return numbers[0], numbers[1]


def check_version(text: str) -> tuple[int, int]:
    """Return the version that a path asks for; raises InvalidArgument with moby's text outside 1.24 to 1.51."""
    version = parse_version(text)
    if version < MIN_VERSION:
        raise InvalidArgument(
            f"client version {text} is too old. Minimum supported API version is 1.24, "
            "please upgrade your client to a newer version"
        )
    if version > MAX_VERSION:
        raise InvalidArgument(f"client version {text} is too new. Maximum supported API version is 1.51")
    return version


class Router:
    """Finds handlers by method and decoded path, as gorilla/mux does for moby: the first route that fits."""

    def __init__(self, routes: Iterable[Route]) -> None:
        """Sort ``routes``; their order decides between those that fit both."""
        self._routes: dict[tuple[str, str], list[Route]] = {}
        for route in routes:
            self._routes.setdefault((route.method, _first_segment(route.path)), []).append(route)

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """Return the route of a request and the variables in its path."""
        for route in self._routes.get((method, _first_segment(path)), ()):
            found = _compile(route.path).fullmatch(path)
            if found is not None:
                return route, found.groupdict()
        return None


def _first_segment(path: str) -> str:
    return path[1:].partition("/")[0]


@cache  # compiled when first asked for: all at once would take 20 ms of the start
def _compile(path: str) -> re.Pattern[str]:
    pattern = ""
    position = 0
    for found in _PLACEHOLDER.finditer(path):
        pattern += re.escape(path[position : found.start()]) + f"(?P<{found[1]}>{found[2] or '.+'})"
        position = found.end()
    return re.compile(pattern + re.escape(path[position:]))


def error_response(status: int, message: str) -> web.Response:
    """Return Docker's error body."""
    body = msgspec.json.encode({"message": message}) + b"\n"
    return web.Response(body=body, status=status, content_type="application/json")


class _Dispatcher:
    """Finds the operation of a request and turns what it raises into an answer."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._router = Router(routes)
        self._running: dict[asyncio.Task[object], web.Request] = {}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("requests are answered in tasks")
        self._running[task] = request
        try:
            response = await self._handle(request)
            log.debug("%s %s: %d", request.method, request.path[:_SHOWN_CHARACTERS], response.status)
            return response
        finally:
            del self._running[task]

    def cut_streams(self) -> None:
        """End the answers that may never end by themselves: attached terminals, logs, events, waits."""
        for task, request in list(self._running.items()):
            if _is_endless(request):
                task.cancel()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        asked = ""
        path = request.path
        try:
            version = MAX_VERSION
            if (found := _VERSIONED.fullmatch(path)) is not None:
                asked, path = found.groups()
                version = check_version(asked)
            handler = self._find(request, path, version)
            if handler is None:
                return error_response(404, "page not found")
            return await handler(request)
        except NotModified:
            return web.Response(status=304)
        except PortsideError as error:
            status = status_of(error)
            if status >= 500:
                log.info("%s %s: %s", request.method, request.path[:_SHOWN_CHARACTERS], error.message)
            if _STARTED in request:
                return _cut_off(request)
            if asked and parse_version(asked) < MIN_VERSION:  # such an old client prints the body as it is
                return web.Response(status=status, text=f"{error.message}\n")
            return error_response(status, error.message)
        except web.HTTPException as error:
            return error_response(error.status, error.reason)
        except Exception:  # the edge of a request: the server goes on, the log has the traceback
            if request.transport is None or request.transport.is_closing():
                return _cut_off(request)  # the client has gone: there is nobody to tell
            log.exception("%s %s failed", request.method, request.path[:_SHOWN_CHARACTERS])
            if _STARTED in request:
                return _cut_off(request)
            return error_response(500, "internal error: the engine's log has the details")

    def _find(self, request: web.Request, path: str, version: tuple[int, int]) -> Handler | None:
        found = self._router.find(request.method, path)
        if found is None or version < found[0].since:
            return None
        request[API_VERSION] = version
        request.match_info.update(found[1])
        return found[0].handler


def _is_endless(request: web.Request) -> bool:
    transport = request.transport
    if transport is not None and transport.get_protocol() is not request.protocol:
        return True  # taken over
    return _STARTED in request and (request.method == "GET" or request.path.endswith("/wait"))


def _cut_off(request: web.Request) -> web.StreamResponse:
    """Close a connection whose answer has begun: that is the only way left to say that it is not whole."""
    if request.transport is not None:
        request.transport.close()
    return web.Response(status=500)  # goes nowhere


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    request[_STARTED] = True
    response.headers.update(HEADERS)


def build_app(routes: Iterable[Route]) -> web.Application:
    """Return the application that answers ``routes``; when it shuts down it cuts what would not end by itself."""
    app = web.Application(handler_args={"max_field_size": _MAX_FIELD_BYTES, "max_line_size": _MAX_FIELD_BYTES})
    dispatcher = _Dispatcher(routes)

    async def cut_streams(_: web.Application) -> None:
        dispatcher.cut_streams()

    app.router.add_route("*", "/{tail:.*}", dispatcher.handle)
    app.on_response_prepare.append(_add_headers)
    app.on_shutdown.append(cut_streams)
    return app
