"""A blob on its way: how far its file has got, told to whoever reads it while it grows.

The one who downloads it says ``advance``, ``complete`` or ``give_up``; readers wait. Nothing that was made from
a blob may be used before ``wait_complete`` returned, since only then its digest is known to be right.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from engine.errors import Unavailable


class ArrivalBroken(Unavailable):
    """What was read of a blob is worth nothing: its download failed, or began anew."""


class Arrival:
    """One blob's growth, seen by any number of readers on the same event loop."""

    def __init__(self) -> None:
        """Nothing has come yet."""
        self.size = 0
        self.is_complete = False
        self._total = -1
        self._path: Path | None = None
        self._is_broken = False
        self._change = asyncio.Event()

    def _tell(self) -> None:
        self._change.set()
        self._change = asyncio.Event()

    def begin(self, path: Path, total: int) -> None:
        """Say where the file grows and how many bytes it will have."""
        self._path, self._total = path, total
        self._tell()

    def advance(self, size: int) -> None:
        """Say how many bytes are in the file now; fewer than before break it for its readers."""
        if size < self.size:
            self._is_broken = True
        self.size = size
        self._tell()

    def complete(self) -> None:
        """Say that the blob is in the store, with the right digest."""
        self.is_complete = not self._is_broken
        self._tell()

    def give_up(self) -> None:
        """Say that no more comes."""
        self._is_broken = self._is_broken or not self.is_complete
        self._tell()

    async def _wait(self) -> None:
        if self._is_broken:
            raise ArrivalBroken("the download of a layer broke off")
        await self._change.wait()

    async def open(self) -> int:
        """Wait until the file is there; return a descriptor of it, which outlasts its change of name."""
        while self._path is None:
            await self._wait()
        if self._is_broken or self.is_complete:
            raise ArrivalBroken("the layer is no longer on its way")
        return os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)

    async def wait_beyond(self, size: int) -> tuple[int, bool]:
        """Wait for more than ``size`` bytes; return how many there are and whether that is all.

        Raises ArrivalBroken when what was read before is worth nothing.
        """
        while self._is_broken or self.size <= size:
            await self._wait()
        return self.size, self.size == self._total

    async def wait_complete(self) -> None:
        """Wait until the blob is in the store; raises ArrivalBroken when it is not what it should be."""
        while not self.is_complete:
            await self._wait()
