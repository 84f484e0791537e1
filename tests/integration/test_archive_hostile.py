"""Copies against archives, containers and clients that mean harm or break off: nothing leads out, nothing stays."""

from __future__ import annotations

import http.client
import json
import os
import tarfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.engine_process import EngineProcess
from tests.integration.archives_world import ask, connection, entry, file, folder, link, tar, target

BIG = 64 * 1024 * 1024
HARDLINK = tarfile.LNKTYPE


@pytest.fixture
def box(engine: EngineProcess) -> Iterator[str]:
    engine.docker("run", "-d", "--name", "victim", "busybox", "sleep", "1000")
    yield "victim"
    engine.docker("rm", "-f", "-v", "victim")


def copiers() -> list[int]:
    """Return the processes that copy."""
    found = []
    for item in Path("/proc").iterdir():
        if item.name.isdigit():
            try:
                command = (item / "cmdline").read_bytes()
            except OSError:
                continue
            if b"engine.containers.copying" in command:
                found.append(int(item.name))
    return found


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ([file("../out")], '"../out" is outside of "/tmp"'),
        ([file("a/../../out")], '"../out" is outside of "/tmp"'),
        ([folder("..")], '".." is outside of "/tmp"'),
        ([link("up", "../../etc")], 'invalid symlink "/tmp/up" -> "../../etc"'),
        ([link("hard", "../etc/passwd", HARDLINK)], 'invalid hardlink "/etc/passwd" -> "../etc/passwd"'),
        ([(entry("odd", b"Q"), b"")], "unhandled tar header type"),
    ],
)
def test_members_that_lead_out(engine: EngineProcess, box: str, members: list[object], text: str) -> None:
    answer = ask(engine, "PUT", box, "/tmp", tar(*members))  # type: ignore[arg-type]
    assert answer.status == 500
    assert text in answer.message


def test_nothing_is_above_the_root(engine: EngineProcess, box: str) -> None:
    members = [file("../../at-root", b"z"), link("../hard", "../../at-root", HARDLINK)]
    assert ask(engine, "PUT", box, "/", tar(*members)).status == 200
    assert ask(engine, "GET", box, "/hard").content("hard") == b"z"


def test_links_stay_beneath_the_root(engine: EngineProcess, box: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    up = "../" * 40
    planted = [link("abs", str(outside)), link("up", f"{up}{outside}"), link("self", "/proc/self/root")]
    assert ask(engine, "PUT", box, "/", tar(*planted)).status == 200
    for name in ("abs", "up", "self"):
        answer = ask(engine, "GET", box, f"/{name}/")
        assert answer.status == 404, name
        assert ask(engine, "PUT", box, f"/{name}", tar(file("new"))).status == 404
        ask(engine, "PUT", box, "/", tar(file(f"{name}/sub/new")))
    assert not list(outside.iterdir())
    # What they mean is a path of the container.
    assert ask(engine, "PUT", box, "/", tar(folder("etc"), link("inside", "/etc"), file("inside/new"))).status == 200
    assert ask(engine, "HEAD", box, "/etc/new").status == 200
    assert not Path("/etc/new").exists()


def test_the_hosts_proc_in_a_container_leads_nowhere(engine: EngineProcess, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    engine.docker("create", "--name", "viewer", "--pid", "host", "-v", "/proc:/host/proc", "busybox", "sleep", "1000")
    for _ in range(2):
        magic = f"/host/proc/{os.getpid()}/root{secret}"
        assert ask(engine, "GET", "viewer", magic).status in (404, 500)
        assert ask(engine, "PUT", "viewer", str(Path(magic).parent), tar(file("new"))).status in (404, 500)
        engine.docker("start", "viewer")
    assert ask(engine, "GET", "viewer", f"/proc/1/root{secret}").status == 404
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret"]
    engine.docker("rm", "-f", "viewer")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"garbage" * 500, "archive/tar: invalid tar header"),
        (tar(file("whole", b"y" * 5000))[:3000], "unexpected EOF"),
        (tar(file("whole", b"y" * 5000))[:300], "unexpected EOF"),
        (b"\x1f\x8b\x08\x00broken", ""),
        (b"\x28\xb5\x2f\xfdbroken-zstd", ""),
    ],
)
def test_broken_archives(engine: EngineProcess, box: str, data: bytes, text: str) -> None:
    answer = ask(engine, "PUT", box, "/tmp", data)
    assert answer.status == 500
    assert text in answer.message
    assert ask(engine, "HEAD", box, "/tmp/whole").status == 404


