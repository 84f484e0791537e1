"""Building with a real engine: what only BuildKit has, caches, failures, crashes, bad contexts."""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.engine_process import EngineProcess


class Wire(http.client.HTTPConnection):
    """A connection to the engine's socket."""

    def __init__(self, engine: EngineProcess) -> None:
        super().__init__("engine", timeout=120)
        self._path = str(engine.socket)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def context(
    text: str, files: Mapping[str, str | bytes] | None = None, extra: list[tarfile.TarInfo] | None = None
) -> bytes:
    """Return a context as a tar; ``extra`` are members without content."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as tar:
        for name, content in {"Dockerfile": text, **(files or {})}.items():
            data = content if isinstance(content, bytes) else content.encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for member in extra or []:
            tar.addfile(member)
    return target.getvalue()


def post(
    engine: EngineProcess, data: bytes, query: str = "", headers: dict[str, str] | None = None
) -> tuple[int, list[dict[str, Any]]]:
    """Build and return the status and the messages."""
    wire = Wire(engine)
    try:
        wire.request("POST", f"/build?{query}", data, {"Content-Type": "application/x-tar", **(headers or {})})
        answer = wire.getresponse()
        with answer:
            body = answer.read().decode()
    finally:
        wire.close()
    return answer.status, [json.loads(line) for line in body.splitlines() if line.strip()]


def built(engine: EngineProcess, text: str, files: dict[str, str | bytes] | None = None, query: str = "t=x") -> str:
    """Build what must work; return everything that was printed."""
    status, messages = post(engine, context(text, files), query)
    printed = "".join(message.get("stream", "") for message in messages)
    assert status == 200
    assert "Successfully built" in printed, messages[-3:]
    return printed


def error_of(messages: list[dict[str, Any]]) -> str:
    """Return the error in a build's output, or a status's message."""
    return str(messages[-1].get("error") or messages[-1].get("message") or "")


def run(engine: EngineProcess, *words: str) -> str:
    """Run a command in the image ``x`` and return what it prints."""
    return engine.docker("run", "--rm", "--network", "none", "x", *words).stdout


# What BuildKit has beside the classic builder


def test_run_mounts(engine: EngineProcess) -> None:
    """Bind, cache and tmpfs mounts are there while the step runs, and leave nothing in the layer."""
    text = (
        "FROM busybox AS tools\nRUN mkdir /t && echo tool > /t/f\nFROM busybox\n"
        "RUN --mount=type=bind,from=tools,source=/t,target=/tools --mount=type=bind,source=sub,target=/ctx "
        "--mount=type=tmpfs,target=/scratch/deep cat /tools/f /ctx/g > /got && touch /scratch/deep/x\n"
        "RUN --mount=type=bind,target=/rw,rw touch /rw/new && ls /rw > /listed\n"
    )
    built(engine, text, {"sub/g": "ctx\n"})
    assert run(engine, "cat", "/got") == "tool\nctx\n"
    assert "new" in run(engine, "cat", "/listed")
    assert not {"tools", "ctx", "scratch", "rw"} & set(run(engine, "ls", "/").split())


def test_cache_mounts_last_and_are_locked(engine: EngineProcess) -> None:
    """What a step leaves in a cache mount is there for the next build; a locked one is used by one step at a time."""
    text = "FROM busybox\nARG N\nRUN --mount=type=cache,id=count,target=/c echo $N >> /c/n && cat /c/n > /n\n"
    built(engine, text, query='t=x&buildargs={"N":"one"}')
    built(engine, text, query='t=x&buildargs={"N":"two"}')
    assert run(engine, "cat", "/n") == "one\ntwo\n"
    locked = (
        "FROM busybox\nARG N\nRUN --mount=type=cache,id=lock,sharing=locked,target=/c "
        "if [ -e /c/held ]; then exit 9; fi; touch /c/held; sleep 0.3; rm /c/held; echo $N\n"
    )
    with ThreadPoolExecutor(3) as pool:
        queries = [f'buildargs={{"N":"{number}"}}' for number in range(3)]
        answers = list(pool.map(lambda query: post(engine, context(locked), query), queries))
    assert all("errorDetail" not in messages[-1] for _, messages in answers)


def test_secrets_are_nowhere_afterwards(engine: EngineProcess) -> None:
    """A secret is read by its step, also as a variable, and is in no file, history, log or record."""
    secret = b"hunter2-" + os.urandom(8).hex().encode()
    header = {"tok": base64.b64encode(secret).decode()}
    text = (
        "FROM busybox\nRUN --mount=type=secret,id=tok,required wc -c < /run/secrets/tok > /size && "
        'cat /run/secrets/tok\nRUN --mount=type=secret,id=tok,env=TOKEN test -n "$TOKEN" && touch /had\n'
    )
    headers = {"X-Portside-Secrets": base64.urlsafe_b64encode(json.dumps(header).encode()).decode()}
    status, messages = post(engine, context(text), "t=x&nocache=1", headers)
    assert status == 200
    assert "errorDetail" not in messages[-1]
    assert run(engine, "cat", "/size").strip() == str(len(secret))
    found = subprocess.run(
        ["grep", "-rlaF", secret.decode(), str(engine.data_root), str(engine.exec_root), str(engine.log)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.stdout == ""
    assert "had" in run(engine, "ls", "/")
    _, messages = post(engine, context(text), "nocache=1")
    assert "secret tok: not found" in error_of(messages)


def test_heredocs_modes_and_excludes(engine: EngineProcess) -> None:
    """Scripts and files within the Dockerfile, ``--chmod``, ``--exclude``, ``--parents``."""
    text = (
        "FROM busybox\nARG WHO=world\nRUN <<EOF\necho a > /a\necho b > /b\nEOF\n"
        "RUN <<-X\n\t#!/bin/sh\n\techo script > /s\n\tX\n"
        "COPY <<ONE <<'TWO' /files/\nhello $WHO\nONE\nhello $WHO\nTWO\n"
        "COPY --chmod=750 f /f\nCOPY --chmod=u=rwx,go=rX d /d\nCOPY --exclude=*.md d /e\nCOPY --parents d/x/*.txt /p/\n"
    )
    built(engine, text, {"f": "f", "d/r.md": "r", "d/x/t.txt": "t"})
    assert run(engine, "cat", "/a", "/b", "/s") == "a\nb\nscript\n"
    assert run(engine, "cat", "/files/ONE", "/files/TWO") == "hello world\nhello $WHO\n"
    assert run(engine, "stat", "-c", "%a", "/f", "/d/r.md", "/d/x").split() == ["750", "755", "755"]
    assert run(engine, "find", "/e", "/p", "-type", "f").split() == ["/e/x/t.txt", "/p/d/x/t.txt"]


def test_onbuild_triggers(engine: EngineProcess) -> None:
    """Triggers of a base run before everything else, once."""
    built(engine, "FROM busybox\nONBUILD COPY f /f\nONBUILD RUN cat /f > /g\n", query="t=trigger")
    printed = built(engine, "FROM trigger\nRUN cat /g\n", {"f": "from-context\n"})
    assert "# Executing 2 build triggers" in printed
    assert "from-context" in printed
    status, found = engine.api("GET", "/images/x/json")
    assert status == 200
    assert not found["Config"].get("OnBuild")


def test_only_needed_stages_and_all_at_once(engine: EngineProcess) -> None:
    """A stage that nothing needs is not built; independent ones run side by side."""
    text = (
        "FROM busybox AS broken\nRUN false\n"
        "FROM busybox AS a\nRUN --mount=type=cache,id=meet,target=/m touch /m/a; "
        "for i in $(seq 100); do [ -e /m/b ] && break; sleep 0.1; done; [ -e /m/b ] && echo a > /a\n"
        "FROM busybox AS b\nRUN --mount=type=cache,id=meet,target=/m touch /m/b; "
        "for i in $(seq 100); do [ -e /m/a ] && break; sleep 0.1; done; [ -e /m/a ] && echo b > /b\n"
        "FROM busybox\nCOPY --from=a /a /\nCOPY --from=b /b /\n"
    )
    printed = built(engine, text, query="t=x&nocache=1")
    assert run(engine, "cat", "/a", "/b") == "a\nb\n"
    assert "broken" not in printed
    steps = [line for line in printed.splitlines() if line.startswith("Step ")]
    assert [int(line.split("/")[0].split()[1]) for line in steps] == list(range(1, 8))


def test_limits_of_steps(engine: EngineProcess) -> None:
    """Memory, shared memory, limits, hosts and the parent control group of the request are those of each step."""
    text = (
        "FROM busybox\nRUN ulimit -n > /nofile; df -k /dev/shm | tail -1 > /shm; grep added /etc/hosts > /hosts; "
        "cat /proc/self/cgroup > /group; cat /sys/fs/cgroup/memory/memory.limit_in_bytes "
        "/sys/fs/cgroup/memory.max 2> /dev/null > /memory; true\n"
    )
    parent = f"{engine.instance}-parent"
    query = "t=x&nocache=1&memory=67108864&memswap=67108864&shmsize=8388608&cpushares=512&extrahosts=added:10.9.8.7"
    query += f"&cgroupparent={parent}&ulimits=" + '[{"Name":"nofile","Soft":111,"Hard":222}]'
    try:
        built(engine, text, query=query)
    finally:
        for group in Path("/sys/fs/cgroup").glob(f"*/{parent}"):
            group.rmdir()
    assert run(engine, "cat", "/nofile").strip() == "111"
    assert run(engine, "cat", "/shm").split()[1] == "8192"
    assert run(engine, "cat", "/hosts").split() == ["10.9.8.7", "added"]
    assert parent in run(engine, "cat", "/group")
    assert run(engine, "cat", "/memory").strip() == "67108864"


# The cache


def test_times_do_not_count_and_content_does(engine: EngineProcess) -> None:
    """Another checkout's times change nothing; another content or mode does."""
    text = "FROM busybox\nCOPY f /f\nRUN cat /f > /g\n"

    def used(data: bytes, *, mtime: int, mode: int = 0o644) -> int:
        member = tarfile.TarInfo("f")
        member.size, member.mtime, member.mode = len(data), mtime, mode
        target = io.BytesIO(context(text))
        with tarfile.open(fileobj=target, mode="a") as tar:
            tar.addfile(member, io.BytesIO(data))
        _, messages = post(engine, target.getvalue(), "t=x")
        return sum(message.get("stream", "") == " ---> Using cache\n" for message in messages)

    assert used(b"times-1", mtime=1) == 0
    assert used(b"times-1", mtime=2) == 2
    assert used(b"times-2", mtime=2) == 0
    assert used(b"times-1", mtime=3) == 2
    assert used(b"times-1", mtime=3, mode=0o755) == 0


