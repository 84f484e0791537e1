"""The Image operations over HTTP, raw and through the stock docker command line, with Debian's docker-registry."""

from __future__ import annotations

import asyncio
import base64
import ctypes
import gzip
import json
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from aiohttp import ClientError, ClientSession, web

from tests.fakes.images import busybox_archive, image_archive
from tests.fakes.registry import FakeRegistry, cut_off
from tests.integration.images_world import ImagesServer, ImagesWorld, tar_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="unpacking needs root")

SMALL = image_archive([tar_of([("f", b"x" * 100)])], ["app:1", "example.com:5000/deep/app:2"], {"Labels": {"a": "b"}})


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[ImagesWorld]:
    world = ImagesWorld(tmp_path / "data")
    yield world
    world.close()
    assert world.leftovers() == []


@pytest.fixture
async def server(world: ImagesWorld) -> AsyncIterator[ImagesServer]:
    async with world.served() as server:
        yield server


async def test_load_list_inspect_history(world: ImagesWorld, server: ImagesServer) -> None:
    status, told = await server.stream("POST", "/v1.51/images/load?quiet=1", SMALL)
    assert (status, told) == (
        200,
        [{"stream": "Loaded image: app:1\n"}, {"stream": "Loaded image: example.com:5000/deep/app:2\n"}],
    )
    image_id = world.images.resolve("app:1").id
    world.users.add(image_id)
    status, rows = await server.json("GET", "/v1.51/images/json?shared-size=1")
    assert status == 200
    assert rows == [
        {
            "Containers": 1,
            "Created": 1767225600,
            "Id": image_id,
            "Labels": {"a": "b"},
            "ParentId": "",
            "RepoDigests": [],
            "RepoTags": ["app:1", "example.com:5000/deep/app:2"],
            "SharedSize": 0,
            "Size": 100,
        }
    ]
    _, rows = await server.json("GET", "/v1.40/images/json?filter=app")
    assert (rows[0]["VirtualSize"], rows[0]["Containers"], rows[0]["RepoTags"]) == (100, -1, ["app:1"])
    status, view = await server.json("GET", "/v1.51/images/example.com:5000/deep/app:2/json")
    assert (status, view["Id"], view["Config"]["Labels"]) == (200, image_id, {"a": "b"})
    assert view["RootFS"]["Type"] == "layers"
    assert view["Created"] == "2026-01-01T00:00:00Z"
    status, rows = await server.json("GET", f"/images/{image_id[7:19]}/history")
    assert [(row["Id"], row["Size"]) for row in rows] == [(image_id, 100)]


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/images/nope/json", 404, "No such image: nope:latest"),
        ("GET", "/images/a%20b/json", 400, "invalid reference format"),
        ("GET", "/images/nope/history", 404, "No such image: nope:latest"),
        ("GET", "/images/nope/get", 404, "No such image: nope"),
        ("GET", "/images/nope:1/get", 404, "reference does not exist"),
        ("GET", "/images/get?names=app:1&names=nope", 404, "No such image: nope"),
        ("DELETE", "/images/nope", 404, "No such image: nope:latest"),
        ("POST", "/images/nope/tag?repo=x", 404, "No such image: nope:latest"),
        (
            "POST",
            "/images/app:1/tag?repo=App",
            400,
            "invalid reference format: repository name (library/App) must be lowercase",
        ),
        ("POST", "/images/create?fromImage=scratch", 403, "'scratch' is a reserved name"),
        ("POST", "/images/create?fromImage=a%20b", 400, "invalid reference format"),
        ("GET", "/images/json?filters=%7B%22nope%22:[%22x%22]%7D", 400, "invalid filter 'nope'"),
        ("GET", "/images/json?filters=%7B", 400, "invalid filter"),
        (
            "GET",
            "/images/app:1/json?manifests=1&platform=" + quote('{"os":"linux","architecture":"amd64"}'),
            400,
            "conflicting options: manifests and platform options cannot both be set",
        ),
        ("DELETE", "/images/app:1?platforms=%7B%7D&force=1", 400, "both OS and Architecture must be provided"),
        (
            "DELETE",
            "/images/app:1?platforms=" + quote('{"os":"linux","architecture":"amd64"}'),
            400,
            "Content will be removed from all images referencing this variant. Use —-force to force delete.",
        ),
        (
            "GET",
            "/images/app:1/json?platform=" + quote('{"os":"linux","architecture":"arm64"}'),
            404,
            "does not match the specified platform (linux/arm64)",
        ),
        (
            "GET",
            "/images/app:1/json?platform=linux",
            400,
            "failed to parse platform: invalid character 'l' looking for beginning of value",
        ),
        ("POST", "/images/create?fromSrc=ftp://example.com/x.tar", 400, 'unsupported protocol scheme "ftp"'),
        ("POST", "/images/create?fromSrc=http://:1/", 400, "http"),
        ("POST", "/images/create?fromSrc=", 400, "no Host in request URL"),
        ("POST", "/images/create?fromSrc=127.0.0.1:1/x.tar", 503, 'Get "http://127.0.0.1:1/x.tar": dial tcp'),
    ],
)
async def test_errors_have_mobys_texts(server: ImagesServer, method: str, path: str, status: int, message: str) -> None:
    await server.stream("POST", "/images/load", SMALL)
    answered, body = await server.json(method, f"/v1.51{path}")
    assert answered == status
    assert message in body["message"]


