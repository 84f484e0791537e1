"""The OCI configuration as data: what is in it by default and what each option changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.errors import InvalidArgument, NotSupported, Unavailable
from engine.model.container import ContainerConfig, HostConfig
from engine.model.record import ContainerRecord, MountRecord
from engine.model.resources import Ulimit
from engine.runtime.capabilities import NAMES
from engine.runtime.host import CgroupFacts, HostFacts
from engine.runtime.spec import SpecDefaults, SpecInputs, build_spec, merge_environment
from engine.runtime.users import ResolvedUser
from tests.integration.bundles import Placed

Json = dict[str, Any]

HOST = HostFacts(
    cgroups=CgroupFacts(version=2),
    capabilities=NAMES,
    kernel=(6, 1),
    sysctls=frozenset({"net.ipv4.ping_group_range", "net.ipv4.ip_unprivileged_port_start"}),
)


def inputs(
    config: dict[str, Any] | None = None, host_config: dict[str, Any] | None = None, **changes: Any
) -> SpecInputs:
    settled = msgspec.convert(
        {"IpcMode": "private", "NetworkMode": "bridge", "ShmSize": 1000, **(host_config or {})}, HostConfig
    )
    record = ContainerRecord(
        id="c" * 64,
        name="box",
        created_ns=1,
        path="/bin/true",
        args=["a"],
        config=msgspec.convert({"Hostname": "box", **(config or {})}, ContainerConfig),
        host_config=settled,
    )
    made = SpecInputs(
        record=record,
        rootfs=Path("/root/fs"),
        files_dir=Path("/not/there"),
        user=ResolvedUser(home="/root"),
        cgroups_path="/parent/c",
        host=HOST,
        netns_path="/run/netns/x",
    )
    return replace(made, **changes)


def spec(
    config: dict[str, Any] | None = None, host_config: dict[str, Any] | None = None, **changes: Any
) -> dict[str, Any]:
    return build_spec(inputs(config, host_config, **changes))


def mounts_of(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {mount["destination"]: mount for mount in found["mounts"]}


def namespaces_of(found: dict[str, Any]) -> dict[str, str]:
    return {item["type"]: item.get("path", "") for item in found["linux"]["namespaces"]}


def test_it_is_json_and_reads_nothing_by_default() -> None:
    found = spec()
    assert msgspec.json.decode(msgspec.json.encode(found)) == found
    assert found["ociVersion"] == "1.0.2"
    assert found["root"] == {"path": "/root/fs", "readonly": False}
    assert found["process"]["args"] == ["/bin/true", "a"]
    assert found["process"]["cwd"] == "/"
    assert found["linux"]["cgroupsPath"] == "/parent/c"
    assert found["hostname"] == "box"


def test_namespaces() -> None:
    private = namespaces_of(spec())
    assert private == {"mount": "", "network": "/run/netns/x", "uts": "", "ipc": "", "pid": ""}
    host = namespaces_of(
        spec(None, {"IpcMode": "host", "PidMode": "host", "UTSMode": "host", "NetworkMode": "host"}, netns_path=None)
    )
    assert host == {"mount": ""}
    assert "cgroup" in namespaces_of(spec(None, {"CgroupnsMode": "private"}))
    joined = namespaces_of(
        spec(
            None,
            {"IpcMode": "container:x", "PidMode": "container:y"},
            ipc_path="/proc/5/ns/ipc",
            pid_path=Path("/proc/6/ns/pid"),
        )
    )
    assert (joined["ipc"], joined["pid"]) == ("/proc/5/ns/ipc", "/proc/6/ns/pid")
    with pytest.raises(Unavailable, match="failed to join PID namespace"):
        spec(None, {"PidMode": "container:y"})


def test_uts_of_the_host_has_no_hostname() -> None:
    assert "hostname" not in spec({"Domainname": "x"}, {"UTSMode": "host"})
    assert "kernel.domainname" not in spec({"Domainname": "x"}, {"UTSMode": "host"})["linux"]["sysctl"]


def test_sysctls_only_for_a_network_of_its_own() -> None:
    own = {"net.ipv4.ping_group_range": "0 2147483647", "net.ipv4.ip_unprivileged_port_start": "0"}
    assert spec()["linux"]["sysctl"] == own
    assert spec(None, {"NetworkMode": "host"}, netns_path=None)["linux"]["sysctl"] == {}
    assert spec(None, {"NetworkMode": "container:x"})["linux"]["sysctl"] == {}
    changed = spec(None, {"Sysctls": {"net.ipv4.ip_unprivileged_port_start": "1024"}})["linux"]["sysctl"]
    assert changed["net.ipv4.ip_unprivileged_port_start"] == "1024"


def test_environment() -> None:
    found = spec({"Env": ["A=1", "PATH=/x", "A=2"], "Tty": True})["process"]["env"]
    assert found == ["PATH=/x", "HOSTNAME=box", "TERM=xterm", "A=2", "HOME=/root"]
    assert spec({"Env": ["HOME=/own"]})["process"]["env"][-1] == "HOME=/own"
    assert spec({"Env": ["HOME="]}, user=ResolvedUser(home=""))["process"]["env"][-1] == "HOME=/"
    assert merge_environment(["A=1", "B=2"], ["A", "C=3"]) == ["B=2", "C=3"]


def test_terminal_and_console_size() -> None:
    found = spec({"Tty": True}, {"ConsoleSize": [40, 120]})["process"]
    assert found["terminal"]
    assert found["consoleSize"] == {"height": 40, "width": 120}
    assert "consoleSize" not in spec(None, {"ConsoleSize": [40, 120]})["process"]


def test_mounts_and_their_order() -> None:
    found = spec()
    assert [mount["destination"] for mount in found["mounts"]] == [
        "/proc",
        "/dev",
        "/dev/pts",
        "/sys",
        "/sys/fs/cgroup",
        "/dev/mqueue",
        "/dev/shm",
    ]
    assert mounts_of(found)["/dev/shm"]["options"] == ["nosuid", "noexec", "nodev", "mode=1777", "size=1000"]
    deep = MountRecord(type="bind", destination="/a/b/c", propagation="rprivate")
    high = MountRecord(type="bind", destination="/a", propagation="rprivate")
    placed = [Placed(deep, Path("/deep")), Placed(high, Path("/high"))]
    order = [mount["destination"] for mount in spec(None, None, mounts=placed)["mounts"]]
    assert order[-2:] == ["/a", "/a/b/c"]


def test_own_mounts_take_the_place_of_defaults() -> None:
    dev = MountRecord(type="bind", destination="/dev", propagation="rprivate")
    found = spec(None, {"Tmpfs": {"/sys": ""}}, mounts=[Placed(dev, Path("/dev"))])
    places = [mount["destination"] for mount in found["mounts"]]
    assert sorted(places) == ["/dev", "/proc", "/sys", "/sys/fs/cgroup"]
    assert mounts_of(found)["/sys"]["type"] == "tmpfs"


def test_shared_memory_by_mode() -> None:
    assert "/dev/shm" not in mounts_of(spec(None, {"IpcMode": "none"}))
    host = mounts_of(spec(None, {"IpcMode": "host"}))["/dev/shm"]
    assert (host["type"], host["source"]) == ("bind", "/dev/shm")
    shared = mounts_of(spec(None, {"IpcMode": "shareable"}, shm_path=Path("/run/shm")))["/dev/shm"]
    assert shared["source"] == "/run/shm"


def test_read_only_root_leaves_what_must_be_written() -> None:
    found = mounts_of(spec(None, {"ReadonlyRootfs": True, "Tmpfs": {"/tmp": ""}}))
    assert "ro" in found["/sys"]["options"]
    for place in ("/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/tmp"):
        assert "ro" not in found[place]["options"]


def test_bind_options(tmp_path: Path) -> None:
    def options(**fields: Any) -> list[str]:
        mount = MountRecord(type="bind", destination="/x", propagation="rprivate", **fields)
        return list(mounts_of(spec(None, None, mounts=[Placed(mount, tmp_path)]))["/x"]["options"])

    assert options() == ["rbind", "rprivate"]
    assert options(read_write=False) == ["rbind", "rro", "rprivate"]
    assert options(read_write=False, read_only_non_recursive=True) == ["rbind", "ro", "rprivate"]
    assert options(read_write=False, non_recursive=True) == ["bind", "ro", "private"]
    old = replace(HOST, recursive_read_only=False)
    forced = MountRecord(type="bind", destination="/x", read_write=False, read_only_force_recursive=True)
    with pytest.raises(NotSupported):
        spec(None, None, mounts=[Placed(forced, Path("/s"))], host=old)


def test_privileged() -> None:
    found = spec(None, {"Privileged": True})
    assert found["linux"]["maskedPaths"] == found["linux"]["readonlyPaths"] == []
    assert "seccomp" not in found["linux"]
    assert found["linux"]["resources"]["devices"][-1] == {"allow": True, "access": "rwm"}
    assert set(found["process"]["capabilities"]["bounding"]) == set(NAMES)
    assert "ro" not in mounts_of(found)["/sys"]["options"]
    assert "ro" not in mounts_of(found)["/sys/fs/cgroup"]["options"]
    assert (
        "ro"
        in mounts_of(spec(None, {"Privileged": True, "SecurityOpt": ["writable-cgroups=false"]}))["/sys/fs/cgroup"][
            "options"
        ]
    )


def test_masked_paths_as_asked() -> None:
    found = spec(None, {"MaskedPaths": ["/proc/x"], "ReadonlyPaths": []})
    assert (found["linux"]["maskedPaths"], found["linux"]["readonlyPaths"]) == (["/proc/x"], [])
    assert "/sys/devices/x" in spec(host=replace(HOST, thermal_paths=("/sys/devices/x",)))["linux"]["maskedPaths"]


def test_seccomp_by_option_and_by_default() -> None:
    assert spec()["linux"]["seccomp"]["defaultAction"] == "SCMP_ACT_ERRNO"
    assert "seccomp" not in spec(None, {"SecurityOpt": ["seccomp=unconfined"]})["linux"]
    off = SpecDefaults(seccomp="unconfined")
    assert "seccomp" not in spec(defaults=off)["linux"]
    assert "seccomp" in spec(None, {"SecurityOpt": ["seccomp=builtin"]}, defaults=off)["linux"]
    own = SpecDefaults(seccomp='{"defaultAction": "SCMP_ACT_LOG"}')
    assert spec(defaults=own)["linux"]["seccomp"] == {"defaultAction": "SCMP_ACT_LOG"}
    without = replace(HOST, seccomp=False)
    assert "seccomp" not in spec(host=without)["linux"]
    with pytest.raises(InvalidArgument, match="seccomp is not enabled in your kernel"):
        spec(None, {"SecurityOpt": ['seccomp={"defaultAction": "SCMP_ACT_LOG"}']}, host=without)


def test_apparmor_where_the_host_has_it() -> None:
    host = replace(HOST, apparmor=True)
    assert "apparmorProfile" not in spec()["process"]
    assert spec(host=host)["process"]["apparmorProfile"] == "portside-default"
    assert spec(None, {"Privileged": True}, host=host)["process"]["apparmorProfile"] == "unconfined"
    named = inputs(host=host)
    named.record.app_armor_profile = "mine"
    assert build_spec(named)["process"]["apparmorProfile"] == "mine"


def test_init() -> None:
    defaults = SpecDefaults(init_path=Path("/bin/true"))
    found = spec(None, {"Init": True}, defaults=defaults)
    assert found["process"]["args"] == ["/sbin/docker-init", "--", "/bin/true", "a"]
    assert mounts_of(found)["/sbin/docker-init"]["options"] == ["bind", "ro"]
    shared = spec(None, {"Init": True, "PidMode": "host"}, defaults=defaults)
    assert shared["process"]["args"] == ["/bin/true", "a"]
    with pytest.raises(NotSupported, match="docker-init"):
        spec(None, {"Init": True}, defaults=SpecDefaults(init_path=Path("/not/there")))
    assert spec(None, {"Init": False}, defaults=SpecDefaults(init=True))["process"]["args"] == ["/bin/true", "a"]


def test_rlimits_merge_with_the_engine_s_and_stay_below_its_own() -> None:
    host = replace(HOST, can_raise_rlimits=False, hard_rlimits={"nofile": 100, "core": -1})
    defaults = SpecDefaults(ulimits=(Ulimit(name="nofile", soft=1, hard=2), Ulimit(name="core", soft=-1, hard=-1)))
    found = spec(None, {"Ulimits": [{"Name": "nofile", "Soft": 50, "Hard": 900}]}, host=host, defaults=defaults)
    assert found["process"]["rlimits"] == [
        {"type": "RLIMIT_NOFILE", "hard": 100, "soft": 50},
        {"type": "RLIMIT_CORE", "hard": 2**64 - 1, "soft": 2**64 - 1},
    ]


def test_oom_score_is_not_below_what_may_be_set() -> None:
    assert spec(None, {"OomScoreAdj": -500})["process"]["oomScoreAdj"] == -500
    assert spec(None, {"OomScoreAdj": -500}, host=replace(HOST, oom_score_floor=0))["process"]["oomScoreAdj"] == 0


def test_limits_in_resources() -> None:
    found = spec(
        None,
        {
            "Memory": 100,
            "MemorySwap": 300,
            "MemoryReservation": 50,
            "MemorySwappiness": 0,
            "OomKillDisable": True,
            "CpuShares": 5,
            "NanoCpus": 1_500_000_000,
            "CpusetCpus": "0",
            "PidsLimit": 7,
            "BlkioWeight": 20,
        },
    )["linux"]["resources"]
    assert found["memory"] == {
        "limit": 100,
        "reservation": 50,
        "swap": 300,
        "swappiness": 0,
        "disableOOMKiller": True,
    }
    assert found["cpu"] == {"shares": 5, "period": 100_000, "quota": 150_000, "cpus": "0"}
    assert found["pids"] == {"limit": 7}
    assert found["blockIO"] == {"weight": 20}
    plain = spec()["linux"]["resources"]
    assert list(plain) == ["devices"]


def test_annotations() -> None:
    assert spec(None, {"Annotations": {"a": "b"}})["annotations"] == {"a": "b"}
