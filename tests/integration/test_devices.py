"""Devices by the Container Device Interface, and requests that no driver meets, on a real engine."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import can_run_engines
from tests.engine_process import EngineProcess


@pytest.fixture(scope="module")
def machine() -> Iterator[EngineProcess]:
    """An engine that looks for CDI's files in ``folder/cdi``."""
    if not can_run_engines():
        pytest.skip("an engine needs root and conmon")
    with tempfile.TemporaryDirectory(prefix="portside-test-") as name:
        folder = Path(name)
        (folder / "cdi").mkdir()
        with EngineProcess(folder, settings={"cdi-spec-dirs": [str(folder / "cdi")]}) as process:
            process.load_busybox()
            yield process


def describe(engine: EngineProcess, **edits: object) -> None:
    device = {"name": "one", "containerEdits": {"env": ["DEVICE=one"], **edits}}
    content = {"cdiVersion": "0.6.0", "kind": "vendor.com/device", "devices": [device]}
    (engine.folder / "cdi/vendor.json").write_text(json.dumps(content))


@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_a_device_with_all_that_belongs_to_it(machine: EngineProcess, runtime: str) -> None:
    witness = machine.folder / f"witness-{runtime}"
    call = {"path": "/bin/sh", "args": ["sh", "-c", f"cat > /dev/null; echo called >> {witness}"]}
    describe(
        machine,
        deviceNodes=[{"path": "/dev/loop-control-too", "hostPath": "/dev/null"}],
        mounts=[{"hostPath": str(machine.folder / "cdi"), "containerPath": "/cdi", "options": ["ro", "rbind"]}],
        hooks=[{"hookName": name, **call} for name in ("createRuntime", "poststart", "poststop")],
        additionalGids=[777],
    )
    command = "echo $DEVICE; ls /cdi; id -G; echo x > /dev/loop-control-too; stat -c %t:%T /dev/loop-control-too"
    words = ["--runtime", runtime, "--device", "vendor.com/device=one", "busybox", "sh", "-c", command]
    done = machine.docker("run", "--name", f"c-{runtime}", *words)
    assert done.stdout.split() == ["one", "vendor.json", "0", "777", "1:3"]
    machine.docker("rm", f"c-{runtime}")
    assert witness.read_text().split() == ["called"] * 3


def test_a_device_that_is_not_there(machine: EngineProcess) -> None:
    describe(machine)
    done = machine.docker("run", "--rm", "--device", "vendor.com/device=two", "busybox", "true", check=False)
    assert "CDI device injection failed: unresolvable CDI devices vendor.com/device=two" in done.stderr


def test_no_driver_for_gpus(machine: EngineProcess) -> None:
    body = {"Image": "busybox", "HostConfig": {"DeviceRequests": [{"Count": -1, "Capabilities": [["gpu"]]}]}}
    status, made = machine.api("POST", "/containers/create", body)
    assert status == 201  # as in Docker the start finds out
    status, answer = machine.api("POST", f"/containers/{made['Id']}/start")
    assert (status, answer["message"]) == (500, 'could not select device driver "" with capabilities: [[gpu]]')
    shown = machine.api("GET", f"/containers/{made['Id']}/json")[1]
    assert shown["State"]["Status"] == "created"
    assert shown["HostConfig"]["DeviceRequests"][0]["Count"] == -1


def test_the_folders_are_told(machine: EngineProcess) -> None:
    assert machine.api("GET", "/info")[1]["CDISpecDirs"] == [str(machine.folder / "cdi")]
