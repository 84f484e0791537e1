"""Pushing to a registry that behaves, and to one that does not."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from aiohttp import web

from engine.containers.interfaces import NewImage
from engine.errors import Forbidden, Internal, InvalidArgument, NotFound, PortsideError, Unavailable
from engine.images.commits import ImageCommits
from engine.images.push import Pusher
from engine.model.image import ImageConfig
from engine.model.system import AuthConfig
from engine.registry.hosts import RegistrySettings
from engine.wire.references import parse_reference
from tests.fakes.images import image_archive
from tests.fakes.registry import DOCKER_MANIFEST, OCI_LAYER, OCI_MANIFEST, digest_of
from tests.fakes.writableregistry import Upload, WritableRegistry
from tests.integration.images_world import ImagesWorld, tar_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="unpacking needs root")

BASE = tar_of([("base", b"b" * 1000)])
TOP = tar_of([("top", b"t" * 500)])
BIG = tar_of([("big", secrets.token_bytes(3_000_000))])
SETTINGS = RegistrySettings(certificate_folders=(), connect_timeout_s=2, read_timeout_s=5, retry_pause_s=0)
LOGIN = AuthConfig(username="me", password="pass")


@pytest.fixture
async def registry() -> AsyncIterator[WritableRegistry]:
    async with WritableRegistry() as registry:
        yield registry


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[ImagesWorld]:
    world = ImagesWorld(tmp_path / "data", SETTINGS)
    yield world
    world.close()
    assert world.leftovers() == []


async def push(
    world: ImagesWorld, name: str, credentials: AuthConfig | None = None, uploads: int = 5
) -> list[dict[str, Any]]:
    """Push; return the progress."""
    seen: list[dict[str, Any]] = []

    async def progress(item: dict[str, Any]) -> None:
        seen.append(item)

    await Pusher(world.images, lambda: world.settings, uploads).push(parse_reference(name), "", credentials, progress)
    return seen


async def made(world: ImagesWorld, layers: list[bytes], *names: str) -> str:
    """Load an image of these layers; return its ID."""
    await world.load(image_archive(layers, list(names)))
    world.events.seen.clear()
    return world.images.find(names[0])[0].id


async def packed(world: ImagesWorld, image_id: str) -> None:
    """Pack an image's layers before they are pushed."""
    record = world.images.table.get(image_id)
    assert record is not None
    for chain in record.layers:
        layer = world.images.layers.get(chain)
        assert layer is not None
        await world.images.changesets.with_packed_blob(layer)


def lines(told: list[dict[str, Any]]) -> list[str]:
    """Return a progress as people see it, without the bytes."""
    shown = [f"{item['id']}: {item['status']}" if "id" in item else item.get("status", "aux") for item in told]
    return [line for line in shown if not line.endswith(": Pushing")]


def short(layer: bytes) -> str:
    return digest_of(layer)[7:19]


async def refused(world: ImagesWorld, name: str, kind: type[PortsideError], **more: Any) -> str:
    with pytest.raises(kind) as caught:
        await push(world, name, **more)
    assert [action for action, _, _ in world.events.seen if action == "push"] == []
    return caught.value.message


async def test_a_push_tells_docker_s_progress(world: ImagesWorld, registry: WritableRegistry) -> None:
    name = f"{registry.host}/a/app:1"
    image_id = await made(world, [BASE, TOP], name)
    told = lines(await push(world, name))
    assert told[0] == f"The push refers to repository [{registry.host}/a/app]"
    assert told[1:3] == [f"{short(TOP)}: Preparing", f"{short(BASE)}: Preparing"]
    assert set(told[3:5]) == {f"{short(TOP)}: Pushed", f"{short(BASE)}: Pushed"}
    media_type, data = registry.manifests[("a/app", "1")]
    manifest = json.loads(data)
    assert told[5:] == [f"1: digest: {digest_of(data)} size: {len(data)}", "aux"]
    assert media_type == manifest["mediaType"] == DOCKER_MANIFEST
    assert manifest["config"]["digest"] == image_id
    assert [gzip.decompress(registry.blobs[item["digest"]]) for item in manifest["layers"]] == [BASE, TOP]
    assert all(item["size"] == len(registry.blobs[item["digest"]]) for item in manifest["layers"])
    assert registry.uploads == {}
    view = world.images.inspect(name)
    assert view.repo_digests == [f"{registry.host}/a/app@{digest_of(data)}"]
    assert world.events.seen == [("push", name, {"name": f"{registry.host}/a/app"})]