def test_a_label_above_does_not_rebuild_a_run(engine: EngineProcess) -> None:
    """What changes only the configuration makes no layer anew, and the same build gives the same image."""
    first = built(engine, "FROM busybox\nLABEL v=1\nRUN date > /when\n")
    changed = built(engine, "FROM busybox\nLABEL v=2\nRUN date > /when\n")
    again = built(engine, "FROM busybox\nLABEL v=1\nRUN date > /when\n")
    assert "Using cache" not in first
    assert changed.count("Using cache") == 1
    assert first.splitlines()[-2] == again.splitlines()[-2]


def test_the_same_step_at_once_is_made_once(engine: EngineProcess) -> None:
    """Two builds that want the same step share it."""
    text = "FROM busybox\nRUN sleep 1; head -c 16 /dev/urandom | md5sum > /random-once\n"
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: post(engine, context(text)), range(3)))
    images = {message["aux"]["ID"] for _, messages in answers for message in messages if "aux" in message}
    assert len(images) == 1


def test_cache_is_shown_and_pruned(own_engine: EngineProcess) -> None:
    """The cache keeps layers that no image has, until it is pruned; what images have stays with them."""
    engine = own_engine
    built(engine, "FROM busybox\nRUN head -c 100000 /dev/zero > /z\n")
    status, usage = engine.api("GET", "/system/df")
    assert status == 200
    assert sum(item["Size"] for item in usage["BuildCache"]) >= 100000
    engine.docker("rmi", "x")
    assert "Using cache" in built(engine, "FROM busybox\nRUN head -c 100000 /dev/zero > /z\n")
    engine.docker("rmi", "x")
    status, report = engine.api("POST", "/build/prune?all=1")
    assert status == 200
    assert report["SpaceReclaimed"] >= 100000
    assert "Using cache" not in built(engine, "FROM busybox\nRUN head -c 100000 /dev/zero > /z\n")
    status, _ = engine.api("POST", "/build/prune?keep-storage=x")
    assert status == 400
    engine.api("POST", "/build/prune?all=1")
    assert run(engine, "wc", "-c", "/z").startswith("100000")


