"""``top``: the host's ps, cut down to a container's processes. Source: moby's daemon/top_unix.go."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

from engine.errors import Conflict, Internal
from engine.model.container import TopResponse

_RENAMED_PID = re.compile(r"\s+([^\s]*)=\s*(PID[^\s]*)")
_TIMEOUT_S = 20


async def top(pids: Sequence[int], ps_arguments: str) -> TopResponse:
    """Return what ``ps`` with these arguments (``-ef`` when empty) says of these processes.

    Raises Internal with moby's texts when ps refuses its arguments or shows no PID.
    """
    arguments = ps_arguments or "-ef"
    for name, value in _RENAMED_PID.findall(arguments):
        if name != "pid":
            raise Internal(f'specifying "{name}={value}" is not allowed')
    words = arguments.split(" ")
    only = "-q" + ",".join(map(str, pids))
    code, output, errors = await _run_ps([*words, only])
    if code:  # some arguments (f) do not go with -q
        code, output, errors = await _run_ps(words)
        if code:
            raise Internal(f"ps: {errors.splitlines()[0] if errors else f'exit status {code}'}")
    return parse_ps(output, set(pids))


async def _run_ps(words: list[str]) -> tuple[int, str, str]:
    try:
        process = await asyncio.create_subprocess_exec(
            "ps", *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
    except FileNotFoundError:
        raise Internal("ps is not installed on the host", hint="install the package procps") from None
    try:
        output, errors = await asyncio.wait_for(process.communicate(), _TIMEOUT_S)
    except BaseException:
        process.kill()
        await process.wait()
        raise
    return process.returncode or 0, output.decode(errors="replace"), errors.decode(errors="replace").strip()


def parse_ps(output: str, pids: set[int]) -> TopResponse:
    """Return the titles and the lines of ``pids`` in what ps printed; lines of threads follow their process."""
    lines = output.split("\n")
    titles = lines[0].split()
    if "PID" not in titles:
        raise Internal("Couldn't find PID field in ps output")
    place = titles.index("PID")
    processes: list[list[str]] = []
    inside = False
    for line in lines[1:]:
        fields = line.split()
        if len(fields) <= place:
            continue
        if fields[place] != "-":
            if not fields[place].isdigit():
                raise Internal(f"Unexpected pid '{fields[place]}'")
            inside = int(fields[place]) in pids
        if inside:
            last = len(titles) - 1
            processes.append([*fields[:last], " ".join(fields[last:])])
    return TopResponse(titles=titles, processes=processes)


def refuse_restarting(container_id: str) -> Conflict:
    """Return moby's error for a container between two starts."""
    return Conflict(f"Container {container_id} is restarting, wait until the container is running")
