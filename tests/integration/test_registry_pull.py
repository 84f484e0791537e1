"""Pulling from a registry that behaves, and from one that does not."""

from __future__ import annotations

import asyncio
import gzip
import os
import secrets
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import zstandard
from aiohttp import web

from engine.config import Proxies
from engine.errors import (
    Forbidden,
    Internal,
    InvalidArgument,
    NotFound,
    NotSupported,
    PortsideError,
    Unauthorized,
    Unavailable,
)
from engine.model.system import AuthConfig
from engine.registry.client import login
from engine.registry.hosts import RegistrySettings
from engine.wire.references import parse_reference
from tests.fakes.registry import OCI_INDEX, FakeRegistry, cut_off
from tests.integration.images_world import ImagesWorld, head, tar_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="unpacking needs root")

BASE = tar_of([("base", b"b" * 1000)])
TOP = tar_of([("top", b"t" * 500)])
BIG = tar_of([("big", secrets.token_bytes(4_000_000))])


@pytest.fixture
async def registry() -> AsyncIterator[FakeRegistry]:
    async with FakeRegistry() as registry:
        yield registry


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[ImagesWorld]:
    world = ImagesWorld(tmp_path / "data")
    yield world
    world.close()
    assert world.leftovers() == []


async def refused(world: ImagesWorld, name: str, kind: type[PortsideError]) -> str:
    """Pull what cannot be pulled; nothing may be left. Returns the message."""
    with pytest.raises(kind) as caught:
        await world.pull(name)
    assert world.content() == (0, 0)
    assert world.listing.rows({}) == []
    return caught.value.message


def statuses(told: list[dict[str, object]]) -> list[str]:
    """Return the lines of a progress as people see them."""
    return [f"{item['id']}: {item['status']}" if "id" in item else str(item["status"]) for item in told]


@pytest.mark.parametrize(
    ("is_oci", "compress", "layer_type"),
    [
        (False, gzip.compress, ""),
        (True, gzip.compress, ""),
        (True, zstandard.ZstdCompressor().compress, "application/vnd.oci.image.layer.v1.tar+zstd"),
        (True, bytes, "application/vnd.oci.image.layer.v1.tar"),
        (False, bytes, "application/vnd.docker.image.rootfs.diff.tar"),
    ],
)
async def test_a_pull_tells_docker_s_progress(
    world: ImagesWorld, registry: FakeRegistry, is_oci: bool, compress: Callable[[bytes], bytes], layer_type: str
) -> None:
    made = registry.put_image("a/app", "1", [BASE, TOP], is_oci=is_oci, compress=compress, layer_type=layer_type)
    name = f"{registry.host}/a/app:1"
    told = statuses(await world.pull(name))
    base, top = (digest[7:19] for digest in registry.layer_digests("a/app", "1"))
    assert told[0] == "1: Pulling from a/app"
    assert told[-2:] == [f"Digest: {made['digest']}", f"Status: Downloaded newer image for {name}"]
    for layer in (base, top):
        steps = [line.partition(": ")[2] for line in told if line.startswith(layer)]
        wanted = ["Pulling fs layer", "Verifying Checksum", "Download complete", "Extracting", "Pull complete"]
        assert [step for step in steps if step != "Downloading"] == wanted
    assert (world.layer(name) / "top").exists()
    view = world.images.inspect(name)
    assert view.repo_digests == [f"{registry.host}/a/app@{made['digest']}"]
    assert [(action, actor, rest["name"]) for action, actor, rest in world.events.seen] == [
        ("pull", name, f"{registry.host}/a/app")
    ]
    told = statuses(await world.pull(name))
    assert told[1:] == [f"Digest: {made['digest']}", f"Status: Image is up to date for {name}"]


async def test_layers_that_are_there_are_not_fetched_again(world: ImagesWorld, registry: FakeRegistry) -> None:
    registry.put_image("app", "1", [BASE])
    registry.put_image("app", "2", [BASE, TOP])
    await world.pull(f"{registry.host}/app:1")
    registry.requests.clear()
    told = statuses(await world.pull(f"{registry.host}/app:2"))
    base, _ = registry.layer_digests("app", "2")
    assert f"{base[7:19]}: Already exists" in told
    assert registry.asked(base) == []


