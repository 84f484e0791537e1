"""The engine's settings: ``daemon.json`` with Docker's keys, and flags over it.

Everything is checked before anything is touched; an error names the file, the place and what was expected.
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import ipaddress
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NoReturn

from engine.containers.logoptions import check_log_options
from engine.errors import InvalidArgument, PortsideError
from engine.model.container import Ulimit

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
    max_concurrent_downloads: int = 3
    shutdown_timeout_s: int = 15

    @property
    def instance(self) -> str:
        """The name that sets this engine's kernel objects apart."""
        return instance_name(self.data_root)

    @property
    def bridge(self) -> str:
        """The default bridge's name."""
        name = self.instance
        return "portside0" if name == "portside" else name.replace("portside-", "psd-")


class ConfigError(InvalidArgument):
    """A setting that is unknown or wrong, with its place."""


# Values: each takes what JSON or a flag gives and returns what EngineConfig holds.


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("a string is expected")  # noqa: TRY004 - every value that does not fit is told alike
    return value


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false", "1", "0"):
        return value.lower() in ("true", "1")
    raise ValueError("true or false is expected")


def _number(low: int, high: int) -> Callable[[object], int]:
    def convert(value: object) -> int:
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high} is expected")
        return value

    return convert


def _list(item: Callable[[object], Any]) -> Callable[[object], tuple[Any, ...]]:
    def convert(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ValueError("a list is expected")  # noqa: TRY004 - as above
        return tuple(item(entry) for entry in value)

    return convert


def _path(value: object) -> Path:
    path = Path(_text(value))
    if not path.is_absolute():
        raise ValueError("an absolute path is expected")
    return path


def _host(value: object) -> str:
    text = _text(value)
    scheme, found, rest = text.partition("://")
    if not found or scheme not in ("unix", "tcp", "fd"):
        raise ValueError("unix:///path, tcp://address:port or fd:// is expected")
    if scheme == "unix" and not rest.startswith("/"):
        raise ValueError("an absolute path is expected after unix://")
    if scheme == "unix" and len(rest.encode()) > 107:
        raise ValueError("a socket's path has at most 107 bytes")
    if scheme == "tcp" and not re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^:/\[\]]*):\d{1,5}", rest):
        raise ValueError("tcp://address:port is expected")
    if scheme == "tcp" and not 0 < int(rest.rpartition(":")[2]) <= 65535:
        raise ValueError("a port from 1 to 65535 is expected")
    return text


def _address(value: object) -> str:
    return str(ipaddress.ip_address(_text(value)))


def _bip(value: object) -> ipaddress.IPv4Interface:
    text = _text(value)
    interface = ipaddress.IPv4Interface(text)
    if "/" not in text or interface.network.prefixlen > 30:
        raise ValueError("an address with its prefix length is expected, such as 172.17.0.1/16")
    if interface.ip in (interface.network.network_address, interface.network.broadcast_address):
        raise ValueError(f"{interface.ip} is not a host's address in {interface.network}")
    return interface


def _pool(value: object) -> AddressPool:
    if isinstance(value, str):
        value = dict(part.partition("=")[::2] for part in value.split(","))
    if not isinstance(value, dict) or set(value) != {"base", "size"}:
        raise ValueError("base and size are expected, such as base=10.10.0.0/16,size=24")
    base = ipaddress.ip_network(_text(value["base"]))
    size = _number(base.prefixlen, base.max_prefixlen - 2)(value["size"])
    return AddressPool(base, size)


def _mirror(value: object) -> str:
    text = _text(value)
    if not re.fullmatch(r"https?://[^/?#\s@]+/?", text):
        raise ValueError("a URL without path, user or query is expected, such as https://mirror.example")
    return text.rstrip("/")


def _insecure(value: object) -> str:
    text = _text(value)
    if "://" in text:
        raise ValueError("host, host:port or a CIDR is expected, without a scheme")
    return text