def test_builds_can_be_reproduced(engine: EngineProcess) -> None:
    """With SOURCE_DATE_EPOCH two builds without cache give the same image, and leave what they share alone."""
    text = (
        "FROM busybox AS one\nRUN echo x > /x\nFROM busybox\nRUN mkdir -p /d/e && echo y > /d/y && ln -s y /d/l\n"
        "COPY --from=one /x /from-one\nCOPY f /f\nWORKDIR /w\nENV A=b\n"
    )
    query = 't=x&nocache=1&buildargs={"SOURCE_DATE_EPOCH":"1600000000"}'
    built(engine, text, {"f": "f"})
    first, second = (built(engine, text, {"f": "f"}, query).splitlines()[-2] for _ in range(2))
    assert first == second
    assert run(engine, "stat", "-c", "%Y", "/d", "/d/y", "/from-one", "/w").split() == ["1600000000"] * 4
    status, found = engine.api("GET", "/images/x/json")
    assert (status, found["Created"]) == (200, "2020-09-13T12:26:40Z")
    engine.docker("save", "-o", str(engine.folder / "saved.tar"), "x")  # every layer is still what its digest says


# Failures


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("FROM busybox\nRUN exit 7\n", "The command '/bin/sh -c exit 7' returned a non-zero code: 7"),
        ("FROM busybox\nCOPY --from=x0 /a /\n", "invalid from flag value x0: "),
        ("FROM busybox AS a\nCOPY --from=a /a /\n", "invalid from flag value a: refers to current build stage"),
        ("FROM busybox\nCOPY --from=0 /a /\n", "invalid from flag value 0: refers to current build stage"),
        ("FROM ${NOTHING}\nRUN x\n", "base name (${NOTHING}) should not be blank"),
        ("FROM busybox\nCOPY ../../etc/passwd /p\n", "stat ../../etc/passwd: file does not exist"),
        ("FROM busybox\nCOPY --chmod=9 Dockerfile /p\n", "invalid chmod parameter: '9'"),
        ("FROM busybox\nCOPY --chown=nobody9 Dockerfile /p\n", "can't find uid for user nobody9"),
        ("FROM busybox\nRUN --security=insecure true\n", "security.insecure is not allowed"),
        ('FROM busybox\nENV A="${B:?is needed}"\n', "B: is needed"),
        ("FROM busybox\nEXPOSE 99999\n", "invalid containerPort: 99999"),
        ("FROM busybox\nSTOPSIGNAL NOPE\n", "invalid signal: NOPE"),
        ("FROM busybox\nADD http://127.0.0.1:1/x /\n", 'Get "http://127.0.0.1:1/x"'),
        ("FROM busybox\nADD https://x.git /\n", "git repository is not supported"),
        ("FROM busybox\nRUN --mount=type=bind,source=/no,target=/m true\n", 'mount source "/no": not found'),
    ],
)
def test_steps_that_fail(engine: EngineProcess, text: str, reason: str) -> None:
    """The output ends with what was wrong, and nothing is tagged."""
    status, messages = post(engine, context(text), "t=never:made")
    assert status == 200
    assert reason in error_of(messages)
    assert engine.api("GET", "/images/never:made/json")[0] == 404


