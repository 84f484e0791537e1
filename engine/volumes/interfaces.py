"""What volumes need from their neighbours: who uses them, and drivers that are not ours."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from engine.errors import NotFound


class VolumeUsers(Protocol):
    """Who uses volumes (engine/containers)."""

    def containers_using_volume(self, name: str) -> list[str]:
        """Return the IDs of all containers, running or not, that have the volume."""


class NoUsers:
    """Nobody uses any volume: until the composition root says who does."""

    def containers_using_volume(self, name: str) -> list[str]:
        """Return nothing."""
        return []


class VolumeDriver(Protocol):
    """A volume driver that is not ours (engine/plugins)."""

    async def create(self, name: str, options: dict[str, str]) -> None:
        """Make a volume, or take one that is there already."""

    async def remove(self, name: str) -> None:
        """Remove a volume."""

    async def mount(self, name: str, container_id: str) -> Path:
        """Make a volume usable by a container and return its place on the host."""

    async def unmount(self, name: str, container_id: str) -> None:
        """Say that a container no longer uses a volume."""


class VolumeDrivers(Protocol):
    """Where other drivers are found (engine/plugins)."""

    async def find(self, name: str) -> VolumeDriver:
        """Return a driver; raises NotFound with moby's text."""


class NoDrivers:
    """No driver but local: until the composition root says which there are."""

    async def find(self, name: str) -> VolumeDriver:
        """Find none."""
        raise NotFound(
            f'error looking up volume plugin {name}: plugin "{name}" not found', hint="the only volume driver is local"
        )
