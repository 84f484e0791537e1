"""``GET /info``: true values of this engine and this host."""

from __future__ import annotations

import asyncio
import os
import platform
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from engine import __version__
from engine.config import EngineConfig
from engine.containers.manager import ContainerManager
from engine.events import EventBus
from engine.runtime.drivers import RuntimeCatalog
from engine.runtime.host import HostFacts
from engine.wire.times import format_ns

INDEX_SERVER = "https://index.docker.io/v1/"
_DEFAULT_INSECURE = ("::1/128", "127.0.0.0/8")


class InfoSource:
    """Collects what ``/info`` and ``/version`` tell."""

    def __init__(
        self,
        engine_id: str,
        config: Callable[[], EngineConfig],
        host: HostFacts,
        runtimes: RuntimeCatalog,
        containers: ContainerManager,
        events: EventBus,
        image_count: Callable[[], int],
        conmon: Path,
    ) -> None:
        """``config`` returns the settings as they are now."""
        self._id = engine_id
        self._config = config
        self._host = host
        self._runtimes = runtimes
        self._containers = containers
        self._events = events
        self._image_count = image_count
        self._conmon = conmon
        self._versions: dict[str, str] | None = None

    async def tool_versions(self) -> dict[str, str]:
        """Return the versions of the programs that the engine starts; asked once."""
        if self._versions is None:
            found: dict[str, str] = {}
            programs = {"conmon": self._conmon}
            programs |= {name: binary.path for name, binary in self._runtimes.binaries.items()}
            for name, path in programs.items():
                found[name] = await _version_of(path)
            self._versions = found
        return self._versions

    async def collect(self, version: tuple[int, int]) -> dict[str, Any]:
        """Return the answer for a client of API ``version``."""
        config, host = self._config(), self._host
        groups = host.cgroups
        versions = await self.tool_versions()
        runtime = self._runtimes.default_name
        info: dict[str, Any] = {
            "ID": self._id,
            **self._counts(),
            "Images": self._image_count(),
            "Driver": "overlay2",
            "DriverStatus": [
                ["Backing Filesystem", _filesystem_of(config.data_root)],
                ["Supports d_type", "true"],
                ["Native Overlay Diff", "true"],
                ["userxattr", "false"],
            ],
            "Plugins": {
                "Volume": ["local"],
                "Network": ["bridge", "host", "null"],
                "Authorization": None,
                "Log": ["journald", "json-file", "local", "none", "syslog"],
            },
            "MemoryLimit": groups.memory_limit,
            "SwapLimit": groups.swap_limit,
            "CpuCfsPeriod": groups.cpu_cfs,
            "CpuCfsQuota": groups.cpu_cfs,
            "CPUShares": groups.cpu_shares,
            "CPUSet": groups.cpuset,
            "PidsLimit": groups.pids_limit,
            "IPv4Forwarding": _read_flag("/proc/sys/net/ipv4/ip_forward"),
            "Debug": config.debug,
            "NFd": len(os.listdir("/proc/self/fd")),  # noqa: PTH208 - only the number is wanted
            "OomKillDisable": groups.oom_kill_disable,
            "NGoroutines": threading.active_count() + len(asyncio.all_tasks()),
            "SystemTime": format_ns(time.time_ns()),
            "LoggingDriver": config.log_driver,
            "CgroupDriver": "cgroupfs",
            "CgroupVersion": str(groups.version),
            "NEventsListener": self._events.subscriber_count,
            "KernelVersion": host.kernel_release,
            "OperatingSystem": _operating_system("PRETTY_NAME") or "Linux",
            "OSVersion": _operating_system("VERSION_ID"),
            "OSType": "linux",
            "Architecture": platform.machine(),
            "IndexServerAddress": INDEX_SERVER,
            "RegistryConfig": _registry_config(config),
            "NCPU": host.cpu_count,
            "MemTotal": host.memory_bytes,
            "GenericResources": None,
            "DockerRootDir": str(config.data_root),
            **_proxies(config),
            "Name": socket.gethostname(),
            "Labels": list(config.labels),
            "ExperimentalBuild": False,
            "ServerVersion": __version__,
            "Runtimes": self._runtime_table(),
            "DefaultRuntime": runtime,
            "Swarm": _NO_SWARM,
            "LiveRestoreEnabled": True,
            "Isolation": "",
            "InitBinary": str(config.init_path or host.init_path or ""),
            "ContainerdCommit": {"ID": ""},
            "RuncCommit": {"ID": versions.get("runc", "")},
            "InitCommit": {"ID": ""},
            "SecurityOptions": self._security_options(config),
            "CDISpecDirs": [str(folder) for folder in config.used_cdi_folders],
            "Warnings": self._warnings(config),
        }
        if config.default_address_pools:
            info["DefaultAddressPools"] = [
                {"Base": str(pool.base), "Size": pool.size} for pool in config.default_address_pools
            ]
        _adapt(info, version)
        return info

    def _counts(self) -> dict[str, int]:
        states = [item.record.state.status for item in self._containers.all()]
        running = sum(state in ("running", "restarting") for state in states)
        paused = states.count("paused")
        return {
            "Containers": len(states),
            "ContainersRunning": running,
            "ContainersPaused": paused,
            "ContainersStopped": len(states) - running - paused,
        }

    def _runtime_table(self) -> dict[str, Any]:
        table: dict[str, Any] = {}
        for name, binary in sorted(self._runtimes.binaries.items()):
            table[name] = {"path": str(binary.path)}
            if binary.arguments:
                table[name]["runtimeArgs"] = list(binary.arguments)
        return table

    def _security_options(self, config: EngineConfig) -> list[str]:
        found = []
        if self._host.apparmor:
            found.append("name=apparmor")
        if self._host.seccomp:
            found.append(f"name=seccomp,profile={config.seccomp_profile or 'builtin'}")
        if self._host.cgroups.version == 2 and self._host.cgroups.namespaces:
            found.append("name=cgroupns")
        if config.userns_remap:
            found.append("name=userns")
        if config.no_new_privileges:
            found.append("name=no-new-privileges")
        return found

    def _warnings(self, config: EngineConfig) -> list[str] | None:
        groups = self._host.cgroups
        missing = (
            (groups.memory_limit, "No memory limit support"),
            (groups.swap_limit, "No swap limit support"),
            (groups.version == 2 or groups.oom_kill_disable, "No oom kill disable support"),
            (groups.cpu_cfs, "No cpu cfs quota support"),
            (groups.cpu_cfs, "No cpu cfs period support"),
            (groups.cpu_shares, "No cpu shares support"),
            (groups.cpuset, "No cpuset support"),
            (groups.pids_limit, "No pids limit support"),
            (groups.blkio_weight, "No blkio weight support"),
            (groups.blkio_read_bps, "No blkio throttle.read_bps_device support"),
            (groups.blkio_write_bps, "No blkio throttle.write_bps_device support"),
            (groups.blkio_read_iops, "No blkio throttle.read_iops_device support"),
            (groups.blkio_write_iops, "No blkio throttle.write_iops_device support"),
            (_read_flag("/proc/sys/net/ipv4/ip_forward"), "IPv4 forwarding is disabled"),
        )
        found = [f"WARNING: {text}" for there, text in missing if not there]
        if not self._host.can_raise_rlimits:
            found.append("WARNING: resource limits cannot be raised above the engine's own (no CAP_SYS_RESOURCE)")
        return found or None