def test_a_name_of_8_gib(engine: EngineProcess, box: str) -> None:
    head = entry("x", tarfile.GNUTYPE_LONGNAME, size=8 << 30).tobuf(tarfile.GNU_FORMAT)
    answer = ask(engine, "PUT", box, "/tmp", head + b"n" * 1_000_000)
    assert answer.status == 500
    assert "header" in answer.message


def test_an_empty_archive_is_none(engine: EngineProcess, box: str) -> None:
    assert ask(engine, "PUT", box, "/tmp", b"").status == 200
    assert ask(engine, "PUT", box, "/tmp", tar()).status == 200


def test_a_refusal_reaches_a_client_that_still_sends(engine: EngineProcess, tmp_path: Path) -> None:
    engine.docker("create", "--name", "locked", "--read-only", "busybox", "true")
    (tmp_path / "big").write_bytes(bytes(BIG))
    refusals = {"/etc": "container rootfs is marked read-only", "/no/where": "Could not find the file"}
    for target_path, text in refusals.items():
        refused = engine.docker("cp", str(tmp_path / "big"), f"locked:{target_path}/big", check=False)
        assert refused.returncode == 1
        assert text in refused.stderr
    engine.docker("rm", "locked")


def test_a_full_disk(engine: EngineProcess) -> None:
    engine.docker("run", "-d", "--name", "small", "--tmpfs", "/full:size=1m", "busybox", "sleep", "1000")
    answer = ask(engine, "PUT", "small", "/full", tar(file("fits"), file("too-big", b"z" * 4_000_000)))
    assert answer.status == 500
    assert "no space left on device" in answer.message
    assert engine.docker("exec", "small", "ls", "/full").stdout == "fits\n"
    engine.docker("rm", "-f", "small")


