"""Loading, naming, listing, deleting, pruning, saving; what a crash leaves; who uses what."""

from __future__ import annotations

import asyncio
import bz2
import gzip
import hashlib
import json
import lzma
import os
import secrets
import subprocess
import sys
import tarfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import zstandard

from engine.errors import Conflict, InvalidArgument, NotFound, PortsideError
from engine.wire.references import parse_reference
from engine.wire.times import format_ns
from tests.fakes.images import busybox_archive, image_archive
from tests.integration.images_world import ImagesWorld, blocks_of, tar_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="unpacking needs root")

BASE = tar_of([("base", b"b" * 1000)])
TOP = tar_of([("top", b"t" * 500)])


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[ImagesWorld]:
    world = ImagesWorld(tmp_path / "data")
    yield world
    world.close()
    assert world.leftovers() == []


def image(*tags: str, layers: list[bytes] | None = None, **config: Any) -> bytes:
    """Return an archive of a small image that is like no other unless ``layers`` and ``config`` say so."""
    return image_archive(layers or [BASE], list(tags), {"Labels": {"n": secrets.token_hex(4)}, **config})


async def test_load_tells_what_it_does_and_a_container_can_be_made_of_it(world: ImagesWorld) -> None:
    told = await world.load(image("app:1", "app:2", layers=[BASE, TOP], Env=["A=b"]))
    assert [item["stream"] for item in told if "stream" in item] == [
        "Loaded image: app:1\n",
        "Loaded image: app:2\n",
    ]
    assert [item["status"] for item in told if "status" in item] == ["Loading layer"] * 4
    found = world.images.resolve("app:2")
    assert found.config.env == ["A=b"]
    assert (found.os, found.architecture) == ("linux", "amd64")
    upper, lower = world.images.lower_dirs(found.id)
    assert (upper / "top").read_bytes() == b"t" * 500
    assert (lower / "base").read_bytes() == b"b" * 1000
    assert world.images.size_bytes(found.id) == 1500
    assert world.images.reference_name(found.id) == "app:1"
    assert world.events.actions() == ["load"]


async def test_an_image_without_a_tag_is_told_by_its_id(world: ImagesWorld) -> None:
    told = await world.load(image())
    (row,) = world.listing.rows({})
    assert told[-1] == {"stream": f"Loaded image ID: {row.id}\n"}
    assert (row.repo_tags, row.repo_digests) == ([], [])


async def test_a_tag_that_moves_is_told(world: ImagesWorld) -> None:
    await world.load(image("app:1"))
    old = world.images.resolve("app:1").id
    told = await world.load(image("app:1"))
    assert told[-2] == {
        "stream": f"The image app:1 already exists, renaming the old one with ID {old} to empty string\n"
    }
    assert world.images.resolve(old).id == old


async def test_names_ids_and_short_ids_find_an_image(world: ImagesWorld) -> None:
    await world.load(image("example.com:5000/a/b:1"))
    image_id = world.images.resolve("example.com:5000/a/b:1").id
    for name in (image_id, image_id[7:], image_id[7:19], image_id[:15]):
        assert world.images.resolve(name).id == image_id
    for name, text in (
        ("nope", "No such image: nope:latest"),
        ("example.com:5000/a/b", "No such image: example.com:5000/a/b:latest"),
        ("0" * 64, f"No such image: sha256:{'0' * 64}"),
        ("sha256:" + "0" * 64, f"No such image: sha256:{'0' * 64}"),
    ):
        with pytest.raises(NotFound) as caught:
            world.images.resolve(name)
        assert caught.value.message == text
    with pytest.raises(InvalidArgument, match="invalid reference format"):
        world.images.resolve("a b")


async def test_another_platform_is_refused_with_mobys_text(world: ImagesWorld) -> None:
    await world.load(image("app:1"))
    assert world.images.resolve("app:1", "linux/amd64")
    with pytest.raises(NotFound) as caught:
        world.images.resolve("app:1", "linux/arm64")
    assert caught.value.message == (
        "image with reference app:1 was found but its platform (linux/amd64) does not match "
        "the specified platform (linux/arm64)"
    )


