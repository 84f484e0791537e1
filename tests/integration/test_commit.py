"""Images made of containers, what containers changed, and their exports: the stock docker command line drives."""

from __future__ import annotations

import io
import json
import os
import tarfile
import threading
import time
from pathlib import Path

import pytest

from tests.engine_process import EngineProcess

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="an engine needs root")

CHANGES = (
    "echo x > /new; rm /bin/cat; chmod 700 /tmp; mkdir -p /a/b; echo 1 > /a/b/c; touch /etc/passwd; "
    "rm -rf /var; mkdir /var; ln -s x /lnk; rm -rf /root; echo > /root; mkfifo /pipe; ln /new /linked"
)


def names_of(archive: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return {item.name: item for item in opened}


def config_of(engine: EngineProcess, name: str) -> dict[str, object]:
    found = json.loads(engine.docker("image", "inspect", name).stdout)[0]
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def changed(engine: EngineProcess) -> str:
    """A container that has changed its file system in every way and ended."""
    engine.docker("volume", "create", "data")
    mounts = ("-v", "data:/data", "-v", f"{engine.folder}:/bnd/x", "--tmpfs", "/tf")
    engine.docker("run", "--name", "changed", "--network", "none", *mounts, "busybox", "sh", "-c", CHANGES)
    return "changed"


def test_diff_says_what_docker_says(engine: EngineProcess, changed: str) -> None:
    lines = engine.docker("diff", changed).stdout.splitlines()
    wanted = {
        *("A /a", "A /a/b", "A /a/b/c", "A /bnd", "A /bnd/x", "A /data", "A /lnk", "A /new", "A /tf", "A /pipe"),
        *("A /linked", "C /bin", "C /etc", "C /etc/passwd", "C /root", "C /tmp", "D /bin/cat"),
    }
    assert set(lines) == wanted
    assert len(lines) == len(wanted)
    status, found = engine.api("GET", f"/containers/{changed}/changes")
    assert status == 200
    assert {"Path": "/bin/cat", "Kind": 2} in found
    assert {"Path": "/a/b/c", "Kind": 1} in found
    assert {"Path": "/etc/passwd", "Kind": 0} in found


def test_a_container_without_changes(engine: EngineProcess) -> None:
    engine.docker("create", "--name", "untouched", "busybox", "true")
    assert engine.api("GET", "/containers/untouched/changes") == (200, None)
    engine.docker("commit", "untouched", "untouched:1")
    found = config_of(engine, "untouched:1")
    before = config_of(engine, "busybox")
    assert found["RootFS"] == before["RootFS"]
    assert engine.docker("history", "--format", "{{.Size}}", "untouched:1").stdout.splitlines()[0] == "0B"
    engine.docker("rm", "untouched")
    engine.docker("rmi", "untouched:1")


def test_a_folder_that_is_made_anew_hides_what_was_in_it(engine: EngineProcess) -> None:
    engine.docker(
        "run", "--name", "anew", "busybox", "sh", "-c", "rm -rf /etc/passwd /root /tmp; mkdir /tmp; echo 1 > /tmp/f"
    )
    assert set(engine.docker("diff", "anew").stdout.split("\n")) >= {"C /etc", "D /etc/passwd", "D /root", "A /tmp/f"}
    engine.docker("commit", "anew", "anew")
    shown = engine.docker("run", "--rm", "anew", "sh", "-c", "ls /etc; ls -d /root /tmp/*", check=False).stdout
    assert "passwd" not in shown
    assert "/root" not in shown
    assert "/tmp/f" in shown
    # in a layer above, what is hidden stays hidden and is no change
    engine.docker("run", "--name", "again", "anew", "sh", "-c", "echo 1 > /etc/passwd")
    assert engine.docker("diff", "again").stdout.splitlines() == ["C /etc", "A /etc/passwd"]
    engine.docker("rm", "anew", "again")
    engine.docker("rmi", "anew")


def test_a_commit_keeps_what_was_written(engine: EngineProcess, changed: str) -> None:
    done = engine.docker(
        "commit", "-a", "me <me@x>", "-m", "hello there", "-c", "ENV A=b", "-c", 'CMD ["cat"]', changed, "made:1"
    )
    found = config_of(engine, "made:1")
    assert found["Id"] == done.stdout.strip()
    assert (found["Author"], found["Comment"]) == ("me <me@x>", "hello there")
    assert found["Parent"] == config_of(engine, "busybox")["Id"]
    config = found["Config"]
    assert isinstance(config, dict)
    assert config["Env"] == ["A=b"]
    assert config["Cmd"] == ["cat"]
    history = json.loads(
        engine.docker("history", "--no-trunc", "--format", "{{json .}}", "made:1").stdout.splitlines()[0]
    )
    assert history["CreatedBy"] == f"sh -c {CHANGES}"
    assert history["Comment"] == "hello there"
    shown = engine.docker(
        "run",
        "--rm",
        "made:1",
        "sh",
        "-c",
        "busybox cat /a/b/c; [ -p /pipe ] && stat -c %h /new; ls /bin/cat",
        check=False,
    )
    assert shown.stdout == "1\n2\n"
    assert "/bin/cat: No such file" in shown.stderr
    with pytest.raises(AssertionError, match=r"in use|must be forced|is using its referenced"):
        engine.docker("rmi", "busybox")
    engine.docker("rmi", "made:1")


def test_a_committed_image_can_be_saved_and_loaded(engine: EngineProcess, changed: str) -> None:
    engine.docker("commit", changed, "made:2")
    image_id = config_of(engine, "made:2")["Id"]
    archive = engine.folder / "made.tar"
    engine.docker("save", "-o", str(archive), "made:2")
    engine.docker("rmi", "made:2")
    engine.docker("load", "-i", str(archive))
    assert config_of(engine, "made:2")["Id"] == image_id
    assert engine.docker("run", "--rm", "made:2", "sh", "-c", "stat -c %h /linked").stdout == "2\n"
    engine.docker("rmi", "made:2")


def test_a_running_container_is_paused_and_goes_on(own_engine: EngineProcess) -> None:
    engine = own_engine
    engine.docker("run", "-d", "--name", "busy", "busybox", "sh", "-c", "while :; do date > /now; done")
    since = time.time() - 1
    engine.docker("commit", "busy", "busy:1")
    engine.docker("commit", "--pause=false", "busy", "busy:2")
    assert engine.docker("inspect", "-f", "{{.State.Status}}", "busy").stdout.strip() == "running"
    shown = engine.docker(
        "events",
        "--since",
        str(since),
        "--until",
        str(time.time()),
        "--format",
        "{{.Type}} {{.Action}} {{json .Actor.Attributes}}",
    )
    events = [
        line for line in shown.stdout.splitlines() if "create" not in line.split()[1] or "image" in line.split()[0]
    ]
    actions = [" ".join(line.split()[:2]) for line in events]
    tail = actions[actions.index("container pause") :]
    assert tail == [
        *("container pause", "image create", "image tag", "container unpause", "container commit"),
        *("image create", "image tag", "container commit"),
    ]
    attributes = json.loads(events[-1].split(" ", 2)[2])
    assert attributes["imageRef"] == "busy:2"
    assert attributes["comment"] == ""
    assert attributes["imageID"] == config_of(engine, "busy:2")["Id"]
    engine.docker("rm", "-f", "busy")


def test_a_paused_container_stays_paused(engine: EngineProcess) -> None:
    engine.docker("run", "-d", "--name", "still", "busybox", "sleep", "100")
    engine.docker("pause", "still")
    engine.docker("commit", "still", "still:1")
    assert engine.docker("inspect", "-f", "{{.State.Status}}", "still").stdout.strip() == "paused"
    engine.docker("rm", "-f", "still")
    engine.docker("rmi", "still:1")


@pytest.mark.parametrize(
    ("query", "body", "status", "message"),
    [
        ("container=absent", None, 404, "No such container: absent"),
        (
            "container=changed&repo=UPPER",
            None,
            400,
            "invalid reference format: repository name (library/UPPER) must be lowercase",
        ),
        ("container=changed&repo=a&tag=b%20c", None, 400, "invalid tag format"),
        (f"container=changed&repo=a@sha256:{'0' * 64}", None, 400, "cannot import digest reference"),
        ("container=changed&changes=RUN%20true", None, 400, "RUN is not a valid change command"),
        ("container=changed&changes=STOPSIGNAL%20NONE", None, 400, "invalid signal: NONE"),
        ("container=changed&changes=EXPOSE%20a", None, 400, "invalid containerPort: a"),
        ("container=changed&changes=ENV%20A", None, 400, "ENV must have two arguments"),
        ("container=changed", {"Cmd": 5}, 400, ""),
        ("container=changed", [], 400, ""),
    ],
)
def test_a_commit_that_cannot_be(
    engine: EngineProcess, changed: str, query: str, body: object, status: int, message: str
) -> None:
    before = engine.docker("images", "-aq").stdout
    found = engine.api("POST", f"/commit?{query}", body)
    assert found[0] == status, found
    assert message in found[1]["message"]
    assert engine.docker("images", "-aq").stdout == before


def test_the_body_s_configuration_comes_before_the_container_s(engine: EngineProcess, changed: str) -> None:
    body = {"Cmd": ["given"], "Labels": {"a": "b"}, "ExposedPorts": {"80/tcp": {}}}
    status, answer = engine.api(
        "POST", f"/commit?container={changed}&repo=given&changes=LABEL%20c=d&changes=WORKDIR%20x", body
    )
    assert status == 201
    config = config_of(engine, "given")["Config"]
    assert isinstance(config, dict)
    assert config["Cmd"] == ["given"]
    assert config["Labels"] == {"a": "b", "c": "d"}
    assert config["WorkingDir"] == "/x"
    assert config["ExposedPorts"] == {"80/tcp": {}}
    assert answer["Id"] == config_of(engine, "given")["Id"]
    engine.docker("rmi", "given")


def test_export_has_the_whole_file_system_and_nothing_mounted(engine: EngineProcess, changed: str) -> None:
    target = engine.folder / "export.tar"
    engine.docker("export", "-o", str(target), changed)
    found = names_of(target.read_bytes())
    assert {"bin/busybox", "a/b/c", "new", "pipe", "lnk", ".dockerenv", "data", "bnd/x", "dev/console"} <= set(found)
    assert not {"bin/cat", "bnd/x/engine.log"} & set(found)
    assert not any(name.rpartition("/")[2].startswith(".wh.") for name in found)
    assert found["linked"].isfile() != found["new"].isfile()  # one is the other's link
    target.unlink()


def test_export_of_a_running_container(engine: EngineProcess) -> None:
    script = "echo run > /ran; mount; while :; do echo $$ > /tmp/a; rm /tmp/a; done"
    engine.docker("run", "-d", "--name", "busy", "--network", "none", "busybox", "sh", "-c", script)
    for _ in range(3):
        done = engine.docker("export", "-o", str(engine.folder / "export.tar"), "busy")
        assert done.returncode == 0
        found = names_of((engine.folder / "export.tar").read_bytes())
        assert "ran" in found
        assert not [name for name in found if name.startswith("proc/")]
    engine.docker("rm", "-f", "busy")


def test_a_container_that_is_removed_meanwhile_makes_no_image(own_engine: EngineProcess) -> None:
    engine = own_engine
    script = "i=0; while [ $i -lt 4000 ]; do echo $i > /tmp/f$i; i=$((i+1)); done"
    for _ in range(3):
        engine.docker("run", "--name", "going", "--network", "none", "busybox", "sh", "-c", script)
        answers: list[tuple[int, object]] = []

        def make(answers: list[tuple[int, object]] = answers) -> None:
            answers.append(engine.api("POST", "/commit?container=going&repo=going"))

        commit = threading.Thread(target=make)
        commit.start()
        engine.docker("rm", "-f", "going")
        commit.join()
        status, answer = answers[0]
        if status == 201:
            shown = engine.docker("run", "--rm", "going", "sh", "-c", "ls /tmp | wc -l").stdout
            assert shown.strip() == "4000"
            engine.docker("rmi", "going")
        else:
            assert status in (404, 409), answer
            assert engine.docker("images", "-q", "going").stdout == ""


def test_nothing_is_left_of_a_commit_that_was_killed(own_engine: EngineProcess) -> None:
    engine = own_engine
    engine.docker(
        "run",
        "--name",
        "big",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        "head -c 300000000 /dev/zero | tr '\\0' x > /big",
    )
    layers = engine.data_root / "layers"
    for _ in range(3):
        before = sorted(layers.iterdir())
        commit = threading.Thread(target=lambda: _quietly(engine))
        commit.start()
        deadline = time.monotonic() + 20
        while sorted(layers.iterdir()) == before and time.monotonic() < deadline:
            time.sleep(0.001)
        engine.kill()
        commit.join()
        engine.start()
        _wait_until(lambda before=before: sorted(layers.iterdir()) == before)
        assert engine.docker("images", "-q", "big").stdout == ""
    engine.docker("commit", "big", "big")
    assert engine.docker("run", "--rm", "--network", "none", "big", "stat", "-c", "%s", "/big").stdout == "300000000\n"


def _quietly(engine: EngineProcess) -> None:
    try:
        engine.api("POST", "/commit?container=big&repo=big")
    except (OSError, IndexError, ValueError):
        return


def _wait_until(condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_mount_points_of_files_are_not_in_an_image(engine: EngineProcess, changed: str) -> None:
    """What stands in for /etc/hosts and its like lies in a layer of the engine's own."""
    engine.docker("commit", changed, "made:3")
    engine.docker("save", "-o", str(engine.folder / "made.tar"), "made:3")
    with tarfile.open(engine.folder / "made.tar") as archive:
        file = archive.extractfile("manifest.json")
        assert file is not None
        top = json.load(file)[0]["Layers"][-1]
        blob = archive.extractfile(top)
        assert blob is not None
        with tarfile.open(fileobj=blob) as layer:
            names = set(layer.getnames())
    assert not {"etc/hosts", "etc/resolv.conf", "etc/hostname", "dev/console", ".dockerenv", "proc", "sys"} & names
    assert {"etc/passwd", "bin/.wh.cat", "data", "tf"} <= names
    engine.docker("rmi", "made:3")
    Path(engine.folder / "made.tar").unlink()
