"""Starting the unpacker (``untar``) on a blob that is there, or on one that is on its way."""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from pathlib import Path

from engine.errors import InvalidArgument, Unavailable
from engine.images.arrival import Arrival
from engine.images.growing import END, GROWING
from engine.images.programs import TIMEOUT_S, ProgramResult, ending, parse_result, run_program, start_program


async def run_untar(blob: Path, folder: Path, lower: Sequence[Path] = ()) -> ProgramResult:
    """Unpack a blob into an empty folder, on top of the layers ``lower``, by a process of its own.

    Raises InvalidArgument for a damaged archive, Unavailable when the disk is full.
    """
    result = await run_program("untar", blob, folder, *lower, what=f"unpacking {blob.name[:12]}")
    return _checked(result, folder)


async def run_untar_growing(arrival: Arrival, folder: Path, lower: Sequence[Path] = ()) -> ProgramResult:
    """Do the same with a blob while it arrives; whether it is the right one is not known when this returns.

    Raises ArrivalBroken too. Waiting for bytes has no time limit here: the download has one.
    """
    descriptor = await arrival.open()
    try:
        process = await start_program(
            "untar",
            f"/proc/self/fd/{descriptor}",
            folder,
            *lower,
            stdin=PIPE,
            settings={GROWING: "1"},
            descriptors=[descriptor],
        )
    finally:
        os.close(descriptor)
    async with ending(process):
        feeding = asyncio.ensure_future(_feed(process, arrival))
        ended = asyncio.ensure_future(_outcome(process))
        try:
            await asyncio.wait({feeding, ended}, return_when=asyncio.FIRST_COMPLETED)
            if feeding.done():
                feeding.result()
            async with asyncio.timeout(TIMEOUT_S):
                output, errors = await ended
        finally:
            feeding.cancel()
            ended.cancel()
            await asyncio.gather(feeding, ended, return_exceptions=True)
    return _checked(parse_result(output, errors, process, "unpacking a layer"), folder)


async def _outcome(process: Process) -> tuple[bytes, bytes]:
    """Return what a program printed when it has ended (``communicate`` would end its input from Python 3.12 on)."""
    if process.stdout is None or process.stderr is None:
        return b"", b""
    output, errors, _ = await asyncio.gather(process.stdout.read(), process.stderr.read(), process.wait())
    return output, errors


async def _feed(process: Process, arrival: Arrival) -> None:
    """Tell an unpacker how far its blob has got; ends when it is whole or the unpacker is gone."""
    if process.stdin is None:
        return
    size, is_whole = 0, False
    try:
        while not is_whole:
            size, is_whole = await arrival.wait_beyond(size)
            process.stdin.write(b"%d\n" % size)
            await process.stdin.drain()
        process.stdin.write(END)
        await process.stdin.drain()
    except ConnectionError:
        return  # it has found a fault, and says which


def _checked(result: ProgramResult, folder: Path) -> ProgramResult:
    if result.is_disk_full:
        raise Unavailable(f"unpacking into {folder.parent}: {result.error}", hint="free disk space, then try again")
    if result.error:
        raise InvalidArgument(f"failed to register layer: {result.error}")
    return result