def test_a_folder_that_becomes_a_link_under_the_copy(engine: EngineProcess, tmp_path: Path) -> None:
    """While a process in the container swaps a folder and a link to the host's files, none of these is reached."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "file").write_text("secret")
    script = (
        f"mkdir /a /b; echo own > /a/file; ln -s {secret} /l; ln -s /proc/1/root{secret} /m; "
        "while true; do mv /a /c; mv /l /a; mv /a /l; mv /m /a; mv /a /m; mv /c /a; done"
    )
    engine.docker("run", "-d", "--name", "juggler", "--pid", "host", "busybox", "sh", "-c", script)
    for number in range(25):
        answer = ask(engine, "GET", "juggler", "/a/file")
        assert b"secret" not in answer.body
        assert ask(engine, "PUT", "juggler", "/a", tar(file(f"new-{number}"))).status in (200, 400, 404, 500)
        whole = ask(engine, "GET", "juggler", "/a/")
        assert b"secret" not in whole.body
    assert sorted(path.name for path in secret.iterdir()) == ["file"]
    engine.docker("rm", "-f", "juggler")


def _fill(engine: EngineProcess, box: str) -> None:
    assert ask(engine, "PUT", box, "/", tar(file("big", bytes(BIG)))).status == 200


def test_a_client_that_goes_away_while_it_reads(engine: EngineProcess, box: str) -> None:
    _fill(engine, box)
    with connection(engine) as client:
        client.request("GET", target(box, "/big"))
        client.getresponse().read(1000)
        wait_until(lambda: bool(copiers()))
    wait_until(lambda: not copiers())


@pytest.mark.parametrize("runs", [True, False])
def test_a_client_that_goes_away_while_it_writes(engine: EngineProcess, box: str, runs: bool) -> None:
    if not runs:
        engine.docker("stop", "-t", "0", box)
    _begin_upload(engine, box).close()
    wait_until(lambda: not copiers())
    assert ask(engine, "HEAD", box, "/begun").status == 404
    engine.docker("start", box)


def _begin_upload(engine: EngineProcess, box: str) -> http.client.HTTPConnection:
    """Send the beginning of an archive; return the connection when the copy has begun to write it."""
    with connection(engine) as found:
        client = found
        client.connect()
        kept = client.sock
        client.putrequest("PUT", target(box, "/"))
        client.putheader("Content-Length", str(BIG))
        client.endheaders(tar(file("begun", bytes(2_000_000)))[:1_000_000])
        client.sock = None  # kept open: leaving the context must not close it
    client.sock = kept
    wait_until(lambda: bool(copiers()))
    return client


def test_a_start_waits_for_what_is_copied_in(engine: EngineProcess) -> None:
    engine.docker("create", "--name", "late", "busybox", "sleep", "1000")
    client = _begin_upload(engine, "late")
    with ThreadPoolExecutor(1) as pool:
        started = pool.submit(engine.api, "POST", "/containers/late/start")
        assert ask(engine, "HEAD", "late", "/bin").status == 200  # looking is never held up
        assert not started.done()
        client.close()
        assert started.result(30)[0] == 204
    engine.docker("rm", "-f", "late")


def test_a_removal_in_the_middle_of_a_copy(engine: EngineProcess) -> None:
    engine.docker("create", "--name", "going", "busybox", "true")
    _fill(engine, "going")
    with connection(engine) as client, ThreadPoolExecutor(1) as pool:
        client.request("GET", target("going", "/big"))
        response = client.getresponse()
        head = response.read(1_000_000)
        removed = pool.submit(engine.api, "DELETE", "/containers/going")
        assert len(head) + len(response.read()) > BIG  # what was begun comes whole
        assert removed.result(30)[0] == 204
    wait_until(lambda: not copiers())


def test_volumes_are_given_back_by_every_copy(engine: EngineProcess) -> None:
    """Also when the client goes as soon as it has the last byte, while the engine still cleans up."""
    words = ["-o", "type=tmpfs", "-o", "device=tmpfs"]
    engine.docker("volume", "create", *words, "given")
    engine.docker("create", "--name", "borrower", "-v", "given:/given", "-v", "plain:/plain", "busybox", "true")
    before = set(engine.mounts())
    for _ in range(10):
        with connection(engine) as client:
            client.request("GET", target("borrower", "/bin/busybox"))
            response = client.getresponse()
            response.read(int(response.getheader("Content-Length", "10000000")))
    wait_until(lambda: not copiers())
    wait_until(lambda: set(engine.mounts()) == before)
    wait_until(lambda: _told(engine, "given").count("unmount") == 10)
    assert _told(engine, "given").count("mount") == 10
    engine.docker("rm", "borrower")
    engine.docker("volume", "rm", "given", "plain")


def _told(engine: EngineProcess, volume: str) -> list[str]:
    filters = urlencode({"since": "0", "until": f"{time.time():.9f}", "filters": json.dumps({"volume": [volume]})})
    _, text = engine.api("GET", f"/events?{filters}")
    lines = [text] if isinstance(text, dict) else [json.loads(line) for line in str(text).splitlines()]
    return [str(event["Action"]) for event in lines]


def test_nothing_is_left_after_kill_9(own_engine: EngineProcess) -> None:
    own_engine.docker("create", "--name", "still", "-v", "data:/data", "busybox", "sleep", "1000")
    before = set(own_engine.mounts())
    client = _begin_upload(own_engine, "still")
    own_engine.kill()
    client.close()
    wait_until(lambda: not copiers())
    assert set(own_engine.mounts()) == before
    own_engine.start()
    assert set(own_engine.mounts()) == before
    own_engine.docker("start", "still")
    own_engine.docker("rm", "-f", "still")
    own_engine.docker("volume", "rm", "data")
