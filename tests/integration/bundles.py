"""Runs OCI bundles with the real runtimes: what a configuration means is seen from inside a container."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from engine.model.container import ContainerConfig, HostConfig
from engine.model.record import ContainerRecord, MountRecord
from engine.runtime.host import HostFacts, probe_host
from engine.runtime.spec import SpecDefaults, SpecInputs, build_spec
from engine.runtime.users import resolve_user

_HYBRID = Path("/sys/fs/cgroup/unified/cgroup.procs").exists()


@dataclass(frozen=True)
class Placed:
    """A planned mount and its source."""

    mount: MountRecord
    source: Path


@dataclass
class Outcome:
    """How a container ended."""

    code: int
    output: str
    spec: dict[str, Any]


def make_rootfs(root: Path) -> Path:
    """Make a root file system of busybox with a user ``web`` (1001:1002, also in group 1003 ``extra``)."""
    (root / "bin").mkdir(parents=True)
    busybox = shutil.which("busybox")
    assert busybox is not None
    shutil.copy(busybox, root / "bin/busybox")
    names = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for name in names:
        if name != "busybox":
            (root / "bin" / name).symlink_to("busybox")
    for name in ("etc", "tmp", "proc", "sys", "dev", "root", "srv", "sbin"):
        (root / name).mkdir()
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nweb:x:1001:1002:web:/srv:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nweb:x:1002:\nextra:x:1003:web\n")
    return root


@dataclass
class Bundles:
    """Runs containers of one root file system with one runtime."""

    runtime: str
    folder: Path
    host: HostFacts = field(default_factory=probe_host)

    def __post_init__(self) -> None:
        """Make the root file system."""
        self.rootfs = make_rootfs(self.folder / "rootfs")
        self.group = f"psd-spec-{secrets.token_hex(4)}"
        self.files = self.folder / "files"
        self.files.mkdir()

    def record(self, script: str, config: ContainerConfig, host_config: HostConfig) -> ContainerRecord:
        """Return the record of a container that runs ``script``."""
        container_id = secrets.token_hex(32)
        config.hostname = config.hostname or container_id[:12]
        host_config.shm_size = host_config.shm_size or 64 << 20
        host_config.ipc_mode = host_config.ipc_mode or "private"
        host_config.network_mode = host_config.network_mode or "host"
        return ContainerRecord(
            id=container_id,
            name="test",
            created_ns=1,
            path="/bin/sh",
            args=["-c", script],
            config=config,
            host_config=host_config,
        )

    def run(
        self,
        script: str,
        config: ContainerConfig | None = None,
        host_config: HostConfig | None = None,
        mounts: list[Placed] | None = None,
        defaults: SpecDefaults | None = None,
        **changes: Any,
    ) -> Outcome:
        """Run ``script`` and return what it printed, both streams together."""
        record = self.record(script, config or ContainerConfig(), host_config or HostConfig())
        inputs = SpecInputs(
            record=record,
            rootfs=self.rootfs,
            files_dir=self.files,
            user=resolve_user(self.rootfs, record.config.user, record.host_config.group_add or []),
            cgroups_path=f"/{self.group}/{record.id}",
            host=self.host,
            mounts=mounts or [],
            defaults=defaults or SpecDefaults(),
        )
        return self.run_spec(build_spec(replace(inputs, **changes)), record.id)

    def run_spec(self, spec: dict[str, Any], container_id: str) -> Outcome:
        """Run a bundle."""
        bundle = self.folder / container_id[:12]
        bundle.mkdir()
        (bundle / "config.json").write_bytes(msgspec.json.encode(spec))
        words = [self.runtime, "--root", str(self.folder / "state"), "run", "--bundle", str(bundle), container_id]
        if self.runtime == "crun" and _HYBRID:
            words = [
                "unshare",
                "-m",
                "--propagation",
                "slave",
                "sh",
                "-c",
                'umount /sys/fs/cgroup/unified; exec "$@"',
                "sh",
                *words,
            ]
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
            check=False,
            env={"PATH": os.environ["PATH"]},
        )
        return Outcome(done.returncode, done.stdout.decode(errors="replace"), spec)

    def close(self) -> None:
        """Remove the groups that were left."""
        root = Path("/sys/fs/cgroup")
        for group in (root / self.group, *(top / self.group for top in root.iterdir())):
            if group.is_dir():
                try:
                    group.rmdir()
                except OSError:
                    continue
