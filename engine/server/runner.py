"""aiohttp's runner with one thing added: the head of a request must arrive within a time.

aiohttp lets a client that has sent half a head hold its connection for an hour, as long as an idle one.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_server import Server

HEAD_TIMEOUT_S = 60.0


class Runner(web.AppRunner):
    """Serves an application; connections whose request's head takes longer than ``head_timeout_s`` are closed."""

    def __init__(
        self,
        app: web.Application,
        *,
        head_timeout_s: float = HEAD_TIMEOUT_S,
        **options: Any,  # noqa: ANN401 - aiohttp's
    ) -> None:
        """``options`` are those of ``web.AppRunner``."""
        super().__init__(app, **options)
        self._head_timeout_s = head_timeout_s

    async def _make_server(self) -> Server:
        made = await super()._make_server()
        return _Server(made, self._head_timeout_s)


class _Server(Server):
    """As the one that aiohttp made, with connections of ours."""

    def __init__(self, made: Server, head_timeout_s: float) -> None:
        super().__init__(
            made.request_handler,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            loop=made._loop,
            **made._kwargs,
        )
        self._head_timeout_s = head_timeout_s

    def __call__(self) -> RequestHandler:
        """Return the protocol of a new connection."""
        return _Connection(self, self._loop, self._head_timeout_s, **self._kwargs)


class _Connection(RequestHandler):
    """A client's connection."""

    __slots__ = ("_body", "_head_timeout_s", "_head_timer")

    def __init__(
        self,
        server: Server,
        loop: asyncio.AbstractEventLoop,
        head_timeout_s: float,
        **options: Any,  # noqa: ANN401 - aiohttp's
    ) -> None:
        super().__init__(server, loop=loop, **options)
        self._head_timeout_s = head_timeout_s
        self._head_timer: asyncio.TimerHandle | None = None
        self._body: StreamReader | None = None

    def data_received(self, data: bytes) -> None:
        """Take bytes; what begins a head outside of any request starts the clock, its end stops it."""
        in_body = self._body is not None and not self._body.is_eof()
        count = self._request_count
        super().data_received(data)
        if self._request_count != count:
            self._stop_clock()
            self._body = self._messages[-1][1] if self._messages else None
        elif self._head_timer is None and not in_body and self._is_idle() and data.strip(b"\r\n"):
            self._head_timer = self._loop.call_later(self._head_timeout_s, self._give_up)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection."""
        self._stop_clock()
        super().connection_lost(exc)

    def _is_idle(self) -> bool:
        return self._current_request is None and not self._messages and not self._upgraded

    def _stop_clock(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        # Without a word, as Go's server does: the client may be in the middle of sending.
        self._head_timer = None
        self.force_close()
