"""CDI's spec files: what is read, what is refused, and what becomes of a configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.errors import Internal, InvalidArgument
from engine.model.resources import DeviceRequest
from engine.runtime import cdi
from engine.runtime.devicerequests import add_devices


def spec(**fields: Any) -> dict[str, Any]:
    return {
        "cdiVersion": "0.6.0",
        "kind": "vendor.com/device",
        "devices": [{"name": "one", "containerEdits": {"env": ["ONE=1"]}}],
        **fields,
    }


def configuration(uid: int = 0) -> dict[str, Any]:
    return {
        "process": {"env": ["PATH=/bin", "ONE=0"], "user": {"uid": uid, "gid": uid, "additionalGids": [0]}},
        "linux": {"devices": [{"path": "/dev/x"}], "resources": {"devices": []}},
        "mounts": [{"destination": "/proc"}, {"destination": "/a/b/c"}],
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    return tmp_path / "etc"


def inventory(folder: Path, **files: Any) -> cdi.Inventory:
    for name, content in files.items():
        (folder / f"{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return cdi.read_inventory([folder, folder.parent / "missing"])


def test_all_edits(folder: Path) -> None:
    edits = {
        "env": ["ONE=1", "TWO=2"],
        "deviceNodes": [
            {"path": "/dev/x", "hostPath": "/dev/null", "permissions": "r"},
            {"path": "/dev/y", "type": "c", "major": 5, "minor": 7, "uid": 3, "fileMode": 384},
        ],
        "mounts": [{"hostPath": "/etc", "containerPath": "/a", "options": ["ro", "rbind"]}],
        "hooks": [{"hookName": "createContainer", "path": "/bin/true", "args": ["true"], "timeout": 4}],
        "additionalGids": [0, 44],
    }
    found = inventory(
        folder, a=spec(containerEdits={"env": ["ALL=1"]}, devices=[{"name": "d", "containerEdits": edits}])
    )
    made = configuration(uid=7)
    cdi.inject(made, ["vendor.com/device=d"], found)
    assert made["process"]["env"] == ["PATH=/bin", "ALL=1", "ONE=1", "TWO=2"]
    assert made["process"]["user"]["additionalGids"] == [0, 44]
    assert made["linux"]["devices"] == [
        {"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "uid": 7, "gid": 7},
        {"path": "/dev/y", "type": "c", "major": 5, "minor": 7, "fileMode": 384, "uid": 3, "gid": 7},
    ]
    assert made["linux"]["resources"]["devices"] == [
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "r"},
        {"allow": True, "type": "c", "major": 5, "minor": 7, "access": "rwm"},
    ]
    assert [item["destination"] for item in made["mounts"]] == ["/proc", "/a", "/a/b/c"]
    assert made["mounts"][1]["type"] == "bind"
    assert made["hooks"] == {"createContainer": [{"path": "/bin/true", "args": ["true"], "timeout": 4}]}


def test_yaml(folder: Path) -> None:
    (folder / "a.yaml").write_text(
        "---\ncdiVersion: 0.5.0\nkind: vendor.com/device\ndevices:\n- name: '0'\n  containerEdits:\n    env: [A=b]\n"
    )
    assert cdi.read_inventory([folder]).names() == ["vendor.com/device=0"]


def test_a_later_folder_wins_and_equals_cancel_out(folder: Path) -> None:
    other = folder.parent / "run"
    other.mkdir()
    for place, value in ((folder, "A=etc"), (other, "A=run")):
        content = spec(devices=[{"name": "one", "containerEdits": {"env": [value]}}])
        (place / "a.json").write_text(json.dumps(content))
    made = configuration()
    cdi.inject(made, ["vendor.com/device=one"], cdi.read_inventory([folder, other]))
    assert "A=run" in made["process"]["env"]
    (other / "b.json").write_text(json.dumps(spec()))
    found = cdi.read_inventory([folder, other])
    assert found.names() == []
    assert 'conflicting device "vendor.com/device=one"' in found.faults[str(other / "b.json")]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{", "truncated"),
        ("[]", "Expected `object`"),
        ({"kind": "a/b"}, "missing required field `cdiVersion`"),
        (spec(cdiVersion="9.0.0"), 'unknown version "9.0.0"'),
        (spec(kind="vendor"), 'invalid kind "vendor"'),
        (spec(kind="vendor/-x"), 'invalid kind "vendor/-x"'),
        (spec(more=1), "unknown field `more`"),
        (spec(devices=[{"name": "a b", "containerEdits": {"env": ["A=b"]}}]), 'invalid device name "a b"'),
        (spec(devices=[{"name": "a", "containerEdits": {}}]), "empty device edits"),
        (spec(devices=[{"name": "a", "containerEdits": {"env": ["A=b"]}}] * 2), 'multiple device "a"'),
        (spec(containerEdits={"env": ["=b"]}), 'invalid environment variable "=b"'),
        (spec(containerEdits={"deviceNodes": [{"path": ""}]}), "invalid (empty) device path"),
        (spec(containerEdits={"deviceNodes": [{"path": "/x", "type": "q"}]}), 'invalid type "q"'),
        (spec(containerEdits={"deviceNodes": [{"path": "/x", "permissions": "rx"}]}), 'invalid permissions "rx"'),
        (spec(containerEdits={"hooks": [{"hookName": "x", "path": "/x"}]}), 'invalid hook name "x"'),
        (spec(containerEdits={"mounts": [{"hostPath": "", "containerPath": "/x"}]}), "empty host path"),
        (spec(containerEdits={"intelRdt": {"closID": "x"}}), "intelRdt is not supported"),
    ],
)
def test_bad_files_are_named_and_stop_nothing_else(folder: Path, content: Any, text: str) -> None:
    found = inventory(folder, bad=content, good=spec(kind="other.com/device"))
    assert text in found.faults[str(folder / "bad.json")]
    assert found.names() == ["other.com/device=one"]


def test_what_cannot_be_put_in(folder: Path) -> None:
    nodes = [{"path": "/dev/x", "hostPath": "/dev/missing"}]
    found = inventory(folder, a=spec(devices=[{"name": "d", "containerEdits": {"deviceNodes": nodes}}]))
    with pytest.raises(InvalidArgument, match="unresolvable CDI devices v/d=x, v/d=y"):
        cdi.inject(configuration(), ["v/d=x", "vendor.com/device=d", "v/d=y"], found)
    with pytest.raises(Internal, match='failed to stat CDI host device "/dev/missing": no such file'):
        cdi.inject(configuration(), ["vendor.com/device=d"], found)


def request(**fields: Any) -> DeviceRequest:
    return DeviceRequest(**fields)


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (request(count=-1, capabilities=[["gpu"]]), 'driver "" with capabilities: [[gpu]]'),
        (
            request(driver="nvidia", capabilities=[["gpu", "utility"], ["x"]]),
            'driver "nvidia" with capabilities: [[gpu utility] [x]]',
        ),
        (request(driver="toaster"), 'could not select device driver "toaster" with capabilities: []'),
        (request(driver="cdi", count=2), "unexpected count in CDI device request"),
        (request(driver="cdi", options={"a": "b"}), "unexpected options in CDI device request"),
        (request(driver="cdi", device_ids=["a/b=c"]), "CDI device injection failed: unresolvable CDI devices a/b=c"),
    ],
)
def test_refused_requests(folder: Path, asked: DeviceRequest, text: str) -> None:
    with pytest.raises(Internal) as raised:
        add_devices(configuration(), [asked], [folder])
    assert text in raised.value.message


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        (request(count=-1, capabilities=[["gpu"]]), ["0", "1"]),
        (request(count=1, capabilities=[["gpu"]]), ["0"]),
        (request(driver="nvidia", device_ids=["1"], capabilities=[["gpu"]]), ["1"]),
    ],
)
def test_gpus_are_met_by_cdi(folder: Path, asked: DeviceRequest, names: list[str]) -> None:
    devices = [{"name": name, "containerEdits": {"env": [f"GPU_{name}=1"]}} for name in ("0", "1")]
    (folder / "n.json").write_text(json.dumps(spec(kind="nvidia.com/gpu", devices=devices)))
    made = configuration()
    add_devices(made, [asked], [folder])
    assert [item for item in made["process"]["env"] if item.startswith("GPU")] == [f"GPU_{name}=1" for name in names]


def test_no_folders_no_cdi() -> None:
    with pytest.raises(Internal, match='could not select device driver "cdi" with capabilities'):
        add_devices(configuration(), [request(driver="cdi", device_ids=["a/b=c"])], [])