async def test_what_comes_last_is_the_digest_for_programs(world: ImagesWorld, registry: WritableRegistry) -> None:
    name = f"{registry.host}/app:1"
    await made(world, [BASE], name)
    told = await push(world, name)
    _, data = registry.manifests[("app", "1")]
    aux = {"Tag": "1", "Digest": digest_of(data), "Size": len(data)}
    assert told[-1] == {"progressDetail": {}, "aux": aux}


async def test_a_second_push_sends_nothing(world: ImagesWorld, registry: WritableRegistry) -> None:
    name = f"{registry.host}/app:1"
    await made(world, [BASE, TOP], name)
    await push(world, name)
    before = registry.manifests[("app", "1")]
    world.close()
    again = await ImagesWorld(world.folder, SETTINGS).reopen()
    registry.requests.clear()
    told = lines(await push(again, name))
    assert set(told[3:5]) == {f"{short(TOP)}: Layer already exists", f"{short(BASE)}: Layer already exists"}
    assert [request.method for request in registry.asked("uploads")] == []
    assert registry.manifests[("app", "1")] == before
    again.close()


async def test_the_same_layer_twice_is_sent_once(world: ImagesWorld, registry: WritableRegistry) -> None:
    name = f"{registry.host}/app:1"
    await made(world, [BASE, TOP, BASE], name)
    await push(world, name)
    manifest = json.loads(registry.manifests[("app", "1")][1])
    assert [gzip.decompress(registry.blobs[item["digest"]]) for item in manifest["layers"]] == [BASE, TOP, BASE]


async def test_layers_are_mounted_from_another_repository(world: ImagesWorld, registry: WritableRegistry) -> None:
    one, two = f"{registry.host}/a/one:1", f"{registry.host}/a/two:1"
    await made(world, [BASE, TOP], one, two)
    await push(world, one)
    sent = len(registry.finished)
    told = lines(await push(world, two))
    assert {f"{short(TOP)}: Mounted from a/one", f"{short(BASE)}: Mounted from a/one"} <= set(told)
    assert len(registry.finished) == sent + 1  # the configuration
    assert ("a/two", "1") in registry.manifests


async def test_a_mount_that_is_refused_becomes_an_upload(world: ImagesWorld, registry: WritableRegistry) -> None:
    one, two = f"{registry.host}/one:1", f"{registry.host}/two:1"
    await made(world, [BASE], one, two)
    await push(world, one)
    registry.can_mount = False
    told = lines(await push(world, two))
    assert f"{short(BASE)}: Pushed" in told
    assert registry.uploads == {}  # the one that the registry began instead is taken back
    assert len(registry.cancelled) == 1


async def test_every_tag_of_a_repository(world: ImagesWorld, registry: WritableRegistry) -> None:
    names = [f"{registry.host}/app:{tag}" for tag in ("1", "2")]
    await made(world, [BASE], names[0], f"{registry.host}/other:3")
    await made(world, [BASE, TOP], names[1])
    told = lines(await push(world, f"{registry.host}/app"))
    assert {("app", "1"), ("app", "2")} <= set(registry.manifests)
    assert not any(repository == "other" for repository, _ in registry.manifests)
    assert told.count("aux") == 2
    assert f"{short(BASE)}: Layer already exists" in told
    assert world.events.seen == [("push", f"{registry.host}/app", {"name": f"{registry.host}/app"})]


async def test_a_pulled_image_keeps_its_manifest(world: ImagesWorld, registry: WritableRegistry) -> None:
    made_there = registry.put_image("from/here", "1", [BASE, TOP], is_oci=True)
    await world.pull(f"{registry.host}/from/here:1")
    await world.images.tag(f"{registry.host}/from/here:1", f"{registry.host}/to/there", "2")
    told = lines(await push(world, f"{registry.host}/to/there:2"))
    assert told[-2].startswith(f"2: digest: {made_there['digest']}")
    assert registry.manifests[("to/there", "2")] == registry.manifests[("from/here", "1")]