async def test_an_archive_is_imported_from_a_url(world: ImagesWorld, server: ImagesServer) -> None:
    tar = tar_of([("file", b"f" * 1_000_000)])
    async with FakeRegistry() as site:

        async def answer(request: web.Request) -> web.StreamResponse | None:
            if request.path == "/root.tar.gz":
                return web.Response(body=gzip.compress(tar, 0))
            if request.path == "/short":
                return await cut_off(request, tar, 1000)
            return web.Response(status=404, text="none here\n")

        site.fault = answer
        address = f"http://{site.host}"
        query = f"fromSrc={address}/root.tar.gz&repo=made&changes={quote('CMD true')}"
        status, told = await server.stream("POST", f"/v1.51/images/create?{query}")
        assert (status, told[0]) == (200, {"status": f"Downloading from {address}/root.tar.gz"})
        assert told[-2]["progressDetail"]["current"] == told[-2]["progressDetail"]["total"]
        assert told[-1] == {"status": world.images.resolve("made").id}
        assert (world.layer("made") / "file").stat().st_size == 1_000_000
        assert world.images.inspect("made").comment == f"Imported from {address}/root.tar.gz"
        status, body = await server.json("POST", f"/v1.51/images/create?fromSrc={site.host}/nope")
        text = f"failed to GET {address}/nope with status 404 Not Found: none here"
        assert (status, body["message"]) == (404, text)
        status, told = await server.stream("POST", f"/v1.51/images/create?fromSrc={address}/short")
        assert status == 200
        assert "unexpected EOF" in told[-1]["error"]
    assert world.leftovers() == []
    assert len(world.images.table.all()) == 1


async def test_a_broken_archive_is_told_in_the_stream(server: ImagesServer) -> None:
    status, told = await server.stream("POST", "/v1.51/images/load", b"no tar" * 1000)
    assert status == 200
    assert told == [
        {
            "error": "invalid archive: invalid tar header",
            "errorDetail": {"message": "invalid archive: invalid tar header"},
        }
    ]


async def test_remove_and_prune(world: ImagesWorld, server: ImagesServer) -> None:
    await server.stream("POST", "/images/load", SMALL)
    image_id = world.images.resolve("app:1").id
    chain = world.images.table.find("app:1").layers[0]
    status, done = await server.json("DELETE", "/v1.51/images/example.com:5000/deep/app:2")
    assert (status, done) == (200, [{"Untagged": "example.com:5000/deep/app:2"}])
    status, report = await server.json("POST", "/v1.51/images/prune")
    assert (status, report) == (200, {"ImagesDeleted": None, "SpaceReclaimed": 0})
    status, report = await server.json("POST", "/v1.51/images/prune?filters=" + quote('{"dangling":["false"]}'))
    assert report == {
        "ImagesDeleted": [{"Untagged": "app:1"}, {"Deleted": image_id}, {"Deleted": chain}],
        "SpaceReclaimed": 100,
    }


