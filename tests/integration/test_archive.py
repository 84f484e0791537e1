"""Copying out of and into containers: what Docker's clients rely on, with running containers and others."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import stat
import subprocess
import tarfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
import zstandard

from tests.engine_process import EngineProcess
from tests.integration.archives_world import Answer, ask, entry, file, folder, link, tar

GO_FOLDER, GO_LINK, GO_PIPE, GO_SETUID = 1 << 31, 1 << 27, 1 << 25, 1 << 23


@pytest.fixture(scope="module", params=["running", "stopped"])
def box(request: pytest.FixtureRequest, engine: EngineProcess, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A container that runs, and one that never ran, each with a volume and read-only mounts."""
    name = f"box-{request.param}"
    host = tmp_path_factory.mktemp("bind")
    (host / "inside").write_text("bound")
    words = ["--name", name, "-v", f"{name}-data:/data", "-v", f"{name}-safe:/safe:ro", "-v", f"{host}:/host:ro"]
    engine.docker("create", *words, "busybox", "sleep", "1000")
    if request.param == "running":
        engine.docker("start", name)
    return name


def get(engine: EngineProcess, box: str, path: str) -> Answer:
    answer = ask(engine, "GET", box, path)
    assert answer.status == 200, answer.body
    return answer


def put(engine: EngineProcess, box: str, path: str, data: bytes, **query: str) -> None:
    answer = ask(engine, "PUT", box, path, data, None, **query)
    assert (answer.status, answer.body) == (200, b"")


def test_what_a_path_is(engine: EngineProcess, box: str) -> None:
    data = tar(
        folder("what", mtime=1_700_000_000),
        file("what/program", b"12345", mode=0o4755, mtime=1_700_000_001),
        link("what/link", "../data/../what/program"),
        link("what/broken", "/no/where"),
        (entry("what/pipe", tarfile.FIFOTYPE, mode=0o600), b""),
    )
    put(engine, box, "/", data)
    found = {name: ask(engine, "HEAD", box, f"/what/{name}").stat for name in ("program", "link", "broken", "pipe")}
    assert found["program"] == {
        "name": "program",
        "size": 5,
        "mode": GO_SETUID | 0o755,
        "mtime": "2023-11-14T22:13:21Z",
        "linkTarget": "",
    }
    assert found["link"]["mode"] & GO_LINK
    assert found["link"]["linkTarget"] == "/what/program"
    assert found["broken"]["linkTarget"] == "/no/where"
    assert found["pipe"]["mode"] == GO_PIPE | 0o600
    put(engine, box, "/what", tar(link("odd", b'/\xff\n"'.decode(errors="surrogateescape"))))
    assert ask(engine, "HEAD", box, "/what/odd").stat["linkTarget"] == '/\ufffd\n"'
    assert get(engine, box, "/what/odd").stat["linkTarget"] == '/\ufffd\n"'
    whole = ask(engine, "HEAD", box, "/what").stat
    assert (whole["name"], whole["mode"]) == ("what", GO_FOLDER | 0o755)
    assert ask(engine, "HEAD", box, "/").stat["name"] == "/"
    assert ask(engine, "HEAD", box, "what/.").stat["name"] == "."


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/tree", ["tree", "tree/a", "tree/b", "tree/b/c"]),
        ("/tree/", ["tree", "tree/a", "tree/b", "tree/b/c"]),
        ("tree", ["tree", "tree/a", "tree/b", "tree/b/c"]),
        ("/tree/.", [".", "./a", "./b", "./b/c"]),
        ("/tree/b/../a", ["a"]),
        ("/tree/b/c", ["c"]),
        ("/way", ["way"]),
        ("/way/", ["way", "way/a", "way/b", "way/b/c"]),
        ("/way/b/c", ["c"]),
    ],
)
def test_names_in_an_archive(engine: EngineProcess, box: str, path: str, names: list[str]) -> None:
    put(engine, box, "/", tar(folder("tree"), file("tree/a"), folder("tree/b"), file("tree/b/c"), link("way", "tree")))
    answer = get(engine, box, path)
    assert list(answer.members) == names
    assert answer.headers["content-type"] == "application/x-tar"