_NO_SWARM = {
    "NodeID": "",
    "NodeAddr": "",
    "LocalNodeState": "inactive",
    "ControlAvailable": False,
    "Error": "",
    "RemoteManagers": None,
}


def _adapt(info: dict[str, Any], version: tuple[int, int]) -> None:
    """Put in what old versions have and take out what they lack (moby: system_routes.go, getInfo)."""
    if version < (1, 25):
        info["SecurityOptions"] = [option.split(",")[0].removeprefix("name=") for option in info["SecurityOptions"]]
    if version < (1, 42):
        info["KernelMemory"] = False
    if version < (1, 47):
        info["RegistryConfig"] |= {
            "AllowNondistributableArtifactsCIDRs": None,
            "AllowNondistributableArtifactsHostnames": None,
        }
    if version >= (1, 49):
        info["FirewallBackend"] = {"Driver": "nftables"}
    else:
        for name in ("ContainerdCommit", "RuncCommit", "InitCommit"):
            info[name]["Expected"] = info[name]["ID"]
    if version < (1, 50):
        info |= {"BridgeNfIptables": False, "BridgeNfIp6tables": False}


async def _version_of(path: Path) -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            str(path), "--version", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        output, _ = await asyncio.wait_for(process.communicate(), 5)
    except (OSError, TimeoutError):
        return ""
    words = output.decode(errors="replace").split("\n", 1)[0].split()
    return words[-1] if words else ""


def _read_flag(path: str) -> bool:
    try:
        return Path(path).read_text().strip() == "1"
    except OSError:
        return False


def _operating_system(key: str) -> str:
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        try:
            lines = Path(path).read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            name, _, value = line.partition("=")
            if name == key:
                return value.strip().strip("\"'")
    return ""


def _filesystem_of(path: Path) -> str:
    best = ("", "unknown")
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        fields = line.split()
        point, kind = fields[4], fields[fields.index("-") + 1]
        inside = str(path) == point or str(path).startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best[0]):
            best = (point, kind)
    return "extfs" if best[1].startswith("ext") else best[1]


def _registry_config(config: EngineConfig) -> dict[str, Any]:
    mirrors = [f"{mirror}/" for mirror in config.registry_mirrors]
    cidrs = [item for item in config.insecure_registries if "/" in item]
    indexes = {"docker.io": {"Name": "docker.io", "Mirrors": mirrors, "Secure": True, "Official": True}}
    for item in config.insecure_registries:
        if "/" not in item:
            indexes[item] = {"Name": item, "Mirrors": [], "Secure": False, "Official": False}
    return {"InsecureRegistryCIDRs": [*_DEFAULT_INSECURE, *cidrs], "IndexConfigs": indexes, "Mirrors": mirrors or None}


def _proxies(config: EngineConfig) -> dict[str, str]:
    def of(value: str, name: str) -> str:
        return value or os.environ.get(name.upper()) or os.environ.get(name) or ""

    return {
        "HttpProxy": _masked(of(config.proxies.http, "http_proxy")),
        "HttpsProxy": _masked(of(config.proxies.https, "https_proxy")),
        "NoProxy": of(config.proxies.no_proxy, "no_proxy"),
    }


def _masked(url: str) -> str:
    """Return a proxy's URL without its user and password."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc="xxxxx:xxxxx@" + parts.netloc.rpartition("@")[2]))
