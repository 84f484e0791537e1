"""Whole file systems as tars, written by a program of its own into a pipe."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

from engine.errors import Internal
from engine.images.programs import ending, start_program

_BLOCK = 1 << 18


class TreeExports:
    """Exports file systems (see ``containers.snapshots.TreeExporter``)."""

    def __init__(self, layers_root: Path) -> None:
        """``layers_root`` is the folder that layers' names are relative to."""
        self._layers_root = layers_root

    def export_layers(self, layers: list[Path]) -> AsyncGenerator[bytes, None]:
        """Yield a tar of what layers, topmost first, show together. Raises Internal."""
        return _output("export", self._layers_root, *layers)


async def _output(*arguments: str | Path) -> AsyncGenerator[bytes, None]:
    process = await start_program("packing", *arguments)
    async with ending(process):
        if process.stdout is None or process.stderr is None:
            raise Internal("a program was started without pipes")
        while block := await process.stdout.read(_BLOCK):
            yield block
        errors = await process.stderr.read()
        if await process.wait():
            told = errors.decode(errors="replace").strip().splitlines()[-1:] or ["it was killed"]
            raise Internal(told[0])