async def test_zstd_layers_stay_zstd(world: ImagesWorld, registry: WritableRegistry) -> None:
    compress = zstandard.ZstdCompressor().compress
    registry.put_image("from", "1", [BASE], is_oci=True, compress=compress, layer_type=f"{OCI_LAYER}+zstd")
    await world.pull(f"{registry.host}/from:1")
    archive = await world.save(f"{registry.host}/from:1")
    await world.remover.remove(f"{registry.host}/from:1")
    await world.load(archive)
    await world.images.tag(f"{registry.host}/from:1", f"{registry.host}/to", "1")
    await push(world, f"{registry.host}/to:1")
    media_type, data = registry.manifests[("to", "1")]
    assert media_type == OCI_MANIFEST
    assert json.loads(data)["layers"][0]["mediaType"] == f"{OCI_LAYER}+zstd"


async def test_a_shared_layer_s_other_blob_is_not_missed(world: ImagesWorld, registry: WritableRegistry) -> None:
    """The manifest that an image came with names a blob which was not fetched: its layer was there already."""
    registry.put_image("app", "1", [BASE], compress=lambda data: gzip.compress(data, 1))
    registry.put_image("app", "2", [BASE, TOP], compress=lambda data: gzip.compress(data, 9))
    await world.pull(f"{registry.host}/app:1")
    await world.pull(f"{registry.host}/app:2")
    await world.images.tag(f"{registry.host}/app:2", f"{registry.host}/new", "1")
    registry.blobs.clear()
    await push(world, f"{registry.host}/new:1")
    manifest = json.loads(registry.manifests[("new", "1")][1])
    assert [gzip.decompress(registry.blobs[item["digest"]]) for item in manifest["layers"]] == [BASE, TOP]


# Connections that break


async def test_an_upload_goes_on_where_it_broke_off(world: ImagesWorld, registry: WritableRegistry) -> None:
    name = f"{registry.host}/app:1"
    await made(world, [BIG], name)
    registry.break_after = 1_000_000
    await push(world, name)
    big = max(registry.finished, key=lambda upload: len(upload.data))
    assert len(big.pieces) == 2
    assert big.pieces[0] >= 1_000_000
    assert sum(big.pieces) == len(big.data)
    assert gzip.decompress(bytes(big.data)) == BIG
    patches = [request for request in registry.asked("uploads") if request.method == "PATCH"]
    assert (
        max(request.headers.get("Content-Range", "") for request in patches) == f"{big.pieces[0]}-{len(big.data) - 1}"
    )


async def test_an_upload_that_was_forgotten_begins_anew(world: ImagesWorld, registry: WritableRegistry) -> None:
    name = f"{registry.host}/app:1"
    await made(world, [BIG], name)
    registry.break_after, registry.forgets = 1_000_000, True
    await push(world, name)
    big = max(registry.finished, key=lambda upload: len(upload.data))
    assert big.pieces == [len(big.data)]
    assert registry.uploads == {}


async def test_it_may_break_any_number_of_times_as_long_as_it_goes_on(
    world: ImagesWorld, registry: WritableRegistry
) -> None:
    name = f"{registry.host}/app:1"
    await made(world, [BIG], name)
    registry.break_after = 200_000

    async def fault(request: web.Request) -> web.StreamResponse | None:
        if request.method == "PATCH" and registry.break_after is None:
            sent = int(request.headers.get("Content-Range", "0-").partition("-")[0])
            registry.break_after = sent + 300_000 if sent < 2_500_000 else None
        return None

    registry.fault = fault
    await push(world, name)
    big = max(registry.finished, key=lambda upload: len(upload.data))
    assert len(big.pieces) > 6
    assert gzip.decompress(bytes(big.data)) == BIG


async def test_an_upload_that_came_out_wrong_begins_anew(world: ImagesWorld, registry: WritableRegistry) -> None:
    name = f"{registry.host}/app:1"
    await made(world, [BIG], name)
    spoilt: list[str] = []

    async def fault(request: web.Request) -> web.StreamResponse | None:
        upload_id = request.path.rpartition("/")[2]
        if request.method == "PUT" and upload_id in registry.uploads and not spoilt:
            spoilt.append(upload_id)
            registry.uploads[upload_id].data += b"once more"
        return None

    registry.fault = fault
    await push(world, name)
    assert spoilt == registry.cancelled
    assert registry.uploads == {}