async def test_removing_names_then_the_image(world: ImagesWorld) -> None:
    await world.load(image("app:1", "app:2", layers=[BASE, TOP]))
    image_id = world.images.resolve("app:1").id
    chains = world.images.table.find("app:1").layers
    world.events.actions()
    done = await world.remover.remove("app:1")
    assert [item.untagged for item in done] == ["app:1"]
    done = await world.remover.remove("app:2")
    assert [item.untagged or item.deleted for item in done[:1]] == ["app:2"]
    assert [item.deleted for item in done[1:]] == [image_id, chains[1], chains[0]]
    assert world.events.actions() == ["untag", "untag", "delete"]
    assert world.content() == (0, 0)


async def test_shared_layers_stay_for_the_other_image(world: ImagesWorld) -> None:
    await world.load(image("one:1", layers=[BASE, TOP]))
    await world.load(image("two:1", layers=[BASE]))
    done = await world.remover.remove("one:1")
    assert len([item for item in done if isinstance(item.deleted, str)]) == 2
    assert (world.layer("two:1") / "base").exists()
    assert len(world.images.layers.all()) == 1


async def test_several_names_need_force_by_id(world: ImagesWorld) -> None:
    await world.load(image("app:1", "other:1"))
    image_id = world.images.resolve("app:1").id
    with pytest.raises(Conflict) as caught:
        await world.remover.remove(image_id)
    assert caught.value.message == (
        f"conflict: unable to delete {image_id[7:19]} (must be forced) - image is referenced in multiple repositories"
    )
    done = await world.remover.remove(image_id[7:19], force=True)
    assert [item.untagged for item in done[:2]] == ["app:1", "other:1"]
    assert world.content() == (0, 0)


async def test_a_stopped_container_stands_against_removal(world: ImagesWorld) -> None:
    await world.load(image("app:1"))
    image_id = world.images.resolve("app:1").id
    container_id = world.users.add(image_id)
    with pytest.raises(Conflict) as caught:
        await world.remover.remove("app:1")
    assert caught.value.message == (
        f'conflict: unable to remove repository reference "app:1" (must force) - container {container_id[:12]} '
        f"is using its referenced image {image_id[7:19]}"
    )
    with pytest.raises(Conflict) as caught:
        await world.remover.remove(image_id)
    assert caught.value.message == (
        f"conflict: unable to delete {image_id[7:19]} (must be forced) - "
        f"image is being used by stopped container {container_id[:12]}"
    )


async def test_a_running_container_cannot_be_forced(world: ImagesWorld) -> None:
    await world.load(image("app:1"))
    image_id = world.images.resolve("app:1").id
    container_id = world.users.add(image_id, is_running=True)
    with pytest.raises(Conflict) as caught:
        await world.remover.remove(image_id, force=True)
    assert caught.value.message == (
        f"conflict: unable to delete {image_id[7:19]} (cannot be forced) - "
        f"image is being used by running container {container_id[:12]}"
    )
    done = await world.remover.remove("app:1", force=True)
    assert [item.untagged for item in done] == ["app:1"]
    assert world.images.resolve(image_id).id == image_id


async def test_an_image_forced_away_keeps_its_layers_for_the_container(world: ImagesWorld) -> None:
    await world.load(image("app:1"))
    image_id = world.images.resolve("app:1").id
    world.users.add(image_id)
    done = await world.remover.remove("app:1", force=True)
    assert [item.deleted for item in done if isinstance(item.deleted, str)] == [image_id]
    assert world.listing.rows({}) == []
    with pytest.raises(NotFound):
        world.images.resolve(image_id)
    assert (world.images.lower_dirs(image_id)[0] / "base").exists()
    again = await world.reopen()
    assert (again.images.lower_dirs(image_id)[0] / "base").exists()
    again.users.containers.clear()
    await again.images.collect()
    assert again.content() == (0, 0)
    again.close()


async def test_tags_are_checked_and_moved(world: ImagesWorld) -> None:
    await world.load(image("app:1"))
    await world.images.tag("app:1", "example.com/x", "")
    await world.images.tag("example.com/x", "app", "2")
    assert [row.repo_tags for row in world.listing.rows({})] == [["app:1", "app:2", "example.com/x:latest"]]
    for repository, tag, message in (
        ("App", "", "invalid reference format: repository name (library/App) must be lowercase"),
        ("app", "a b", "invalid tag format"),
        (f"app@sha256:{'1' * 64}", "", "cannot import digest reference"),
        ("sha256", "x", "refusing to create an ambiguous tag using digest algorithm as name"),
    ):
        with pytest.raises(InvalidArgument) as caught:
            await world.images.tag("app:1", repository, tag)
        assert caught.value.message == message


