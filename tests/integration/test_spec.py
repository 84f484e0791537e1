"""Every option of create, as a process in a container sees it, with crun and with runc."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.errors import InvalidArgument
from engine.model.container import ContainerConfig, HostConfig
from engine.model.execution import ExecCreateRequest
from engine.model.record import MountRecord
from engine.model.resources import DeviceMapping, ThrottleDevice, Ulimit
from engine.runtime.host import HostFacts, probe_host
from engine.runtime.spec import ExecInputs, SpecDefaults, build_exec_process
from engine.runtime.users import resolve_user
from tests.integration.bundles import Bundles, Placed

HOST = probe_host()
needs_v1 = pytest.mark.skipif(HOST.cgroups.version != 1, reason="looks at the files of control groups v1")

needs_v2 = pytest.mark.skipif(HOST.cgroups.version != 2, reason="looks at the files of control groups v2")


@pytest.fixture(params=["crun", "runc"])
def bundles(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bundles]:
    found = Bundles(request.param, tmp_path)
    yield found
    found.close()


@pytest.fixture
def netns() -> Iterator[str]:
    name = f"psd-spec-{secrets.token_hex(4)}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    yield f"/run/netns/{name}"
    subprocess.run(["ip", "netns", "del", name], check=True)


def lines(bundles: Bundles, script: str, config: ContainerConfig | None = None, **host_options: Any) -> list[str]:
    outcome = bundles.run(script, config, HostConfig(**host_options))
    assert outcome.code == 0, outcome.output
    return outcome.output.splitlines()


# The process


def test_defaults_run_busybox(bundles: Bundles) -> None:
    outcome = bundles.run("echo hello; id -u; hostname; pwd; env | sort")
    assert outcome.code == 0, outcome.output
    found = outcome.output.splitlines()
    assert found[:2] == ["hello", "0"]
    assert found[2] == outcome.spec["hostname"]
    assert found[3] == "/"
    assert set(found[4:]) >= {
        "HOME=/root",
        f"HOSTNAME={outcome.spec['hostname']}",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    }


def test_user_groups_home_and_working_directory(bundles: Bundles) -> None:
    script = "id -u; id -g; id -G; echo $HOME; pwd"
    found = lines(bundles, script, ContainerConfig(user="web", working_dir="/srv"), group_add=["50"])
    assert found[:2] == ["1001", "1002"]
    assert sorted(found[2].split()) == ["1002", "1003", "50"]
    assert found[3:] == ["/srv", "/srv"]


def test_numeric_user_that_nobody_knows(bundles: Bundles) -> None:
    assert lines(bundles, "id -u; id -g; echo $HOME", ContainerConfig(user="4711:99")) == ["4711", "99", "/"]


def test_environment_overrides_and_removes(bundles: Bundles) -> None:
    config = ContainerConfig(env=["PATH=/bin", "A=1=2", "HOSTNAME", "HOME=/tmp"])
    assert lines(bundles, "echo $PATH; echo $A; env | grep -c HOSTNAME; echo $HOME", config) == [
        "/bin",
        "1=2",
        "0",
        "/tmp",
    ]


def test_hostname_and_domain(bundles: Bundles) -> None:
    config = ContainerConfig(hostname="box", domainname="example.test")
    assert lines(bundles, "hostname; cat /proc/sys/kernel/domainname", config) == ["box", "example.test"]


def test_init_is_the_first_process(bundles: Bundles) -> None:
    (first,) = lines(bundles, "cat /proc/1/cmdline | tr '\\0' ' '", init=True)
    assert first.startswith("/sbin/docker-init -- /bin/sh -c")


def test_limits_of_a_process(bundles: Bundles) -> None:
    limits = [Ulimit(name="nofile", soft=100, hard=200), Ulimit(name="core", soft=0, hard=0)]
    assert lines(bundles, "ulimit -Sn; ulimit -Hn; ulimit -Hc", ulimits=limits) == ["100", "200", "0"]


def test_a_limit_above_the_engine_s_own_is_lowered(bundles: Bundles) -> None:
    own = HOST.hard_rlimits["nofile"]
    if HOST.can_raise_rlimits or own < 0:
        pytest.skip("this engine may raise limits")
    found = lines(bundles, "ulimit -Hn; ulimit -Sn", ulimits=[Ulimit(name="nofile", soft=own + 5, hard=own + 10)])
    assert found == [str(own), str(own)]


def test_oom_score(bundles: Bundles) -> None:
    assert lines(bundles, "cat /proc/self/oom_score_adj", oom_score_adj=321) == ["321"]
    assert lines(bundles, "cat /proc/self/oom_score_adj", oom_score_adj=-999) == [str(max(-999, HOST.oom_score_floor))]


# Privileges


def status(bundles: Bundles, key: str, config: ContainerConfig | None = None, **host_options: Any) -> str:
    (line,) = lines(bundles, f"grep ^{key}: /proc/self/status", config, **host_options)
    return line.split("\t")[1]


def test_default_capabilities_are_docker_s_fourteen(bundles: Bundles) -> None:
    assert int(status(bundles, "CapBnd"), 16) == 0xA80425FB
    assert int(status(bundles, "CapEff"), 16) == 0xA80425FB
    assert int(status(bundles, "CapInh"), 16) == 0
    assert int(status(bundles, "CapEff", ContainerConfig(user="web")), 16) == 0


def test_capabilities_added_and_dropped(bundles: Bundles) -> None:
    assert int(status(bundles, "CapEff", cap_drop=["ALL"], cap_add=["net_admin"]), 16) == 1 << 12
    assert int(status(bundles, "CapEff", cap_drop=["CAP_CHOWN"]), 16) == 0xA80425FB & ~1
    everything = int(status(bundles, "CapEff", cap_add=["ALL"]), 16)
    assert everything & (1 << 21)
    assert everything == int(status(bundles, "CapEff", privileged=True), 16)


def test_no_new_privileges(bundles: Bundles) -> None:
    assert status(bundles, "NoNewPrivs") == "0"
    assert status(bundles, "NoNewPrivs", security_opt=["no-new-privileges"]) == "1"
    assert status(bundles, "NoNewPrivs", security_opt=["no-new-privileges=true"]) == "1"


def test_seccomp_default_custom_and_unconfined(bundles: Bundles) -> None:
    assert status(bundles, "Seccomp") == "2"
    assert status(bundles, "Seccomp", security_opt=["seccomp=unconfined"]) == "0"
    assert status(bundles, "Seccomp", privileged=True) == "0"
    refused = bundles.run("unshare -U true")
    assert refused.code != 0
    assert "Operation not permitted" in refused.output
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
        "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
            {"name": "chmod", "action": "SCMP_ACT_ERRNO", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
        ],
    }
    custom = bundles.run(
        "chmod 700 /srv && mkdir /srv/x", None, HostConfig(security_opt=[f"seccomp={json.dumps(profile)}"])
    )
    assert "No space left on device" in custom.output


def test_seccomp_follows_capabilities(bundles: Bundles) -> None:
    outcome = bundles.run("unshare -m true", None, HostConfig(cap_add=["SYS_ADMIN"]))
    assert outcome.code == 0, outcome.output


def test_masked_and_read_only_paths(bundles: Bundles) -> None:
    found = lines(bundles, "wc -c < /proc/keys; (echo 1 > /proc/sys/kernel/printk_ratelimit) 2>&1; ls /sys/firmware")
    assert found[0] == "0"
    assert "Read-only file system" in found[1]
    assert len(found) == 2
    opened = lines(bundles, "wc -c < /proc/keys", masked_paths=[])
    assert int(opened[0]) > 0
    (options,) = lines(bundles, "grep ' /proc/sys ' /proc/self/mountinfo | wc -l", readonly_paths=[])
    assert options == "0"


def test_privileged_sees_devices_and_writes_sysfs(bundles: Bundles) -> None:
    found = lines(
        bundles,
        "grep -c ' /proc/keys ' /proc/self/mountinfo; ls /dev | wc -l; grep ' /sys ' /proc/mounts",
        privileged=True,
    )
    assert found[0] == "0"
    assert int(found[1]) > 30
    assert "rw" in found[2].split()[3].split(",")


def test_read_only_root(bundles: Bundles) -> None:
    found = lines(
        bundles, "touch /x 2>&1; touch /dev/shm/x && echo shm; touch /dev/x && echo dev", readonly_rootfs=True
    )
    assert "Read-only file system" in found[0]
    assert found[1:] == ["shm", "dev"]


# Namespaces


def namespace(bundles: Bundles, kind: str, **host_options: Any) -> str:
    (found,) = lines(bundles, f"readlink /proc/self/ns/{kind}", **host_options)
    return found


def test_namespaces_private_and_the_host_s(bundles: Bundles) -> None:
    for kind, option in (("pid", "pid_mode"), ("ipc", "ipc_mode"), ("uts", "uts_mode"), ("cgroup", "cgroupns_mode")):
        own = str(Path(f"/proc/self/ns/{kind}").readlink())
        if kind != "cgroup":
            assert namespace(bundles, kind) != own
        assert namespace(bundles, kind, **{option: "host"}) == own
    assert namespace(bundles, "cgroup", cgroupns_mode="private") != str(Path("/proc/self/ns/cgroup").readlink())
    assert namespace(bundles, "user") == str(Path("/proc/self/ns/user").readlink())


def test_joined_namespaces(bundles: Bundles) -> None:
    holder = subprocess.Popen(["unshare", "--fork", "--pid", "--ipc", "sleep", "30"])
    try:
        child = ""
        while not child:
            child = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().strip()
        outcome = bundles.run(
            "readlink /proc/self/ns/pid; readlink /proc/self/ns/ipc",
            None,
            HostConfig(pid_mode="container:x", ipc_mode="container:x"),
            pid_path=f"/proc/{child}/ns/pid",
            ipc_path=f"/proc/{child}/ns/ipc",
        )
        wanted = [str(Path(f"/proc/{child}/ns/{kind}").readlink()) for kind in ("pid", "ipc")]
        assert outcome.output.splitlines() == wanted
    finally:
        subprocess.run(["pkill", "-9", "-P", str(holder.pid)], check=False)
        holder.kill()
        holder.wait()


def test_network_namespace_and_its_sysctls(bundles: Bundles, netns: str) -> None:
    host_config = HostConfig(network_mode="bridge", sysctls={"net.ipv4.ip_forward": "1"})
    script = (
        "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range "
        "/proc/sys/net/ipv4/ip_forward; readlink /proc/self/ns/net"
    )
    outcome = bundles.run(script, None, host_config, netns_path=netns)
    found = outcome.output.split()
    assert found[:4] == ["0", "0", "2147483647", "1"]
    assert found[4] != str(Path("/proc/self/ns/net").readlink())


def test_ipc_sysctls(bundles: Bundles) -> None:
    assert lines(bundles, "cat /proc/sys/kernel/msgmax", sysctls={"kernel.msgmax": "12345"}) == ["12345"]


# Control groups


def group_files(bundles: Bundles, files: list[str], **host_options: Any) -> list[str]:
    names = " ".join(f"/sys/fs/cgroup/{name}" for name in files)
    return lines(bundles, f"cat {names}", **host_options)


@needs_v1
def test_memory_limits(bundles: Bundles) -> None:
    megabyte = 1 << 20
    files = ["limit_in_bytes", "memsw.limit_in_bytes", "soft_limit_in_bytes", "swappiness"]
    found = group_files(
        bundles,
        [f"memory/memory.{name}" for name in files],
        memory=64 * megabyte,
        memory_swap=96 * megabyte,
        memory_reservation=32 * megabyte,
        memory_swappiness=10,
    )
    assert found == [str(64 * megabyte), str(96 * megabyte), str(32 * megabyte), "10"]
    (unlimited,) = group_files(bundles, ["memory/memory.memsw.limit_in_bytes"], memory=64 * megabyte, memory_swap=-1)
    assert int(unlimited) > 1 << 60


@needs_v1
def test_cpu_limits(bundles: Bundles) -> None:
    files = ["cpu/cpu.shares", "cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us", "cpuset/cpuset.cpus"]
    assert group_files(bundles, files, cpu_shares=512, nano_cpus=500_000_000, cpuset_cpus="0") == [
        "512",
        "50000",
        "100000",
        "0",
    ]
    assert group_files(bundles, files[1:3], cpu_quota=20_000, cpu_period=50_000) == ["20000", "50000"]


@needs_v1
def test_pids_and_block_io_limits(bundles: Bundles) -> None:
    assert group_files(bundles, ["pids/pids.max"], pids_limit=77) == ["77"]
    assert group_files(bundles, ["pids/pids.max"]) == ["max"]
    disk = next(
        (f"/dev/{path.name}" for path in Path("/sys/block").iterdir() if Path(f"/dev/{path.name}").is_block_device()),
        "",
    )
    if not disk:
        pytest.skip("no block device")
    (found,) = group_files(
        bundles,
        ["blkio/blkio.throttle.read_bps_device"],
        blkio_device_read_bps=[ThrottleDevice(path=disk, rate=1 << 20)],
    )
    assert found.endswith(" 1048576")


@needs_v1
def test_oom_killer_can_be_switched_off(bundles: Bundles) -> None:
    found = group_files(bundles, ["memory/memory.oom_control"], oom_kill_disable=True, memory=64 << 20)
    assert "oom_kill_disable 1" in found


@needs_v2
def test_limits_of_control_groups_v2(bundles: Bundles) -> None:
    found = group_files(
        bundles,
        ["memory.max", "memory.swap.max", "memory.low", "cpu.max", "cpuset.cpus", "pids.max", "cpu.weight"],
        cgroupns_mode="private",
        memory=64 << 20,
        memory_swap=96 << 20,
        memory_reservation=32 << 20,
        nano_cpus=500_000_000,
        cpuset_cpus="0",
        pids_limit=77,
        cpu_shares=1024,
    )
    assert found[:6] == [str(64 << 20), str(32 << 20), str(32 << 20), "50000 100000", "0", "77"]
    assert 30 < int(found[6]) < 110
    assert group_files(
        bundles, ["memory.swap.max", "pids.max"], cgroupns_mode="private", memory=64 << 20, memory_swap=-1
    ) == ["max", "max"]


@needs_v2
def test_a_private_control_group_namespace_shows_its_own_group_as_root(bundles: Bundles) -> None:
    assert lines(bundles, "cat /proc/self/cgroup", cgroupns_mode="private") == ["0::/"]
    assert bundles.group in lines(bundles, "cat /proc/self/cgroup", cgroupns_mode="host")[0]


def test_control_groups_are_read_only_unless_privileged(bundles: Bundles) -> None:
    def options(**host_options: Any) -> set[str]:
        found = lines(bundles, "grep ' /sys/fs/cgroup' /proc/mounts", **host_options)
        return {word for line in found[1:] or found for word in line.split()[3].split(",")}

    assert "ro" in options()
    assert "ro" not in options(privileged=True)
    assert "ro" not in options(security_opt=["writable-cgroups=true"])


# Devices


def test_default_devices_and_no_others(bundles: Bundles) -> None:
    found = lines(bundles, "ls /dev; mknod /tmp/k b 7 0 && cat /tmp/k 2>&1 | head -1")
    assert {"null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "mqueue", "fd", "stdin"} <= set(
        found
    )
    assert "Operation not permitted" in found[-1]


def test_device_mapping_folder_and_rules(bundles: Bundles) -> None:
    mapping = DeviceMapping(path_on_host="/dev/loop-control", path_in_container="/dev/loops", cgroup_permissions="r")
    if not Path(mapping.path_on_host).exists():
        pytest.skip("no /dev/loop-control")
    script = "stat -c '%t:%T' /dev/loops; (: < /dev/loops) && echo read; (: > /dev/loops) 2>&1"
    found = bundles.run(script, None, HostConfig(devices=[mapping])).output.splitlines()
    assert found[:2] == ["a:ed", "read"]
    assert "Operation not permitted" in found[2]
    folder = DeviceMapping(path_on_host="/dev/net", path_in_container="/dev/nets", cgroup_permissions="rwm")
    assert lines(bundles, "ls /dev/nets; (: > /dev/nets/tun) && echo open", devices=[folder]) == ["tun", "open"]
    by_rule = "mknod /tmp/loops c 10 237; (: > /tmp/loops) && echo open"
    assert "open" in bundles.run(by_rule, None, HostConfig(device_cgroup_rules=["c 10:237 rwm"])).output
    assert "open" not in bundles.run(by_rule).output


def test_a_device_that_is_not_there(bundles: Bundles) -> None:
    mapping = DeviceMapping(path_on_host="/dev/absent", path_in_container="/dev/absent", cgroup_permissions="rwm")
    with pytest.raises(InvalidArgument) as raised:
        bundles.run("true", None, HostConfig(devices=[mapping]))
    assert raised.value.message == (
        'error gathering device information while adding custom device "/dev/absent": no such file or directory'
    )


# Mounts


def test_shared_memory(bundles: Bundles, tmp_path: Path) -> None:
    assert lines(bundles, "df -k /dev/shm | tail -1 | awk '{print $2}'", shm_size=32 << 20) == ["32768"]
    assert lines(bundles, "ls -d /dev/shm 2>/dev/null; grep -c /dev/shm /proc/mounts; true", ipc_mode="none")[-1] == "0"
    host_shm = Path("/dev/shm") / f"psd-{secrets.token_hex(4)}"
    host_shm.write_text("x")
    try:
        assert lines(bundles, f"cat {host_shm}; echo", ipc_mode="host") == ["x"]
    finally:
        host_shm.unlink()
    shared = tmp_path / "shm"
    shared.mkdir()
    outcome = bundles.run("touch /dev/shm/there", None, HostConfig(ipc_mode="shareable"), shm_path=shared)
    assert outcome.code == 0, outcome.output
    assert (shared / "there").exists()


def test_network_files(bundles: Bundles) -> None:
    for name in ("hosts", "hostname", "resolv.conf"):
        (bundles.files / name).write_text(f"{name}\n")
    assert lines(bundles, "cat /etc/hosts /etc/hostname /etc/resolv.conf") == ["hosts", "hostname", "resolv.conf"]
    outcome = bundles.run("echo x >> /etc/hosts", None, HostConfig(readonly_rootfs=True))
    assert "Read-only file system" in outcome.output


def test_binds_read_only_and_nested(bundles: Bundles, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "inner").mkdir(parents=True)
    (source / "file").write_text("content\n")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(source / "inner")], check=True)
    try:
        writable = MountRecord(type="bind", destination="/data/deep/rw", propagation="rprivate")
        read_only = MountRecord(type="bind", destination="/data", propagation="rprivate", read_write=False)
        above = tmp_path / "above"
        (above / "deep/rw").mkdir(parents=True)
        outcome = bundles.run(
            "cat /data/deep/rw/file; touch /data/x 2>&1; touch /data/deep/rw/y && echo ok",
            mounts=[Placed(writable, source), Placed(read_only, above)],
        )
        found = outcome.output.splitlines()
        assert found[0] == "content"
        assert "Read-only file system" in found[1]
        assert found[2] == "ok"
        recursive = MountRecord(type="bind", destination="/ro", propagation="rprivate", read_write=False)
        outcome = bundles.run("touch /ro/inner/x", mounts=[Placed(recursive, source)])
        assert "Read-only file system" in outcome.output
        top_only = MountRecord(
            type="bind", destination="/ro", propagation="rprivate", read_write=False, read_only_non_recursive=True
        )
        outcome = bundles.run("touch /ro/inner/x && echo ok", mounts=[Placed(top_only, source)])
        assert outcome.output == "ok\n"
        alone = MountRecord(type="bind", destination="/one", propagation="rprivate", non_recursive=True)
        outcome = bundles.run("ls /one/inner | wc -l", mounts=[Placed(alone, source)])
        assert outcome.output == "0\n"
    finally:
        subprocess.run(["umount", str(source / "inner")], check=True)


def test_a_file_over_a_file(bundles: Bundles, tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("me:x:0:0::/:/bin/sh\n")
    mount = MountRecord(type="bind", destination="/etc/passwd", propagation="rprivate")
    assert bundles.run("cat /etc/passwd", mounts=[Placed(mount, tmp_path / "passwd")]).output == "me:x:0:0::/:/bin/sh\n"


def test_slave_propagation_sees_new_mounts_of_the_host(bundles: Bundles, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(shared)], check=True)
    try:
        subprocess.run(["mount", "--make-shared", str(shared)], check=True)
        mount = MountRecord(type="bind", destination="/shared", propagation="rslave")
        outcome = bundles.run("grep ' /shared ' /proc/self/mountinfo", mounts=[Placed(mount, shared)])
        assert "master:" in outcome.output
        assert outcome.spec["linux"]["rootfsPropagation"] == "rslave"
    finally:
        subprocess.run(["umount", str(shared)], check=True)


def test_tmpfs_has_docker_s_options(bundles: Bundles) -> None:
    found = lines(
        bundles,
        "grep ' /scratch ' /proc/mounts; stat -c %a /scratch; grep ' /run ' /proc/mounts",
        tmpfs={"/scratch": "size=2m,mode=700,exec", "/run": ""},
    )
    options = found[0].split()[3].split(",")
    assert {"rw", "nosuid", "nodev", "size=2048k", "mode=700"} <= set(options)
    assert "noexec" not in options
    assert found[1] == "700"
    assert {"nosuid", "nodev", "noexec"} <= set(found[2].split()[3].split(","))


def test_console_size_goes_to_the_runtime(bundles: Bundles) -> None:
    record = bundles.record("true", ContainerConfig(tty=True), HostConfig(console_size=[40, 120]))
    assert record.host_config.console_size == [40, 120]


# Exec


def test_exec_process_has_its_own_user_and_privileges(bundles: Bundles) -> None:
    record = bundles.record("true", ContainerConfig(env=["A=1"], working_dir="/srv"), HostConfig())
    request = ExecCreateRequest(cmd=["env"], env=["A=2", "B=3"], tty=True, user="web", privileged=True)
    user = resolve_user(bundles.rootfs, "web")
    process = build_exec_process(ExecInputs(record, user, HOST), request)
    assert process["env"] == [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        f"HOSTNAME={record.config.hostname}",
        "TERM=xterm",
        "A=2",
        "B=3",
        "HOME=/srv",
    ]
    assert process["cwd"] == "/srv"
    assert "CAP_SYS_ADMIN" in process["capabilities"]["effective"]
    assert process["user"] == {"uid": 1001, "gid": 1002, "additionalGids": [1002, 1003]}


def test_defaults_of_the_engine(bundles: Bundles) -> None:
    defaults = SpecDefaults(no_new_privileges=True, ulimits=(Ulimit(name="nofile", soft=50, hard=60),), init=True)
    outcome = bundles.run(
        "grep ^NoNewPrivs /proc/self/status; ulimit -Hn; head -c 17 /proc/1/cmdline", None, HostConfig(), [], defaults
    )
    assert outcome.output.split() == ["NoNewPrivs:", "1", "60", "/sbin/docker-init"]


def test_host_facts_agree_with_this_host() -> None:
    facts: HostFacts = HOST
    assert facts.cpu_count >= 1
    assert facts.memory_bytes > 1 << 28
    assert facts.cgroups.memory_limit
    assert "CAP_CHOWN" in facts.capabilities
