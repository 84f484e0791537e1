"""Devices, limits and policies of ``run`` and ``create``: what was typed as structs of the API.

Pure functions; they raise ValueError with Docker's texts.
"""

from __future__ import annotations

import posixpath
import re

from engine.cli.mount_values import split_fields
from engine.cli.quantities import parse_size_bytes
from engine.model.container import RestartPolicy
from engine.model.resources import DeviceMapping, DeviceRequest, ThrottleDevice, Ulimit, WeightDevice

_CGROUP_RULE = re.compile(r"[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}", re.ASCII)
ULIMITS = frozenset(
    (
        "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
        "rttime", "sigpending", "stack",
    )
)  # fmt: skip


def parse_device(text: str) -> DeviceMapping:
    """Return one ``--device``: ``host[:container][:rwm]``; raises ValueError with Docker's text."""
    parts = text.split(":")
    if len(parts) > 3 or not parts[0]:
        raise ValueError(f"bad format for path: {text}")
    source, target, permissions = parts[0], "", "rwm"
    if len(parts) == 3:
        target, permissions = parts[1], parts[2]
        if not _is_device_mode(permissions):
            raise ValueError(f"bad mode specified: {permissions}")
    elif len(parts) == 2:
        if _is_device_mode(parts[1]):
            permissions = parts[1]
        else:
            target = posixpath.normpath(parts[1])
    if not (target or source).startswith("/"):
        raise ValueError(f"{target or source} is not an absolute path")
    return DeviceMapping(path_on_host=source, path_in_container=target or source, cgroup_permissions=permissions)


def _is_device_mode(text: str) -> bool:
    return 0 < len(text) <= 3 and set(text) <= set("rwm") and len(set(text)) == len(text)


def is_cdi_name(text: str) -> bool:
    """Whether a device is named as the Container Device Interface does: ``vendor.com/class=name``."""
    return re.fullmatch(r"[A-Za-z][\w.-]*/[A-Za-z][\w.-]*=[\w.:-]+", text, re.ASCII) is not None


def check_cgroup_rule(text: str) -> str:
    """Return a ``--device-cgroup-rule``; raises ValueError with Docker's text."""
    if _CGROUP_RULE.fullmatch(text) is None:
        raise ValueError(f"invalid device cgroup format '{text}'")
    return text


def parse_ulimit(text: str) -> Ulimit:
    """Return one ``--ulimit``: ``name=soft[:hard]``; raises ValueError with go-units' text."""
    name, equals, values = text.partition("=")
    if not equals:
        raise ValueError(f"invalid ulimit argument: {text}")
    if name not in ULIMITS:
        raise ValueError(f"invalid ulimit type: {name}")
    parts = values.split(":")
    if len(parts) > 2 or not values:
        raise ValueError(f"too many limit value arguments - {values}, can only have up to two, `soft[:hard]`")
    numbers = []
    for part in parts:
        if not re.fullmatch(r"[+-]?[0-9]+", part, re.ASCII):
            raise ValueError(f'strconv.ParseInt: parsing "{part}": invalid syntax')
        numbers.append(int(part))
    soft, hard = numbers[0], numbers[-1]
    if hard != -1 and (soft == -1 or soft > hard):
        raise ValueError(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
    return Ulimit(name=name, soft=soft, hard=hard)


def parse_weight_device(text: str) -> WeightDevice:
    """Return one ``--blkio-weight-device``: ``/dev/sda:500``."""
    path, colon, weight = text.partition(":")
    if not colon or not path:
        raise ValueError(f"bad format: {text}")
    if not path.startswith("/dev/"):
        raise ValueError(f"bad format for device path: {text}")
    if not weight.isdigit() or not (int(weight) == 0 or 10 <= int(weight) <= 1000):
        raise ValueError(f"invalid weight for device: {text}")
    return WeightDevice(path=path, weight=int(weight))


def parse_throttle_bytes(text: str) -> ThrottleDevice:
    """Return one ``--device-read-bps``: ``/dev/sda:1mb``."""
    path, rate = _throttle(text)
    try:
        return ThrottleDevice(path=path, rate=parse_size_bytes(rate))
    except ValueError:
        raise ValueError(
            f"invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. "
            "Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
        ) from None


def parse_throttle_operations(text: str) -> ThrottleDevice:
    """Return one ``--device-read-iops``: ``/dev/sda:1000``."""
    path, rate = _throttle(text)
    if not (rate.isascii() and rate.isdigit()):
        raise ValueError(
            f"invalid rate for device: {text}. The correct format is <device-path>:<number>. "
            "Number must be a positive integer"
        )
    return ThrottleDevice(path=path, rate=int(rate))


def _throttle(text: str) -> tuple[str, str]:
    path, colon, rate = text.partition(":")
    if not colon or not path:
        raise ValueError(f"bad format: {text}")
    if not path.startswith("/dev/"):
        raise ValueError(f"bad format for device path: {text}")
    return path, rate


def parse_cpus(text: str) -> int:
    """Return ``--cpus`` in billionths of a CPU; raises ValueError with Docker's text."""
    if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)", text, re.ASCII):
        raise ValueError(f"failed to parse {text} as a rational number")
    sign = -1 if text.startswith("-") else 1
    whole, _, fraction = text.lstrip("+-").partition(".")
    if len(fraction.rstrip("0")) > 9:
        raise ValueError("value is too precise")
    return sign * (int(whole or "0") * 10**9 + int((fraction + "000000000")[:9]))


def parse_memory_swap(text: str) -> int:
    """Return ``--memory-swap`` in bytes, -1 for no limit."""
    return -1 if text == "-1" else parse_size_bytes(text)


def parse_gpus(text: str) -> DeviceRequest:
    """Return one ``--gpus``: ``all``, a count, or ``device=0,capabilities=utility``; raises ValueError."""
    request = DeviceRequest(options={}, device_ids=[], count=0)
    capabilities = ["gpu"]
    for part in split_fields(text):
        key, equals, value = part.partition("=")
        if not equals:
            key, value = "count", part
        if key == "driver":
            request.driver = value
        elif key == "count":
            if value != "all" and not re.fullmatch(r"-?[0-9]+", value):
                raise ValueError(f'invalid count ({value}): value must be either "all" or an integer: invalid syntax')
            request.count = -1 if value == "all" else int(value)
        elif key == "device":
            request.device_ids = value.split(",")
        elif key == "capabilities":
            capabilities = [*value.split(","), "gpu"]
        elif key == "options":
            options = [item.partition("=") for item in split_fields(value)]
            request.options = {name: setting for name, _, setting in options}
        else:
            raise ValueError(f"unexpected key '{key}' in '{part}'")
    if not request.count and not request.device_ids:
        request.count = 1
    request.capabilities = [capabilities]
    return request


def parse_restart(text: str) -> RestartPolicy:
    """Return ``--restart``: ``on-failure:3``; raises ValueError with Docker's text."""
    if not text:
        return RestartPolicy()
    name, colon, count = text.partition(":")
    if not colon:
        return RestartPolicy(name=name)
    if not name:
        raise ValueError("invalid restart policy format: no policy provided before colon")
    if count and re.fullmatch(r"-?[0-9]+", count, re.ASCII) is None:
        raise ValueError("invalid restart policy format: maximum retry count must be an integer")
    return RestartPolicy(name=name, maximum_retry_count=int(count or "0"))