async def test_filters_of_the_list(world: ImagesWorld) -> None:
    await world.load(image("app:1", "deep/er/app:1", Labels={"a": "1"}))
    await world.load(image("tool:1", Labels={"a": "2"}))
    await world.load(image())

    def names(**filters: list[str]) -> set[str]:
        return {name for row in world.listing.rows(filters) for name in row.repo_tags or ["<none>"]}

    assert names() == {"app:1", "deep/er/app:1", "tool:1", "<none>"}
    assert names(dangling=["true"]) == {"<none>"}
    assert names(dangling=["false"]) == {"app:1", "deep/er/app:1", "tool:1"}
    assert names(label=["a=1"]) == {"app:1", "deep/er/app:1"}
    assert names(label=["a"]) == {"app:1", "deep/er/app:1", "tool:1"}
    assert names(reference=["app"]) == {"app:1"}
    assert names(reference=["*:1"]) == {"app:1", "tool:1"}
    assert names(reference=["*/*/a[a-q]?:1"]) == {"deep/er/app:1"}
    assert names(reference=["nothing"]) == set()
    assert names(until=["2025-01-01"]) == set()
    assert len(names(until=["2026-06-01"])) == 4
    with pytest.raises(InvalidArgument, match="syntax error in pattern"):
        names(reference=["[a"])
    with pytest.raises(NotFound, match="No such image: nope:latest"):
        names(before=["nope"])


async def test_prune_takes_dangling_images_or_all_that_are_unused(world: ImagesWorld) -> None:
    await world.load(image("app:1"))
    await world.load(image("used:1"))
    await world.load(image(layers=[TOP]))
    world.users.add(world.images.resolve("used:1").id)
    report = await world.listing.prune({})
    assert report.space_reclaimed == 500
    assert {tag for row in world.listing.rows({}) for tag in row.repo_tags} == {"app:1", "used:1"}
    report = await world.listing.prune({"dangling": ["false"], "label!": ["nothing"]})
    assert [row.repo_tags for row in world.listing.rows({})] == [["used:1"]]
    assert report.space_reclaimed == 0  # the layer is that of the other image too
    assert world.events.seen[-1] == ("prune", "", {"reclaimed": "0"})


async def test_what_others_are_made_from_is_not_dangling(world: ImagesWorld) -> None:
    await world.load(image())
    (parent,) = world.images.table.all()
    file = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": []}}
    child, _ = await world.images.add(json.dumps(file).encode(), [], [parse_reference("child:1")], parent=parent.id)
    for filters in ({}, {"dangling": ["true"]}):
        assert parent.id not in {row.id for row in world.listing.rows(filters)}
    assert world.listing.rows({"dangling": ["true"]}, intermediate=True) == []
    assert {row.id for row in world.listing.rows({}, intermediate=True)} == {parent.id, child.id}
    report = await world.listing.prune({})
    assert report.images_deleted is None
    done = await world.remover.remove("child:1")
    assert [item.deleted for item in done if isinstance(item.deleted, str)][:2] == [child.id, parent.id]
    assert world.content() == (0, 0)


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        ({}, {"new:1", "old:1"}),
        ({"dangling": ["1"]}, {"new:1", "old:1"}),
        ({"dangling": ["false"]}, set()),
        ({"dangling": ["false"], "label": ["kind=new"]}, {"old:1"}),
        ({"dangling": ["false"], "label": ["kind"]}, set()),
        ({"dangling": ["false"], "label": ["kind", "kind=old"]}, {"new:1"}),
        ({"dangling": ["false"], "label!": ["kind=new"]}, {"new:1"}),
        ({"dangling": ["false"], "label!": ["kind=new", "kind=old"]}, set()),
        ({"dangling": ["false"], "label!": ["kind"]}, {"new:1", "old:1"}),
        ({"dangling": ["false"], "until": ["2026-06-01"]}, {"new:1"}),
        ({"dangling": ["false"], "until": ["1577836800"]}, {"new:1", "old:1"}),
        ({"dangling": ["false"], "until": ["1m"]}, {"new:1"}),
        ({"dangling": ["false"], "until": ["2026-06-01"], "label!": ["kind=old"]}, {"new:1", "old:1"}),
    ],
)
async def test_filters_of_prune(world: ImagesWorld, filters: dict[str, list[str]], left: set[str]) -> None:
    await world.load(image("old:1", Labels={"kind": "old"}))
    file: dict[str, Any] = {"os": "linux", "architecture": "amd64", "created": format_ns(time.time_ns())}
    file |= {"config": {"Labels": {"kind": "new"}}, "rootfs": {"type": "layers", "diff_ids": []}}
    await world.images.add(json.dumps(file).encode(), [], [parse_reference("new:1")])
    await world.load(image(Labels={"kind": "new"}, layers=[TOP]))
    await world.listing.prune(filters)
    assert {tag for row in world.listing.rows({}) for tag in row.repo_tags} == left


