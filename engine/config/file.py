"""Reading ``daemon.json``: an object of known keys, each with its place for whoever has to mend it."""

from __future__ import annotations

import difflib
import json
import re
from pathlib import Path
from typing import Any

from engine.config.settings import ConfigError
from engine.config.values import KEYS

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_MARK = re.compile(r'["{}\[\]]')
DOCKERS = frozenset(
    {
        "allow-direct-routing", "api-cors-header", "authorization-plugins", "bip6", "bridge", "builder",
        "cgroup-parent", "cluster-advertise", "cluster-store", "containerd", "containerd-namespace",
        "containerd-plugin-namespace", "cpu-rt-period", "cpu-rt-runtime", "default-cgroupns-mode", "default-gateway",
        "default-gateway-v6", "default-ipc-mode", "default-network-opts", "fixed-cidr", "fixed-cidr-v6",
        "host-gateway-ip", "host-gateway-ips", "ip6tables", "ip-forward-no-drop", "ipv6", "log-format",
        "max-download-attempts", "metrics-addr", "network-control-plane-mtu",
        "node-generic-resources", "raw-logs", "rootless", "selinux-enabled", "storage-opts",
        "swarm-default-advertise-addr", "userland-proxy", "userland-proxy-path",
    }
)  # fmt: skip
"""Keys that Docker has and Portside lacks."""


def read_file(path: Path, *, required: bool) -> dict[str, tuple[Any, str]]:
    """Return the keys of a file, each with its value and its place (``file:line:column``).

    A file that is not there is empty unless it is ``required``. Raises ConfigError.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if required:
            raise ConfigError(f"{path}: no such file") from None
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    try:
        data = json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}:{error.lineno}:{error.colno}: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: an object is expected")
    places = {key: f"{path}:{place}" for key, place in find_keys(text).items()}
    for key in data:
        if key in DOCKERS:
            raise ConfigError(f"{places[key]}: {key} is not supported by Portside yet")
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, 1)
            hint = f": did you mean {near[0]}?" if near else ""
            raise ConfigError(f"{places[key]}: unknown key {key}{hint}")
    return {key: (value, places[key]) for key, value in data.items()}


def find_keys(text: str) -> dict[str, str]:
    """Return where the keys of a JSON object, which is whole, stand (``line:column``, from 1)."""
    found: dict[str, str] = {}
    depth = position = 0
    while (mark := _MARK.search(text, position)) is not None:
        position = mark.end()
        if mark[0] in "{[":
            depth += 1
        elif mark[0] in "}]":
            depth -= 1
        elif (string := _STRING.match(text, mark.start())) is not None:
            position = string.end()
            if depth == 1 and text[position:].lstrip().startswith(":"):
                line = text.count("\n", 0, mark.start()) + 1
                column = mark.start() - text.rfind("\n", 0, mark.start())
                found[json.loads(string[0])] = f"{line}:{column}"
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(name for name in names if names.count(name) > 1)} stands there twice")
    return found
