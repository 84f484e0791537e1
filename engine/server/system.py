"""``/_ping``, ``/version``, ``/info``, ``/system/df`` and ``/auth``."""

from __future__ import annotations

import platform
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec
from aiohttp import web

from engine import __version__
from engine.errors import InvalidArgument
from engine.model.image import ImageSummary
from engine.model.system import AuthConfig, AuthResponse, ComponentVersion, DiskUsage, Platform, SystemVersion
from engine.model.volume import Volume
from engine.server.http import Route, api_version, decode_body, json_response
from engine.server.info import InfoSource

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "s390x": "s390x"}
_NO_CACHE = {"Cache-Control": "no-cache, no-store, must-revalidate", "Pragma": "no-cache"}


class Images(Protocol):
    """What ``df`` asks of the images."""

    async def disk_usage(self) -> tuple[int, list[ImageSummary]]:
        """Return the bytes of all layers and the images with their shared sizes and containers."""


class Volumes(Protocol):
    """What ``df`` asks of the volumes."""

    async def disk_usage(self) -> list[Volume]:
        """Return the volumes with their sizes and uses."""


Login = Callable[[AuthConfig], Awaitable[AuthResponse]]


def go_arch() -> str:
    """Return this machine's architecture as Go calls it."""
    return _MACHINES.get(platform.machine(), platform.machine())


class SystemApi:
    """Handlers about the engine itself."""

    def __init__(
        self,
        info: InfoSource,
        images: Images,
        volumes: Volumes,
        containers: Callable[[], Awaitable[bytes]],
        build_cache: Callable[[], Awaitable[list[dict[str, Any]]]],
        login: Login,
    ) -> None:
        """``containers`` returns the JSON list of all containers with their sizes; ``login`` asks a registry."""
        self._info = info
        self._images = images
        self._volumes = volumes
        self._containers = containers
        self._build_cache = build_cache
        self._login = login

    def routes(self) -> list[Route]:
        """Return the operations."""
        return [
            Route("GET", "/_ping", self.ping),
            Route("HEAD", "/_ping", self.ping),
            Route("GET", "/version", self.version),
            Route("GET", "/info", self.info),
            Route("GET", "/system/df", self.disk_usage),
            Route("POST", "/auth", self.auth),
        ]

    async def ping(self, request: web.Request) -> web.StreamResponse:
        """``SystemPing`` and ``SystemPingHead``."""
        headers = {**_NO_CACHE, "Builder-Version": "1", "Swarm": "inactive"}
        if request.method == "HEAD":
            return web.Response(headers=headers, content_type="text/plain", charset="utf-8")
        return web.Response(text="OK", headers=headers, content_type="text/plain", charset="utf-8")

    async def version(self, request: web.Request) -> web.StreamResponse:
        """``SystemVersion``."""
        kernel = platform.release()
        details = {
            "ApiVersion": "1.51",
            "Arch": go_arch(),
            "Experimental": "false",
            "KernelVersion": kernel,
            "MinAPIVersion": "1.24",
            "Os": "linux",
            "PythonVersion": platform.python_version(),
        }
        components = [ComponentVersion(name="Engine", version=__version__, details=details)]
        components += [
            ComponentVersion(name=name, version=version, details={})
            for name, version in (await self._info.tool_versions()).items()
        ]
        return json_response(
            SystemVersion(
                platform=Platform(name="Portside Engine"),
                components=components,
                version=__version__,
                api_version="1.51",
                min_api_version="1.24",
                go_version=f"python{platform.python_version()}",
                os="linux",
                arch=go_arch(),
                kernel_version=kernel,
            )
        )

    async def info(self, request: web.Request) -> web.StreamResponse:
        """``SystemInfo``."""
        return json_response(await self._info.collect(api_version(request)))

    async def disk_usage(self, request: web.Request) -> web.StreamResponse:
        """``SystemDataUsage``: everything, or from API 1.42 on the ``type`` asked for."""
        kinds = request.query.getall("type", []) if api_version(request) >= (1, 42) else []
        for kind in kinds:
            if kind not in ("container", "image", "volume", "build-cache"):
                raise InvalidArgument(f"unknown object type: {kind}")
        usage = DiskUsage()
        if not kinds or "image" in kinds:
            usage.layers_size, usage.images = await self._images.disk_usage()
        if not kinds or "volume" in kinds:
            usage.volumes = await self._volumes.disk_usage()
        if not kinds or "build-cache" in kinds:
            usage.build_cache = await self._build_cache()
        answer = msgspec.to_builtins(usage)
        if api_version(request) < (1, 44):
            for image in answer["Images"] or ():
                image["VirtualSize"] = image["Size"]
        if not kinds or "container" in kinds:
            answer["Containers"] = msgspec.json.decode(await self._containers())
        return json_response(answer)

    async def auth(self, request: web.Request) -> web.StreamResponse:
        """``SystemAuth``: 200 when the registry takes the credentials."""
        return json_response(await self._login(await decode_body(request, AuthConfig)))