@pytest.mark.parametrize("forgets", [False, True])
async def test_a_layer_that_is_packed_meanwhile_may_break_off_too(
    world: ImagesWorld, registry: WritableRegistry, tmp_path: Path, forgets: bool
) -> None:
    name, upper = f"{registry.host}/app:1", tmp_path / "upper"
    upper.mkdir()
    (upper / "file").write_bytes(secrets.token_bytes(8_000_000))
    await commit(world, upper, name)
    registry.break_after, registry.forgets = 3_000_000, forgets
    told = await push(world, name)
    layer = world.images.layers.all()[0]
    assert digest_of(gzip.decompress(registry.blobs[layer.blob])) == layer.diff_id
    totals = {item["progressDetail"]["total"] for item in told if item.get("status") == "Pushing"}
    assert totals == {layer.size} == {8_000_000}
    again = await push(world, name)
    assert f"{layer.diff_id[7:19]}: Layer already exists" in lines(again)


async def commit(world: ImagesWorld, upper: Path, name: str) -> None:
    """Make an image of an upper directory."""
    wanted = NewImage("", upper, ImageConfig(), "c" * 64, "", "", "", lambda: None)
    await ImageCommits(world.images, "amd64").commit(wanted, parse_reference(name))
    world.events.seen.clear()


async def test_a_layer_that_is_damaged_is_not_pushed(
    world: ImagesWorld, registry: WritableRegistry, tmp_path: Path
) -> None:
    name, upper = f"{registry.host}/app:1", tmp_path / "upper"
    upper.mkdir()
    (upper / "file").write_bytes(secrets.token_bytes(3_000_000))
    await commit(world, upper, name)
    (world.layer(name) / "file").write_bytes(b"damaged")
    assert "has changed on the disk" in await refused(world, name, Internal)
    assert registry.manifests == {}
    assert registry.uploads == {}
    assert registry.blobs == {}


async def test_packing_stops_when_the_push_is_refused(
    world: ImagesWorld, registry: WritableRegistry, tmp_path: Path
) -> None:
    name, upper = f"{registry.host}/app:1", tmp_path / "upper"
    upper.mkdir()
    (upper / "file").write_bytes(secrets.token_bytes(3_000_000))
    await commit(world, upper, name)
    failing(registry, "POST", "uploads", lambda: answer_with(403, "DENIED"))
    await refused(world, name, Forbidden)
    assert world.images.layers.all()[0].blob == ""
    registry.fault = None
    await push(world, name)
    assert ("app", "1") in registry.manifests


async def answer_with(status: int, code: str = "", message: str = "") -> web.Response:
    body = {"errors": [{"code": code, "message": message}]} if code else {}
    return web.json_response(body, status=status)


def failing(
    registry: WritableRegistry, method: str, part: str, answer: Callable[[], Awaitable[web.StreamResponse]]
) -> list[int]:
    """Let some requests be answered so; returns a list that grows with each."""
    seen: list[int] = []

    async def fault(request: web.Request) -> web.StreamResponse | None:
        if request.method == method and part in request.path:
            seen.append(1)
            return await answer()
        return None

    registry.fault = fault
    return seen


async def test_what_never_works_is_given_up(world: ImagesWorld, registry: WritableRegistry) -> None:
    name = f"{registry.host}/app:1"
    await made(world, [BASE], name)
    seen = failing(registry, "PATCH", "uploads", lambda: answer_with(503))
    message = await refused(world, name, Unavailable)
    assert message == "received unexpected HTTP status: 503 Service Unavailable"
    assert len(seen) == 5
    assert registry.manifests == {}
    assert registry.uploads == {}


async def test_retries_are_told(world: ImagesWorld, registry: WritableRegistry) -> None:
    name = f"{registry.host}/app:1"
    await made(world, [BASE], name)
    world.settings = RegistrySettings(certificate_folders=(), retry_pause_s=1)
    tries: list[int] = []

    async def fault(request: web.Request) -> web.StreamResponse | None:
        if request.method == "POST" and len(tries) < 2:
            tries.append(1)
            return await answer_with(500)
        return None

    registry.fault = fault
    assert f"{short(BASE)}: Retrying in 1 second" in lines(await push(world, name))


