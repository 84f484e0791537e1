"""What each key of ``daemon.json`` may hold, and how it is read.

A reader takes what JSON or a flag gives and returns what EngineConfig holds; it raises ValueError with
what was expected.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.config.settings import LOG_LEVELS, AddressPool, Proxies, RuntimeSetting
from engine.model.resources import Ulimit


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


def _hosts(value: object) -> tuple[str, ...]:
    hosts: tuple[str, ...] = _list(_host)(value)
    if not hosts:
        raise ValueError("at least one host is expected")
    if len(set(hosts)) != len(hosts):
        raise ValueError("a host is named twice")
    return hosts


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
    if base.version != 4:
        raise ValueError("an IPv4 network is expected: IPv6 pools are not supported by Portside yet")
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


def _folders(value: object) -> tuple[Path, ...]:
    """Return folders; one empty word stands for none."""
    words = _list(_text)(value)
    return () if words == ("",) else tuple(_path(word) for word in words)


def _features(value: object) -> dict[str, bool]:
    """Return switches by name; as in Docker those that nothing asks for are allowed."""
    if not isinstance(value, dict) or not all(isinstance(item, bool) for item in value.values()):
        raise ValueError("an object of booleans is expected")
    return dict(value)


def _ulimits(value: object) -> tuple[Ulimit, ...]:
    if not isinstance(value, dict):
        raise ValueError("an object of limits is expected")  # noqa: TRY004
    limits = []
    for name, limit in value.items():
        if not isinstance(limit, dict):
            raise ValueError(f"limit {name}: Hard and Soft are expected")  # noqa: TRY004
        if set(limit) - {"Name", "Hard", "Soft"} or limit.get("Name", name) != name:
            raise ValueError(f"limit {name}: only Name ({name}), Hard and Soft are expected")
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
    "hosts": ("hosts", _hosts),
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
    "log-driver": ("log_driver", _one_of("json-file", "local", "journald", "syslog", "none")),
    "log-opts": ("log_options", _options),
    "default-ulimits": ("default_ulimits", _ulimits),
    "default-shm-size": ("default_shm_size_bytes", _size),
    "labels": ("labels", _list(_label)),
    "init": ("init", _boolean),
    "init-path": ("init_path", _path),
    "no-new-privileges": ("no_new_privileges", _boolean),
    "seccomp-profile": ("seccomp_profile", _path),
    "userns-remap": ("userns_remap", _text),
    "cdi-spec-dirs": ("cdi_folders", _folders),
    "features": ("features", _features),
    "max-concurrent-downloads": ("max_concurrent_downloads", _number(1, 100)),
    "max-concurrent-uploads": ("max_concurrent_uploads", _number(1, 100)),
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
