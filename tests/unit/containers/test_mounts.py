"""Mounts as clients write them, and what is planned of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.containers.mounts import mount_points, plan_mounts
from engine.containers.mountspec import check_mounts, is_valid_mode, parse_bind, parse_mount, parse_volumes_from
from engine.errors import InvalidArgument, NotFound
from engine.model.container import ContainerConfig, ContainerCreateRequest, HostConfig
from engine.model.mount import Mount
from engine.model.record import ContainerRecord, MountRecord

LATEST = (1, 51)


@dataclass
class FakeVolumes:
    """Volumes in memory: their driver options and labels by name, and who holds them."""

    made: dict[str, tuple[dict[str, str], dict[str, str]]] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)
    refused: str = ""

    async def ensure(
        self, name: str, driver: str, options: dict[str, str], labels: dict[str, str], *, container_id: str = ""
    ) -> Path:
        if name == self.refused:
            raise InvalidArgument("refused")
        self.made.setdefault(name, (options, labels))
        self.held[name] = container_id
        return Path("/volumes") / name / "_data"

    async def mount(
        self, name: str, container_id: str, *, destination: str = "", read_write: bool = True, holder: str = ""
    ) -> Path:
        raise AssertionError("nothing is mounted when a container is planned")

    async def unmount(self, name: str, container_id: str, *, holder: str = "") -> None:
        self.held.pop(name, None)

    def is_mounted_on_use(self, name: str) -> bool:
        return False

    async def remove_anonymous(self, name: str) -> None:
        del self.made[name]


async def plan(
    host_config: dict[str, Any],
    config: ContainerConfig | None = None,
    others: dict[str, ContainerRecord] | None = None,
    volumes: FakeVolumes | None = None,
    **options: Any,
) -> list[MountRecord]:
    record = ContainerRecord(
        id="c1",
        name="box",
        created_ns=1,
        config=config or ContainerConfig(),
        host_config=msgspec.convert(host_config, HostConfig),
    )

    def find(container_ref: str) -> ContainerRecord:
        if container_ref not in (others or {}):
            raise NotFound(f"No such container: {container_ref}")
        return (others or {})[container_ref]

    return await plan_mounts(record, ContainerCreateRequest(), None, volumes or FakeVolumes(), find, **options)


@pytest.mark.parametrize("mode", ["", "ro", "rw,Z", "z,rslave,cached", "nocopy", "consistent,ro"])
def test_modes(mode: str) -> None:
    assert is_valid_mode(mode)


@pytest.mark.parametrize("mode", ["ro,rw", "z,Z", "x", "shared,rslave", ",", "ro,"])
def test_bad_modes(mode: str) -> None:
    assert not is_valid_mode(mode)


def test_a_bind_in_short_form() -> None:
    record = parse_bind("/host//x/../y:/c/./d:ro,Z,rslave").record
    assert (record.type, record.source, record.destination) == ("bind", "/host/y", "/c/d")
    assert (record.mode, record.read_write, record.propagation) == ("ro,Z,rslave", False, "rslave")
    assert record.create_source
    assert parse_bind("/x:/y").record.propagation == "rprivate"


def test_a_volume_in_short_form() -> None:
    record = parse_bind("data:/d:nocopy", "local").record
    assert (record.type, record.name, record.driver) == ("volume", "data", "local")
    assert (record.copy_up, record.anonymous, record.mode, record.propagation) == (False, False, "nocopy", "")
    anonymous = parse_bind("/d").record
    assert (anonymous.type, anonymous.anonymous, anonymous.copy_up, anonymous.mode) == ("volume", True, True, "z")


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("", "invalid volume specification: ''"),
        (":/x", "invalid volume specification: ':/x'"),
        ("/x:ro", "invalid volume specification: '/x:ro'"),
        ("/a:/b:ro:z", "invalid volume specification: '/a:/b:ro:z'"),
        ("/a:/b:fast", "invalid mode: fast"),
        (
            "/a:/",
            "invalid volume specification: '/a:/': invalid mount config for type \"bind\": "
            "invalid specification: destination can't be '/'",
        ),
        (
            "/a:/../..",
            "invalid volume specification: '/a:/../..': invalid mount config for type \"bind\": "
            "invalid specification: destination can't be '/'",
        ),
        (
            "data:b",
            "invalid volume specification: 'data:b': invalid mount config for type \"volume\": "
            "invalid mount path: 'b' mount path must be absolute",
        ),
        (
            "data:/b:shared",
            "invalid volume specification: 'data:/b:shared': invalid mount config for type \"volume\": "
            "field BindOptions must not be specified",
        ),
    ],
)
def test_bad_binds(raw: str, text: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        parse_bind(raw)
    assert raised.value.message == text


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"Type": "bind", "Source": "/"}, 'type "bind": field Target must not be empty'),
        ({"Type": "bind", "Target": "/x"}, 'type "bind": field Source must not be empty'),
        ({"Type": "", "Target": "/x"}, 'type "": mount type unknown'),
        (
            {"Type": "bind", "Source": "x", "Target": "/x"},
            "type \"bind\": invalid mount path: 'x' mount path must be absolute",
        ),
        (
            {"Type": "bind", "Source": "/not/there", "Target": "/x"},
            'type "bind": bind source path does not exist: /not/there',
        ),
        (
            {"Type": "bind", "Source": "/", "Target": "/x", "BindOptions": {"Propagation": "wide"}},
            'type "bind": invalid propagation mode: wide',
        ),
        (
            {"Type": "volume", "Target": "/x", "ReadOnly": True},
            'type "volume": must not set ReadOnly mode when using anonymous volumes',
        ),
        (
            {"Type": "volume", "Target": "/x", "VolumeOptions": {"Subpath": "a"}},
            'type "volume": must not set Subpath when using anonymous volumes',
        ),
        (
            {"Type": "volume", "Source": "v", "Target": "/x", "VolumeOptions": {"Subpath": "a/../../b"}},
            'type "volume": subpath must be a relative path within the volume',
        ),
        (
            {"Type": "tmpfs", "Source": "x", "Target": "/x"},
            'type "tmpfs": field Source must not be specified',
        ),
        (
            {"Type": "tmpfs", "Target": "/x", "TmpfsOptions": {"Options": [["fast"]]}},
            'type "tmpfs": invalid option: fast',
        ),
    ],
)
def test_bad_mounts(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        check_mounts([msgspec.convert(fields, Mount)], LATEST)
    assert raised.value.message == f"invalid mount config for {text}"


@pytest.mark.parametrize(
    ("fields", "version", "text"),
    [
        (
            {"Type": "tmpfs", "Target": "/x", "BindOptions": {}},
            LATEST,
            'BindOptions must not be specified on mount type "tmpfs"',
        ),
        (
            {"Type": "bind", "Source": "/", "Target": "/x", "BindOptions": {"ReadOnlyForceRecursive": True}},
            (1, 43),
            "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer",
        ),
        (
            {"Type": "bind", "Source": "/", "Target": "/x", "BindOptions": {"ReadOnlyNonRecursive": True}},
            LATEST,
            "mount options conflict: !ReadOnly && BindOptions.ReadOnlyNonRecursive",
        ),
        (
            {"Type": "volume", "Source": "v", "Target": "/x", "VolumeOptions": {"Subpath": "a"}},
            (1, 44),
            "VolumeOptions.Subpath needs API v1.45 or newer",
        ),
        ({"Type": "image", "Source": "v", "Target": "/x"}, (1, 47), 'Mount type "Image" needs API v1.48 or newer'),
    ],
)
def test_mounts_and_versions(fields: dict[str, Any], version: tuple[int, int], text: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        check_mounts([msgspec.convert(fields, Mount)], version)
    assert raised.value.message == text


def test_a_mount_of_each_type() -> None:
    bind = parse_mount(
        msgspec.convert(
            {
                "Type": "bind",
                "Source": "/not/there",
                "Target": "/x/",
                "ReadOnly": True,
                "BindOptions": {"CreateMountpoint": True, "NonRecursive": True, "ReadOnlyNonRecursive": True},
            },
            Mount,
        )
    ).record
    assert (bind.destination, bind.create_source, bind.non_recursive, bind.read_write) == ("/x", True, True, False)
    assert bind.read_only_non_recursive
    tmpfs = parse_mount(
        msgspec.convert({"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 1 << 20, "Mode": 0o700}}, Mount)
    ).record
    assert tmpfs.options == ["noexec", "nosuid", "nodev", "rprivate", "mode=700", "size=1m"]
    plan = parse_mount(
        msgspec.convert(
            {
                "Type": "volume",
                "Source": "v",
                "Target": "/v",
                "VolumeOptions": {
                    "NoCopy": True,
                    "Labels": {"a": "b"},
                    "DriverConfig": {"Name": "local", "Options": {"type": "tmpfs"}},
                    "Subpath": "in/side",
                },
            },
            Mount,
        )
    )
    assert (plan.record.name, plan.record.driver, plan.record.copy_up) == ("v", "local", False)
    assert plan.record.subpath == "in/side"
    assert (plan.driver_options, plan.labels) == ({"type": "tmpfs"}, {"a": "b"})


@pytest.mark.parametrize(
    ("entry", "found"), [("box", ("box", True)), ("box:ro", ("box", False)), ("box:rw,z", ("box", True))]
)
def test_volumes_from(entry: str, found: tuple[str, bool]) -> None:
    assert parse_volumes_from(entry) == found


@pytest.mark.parametrize("entry", ["", "box:shared", "box:nocopy", "box:x"])
def test_bad_volumes_from(entry: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_volumes_from(entry)


async def test_anonymous_and_named_volumes_are_made() -> None:
    volumes = FakeVolumes()
    mounts = await plan({"Binds": ["data:/d"]}, ContainerConfig(volumes={"/a": {}}), volumes=volumes)
    named, anonymous = mounts
    assert (named.name, named.source, named.driver, named.mode) == ("data", "/volumes/data/_data", "local", "z")
    assert len(anonymous.name) == 64
    assert (anonymous.destination, anonymous.anonymous, anonymous.copy_up) == ("/a", True, True)
    assert volumes.made[anonymous.name] == ({}, {"com.docker.volume.anonymous": ""})
    assert set(volumes.held.values()) == {"c1"}


async def test_what_is_mounted_takes_the_place_of_an_image_s_volume() -> None:
    config = ContainerConfig(volumes={"/a/": {}, "/b": {}, "/c": {}})
    mounts = await plan({"Binds": ["/tmp:/a"], "Tmpfs": {"/b": ""}}, config)
    assert [(mount.type, mount.destination) for mount in mounts] == [("bind", "/a"), ("volume", "/c")]


@pytest.mark.parametrize(
    "host_config",
    [
        {"Binds": ["/tmp:/x", "data:/x/"]},
        {"Binds": ["/tmp:/x"], "Tmpfs": {"/x": ""}},
        {"Binds": ["/tmp:/x"], "Mounts": [{"Type": "tmpfs", "Target": "/x"}]},
    ],
)
async def test_two_mounts_at_one_place(host_config: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as raised:
        await plan(host_config)
    assert raised.value.message == "Duplicate mount point: /x"


async def test_mounts_of_another_container() -> None:
    other = ContainerRecord(
        id="o",
        name="other",
        created_ns=1,
        mounts=[
            MountRecord(
                type="volume", name="v", destination="/v", source="/volumes/v/_data", driver="local", copy_up=True
            ),
            MountRecord(type="bind", source="/s", destination="/s", propagation="rprivate", read_write=False),
            MountRecord(type="tmpfs", destination="/t"),
        ],
    )
    volume, bind = await plan({"VolumesFrom": ["other"]}, others={"other": other})
    assert (volume.name, volume.read_write, volume.copy_up) == ("v", True, False)
    assert (bind.source, bind.read_write) == ("/s", False)
    volume, _ = await plan({"VolumesFrom": ["other:ro"]}, others={"other": other})
    assert not volume.read_write
    own, _ = await plan({"VolumesFrom": ["other"], "Binds": ["/tmp:/v"]}, others={"other": other})
    assert own.type == "bind"
    with pytest.raises(NotFound, match="No such container: gone"):
        await plan({"VolumesFrom": ["gone"]})


async def test_a_failure_takes_back_what_was_made() -> None:
    volumes = FakeVolumes(refused="bad")
    with pytest.raises(InvalidArgument, match="refused"):
        await plan({"Binds": ["/a", "kept:/k", "bad:/b"]}, volumes=volumes)
    assert list(volumes.made) == ["kept"]
    assert volumes.held == {}


async def test_binds_of_the_engine_s_own_folder_let_go_of_its_mounts() -> None:
    root = Path("/var/lib/portside")
    for source in ("/var/lib/portside/x", "/var", "/"):
        (mount,) = await plan({"Binds": [f"{source}:/x"]}, data_root=root)
        assert mount.propagation == "rslave"
    (mount,) = await plan({"Binds": ["/srv:/x"]}, data_root=root)
    assert mount.propagation == "rprivate"
    with pytest.raises(InvalidArgument, match="must use either propagation mode"):
        await plan({"Binds": ["/var:/x:private"]}, data_root=root)


async def test_read_only_binds_of_older_clients_are_not_recursive() -> None:
    (old,) = await plan({"Binds": ["/tmp:/x:ro"]}, api_version=(1, 43))
    (new,) = await plan({"Binds": ["/tmp:/x:ro"]})
    assert (old.read_only_non_recursive, new.read_only_non_recursive) == (True, False)


@pytest.mark.parametrize("tmpfs", [{"/": ""}, {"x": ""}, {"/x": "colour=red"}, {"/x": "size"}])
async def test_bad_tmpfs(tmpfs: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument):
        await plan({"Tmpfs": tmpfs})


def test_mounts_as_inspect_shows_them() -> None:
    record = ContainerRecord(
        id="c",
        name="n",
        created_ns=1,
        mounts=[
            MountRecord(type="volume", name="v", driver="local", source="/volumes/v/_data", destination="/v", mode="z"),
            MountRecord(
                type="bind", source="/s", destination="/s", propagation="rprivate", read_write=False, mode="ro"
            ),
        ],
    )
    shown = [msgspec.to_builtins(point) for point in mount_points(record)]
    assert shown == [
        {
            "Type": "volume",
            "Name": "v",
            "Source": "/volumes/v/_data",
            "Destination": "/v",
            "Driver": "local",
            "Mode": "z",
            "RW": True,
            "Propagation": "",
        },
        {"Type": "bind", "Source": "/s", "Destination": "/s", "Mode": "ro", "RW": False, "Propagation": "rprivate"},
    ]