async def test_the_docker_command_line_works_on_images(
    world: ImagesWorld, server: ImagesServer, tmp_path: Path
) -> None:
    (tmp_path / "bb.tar").write_bytes(busybox_archive("busybox:latest"))
    assert await server.docker("load", "-i", str(tmp_path / "bb.tar")) == (0, "Loaded image: busybox:latest\n")
    assert await server.docker("tag", "busybox", "mine/box:1.0") == (0, "")
    code, text = await server.docker("images", "--format", "{{.Repository}}:{{.Tag}}")
    assert sorted(text.split()) == ["busybox:latest", "mine/box:1.0"]
    code, text = await server.docker("history", "--format", "{{.CreatedBy}} {{.Size}}", "busybox")
    assert (code, text.split()[:2]) == (0, ["layer", "0"])
    code, text = await server.docker("save", "-o", str(tmp_path / "out.tar"), "busybox", "mine/box")
    assert (code, text) == (0, "")
    code, text = await server.docker("rmi", "busybox", "mine/box:1.0")
    assert code == 0
    assert text.startswith("Untagged: busybox:latest\nUntagged: mine/box:1.0\nDeleted: sha256:")
    assert world.content() == (0, 0)
    code, text = await server.docker("load", stdin=(tmp_path / "out.tar").read_bytes())
    assert text == "Loaded image: busybox:latest\nLoaded image: mine/box:1.0\n"
    code, text = await server.docker("import", "-c", 'CMD ["x"]', "-", "imp", stdin=tar_of([("f", b"x")]))
    assert (code, text[:7]) == (0, "sha256:")
    code, text = await server.docker("inspect", "--format", "{{.Config.Cmd}} {{.Comment}}", "imp")
    assert text == "[x] Imported from -\n"
    code, text = await server.docker("rmi", "nope")
    assert (code, text) == (1, "Error response from daemon: No such image: nope:latest\n")
    code, text = await server.docker("image", "prune", "-af")
    assert "Total reclaimed space: " in text
    assert world.listing.rows({}) == []


async def test_others_read_what_is_saved_of_a_pulled_image(
    world: ImagesWorld, server: ImagesServer, tmp_path: Path
) -> None:
    async with FakeRegistry() as registry:
        registry.put_image("app", "1", [tar_of([("f", b"x")])])
        await world.pull(f"{registry.host}/app:1")
        name = f"{registry.host}/app:1"
        code, text = await server.docker("save", "-o", str(tmp_path / "out.tar"), name)
        assert (code, text) == (0, "")
    process = await asyncio.create_subprocess_exec(
        "skopeo", "copy", f"docker-archive:{tmp_path}/out.tar", f"dir:{tmp_path}/dir", stdout=asyncio.subprocess.DEVNULL
    )
    assert await asyncio.wait_for(process.wait(), 60) == 0


@asynccontextmanager
async def docker_registry(folder: Path, extra: str = "") -> AsyncIterator[str]:
    """Run Debian's docker-registry on a free port; yields its host."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    configuration = folder / "registry.yml"
    configuration.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}/registry}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n{extra}"
    )
    process = await asyncio.create_subprocess_exec(
        "docker-registry",
        "serve",
        str(configuration),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with ClientSession() as session:
            for _ in range(200):
                try:
                    async with session.get(f"http://127.0.0.1:{port}/v2/"):
                        break
                except ClientError:
                    await asyncio.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        await process.wait()


def bcrypt(password: str) -> str:
    """Return a password's hash, made by the C library's crypt."""
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    return bytes(library.crypt(password.encode(), b"$2b$05$" + b"abcdefghijklmnopqrstuu")).decode()


async def push(archive: bytes, target: str, folder: Path, *options: str) -> None:
    """Push an archive's image by skopeo."""
    (folder / "push.tar").write_bytes(archive)
    process = await asyncio.create_subprocess_exec(
        "skopeo",
        "copy",
        "--dest-tls-verify=false",
        *options,
        f"docker-archive:{folder}/push.tar",
        f"docker://{target}",
        stdout=asyncio.subprocess.DEVNULL,
    )
    assert await asyncio.wait_for(process.wait(), 60) == 0