@pytest.mark.parametrize(
    ("method", "part", "status", "code", "told", "kind", "message"),
    [
        ("POST", "uploads", 403, "DENIED", "", Forbidden, "denied: requested access to the resource is denied"),
        ("POST", "uploads", 403, "DENIED", "not yours", Forbidden, "denied: not yours"),
        ("POST", "uploads", 404, "NAME_UNKNOWN", "no such", PortsideError, "name unknown: no such"),
        ("POST", "uploads", 429, "TOOMANYREQUESTS", "slow down", Unavailable, "toomanyrequests: slow down"),
        ("PUT", "uploads", 403, "DENIED", "quota", Forbidden, "denied: quota"),
        ("HEAD", "blobs", 403, "", "", PortsideError, "received unexpected HTTP status: 403 Forbidden"),
        ("PUT", "manifests", 400, "MANIFEST_INVALID", "bad", InvalidArgument, "manifest invalid: bad"),
        ("PUT", "manifests", 403, "DENIED", "immutable", Forbidden, "denied: immutable"),
        ("PUT", "manifests", 500, "", "", Unavailable, "received unexpected HTTP status: 500 Internal Server Error"),
    ],
)
async def test_a_refusal_half_way_leaves_nothing(
    world: ImagesWorld,
    registry: WritableRegistry,
    method: str,
    part: str,
    status: int,
    code: str,
    told: str,
    kind: type[PortsideError],
    message: str,
) -> None:
    name = f"{registry.host}/app:1"
    await made(world, [BASE, TOP], name)
    before = world.images.inspect(name)
    seen = failing(registry, method, part, lambda: answer_with(status, code, told))
    assert await refused(world, name, kind) == message
    assert len(seen) <= 2  # each of the layers once: what is refused is not tried again
    assert registry.manifests == {}
    assert registry.uploads == {}
    assert world.images.inspect(name) == before
    registry.fault = None
    await push(world, name)


async def test_a_registry_that_is_not_there(world: ImagesWorld) -> None:
    await made(world, [BASE], "127.0.0.1:1/app:1")
    message = await refused(world, "127.0.0.1:1/app:1", Unavailable)
    assert message == 'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused'


async def test_names_that_cannot_be_pushed(world: ImagesWorld) -> None:
    await made(world, [BASE], "a.b/app:1")
    assert await refused(world, "a.b/app:2", NotFound) == "tag does not exist: a.b/app:2"
    assert await refused(world, "a.b/x", NotFound) == "An image does not exist locally with the tag: a.b/x"
    digest = "sha256:" + "0" * 64
    assert await refused(world, f"a.b/app@{digest}", InvalidArgument) == "cannot push a digest reference"


async def test_the_wrong_platform_is_refused(world: ImagesWorld, registry: WritableRegistry) -> None:
    name = f"{registry.host}/app:1"
    await made(world, [BASE], name)

    async def progress(item: dict[str, Any]) -> None:
        raise AssertionError(item)

    pusher = Pusher(world.images, lambda: world.settings, 5)
    with pytest.raises(NotFound, match="does not match the specified platform"):
        await pusher.push(parse_reference(name), "linux/arm64", None, progress)
    assert registry.requests == []


# Several at once, and clients that go


async def test_layers_are_sent_at_once(world: ImagesWorld, registry: WritableRegistry) -> None:
    name = f"{registry.host}/app:1"
    image_id = await made(world, [BASE, TOP, BIG], name)
    await packed(world, image_id)
    together = asyncio.Barrier(3)

    async def fault(request: web.Request) -> web.StreamResponse | None:
        if request.method == "PATCH":
            await asyncio.wait_for(together.wait(), 4)
        return None

    registry.fault = fault
    await push(world, name)
    assert ("app", "1") in registry.manifests


async def test_no_more_than_allowed_are_sent_at_once(world: ImagesWorld, registry: WritableRegistry) -> None:
    name = f"{registry.host}/app:1"
    await made(world, [BASE, TOP], name)
    going: list[int] = []

    async def fault(request: web.Request) -> web.StreamResponse | None:
        if "uploads" in request.path or request.method == "HEAD":
            going.append(len(registry.uploads))
        return None

    registry.fault = fault
    told = lines(await push(world, name, uploads=1))
    assert f"{short(BASE)}: Waiting" in told
    assert max(going) <= 1


async def test_a_push_that_nobody_waits_for_stops(world: ImagesWorld, registry: WritableRegistry) -> None:
    name = f"{registry.host}/app:1"
    await made(world, [BIG], name)

    async def progress(item: dict[str, Any]) -> None:
        if item.get("status") == "Pushing":
            raise ConnectionResetError("the client has gone")

    pusher = Pusher(world.images, lambda: world.settings, 5)
    with pytest.raises(ConnectionResetError):
        await pusher.push(parse_reference(name), "", None, progress)
    assert registry.uploads == {}
    assert registry.manifests == {}
    assert world.events.seen == []