async def test_a_pull_by_digest(world: ImagesWorld, registry: FakeRegistry) -> None:
    made = registry.put_image("app", "1", [BASE])
    name = f"{registry.host}/app@{made['digest']}"
    told = statuses(await world.pull(name))
    assert told[0] == f"{name}: Pulling from app"
    assert told[-1] == f"Status: Downloaded newer image for {name}"
    view = world.images.inspect(name)
    assert (view.repo_tags, view.repo_digests) == ([], [name])


async def test_a_tag_that_moved_moves_here_too(world: ImagesWorld, registry: FakeRegistry) -> None:
    registry.put_image("app", "1", [BASE])
    name = f"{registry.host}/app:1"
    await world.pull(name)
    old = world.images.resolve(name).id
    registry.put_image("app", "1", [TOP])
    told = statuses(await world.pull(name))
    assert told[-1] == f"Status: Downloaded newer image for {name}"
    assert world.images.resolve(name).id != old
    assert {tuple(row.repo_tags) for row in world.listing.rows({})} == {(name,), ()}


async def test_all_tags_of_a_repository(world: ImagesWorld, registry: FakeRegistry) -> None:
    for tag in ("1", "2", "3"):
        registry.put_image("app", tag, [tar_of([(tag, b"")])])

    async def progress(_: object) -> None:
        return

    await world.puller.pull_all(parse_reference(f"{registry.host}/app"), "", None, progress)
    assert {tag for row in world.listing.rows({}) for tag in row.repo_tags} == {
        f"{registry.host}/app:{tag}" for tag in "123"
    }


async def test_the_platform_is_chosen_out_of_an_index(world: ImagesWorld, registry: FakeRegistry) -> None:
    amd = registry.put_image("app", "amd", [BASE], is_oci=True)
    arm = registry.put_image("app", "arm", [TOP], is_oci=True, architecture="arm64")
    index = registry.put_manifest(
        "app",
        "1",
        {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [
                {**arm, "platform": {"architecture": "arm64", "os": "linux", "variant": "v8"}},
                {**amd, "platform": {"architecture": "amd64", "os": "linux"}},
                {**amd, "platform": {"architecture": "unknown", "os": "unknown"}},
            ],
        },
    )
    name = f"{registry.host}/app:1"
    told = statuses(await world.pull(name))
    assert f"Digest: {index['digest']}" in told
    assert world.images.resolve(name).architecture == "amd64"
    await world.pull(name, "linux/arm64")
    assert world.images.resolve(name).architecture == "arm64"
    with pytest.raises(NotFound) as caught:
        await world.pull(name, "linux/s390x")
    assert caught.value.message == "no matching manifest for linux/s390x in the manifest list entries"


async def test_an_image_for_another_platform_alone_is_pulled_with_a_warning(
    world: ImagesWorld, registry: FakeRegistry
) -> None:
    registry.put_image("app", "1", [BASE])
    told = statuses(await world.pull(f"{registry.host}/app:1", "linux/arm64"))
    assert any(line.startswith("WARNING: image with reference") and "linux/arm64" in line for line in told)


async def test_unknown_names_and_tags(world: ImagesWorld, registry: FakeRegistry) -> None:
    name = f"{registry.host}/app:1"
    assert await refused(world, name, NotFound) == f"manifest for {name} not found: manifest unknown: manifest unknown"


@pytest.mark.parametrize(
    ("status", "code", "kind", "text"),
    [
        (
            401,
            "UNAUTHORIZED",
            Forbidden,
            "error pulling {repo}:1: unauthorized: no",
        ),
        (
            403,
            "DENIED",
            NotFound,
            "pull access denied for {repo}, repository does not exist or may require 'docker login': denied: no",
        ),
        (404, "NAME_UNKNOWN", NotFound, "repository {repo} not found: name unknown: no"),
        (429, "TOOMANYREQUESTS", Unavailable, "toomanyrequests: no"),
        (500, "UNKNOWN", Unavailable, "error pulling {repo}:1: unknown: no"),
    ],
)
async def test_refusals_have_mobys_texts(
    world: ImagesWorld, registry: FakeRegistry, status: int, code: str, kind: type[PortsideError], text: str
) -> None:
    async def refuse(_: web.Request) -> web.StreamResponse:
        return web.json_response({"errors": [{"code": code, "message": "no"}]}, status=status)

    registry.fault = refuse
    message = await refused(world, f"{registry.host}/app:1", kind)
    assert message == text.format(repo=f"{registry.host}/app")


