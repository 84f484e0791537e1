"""Containers in user namespaces (``userns-remap``), through the stock command line."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import can_run_engines, leaks_of
from tests.engine_process import EngineProcess

FIRST = 231072


@pytest.fixture(scope="module")
def machine() -> Iterator[EngineProcess]:
    """An engine that remaps to the ranges of ``nobody``, which this host gets for the time of the test."""
    if not can_run_engines():
        pytest.skip("an engine needs root and conmon")
    group = "nogroup"
    changed = [(Path("/etc/subuid"), f"nobody:{FIRST}:65536\n"), (Path("/etc/subgid"), f"{group}:{FIRST}:65536\n")]
    added = [(path, line) for path, line in changed if line not in (path.read_text() if path.exists() else "")]
    for path, line in added:
        with path.open("a") as file:
            file.write(line)
    try:
        with tempfile.TemporaryDirectory(prefix="portside-test-") as name:
            Path(name).chmod(0o755)
            process = EngineProcess(Path(name), settings={"userns-remap": f"nobody:{group}"})
            try:
                process.start()
                process.load_busybox()
                yield process
                process.clean()
                leaks = leaks_of(process)
            finally:
                process.remove_leftovers()
            assert not leaks
    finally:
        for path, line in added:
            path.write_text(path.read_text().replace(line, ""))


def run(engine: EngineProcess, *words: str) -> str:
    return engine.docker("run", "--rm", *words).stdout


@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_root_inside_is_nobody_outside(machine: EngineProcess, runtime: str) -> None:
    shown = run(
        machine, "--runtime", runtime, "busybox", "sh", "-c", "id -u; cat /proc/self/uid_map; stat -c %u:%g /bin"
    )
    assert shown.split() == ["0", "0", str(FIRST), "65536", "0:0"]
    made = machine.docker("run", "-d", "--runtime", runtime, "busybox", "sleep", "1000").stdout.strip()
    pid = machine.api("GET", f"/containers/{made}/json")[1]["State"]["Pid"]
    assert Path(f"/proc/{pid}").stat().st_uid == FIRST
    assert machine.docker("exec", made, "id", "-u").stdout == "0\n"
    assert machine.docker("exec", "-u", "7:8", made, "id").stdout.startswith("uid=7 gid=8")
    assert str(FIRST) in machine.docker("top", made, "-o", "uid,pid").stdout
    machine.docker("stop", "-t", "0", made)
    machine.docker("rm", made)


def test_files_keep_the_ids_of_the_container_on_the_disk(machine: EngineProcess) -> None:
    made = machine.docker("run", "-d", "busybox", "sh", "-c", "echo x > /f; chown 5:6 /f; sleep 1000").stdout.strip()
    place = machine.data_root / f"containers/{made}/upper/f"
    deadline = time.monotonic() + 10
    while not place.exists() or not place.stat().st_uid:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    info = place.stat()
    assert (info.st_uid, info.st_gid) == (5, 6)
    machine.docker("commit", made, "committed")
    assert run(machine, "committed", "stat", "-c", "%u:%g", "/f") == "5:6\n"
    target = machine.folder / "copied"
    machine.docker("cp", f"{made}:/f", str(target))
    machine.docker("cp", str(target), f"{made}:/g")
    assert machine.docker("exec", made, "sh", "-c", "cat /g; stat -c %u /g").stdout == "x\n0\n"
    machine.docker("rm", "-f", made)


def test_volumes_are_the_containers_own(machine: EngineProcess) -> None:
    command = "touch /data/a && chown 9:9 /data/a && stat -c %u /data /data/a"
    assert run(machine, "-v", "kept:/data", "busybox", "sh", "-c", command).split() == ["0", "9"]
    assert run(machine, "-v", "kept:/data", "--userns=host", "busybox", "stat", "-c", "%u", "/data/a") == "9\n"
    assert (
        run(machine, "-v", "/data", "-w", "/made/here", "-u", "3", "busybox", "sh", "-c", "pwd").strip() == "/made/here"
    )
    machine.docker("volume", "rm", "kept")


def test_a_folder_of_the_host_stays_the_hosts(machine: EngineProcess) -> None:
    folder = machine.folder / "hosts"
    folder.mkdir(mode=0o755)
    (folder / "secret").write_text("x")
    (folder / "secret").chmod(0o600)
    done = machine.docker("run", "--rm", "-v", f"{folder}:/h", "busybox", "cat", "/h/secret", check=False)
    assert "Permission denied" in done.stderr
    done = machine.docker("run", "--rm", "-v", f"{folder}:/h", "busybox", "touch", "/h/new", check=False)
    assert "Permission denied" in done.stderr
    assert run(machine, "-v", f"{folder}:/h", "--userns", "host", "busybox", "cat", "/h/secret") == "x"


def test_network_names_and_own_rights(machine: EngineProcess) -> None:
    command = (
        "ip link set lo down && ip link set lo up && echo 1.2.3.4 me >> /etc/hosts && mount -t tmpfs x /tmp && echo ok"
    )
    assert run(machine, "--cap-add", "NET_ADMIN", "--cap-add", "SYS_ADMIN", "--security-opt", "apparmor=unconfined",
               "busybox", "sh", "-c", command) == "ok\n"  # fmt: skip
    done = machine.docker("run", "--rm", "--cap-add", "ALL", "busybox", "mknod", "/dev/x", "b", "8", "0", check=False)
    assert "not permitted" in done.stderr
    machine.docker("network", "create", "inside")
    made = machine.docker("run", "-d", "--name", "web", "--network", "inside", "busybox", "httpd", "-f", "-p", "80")
    page = machine.docker("run", "--rm", "--network", "inside", "busybox", "wget", "-qO-", "http://web/etc/hostname")
    assert page.stdout.strip() == made.stdout[:12]
    machine.docker("rm", "-f", "web")
    machine.docker("network", "rm", "inside")


def test_output_and_terminals_can_be_opened_again(machine: EngineProcess) -> None:
    assert run(machine, "busybox", "sh", "-c", "echo a > /dev/stdout; echo b > /proc/1/fd/1") == "a\nb\n"
    assert run(machine, "-t", "busybox", "sh", "-c", "echo a > /dev/tty; tty").split() == ["a", "/dev/pts/0"]


def test_joined_namespaces_share_their_owner(machine: EngineProcess) -> None:
    donor = machine.docker("run", "-d", "--ipc", "shareable", "busybox", "sleep", "1000").stdout.strip()
    mine = [f"--{kind}=container:{donor}" for kind in ("net", "ipc", "pid")]
    assert "sleep 1000" in run(machine, *mine, "busybox", "ps")
    assert (
        run(machine, mine[0], "--cap-add", "NET_ADMIN", "busybox", "sh", "-c", "ip link set lo up && echo ok") == "ok\n"
    )
    machine.docker("rm", "-f", donor)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--privileged"], "privileged mode is incompatible with user namespaces.  You must run the container in the"),
        (["--network", "host"], "cannot share the host's network namespace when user namespaces are enabled"),
        (["--pid", "host"], "cannot share the host PID namespace when user namespaces are enabled"),
    ],
)
def test_what_does_not_go_together(machine: EngineProcess, words: list[str], text: str) -> None:
    done = machine.docker("create", *words, "busybox", check=False)
    assert text.lower() in done.stderr.lower()
    assert machine.docker("create", *words, "--userns=host", "busybox", check=False).returncode == 0


def test_an_unknown_mode(machine: EngineProcess) -> None:
    status, answer = machine.api(
        "POST", "/containers/create", {"Image": "busybox", "HostConfig": {"UsernsMode": "mine"}}
    )
    assert (status, answer["message"]) == (400, "invalid userns mode: mine")


def test_in_the_host_s_namespace(machine: EngineProcess) -> None:
    command = "cat /proc/self/uid_map"
    assert run(machine, "--userns=host", "--privileged", "busybox", "sh", "-c", command).split() == [
        "0",
        "0",
        "4294967295",
    ]


def test_after_a_kill(machine: EngineProcess) -> None:
    made = machine.docker("run", "-d", "busybox", "sleep", "1000").stdout.strip()
    machine.kill()
    machine.start()
    assert machine.docker("exec", made, "id", "-u").stdout == "0\n"
    assert run(machine, "busybox", "id", "-u") == "0\n"
    machine.docker("rm", "-f", made)


def test_an_engine_without_it_takes_the_mount_away(machine: EngineProcess) -> None:
    settings = machine.folder / "daemon.json"
    before = settings.read_text()
    machine.kill()
    assert any(point.endswith("/idmapped") for point in machine.mounts())
    settings.write_text("{}")
    machine.start()
    assert not any(point.endswith("/idmapped") for point in machine.mounts())
    assert run(machine, "busybox", "cat", "/proc/self/uid_map").split()[1] == "0"
    machine.stop()
    settings.write_text(before)
    machine.start()


def test_what_info_tells(machine: EngineProcess) -> None:
    assert "name=userns" in machine.api("GET", "/info")[1]["SecurityOptions"]


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ("nosuchuser", 'Error during uid lookup for "nosuchuser"'),
        ("a:b:c", 'Invalid user/group specification in --userns-remap: "a:b:c"'),
        ("4294967290", "Uid 4294967290 has no entry in /etc/passwd"),
        ("nobody:nogroup5", 'Error during gid lookup for "nogroup5"'),
        ("nobody:daemon", "Can't create ID mappings: no sub"),
    ],
)
def test_bad_settings(asked: str, text: str, tmp_path: Path) -> None:
    if not can_run_engines():
        pytest.skip("an engine needs root and conmon")
    process = EngineProcess(tmp_path, settings={"userns-remap": asked})
    try:
        with pytest.raises(RuntimeError) as raised:
            process.start()
    finally:
        process.remove_leftovers()
    assert text in str(raised.value)