@pytest.mark.parametrize(
    ("query", "status", "reason"),
    [
        ("version=2", 501, "BuildKit's API is not supported"),
        ("version=3", 400, 'invalid version "3"'),
        ("squash=1", 400, "squash is only supported with experimental mode"),
        ("securityopt=x", 400, "security options are not supported on linux"),
        ("isolation=hyperv", 400, 'unsupported isolation: "hyperv"'),
        ("buildargs=x", 400, "error reading build args"),
        ("labels=[]", 400, "error reading labels"),
        ("cachefrom={}", 400, "error reading cache-from"),
        ("ulimits=1", 400, "error reading ulimit settings"),
        ("shmsize=x", 400, 'parsing "x": invalid syntax'),
        ("t=UPPER", 400, "must be lowercase"),
        ("t=a@sha256:" + "0" * 64, 500, "build tag cannot contain a digest"),
        ("platform=foobar", 400, "unknown operating system or architecture"),
        ("target=nothere", 400, 'target stage "nothere" could not be found'),
        ("dockerfile=nothere", 500, "Cannot locate specified Dockerfile: nothere"),
        ("dockerfile=../../etc/passwd", 500, "Cannot locate specified Dockerfile"),
        ("remote=nonsense", 500, "remoteURL (nonsense) could not be recognized as URL"),
        ("remote=client-session", 400, "experimental session"),
        ('outputs=[{"Type":"local"}]', 501, "output of type local is not supported"),
    ],
)
def test_requests_that_are_refused(engine: EngineProcess, query: str, status: int, reason: str) -> None:
    """What is wrong with a request is a status with moby's text."""
    found, messages = post(engine, context("FROM busybox\n"), query)
    assert (found, reason in error_of(messages)) == (status, True), messages