async def test_a_registry_that_is_busy_is_asked_again(world: ImagesWorld, registry: FakeRegistry) -> None:
    registry.put_image("app", "1", [BASE])
    seen: dict[str, int] = {}

    async def busy_once(request: web.Request) -> web.StreamResponse | None:
        seen[request.path] = seen.get(request.path, 0) + 1
        return web.Response(status=503 if "manifests" in request.path else 429) if seen[request.path] == 1 else None

    registry.fault = busy_once
    await world.pull(f"{registry.host}/app:1")
    assert set(seen.values()) == {2}


async def test_a_blob_that_breaks_off_goes_on_where_it_stopped(world: ImagesWorld, registry: FakeRegistry) -> None:
    registry.put_image("app", "1", [BIG], compress=bytes)
    (digest,) = registry.layer_digests("app", "1")
    ranges: list[str] = []

    async def cut(request: web.Request) -> web.StreamResponse | None:
        if not request.path.endswith(digest):
            return None
        ranges.append(request.headers.get("Range", ""))
        return await cut_off(request, registry.blobs[digest], 700_000) if len(ranges) < 5 else None

    registry.fault = cut
    told = statuses(await world.pull(f"{registry.host}/app:1"))
    starts = [int(text[6:-1]) for text in ranges[1:]]
    assert ranges[0] == ""
    assert starts == sorted(set(starts))
    assert starts[-1] > 2_000_000
    assert any("Retrying in" in line for line in told)


async def test_without_ranges_it_begins_again(world: ImagesWorld, registry: FakeRegistry) -> None:
    registry.has_ranges = False
    registry.put_image("app", "1", [BIG], compress=bytes)
    (digest,) = registry.layer_digests("app", "1")

    async def cut_once(request: web.Request) -> web.StreamResponse | None:
        if request.path.endswith(digest) and len(registry.asked(digest)) == 1:
            return await cut_off(request, registry.blobs[digest], 700_000)
        return None

    registry.fault = cut_once
    await world.pull(f"{registry.host}/app:1")
    assert len(registry.asked(digest)) == 2