async def test_prune_refuses_filters_that_are_no_values(world: ImagesWorld, tmp_path: Path) -> None:
    async with world.served() as server:
        for filters, message in (
            ({"dangling": ["perhaps"]}, "invalid filter 'dangling=[perhaps]'"),
            ({"until": ["1m", "2m"]}, "more than one until filter specified"),
            ({"until": ["soon"]}, "soon"),
            ({"reference": ["x"]}, "invalid filter 'reference'"),
            ({"label": {"a": "b"}}, "invalid filter"),
        ):
            status, body = await server.json("POST", f"/v1.51/images/prune?filters={quote(json.dumps(filters))}")
            assert status == 400, filters
            assert message in body["message"]


async def test_history_is_newest_first(world: ImagesWorld) -> None:
    await world.load(image("app:1", layers=[BASE, TOP]))
    top, base = world.images.history("app:1")
    assert (top.id, top.tags, top.size, top.created_by) == (
        world.images.resolve("app:1").id,
        ["app:1"],
        500,
        "layer 1",
    )
    assert (base.id, base.tags, base.size) == ("<missing>", None, 1000)


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (b"", "invalid archive: does not contain a manifest.json"),
        (b"garbage" * 1000, "invalid archive: invalid tar header"),
        (tar_of([("x", b"")]), "invalid archive: does not contain a manifest.json"),
        (tar_of([("manifest.json", b"{")]), "invalid archive: manifest.json"),
        (tar_of([("manifest.json", b'[{"Config":"c.json"}]')]), "invalid archive: c.json is missing"),
        (
            tar_of(
                [
                    ("manifest.json", b'[{"Config":"../../c","Layers":["l.tar"]}]'),
                    ("c", b'{"rootfs":{"diff_ids":[]},"os":"linux"}'),
                    ("l.tar", b"x"),
                ]
            ),
            "invalid archive: ../../c is missing",
        ),
        (
            tar_of(
                [
                    ("manifest.json", b'[{"Config":"c","Layers":["l.tar"]}]'),
                    ("c", b'{"rootfs":{"diff_ids":[]},"os":"linux"}'),
                    ("l.tar", b"x"),
                ]
            ),
            "invalid manifest, layers length mismatch: expected 0, got 1",
        ),
        (
            tar_of(
                [
                    ("manifest.json", b'[{"Config":"c","Layers":[]}]'),
                    ("c", b'{"rootfs":{"diff_ids":[]},"os":"windows"}'),
                ]
            ),
            "cannot load windows image on linux",
        ),
        (tar_of([("blobs/sha256/" + "0" * 64, b"other")]), "has the digest"),
        (busybox_archive("a:1")[:200_000], "unexpected EOF"),
    ],
)
async def test_archives_that_are_none_leave_nothing(world: ImagesWorld, archive: bytes, message: str) -> None:
    with pytest.raises(PortsideError) as caught:
        await world.load(archive)
    assert message in caught.value.message
    assert world.content() == (0, 0)


async def test_a_layer_that_is_not_what_the_image_says_is_refused(world: ImagesWorld) -> None:
    good = image("app:1", layers=[BASE])
    with pytest.raises(InvalidArgument, match="wrong diff id calculated on extraction"):
        await world.load(good.replace(b"b" * 1000, b"B" * 1000))
    assert world.content() == (0, 0)


