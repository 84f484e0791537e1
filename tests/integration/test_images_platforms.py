"""Images for several platforms under one name, and the attestations in their index."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import sys
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from engine.errors import Conflict, Internal, InvalidArgument, NotFound
from tests.fakes.images import image_archive
from tests.fakes.registry import OCI_INDEX, OCI_MANIFEST, FakeRegistry
from tests.integration.images_world import ImagesServer, ImagesWorld, blocks_of, tar_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="unpacking needs root")

AMD = tar_of([("amd", b"a" * 1000)])
ARM = tar_of([("arm", b"b" * 3000)])


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


@pytest.fixture
async def server(world: ImagesWorld) -> AsyncIterator[ImagesServer]:
    async with world.served() as server:
        yield server


def put_index(registry: FakeRegistry, tag: str = "1") -> dict[str, dict[str, Any]]:
    """Put an image for amd64 and arm64 with an attestation of the first into a registry; return the descriptors."""
    amd = registry.put_image("app", "amd", [AMD], is_oci=True, config={"Labels": {"for": "amd"}})
    arm = registry.put_image("app", "arm", [ARM], is_oci=True, architecture="arm64", config={"Labels": {"for": "arm"}})
    statement = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **registry.put_blob(b'{"os": "unknown"}')},
        "layers": [{"mediaType": "application/vnd.in-toto+json", **registry.put_blob(b'{"_type": "statement"}')}],
    }
    said = registry.put_manifest("app", "said", statement)
    items = [
        {**amd, "platform": {"architecture": "amd64", "os": "linux"}},
        {**arm, "platform": {"architecture": "arm64", "os": "linux", "variant": "v8"}},
        {
            **said,
            "platform": {"architecture": "unknown", "os": "unknown"},
            "annotations": {
                "vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": amd["digest"],
            },
        },
    ]
    index = registry.put_manifest("app", tag, {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": items})
    return {"index": index, "amd": items[0], "arm": items[1], "said": items[2]}


async def test_the_manifests_of_an_index_are_shown(
    world: ImagesWorld, registry: FakeRegistry, server: ImagesServer
) -> None:
    put = put_index(registry)
    name = f"{registry.host}/app:1"
    await world.pull(name)
    world.users.add(world.images.resolve(name).id)
    status, view = await server.json("GET", f"/v1.51/images/{name}/json?manifests=1")
    assert status == 200
    assert view["Descriptor"] == put["index"]
    amd, arm, said = view["Manifests"]
    record = world.images.table.find(name)
    content = sum(world.images.blobs.size(digest) for digest in world.images.blobs.all() if digest != record.index)
    assert amd == {
        "ID": put["amd"]["digest"],
        "Descriptor": put["amd"],
        "Available": True,
        "Size": {"Content": content, "Total": content + 1000},
        "Kind": "image",
        "ImageData": {
            "Platform": {"architecture": "amd64", "os": "linux"},
            "Size": {"Unpacked": 1000},
            "Containers": [f"{1:064x}"],
        },
    }
    assert arm["Available"] is False
    assert arm["Size"] == {"Content": 0, "Total": 0}
    assert arm["ImageData"]["Platform"]["variant"] == "v8"
    assert (said["Kind"], said["AttestationData"]) == ("attestation", {"For": put["amd"]["digest"]})
    assert "ImageData" not in said
    status, rows = await server.json("GET", "/v1.51/images/json?manifests=1")
    assert (rows[0]["Descriptor"], rows[0]["Manifests"]) == (put["index"], view["Manifests"])
    assert rows[0]["Containers"] == 1


async def test_older_versions_are_told_no_manifests(
    world: ImagesWorld, registry: FakeRegistry, server: ImagesServer
) -> None:
    put_index(registry)
    name = f"{registry.host}/app:1"
    await world.pull(name)
    for version, shown in (("1.46", set()), ("1.47", {"Manifests"}), ("1.48", {"Descriptor", "Manifests"})):
        _, rows = await server.json("GET", f"/v{version}/images/json?manifests=1")
        assert {"Descriptor", "Manifests"} & set(rows[0]) == shown, version
    for version, shown in (("1.47", set()), ("1.48", {"Descriptor", "Manifests"})):
        _, view = await server.json("GET", f"/v{version}/images/{name}/json?manifests=1")
        assert {"Descriptor", "Manifests"} & set(view) == shown, version


async def test_manifests_and_platform_exclude_each_other(
    world: ImagesWorld, registry: FakeRegistry, server: ImagesServer
) -> None:
    put = put_index(registry)
    name = f"{registry.host}/app:1"
    await world.pull(name)
    wanted = '{"os":"linux","architecture":"amd64"}'
    status, body = await server.json("GET", f"/v1.51/images/{name}/json?manifests=1&platform={wanted}")
    text = "conflicting options: manifests and platform options cannot both be set"
    assert (status, body["message"]) == (400, text)
    status, view = await server.json("GET", f"/v1.51/images/{name}/json?platform={wanted}")
    assert (status, view["Descriptor"]["digest"]) == (200, put["amd"]["digest"])
    status, body = await server.json(
        "GET", f'/v1.51/images/{name}/json?platform={{"os":"linux","architecture":"s390x"}}'
    )
    assert status == 404
    assert "does not match the specified platform (linux/s390x)" in body["message"]


async def test_both_platforms_stay_under_one_name(world: ImagesWorld, registry: FakeRegistry) -> None:
    put_index(registry)
    name = f"{registry.host}/app:1"
    await world.pull(name, "linux/amd64")
    await world.pull(name, "linux/arm64")
    ids = {wanted: world.images.resolve(name, f"linux/{wanted}").id for wanted in ("amd64", "arm64")}
    assert world.images.resolve(name).id == ids["arm64"]
    assert [item.architecture for item in (world.images.inspect(name, "linux/amd64"),)] == ["amd64"]
    (row,) = world.listing.rows({}, manifests=True)
    assert (row.id, row.size) == (ids["arm64"], 4000)
    assert isinstance(row.manifests, list)
    assert [item["Available"] for item in row.manifests] == [True, True, False]
    report = await world.listing.prune({"dangling": ["true"]})
    assert report.images_deleted is None
    again = await world.reopen()
    assert again.images.resolve(name, "linux/amd64").id == ids["amd64"]
    done = await again.remover.remove(name)
    assert {item.deleted for item in done} >= set(ids.values())
    assert again.content() == (0, 0)
    again.close()


async def test_an_image_for_another_platform_is_used_by_a_container(world: ImagesWorld, registry: FakeRegistry) -> None:
    put_index(registry)
    name = f"{registry.host}/app:1"
    await world.pull(name, "linux/amd64")
    await world.pull(name, "linux/arm64")
    kept = world.images.resolve(name, "linux/amd64").id
    world.users.add(kept)
    await world.remover.remove(name)
    assert [row.id for row in world.listing.rows({})] == [kept]


async def test_single_platforms_are_deleted(world: ImagesWorld, registry: FakeRegistry, server: ImagesServer) -> None:
    put_index(registry)
    name = f"{registry.host}/app:1"
    await world.pull(name, "linux/amd64")
    await world.pull(name, "linux/arm64")
    amd, arm = (world.images.resolve(name, f"linux/{wanted}").id for wanted in ("amd64", "arm64"))
    with pytest.raises(InvalidArgument) as refused:
        await world.remover.remove_platforms(name, ["linux/arm64"], force=False)
    assert refused.value.message == (
        "Content will be removed from all images referencing this variant. Use —-force to force delete."
    )
    with pytest.raises(NotFound) as unknown:
        await world.remover.remove_platforms(name, ["linux/s390x"], force=True)
    assert unknown.value.message.endswith("does not provide the specified platform (linux/s390x)")
    container = world.users.add(arm, is_running=True)
    with pytest.raises(Conflict):
        await world.remover.remove_platforms(name, ["linux/arm64"], force=True)
    world.users.containers = []
    assert container
    status, done = await server.json(
        "DELETE", f'/v1.51/images/{name}?force=1&platforms={{"os":"linux","architecture":"arm64"}}'
    )
    assert (status, done[0]) == (200, {"Deleted": arm})
    assert world.images.resolve(name).id == amd
    done = await world.remover.remove_platforms(name, ["linux/amd64"], force=True)
    assert world.content() == (0, 0)


async def test_all_platforms_and_attestations_survive_save_and_load(
    world: ImagesWorld, registry: FakeRegistry, tmp_path: Path
) -> None:
    put = put_index(registry)
    name = f"{registry.host}/app:1"
    await world.pull(name, "linux/arm64")
    await world.pull(name, "linux/amd64")
    record = world.images.table.find(name)
    for digest in (put["said"]["digest"], *(item["digest"] for item in _statement(registry, put))):
        world.images.blobs.add(registry.blobs.get(digest) or registry.manifests["app", digest][1])
        record.extras.append(digest)
    archive = await world.save(name)
    other = ImagesWorld(tmp_path / "other")
    told = await other.load(archive)
    assert [item["stream"] for item in told if "stream" in item] == [f"Loaded image: {name}\n"]
    assert other.images.resolve(name).architecture == "amd64"
    assert other.images.resolve(name, "linux/arm64").architecture == "arm64"
    manifests = other.images.inspect(name, manifests=True).manifests
    assert isinstance(manifests, list)
    assert [(item["Kind"], item["Available"]) for item in manifests] == [
        ("image", True),
        ("image", True),
        ("attestation", True),
    ]
    assert other.images.inspect(name).descriptor == put["index"]
    again = await other.reopen()
    assert await again.save(name) == archive
    again.close()
    one = [block async for block in world.archives.save(world.archives.plan([name], "linux/arm64"), is_whole=False)]
    third = ImagesWorld(tmp_path / "third")
    await third.load(b"".join(one))
    assert third.images.resolve(name).architecture == "arm64"
    assert len(third.images.table.all()) == 1
    third.close()
    with pytest.raises(Internal) as missing:
        world.archives.plan([name], "linux/s390x")
    assert missing.value.message == "no suitable export target found for platform linux/s390x"


@pytest.mark.parametrize(("wanted", "loaded"), [("arm64", 1), ("amd64", 1), ("s390x", 0)])
async def test_one_platform_is_loaded_out_of_several(
    world: ImagesWorld, registry: FakeRegistry, tmp_path: Path, wanted: str, loaded: int
) -> None:
    put_index(registry)
    name = f"{registry.host}/app:1"
    await world.pull(name, "linux/arm64")
    await world.pull(name, "linux/amd64")
    other = ImagesWorld(tmp_path / "other")
    await other.archives.load(blocks_of(await world.save(name)), _nobody, f"linux/{wanted}")
    assert [other.images.file(record).architecture for record in other.images.table.all()] == [wanted] * loaded
    assert [row.repo_tags for row in other.listing.rows({})] == [[name]] * loaded
    assert other.leftovers() == []
    other.close()


async def _nobody(item: dict[str, Any]) -> None:
    """Take progress that nobody reads."""


def _statement(registry: FakeRegistry, put: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    manifest = json.loads(registry.manifests["app", put["said"]["digest"]][1])
    return [manifest["config"], *manifest["layers"]]


async def test_an_index_that_lies_does_no_harm(
    world: ImagesWorld, registry: FakeRegistry, server: ImagesServer
) -> None:
    put = put_index(registry, "good")
    items = [
        put["amd"],
        {"mediaType": OCI_MANIFEST, "digest": "sha256:../../etc/passwd", "size": 5},
        {"mediaType": OCI_INDEX, "digest": put["amd"]["digest"], "size": -1},
        {"annotations": {"vnd.docker.reference.type": "attestation-manifest"}},
        {"mediaType": OCI_MANIFEST, "digest": put["said"]["digest"], "size": 1, "platform": None},
    ]
    registry.put_manifest("app", "1", {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": items})
    name = f"{registry.host}/app:1"
    await world.pull(name)
    status, view = await server.json("GET", f"/v1.51/images/{name}/json?manifests=1")
    assert status == 200
    assert [item["Kind"] for item in view["Manifests"]] == ["image", "image", "attestation", "image"]
    assert [item["Available"] for item in view["Manifests"]] == [True, False, False, False]


@pytest.mark.parametrize(
    "index",
    [
        b"{",
        b'{"manifests": [{"digest": "sha256:../../../etc/passwd"}]}',
        b'{"manifests": [{"digest": "' + f"sha256:{'0' * 64}".encode() + b'"}]}',
        b'{"manifests": "many"}',
    ],
)
async def test_a_broken_oci_layout_beside_a_good_docker_one_is_passed_over(world: ImagesWorld, index: bytes) -> None:
    good = image_archive([AMD], ["app:1"])
    with tarfile.open(fileobj=io.BytesIO(good)) as archive:
        members = [(member.name, _content(archive, member)) for member in archive]
    await world.load(tar_of([*members, ("index.json", index)]))
    assert (world.layer("app:1") / "amd").exists()


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return file.read() if file else b""


@pytest.mark.parametrize(
    "options", [[], ["-a"], ["plain"], ["-q"], ["--digests"], ["--no-trunc"], ["--format", "json"]]
)
async def test_trees_of_images_look_like_dockers(
    world: ImagesWorld, registry: FakeRegistry, server: ImagesServer, options: list[str]
) -> None:
    put_index(registry)
    name = f"{registry.host}/app:1"
    await world.pull(name, "linux/arm64")
    await world.pull(name, "linux/amd64")
    await world.images.tag(name, "a-name-that-is-longer-than-the-first/x", "2")
    await world.load(image_archive([AMD], ["plain:1"]))
    await world.load(image_archive([ARM], []))
    world.users.add(world.images.resolve(name).id)
    code, theirs = await server.docker("images", "--tree", *options)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "engine.cli", "images", "--tree", *options),
        env={**os.environ, "DOCKER_HOST": f"unix://{server.socket}", "HOME": str(world.folder)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    ours, _ = await process.communicate()
    assert (process.returncode, ours.decode()) == (code, re.sub("\x1b\\[[0-9;]*m", "", theirs))
