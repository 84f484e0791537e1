"""What a request becomes: the image merged, defaults filled in, older versions of the API understood."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from engine.containers.interfaces import ResolvedImage
from engine.containers.options import CreateDefaults, build_record
from engine.errors import Internal, InvalidArgument, NotFound, NotSupported
from engine.model.base import given
from engine.model.container import ContainerConfig, ContainerCreateRequest, LogConfig
from engine.model.image import ImageConfig
from engine.model.record import ContainerRecord
from engine.runtime.capabilities import NAMES
from engine.runtime.host import CgroupFacts, HostFacts

HOST = HostFacts(
    cgroups=CgroupFacts(cpus="0-3", mems="0"),
    cpu_count=4,
    capabilities=NAMES,
    hostname="myhost",
    can_raise_rlimits=True,
)
CONTAINER_ID = "0123456789ab" + "f" * 52
IMAGE = ImageConfig(
    user="app",
    env=["PATH=/opt/bin", "LANG=C"],
    cmd=["serve", "--all"],
    entrypoint=["/entry"],
    working_dir="/srv",
    labels={"vendor": "x", "tier": "image"},
    volumes={"/data": {}},
    exposed_ports={"80/tcp": {}},
    stop_signal="SIGINT",
)


def create(
    body: dict[str, Any],
    *,
    image: ImageConfig | None = IMAGE,
    host: HostFacts = HOST,
    defaults: CreateDefaults | None = None,
    others: dict[str, ContainerRecord] | None = None,
    version: tuple[int, int] = (1, 51),
    forwards: bool = True,
) -> tuple[ContainerRecord, list[str]]:
    def find(container_ref: str) -> ContainerRecord:
        if not others or container_ref not in others:
            raise NotFound(f"No such container: {container_ref}")
        return others[container_ref]

    return build_record(
        msgspec.convert({"Image": "web", **body}, ContainerCreateRequest),
        name="box",
        container_id=CONTAINER_ID,
        created_ns=7,
        image=ResolvedImage("sha256:1", image, "linux", "amd64") if image else None,
        defaults=defaults or CreateDefaults(),
        host=host,
        find_container=find,
        api_version=version,
        ipv4_forwarding=forwards,
    )


def test_image_fills_in_what_is_left_open() -> None:
    record, warnings = create({})
    config = record.config
    assert warnings == []
    assert (record.path, record.args) == ("/entry", ["serve", "--all"])
    assert config.user == "app"
    assert config.env == ["PATH=/opt/bin", "LANG=C"]
    assert config.working_dir == "/srv"
    assert config.labels == {"vendor": "x", "tier": "image"}
    assert config.volumes == {"/data": {}}
    assert config.exposed_ports == {"80/tcp": {}}
    assert config.stop_signal == "SIGINT"
    assert record.image_id == "sha256:1"


def test_own_values_win_and_the_image_s_are_not_touched() -> None:
    before = msgspec.json.encode(IMAGE)
    body = {"Env": ["LANG=de", "A=1"], "Labels": {"tier": "own"}, "User": "0", "WorkingDir": "/x/../y", "Cmd": ["one"]}
    record, _ = create({**body, "Volumes": {"/own": {}}, "ExposedPorts": {"81/udp": {}}})
    config = record.config
    assert config.env == ["LANG=de", "A=1", "PATH=/opt/bin"]
    assert config.labels == {"vendor": "x", "tier": "own"}
    assert (config.user, config.working_dir) == ("0", "/y")
    assert config.volumes == {"/own": {}, "/data": {}}
    assert config.exposed_ports == {"80/tcp": {}, "81/udp": {}}
    assert (record.path, record.args) == ("/entry", ["one"])
    record.config.labels["new"] = "x"  # type: ignore[index]
    assert msgspec.json.encode(IMAGE) == before


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"Entrypoint": ["/own"]}, ["/own"]),
        ({"Entrypoint": ["/own"], "Cmd": ["x"]}, ["/own", "x"]),
        ({"Entrypoint": []}, ["serve", "--all"]),
        ({"Entrypoint": [""], "Cmd": ["x"]}, ["x"]),
        ({"Cmd": ["x", "y"]}, ["/entry", "x", "y"]),
    ],
)
def test_entrypoint_and_command(body: dict[str, Any], words: list[str]) -> None:
    record, _ = create(body)
    assert [record.path, *record.args] == words


def test_no_command_at_all() -> None:
    with pytest.raises(InvalidArgument, match="no command specified"):
        create({}, image=ImageConfig())
    with pytest.raises(InvalidArgument, match="no command specified"):
        create({"Entrypoint": [""]})


def test_health_check_is_inherited_part_by_part() -> None:
    image = msgspec.convert({"Cmd": ["x"], "Healthcheck": {"Test": ["CMD", "a"], "Interval": 5_000_000}}, ImageConfig)
    record, _ = create({"Healthcheck": {"Retries": 4}}, image=image)
    health = record.config.healthcheck
    assert health
    assert (health.test, health.interval, health.retries) == (["CMD", "a"], 5_000_000, 4)
    assert health.timeout is msgspec.UNSET
    disabled, _ = create({"Healthcheck": {"Test": ["NONE"]}}, image=image)
    assert given(disabled.config.healthcheck, None).test == ["NONE"]  # type: ignore[union-attr]


def test_defaults_are_docker_s() -> None:
    host_config = create({})[0].host_config
    assert host_config.network_mode == "bridge"
    assert host_config.shm_size == 67108864
    assert host_config.ipc_mode == "private"
    assert host_config.cgroupns_mode == "private"
    assert host_config.restart_policy.name == "no"
    assert host_config.log_config == LogConfig(type="json-file", config={})
    assert host_config.runtime == "crun"
    assert host_config.oom_kill_disable is False
    assert host_config.masked_paths is not None
    assert "/proc/kcore" in host_config.masked_paths
    assert host_config.readonly_paths == ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
    assert host_config.console_size == [0, 0]
    assert (host_config.dns, host_config.dns_search, host_config.dns_options) == (None, None, None)
    assert host_config.memory_swap == 0


def test_control_groups_v1_share_their_namespace() -> None:
    host = HostFacts(cgroups=CgroupFacts(version=1), capabilities=NAMES)
    assert create({}, host=host)[0].host_config.cgroupns_mode == "host"
    v2 = create({"HostConfig": {"Privileged": True}})[0].host_config
    assert v2.cgroupns_mode == "private"
    assert v2.masked_paths is None


def test_hostname() -> None:
    assert create({})[0].config.hostname == "0123456789ab"
    assert create({"HostConfig": {"NetworkMode": "host"}})[0].config.hostname == "myhost"
    assert create({"HostConfig": {"UTSMode": "host"}})[0].config.hostname == "myhost"
    assert create({"Hostname": "web"})[0].config.hostname == "web"


def test_swap_is_twice_the_memory() -> None:
    assert create({"HostConfig": {"Memory": 10 << 20}})[0].host_config.memory_swap == 20 << 20
    assert create({"HostConfig": {"Memory": 10 << 20, "MemorySwap": -1}})[0].host_config.memory_swap == -1


def test_networks_of_a_record() -> None:
    assert list(create({})[0].networks) == ["bridge"]
    body: dict[str, Any] = {
        "HostConfig": {"NetworkMode": "default"},
        "NetworkingConfig": {"EndpointsConfig": {"default": {"MacAddress": "02:00:00:00:00:01"}}},
    }
    record, _ = create(body)
    assert record.networks["bridge"].mac_address == "02:00:00:00:00:01"
    assert list(create({"HostConfig": {"NetworkMode": "none"}})[0].networks) == ["none"]
    assert create({"NetworkDisabled": True})[0].host_config.network_mode == "none"


def test_names_of_joined_containers_become_ids() -> None:
    other = ContainerRecord(id="f" * 64, name="db", created_ns=1, config=ContainerConfig(hostname="dbhost"))
    body = {"HostConfig": {"PidMode": "container:db", "IpcMode": "container:db", "NetworkMode": "container:db"}}
    record, _ = create(body, others={"db": other, other.id: other})
    host_config = record.host_config
    assert host_config.pid_mode == host_config.ipc_mode == host_config.network_mode == "container:" + "f" * 64
    assert record.config.hostname == "dbhost"
    assert record.networks == {}
    for mode in ("PidMode", "IpcMode"):
        with pytest.raises(NotFound, match="No such container: gone"):
            create({"HostConfig": {mode: "container:gone"}})
    record, _ = create({"HostConfig": {"NetworkMode": "container:gone"}})  # it may come before the start
    assert record.host_config.network_mode == "container:gone"


def test_log_options_come_from_the_engine_s_default() -> None:
    defaults = CreateDefaults(log=LogConfig(type="local", config={"max-size": "5m"}))
    assert create({}, defaults=defaults)[0].host_config.log_config == LogConfig(type="local", config={"max-size": "5m"})
    body = {"HostConfig": {"LogConfig": {"Type": "json-file"}}}
    assert create(body, defaults=defaults)[0].host_config.log_config == LogConfig(type="json-file", config={})


def test_container_wide_mac_address_moves_to_the_network() -> None:
    record, warnings = create({"MacAddress": "02:00:00:00:00:02"})
    assert record.networks["bridge"].mac_address == "02:00:00:00:00:02"
    assert record.config.mac_address is msgspec.UNSET
    assert warnings == [
        "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead."
    ]
    record, warnings = create({"MacAddress": "02:00:00:00:00:02"}, version=(1, 43))
    assert record.networks["bridge"].mac_address == "02:00:00:00:00:02"
    assert warnings == []


def test_older_versions_of_the_api() -> None:
    host_config = {"AutoRemove": True, "Annotations": {"a": "b"}, "ConsoleSize": [10, 20]}
    old = create({"HostConfig": host_config}, version=(1, 24))[0].host_config
    assert (old.auto_remove, old.ipc_mode, old.console_size) == (False, "shareable", [0, 0])
    assert old.annotations is msgspec.UNSET
    new = create({"HostConfig": host_config})[0].host_config
    assert (new.auto_remove, new.console_size, new.annotations) == (True, [10, 20], {"a": "b"})
    with pytest.raises(InvalidArgument, match="multiple network endpoints: a, b"):
        create({"NetworkingConfig": {"EndpointsConfig": {"a": {}, "b": {}}}}, version=(1, 43))


def test_zero_values_ask_for_nothing() -> None:
    zeros = {
        "Binds": [], "ContainerIDFile": "", "VolumeDriver": "", "VolumesFrom": [], "CapAdd": [], "CapDrop": [],
        "Links": [], "Cgroup": "", "PidsLimit": 0, "MemorySwappiness": -1, "BlkioWeight": 0, "Devices": [],
        "DeviceRequests": [], "Ulimits": [], "CpuCount": 0, "CpuPercent": 0, "IOMaximumIOps": 0, "Isolation": "",
        "StorageOpt": {}, "Tmpfs": {}, "Sysctls": {}, "UsernsMode": "", "KernelMemory": 0, "Runtime": "",
        "SecurityOpt": [], "OomScoreAdj": 0, "ShmSize": 0, "GroupAdd": [],
    }  # fmt: skip
    record, warnings = create({"HostConfig": zeros})
    assert warnings == []
    assert record.host_config.pids_limit is None
    assert record.host_config.memory_swappiness is None


@pytest.mark.parametrize(
    ("host_config", "named"),
    [
        ({"Cgroup": "container:x"}, "Cgroup"),
        ({"Mounts": [{"Type": "cluster", "Source": "x", "Target": "/x"}]}, "cluster"),
    ],
)
def test_what_portside_lacks_is_refused_by_name(host_config: dict[str, Any], named: str) -> None:
    with pytest.raises(NotSupported) as raised:
        create({"HostConfig": host_config})
    assert named in raised.value.message


def test_a_size_of_the_root_needs_a_disk_with_quotas() -> None:
    with pytest.raises(Internal, match="--storage-opt is supported only for overlay over xfs with 'pquota' mount opt"):
        create({"HostConfig": {"StorageOpt": {"size": "10G"}}})
    with pytest.raises(Internal, match="Unknown option speed"):
        create({"HostConfig": {"StorageOpt": {"Speed": "1"}}})


def test_unknown_runtime() -> None:
    with pytest.raises(InvalidArgument, match="unknown or invalid runtime name: kata"):
        create({"HostConfig": {"Runtime": "kata"}})


def test_warnings_about_this_host() -> None:
    host = HostFacts(cgroups=CgroupFacts(namespaces=False), capabilities=NAMES, oom_score_floor=0)
    _, warnings = create({"HostConfig": {"CgroupnsMode": "private", "OomScoreAdj": -5}}, host=host, forwards=False)
    assert warnings == [
        "IPv4 forwarding is disabled. Networking will not work.",
        "Your kernel does not support cgroup namespaces.  Cgroup namespace setting discarded.",
        "oom-score-adj -5 is below what the engine may set on this host. Raised to 0.",
    ]
    _, warnings = create({"HostConfig": {"NetworkMode": "host", "PortBindings": {"80/tcp": [{"HostPort": "80"}]}}})
    assert warnings == ["Published ports are discarded when using host network mode"]


def test_an_image_for_another_machine() -> None:
    record, warnings = build_record(
        msgspec.convert({"Image": "x", "Cmd": ["y"]}, ContainerCreateRequest),
        name="n",
        container_id=CONTAINER_ID,
        created_ns=1,
        image=ResolvedImage("sha256:1", ImageConfig(), "linux", "arm64"),
        defaults=CreateDefaults(),
        host=HOST,
    )
    assert record.path == "y"
    assert "platform (linux/arm64) does not match the detected host platform (linux/amd64)" in warnings[0]


def test_apparmor_profile() -> None:
    assert create({"HostConfig": {"SecurityOpt": ["apparmor=mine"]}})[0].app_armor_profile == "mine"
    assert create({})[0].app_armor_profile == ""
    host = HostFacts(capabilities=NAMES, apparmor=True)
    assert create({}, host=host)[0].app_armor_profile == "portside-default"
    assert create({"HostConfig": {"Privileged": True}}, host=host)[0].app_armor_profile == "unconfined"
