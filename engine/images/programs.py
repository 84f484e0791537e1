"""Programs of the image store: heavy work on one layer, each in a process of its own.

They are modules of this package that are started with little else loaded, print one line of JSON and end with
the engine. A process of its own keeps the engine's event loop and memory free, and two layers use two cores.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec

from engine.errors import Unavailable

TIMEOUT_S = 3600
_HOME = Path(__file__).parents[2]
_LIBRARIES = os.pathsep.join(  # without the site module, which takes as long as everything else at a start
    str(Path(spec.origin).parents[1])
    for spec in map(importlib.util.find_spec, ("isal", "zstandard"))
    if spec is not None and spec.origin is not None
)


class ProgramResult(msgspec.Struct):
    """What a program found out; ``error`` and ``errno`` say why it failed. Sizes are bytes."""

    diff_id: str = ""
    digest: str = ""
    size: int = 0
    error: str = ""
    errno: int = 0

    @property
    def is_disk_full(self) -> bool:
        """Whether it failed for want of room (ENOSPC, EDQUOT)."""
        return self.errno in (28, 122)


async def start_program(
    module: str,
    *arguments: str | Path,
    stderr: int = asyncio.subprocess.PIPE,
    stdin: int = asyncio.subprocess.DEVNULL,
    settings: Mapping[str, str] | None = None,
    descriptors: Sequence[int] = (),
) -> Process:
    """Start a module of ``engine.images`` with its output in a pipe.

    ``settings`` are added to its environment; it inherits ``descriptors`` under the same numbers.
    """
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-S", "-m", f"engine.images.{module}", *map(str, arguments)),
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
        cwd=_HOME,  # where the package is, so that it runs from a checkout as well
        env={
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": _LIBRARIES,
            "PYTHONUTF8": "1",
            "PORTSIDE_PARENT": str(os.getpid()),
            **(settings or {}),
        },
        pass_fds=descriptors,
    )


@asynccontextmanager
async def ending(process: Process) -> AsyncIterator[None]:
    """Kill a program, and wait for its end, when the context is left before it ended."""
    try:
        yield
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await asyncio.shield(process.wait())


async def run_program(module: str, *arguments: str | Path, what: str) -> ProgramResult:
    """Run a module of ``engine.images`` to its end; raises Unavailable when it ends without a result.

    ``what`` says in that error what failed. Cancelling kills it.
    """
    process = await start_program(module, *arguments)
    async with ending(process), asyncio.timeout(TIMEOUT_S):
        output, errors = await process.communicate()
    return parse_result(output, errors, process, what)


def parse_result(output: bytes, errors: bytes, process: Process, what: str) -> ProgramResult:
    """Return what a program that ended has printed; raises Unavailable when that is no result."""
    try:
        return msgspec.json.decode(output, type=ProgramResult)
    except msgspec.DecodeError:
        told = errors.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {process.returncode}"]
        raise Unavailable(f"{what} failed: {told[0]}") from None
