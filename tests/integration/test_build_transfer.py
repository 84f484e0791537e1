"""COPY on the disk, without an engine: links, owners, modes, and nothing that leads out."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from engine.build.digests import TreeDigests
from engine.build.leftovers import remove_mount_points
from engine.build.places import expand_wildcards, follow, has_wildcards
from engine.build.transfer import LayerWriter, Look, changed_mode, check_mode
from engine.errors import InvalidArgument

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners need root")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A tree to copy."""
    top = tmp_path / "source"
    (top / "d/e").mkdir(parents=True)
    (top / "d/f").write_text("f")
    (top / "d/e/g").write_text("g")
    (top / "d/l").symlink_to("/etc/hostname")
    os.link(top / "d/f", top / "d/again")
    for path in (top / "d/f", top / "d/e/g"):
        os.utime(path, (1_500_000_000, 1_500_000_000))
    return top


def _layer(tmp_path: Path, view: Path | None = None) -> tuple[Path, LayerWriter]:
    top = tmp_path / "layer"
    top.mkdir()
    return top, LayerWriter(top, view)


def test_files_are_linked_where_they_fit(source: Path, tmp_path: Path) -> None:
    """A file that has the right owner, mode and time is not copied; another one is."""
    top, writer = _layer(tmp_path)
    writer.put_tree(source / "d", "x", Look(0, 0))
    assert (top / "x/e/g").stat().st_ino == (source / "d/e/g").stat().st_ino
    assert (top / "x/f").stat().st_ino == (top / "x/again").stat().st_ino
    assert (top / "x/l").readlink() == Path("/etc/hostname")
    writer.put(source / "d/e/g", "y", Look(5, 6, "600"))
    info = (top / "y").stat()
    assert (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode), info.st_mtime) == (5, 6, 0o600, 1_500_000_000)
    assert info.st_ino != (source / "d/e/g").stat().st_ino
    assert (source / "d/e/g").stat().st_uid == 0


def test_the_same_file_twice_is_two_files(source: Path, tmp_path: Path) -> None:
    """Two copies in a layer are not links of each other."""
    top, writer = _layer(tmp_path)
    writer.put(source / "d/e/g", "one", Look(0, 0))
    writer.put(source / "d/e/g", "two", Look(0, 0))
    assert (top / "one").stat().st_ino != (top / "two").stat().st_ino


def test_folders_look_as_the_image_has_them(source: Path, tmp_path: Path) -> None:
    """Folders above are made as they are in the image; new ones belong to root."""
    view = tmp_path / "view"
    (view / "home").mkdir(parents=True)
    (view / "home").chmod(0o1777)
    os.chown(view / "home", 7, 8)
    (view / "file").write_text("")
    (view / "link").symlink_to("home")
    (view / "out").symlink_to("/../../../etc")
    top, writer = _layer(tmp_path, view)
    writer.make_folders("home/new", Look(3, 4))
    info = (top / "home").stat()
    assert (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode)) == (7, 8, 0o1777)
    assert (top / "home/new").stat().st_uid == 3
    assert writer.resolve("/link/x") == "home/x"
    assert writer.resolve("/out/x") == "etc/x"
    with pytest.raises(InvalidArgument):
        writer.make_folders("file/x", Look(0, 0))
    assert writer.kind("out/hostname") == 0  # a link above is not followed, least of all out of the image


def test_paths_stay_inside(source: Path) -> None:
    """Links and ``..`` mean what they mean beneath the root; circles are refused."""
    assert follow(source, "d/l") == "etc/hostname"
    assert follow(source, "../../d/../d/f") == "d/f"
    (source / "a").symlink_to("b")
    (source / "b").symlink_to("a")
    with pytest.raises(InvalidArgument):
        follow(source, "a")


def test_wildcards(source: Path) -> None:
    """``*`` stays in a folder, ``**`` does not."""
    assert expand_wildcards(source, "*/f") == ["d/f"]
    assert expand_wildcards(source, "d/?") == ["d/e", "d/f", "d/l"]
    assert expand_wildcards(source, "**/g") == ["d/e/g"]
    assert expand_wildcards(source, "no*") == []
    assert has_wildcards("a[b]") and not has_wildcards("a\\*b")  # noqa: PT018


def test_digests(source: Path) -> None:
    """Content and modes count, times do not; a link's own target counts for the key."""
    first = TreeDigests(source).source("d")
    os.utime(source / "d/f", (1, 1))
    assert TreeDigests(source).source("d") == first
    (source / "d/e/g").chmod(0o600)
    second = TreeDigests(source).source("d")
    assert second.key != first.key
    (source / "d/l").unlink()
    (source / "d/l").symlink_to("f")
    assert TreeDigests(source).source("d").key != second.key


def test_mount_points_go_and_changes_stay(tmp_path: Path) -> None:
    """What was made only to mount on is removed, what the step has made is not."""
    view, upper = tmp_path / "view", tmp_path / "upper"
    (view / "had").mkdir(parents=True)
    for name in ("run/secrets", "had/in", "kept", "etc"):
        (upper / name).mkdir(parents=True)
    (upper / "run/secrets/token").touch()
    (upper / "etc/hosts").touch()
    (upper / "kept/file").write_text("x")
    remove_mount_points(upper, view, ["/run/secrets/token", "/had/in", "/kept"])
    assert sorted(path.relative_to(upper).as_posix() for path in upper.rglob("*")) == ["kept", "kept/file"]


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [("755", 0o644, 0o755), ("u+x", 0o644, 0o744), ("go-rwx", 0o755, 0o700), ("a=r", 0o777, 0o444),
     ("u+s", 0o755, 0o4755), ("+t", 0o755, 0o1755), ("g=u", 0o740, 0o770), ("u=rwX,go=rX", 0o644, 0o644)],
)  # fmt: skip
def test_modes(text: str, before: int, after: int) -> None:
    """``--chmod`` in numbers and in words."""
    check_mode(text)
    assert oct(changed_mode(text, before, is_folder=False)) == oct(after)


@pytest.mark.parametrize("text", ["", "8", "77777", "x", "u~x", "u+q"])
def test_modes_that_are_none(text: str) -> None:
    """They are refused."""
    with pytest.raises(InvalidArgument):
        check_mode(text)
