"""All settings as the engine uses them: typed, checked, with their defaults. Knows no file and no flag."""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass, field, fields
from pathlib import Path

from engine.errors import InvalidArgument
from engine.model.resources import Ulimit

DEFAULT_DATA_ROOT = Path("/var/lib/portside")
DEFAULT_EXEC_ROOT = Path("/run/portside")
DEFAULT_SOCKET = "unix:///run/portside/engine.sock"
DEFAULT_CONFIG_FILE = Path("/etc/portside/daemon.json")
LOG_LEVELS = ("debug", "info", "warn", "error", "fatal")


def instance_name(data_root: Path) -> str:
    """Return the name that sets an engine's kernel objects apart: ``portside``, or one made of its data root."""
    if data_root == DEFAULT_DATA_ROOT:
        return "portside"
    return "portside-" + hashlib.sha256(str(data_root).encode()).hexdigest()[:6]


@dataclass(frozen=True)
class AddressPool:
    """A range that networks are cut from; ``size`` is a network's prefix length."""

    base: ipaddress.IPv4Network | ipaddress.IPv6Network
    size: int


@dataclass(frozen=True)
class RuntimeSetting:
    """An OCI runtime of daemon.json."""

    path: str
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Proxies:
    """How registries are reached; empty takes the environment's."""

    http: str = ""
    https: str = ""
    no_proxy: str = ""


@dataclass(frozen=True)
class EngineConfig:
    """All settings, checked."""

    hosts: tuple[str, ...] = (DEFAULT_SOCKET,)
    group: str = "portside"
    data_root: Path = DEFAULT_DATA_ROOT
    exec_root: Path = DEFAULT_EXEC_ROOT
    pidfile: Path | None = None
    log_level: str = "info"
    debug: bool = False
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    registry_mirrors: tuple[str, ...] = ()
    insecure_registries: tuple[str, ...] = ()
    proxies: Proxies = field(default_factory=Proxies)
    bip: ipaddress.IPv4Interface | None = None
    default_address_pools: tuple[AddressPool, ...] = ()
    mtu: int = 1500
    icc: bool = True
    publish_address: ipaddress.IPv4Address | ipaddress.IPv6Address | None = None
    dns: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    runtime: str = "auto"
    runtimes: dict[str, RuntimeSetting] = field(default_factory=dict)
    log_driver: str = "json-file"
    log_options: dict[str, str] = field(default_factory=dict)
    default_ulimits: tuple[Ulimit, ...] = ()
    default_shm_size_bytes: int = 64 * 1024 * 1024
    labels: tuple[str, ...] = ()
    init: bool = False
    init_path: Path | None = None
    no_new_privileges: bool = False
    seccomp_profile: Path | None = None
    userns_remap: str = ""
    cdi_folders: tuple[Path, ...] = (Path("/etc/cdi"), Path("/var/run/cdi"))
    features: dict[str, bool] = field(default_factory=dict)
    max_concurrent_downloads: int = 3
    max_concurrent_uploads: int = 5
    shutdown_timeout_s: int = 15

    @property
    def instance(self) -> str:
        """The name that sets this engine's kernel objects apart."""
        return instance_name(self.data_root)

    @property
    def used_cdi_folders(self) -> tuple[Path, ...]:
        """Where CDI's spec files are looked for; nowhere when the feature is switched off."""
        return self.cdi_folders if self.features.get("cdi", True) else ()

    @property
    def bridge(self) -> str:
        """The default bridge's name."""
        name = self.instance
        return "portside0" if name == "portside" else name.replace("portside-", "psd-")


class ConfigError(InvalidArgument):
    """A setting that is unknown or wrong, with its place."""


RELOADABLE = frozenset(
    {
        *("debug", "log_level", "labels", "registry_mirrors", "insecure_registries", "proxies"),
        *("max_concurrent_downloads", "max_concurrent_uploads"),
    }
)
"""Fields that change while the engine runs (SIGHUP)."""


def changed_fields(before: EngineConfig, after: EngineConfig) -> set[str]:
    """Return the names of the settings that differ."""
    return {item.name for item in fields(EngineConfig) if getattr(before, item.name) != getattr(after, item.name)}
