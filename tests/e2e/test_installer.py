"""The set-up where it must refuse, and what it builds.

``tests/long/installer.sh`` proves the whole on fresh Debians.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from tests.engine_process import EngineProcess

ROOT = Path(__file__).resolve().parents[2]
RUN = ROOT / "installers/run.sh"
BUSYBOX = Path(shutil.which("busybox", path="/usr/bin:/bin") or "/bin/busybox")

needs_namespaces = pytest.mark.skipif(os.geteuid() != 0, reason="mount namespaces need root")


def run_with(replaced: str, content: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the set-up where ``replaced``, a file of the system, has another content."""
    other = folder / "other"
    other.write_text(content)
    script = 'mount --bind "$1" "$2" && exec "$3" --headless'
    return subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", str(other), replaced, str(RUN)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@needs_namespaces
def test_another_distribution_is_refused_by_its_name(tmp_path: Path) -> None:
    words = 'ID=fedora\nVERSION_ID=43\nPRETTY_NAME="Fedora Linux 43"\n'
    done = run_with("/etc/os-release", words, tmp_path)
    assert done.returncode == 1
    assert "not Fedora Linux 43: run it on one of these" in done.stderr
    assert done.stderr.count("\n") == 1


@needs_namespaces
def test_a_kernel_without_overlayfs_is_refused(tmp_path: Path) -> None:
    if subprocess.run(["/sbin/modprobe", "-qn", "overlay"], check=False).returncode == 0:
        pytest.skip("overlayfs is a module here")
    done = run_with("/proc/filesystems", "nodev\tproc\n\text4\n", tmp_path)
    assert done.returncode == 1
    assert "has no overlayfs" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_unknown_option_is_named() -> None:
    done = subprocess.run([RUN, "--windowed"], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert done.stderr == "portside: there is no option --windowed: --setup-only and --headless are\n"


def test_uninstalling_asks_before_data_goes() -> None:
    done = subprocess.run(
        [ROOT / "installers/uninstall.sh"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 1
    assert "add --keep-data or --remove-data" in done.stderr


def build_welcome(target: Path) -> bytes:
    """Build the welcome image as the set-up does."""
    command = [sys.executable, str(ROOT / "resources/welcome/build.py"), str(BUSYBOX), "r1", str(target)]
    subprocess.run(command, timeout=30, check=True)
    return target.read_bytes()


def test_the_welcome_image_is_the_same_each_time(tmp_path: Path) -> None:
    first, second = build_welcome(tmp_path / "a.tar"), build_welcome(tmp_path / "b.tar")
    assert hashlib.sha256(first).digest() == hashlib.sha256(second).digest()
    with tarfile.open(fileobj=io.BytesIO(first)) as archive:
        member = archive.extractfile("manifest.json")
        assert member is not None
        assert json.load(member)[0]["RepoTags"] == ["portside/welcome:latest"]


def test_the_welcome_image_greets_and_serves(own_engine: EngineProcess, tmp_path: Path) -> None:
    build_welcome(tmp_path / "welcome.tar")
    own_engine.docker("load", "-i", str(tmp_path / "welcome.tar"))
    assert own_engine.docker("run", "--rm", "portside/welcome").stdout.startswith("Welcome to Portside.")
    own_engine.docker("run", "-d", "--name", "page", "-p", "127.0.0.1::80", "portside/welcome", "serve")
    address = own_engine.docker("port", "page", "80").stdout.strip()
    assert "<h1>It works</h1>" in read_page(address)
    own_engine.docker("rm", "-f", "page")


def read_page(address: str, patience_s: float = 20) -> str:
    """Return what a web server answers once it does."""
    deadline = time.monotonic() + patience_s
    while True:
        connection = http.client.HTTPConnection(address, timeout=patience_s)
        try:
            connection.request("GET", "/")
            return connection.getresponse().read().decode()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        finally:
            connection.close()


def test_the_unit_keeps_containers_over_the_engine() -> None:
    unit = (ROOT / "resources/systemd/portside.service").read_text().splitlines()
    assert {"Restart=always", "KillMode=process", "Delegate=yes"} <= set(unit)


def test_the_lock_has_all_that_the_set_up_installs() -> None:
    locked = {line.split("==")[0].lower() for line in (ROOT / "requirements.lock").read_text().split()}
    assert {"aiohttp", "msgspec", "isal", "zstandard", "pyside6_essentials", "qasync"} <= locked
