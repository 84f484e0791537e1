"""The image's content in new volumes, and parts of volumes, with links that want to lead out."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from pathlib import Path

import pytest

from engine.containers.copyup import copy_up
from engine.errors import InvalidArgument
from engine.model.record import MountRecord
from engine.runtime.mountinfo import is_mount_point
from engine.runtime.rootfs import RootDir
from engine.runtime.subpath import bind_subpath, release_subpaths


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    root = tmp_path / "rootfs"
    (root / "srv/inner").mkdir(parents=True)
    (root / "etc").mkdir()
    return root


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    folder = tmp_path / "volumes/data/_data"
    folder.mkdir(parents=True)
    return folder


def set_attribute(path: Path, name: str, value: bytes) -> bool:
    """Set an extended attribute where the file system has them (a tmpfs of older kernels does not)."""
    try:
        os.setxattr(path, name, value)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        return False
    return True


def mount(destination: str) -> MountRecord:
    return MountRecord(type="volume", name="data", destination=destination, copy_up=True)


def test_everything_about_a_file_is_kept(rootfs: Path, volume: Path) -> None:
    source = rootfs / "srv"
    (source / "file").write_bytes(b"x" * 100_000)
    os.chown(source / "file", 12, 34)
    (source / "file").chmod(0o4751)
    os.utime(source / "file", ns=(10**18, 10**18 + 5))
    has_attributes = set_attribute(source / "file", "user.colour", b"red")
    (source / "twin").hardlink_to(source / "file")
    (source / "inner/link").symlink_to("/etc/passwd")
    os.mkfifo(source / "inner/pipe", 0o640)
    os.mknod(source / "inner/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.chown(source, 5, 6)
    source.chmod(0o1770)
    copy_up(rootfs, mount("/srv"), volume)
    info = (volume / "file").stat()
    assert (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode)) == (12, 34, 0o4751)
    assert info.st_mtime_ns == 10**18 + 5
    assert not has_attributes or os.getxattr(volume / "file", "user.colour") == b"red"
    assert (volume / "file").read_bytes() == b"x" * 100_000
    assert (volume / "twin").stat().st_ino == info.st_ino
    assert (volume / "inner/link").readlink() == Path("/etc/passwd")
    assert (volume / "inner/pipe").is_fifo()
    assert (volume / "inner/null").stat().st_rdev == os.makedev(1, 3)
    top = volume.stat()
    assert (top.st_uid, top.st_gid, stat.S_IMODE(top.st_mode)) == (5, 6, 0o1770)
    assert sorted(path.name for path in volume.parent.iterdir()) == ["_data"]


def test_a_volume_with_content_is_left_alone(rootfs: Path, volume: Path) -> None:
    (rootfs / "srv/file").write_text("image")
    (volume / "own").write_text("mine")
    copy_up(rootfs, mount("/srv"), volume)
    assert [path.name for path in volume.iterdir()] == ["own"]


def test_a_copy_that_was_cut_off_is_done_again(rootfs: Path, volume: Path) -> None:
    (rootfs / "srv/file").write_text("image")
    (volume / "half").mkdir()
    (volume.parent / ".copy-up").touch()
    copy_up(rootfs, mount("/srv"), volume)
    assert sorted(path.name for path in volume.iterdir()) == ["file", "inner"]


def test_a_link_at_the_place_stays_inside_the_root(rootfs: Path, volume: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key").write_text("host")
    (rootfs / "out").symlink_to(tmp_path / "secret")
    (rootfs / "up").symlink_to("../../secret")
    (rootfs / "in").symlink_to("/srv")
    (rootfs / "srv/file").write_text("image")
    copy_up(rootfs, mount("/out"), volume)
    copy_up(rootfs, mount("/up"), volume)
    assert list(volume.iterdir()) == []
    copy_up(rootfs, mount("/in"), volume)
    assert (volume / "file").read_text() == "image"


def test_a_volume_over_a_file_is_refused(rootfs: Path, volume: Path) -> None:
    (rootfs / "srv/file").write_text("image")
    with pytest.raises(InvalidArgument, match="cannot mount volume over existing file, file exists /srv/file"):
        copy_up(rootfs, mount("/srv/file"), volume)


def test_nothing_at_the_place_is_no_error(rootfs: Path, volume: Path) -> None:
    copy_up(rootfs, mount("/not/there"), volume)
    assert list(volume.iterdir()) == []


def test_a_full_disk_leaves_the_volume_empty(rootfs: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], check=True)
    try:
        volume = small / "data/_data"
        volume.mkdir(parents=True)
        (rootfs / "srv/big").write_bytes(b"x" * 200_000)
        with pytest.raises(Exception, match=r"failed to populate volume: .*No space left on device"):
            copy_up(rootfs, mount("/srv"), volume)
        assert list(volume.iterdir()) == []
        assert [path.name for path in volume.parent.iterdir()] == ["_data"]
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_part_of_a_volume_is_bound_and_let_go(volume: Path, tmp_path: Path) -> None:
    (volume / "part").mkdir()
    (volume / "part/file").write_text("x")
    (volume / "single").write_text("one")
    places = tmp_path / "places"
    place = bind_subpath(volume, "part", places / "0")
    single = bind_subpath(volume, "./single", places / "1")
    assert (place / "file").read_text() == "x"
    assert single.read_text() == "one"
    assert is_mount_point(place)
    release_subpaths(places)
    assert not places.exists()
    assert (volume / "part/file").exists()
    assert (volume / "single").exists()


@pytest.mark.parametrize("subpath", ["missing", "out", "single/x"])
def test_a_part_that_is_not_in_the_volume(volume: Path, tmp_path: Path, subpath: str) -> None:
    (tmp_path / "secret").mkdir()
    (volume / "out").symlink_to(tmp_path / "secret")
    (volume / "single").write_text("one")
    with pytest.raises(InvalidArgument, match="cannot access path"):
        bind_subpath(volume, subpath, tmp_path / "places/0")
    assert not (tmp_path / "places/0").exists()


def test_folders_are_made_beneath_the_root_only(rootfs: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (rootfs / "link").symlink_to(tmp_path / "outside")
    (rootfs / "up").symlink_to("../../../outside")
    (rootfs / "relative").symlink_to("srv/new")
    (rootfs / "loop").symlink_to("loop")
    (rootfs / "file").write_text("")
    with RootDir(rootfs) as root:
        assert root.make_dirs("/work/a/b")
        assert not root.make_dirs("/work/a/b")
        assert root.make_dirs("/link/x")
        assert root.make_dirs("/up/y")
        assert root.make_dirs("/relative/z")
        with pytest.raises(OSError, match="loop"):
            root.make_dirs("/loop/x")
        with pytest.raises(NotADirectoryError):
            root.make_dirs("/file/x")
    assert (rootfs / "work/a/b").is_dir()
    assert list((tmp_path / "outside").iterdir()) == []
    assert (rootfs / "srv/new/z").is_dir()
    assert (rootfs / "outside/y").is_dir()


def test_reading_stops_at_the_bound_and_at_what_is_no_file(rootfs: Path, tmp_path: Path) -> None:
    (rootfs / "etc/passwd").write_text("x" * 100)
    (tmp_path / "host-secret").write_text("secret")
    (rootfs / "etc/group").symlink_to(tmp_path / "host-secret")
    os.mkfifo(rootfs / "etc/pipe")
    with RootDir(rootfs) as root:
        assert root.read_file("/etc/passwd", 10) == b"x" * 10
        assert root.read_file("/etc/group", 10) is None
        assert root.read_file("/etc/pipe", 10) is None
        assert root.read_file("/etc", 10) is None