def test_all_of_a_container(engine: EngineProcess, box: str) -> None:
    names = set(get(engine, box, "/").members)
    assert {"/bin/busybox", "/data", "/host/inside", "/etc/hosts"} <= names
    # What the kernel shows is not the container's.
    assert {"/proc", "/dev"} <= names
    assert not [name for name in names if name.startswith(("/proc/", "/sys/"))]


def test_a_missing_path(engine: EngineProcess, box: str) -> None:
    answers = [ask(engine, "GET", box, "/no/file"), ask(engine, "PUT", box, "/no/file", tar())]
    assert [answer.status for answer in answers] == [404, 404]
    assert {answer.message for answer in answers} == {f"Could not find the file /no/file in container {box}"}
    assert ask(engine, "HEAD", box, "/no/file").status == 404
    assert ask(engine, "GET", "nobody", "/").message == "No such container: nobody"


def test_wrong_questions(engine: EngineProcess, box: str) -> None:
    answer = ask(engine, "GET", box, "")
    assert (answer.status, answer.message) == (400, "bad parameter: pathcannot be empty")
    answer = ask(engine, "GET", box, "/etc/passwd/")
    assert (answer.status, answer.message) == (500, "lstat /etc/passwd/: not a directory")
    answer = ask(engine, "PUT", box, "/etc/passwd", tar())
    assert (answer.status, answer.message) == (400, "extraction point is not a directory")
    assert ask(engine, "GET", box, "/\0").status == 400


def test_everything_of_a_file_is_kept(engine: EngineProcess, box: str) -> None:
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    ping, _ = file("kept/ping", mode=0o6751, uid=12, gid=70_000, mtime=1_600_000_000)
    ping.pax_headers = {"SCHILY.xattr.security.capability": capability.decode("latin-1")}
    members = [
        folder("kept", mode=0o1770, uid=5, gid=6, mtime=1_500_000_000),
        (ping, b"content"),
        link("kept/twin", "kept/ping", tarfile.LNKTYPE),
        link("kept/link", "/etc/passwd"),
        (entry("kept/null", tarfile.CHRTYPE, mode=0o666, devmajor=1, devminor=3), b""),
        (entry("kept/pipe", tarfile.FIFOTYPE, mode=0o640), b""),
    ]
    put(engine, box, "/", tar(*members))
    found = get(engine, box, "/kept").members
    assert list(found) == ["kept", "kept/link", "kept/null", "kept/ping", "kept/pipe", "kept/twin"]
    top = found["kept"]
    assert (top.mode, top.uid, top.gid, top.mtime) == (0o1770, 5, 6, 1_500_000_000)
    kept = found["kept/ping"]
    assert (kept.mode, kept.uid, kept.gid, kept.mtime) == (0o6751, 12, 70_000, 1_600_000_000)
    assert kept.pax_headers["SCHILY.xattr.security.capability"].encode("latin-1") == capability
    assert found["kept/twin"].islnk()
    assert found["kept/twin"].linkname == "kept/ping"
    assert found["kept/link"].linkname == "/etc/passwd"
    assert (found["kept/null"].devmajor, found["kept/null"].devminor) == (1, 3)
    assert found["kept/pipe"].isfifo()


def test_names_of_any_bytes_and_any_length(engine: EngineProcess, box: str) -> None:
    odd = b"names/\xff\xfe \n\xc3\xbc".decode(errors="surrogateescape")
    long = "names/" + "/".join(["f" * 200] * 5)
    put(engine, box, "/", tar(folder("names"), file(odd, b"odd"), file(long, b"long")))
    answer = get(engine, box, "/names")
    assert odd in answer.members
    assert long in answer.members


def test_volumes_and_binds_are_reached(engine: EngineProcess, box: str) -> None:
    put(engine, box, "/data", tar(file("in-volume", b"kept")))
    volume = engine.data_root / "volumes" / f"{box}-data/_data/in-volume"
    assert volume.read_bytes() == b"kept"
    assert get(engine, box, "/data/in-volume").content("in-volume") == b"kept"
    assert get(engine, box, "/host/inside").content("inside") == b"bound"


def test_read_only_mounts_are_kept(engine: EngineProcess, box: str) -> None:
    put(engine, box, "/", tar(link("to-safe", "/safe")))
    for path in ("/safe", "/safe/", "/host", "/to-safe"):
        answer = ask(engine, "PUT", box, path, tar(file("new")))
        assert (answer.status, answer.message) == (400, "mounted volume is marked read-only"), path
    # By a way round: the kernel refuses it.
    answer = ask(engine, "PUT", box, "/", tar(file("to-safe/new")))
    assert answer.status == 500
    assert "read-only file system" in answer.message
    assert not (engine.data_root / "volumes" / f"{box}-safe/_data/new").exists()


