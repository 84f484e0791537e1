"""Limits of a container as OCI ``linux.resources``: the runtime writes them into either version of control groups."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from engine.errors import InvalidArgument
from engine.model.resources import Resources, ThrottleDevice

_PERIOD_US = 100_000


def resources(wanted: Resources) -> dict[str, Any]:
    """Return the OCI resources of a container without its devices.

    Raises InvalidArgument when a block device does not exist.
    """
    result: dict[str, Any] = {}
    for key, value in (("memory", memory(wanted)), ("cpu", cpu(wanted)), ("blockIO", block_io(wanted))):
        if value:
            result[key] = value
    if wanted.pids_limit is not None:
        result["pids"] = {"limit": wanted.pids_limit if wanted.pids_limit > 0 else -1}
    return result


def changes(wanted: Resources) -> dict[str, Any]:
    """Return the OCI resources that an update asks for; what it does not name is left as it is.

    As moby does it: block devices, swappiness and realtime limits of a running container stay; a swap limit of -1
    is kept for the next start only where no memory limit comes with it.
    """
    result: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    if wanted.memory > 0:
        limits["limit"] = wanted.memory
    if wanted.memory_swap > 0 or (wanted.memory_swap == -1 and wanted.memory > 0):
        limits["swap"] = wanted.memory_swap
    if wanted.memory_reservation > 0:
        limits["reservation"] = wanted.memory_reservation
    processor = {key: value for key, value in cpu(wanted).items() if not key.startswith("realtime")}
    for name, value in (("memory", limits), ("cpu", processor)):
        if value:
            result[name] = value
    if wanted.blkio_weight:
        result["blockIO"] = {"weight": wanted.blkio_weight}
    if wanted.pids_limit is not None:
        result["pids"] = {"limit": wanted.pids_limit if wanted.pids_limit > 0 else -1}
    return result


def without_lifted(wanted: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return ``changes`` without the limits that are taken off, and which these are: ``pids``, ``quota``."""
    left = {key: dict(value) for key, value in wanted.items()}
    lifted: list[str] = []
    for kind, group, name in (("pids", "pids", "limit"), ("quota", "cpu", "quota")):
        if left.get(group, {}).get(name, 0) < 0:
            del left[group][name]
            lifted.append(kind)
    return {key: value for key, value in left.items() if value}, lifted


def memory(wanted: Resources) -> dict[str, Any]:
    """Return the memory limits in bytes; -1 is unlimited."""
    limits: dict[str, Any] = {}
    if wanted.memory > 0:
        limits["limit"] = wanted.memory
    if wanted.memory_reservation > 0:
        limits["reservation"] = wanted.memory_reservation
    if wanted.memory_swap > 0 or (wanted.memory_swap == -1 and wanted.memory > 0):
        limits["swap"] = wanted.memory_swap
    if wanted.memory_swappiness is not None and wanted.memory_swappiness >= 0:
        limits["swappiness"] = wanted.memory_swappiness
    if wanted.oom_kill_disable:
        limits["disableOOMKiller"] = True
    if isinstance(wanted.kernel_memory_tcp, int) and wanted.kernel_memory_tcp > 0:
        limits["kernelTCP"] = wanted.kernel_memory_tcp
    return limits


def cpu(wanted: Resources) -> dict[str, Any]:
    """Return shares, quota and period in microseconds, and the CPUs that may be used."""
    limits: dict[str, Any] = {}
    if wanted.cpu_shares:
        limits["shares"] = wanted.cpu_shares
    if wanted.nano_cpus > 0:
        limits["period"] = _PERIOD_US
        limits["quota"] = wanted.nano_cpus * _PERIOD_US // 1_000_000_000
    for key, value in (
        ("period", wanted.cpu_period),
        ("quota", wanted.cpu_quota),
        ("realtimePeriod", wanted.cpu_realtime_period),
        ("realtimeRuntime", wanted.cpu_realtime_runtime),
        ("cpus", wanted.cpuset_cpus),
        ("mems", wanted.cpuset_mems),
    ):
        if value:
            limits[key] = value
    return limits


def block_io(wanted: Resources) -> dict[str, Any]:
    """Return weights and throttles of block devices."""
    limits: dict[str, Any] = {}
    if wanted.blkio_weight:
        limits["weight"] = wanted.blkio_weight
    if wanted.blkio_weight_device:
        limits["weightDevice"] = [
            {**_numbers(device.path), "weight": device.weight} for device in wanted.blkio_weight_device
        ]
    for key, devices in (
        ("throttleReadBpsDevice", wanted.blkio_device_read_bps),
        ("throttleWriteBpsDevice", wanted.blkio_device_write_bps),
        ("throttleReadIOPSDevice", wanted.blkio_device_read_iops),
        ("throttleWriteIOPSDevice", wanted.blkio_device_write_iops),
    ):
        if devices:
            limits[key] = _throttles(devices)
    return limits


def _throttles(devices: Sequence[ThrottleDevice]) -> list[dict[str, Any]]:
    return [{**_numbers(device.path), "rate": device.rate} for device in devices]


def _numbers(path: str) -> dict[str, int]:
    try:
        number = os.stat(path).st_rdev  # noqa: PTH116 - follows links, as the kernel's rules want the device itself
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InvalidArgument(f"stat {path}: {reason}", hint="name a block device such as /dev/sda") from error
    return {"major": os.major(number), "minor": os.minor(number)}