async def test_archives_may_be_compressed_and_hold_several_images(world: ImagesWorld) -> None:
    first, second = image("one:1", layers=[BASE, TOP]), image("two:1", layers=[BASE])
    await world.load(gzip.compress(first))
    await world.load(second)
    both = await world.save("one:1", "two:1")
    other = ImagesWorld(world.folder.parent / "other")
    told = await other.load(both)
    assert [item["stream"] for item in told if "stream" in item] == ["Loaded image: one:1\n", "Loaded image: two:1\n"]
    assert other.images.resolve("one:1").id == world.images.resolve("one:1").id
    other.close()


async def test_what_is_saved_is_named_by_id_too(world: ImagesWorld) -> None:
    await world.load(image("app:1", "app:2"))
    image_id = world.images.resolve("app:1").id
    for name in (image_id, image_id[7:], image_id[:19], image_id[7:19]):
        assert world.archives.plan([name]) == [(world.images.table.find("app:1"), [])]
    both = [parse_reference("app:1"), parse_reference("app:2")]
    assert world.archives.plan(["app"]) == [(world.images.table.find("app:1"), both)]
    assert world.archives.plan(["app:2", image_id]) == [(world.images.table.find("app:1"), both[1:])]


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, zstandard.ZstdCompressor().compress])
async def test_compressed_streams_may_follow_each_other(world: ImagesWorld, compress: Callable[[bytes], bytes]) -> None:
    archive = image("app:1", layers=[tar_of([("big", os.urandom(3_000_000))])])
    middle = len(archive) // 2
    await world.load(compress(archive[:middle]) + compress(archive[middle:]))
    assert (world.layer("app:1") / "big").stat().st_size == 3_000_000
    damaged = bytearray(compress(archive))
    damaged[500:600] = bytes(100)
    with pytest.raises(InvalidArgument) as caught:
        await world.load(bytes(damaged))
    assert "invalid" in caught.value.message


async def test_save_writes_dockers_and_ocis_layout_for_others(world: ImagesWorld) -> None:
    await world.load(image("app:1", "app:2", layers=[BASE, TOP]))
    archive = world.folder.parent / "out.tar"
    archive.write_bytes(await world.save("app"))
    with tarfile.open(archive) as opened:
        names = opened.getnames()
    assert {"manifest.json", "index.json", "oci-layout"} <= set(names)
    image_id = world.images.resolve("app:1").id
    for source in (f"docker-archive:{archive}:app:2", f"oci-archive:{archive}:1"):
        shown = await run("skopeo", "inspect", "--config", "--raw", source)
        assert f"sha256:{hashlib.sha256(shown).hexdigest()}" == image_id


async def test_an_oci_archive_of_skopeo_is_loaded(world: ImagesWorld) -> None:
    folder = world.folder.parent
    (folder / "in.tar").write_bytes(image("app:1", layers=[BASE, TOP]))
    await run("skopeo", "copy", f"docker-archive:{folder}/in.tar", f"oci-archive:{folder}/oci.tar:example.com/app:3")
    await world.load((folder / "oci.tar").read_bytes())
    assert (world.layer("example.com/app:3") / "top").exists()


async def test_the_machines_own_platform_is_loaded_out_of_an_index(world: ImagesWorld) -> None:
    blobs: dict[str, bytes] = {}

    def blob(data: bytes, kind: str, **more: object) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = data
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data), **more}

    oci = "application/vnd.oci.image"
    children = []
    for machine, layer in (("arm64", TOP), ("amd64", BASE)):
        diff_id = f"sha256:{hashlib.sha256(layer).hexdigest()}"
        config = {"os": "linux", "architecture": machine, "rootfs": {"type": "layers", "diff_ids": [diff_id]}}
        manifest = {
            "config": blob(json.dumps(config).encode(), f"{oci}.config.v1+json"),
            "layers": [blob(layer, f"{oci}.layer.v1.tar")],
        }
        platform = {"os": "linux", "architecture": machine}
        children.append(blob(json.dumps(manifest).encode(), f"{oci}.manifest.v1+json", platform=platform))
    missing = {"mediaType": f"{oci}.manifest.v1+json", "digest": "sha256:" + "0" * 64, "size": 5, "platform": platform}
    index = json.dumps({"manifests": [missing, *children]}).encode()
    name = {"org.opencontainers.image.ref.name": "example.com/multi:1"}
    top = {"manifests": [blob(index, f"{oci}.index.v1+json", annotations=name)]}
    await world.load(tar_of([*blobs.items(), ("index.json", json.dumps(top).encode())]))
    assert world.images.resolve("example.com/multi:1").architecture == "amd64"
    assert len(world.listing.rows({})) == 1