@pytest.mark.parametrize("runs", [True, False])
def test_a_read_only_container(engine: EngineProcess, runs: bool) -> None:
    name = f"sealed-{runs}"
    words = ["--read-only", "--tmpfs", "/scratch", "-v", "/open", "busybox", "sleep", "1000"]
    engine.docker("create", "--name", name, *words)
    if runs:
        engine.docker("start", name)
    answer = ask(engine, "PUT", name, "/etc", tar(file("new")))
    assert (answer.status, answer.message) == (400, "container rootfs is marked read-only")
    put(engine, name, "/open", tar(file("new")))
    assert get(engine, name, "/open/new").content("new") == b"x"
    if runs:
        put(engine, name, "/scratch", tar(file("new")))
        assert engine.docker("exec", name, "cat", "/scratch/new").stdout == "x"
    engine.docker("rm", "-f", "-v", name)


def test_a_tmpfs_of_a_running_container(engine: EngineProcess) -> None:
    words = ["--tmpfs", "/one", "--mount", "type=tmpfs,dst=/two"]
    engine.docker("run", "-d", "--name", "memory", *words, "busybox", "sh", "-c", "echo x > /one/own; sleep 1000")
    put(engine, "memory", "/two", tar(file("given", b"y")))
    assert get(engine, "memory", "/one/own").content("own") == b"x\n"
    assert engine.docker("exec", "memory", "cat", "/two/given").stdout == "y"
    engine.docker("rm", "-f", "memory")


def test_owners(engine: EngineProcess, box: str) -> None:
    engine.docker("create", "--name", "owned", "--user", "1000:5", "busybox", "true")
    engine.docker("create", "--name", "unknown", "--user", "who", "busybox", "true")
    data = tar(folder("mine", uid=7, gid=8), file("mine/file", uid=9, gid=10))
    put(engine, "owned", "/", data)
    found = get(engine, "owned", "/mine").members
    assert [(member.uid, member.gid) for member in found.values()] == [(7, 8), (9, 10)]
    put(engine, "owned", "/", data, copyUIDGID="1")
    found = get(engine, "owned", "/mine").members
    assert {(member.uid, member.gid) for member in found.values()} == {(1000, 5)}
    put(engine, box, "/", data, copyUIDGID="true")  # without a user the archive's stay
    assert get(engine, box, "/mine/file").members["file"].uid == 9
    answer = ask(engine, "PUT", "unknown", "/", data, copyUIDGID="1")
    assert answer.status == 400
    assert answer.message == 'failed to look up user "who" in container: no matching entries in passwd file'
    engine.docker("rm", "owned", "unknown")


def test_folders_and_others_in_each_others_place(engine: EngineProcess, box: str) -> None:
    put(engine, box, "/", tar(folder("place"), folder("place/kind"), file("place/kind/inner"), file("place/plain")))
    answer = ask(engine, "PUT", box, "/place", tar(file("kind")), noOverwriteDirNonDir="1")
    assert answer.status == 500
    assert answer.message == 'cannot overwrite directory "/place/kind" with non-directory "/place"'
    answer = ask(engine, "PUT", box, "/place", tar(folder("plain")), noOverwriteDirNonDir="true")
    assert answer.message == 'cannot overwrite non-directory "/place/plain" with directory "/place"'
    put(engine, box, "/place", tar(folder("kind", mode=0o700)), noOverwriteDirNonDir="1")
    assert "place/kind/inner" in get(engine, box, "/place").members
    put(engine, box, "/place", tar(file("kind", b"now a file"), folder("plain")))
    found = get(engine, box, "/place").members
    assert found["place/kind"].isreg()
    assert found["place/plain"].isdir()


def test_a_link_in_the_way_of_a_file_is_replaced(engine: EngineProcess, box: str) -> None:
    put(engine, box, "/", tar(file("precious", b"old"), link("pointer", "/precious")))
    put(engine, box, "/", tar(file("pointer", b"new")))
    assert get(engine, box, "/precious").content("precious") == b"old"
    assert get(engine, box, "/pointer").content("pointer") == b"new"


