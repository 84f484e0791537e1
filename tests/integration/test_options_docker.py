"""Options of create and volumes through the stock docker command line and a real engine."""

from __future__ import annotations

import io
import json
import os
import secrets
import tarfile
from pathlib import Path

import pytest

from tests.engine_process import EngineProcess
from tests.fakes.images import busybox_rootfs_tar


def run(engine: EngineProcess, *words: str) -> str:
    return engine.docker("run", "--rm", *words).stdout


def refused(engine: EngineProcess, *words: str) -> str:
    done = engine.docker("create", *words, check=False)
    assert done.returncode == 1, done.stdout
    return done.stderr.splitlines()[0].removeprefix("Error response from daemon: ")


@pytest.fixture
def content(engine: EngineProcess) -> str:
    """An image with /data/inner/file, owned by 12:34, and a volume there."""
    name = f"content-{secrets.token_hex(4)}"
    archive = io.BytesIO(busybox_rootfs_tar())
    with tarfile.open(fileobj=archive, mode="a") as tar:
        for path, data in (("data", None), ("data/inner", None), ("data/inner/file", b"image\n")):
            member = tarfile.TarInfo(path)
            member.uid, member.gid = 12, 34
            member.mode = 0o750
            if data is None:
                member.type = tarfile.DIRTYPE
                tar.addfile(member)
            else:
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    changes = ["-c", 'CMD ["sh"]', "-c", "VOLUME /data"]
    engine.docker("import", *changes, "-", name, stdin=archive.getvalue())
    return name


# Volumes


def test_a_new_volume_has_the_image_s_content_at_once(engine: EngineProcess, content: str) -> None:
    name = secrets.token_hex(4)
    engine.docker("create", "--name", name, "-v", f"{name}:/data", content)
    folder = Path(json.loads(engine.docker("volume", "inspect", name).stdout)[0]["Mountpoint"])
    assert (folder / "inner/file").read_text() == "image\n"
    assert (folder.stat().st_uid, folder.stat().st_gid, folder.stat().st_mode & 0o777) == (12, 34, 0o750)
    assert run(engine, "-v", f"{name}:/x", "busybox", "cat", "/x/inner/file") == "image\n"
    assert run(engine, "--volumes-from", name, "busybox", "cat", "/data/inner/file") == "image\n"
    assert "volume is in use" in engine.docker("volume", "rm", name, check=False).stderr
    engine.docker("rm", name)
    engine.docker("volume", "rm", name)
    assert not folder.exists()


def test_nocopy_leaves_a_volume_empty(engine: EngineProcess, content: str) -> None:
    name = secrets.token_hex(4)
    assert run(engine, "-v", f"{name}:/data:nocopy", content, "ls", "/data") == ""
    engine.docker("volume", "rm", name)


def test_anonymous_volumes_go_with_rm_and_stay_without(engine: EngineProcess, content: str) -> None:
    before = set(engine.docker("volume", "ls", "-q").stdout.split())
    assert run(engine, content, "cat", "/data/inner/file") == "image\n"
    assert set(engine.docker("volume", "ls", "-q").stdout.split()) == before
    name = secrets.token_hex(4)
    engine.docker("run", "--name", name, content, "touch", "/data/mine")
    (made,) = set(engine.docker("volume", "ls", "-q").stdout.split()) - before
    shown = json.loads(engine.docker("inspect", name).stdout)[0]["Mounts"]
    assert [(point["Type"], point["Name"], point["Destination"], point["RW"]) for point in shown] == [
        ("volume", made, "/data", True)
    ]
    engine.docker("rm", name)
    assert made in engine.docker("volume", "ls", "-q", "-f", "dangling=true").stdout
    engine.docker("volume", "prune", "-f")
    assert set(engine.docker("volume", "ls", "-q").stdout.split()) == before


def test_a_failed_create_leaves_no_volume(engine: EngineProcess) -> None:
    before = engine.docker("volume", "ls", "-q").stdout
    engine.docker("create", "--name", "taken", "busybox")
    assert "already in use" in refused(engine, "--name", "taken", "-v", "/anonymous", "busybox")
    assert "Duplicate mount point: /x" in refused(engine, "-v", "/a", "-v", "ab:/x", "-v", "/tmp:/x", "busybox")
    engine.docker("rm", "taken")
    assert engine.docker("volume", "ls", "-q").stdout == before


def test_a_part_of_a_volume(engine: EngineProcess) -> None:
    name = secrets.token_hex(4)
    run(engine, "-v", f"{name}:/v", "busybox", "sh", "-c", "mkdir /v/part; echo x > /v/part/file; ln -s / /v/out")
    mount = f"type=volume,src={name},dst=/p,volume-subpath="
    assert run(engine, "--mount", mount + "part", "busybox", "cat", "/p/file") == "x\n"
    assert run(engine, "--mount", mount + "part/file", "busybox", "cat", "/p") == "x\n"
    gone = engine.docker("run", "--rm", "--mount", mount + "missing", "busybox", check=False)
    assert "cannot access path" in gone.stderr
    assert run(engine, "--mount", mount + "out", "busybox", "ls", "/p").split() == ["out", "part"]
    engine.docker("volume", "rm", name)


