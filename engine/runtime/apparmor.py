"""The AppArmor profile of containers where the host has AppArmor: written, loaded, and loaded again when it is gone.

It confines as Docker's ``docker-default`` does: no mounts, no writing to /proc and /sys but for the
process's own, signals and tracing among containers only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from engine.errors import Internal, NotSupported

DEFAULT_PROFILE = "portside-default"
_LOADED = Path("/sys/kernel/security/apparmor/profiles")
_ETC = Path("/etc/apparmor.d")
_LOAD_TIMEOUT_S = 30
_SIGNALLERS = ("unconfined", "runc", "crun", "conmon")


def profile_text(name: str = DEFAULT_PROFILE, *, etc: Path = _ETC) -> str:
    """Return the profile's source; includes what the host's AppArmor has of the usual abstractions."""
    tunables = "#include <tunables/global>\n" if (etc / "tunables/global").exists() else "@{PROC}=/proc/\n"
    base = "  #include <abstractions/base>\n" if (etc / "abstractions/base").exists() else ""
    signals = "".join(f"  signal (receive) peer={peer},\n" for peer in _SIGNALLERS)
    return (
        f"{tunables}\n"
        f"profile {name} flags=(attach_disconnected,mediate_deleted) {{\n"
        f"{base}"
        "  network,\n  capability,\n  file,\n  umount,\n"
        f"{signals}"
        f"  signal (send,receive) peer={name},\n"
        f"  ptrace (trace,read,tracedby,readby) peer={name},\n"
        "  deny mount,\n"
        f"{_denied()}"
        "}\n"
    )


def _denied() -> str:
    # A glob of AppArmor has no "all but": each rule spells out the names that differ at one place.
    writing = (
        "@{PROC}/*",
        "@{PROC}/{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9/]*}/**",
        "@{PROC}/sys/[^k]**",
        "@{PROC}/sys/kernel/{?,??,[^s][^h][^m]**}",
    )
    everything = (
        "@{PROC}/sysrq-trigger",
        "@{PROC}/kcore",
        "/sys/firmware/**",
        "/sys/devices/virtual/powercap/**",
        "/sys/kernel/security/**",
    )
    changing = ("/sys/[^f]*/**", "/sys/f[^s]*/**", "/sys/fs/[^c]*/**", "/sys/fs/c[^g]*/**", "/sys/fs/cg[^r]*/**")
    rules = [(path, "w") for path in writing]
    rules += [(path, "rwklx") for path in everything]
    rules += [(path, "wklx") for path in changing]
    return "".join(f"  deny {path} {access},\n" for path, access in rules)


def is_loaded(name: str = DEFAULT_PROFILE) -> bool:
    """Whether the kernel has the profile (blocking, one read); raises Internal when it cannot be asked."""
    try:
        lines = _LOADED.read_text(errors="surrogateescape").splitlines()
    except OSError as error:
        raise Internal(f"Could not check if {name} AppArmor profile was loaded: {error}") from error
    return any(line.partition(" ")[0] == name for line in lines)


def ensure_loaded(name: str = DEFAULT_PROFILE) -> None:
    """Load the profile unless the kernel has it (blocking). Other services unload profiles: call before each start.

    Raises NotSupported when apparmor_parser is missing, Internal when it fails.
    """
    if is_loaded(name):
        return
    parser = shutil.which("apparmor_parser", path=f"{os.environ.get('PATH', os.defpath)}:/sbin:/usr/sbin")
    if parser is None:
        raise NotSupported(
            f"AppArmor enabled on system but the {name} profile could not be loaded: apparmor_parser is missing",
            hint="install the package apparmor",
        )
    done = subprocess.run(
        [parser, "-Kr"],
        input=profile_text(name).encode(),
        capture_output=True,
        timeout=_LOAD_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        reason = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise Internal(f"AppArmor enabled on system but the {name} profile could not be loaded: {reason}")
