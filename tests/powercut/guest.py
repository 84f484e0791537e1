"""A virtual machine for tests: Debian's kernel, this host's files (read-only, changes in memory), a disk.

It has control groups v2 alone and starts in a few seconds without hardware help. ``kill`` is the power cut.
"""

from __future__ import annotations

import gzip
import os
import selectors
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

_MODULES = """
    virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci netfs fscache
    9pnet 9pnet_virtio 9p overlay
    virtio_blk crc16 mbcache jbd2 crc32c_generic ext4 tun loop
"""
_FIREWALL = "veth bridge nf_tables nf_nat nft_masq nft_chain_nat nft_fib_inet nf_conntrack br_netfilter"
_INIT = """#!/bin/busybox sh
B=/bin/busybox
$B mount -t proc proc /proc; $B mount -t sysfs sys /sys; $B mount -t devtmpfs dev /dev
for m in @MODULES@; do [ -e /m/$m.ko ] && $B insmod /m/$m.ko; done
$B mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=loose,msize=512000 host /lower
$B mount -t tmpfs -o size=1g tmpfs /rw; $B mkdir /rw/u /rw/w
$B mount -t overlay -o lowerdir=/lower,upperdir=/rw/u,workdir=/rw/w overlay /root
for d in proc:proc sys:sysfs dev:devtmpfs run:tmpfs; do $B mount -t ${d#*:} ${d#*:} /root/${d%:*}; done
$B mkdir -p /root/dev/pts /root/dev/shm /root/data
$B mount -t devpts devpts /root/dev/pts; $B mount -t tmpfs shm /root/dev/shm
$B mount -t cgroup2 cgroup2 /root/sys/fs/cgroup
echo "+cpuset +cpu +io +memory +pids" > /root/sys/fs/cgroup/cgroup.subtree_control
[ -e /dev/vda ] && $B mount -t ext4 /dev/vda /root/data
exec $B switch_root /root /bin/sh @SCRIPT@
"""
_SCRIPT = """export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount --make-rshared /
ip link set lo up
mkdir -p /lib/modules; ln -s @KERNEL@/lib/modules/* /lib/modules/; depmod
modprobe -a @FIREWALL@
cd @TREE@
@COMMAND@
sync
echo o > /proc/sysrq-trigger
sleep 60
"""


class Guest:
    """One machine; it runs ``command`` in ``tree`` as root, with ``disk`` (ext4) at /data, and then switches off."""

    def __init__(self, work: Path, kernel: Path, tree: Path, disk: Path | None = None, memory_mb: int = 3072) -> None:
        """``kernel`` is an unpacked linux-image package; ``work`` is for the files that this makes."""
        self._work = work
        self._kernel = kernel
        self._tree = tree
        self._disk = disk
        self._memory_mb = memory_mb
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, command: str) -> None:
        """Switch it on."""
        self._work.mkdir(parents=True, exist_ok=True)
        script = self._work / "script.sh"
        text = _SCRIPT.replace("@KERNEL@", str(self._kernel)).replace("@TREE@", str(self._tree))
        script.write_text(text.replace("@FIREWALL@", _FIREWALL).replace("@COMMAND@", command))
        initrd = self._make_initrd(script)
        (image,) = (self._kernel / "boot").glob("vmlinuz-*")
        words = ["qemu-system-x86_64", "-M", "q35", "-cpu", "max", "-accel", "tcg,thread=multi", "-smp", "2"]
        words += ["-m", str(self._memory_mb), "-nographic", "-no-reboot", "-net", "none"]
        words += ["-kernel", str(image), "-initrd", str(initrd)]
        words += ["-append", "console=ttyS0 quiet panic=-1 rdinit=/init"]
        words += ["-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap"]
        words += ["-device", "virtio-9p-pci,fsdev=host,mount_tag=host"]
        if self._disk is not None:
            words += ["-drive", f"file={self._disk},if=virtio,format=raw,cache=writeback"]
        self._process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def _make_initrd(self, script: Path) -> Path:
        root = self._work / "initrd"
        shutil.rmtree(root, ignore_errors=True)
        for name in ("bin", "m", "lower", "rw", "root", "proc", "sys", "dev"):
            (root / name).mkdir(parents=True)
        busybox = shutil.which("busybox")
        if busybox is None:
            raise RuntimeError("busybox-static is not installed")
        shutil.copy(busybox, root / "bin/busybox")
        for name in _MODULES.split():
            for found in (self._kernel / "lib/modules").rglob(f"{name}.ko"):
                shutil.copy(found, root / "m")
        init = root / "init"
        init.write_text(_INIT.replace("@MODULES@", " ".join(_MODULES.split())).replace("@SCRIPT@", str(script)))
        init.chmod(0o755)
        names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
        archive = subprocess.run(
            [busybox, "cpio", "-o", "-H", "newc"], cwd=root, input=names.encode(), capture_output=True, check=True
        ).stdout
        target = self._work / "initrd.gz"
        target.write_bytes(gzip.compress(archive, 1))
        return target

    def lines(self, timeout_s: float) -> Iterator[str]:
        """Yield what it prints, line by line, until it is off or ``timeout_s`` have passed."""
        process = self._process
        assert process is not None
        assert process.stdout is not None
        deadline = time.monotonic() + timeout_s
        rest = b""
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while (left := deadline - time.monotonic()) > 0:
                if not selector.select(left):
                    return
                block = os.read(process.stdout.fileno(), 65536)
                if not block:
                    return
                *whole, rest = (rest + block).split(b"\n")
                yield from (line.decode(errors="replace").strip("\r") for line in whole)

    def kill(self) -> None:
        """Cut the power: nothing that is still in its memory gets to the disk."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None