def test_a_tmpfs_volume_lives_as_long_as_it_is_used(engine: EngineProcess) -> None:
    name = secrets.token_hex(4)
    engine.docker("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m", name)
    holder = f"holder-{name}"
    engine.docker("run", "-d", "--name", holder, "-v", f"{name}:/v", "busybox", "sleep", "60")
    run(engine, "-v", f"{name}:/v", "busybox", "sh", "-c", "echo x > /v/file")
    assert engine.docker("exec", holder, "cat", "/v/file").stdout == "x\n"
    assert "tmpfs" in engine.docker("exec", holder, "grep", " /v ", "/proc/mounts").stdout
    engine.docker("rm", "-f", holder)
    assert run(engine, "-v", f"{name}:/v", "busybox", "ls", "/v") == ""
    engine.docker("volume", "rm", name)


def test_binds(engine: EngineProcess, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    run(engine, "-v", f"{tmp_path}/made/here:/x", "busybox", "touch", "/x/file")
    assert (tmp_path / "made/here/file").exists()
    read_only = engine.docker("run", "--rm", "-v", f"{tmp_path}:/x:ro", "busybox", "touch", "/x/y", check=False)
    assert "Read-only file system" in read_only.stderr
    assert refused(engine, "--mount", f"type=bind,src={tmp_path}/not,dst=/x", "busybox") == (
        f'invalid mount config for type "bind": bind source path does not exist: {tmp_path}/not'
    )
    assert "destination can't be '/'" in refused(engine, "-v", f"{tmp_path}:/", "busybox")
    (tmp_path / "file").write_text("x\n")
    assert run(engine, "-v", f"{tmp_path}/file:/etc/motd", "busybox", "cat", "/etc/motd") == "x\n"


def test_tmpfs(engine: EngineProcess) -> None:
    options = run(engine, "--tmpfs", "/t:size=1m,mode=700", "busybox", "grep", " /t ", "/proc/mounts").split()[3]
    assert {"nosuid", "nodev", "noexec", "size=1024k", "mode=700"} <= set(options.split(","))
    mount = "type=tmpfs,dst=/t,tmpfs-size=2m,tmpfs-mode=1770"
    options = run(engine, "--mount", mount, "busybox", "grep", " /t ", "/proc/mounts").split()[3]
    assert {"size=2048k", "mode=1770"} <= set(options.split(","))


# The process and its privileges


def test_user_environment_and_working_directory(engine: EngineProcess) -> None:
    script = "id -u; id -g; pwd; echo $A; echo $HOME"
    done = run(engine, "-u", "nobody:34", "-w", "/made/now", "-e", "A=1", "busybox", "sh", "-c", script)
    assert done.split()[:4] == ["65534", "34", "/made/now", "1"]
    unknown = engine.docker("run", "--rm", "-u", "nosuch", "busybox", check=False)
    assert unknown.returncode in (125, 126)
    assert "unable to find user nosuch: no matching entries in passwd file" in unknown.stderr
    assert engine.docker("ps", "-aq").stdout == ""


def test_seccomp_and_capabilities(engine: EngineProcess) -> None:
    for _ in range(2):  # the second time with the filter that was kept
        status = run(engine, "busybox", "cat", "/proc/self/status")
        assert "Seccomp:\t2" in status
        assert "CapEff:\t00000000a80425fb" in status
        denied = engine.docker("run", "--rm", "busybox", "unshare", "-U", "true", check=False)
        assert "Operation not permitted" in denied.stderr
    assert "Seccomp:\t0" in run(engine, "--security-opt", "seccomp=unconfined", "busybox", "cat", "/proc/self/status")
    may_mount = ["--cap-add", "SYS_ADMIN", "--security-opt", "apparmor=unconfined"]
    script = "mkdir /m; mount -t tmpfs x /m && echo ok"
    assert run(engine, *may_mount, "busybox", "sh", "-c", script) == "ok\n"
    assert run(engine, "--privileged", "busybox", "sh", "-c", "mkdir /m && mount -t tmpfs x /m && echo ok") == "ok\n"
    assert "NoNewPrivs:\t1" in run(engine, "--security-opt", "no-new-privileges", "busybox", "cat", "/proc/self/status")


def test_exec_has_the_container_s_confinement(engine: EngineProcess) -> None:
    engine.docker(
        "run",
        "-d",
        "--name",
        "confined",
        "--oom-score-adj",
        "77",
        "--ulimit",
        "nofile=100:200",
        "busybox",
        "sleep",
        "60",
    )
    status = engine.docker("exec", "confined", "cat", "/proc/self/status").stdout
    assert "Seccomp:\t2" in status
    assert "CapEff:\t00000000a80425fb" in status
    denied = engine.docker("exec", "confined", "unshare", "-U", "true", check=False)
    assert "Operation not permitted" in denied.stderr
    assert engine.docker("exec", "confined", "sh", "-c", "ulimit -Hn").stdout == "200\n"
    privileged = engine.docker("exec", "--privileged", "confined", "grep", "CapEff", "/proc/self/status").stdout
    assert int(privileged.split()[1], 16) & (1 << 21)
    assert engine.docker("exec", "confined", "env").stdout.splitlines()[0].startswith("PATH=")
    engine.docker("rm", "-f", "confined")


def test_limits(engine: EngineProcess) -> None:
    script = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max || cat /sys/fs/cgroup/*.max"
    words = ["-m", "64m", "--pids-limit", "50", "--cpus", "0.5", "--cpuset-cpus", "0", "busybox", "sh", "-c", script]
    found = run(engine, *words).split()
    assert "67108864" in found
    assert "50" in found
    assert refused(engine, "-m", "1m", "busybox") == "Minimum memory limit allowed is 6MB"
    count = len(os.sched_getaffinity(0))
    assert refused(engine, "--cpus", "500", "busybox") == (
        f"range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available"
    )
    assert "Requested CPUs are not available" in refused(engine, "--cpuset-cpus", "900", "busybox")


def test_shared_namespaces(engine: EngineProcess) -> None:
    engine.docker("run", "-d", "--name", "sharer", "--ipc", "shareable", "busybox", "sleep", "60")
    engine.docker("exec", "sharer", "sh", "-c", "echo x > /dev/shm/file")
    joined = run(engine, "--ipc", "container:sharer", "--pid", "container:sharer", "busybox", "sh", "-c",
                 "cat /dev/shm/file; ps | grep -c 'sleep 60'")  # fmt: skip
    assert joined.split()[0] == "x"
    assert int(joined.split()[1]) >= 1
    engine.docker("rm", "-f", "sharer")
    own = str(Path("/proc/self/ns/pid").readlink())
    assert run(engine, "--pid", "host", "busybox", "readlink", "/proc/self/ns/pid") == f"{own}\n"


def test_init_sysctl_hostname_and_read_only(engine: EngineProcess) -> None:
    assert run(engine, "--init", "busybox", "cat", "/proc/1/cmdline").startswith("/sbin/docker-init\0--\0cat")
    assert run(engine, "--sysctl", "kernel.msgmax=12345", "busybox", "cat", "/proc/sys/kernel/msgmax") == "12345\n"
    assert run(engine, "-h", "box", "--domainname", "example.test", "busybox", "hostname") == "box\n"
    denied = engine.docker("run", "--rm", "--read-only", "busybox", "touch", "/x", check=False)
    assert "Read-only file system" in denied.stderr
    assert run(engine, "--read-only", "--tmpfs", "/run", "busybox", "sh", "-c", "touch /run/x && echo ok") == "ok\n"


def test_devices(engine: EngineProcess) -> None:
    if not Path("/dev/loop-control").exists():
        pytest.skip("no /dev/loop-control")
    words = ["--device", "/dev/loop-control:/dev/loops:r", "busybox", "sh", "-c", "(: < /dev/loops) && echo read"]
    assert run(engine, *words) == "read\n"
    missing = engine.docker("run", "--rm", "--device", "/dev/nosuch", "busybox", check=False)
    assert 'error gathering device information while adding custom device "/dev/nosuch"' in missing.stderr
    assert engine.docker("ps", "-aq").stdout == ""


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            ["--storage-opt", "size=1G"],
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
        ),
        (["--log-driver", "gelf"], "logger: no log driver named 'gelf' is registered"),
        (["--runtime", "kata"], "unknown or invalid runtime name: kata"),
        (["--cap-add", "fly"], 'invalid CapAdd: unknown capability: "CAP_FLY"'),
        (["--ipc", "public"], "invalid IPC mode: public"),
        (["-w", "relative"], "the working directory 'relative' is invalid, it needs to be an absolute path"),
        (["--restart", "always", "--rm"], ""),
        (["--stop-signal", "NOPE"], "invalid signal: NOPE"),
        (["--isolation", "hyperv"], "invalid isolation (hyperv): linux only supports 'default'"),
        (["--name", "a"], "Invalid container name (a), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"),
    ],
)
def test_refusals_name_the_option(engine: EngineProcess, words: list[str], text: str) -> None:
    done = engine.docker("create", *words, "busybox", check=False)
    assert done.returncode in (1, 125)
    assert text in done.stderr


@pytest.mark.parametrize("place", ["/etc/passwd", "/run/secrets/password", "/new"])
def test_a_single_file_is_mounted_read_only(engine: EngineProcess, tmp_path: Path, place: str) -> None:
    file = tmp_path / "file"
    file.write_text("from the host\n")
    for mount in (["-v", f"{file}:{place}:ro"], ["--mount", f"type=bind,src={file},dst={place},readonly"]):
        assert run(engine, *mount, "busybox", "cat", place) == "from the host\n"
        refused_write = engine.docker("run", "--rm", *mount, "busybox", "sh", "-c", f"echo x > {place}", check=False)
        assert "Read-only file system" in refused_write.stderr
    assert file.read_text() == "from the host\n"