def test_contexts_that_are_damaged(engine: EngineProcess) -> None:
    """Garbage, an archive that stops, one that leads out: refused, and nothing is left."""
    whole = context("FROM busybox\nCOPY . /c\n", {"big": os.urandom(3 << 20)})
    outside = tarfile.TarInfo("../out")
    link = tarfile.TarInfo("d")
    link.type, link.linkname = tarfile.SYMTYPE, "/"
    through = tarfile.TarInfo("d/tmp/portside-escape")
    for data in (b"garbage" * 200, whole[: len(whole) // 2], b"", context("FROM busybox\n", extra=[outside])):
        status, messages = post(engine, data)
        assert status in (400, 500), messages
    status, messages = post(engine, context("FROM busybox\nCOPY . /c\n", extra=[link, through]))
    assert status == 200
    assert not Path("/tmp/portside-escape").exists()
    assert list((engine.data_root / "containers").iterdir()) == []


def test_links_out_of_the_context_stay_inside(engine: EngineProcess) -> None:
    """A link to the host's files means the context's own."""
    link = tarfile.TarInfo("leak")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
    climb = tarfile.TarInfo("climb")
    climb.type, climb.linkname = tarfile.SYMTYPE, "../../../../../../etc/hostname"
    for name in ("leak", "climb"):
        _, messages = post(engine, context(f"FROM busybox\nCOPY {name} /x\n", extra=[link, climb]))
        assert "file does not exist" in error_of(messages)
    built(engine, "FROM busybox\nRUN rm -rf /data; ln -s /etc /data; ln -s / /root-link\nCOPY f /data/escaped\n"
          "COPY f /root-link/also\n", {"f": "f"})  # fmt: skip
    assert run(engine, "cat", "/etc/escaped", "/also") == "ff"
    assert not Path("/etc/escaped").exists()
    assert not Path("/also").exists()


def test_strange_files(engine: EngineProcess) -> None:
    """Devices, pipes, deep folders and names that are not UTF-8 arrive as they are."""
    pipe = tarfile.TarInfo("s/pipe")
    pipe.type = tarfile.FIFOTYPE
    device = tarfile.TarInfo("s/null")
    device.type, device.devmajor, device.devminor, device.mode = tarfile.CHRTYPE, 1, 3, 0o666
    odd = tarfile.TarInfo("s/odd-\udcff\udcfe")
    deep = tarfile.TarInfo("s/" + "/".join(["d"] * 200) + "/f")
    status, messages = post(engine, context("FROM busybox\nCOPY s /s\n", extra=[pipe, device, odd, deep]), "t=x")
    assert status == 200, messages
    listed = run(engine, "sh", "-c", "stat -c %F /s/pipe /s/null; find /s -type f | wc -l")
    assert listed.splitlines() == ["fifo", "character special file", "2"]


def test_names_and_text_that_are_not_utf_8(engine: EngineProcess) -> None:
    """They are copied as they are, told apart, and break no output."""
    odd = [tarfile.TarInfo(name) for name in ("s/odd-\udcff\udc80", "s/odd-\udcff\udc81")]
    status, messages = post(engine, context("FROM busybox\nCOPY s/odd* /s/\n", extra=odd), "t=x&nocache=1")
    assert (status, "errorDetail" in messages[-1]) == (200, False), messages[-1]
    assert run(engine, "sh", "-c", "ls /s | wc -l").strip() == "2"
    member = tarfile.TarInfo("Dockerfile")
    data = b"FROM busybox\nRUN echo '\xff\xfe' > /x\nCOPY \xff\xfe /y\n"
    member.size = len(data)
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as tar:
        tar.addfile(member, io.BytesIO(data))
    status, messages = post(engine, target.getvalue())
    assert status == 200
    assert "file does not exist" in error_of(messages)


# Clients that leave, engines that die


def _start_build(engine: EngineProcess, text: str) -> tuple[Wire, http.client.HTTPResponse]:
    wire = Wire(engine)
    wire.request("POST", "/build?t=x&nocache=1", context(text), {"Content-Type": "application/x-tar"})
    return wire, wire.getresponse()


def _read_until(answer: http.client.HTTPResponse, word: bytes) -> None:
    seen = b""
    while word not in seen:
        block = answer.read1(4096)
        assert block, seen
        seen += block


def _wait(condition: Any, what: str, timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def test_a_client_that_leaves_ends_its_build(engine: EngineProcess) -> None:
    """The step's processes are killed, and nothing of it stays."""
    wire, answer = _start_build(engine, "FROM busybox\nRUN echo begun; sleep 1000\n")
    _read_until(answer, b"begun")
    assert wire.sock is not None
    answer.close()
    wire.close()
    _wait(lambda: not list((engine.data_root / "containers").iterdir()), "the build's folders stay")
    _wait(lambda: not [pid for pid in engine.processes() if _is_sleep(pid)], "the step goes on")
    status, records = engine.api("GET", "/builds/json")
    assert (status, records[0]["Status"]) == (200, "canceled")


def _is_sleep(pid: int) -> bool:
    try:
        return b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_build_can_be_cancelled_by_its_id(engine: EngineProcess) -> None:
    """``/build/cancel`` ends a build that named itself."""
    done: list[object] = []
    data = context("FROM busybox\nRUN echo begun; sleep 1000\n")

    def start() -> None:
        try:
            done.append(post(engine, data, "buildid=mine&nocache=1"))
        except (OSError, http.client.HTTPException) as error:
            done.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    _wait(lambda: any(_is_sleep(pid) for pid in engine.processes()), "the step does not begin")
    assert engine.api("POST", "/build/cancel?id=mine")[0] == 204
    thread.join(20)
    assert done
    assert engine.api("POST", "/build/cancel?id=mine")[0] == 404
    assert engine.api("POST", "/build/cancel")[0] == 400


@pytest.mark.parametrize("moment", ["context", "run", "copy"])
def test_kill_in_the_middle(own_engine: EngineProcess, moment: str) -> None:
    """After kill -9 at any moment the next engine has removed what was half built, and kept the cache."""
    engine = own_engine
    base = "FROM busybox\nRUN echo kept > /kept\n"
    built(engine, base)
    answer: http.client.HTTPResponse | None = None
    if moment == "context":
        wire = Wire(engine)
        wire.putrequest("POST", "/build")
        wire.putheader("Transfer-Encoding", "chunked")
        wire.endheaders()
        data = context(base, {"big": bytes(4 << 20)})[: 3 << 20]
        wire.send(b"%x\r\n" % len(data) + data + b"\r\n")
        _wait(lambda: any((engine.data_root / "containers").glob("build-*/context/files/*")), "nothing is unpacked")
    elif moment == "run":
        wire, answer = _start_build(engine, base + "RUN echo begun; sleep 1000\n")
        _read_until(answer, b"begun")
    else:
        big = {f"f{number}": os.urandom(100_000) for number in range(400)}
        wire = Wire(engine)
        wire.request("POST", "/build", context(base + "COPY --chown=1:1 . /c\n", big))
        _wait(lambda: any((engine.data_root / "containers").glob("build-*/layer-*/*")), "nothing is copied")
    engine.kill()
    if answer is not None:
        answer.close()
    wire.close()
    engine.start()
    _wait(lambda: not list((engine.data_root / "containers").iterdir()), "folders stay")
    _wait(lambda: not [pid for pid in engine.processes() if _is_sleep(pid)], "the step goes on")
    assert [point for point in engine.mounts() if point != str(engine.exec_root)] == []
    assert built(engine, base).count("Using cache") == 1
    known = {json.loads(row)["folder"] for row in _layer_rows(engine)}
    _wait(lambda: {entry.name for entry in (engine.data_root / "layers").iterdir()} <= known, "half a layer stays")


def _layer_rows(engine: EngineProcess) -> list[bytes]:
    import sqlite3

    with sqlite3.connect(f"file:{engine.data_root / 'engine.db'}?mode=ro", uri=True) as database:
        rows = database.execute("SELECT record FROM layers").fetchall()
    return [row[0] for row in rows]


def test_many_builds_at_once(engine: EngineProcess) -> None:
    """Twenty builds side by side all end well."""

    def one(number: int) -> list[dict[str, Any]]:
        return post(engine, context(f"FROM busybox\nRUN echo {number} > /n\nCOPY f /f\n", {"f": str(number)}))[1]

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(one, range(20)))
    assert all("Successfully built" in messages[-1]["stream"] for messages in answers)


def test_names_of_a_network_resolve_in_steps(engine: EngineProcess) -> None:
    """A step on a network of one's own finds containers by their names; with none there is no network at all."""
    engine.docker("network", "create", "built")
    engine.docker("run", "-d", "--name", "target", "--network", "built", "busybox", "sleep", "1000")
    try:
        text = "FROM busybox\nRUN ping -c1 -W5 target\nRUN --network=none ! ping -c1 -W1 target\n"
        built(engine, text, query="t=x&networkmode=built&nocache=1")
        _, messages = post(engine, context("FROM busybox\nRUN ping -c1 -W1 target\n"), "networkmode=none")
        assert messages[-1]["errorDetail"]["code"] == 1
        _, messages = post(engine, context("FROM busybox\nRUN true\n"), "networkmode=nothing&nocache=1")
        assert "network nothing not found" in error_of(messages)
    finally:
        engine.docker("rm", "-f", "target")
        engine.docker("network", "rm", "built")


def test_a_full_disk(tmp_path: Path) -> None:
    """Whatever has no room says so, leaves nothing, and the next build works."""
    folder = Path(tempfile.mkdtemp(prefix="portside-test-"))
    (folder / "data").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=30m", "none", str(folder / "data")], check=True)
    engine = EngineProcess(folder)
    try:
        engine.start()
        engine.load_busybox()
        status, messages = post(engine, context("FROM busybox\nCOPY . /c\n", {"big": os.urandom(40 << 20)}))
        assert (status, "No space left on device" in error_of(messages)) == (503, True)
        _, messages = post(engine, context("FROM busybox\nRUN head -c 50000000 /dev/urandom > /x\n"))
        assert "returned a non-zero code: 1" in error_of(messages)
        data = context("FROM busybox\nCOPY --chown=1:1 big /c\n", {"big": os.urandom(17 << 20)})
        _, messages = post(engine, data)
        assert "No space left on device" in error_of(messages)
        built(engine, "FROM busybox\nRUN echo fine > /x\n")
        assert list((engine.data_root / "containers").iterdir()) == []
        assert "Traceback" not in engine.log.read_text()
        engine.clean()
    finally:
        engine.remove_leftovers()
        subprocess.run(["umount", "-l", str(folder / "data")], check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)