async def test_import_makes_an_image_of_a_tar(world: ImagesWorld) -> None:
    image_id = await world.archives.import_layer(
        blocks_of(gzip.compress(BASE)),
        parse_reference("imported:1"),
        ['CMD ["a", "b"]', "ENV X=1 Y=2", "EXPOSE 80", "LABEL l=m", "WORKDIR /w", "USER u"],
        "",
        ("linux", "amd64"),
    )
    found = world.images.inspect("imported:1")
    assert found.id == image_id
    assert found.comment == "Imported from -"
    assert found.config is not None
    assert (found.config.cmd, found.config.env, found.config.user) == (["a", "b"], ["X=1", "Y=2"], "u")
    assert (world.layer("imported:1") / "base").exists()
    assert world.events.actions() == ["tag", "import"]


async def test_two_imports_at_once_are_two_images(world: ImagesWorld) -> None:
    first, second = await asyncio.gather(
        *(world.archives.import_layer(blocks_of(data), None, [], "", ("linux", "amd64")) for data in (BASE, TOP))
    )
    assert first != second
    assert (world.layer(first) / "base").exists()
    assert (world.layer(second) / "top").exists()


async def test_an_import_that_stops_halfway_leaves_nothing(world: ImagesWorld) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield BASE[:2000]
        raise ConnectionResetError("gone")

    with pytest.raises(PortsideError):
        await world.archives.import_layer(broken(), None, [], "", ("linux", "amd64"))
    assert world.content() == (0, 0)


async def test_what_a_crash_left_is_swept_and_what_was_stored_is_there(world: ImagesWorld) -> None:
    await world.load(image("app:1", layers=[BASE, TOP]))
    (world.images.layers.root / "half").mkdir()
    (world.images.layers.root / "half/file").write_text("x")
    (world.folder / "ingest/partial").write_text("x")
    world.images.blobs.add(b"a blob that no image has")
    again = await world.reopen()
    assert again.content() == (3, 2)
    assert again.leftovers() == []
    assert [path.name for path in (again.layer("app:1"), again.layer("app:1", 0))]
    assert again.images.inspect("app:1").repo_tags == ["app:1"]
    again.close()


async def test_an_engine_killed_in_a_load_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    script = (
        "import asyncio, sys, pathlib\n"
        "from tests.integration.images_world import ImagesWorld\n"
        "from tests.integration.test_images_store import image\n"
        "async def main():\n"
        "    world = ImagesWorld(pathlib.Path(sys.argv[1]))\n"
        "    for number in range(1000):\n"
        "        await world.load(image(f'app:{number}', layers=None))\n"
        "        print(number, flush=True)\n"
        "asyncio.run(main())\n"
    )
    for round_number in range(4):
        folder = tmp_path / str(round_number)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, str(folder), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        last = -1
        while last < 2 + round_number:
            last = int(await process.stdout.readline())
        await asyncio.sleep(0.007 * round_number)
        process.kill()
        rest = (await process.communicate())[0].split()
        last = max([last, *map(int, rest)])
        world = ImagesWorld(folder)
        await world.images.sweep()
        for number in range(last + 1):
            assert (world.layer(f"app:{number}") / "base").read_bytes() == b"b" * 1000
        assert world.leftovers() == []
        images = len(world.images.table.all())
        assert world.content() == (images + 1, 1)
        world.close()


async def test_chains_of_a_hundred_layers_fit_in_mount_options(world: ImagesWorld) -> None:
    layers = [tar_of([(f"f{number}", b"")]) for number in range(100)]
    await world.load(image("deep:1", layers=layers))
    folders = world.images.lower_dirs(world.images.resolve("deep:1").id)
    assert len(folders) == 100
    assert (folders[0] / "f99").exists()
    assert sum(len(folder.name) + 1 for folder in folders) < 4096


async def run(*words: str) -> bytes:
    """Run a program and return what it wrote."""
    process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE, stderr=subprocess.PIPE)
    output, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, errors.decode()
    return output
