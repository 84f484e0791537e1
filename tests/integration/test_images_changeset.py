"""Layers made of upper directories: what they are, what is sent of them, and that they are the same each time."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import os
import random
import socket
import stat
import tarfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.errors import Internal, Unavailable
from engine.images.layers import LayerRecord, delete_folders
from engine.images.packing import Archive, HashingSink
from engine.runtime.syscalls import mount, umount
from engine.wire.references import parse_reference
from tests.integration.images_world import ImagesWorld
from tests.integration.test_container_changes import compared, overlay, scramble

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="layers need root")

CAPABILITY_2 = bytes.fromhex("0100000200200000000000000000000000000000")
CAPABILITY_3 = bytes.fromhex("010000030020000000000000000000000000000003000000")
MEGABYTE = 1 << 20


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[ImagesWorld]:
    world = ImagesWorld(tmp_path / "data")
    yield world
    world.close()
    assert world.leftovers() == []


@pytest.fixture
def upper(tmp_path: Path) -> Path:
    """An upper directory with one of everything."""
    top = tmp_path / "upper"
    top.mkdir()
    (top / "etc").mkdir(mode=0o750)
    (top / "etc/app.conf").write_text("key=value\n")
    (top / "etc/app.conf").chmod(0o640)
    os.chown(top / "etc/app.conf", 3_000_000, 5)
    os.link(top / "etc/app.conf", top / "second name")
    (top / "program").write_bytes(b"\x7fELF")
    (top / "program").chmod(0o4755)
    os.setxattr(top / "program", "security.capability", CAPABILITY_3)
    os.setxattr(top / "etc/app.conf", "user.note", b"\0\n=")
    (top / "link").symlink_to("/etc/passwd")
    (top / "long link").symlink_to("x" * 300)
    os.mknod(top / "gone", stat.S_IFCHR | 0o600, 0)
    os.link(top / "gone", top / "etc/gone too")  # overlayfs shares one inode among its whiteouts
    (top / "hiding").mkdir()
    os.setxattr(top / "hiding", "trusted.overlay.opaque", b"y")
    os.setxattr(top / "etc", "trusted.overlay.origin", b"whatever")
    (top / "hiding/inside").write_text("new")
    os.mkfifo(top / "pipe")
    os.mknod(top / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(top / "disk", stat.S_IFBLK | 0o600, os.makedev(254, 1_000_000))
    (top / os.fsdecode(b"caf\xe9")).write_text("latin")
    (top / "größe").write_text("utf-8")
    (top / ("d" * 120)).mkdir()
    (top / ("d" * 120) / ("f" * 200)).write_text("long")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(top / "socket"))
    with (top / "holes").open("wb") as file:
        file.truncate(200 * MEGABYTE)
        file.seek(100 * MEGABYTE + 17)
        file.write(b"island")
    os.utime(top / "holes", (1, 1_000_000_000.75))
    os.utime(top / "pipe", (1, -5))
    return top


def members(data: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {item.name: item for item in archive}


async def tar_of_layer(world: ImagesWorld, layer: LayerRecord) -> bytes:
    """Return what is sent of a layer, uncompressed."""
    blob = world.images.blobs.path((await world.images.changesets.with_blob(layer)).blob)
    return await asyncio.to_thread(gzip.decompress, blob.read_bytes())


async def test_a_layer_has_everything_that_a_container_wrote(world: ImagesWorld, upper: Path) -> None:
    async with world.images.working():
        layer = await world.images.changesets.take("", upper)
        data = await tar_of_layer(world, layer)
        await world.images.layers.commit([layer])
    assert f"sha256:{hashlib.sha256(data).hexdigest()}" == layer.diff_id == layer.chain_id
    found = members(data)
    assert "socket" not in found
    assert {".wh.gone", "etc/.wh.gone too", "hiding/.wh..wh..opq"} <= set(found)
    assert not {"gone", "etc/gone too"} & set(found)
    assert all(found[name].isreg() and found[name].size == 0 for name in (".wh.gone", "etc/.wh.gone too"))
    file = found["etc/app.conf"]
    assert (file.mode, file.uid, file.gid, file.size) == (0o640, 3_000_000, 5, 10)
    assert file.pax_headers["SCHILY.xattr.user.note"] == "\0\n="
    assert found["second name"].islnk()
    assert found["second name"].linkname == "etc/app.conf"
    assert found["program"].mode == 0o4755
    assert f"SCHILY.xattr.security.capability={CAPABILITY_2.decode('latin-1')}\n".encode("latin-1") in data
    assert b"trusted.overlay" not in data
    assert found["link"].linkname == "/etc/passwd"
    assert found["long link"].linkname == "x" * 300
    assert found["pipe"].isfifo()
    assert (found["null"].devmajor, found["null"].devminor) == (1, 3)
    assert (found["disk"].isblk(), found["disk"].devmajor, found["disk"].devminor) == (True, 254, 1_000_000)
    assert {os.fsdecode(b"caf\xe9"), "größe", f"{'d' * 120}/{'f' * 200}"} <= set(found)
    assert found["pipe"].mtime == -5
    assert found["holes"].mtime == 1_000_000_000
    assert len(data) < 2 * MEGABYTE  # the holes take no room
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        content = archive.extractfile("holes")
        assert content is not None
        assert hashlib.sha256(content.read()).digest() == hashlib.sha256((upper / "holes").read_bytes()).digest()
    names = list(found)
    assert names.index("etc") < names.index("etc/app.conf") < names.index("second name")


async def test_a_layer_that_is_unpacked_again_is_the_same(world: ImagesWorld, upper: Path) -> None:
    async with world.images.working():
        layer = await world.images.changesets.take("", upper)
        layer = await world.images.changesets.with_blob(layer)
        await world.images.layers.commit([layer])
        other = await world.images.layers.unpack("sha256:" + "0" * 64, layer.diff_id, layer.blob)
        assert other.size == layer.size
        assert other.folder != layer.folder
        folders = [world.images.layers.path(item) for item in (layer, other)]
        assert digest_of(folders[0]) == digest_of(folders[1]) == layer.diff_id
        for folder in folders:
            assert (folder / "holes").stat().st_blocks * 512 < MEGABYTE
            assert os.getxattr(folder / "hiding", "trusted.overlay.opaque") == b"y"
            assert (folder / "gone").lstat().st_rdev == 0
            assert (folder / "second name").stat().st_nlink == 2
            assert os.getxattr(folder / "program", "security.capability") == CAPABILITY_2 or folder == folders[0]
        assert (folders[0] / "holes").stat().st_mtime_ns == (upper / "holes").stat().st_mtime_ns
        await delete_folders(await world.images.layers.forget([other]))


def digest_of(folder: Path) -> str:
    sink = HashingSink()
    descriptor = os.open(folder, os.O_RDONLY)
    Archive(sink, is_layer=True).write(descriptor)
    os.close(descriptor)
    return sink.digest()


def test_the_bytes_of_a_layer_never_change(tmp_path: Path) -> None:
    """A release that writes others could not push what an earlier one has made."""
    top = tmp_path / "top"
    (top / "a folder").mkdir(parents=True)
    (top / "a folder/file").write_text("content")
    (top / "größe").write_text("x")
    (top / "link").symlink_to("target")
    os.mknod(top / "gone", stat.S_IFCHR | 0o600, 0)
    with (top / "holes").open("wb") as file:
        file.truncate(20 * MEGABYTE)
    for path in [*top.rglob("*")]:
        os.chown(path, 1000, 1000, follow_symlinks=False)
        if not path.is_symlink():
            path.chmod(0o755)
        os.utime(path, (5, 5), follow_symlinks=False)
    assert digest_of(top) == "sha256:5515211b53aa0cf452020752920afe235afff7aab04a3a12941f8de7b15ec0f6"


async def test_a_directory_can_become_the_layer(world: ImagesWorld, upper: Path) -> None:
    moved = upper.rename(world.folder / "upper")
    inode = (moved / "program").stat().st_ino
    wanted = digest_of(moved)
    async with world.images.working():
        layer = await world.images.changesets.take("", moved, is_moved=True)
        assert not moved.exists()
        assert layer.diff_id == wanted
        assert (world.images.layers.path(layer) / "program").stat().st_ino == inode
        await world.images.layers.commit([layer])


async def test_the_same_changes_are_one_layer(world: ImagesWorld, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("same")
        os.utime(tmp_path / name / "file", (7, 7))
    async with world.images.working():
        first = await world.images.changesets.take("", tmp_path / "one")
        second = await world.images.changesets.take("", tmp_path / "two")
        await world.images.layers.commit([first])
    assert second is first
    assert len(list(world.images.layers.root.iterdir())) == 1


async def test_an_empty_directory_is_a_layer(world: ImagesWorld, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    async with world.images.working():
        layer = await world.images.changesets.take("", tmp_path / "empty")
        assert layer.size == 0
        assert await tar_of_layer(world, layer) == bytes(1024)


async def test_a_tree_that_is_changed_meanwhile_makes_a_whole_layer(world: ImagesWorld, tmp_path: Path) -> None:
    top = tmp_path / "busy"
    top.mkdir()
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("SECRET")
    script = (
        "i=0; while :; do i=$((i+1)); mkdir -p d; echo data > d/f; head -c 300000 /dev/urandom > big; rm -rf d; "
        f"ln -s {secret} d; rm -f d; : > big; done"
    )
    busy = await asyncio.create_subprocess_exec("sh", "-c", script, cwd=top)
    try:
        async with world.images.working():
            layers = [await world.images.changesets.take("", top) for _ in range(15)]
            for layer in layers:
                data = await tar_of_layer(world, layer)
                assert b"SECRET" not in data
                assert f"sha256:{hashlib.sha256(data).hexdigest()}" == layer.diff_id
    finally:
        busy.kill()
        await busy.wait()


async def test_a_failure_leaves_nothing(world: ImagesWorld, tmp_path: Path) -> None:
    with pytest.raises(Internal, match="No such file or directory"):
        await world.images.changesets.take("", tmp_path / "absent")
    assert list(world.images.layers.root.iterdir()) == []


async def test_no_room_is_told_as_such(world: ImagesWorld, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount("none", str(small), "tmpfs", 0, "size=1m")
    try:
        cramped = ImagesWorld(small / "data")
        top = tmp_path / "big"
        top.mkdir()
        (top / "file").write_bytes(os.urandom(2 * MEGABYTE))
        with pytest.raises(Unavailable, match="No space left on device"):
            await cramped.images.changesets.take("", top)
        assert list(cramped.images.layers.root.iterdir()) == []
        cramped.close()
    finally:
        umount(str(small))


async def test_cancelling_leaves_nothing(world: ImagesWorld, tmp_path: Path) -> None:
    top = tmp_path / "large"
    top.mkdir()
    with (top / "file").open("wb") as file:
        for _ in range(200):
            file.write(os.urandom(MEGABYTE))
    task = asyncio.ensure_future(world.images.changesets.take("", top))
    deadline = time.monotonic() + 20
    while not any(folder.stat().st_nlink and any(folder.iterdir()) for folder in world.images.layers.root.iterdir()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(world.images.layers.root.iterdir()) == []


async def test_a_damaged_layer_is_not_sent(world: ImagesWorld, upper: Path) -> None:
    async with world.images.working():
        layer = await world.images.changesets.take("", upper)
        await world.images.layers.commit([layer])
        (world.images.layers.path(layer) / "program").write_bytes(b"other")
        with pytest.raises(Internal, match="has changed on the disk"):
            await world.images.changesets.with_packed_blob(layer)
    assert world.images.blobs.all() == []


async def test_a_plain_blob_is_packed_once(world: ImagesWorld) -> None:
    from tests.fakes.images import busybox_rootfs_tar

    async def source() -> AsyncIterator[bytes]:
        yield busybox_rootfs_tar()

    await world.archives.import_layer(source(), parse_reference("app:1"), [], "", ("linux", "amd64"))
    record, _ = world.images.find("app:1")
    layer = world.images.layers.get(record.layers[0])
    assert layer is not None
    assert await world.images.changesets.with_blob(layer) is layer
    first, second = await asyncio.gather(*(world.images.changesets.with_packed_blob(layer) for _ in range(2)))
    assert first.blob == second.blob != layer.blob
    assert world.images.blobs.compression(first.blob) == "gzip"
    again = await world.reopen()
    kept = again.images.layers.get(layer.chain_id)
    assert kept is not None
    assert kept.blob == first.blob
    assert again.images.blobs.all().count(layer.blob) == 0  # nothing needs it any more
    again.close()


@pytest.mark.parametrize("seed", range(15))
async def test_a_container_sees_the_same_through_the_layer(world: ImagesWorld, tmp_path: Path, seed: int) -> None:
    """Whatever was done in a container, its layer shows it, and so does the layer that another engine unpacks."""
    chance = random.Random(seed)
    base, upper, work = (tmp_path / name for name in ("base", "upper", "work"))
    for folder in (base, upper, work):
        folder.mkdir()
    scramble(base, chance, 60)
    with overlay(tmp_path / "merged", f"lowerdir={base},upperdir={upper},workdir={work}") as merged:
        scramble(merged, chance, 60)
    async with world.images.working():
        layer = await world.images.changesets.with_blob(await world.images.changesets.take("", upper))
        other = await world.images.layers.unpack("sha256:" + "0" * 64, layer.diff_id, layer.blob)
        await world.images.layers.commit([layer, other])
        with overlay(tmp_path / "merged", f"lowerdir={upper}:{base}") as wanted:
            for item in (layer, other):
                place = world.images.layers.path(item)
                with overlay(tmp_path / "shown", f"lowerdir={place}:{base}") as shown:
                    assert compared(wanted, shown, is_exact=item is layer) == {}
