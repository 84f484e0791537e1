"""The routes of the builder, which is loaded when somebody builds: most engines run for weeks without."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from engine.server.http import Handler, Route

if TYPE_CHECKING:
    from engine.build.manager import Builder
    from engine.server.build import BuildApi

_ROUTES = (
    ("POST", "/build", "build", (1, 24)),
    ("POST", "/build/prune", "prune", (1, 31)),
    ("POST", "/build/cancel", "cancel", (1, 39)),
    ("GET", "/builds/json", "records", (1, 24)),
    ("GET", "/builds/{id}/json", "record", (1, 24)),
    ("DELETE", "/builds/{id}", "delete_record", (1, 24)),
)


class BuildRoutes:
    """Operations of ``BuildApi`` that make it, and the builder, at the first call."""

    def __init__(self, make: Callable[[], Builder]) -> None:
        """``make`` returns the builder; it is called once."""
        self._make = make
        self._builder: Builder | None = None
        self._api: BuildApi | None = None

    def routes(self) -> list[Route]:
        """Return the operations."""
        return [Route(method, path, self._handler(name), since) for method, path, name, since in _ROUTES]

    @property
    def builder(self) -> Builder:
        """The builder, made now when nobody has built yet."""
        if self._builder is None:
            self._builder = self._make()
        return self._builder

    def _handler(self, name: str) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            if self._api is None:
                from engine.server.build import BuildApi

                self._api = BuildApi(self.builder)
            handler: Handler = getattr(self._api, name)
            return await handler(request)

        return handle

    async def usage(self) -> list[dict[str, Any]]:
        """Return the build cache as ``GET /system/df`` shows it."""
        return await self.builder.usage()
