"""``update``: limits and restart policy of containers that exist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from engine.cli.command import Command
from engine.cli.failures import CommandError, join_errors
from engine.cli.flags import Flag, Parsed
from engine.cli.limit_values import parse_cpus, parse_memory_swap, parse_restart
from engine.errors import PortsideError

if TYPE_CHECKING:
    from engine.cli.session import Session

_NUMBERS = {
    "blkio-weight": "BlkioWeight",
    "cpu-period": "CpuPeriod",
    "cpu-quota": "CpuQuota",
    "cpu-rt-period": "CpuRealtimePeriod",
    "cpu-rt-runtime": "CpuRealtimeRuntime",
    "cpu-shares": "CpuShares",
    "cpus": "NanoCpus",
    "memory": "Memory",
    "memory-reservation": "MemoryReservation",
    "memory-swap": "MemorySwap",
    "pids-limit": "PidsLimit",
}
_TEXTS = {"cpuset-cpus": "CpusetCpus", "cpuset-mems": "CpusetMems"}


async def run_update(session: Session, parsed: Parsed) -> int:
    """Send what was given, and nothing else, to each container."""
    if not parsed.changed:
        raise CommandError("you must provide one or more flags when using this command")
    if parsed.number("kernel-memory"):
        raise CommandError("--kernel-memory is not supported")
    body: dict[str, Any] = {}
    for flag, name in _NUMBERS.items():
        if parsed.is_set(flag):
            body[name] = parsed.number(flag)
    for flag, name in _TEXTS.items():
        if parsed.is_set(flag):
            body[name] = parsed.text(flag)
    if parsed.text("restart"):
        try:
            body["RestartPolicy"] = msgspec.to_builtins(parse_restart(parsed.text("restart")))
        except ValueError as error:
            raise CommandError(str(error)) from error
    warnings: list[str] = []
    errors: list[PortsideError] = []
    for ref in parsed.args:
        try:
            answer = await session.client.containers.update(ref, body)
        except PortsideError as error:
            errors.append(error)
            continue
        session.out(ref)
        warnings += answer.warnings or []
    if warnings:
        session.out("\n".join(warnings))
    if errors:
        raise join_errors(errors)
    return 0


COMMANDS = {
    "container update": Command(
        "[OPTIONS] CONTAINER [CONTAINER...]",
        "Change limits and restart policy of containers",
        run_update,
        (
            Flag("blkio-weight", kind="uint16", usage="Share of block I/O, 10 to 1000; 0 for the default"),
            Flag("cpu-period", kind="int", usage="Period of the CPU limit in microseconds"),
            Flag("cpu-quota", kind="int", usage="CPU time a period in microseconds"),
            Flag("cpu-rt-period", kind="int", usage="Period of the real-time limit in microseconds"),
            Flag("cpu-rt-runtime", kind="int", usage="Real-time CPU time a period in microseconds"),
            Flag("cpu-shares", "c", "int", "Share of CPU time against other containers"),
            Flag("cpus", kind="decimal", usage="Number of CPUs", check=parse_cpus),
            Flag("cpuset-cpus", kind="string", usage="CPUs to run on (0-3, 0,1)"),
            Flag("cpuset-mems", kind="string", usage="Memory nodes to use (0-3, 0,1)"),
            Flag("kernel-memory", kind="bytes", is_hidden=True),
            Flag("memory", "m", "bytes", "Memory limit"),
            Flag("memory-reservation", kind="bytes", usage="Memory to keep when the host runs short"),
            Flag("memory-swap", kind="bytes", usage="Memory and swap together, -1 for none", check=parse_memory_swap),
            Flag("pids-limit", kind="int", usage="Limit of processes, -1 for none"),
            Flag("restart", kind="string", usage="What to do when the container exits"),
        ),
        min_args=1,
        aliases=("container update", "update"),
        completes="container",
    ),
}
