"""Unpacking into folders that hand their group and rights on, and over what is there."""

from __future__ import annotations

import os
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.files.blocks import PipeReader
from engine.files.unpack import Place, TreeUnpacker, UnpackRules
from engine.wire.tarhead import TarError
from tests.integration.archives_world import file, folder, link, tar


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def unpack(target: Path, data: bytes, rules: UnpackRules | None = None, *, strict: bool = False) -> None:
    """Unpack through a pipe, as copies do."""
    root = os.open(target, os.O_PATH | os.O_DIRECTORY)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as cat:
        assert cat.stdin is not None
        assert cat.stdout is not None
        if os.fork() == 0:
            cat.stdin.write(data)
            cat.stdin.close()
            os._exit(0)
        cat.stdin.close()
        try:
            place = Place(root, strict=strict, title=str(target))
            TreeUnpacker(place, rules or UnpackRules(has_no_umask=True)).unpack(PipeReader(cat.stdout.fileno()))
        finally:
            os.close(root)
            os.wait()


def shown(path: Path) -> tuple[int, int, int]:
    info = path.lstat()
    return stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("mode", [0o644, 0o4755, 0o000, 0o777, 0o1600])
def test_modes_and_owners_are_the_archives(tmp_path: Path, mode: int) -> None:
    (tmp_path / "group").mkdir()
    os.chown(tmp_path / "group", 7, 8)
    (tmp_path / "group").chmod(0o2775)
    (tmp_path / "plain").mkdir()
    unpack(tmp_path, tar(file("group/x", mode=mode), file("plain/x", mode=mode), file("plain/y", uid=3, gid=4)))
    assert shown(tmp_path / "group/x") == (mode, 0, 0)
    assert shown(tmp_path / "plain/x") == (mode, 0, 0)
    assert shown(tmp_path / "plain/y") == (0o644, 3, 4)


@pytest.mark.usefixtures("umask")
def test_default_rights_do_not_change_a_mode(tmp_path: Path) -> None:
    # u::rwx g::--- o::---: without care 0644 would become 0600
    acl = bytes.fromhex("0200000001000700ffffffff04000000ffffffff20000000ffffffff")
    try:
        os.setxattr(tmp_path, "system.posix_acl_default", acl)
    except OSError:
        pytest.skip("this file system has no access control lists")
    unpack(tmp_path, tar(file("x", mode=0o644)))
    assert shown(tmp_path / "x") == (0o644, 0, 0)


def test_a_umask_does_not_count(tmp_path: Path) -> None:
    unpack(tmp_path, tar(file("x", mode=0o666)), UnpackRules())
    assert shown(tmp_path / "x")[0] == 0o666


def test_many_folders_in_turn(tmp_path: Path) -> None:
    members = [file(f"d{number % 200}/f{number}", str(number).encode()) for number in range(1000)]
    members += [link(f"l{number}", f"d{number % 200}/f{number}", tarfile.LNKTYPE) for number in range(0, 1000, 7)]
    unpack(tmp_path, tar(*members))
    assert len([path for path in tmp_path.rglob("f*") if path.is_file()]) == 1000
    assert (tmp_path / "l994").read_text() == "994"


def test_what_is_there_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "was-folder/inner").mkdir(parents=True)
    (tmp_path / "was-file").write_text("old")
    (tmp_path / "was-link").symlink_to("was-file")
    unpack(tmp_path, tar(file("was-folder", b"new"), file("was-link", b"new"), folder("was-file"), file("was-file/x")))
    assert (tmp_path / "was-folder").read_text() == "new"
    assert not (tmp_path / "was-link").is_symlink()
    assert (tmp_path / "was-file/x").read_text() == "x"


def test_strictly_beneath(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    (inside / "abs").symlink_to(outside)
    (inside / "up").symlink_to("../outside")
    for name in ("abs/x", "up/x", "new/../../x"):
        with pytest.raises((OSError, TarError)):
            unpack(inside, tar(file(name)), strict=True)
    with pytest.raises((OSError, TarError)):
        unpack(inside, tar(link("way", str(outside)), file("way/x")), strict=True)
    assert not list(outside.iterdir())


def test_what_breaks_off_is_removed(tmp_path: Path) -> None:
    data = tar(file("whole"), file("half", bytes(500_000)))
    with pytest.raises(TarError, match="unexpected EOF"):
        unpack(tmp_path, data[:300_000])
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_an_archive_that_is_not_seekable_and_big(tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    unpack(tmp_path, tar(file("a", content), file("b", content[:200_000]), file("c", b"")))
    assert (tmp_path / "a").read_bytes() == content
    assert (tmp_path / "b").read_bytes() == content[:200_000]
    assert (tmp_path / "c").read_bytes() == b""
