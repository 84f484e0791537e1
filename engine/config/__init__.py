"""The engine's settings: ``daemon.json`` with Docker's keys, and flags over it.

Everything is checked before anything is touched; an error names the file, the place and what was expected.
"""

from __future__ import annotations

from engine.config.loading import CommandLine, check_files, load
from engine.config.settings import (
    RELOADABLE,
    AddressPool,
    ConfigError,
    EngineConfig,
    Proxies,
    RuntimeSetting,
    changed_fields,
    instance_name,
)
from engine.config.values import KEYS

__all__ = [
    "KEYS",
    "RELOADABLE",
    "AddressPool",
    "CommandLine",
    "ConfigError",
    "EngineConfig",
    "Proxies",
    "RuntimeSetting",
    "changed_fields",
    "check_files",
    "instance_name",
    "load",
]
