"""The folders and mounts that one build needs while it goes on.

They lie where those of containers lie, under a name that no container has: the sweep at an engine's start takes
away what a killed engine left.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
from pathlib import Path

from engine.build.state import State
from engine.containers.paths import ContainerPaths
from engine.images.layers import LayerStore
from engine.runtime.mounts import Mounter


class Workspace:
    """A build's place on the disk."""

    def __init__(self, paths: ContainerPaths, mounter: Mounter, layers: LayerStore) -> None:
        """Make nothing yet."""
        self.name = f"build-{secrets.token_hex(16)}"
        self.folder = paths.containers / self.name
        self.volatile = paths.bundles / self.name
        self._mounter = mounter
        self._layers = layers
        self._views: dict[str, asyncio.Future[Path]] = {}
        self._mounted: list[Path] = []

    async def open(self) -> None:
        """Make the folders."""
        await asyncio.to_thread(self.folder.mkdir, 0o700)
        await asyncio.to_thread(self.volatile.mkdir, 0o711)

    def place(self, kind: str) -> Path:
        """Return a path for something new, which nothing else has."""
        return self.folder / f"{kind}-{secrets.token_hex(8)}"

    async def view(self, state: State) -> Path | None:
        """Return where an image can be looked at; None for an image without layers. Nobody writes there."""
        if not state.layers:
            return None
        found = self._views.get(state.chain)
        if found is None:
            found = self._views[state.chain] = asyncio.ensure_future(self.fresh_view(state))
        return await asyncio.shield(found)

    async def fresh_view(self, state: State) -> Path:
        """Mount an image, to be written to without any consequence."""
        return await self.overlay([self._layers.path(layer) for layer in reversed(state.layers)])

    async def overlay(self, lower: list[Path]) -> Path:
        """Mount folders, topmost first, to be written to without any consequence."""
        scratch = self.place("scratch")
        target = self.volatile / scratch.name
        upper, work = scratch / "upper", scratch / "work"
        await asyncio.to_thread(upper.mkdir, 0o755, parents=True)
        await asyncio.to_thread(work.mkdir, 0o700)
        if not lower:
            lower = [scratch / "none"]
            await asyncio.to_thread(lower[0].mkdir, 0o755)
        self._mounted.append(target)
        await self._mounter.mount_overlay(lower, upper, work, target)
        return target

    async def close(self) -> None:
        """Unmount and delete everything; safe to repeat."""
        for view in self._views.values():
            await asyncio.gather(view, return_exceptions=True)
        for target in reversed(self._mounted):
            await self._mounter.unmount(target)
        self._mounted.clear()
        await asyncio.to_thread(shutil.rmtree, self.volatile, ignore_errors=True)
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)
