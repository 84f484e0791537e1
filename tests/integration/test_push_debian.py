"""The engine and Debian's docker-registry, driven by the stock docker command line: push, pull, login, tokens."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.debian_registry import PASSWORD, USER, DebianRegistry, TokenServer
from tests.engine_process import EngineProcess

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("docker-registry") is None, reason="needs root and docker-registry"
)

CREDENTIALS = {"username": USER, "password": PASSWORD}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DebianRegistry]:
    with DebianRegistry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture(scope="module")
def tokens() -> Iterator[TokenServer]:
    with TokenServer() as server:
        yield server


def encoded(credentials: object, *, is_standard: bool = False, is_padded: bool = True) -> str:
    data = json.dumps(credentials).encode()
    text = (base64.b64encode if is_standard else base64.urlsafe_b64encode)(data).decode()
    return text if is_padded else text.rstrip("=")


def pushed(engine: EngineProcess, name: str, header: str | None = None) -> tuple[int, list[dict[str, object]]]:
    """Push by the API; return the status and what the stream says."""
    repository, _, tag = name.rpartition(":")
    head = f"POST /images/{repository}/push?tag={tag} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n"
    head += f"X-Registry-Auth: {header}\r\n" if header is not None else ""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(str(engine.socket))
        connection.sendall(f"{head}\r\n".encode())
        received = bytearray()
        while block := connection.recv(65536):
            received += block
    first, _, rest = bytes(received).partition(b"\r\n\r\n")
    found = [json.loads(line) for line in rest.split(b"\r\n") if line.startswith(b"{")]
    return int(first.split(b" ", 2)[1]), found


def test_a_container_goes_around_by_way_of_a_registry(engine: EngineProcess, registry: DebianRegistry) -> None:
    name = f"{registry.host}/team/tool:1"
    script = "echo hello > /greeting; rm /bin/cat; mkdir -p /data/deep; head -c 5000000 /dev/urandom > /data/deep/big"
    script += "; md5sum /data/deep/big > /sum"
    engine.docker("run", "--name", "origin", "--network", "none", "busybox", "sh", "-c", script)
    engine.docker("commit", "origin", name)
    out = engine.docker("push", name).stdout
    digest = out.splitlines()[-1].split()[2]
    assert out.splitlines()[0] == f"The push refers to repository [{registry.host}/team/tool]"
    assert out.count(": Pushed") == 2
    image_id = engine.docker("image", "inspect", "-f", "{{.Id}}", name).stdout
    engine.docker("rm", "origin")
    engine.docker("rmi", name)
    assert f"Digest: {digest}" in engine.docker("pull", name).stdout
    assert engine.docker("image", "inspect", "-f", "{{.Id}}", name).stdout == image_id
    shown = engine.docker(
        "run",
        "--rm",
        "--network",
        "none",
        name,
        "sh",
        "-c",
        "md5sum -c /sum && ls /bin/cat; busybox cat /greeting",
        check=False,
    )
    assert shown.stdout == "/data/deep/big: OK\nhello\n"
    again = engine.docker("push", name).stdout
    assert again.count(": Layer already exists") == 2
    assert digest in again
    assert registry.uploads("team/tool") == []
    engine.docker("rmi", name)


def test_layers_are_taken_over_from_another_repository(engine: EngineProcess, registry: DebianRegistry) -> None:
    one, two = f"{registry.host}/mount/one:1", f"{registry.host}/mount/two:1"
    engine.docker("tag", "busybox", one)
    engine.docker("tag", "busybox", two)
    engine.docker("push", one)
    assert "Mounted from mount/one" in engine.docker("push", two).stdout
    engine.docker("rmi", one, two)


def test_all_tags_are_pushed(engine: EngineProcess, registry: DebianRegistry) -> None:
    for tag in ("1", "2", "latest"):
        engine.docker("tag", "busybox", f"{registry.host}/tags:{tag}")
    engine.docker("push", "-q", "-a", f"{registry.host}/tags")
    assert registry.tags("tags") == ["1", "2", "latest"]
    engine.docker("rmi", *(f"{registry.host}/tags:{tag}" for tag in ("1", "2", "latest")))


def test_what_skopeo_finds_is_a_sound_image(engine: EngineProcess, registry: DebianRegistry, tmp_path: Path) -> None:
    import subprocess

    if shutil.which("skopeo") is None:
        pytest.skip("skopeo is not there")
    name = f"{registry.host}/checked:1"
    engine.docker(
        "run",
        "--name",
        "odd",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        "rm -r /var; truncate -s 100M /holes; echo x >> /holes; touch $(printf 'caf\\351')",
    )
    engine.docker("commit", "odd", name)
    engine.docker("push", name)
    command = ["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{name}", f"oci:{tmp_path}/copy:1"]
    subprocess.run(command, check=True, timeout=60, env={**os.environ, "TMPDIR": str(tmp_path)})
    index = json.loads((tmp_path / "copy/index.json").read_text())
    assert len(index["manifests"]) == 1
    engine.docker("rm", "odd")
    engine.docker("rmi", name)


def test_a_connection_that_breaks_does_not_matter(engine: EngineProcess, registry: DebianRegistry) -> None:
    """This registry cannot go on in the middle of a request: the upload begins anew."""
    with CuttingProxy(registry.port, cut_after=300_000) as proxy:
        name = f"127.0.0.1:{proxy.port}/broken:1"
        engine.docker("tag", "busybox", name)
        out = engine.docker("push", name).stdout
        assert proxy.cuts == 1
        assert ": Pushed" in out
        assert registry.tags("broken") == ["1"]
        engine.docker("rmi", name)


def test_htpasswd(engine: EngineProcess, tmp_path: Path) -> None:
    with DebianRegistry(tmp_path / "registry", "htpasswd") as registry:
        name = f"{registry.host}/private:1"
        engine.docker("tag", "busybox", name)
        assert "no basic auth credentials" in engine.docker("push", name, check=False).stderr
        wrong = engine.docker("login", "-u", USER, "--password-stdin", registry.host, stdin=b"wrong", check=False)
        assert wrong.returncode == 1
        assert "401 Unauthorized" in wrong.stderr
        engine.docker("login", "-u", USER, "--password-stdin", registry.host, stdin=PASSWORD.encode())
        engine.docker("push", name)
        assert registry.tags("private") == ["1"]
        engine.docker("rmi", name)
        engine.docker("pull", name)
        engine.docker("logout", registry.host)
        engine.docker("rmi", name)
        assert engine.docker("pull", name, check=False).returncode == 1


@pytest.mark.parametrize(
    "header",
    [
        encoded(CREDENTIALS),
        encoded(CREDENTIALS, is_standard=True),
        encoded(CREDENTIALS, is_padded=False),
        encoded(CREDENTIALS, is_standard=True, is_padded=False),
        encoded({"Username": USER, "Password": PASSWORD, "email": None, "serveraddress": "x"}),
        encoded({"auth": base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}),
        encoded({**CREDENTIALS, "note": "ÿþ?>"}, is_standard=True),
    ],
)
def test_every_form_of_credentials(engine: EngineProcess, htpasswd: DebianRegistry, header: str) -> None:
    status, found = pushed(engine, f"{htpasswd.host}/forms:1", header)
    assert status == 200
    assert "aux" in found[-1], found


@pytest.mark.parametrize(
    "header", [None, "", "null", encoded(None), encoded({}), "bnVsbA==", "!!!", encoded([1]), encoded("x")]
)
def test_no_credentials(engine: EngineProcess, htpasswd: DebianRegistry, header: str | None) -> None:
    status, found = pushed(engine, f"{htpasswd.host}/forms:1", header)
    assert status == 200
    assert found[-1] == {"errorDetail": {"message": "no basic auth credentials"}, "error": "no basic auth credentials"}


@pytest.fixture(scope="module")
def htpasswd(engine: EngineProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DebianRegistry]:
    with DebianRegistry(tmp_path_factory.mktemp("htpasswd"), "htpasswd") as registry:
        engine.docker("tag", "busybox", f"{registry.host}/forms:1")
        yield registry
        engine.docker("rmi", f"{registry.host}/forms:1")


def test_tokens_of_a_server(engine: EngineProcess, tokens: TokenServer, tmp_path: Path) -> None:
    with DebianRegistry(tmp_path / "registry", tokens) as registry:
        name = f"{registry.host}/team/tool:1"
        engine.docker("tag", "busybox", name)
        refused = engine.docker("push", name, check=False)
        assert refused.returncode == 1
        assert "unauthorized" in refused.stderr
        engine.docker("login", "-u", USER, "--password-stdin", registry.host, stdin=PASSWORD.encode())
        kept = json.loads((engine.folder / "docker/config.json").read_text())["auths"][registry.host]
        assert kept.get("identitytoken") in tokens.refreshes  # instead of the password
        engine.docker("push", name)
        assert tokens.asked[-1][1] == ["repository:team/tool:push,pull"]
        engine.docker("rmi", name)
        engine.docker("pull", name)
        other = f"{registry.host}/team/other:1"
        engine.docker("tag", name, other)
        assert "Mounted from team/tool" in engine.docker("push", other).stdout
        given = tokens.token(USER, ["repository:team/third:push,pull"])
        third = f"{registry.host}/team/third:1"
        engine.docker("tag", name, third)
        _, found = pushed(engine, third, encoded({"registrytoken": given}))
        assert "aux" in found[-1], found
        engine.docker("rmi", name, other, third)
        engine.docker("logout", registry.host)


def test_tokens_that_end_while_a_push_goes_on(engine: EngineProcess, tmp_path: Path) -> None:
    with TokenServer(life_s=3) as server, DebianRegistry(tmp_path / "registry", server) as registry:
        with CuttingProxy(registry.port, delay_s=1.7) as proxy:
            name = f"127.0.0.1:{proxy.port}/slow:1"
            engine.docker("run", "--name", "slow", "--network", "none", "busybox", "sh", "-c", "echo 1 > /new")
            engine.docker("commit", "slow", name)
            status, found = pushed(engine, name, encoded(CREDENTIALS))
            assert status == 200
            assert "aux" in found[-1], found
            assert len(server.asked) >= 3
            engine.docker("rm", "slow")
            engine.docker("rmi", name)
        assert registry.tags("slow") == ["1"]


def test_a_client_that_goes_ends_the_push(own_engine: EngineProcess, registry: DebianRegistry) -> None:
    engine = own_engine
    with CuttingProxy(registry.port, hold_after=100_000) as proxy:
        name = f"127.0.0.1:{proxy.port}/gone:1"
        engine.docker("tag", "busybox", name)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(engine.socket))
            head = f"POST /images/{name[:-2]}/push?tag=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
            connection.sendall(head.encode())
            assert proxy.holding.wait(20)
        assert proxy.ended.wait(20)
    assert registry.tags("gone") == []
    engine.docker("rmi", name)


def test_a_kill_in_the_middle_leaves_the_image(own_engine: EngineProcess, registry: DebianRegistry) -> None:
    engine = own_engine
    script = "head -c 60000000 /dev/urandom > /big; md5sum /big > /sum"
    engine.docker("run", "--name", "origin", "--network", "none", "busybox", "sh", "-c", script)
    for after in (1, 200_000, 20_000_000):
        with CuttingProxy(registry.port, hold_after=after) as proxy:
            name = f"127.0.0.1:{proxy.port}/killed:{after}"
            engine.docker("commit", "origin", name)  # a layer without a blob: it is packed while it is sent
            client = threading.Thread(target=_push_quietly, args=(engine, name))
            client.start()
            assert proxy.holding.wait(20)
            engine.kill()
            client.join()
        engine.start()
        assert list((engine.data_root / "ingest").iterdir()) == []
        direct = f"{registry.host}/killed:{after}"
        engine.docker("tag", name, direct)
        engine.docker("push", direct)
        engine.docker("rmi", name, direct)
        engine.docker("pull", direct)
        shown = engine.docker("run", "--rm", "--network", "none", direct, "md5sum", "-c", "/sum").stdout
        assert shown == "/big: OK\n"
        engine.docker("rmi", direct)
    engine.docker("rm", "origin")


def _push_quietly(engine: EngineProcess, name: str) -> None:
    with contextlib.suppress(OSError, IndexError, ValueError):
        pushed(engine, name)


def test_distribution_inspect(engine: EngineProcess, registry: DebianRegistry) -> None:
    name = f"{registry.host}/looked/at:1"
    engine.docker("tag", "busybox", name)
    digest = engine.docker("push", name).stdout.splitlines()[-1].split()[2]
    for asked in (name, f"{registry.host}/looked/at@{digest}"):
        status, found = engine.api("GET", f"/distribution/{asked}/json")
        assert status == 200
        assert found["Descriptor"]["digest"] == digest
        assert found["Descriptor"]["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"
        assert found["Platforms"] == [{"architecture": "amd64", "os": "linux"}]
    answers = {
        f"{registry.host}/looked/at:2": (404, "manifest unknown: manifest unknown"),
        f"{registry.host}/none": (404, "manifest unknown: manifest unknown"),
        f"{registry.host}/UPPER": (400, "invalid reference format: repository name (UPPER) must be lowercase"),
        "sha256:" + "0" * 64: (500, "no manifest found for full image ID"),
        "127.0.0.1:1/x": (500, 'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused'),
    }
    for asked, (status, message) in answers.items():
        assert engine.api("GET", f"/distribution/{asked}/json") == (status, {"message": message})
    engine.docker("rmi", name)


def test_a_registry_without_a_search(engine: EngineProcess, registry: DebianRegistry) -> None:
    found = engine.api("GET", f"/images/search?term={registry.host}/a")
    assert found == (500, {"message": "Unexpected status code 404"})


class CuttingProxy:
    """Hands a connection on to a registry and does something to it.

    ``cut_after`` breaks the connection, once, when that many bytes have gone to the registry; ``hold_after`` takes
    no more; ``delay_s`` waits before the first bytes of each connection's request.
    """

    def __init__(
        self, port: int, *, cut_after: int | None = None, hold_after: int | None = None, delay_s: float = 0
    ) -> None:
        """Nothing listens before ``__enter__``."""
        self._target = port
        self._cut_after = cut_after
        self._hold_after = hold_after
        self._delay_s = delay_s
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.cuts = 0
        self.holding = threading.Event()
        self.ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> CuttingProxy:
        """Listen."""
        thread = threading.Thread(target=self._accept, daemon=True)
        thread.start()
        self._threads.append(thread)
        return self

    def __exit__(self, *error: object) -> None:
        """Stop listening."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for opened in self._sockets:
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            self._sockets += [client, server]
            for work in (self._up, self._down):
                thread = threading.Thread(target=work, args=(client, server), daemon=True)
                thread.start()
                self._threads.append(thread)

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        seen = 0
        try:
            while block := client.recv(65536):
                if self._delay_s and block.startswith((b"PATCH", b"PUT")):
                    threading.Event().wait(self._delay_s)
                seen += len(block)
                if self._hold_after is not None and seen > self._hold_after:
                    self.holding.set()
                    continue
                server.sendall(block)
                if self._cut_after is not None and seen > self._cut_after:
                    self._cut_after = None
                    self.cuts += 1
                    client.shutdown(socket.SHUT_RDWR)
                    break
        except OSError:
            pass
        finally:
            if self.holding.is_set():
                self.ended.set()
            for opened in (server, client):
                with contextlib.suppress(OSError):
                    opened.shutdown(socket.SHUT_RDWR)
                opened.close()

    def _down(self, client: socket.socket, server: socket.socket) -> None:
        try:
            while block := server.recv(65536):
                client.sendall(block)
        except OSError:
            return