async def test_a_blob_that_never_comes_whole_is_given_up(
    world: ImagesWorld, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.images.pull._FIRST_PAUSE_S", 0.001)
    registry.put_image("app", "1", [BIG], compress=bytes)
    (digest,) = registry.layer_digests("app", "1")

    async def cut(request: web.Request) -> web.StreamResponse | None:
        return await cut_off(request, b"x" * 1000, 0) if request.path.endswith(digest) else None

    registry.fault = cut
    assert "unexpected EOF" in await refused(world, f"{registry.host}/app:1", Unavailable)


async def test_a_wrong_digest_or_length_is_found_out(world: ImagesWorld, registry: FakeRegistry) -> None:
    registry.put_image("app", "1", [BASE], compress=bytes)
    (digest,) = registry.layer_digests("app", "1")
    good = registry.blobs[digest]
    name = f"{registry.host}/app:1"
    registry.blobs[digest] = good[:-1] + b"x"
    message = await refused(world, name, Internal)
    assert message.startswith(f"filesystem layer verification failed for digest {digest}")
    registry.blobs[digest] = good + b"more"
    assert "is longer than" in await refused(world, name, Internal)


async def test_a_layer_that_is_not_the_images_is_found_out(world: ImagesWorld, registry: FakeRegistry) -> None:
    registry.put_image("app", "1", [BASE], compress=lambda _: gzip.compress(TOP))
    message = await refused(world, f"{registry.host}/app:1", InvalidArgument)
    assert "wrong diff id calculated on extraction" in message


async def test_a_manifest_that_is_not_its_digest_is_found_out(world: ImagesWorld, registry: FakeRegistry) -> None:
    made = registry.put_image("app", "1", [BASE])
    kind, data = registry.manifests[("app", made["digest"])]
    registry.manifests[("app", made["digest"])] = (kind, data + b" ")
    message = await refused(world, f"{registry.host}/app@{made['digest']}", Internal)
    assert message.startswith(f"manifest verification failed for digest {made['digest']}")


@pytest.mark.parametrize(
    ("manifest", "kind", "text"),
    [
        (b"{", InvalidArgument, "invalid manifest"),
        (b"[" * 100_000, InvalidArgument, "invalid manifest"),
        (b'{"config": 5}', InvalidArgument, "invalid manifest"),
        (b"{}", InvalidArgument, "is no image"),
        (b"x" * 5_000_000, Internal, "is larger than"),
        (b'{"config":{"digest":"sha256:../../etc/passwd"}}', InvalidArgument, "digest"),
        (
            b'{"config":{"mediaType":"application/vnd.cncf.helm.config.v1+json","digest":"sha256:00"}}',
            InvalidArgument,
            "unsupported media type application/vnd.cncf.helm.config.v1+json",
        ),
    ],
)
async def test_broken_manifests(
    world: ImagesWorld, registry: FakeRegistry, manifest: bytes, kind: type[PortsideError], text: str
) -> None:
    registry.manifests[("app", "1")] = ("application/vnd.oci.image.manifest.v1+json", manifest)
    assert text in await refused(world, f"{registry.host}/app:1", kind)


async def test_schema_1_and_foreign_layers_are_refused(world: ImagesWorld, registry: FakeRegistry) -> None:
    registry.manifests[("old", "1")] = ("application/vnd.docker.distribution.manifest.v1+prettyjws", b"{}")
    assert "schema 1" in await refused(world, f"{registry.host}/old:1", NotSupported)
    foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    registry.put_image("win", "1", [BASE], layer_type=foreign)
    assert "foreign layer" in await refused(world, f"{registry.host}/win:1", NotSupported)
    registry.put_image("win", "2", [BASE], system="windows")
    assert "operating system is not supported" in await refused(world, f"{registry.host}/win:2", InvalidArgument)


async def test_a_registry_that_never_answers_is_given_up(world: ImagesWorld, registry: FakeRegistry) -> None:
    world.settings = RegistrySettings(certificate_folders=(), connect_timeout_s=0.3, read_timeout_s=0.3)

    async def silent(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        raise AssertionError

    registry.fault = silent
    begun = time.monotonic()
    message = await refused(world, f"{registry.host}/app:1", Unavailable)
    assert message.endswith("timeout awaiting response")
    assert time.monotonic() - begun < 5


async def test_nobody_listens(world: ImagesWorld) -> None:
    message = await refused(world, "127.0.0.1:1/app:1", Unavailable)
    assert message == ('Get "http://127.0.0.1:1/v2/app/manifests/1": dial tcp 127.0.0.1:1: connect: connection refused')


async def test_basic_authentication(world: ImagesWorld, registry: FakeRegistry) -> None:
    registry.login = ("me", "pass")
    registry.put_image("app", "1", [BASE])
    name = f"{registry.host}/app:1"
    assert await refused(world, name, Forbidden) == f"error pulling {name}: no basic auth credentials"
    assert "unauthorized: authentication required" in await refused_with(
        world, name, AuthConfig(username="me", password="wrong")
    )
    await world.pull(name, credentials=AuthConfig(username="me", password="pass"))


async def test_bearer_tokens(world: ImagesWorld, registry: FakeRegistry) -> None:
    registry.token_login = ("me", "pass")
    registry.put_image("app", "1", [BASE, TOP])
    name = f"{registry.host}/app:1"
    assert "incorrect username or password" in await refused_with(world, name, AuthConfig(username="me", password="x"))
    await world.pull(name, credentials=AuthConfig(username="me", password="pass"))
    assert registry.asked("/token")[-1].query["scope"] == "repository:x:pull"


async def test_a_token_that_does_not_reach_is_access_denied(world: ImagesWorld, registry: FakeRegistry) -> None:
    async def refuse(_: web.Request) -> web.StreamResponse:
        challenge = f'Bearer realm="http://{registry.host}/token",error="insufficient_scope"'
        body = {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}
        return web.json_response(body, status=401, headers={"WWW-Authenticate": challenge})

    async def after_the_token(request: web.Request) -> web.StreamResponse | None:
        return None if request.path == "/token" else await refuse(request)

    registry.token_login = ("me", "pass")
    registry.fault = after_the_token
    with pytest.raises(NotFound) as caught:
        await world.pull(f"{registry.host}/x:1", credentials=AuthConfig(username="me", password="pass"))
    assert caught.value.message == (
        f"pull access denied for {registry.host}/x, repository does not exist or may require 'docker login': "
        "denied: requested access to the resource is denied"
    )


async def refused_with(world: ImagesWorld, name: str, credentials: AuthConfig) -> str:
    """Pull with credentials that do not do; return the message."""
    with pytest.raises(Forbidden) as caught:
        await world.pull(name, credentials=credentials)
    assert world.content() == (0, 0)
    return caught.value.message


async def test_login_checks_credentials(world: ImagesWorld, registry: FakeRegistry) -> None:
    registry.login = ("me", "pass")
    good = AuthConfig(username="me", password="pass", serveraddress=registry.host)
    assert (await login(world.settings, good)).status == "Login Succeeded"
    with pytest.raises(Unauthorized) as caught:
        await login(world.settings, AuthConfig(username="me", password="no", serveraddress=registry.host))
    address = f"http://{registry.host}/v2/"
    assert caught.value.message == f"login attempt to {address} failed with status: 401 Unauthorized"
    registry.login, registry.token_login = None, ("me", "pass")
    assert (await login(world.settings, good)).identity_token == "a-refresh-token"
    with pytest.raises(Unauthorized) as caught:
        await login(world.settings, AuthConfig(username="me", password="no", serveraddress=registry.host))
    assert caught.value.message == f'Get "{address}": unauthorized: incorrect username or password'


async def test_a_mirror_proves_no_credentials(world: ImagesWorld, registry: FakeRegistry) -> None:
    world.settings = RegistrySettings(
        mirrors=(f"http://{registry.host}",), certificate_folders=(), proxies=Proxies(https="http://127.0.0.1:1")
    )
    with pytest.raises(Unavailable):
        await login(world.settings, AuthConfig(username="me", password="pass"))
    assert registry.requests == []


async def test_an_identity_token_is_exchanged(world: ImagesWorld, registry: FakeRegistry) -> None:
    registry.token_login = ("me", "pass")
    registry.put_image("app", "1", [BASE])
    await world.pull(f"{registry.host}/app:1", credentials=AuthConfig(identitytoken="a-refresh-token"))
    assert [request.method for request in registry.asked("/token")] == ["POST"]


async def test_the_same_layer_twice_in_an_image(world: ImagesWorld, registry: FakeRegistry) -> None:
    registry.put_image("app", "1", [BASE, TOP, BASE])
    await world.pull(f"{registry.host}/app:1")
    assert len(world.images.table.find(f"{registry.host}/app:1").layers) == 3
    assert world.content() == (4, 3)


async def test_a_redirect_to_another_host_gets_no_credentials(world: ImagesWorld, registry: FakeRegistry) -> None:
    registry.login = ("me", "pass")
    registry.put_image("app", "1", [BASE])
    async with FakeRegistry() as other:
        other.blobs = registry.blobs

        async def redirect(request: web.Request) -> web.StreamResponse | None:
            if "/blobs/" in request.path and "Authorization" in request.headers:
                raise web.HTTPTemporaryRedirect(f"http://{other.host}{request.path}")
            return None

        registry.fault = redirect
        await world.pull(f"{registry.host}/app:1", credentials=AuthConfig(username="me", password="pass"))
        assert len(other.requests) == 2
        assert all("Authorization" not in request.headers for request in other.requests)


async def test_a_pull_stops_when_its_client_goes(world: ImagesWorld, registry: FakeRegistry) -> None:
    registry.put_image("app", "1", [BASE, BIG], compress=bytes)
    _, digest = registry.layer_digests("app", "1")
    reached = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse | None:
        if not request.path.endswith(digest):
            return None
        response = web.StreamResponse(headers={"Content-Length": str(len(registry.blobs[digest]))})
        await response.prepare(request)
        await response.write(b"x" * 100)
        reached.set()
        await asyncio.sleep(30)
        return response

    registry.fault = slow
    pull = asyncio.ensure_future(world.pull(f"{registry.host}/app:1"))
    await reached.wait()
    pull.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pull
    assert world.content() == (0, 0)
    assert world.leftovers() == []


async def test_two_pulls_share_the_work_and_one_may_go(world: ImagesWorld, registry: FakeRegistry) -> None:
    registry.put_image("one", "1", [BASE, BIG], compress=bytes)
    registry.put_image("two", "1", [BASE, BIG, TOP], compress=bytes)
    _, digest = registry.layer_digests("one", "1")
    gate, reached = asyncio.Event(), asyncio.Event()

    async def wait(request: web.Request) -> web.StreamResponse | None:
        if request.path.endswith(digest):
            reached.set()
            await gate.wait()
        return None

    registry.fault = wait
    pulls = [asyncio.ensure_future(world.pull(f"{registry.host}/one:1"))]
    await reached.wait()
    pulls += [asyncio.ensure_future(world.pull(f"{registry.host}/{name}:1")) for name in ("one", "two")]
    await asyncio.sleep(0.5)
    assert len(registry.asked(digest)) == 1
    pulls[1].cancel()
    await asyncio.sleep(0.05)
    gate.set()
    await asyncio.gather(pulls[0], pulls[2])
    assert {len(world.images.table.find(f"{registry.host}/{name}:1").layers) for name in ("one", "two")} == {2, 3}
    assert len(registry.asked(digest)) == 1


async def test_the_second_goes_on_when_the_first_that_began_goes(world: ImagesWorld, registry: FakeRegistry) -> None:
    registry.put_image("app", "1", [BIG], compress=bytes)
    (digest,) = registry.layer_digests("app", "1")
    gate, reached = asyncio.Event(), asyncio.Event()

    async def wait(request: web.Request) -> web.StreamResponse | None:
        if request.path.endswith(digest) and not gate.is_set():
            reached.set()
            await gate.wait()
        return None

    registry.fault = wait
    first = asyncio.ensure_future(world.pull(f"{registry.host}/app:1"))
    await reached.wait()
    second = asyncio.ensure_future(world.pull(f"{registry.host}/app:1"))
    await asyncio.sleep(0.2)
    first.cancel()
    await asyncio.sleep(0.05)
    gate.set()
    await second
    assert (world.layer(f"{registry.host}/app:1") / "big").exists()


async def test_hard_links_into_a_layer_that_is_unpacked_later(world: ImagesWorld, registry: FakeRegistry) -> None:
    registry.put_image("app", "1", [BIG, tar_of([head("again", b"1", "big")])], compress=bytes)
    bottom, _ = registry.layer_digests("app", "1")

    async def late(request: web.Request) -> web.StreamResponse | None:
        if request.path.endswith(bottom):
            await asyncio.sleep(0.5)
        return None

    registry.fault = late
    await world.pull(f"{registry.host}/app:1")
    assert (world.layer(f"{registry.host}/app:1") / "again").stat().st_size == 4_000_000


async def test_a_full_disk_leaves_nothing_and_says_where(tmp_path: Path, registry: FakeRegistry) -> None:
    small = tmp_path / "small"
    small.mkdir()
    await run("mount", "-t", "tmpfs", "-o", "size=3m", "none", str(small))
    try:
        registry.put_image("app", "1", [BASE, BIG], compress=bytes)
        world = ImagesWorld(small)
        message = await refused(world, f"{registry.host}/app:1", Unavailable)
        assert str(small) in message
        assert "No space left on device" in message
        registry.put_image("app", "2", [BASE])
        await world.pull(f"{registry.host}/app:2")
        world.close()
    finally:
        await run("umount", str(small))


async def test_mirrors_are_asked_first_and_get_no_credentials(world: ImagesWorld, registry: FakeRegistry) -> None:
    registry.put_image("library/app", "1", [BASE])
    world.settings = RegistrySettings(mirrors=(f"http://{registry.host}",), certificate_folders=())
    told = statuses(await world.pull("app:1", credentials=AuthConfig(username="me", password="pass")))
    assert told[0] == "1: Pulling from library/app"
    assert told[-1] == "Status: Downloaded newer image for app:1"
    assert all("Authorization" not in request.headers for request in registry.requests)


class Authority:
    """A certificate authority for tests, made by openssl."""

    def __init__(self, folder: Path) -> None:
        """Make the authority, a server's and a client's certificate."""
        self.folder = folder
        folder.mkdir()
        self._openssl(
            "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=test-ca "
            "-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign"
        )
        (folder / "san").write_text("subjectAltName=IP:127.0.0.1\n")
        for name in ("server", "client"):
            self._openssl(f"req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}")
            signing = f"-CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out {name}.cert -extfile san"
            self._openssl(f"x509 -req -in {name}.csr {signing}")

    def _openssl(self, words: str) -> None:
        subprocess.run(["openssl", *words.split()], cwd=self.folder, check=True, capture_output=True)

    def server(self, *, asks_client: bool = False) -> ssl.SSLContext:
        """Return a server's side."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "server.cert", self.folder / "server.key")
        if asks_client:
            context.load_verify_locations(self.folder / "ca.crt")
            context.verify_mode = ssl.CERT_REQUIRED
        return context


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "ca")


async def test_client_certificates_of_certs_d_are_shown(
    world: ImagesWorld, authority: Authority, tmp_path: Path
) -> None:
    async with FakeRegistry(authority.server(asks_client=True)) as registry:
        registry.put_image("app", "1", [BASE])
        name = f"{registry.host}/app:1"
        await refused(world, name, Unavailable)
        folder = tmp_path / "certs.d" / registry.host
        folder.mkdir(parents=True)
        for file in ("ca.crt", "client.cert", "client.key"):
            (folder / file).write_bytes((authority.folder / file).read_bytes())
        world.settings = RegistrySettings(certificate_folders=(tmp_path / "certs.d",))
        await world.pull(name)
        (folder / "client.key").unlink()
        message = await refused_again(world, name)
        assert message.startswith("missing key client.key for client certificate client.cert")


async def refused_again(world: ImagesWorld, name: str) -> str:
    """Pull what is there already from where it cannot be reached; return the message."""
    with pytest.raises(InvalidArgument) as caught:
        await world.pull(name)
    return caught.value.message


async def test_a_registry_elsewhere_must_prove_itself(
    world: ImagesWorld, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.registry.hosts._LOOPBACK", ())  # as if 127.0.0.1 were another machine
    async with FakeRegistry(authority.server()) as registry:
        registry.put_image("app", "1", [BASE])
        name = f"{registry.host}/app:1"
        assert "failed to verify certificate" in await refused(world, name, Unavailable)
        folder = tmp_path / "certs.d" / registry.host
        folder.mkdir(parents=True)
        (folder / "ca.crt").write_bytes((authority.folder / "ca.crt").read_bytes())
        world.settings = RegistrySettings(certificate_folders=(tmp_path / "certs.d",))
        await world.pull(name)
        await world.remover.remove(name)
        world.settings = RegistrySettings(insecure=("127.0.0.0/8",), certificate_folders=())
        await world.pull(name)


async def test_a_plain_registry_elsewhere_is_not_spoken_to(
    world: ImagesWorld, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.registry.hosts._LOOPBACK", ())
    registry.put_image("app", "1", [BASE])
    message = await refused(world, f"{registry.host}/app:1", Unavailable)
    assert message.startswith(f'Get "https://{registry.host}/v2/app/manifests/1": ')
    world.settings = RegistrySettings(insecure=(registry.host,), certificate_folders=())
    await world.pull(f"{registry.host}/app:1")


async def test_a_configured_proxy_is_used(world: ImagesWorld, registry: FakeRegistry) -> None:
    registry.put_image("app", "1", [BASE])
    world.settings = RegistrySettings(
        insecure=("registry.example",), proxies=Proxies(http=f"http://{registry.host}"), certificate_folders=()
    )
    await world.pull("registry.example/app:1")
    assert {request.headers["Host"] for request in registry.requests} == {"registry.example"}


async def run(*words: str) -> None:
    """Run a program."""
    process = await asyncio.create_subprocess_exec(*words)
    assert await asyncio.wait_for(process.wait(), 60) == 0