def _proxies(value: object) -> Proxies:
    if not isinstance(value, dict):
        raise ValueError("an object with http-proxy, https-proxy and no-proxy is expected")  # noqa: TRY004
    unknown = set(value) - {"http-proxy", "https-proxy", "no-proxy"}
    if unknown:
        raise ValueError(f"unknown key {min(unknown)}")
    return Proxies(*(_text(value.get(key, "")) for key in ("http-proxy", "https-proxy", "no-proxy")))


def _runtimes(value: object) -> dict[str, RuntimeSetting]:
    if not isinstance(value, dict):
        raise ValueError("an object of runtimes is expected")  # noqa: TRY004
    found: dict[str, RuntimeSetting] = {}
    for name, setting in value.items():
        if not isinstance(setting, dict) or not isinstance(setting.get("path"), str) or not setting["path"]:
            raise ValueError(f"runtime {name}: path is expected (containerd shims by runtimeType are not supported)")
        if set(setting) - {"path", "runtimeArgs"}:
            raise ValueError(f"runtime {name}: unknown key {min(set(setting) - {'path', 'runtimeArgs'})}")
        found[name] = RuntimeSetting(setting["path"], _list(_text)(setting.get("runtimeArgs", [])))
    return found


def _options(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError("an object of strings is expected")  # noqa: TRY004
    return {key: _text(item) for key, item in value.items()}


def _ulimits(value: object) -> tuple[Ulimit, ...]:
    if not isinstance(value, dict):
        raise ValueError("an object of limits is expected")  # noqa: TRY004
    limits = []
    for name, limit in value.items():
        if not isinstance(limit, dict):
            raise ValueError(f"limit {name}: Hard and Soft are expected")  # noqa: TRY004
        whole = _number(-1, 2**63 - 1)
        limits.append(Ulimit(name=name, hard=whole(limit.get("Hard", 0)), soft=whole(limit.get("Soft", 0))))
    return tuple(limits)


def _size(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    found = re.fullmatch(r"(\d+)\s*([kmgt]?)i?b?", str(value).strip().lower())
    if found is None or not int(found[1]):
        raise ValueError("a size is expected, such as 64m")
    return int(found[1]) << {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}[found[2]]


def _one_of(*words: str) -> Callable[[object], str]:
    def convert(value: object) -> str:
        text = _text(value)
        if text not in words:
            raise ValueError(f"one of {', '.join(words)} is expected")
        return text

    return convert


def _only(expected: object, why: str) -> Callable[[object], object]:
    def convert(value: object) -> object:
        if value != expected:
            raise ValueError(why)
        return value

    return convert


def _label(value: object) -> str:
    text = _text(value)
    if "=" not in text or text.startswith("="):
        raise ValueError("key=value is expected")
    return text


_ALWAYS_LIVE = "only true: containers always live on without the engine"
KEYS: dict[str, tuple[str, Callable[[object], Any]]] = {
    "hosts": ("hosts", _list(_host)),
    "group": ("group", _text),
    "data-root": ("data_root", _path),
    "exec-root": ("exec_root", _path),
    "pidfile": ("pidfile", _path),
    "log-level": ("log_level", _one_of(*LOG_LEVELS)),
    "debug": ("debug", _boolean),
    "tls": ("", _boolean),
    "tlsverify": ("", _boolean),
    "tlscacert": ("tls_ca", _path),
    "tlscert": ("tls_cert", _path),
    "tlskey": ("tls_key", _path),
    "registry-mirrors": ("registry_mirrors", _list(_mirror)),
    "insecure-registries": ("insecure_registries", _list(_insecure)),
    "proxies": ("proxies", _proxies),
    "bip": ("bip", _bip),
    "default-address-pools": ("default_address_pools", _list(_pool)),
    "mtu": ("mtu", _number(68, 65535)),
    "icc": ("icc", _boolean),
    "ip": ("publish_address", lambda value: ipaddress.ip_address(_text(value))),
    "dns": ("dns", _list(_address)),
    "dns-opts": ("dns_options", _list(_text)),
    "dns-search": ("dns_search", _list(_text)),
    "default-runtime": ("runtime", _text),
    "runtimes": ("runtimes", _runtimes),
    "log-driver": ("log_driver", _one_of("json-file", "local", "none")),
    "log-opts": ("log_options", _options),
    "default-ulimits": ("default_ulimits", _ulimits),
    "default-shm-size": ("default_shm_size_bytes", _size),
    "labels": ("labels", _list(_label)),
    "init": ("init", _boolean),
    "init-path": ("init_path", _path),
    "no-new-privileges": ("no_new_privileges", _boolean),
    "seccomp-profile": ("seccomp_profile", _path),
    "max-concurrent-downloads": ("max_concurrent_downloads", _number(1, 100)),
    "shutdown-timeout": ("shutdown_timeout_s", _number(0, 3600)),
    "live-restore": ("", _only(True, _ALWAYS_LIVE)),
    "storage-driver": ("", _only("overlay2", "only overlay2 is there")),
    "exec-opts": ("", _only(["native.cgroupdriver=cgroupfs"], "only native.cgroupdriver=cgroupfs is there")),
    "experimental": ("", _only(False, "only false is there")),
    "iptables": ("", _only(True, "only true is there: the engine writes its own firewall table")),
    "ip-forward": ("", _only(True, "only true is there")),
    "ip-masq": ("", _only(True, "only true is there")),
}
"""Docker's keys, the field that each sets ("" for those that only allow what is so anyway) and its reader."""

RELOADABLE = frozenset(
    {"debug", "log_level", "labels", "registry_mirrors", "insecure_registries", "proxies", "max_concurrent_downloads"}
)
"""Fields that change while the engine runs (SIGHUP)."""

_FLAGS: tuple[tuple[str, str, str], ...] = (
    ("--host", "hosts", "where to listen, repeatable"),
    ("--group", "group", "group that may use the socket"),
    ("--data-root", "data-root", "where images, containers and volumes lie"),
    ("--exec-root", "exec-root", "where what goes with a boot lies"),
    ("--pidfile", "pidfile", "file for the engine's process ID"),
    ("--log-level", "log-level", ", ".join(LOG_LEVELS)),
    ("--tlscacert", "tlscacert", "CA that clients' certificates are signed by"),
    ("--tlscert", "tlscert", "certificate"),
    ("--tlskey", "tlskey", "key of the certificate"),
    ("--registry-mirror", "registry-mirrors", "mirror of docker.io, repeatable"),
    ("--insecure-registry", "insecure-registries", "registry without (valid) TLS, repeatable"),
    ("--bip", "bip", "address and prefix length of the default bridge"),
    ("--default-address-pool", "default-address-pools", "base=CIDR,size=N, repeatable"),
    ("--runtime", "default-runtime", "OCI runtime: auto, crun or runc"),
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"portsided: {message}")


def _parser() -> _Parser:
    parser = _Parser(prog="portsided", description="Portside's engine", allow_abbrev=False)
    for flag, key, text in _FLAGS:
        names = [flag, "-H"] if flag == "--host" else [flag]
        repeatable = key in ("hosts", "registry-mirrors", "insecure-registries", "default-address-pools")
        parser.add_argument(*names, dest=key, action="append" if repeatable else "store", help=text, default=None)
    parser.add_argument("--config-file", type=Path, default=None, help=f"settings (default {DEFAULT_CONFIG_FILE})")
    parser.add_argument("--tlsverify", action="store_true", help="serve TCP with TLS and clients' certificates")
    parser.add_argument("--debug", "-D", action="store_true", help="log everything")
    parser.add_argument("--validate", action="store_true", help="check the settings and end")
    return parser


@dataclass(frozen=True)
class CommandLine:
    """What was asked for on the command line."""

    config: EngineConfig
    config_file: Path
    validate: bool
    arguments: tuple[str, ...]


def load(arguments: list[str]) -> CommandLine:
    """Return the settings of flags and file together.

    Raises ConfigError, which names the place. ``--help`` raises SystemExit as argparse does.
    """
    given = vars(_parser().parse_args(arguments))
    path: Path | None = given.pop("config_file")
    validate = given.pop("validate")
    flags = {key: value for key, value in given.items() if value not in (None, False)}
    source = path or DEFAULT_CONFIG_FILE
    read = _read_file(source, required=path is not None)
    both = sorted(set(flags) & set(read))
    if both:
        told = ", ".join(f"{key}: (from flag: {flags[key]}, from file: {json.dumps(read[key])})" for key in both)
        raise ConfigError(
            "the following directives are specified both as a flag and in the configuration file: " + told
        )
    values = {key: (value, f"flag --{key}") for key, value in flags.items()}
    values |= {key: (value, _place(source, key)) for key, value in read.items()}
    settings: dict[str, Any] = {}
    for key, (value, place) in values.items():
        name, reader = KEYS[key]
        try:
            converted = reader(value)
        except ValueError as error:
            raise ConfigError(f"{place}: {key} is {json.dumps(value, default=str)}: {error}") from error
        if name:
            settings[name] = converted
    verify = bool(values.get("tlsverify", (False, ""))[0])
    config = replace(EngineConfig(), **settings)
    _check_together(config, verify=verify)
    return CommandLine(config, source, validate, tuple(arguments))


def _check_together(config: EngineConfig, *, verify: bool) -> None:
    files = (config.tls_ca, config.tls_cert, config.tls_key)
    if any(host.startswith("tcp://") for host in config.hosts):
        if not verify or not all(files):
            raise ConfigError(
                "a tcp:// host gives root on this machine to whoever reaches it: "
                "it needs --tlsverify with --tlscacert, --tlscert and --tlskey"
            )
        for path in files:
            if path is not None and not path.is_file():
                raise ConfigError(f"{path}: no such file")
    if config.runtime not in ("auto", "crun", "runc", *config.runtimes):
        raise ConfigError(f"runtime {config.runtime} is neither auto, crun or runc nor one of the runtimes configured")


def check_files(config: EngineConfig) -> None:
    """Check the log options, and that files and programs named are there; raises ConfigError (reads the disk)."""
    try:
        check_log_options(config.log_driver, config.log_options)
    except PortsideError as error:
        raise ConfigError(f"log-opts: {error.message}") from error
    for name, setting in config.runtimes.items():
        if shutil.which(setting.path) is None:
            raise ConfigError(f"runtimes: {name}: {setting.path} is not there or cannot be run")
    if config.init_path is not None and not os.access(config.init_path, os.X_OK):
        raise ConfigError(f"init-path: {config.init_path} is not there or cannot be run")
    if config.seccomp_profile is not None:
        try:
            profile = json.loads(config.seccomp_profile.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError(f"seccomp-profile: {config.seccomp_profile}: {error}") from error
        if not isinstance(profile, dict) or "defaultAction" not in profile:
            raise ConfigError(f"seccomp-profile: {config.seccomp_profile}: an object with defaultAction is expected")


def _read_file(path: Path, *, required: bool) -> dict[str, Any]:
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
    for key in data:
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, 1)
            hint = f": did you mean {near[0]}?" if near else ""
            raise ConfigError(f"{_place(path, key)}: unknown key {key}{hint}")
    return data


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(name for name in names if names.count(name) > 1)} stands there twice")
    return found


def _place(path: Path, key: str) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return str(path)
    found = re.search(rf'"{re.escape(key)}"\s*:', text)
    if found is None:
        return str(path)
    line = text.count("\n", 0, found.start()) + 1
    column = found.start() - (text.rfind("\n", 0, found.start()) + 1) + 1
    return f"{path}:{line}:{column}"


def changed_fields(before: EngineConfig, after: EngineConfig) -> set[str]:
    """Return the names of the settings that differ."""
    return {item.name for item in fields(EngineConfig) if getattr(before, item.name) != getattr(after, item.name)}
