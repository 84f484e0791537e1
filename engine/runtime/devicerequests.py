"""Devices that are asked for from a driver (``--gpus``, ``--device vendor.com/class=name``).

CDI's devices are put in as its spec files say. A request for GPUs is met by the CDI devices of NVIDIA or AMD, or,
where NVIDIA's older hook is installed, by that hook; else it is refused with Docker's text.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.errors import Internal, InvalidArgument
from engine.model.resources import DeviceRequest
from engine.runtime import cdi

_NVIDIA_HOOK = "nvidia-container-runtime-hook"
_NVIDIA_WORDS = frozenset({"compute", "compat32", "graphics", "utility", "video", "display"})
_GPUS = (
    ("nvidia", "nvidia.com/gpu", frozenset({"gpu", "nvidia"}) | _NVIDIA_WORDS),
    ("amd", "amd.com/gpu", frozenset({"gpu", "amd"})),
)


def add_devices(spec: dict[str, Any], requests: Sequence[DeviceRequest], folders: Sequence[Path]) -> None:
    """Put what ``requests`` ask for into an OCI configuration (blocking).

    Raises Internal, as moby does for all that it finds out at a start, with its texts.
    """
    if not requests:
        return
    inventory = cdi.read_inventory(folders)
    for request in requests:
        try:
            _add(spec, request, inventory, cdi_enabled=bool(folders))
        except InvalidArgument as error:
            raise Internal(error.message, hint=error.hint) from error


def _add(spec: dict[str, Any], request: DeviceRequest, inventory: cdi.Inventory, *, cdi_enabled: bool) -> None:
    if request.driver == "cdi" and cdi_enabled:
        if request.count:
            raise InvalidArgument("unexpected count in CDI device request")
        if request.options:
            raise InvalidArgument("unexpected options in CDI device request")
        cdi.inject(spec, request.device_ids or [], inventory)
        return
    for driver, kind, words in _GPUS:
        if request.driver not in ("", driver) or _selected(request, words) is None:
            continue
        available = inventory.names(kind)
        hook = shutil.which(_NVIDIA_HOOK) if driver == "nvidia" else None
        if not available and hook is None:
            continue
        if request.count and request.device_ids:
            raise InvalidArgument("cannot set both Count and DeviceIDs on device request")
        if available:
            cdi.inject(spec, _chosen(request, kind, available), inventory)
        elif hook is not None:
            _use_hook(spec, request, hook)
        return
    raise InvalidArgument(
        f'could not select device driver "{request.driver}" with capabilities: {_go_lists(request.capabilities)}',
        hint="install a CDI specification of the device into /etc/cdi, or give its nodes with --device",
    )


def _selected(request: DeviceRequest, words: frozenset[str]) -> list[str] | None:
    """Return the first of the asked sets of capabilities that a driver has, None when there is none."""
    return next((asked for asked in request.capabilities or [] if set(asked) <= words), None)


def _chosen(request: DeviceRequest, kind: str, available: list[str]) -> list[str]:
    if request.device_ids:
        return [f"{kind}={name}" for name in request.device_ids]
    if request.count < 0:
        whole = f"{kind}=all"
        return [whole] if whole in available else available
    return [f"{kind}={number}" for number in range(request.count)]


def _use_hook(spec: dict[str, Any], request: DeviceRequest, hook: str) -> None:
    if request.device_ids:
        visible = ",".join(request.device_ids)
    elif request.count < 0:
        visible = "all"
    else:
        visible = ",".join(map(str, range(request.count))) or "void"
    environment = spec["process"]["env"]
    environment.append(f"NVIDIA_VISIBLE_DEVICES={visible}")
    words = [word for word in _selected(request, _GPUS[0][2]) or [] if word in _NVIDIA_WORDS]
    if words:
        environment.append(f"NVIDIA_DRIVER_CAPABILITIES={','.join(words)}")
    call = {"path": hook, "args": [_NVIDIA_HOOK, "prestart"], "env": [f"{k}={v}" for k, v in os.environ.items()]}
    spec.setdefault("hooks", {}).setdefault("prestart", []).append(call)


def _go_lists(lists: list[list[str]] | None) -> str:
    return "[" + " ".join(f"[{' '.join(words)}]" for words in lists or []) + "]"
