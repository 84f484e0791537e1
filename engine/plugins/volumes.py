"""Volumes of plugins: Docker's VolumeDriver protocol (docs.docker.com/engine/extend/plugins_volume)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from engine.errors import Internal, NotFound, Unavailable
from engine.plugins.protocol import Answer, Plugin, PluginCatalog

IMPLEMENTATION = "VolumeDriver"


class _Mounted(Answer, rename="pascal"):
    mountpoint: str = ""


class PluginVolumeDrivers:
    """Volume drivers by name; implements ``VolumeDrivers`` of engine/volumes/manager.py."""

    def __init__(self, catalog: PluginCatalog) -> None:
        """Find them in ``catalog``."""
        self._catalog = catalog

    def names(self) -> list[str]:
        """Return those that were used so far."""
        return self._catalog.names(IMPLEMENTATION)

    async def find(self, name: str) -> PluginVolumeDriver:
        """Return a driver; raises NotFound with dockerd's text."""
        try:
            return PluginVolumeDriver(await self._catalog.get(name, IMPLEMENTATION), self._catalog)
        except NotFound as error:
            raise NotFound(f"error looking up volume plugin {name}: {error.message}", hint=error.hint) from error


class PluginVolumeDriver:
    """One volume driver; calls raise Internal with the plugin's error, Unavailable when it does not answer."""

    def __init__(self, plugin: Plugin, catalog: PluginCatalog) -> None:
        """Ask ``plugin``."""
        self._plugin = plugin
        self._catalog = catalog

    async def create(self, name: str, options: dict[str, str]) -> None:
        """Make a volume, or take one that is there already."""
        await self._call("Create", {"Name": name, "Opts": options}, Answer)

    async def remove(self, name: str) -> None:
        """Remove a volume."""
        await self._call("Remove", {"Name": name}, Answer)

    async def mount(self, name: str, container_id: str) -> Path:
        """Make a volume usable by a container and return its place on the host."""
        answer = await self._call("Mount", {"Name": name, "ID": container_id}, _Mounted)
        place = Path(answer.mountpoint)
        if not place.is_absolute() or ".." in place.parts:
            raise Internal(
                f"plugin {self._plugin.name} mounts volume {name} at {answer.mountpoint!r}: no place on the host"
            )
        return place

    async def unmount(self, name: str, container_id: str) -> None:
        """Say that a container no longer uses a volume."""
        await self._call("Unmount", {"Name": name, "ID": container_id}, Answer)

    async def _call(self, method: str, body: dict[str, Any], kind: type[msgspec.Struct]) -> Any:  # noqa: ANN401 - by kind
        try:
            return await self._plugin.call(f"{IMPLEMENTATION}.{method}", body, kind)
        except Unavailable:
            self._catalog.forget(self._plugin.name)
            raise