@pytest.mark.skipif(shutil.which("docker-registry") is None, reason="docker-registry is not installed")
@pytest.mark.parametrize("options", [(), ("--format", "oci"), ("--dest-compress-format", "zstd", "--format", "oci")])
async def test_the_docker_command_line_pulls_from_docker_registry(
    world: ImagesWorld, server: ImagesServer, tmp_path: Path, options: tuple[str, ...]
) -> None:
    async with docker_registry(tmp_path) as host:
        name = f"{host}/team/busybox"
        await push(busybox_archive("busybox:latest"), name, tmp_path, *options)
        code, text = await server.docker("pull", name)
        assert code == 0, text
        lines = text.splitlines()
        assert lines[:2] == ["Using default tag: latest", "latest: Pulling from team/busybox"]
        assert lines[-2:] == [f"Status: Downloaded newer image for {name}:latest", f"{name}:latest"]
        code, text = await server.docker("pull", "-q", name)
        assert (code, text) == (0, f"{name}:latest\n")
        code, text = await server.docker("pull", f"{name}:nope")
        assert (code, text) == (
            1,
            f"Error response from daemon: manifest for {name}:nope not found: manifest unknown: manifest unknown\n",
        )
        code, text = await server.docker("images", "--digests", "--format", "{{.Digest}}")
        code, text = await server.docker("pull", f"{name}@{text.strip()}")
        assert code == 0, text
        assert (world.layer(f"{name}:latest") / "bin/busybox").exists()


@pytest.mark.skipif(shutil.which("docker-registry") is None, reason="docker-registry is not installed")
async def test_docker_registry_with_a_password(world: ImagesWorld, server: ImagesServer, tmp_path: Path) -> None:
    (tmp_path / "users").write_text(f"me:{bcrypt('pass')}\n")
    extra = f"auth: {{htpasswd: {{realm: r, path: {tmp_path}/users}}}}\n"
    async with docker_registry(tmp_path, extra) as host:
        await push(busybox_archive("busybox:latest"), f"{host}/bb", tmp_path, "--dest-creds", "me:pass")
        _, text = await server.docker("pull", f"{host}/bb")
        assert text.endswith(f"Error response from daemon: error pulling {host}/bb:latest: no basic auth credentials\n")
        path = f"/v1.51/images/create?fromImage={quote(host)}/bb&tag=latest"
        status, data = await server.call("POST", path)
        assert status == 403
        assert b"no basic auth credentials" in data
        credentials = json.dumps({"username": "me", "password": "pass", "serveraddress": host}).encode()
        for encoded in (base64.urlsafe_b64encode(credentials), base64.b64encode(credentials).rstrip(b"=")):
            status, data = await server.call("POST", path, headers={"X-Registry-Auth": encoded.decode()})
            assert status == 200
            assert b"errorDetail" not in data
        assert world.images.resolve(f"{host}/bb")


async def test_a_pull_whose_client_goes_away_stops(world: ImagesWorld, server: ImagesServer) -> None:
    async with FakeRegistry() as registry:
        registry.put_image("app", "1", [tar_of([("f", b"x" * 5000)])], compress=bytes)
        (digest,) = registry.layer_digests("app", "1")
        reached, ended = asyncio.Event(), asyncio.Event()

        async def slow(request: web.Request) -> web.StreamResponse | None:
            if not request.path.endswith(digest):
                return None
            reached.set()
            try:
                await asyncio.sleep(30)
            finally:
                ended.set()
            return None

        registry.fault = slow
        process = await asyncio.create_subprocess_exec(
            "docker",
            "pull",
            f"{registry.host}/app:1",
            env={"PATH": os.environ["PATH"], "DOCKER_HOST": f"unix://{server.socket}", "HOME": str(world.folder)},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await reached.wait()
        process.kill()
        await process.wait()
        await asyncio.wait_for(ended.wait(), 5)
        for _ in range(100):
            if world.content() == (0, 0):
                break
            await asyncio.sleep(0.02)
        assert world.content() == (0, 0)


@pytest.mark.parametrize("path", ["/images/load", "/images/create?fromSrc=-&repo=x"])
async def test_a_request_that_stops_halfway_leaves_nothing(world: ImagesWorld, server: ImagesServer, path: str) -> None:
    _, writer = await asyncio.open_unix_connection(str(server.socket))
    body = image_archive([tar_of([("f", b"x" * 2_000_000)])], ["half:1"])
    writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body[:1_500_000])
    await writer.drain()
    await asyncio.sleep(0.2)
    writer.close()
    for _ in range(100):
        if world.leftovers() == [] and world.content() == (0, 0):
            break
        await asyncio.sleep(0.02)
    assert world.content() == (0, 0)
    assert world.listing.rows({}) == []
    await asyncio.wait_for(world.images.collect(), 5)