def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, _zstd])
def test_compressed_archives(engine: EngineProcess, box: str, pack: type) -> None:
    content = os.urandom(300_000) + b"z" * 300_000
    data = pack(tar(folder("packed"), file("packed/file", content)))
    put(engine, box, "/", data)
    assert get(engine, box, "/packed/file").content("file") == content
    answer = ask(engine, "PUT", box, "/", data[: len(data) // 2])
    assert (answer.status, answer.message) == (500, "unexpected EOF")


@pytest.mark.parametrize(("accepted", "sent"), [("gzip, deflate", "gzip"), ("deflate", "deflate"), ("br", None)])
def test_answers_are_compressed_for_who_wants_it(
    engine: EngineProcess, box: str, accepted: str, sent: str | None
) -> None:
    put(engine, box, "/", tar(file("plain", b"a" * 500_000)))
    answer = ask(engine, "GET", box, "/plain", headers={"Accept-Encoding": accepted})
    assert answer.headers.get("content-encoding") == sent
    body = answer.body
    if sent:
        assert len(body) < 100_000
        body = zlib.decompress(body, 31 if sent == "gzip" else -15)
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        assert archive.getmember("plain").size == 500_000


def test_a_sparse_file(engine: EngineProcess, box: str, tmp_path: Path) -> None:
    source = tmp_path / "holes"
    with source.open("wb") as output:
        output.seek(20_000_000)
        output.write(b"end")
    packed = tmp_path / "holes.tar"
    subprocess.run(["tar", "-C", tmp_path, "-S", "--format=pax", "-cf", packed, "holes"], check=True)
    put(engine, box, "/data", packed.read_bytes())
    kept = engine.data_root / "volumes" / f"{box}-data/_data/holes"
    assert kept.stat().st_size == 20_000_003
    assert kept.stat().st_blocks * 512 < 1_000_000
    assert get(engine, box, "/data/holes").content("holes") == source.read_bytes()


def test_a_socket_is_left_out(engine: EngineProcess) -> None:
    engine.docker(
        "run", "-d", "--name", "listening", "busybox", "sh", "-c", "mkdir /run; syslogd -S -O /dev/null -n & sleep 1000"
    )
    engine.docker("exec", "listening", "mknod", "/run/pipe", "p")
    found = get(engine, "listening", "/run").members
    assert list(found) == ["run", "run/pipe"]
    engine.docker("rm", "-f", "listening")


def test_events(engine: EngineProcess, box: str) -> None:
    put(engine, box, "/", tar(file("told")))
    get(engine, box, "/told")
    ask(engine, "HEAD", box, "/told")
    ask(engine, "GET", box, "/missing")
    filters = urlencode({"since": "0", "until": f"{time.time():.9f}", "filters": json.dumps({"container": [box]})})
    _, text = engine.api("GET", f"/events?{filters}")
    told = [json.loads(line) for line in str(text).splitlines()]
    assert [event["Action"] for event in told][-2:] == ["extract-to-dir", "archive-path"]
    assert told[-1]["Actor"]["Attributes"] == {"image": "busybox", "name": box}


def test_docker_cp(engine: EngineProcess, box: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "inner").mkdir(parents=True)
    (source / "inner/file").write_text("hello")
    (source / "link").symlink_to("inner/file")
    engine.docker("cp", str(source), f"{box}:/copied")
    engine.docker("cp", f"{source}/.", f"{box}:/copied")
    engine.docker("cp", f"{box}:/copied", str(tmp_path / "back"))
    assert (tmp_path / "back/inner/file").read_text() == "hello"
    assert os.readlink(tmp_path / "back/link") == "inner/file"  # noqa: PTH115 - the text of the link
    engine.docker("cp", "-L", f"{box}:/copied/link", str(tmp_path / "followed"))
    assert (tmp_path / "followed").read_text() == "hello"
    refused = engine.docker("cp", f"{box}:/copied", str(tmp_path / "followed"), check=False)
    assert refused.returncode == 1
    assert stat.S_ISREG((tmp_path / "followed").stat().st_mode)


@pytest.fixture(autouse=True)
def _no_mount_is_left(engine: EngineProcess) -> Iterator[None]:
    before = set(engine.mounts())
    yield
    left = {point for point in set(engine.mounts()) - before if not point.endswith("/merged")}
    assert not left