async def test_cancelling_takes_the_upload_back(world: ImagesWorld, registry: WritableRegistry) -> None:
    name = f"{registry.host}/app:1"
    await made(world, [BIG], name)
    stuck = asyncio.Event()

    async def fault(request: web.Request) -> web.StreamResponse | None:
        if request.method == "PATCH":
            stuck.set()
            await asyncio.sleep(30)
        return None

    registry.fault = fault
    task = asyncio.ensure_future(push(world, name))
    await asyncio.wait_for(stuck.wait(), 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert registry.uploads == {}
    assert len(registry.cancelled) == 1
    assert registry.manifests == {}


async def test_an_image_that_is_removed_meanwhile_does_not_come_back(
    world: ImagesWorld, registry: WritableRegistry
) -> None:
    name = f"{registry.host}/app:1"
    await made(world, [BASE], name)

    async def fault(request: web.Request) -> web.StreamResponse | None:
        if request.method == "PUT" and "manifests" in request.path:
            await world.remover.remove(name)
        return None

    registry.fault = fault
    await push(world, name)
    assert world.listing.rows({}) == []
    assert world.content() == (0, 0)


# Credentials


async def test_basic_credentials(world: ImagesWorld, registry: WritableRegistry) -> None:
    name = f"{registry.host}/app:1"
    await made(world, [BASE], name)
    registry.login = ("me", "pass")
    assert await refused(world, name, Forbidden) == "no basic auth credentials"
    wrong = AuthConfig(username="me", password="x")
    assert await refused(world, name, Forbidden, credentials=wrong) == "unauthorized: authentication required"
    await push(world, name, LOGIN)
    assert ("app", "1") in registry.manifests


async def test_tokens_are_asked_for_what_is_done(world: ImagesWorld, registry: WritableRegistry) -> None:
    one, two = f"{registry.host}/one:1", f"{registry.host}/two:1"
    await made(world, [BASE], one, two)
    registry.token_login = ("me", "pass")
    await push(world, one, LOGIN)
    assert registry.scopes == [["repository:one:push,pull"]]
    await push(world, two, LOGIN)
    assert registry.scopes[-1] == ["repository:two:push,pull", "repository:one:pull"]
    identity = AuthConfig(identitytoken="a-refresh-token")
    await push(world, two, identity)
    assert registry.scopes[-1] == ["repository:two:push,pull"]


async def test_a_registry_token_is_used_as_it_is(world: ImagesWorld, registry: WritableRegistry) -> None:
    name = f"{registry.host}/app:1"
    await made(world, [BASE], name)
    registry.token_login = ("me", "pass")
    await push(world, name, AuthConfig(registrytoken="token-0"))
    assert registry.tokens_given == 0
    world.events.seen.clear()
    message = await refused(world, name, Forbidden, credentials=AuthConfig(registrytoken="token-9"))
    assert message == "unauthorized: authentication required"


async def test_a_token_may_end_between_requests(world: ImagesWorld, registry: WritableRegistry) -> None:
    name = f"{registry.host}/app:1"
    await made(world, [BASE, TOP, BIG], name)
    registry.token_login = ("me", "pass")

    expired: set[tuple[str, str]] = set()

    async def once(request: web.Request) -> web.StreamResponse | None:
        key = (request.method, request.path)
        if request.method in ("PATCH", "PUT") and key not in expired:
            expired.add(key)
            registry.expire()
        return None

    registry.fault = once
    await push(world, name, LOGIN, uploads=1)
    assert registry.tokens_given >= 3
    assert registry.uploads == {}
    manifest = json.loads(registry.manifests[("app", "1")][1])
    assert [gzip.decompress(registry.blobs[item["digest"]]) for item in manifest["layers"]] == [BASE, TOP, BIG]


async def test_credentials_do_not_go_where_an_upload_is_sent(world: ImagesWorld, registry: WritableRegistry) -> None:
    """A registry may let uploads go to another host, which has no business with the password."""
    name = f"{registry.host}/app:1"
    await made(world, [BASE], name)
    registry.login = ("me", "pass")
    async with WritableRegistry() as elsewhere:

        async def fault(request: web.Request) -> web.StreamResponse | None:
            if request.method == "POST":
                key = str(len(elsewhere.uploads) + len(elsewhere.finished))
                elsewhere.uploads[key] = Upload("app")
                place = f"http://{elsewhere.host}/v2/app/blobs/uploads/{key}"
                return web.Response(status=202, headers={"Location": place})
            return None

        registry.fault = fault
        await push(world, name, LOGIN)
        assert elsewhere.finished
        assert not any("Authorization" in request.headers for request in elsewhere.requests)
