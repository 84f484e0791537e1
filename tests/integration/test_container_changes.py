"""What ``diff`` finds, against a comparison of the mounted trees as Docker makes it."""

from __future__ import annotations

import os
import random
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.containers.changes import ADDED, DELETED, MODIFIED, find_changes
from engine.runtime.syscalls import mount, umount

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="overlays need root")


@contextmanager
def overlay(target: Path, options: str) -> Iterator[Path]:
    target.mkdir(exist_ok=True)
    mount("overlay", str(target), "overlay", 0, f"{options},index=off,redirect_dir=off,metacopy=off")
    try:
        yield target
    finally:
        umount(str(target))


def compared(old: Path, new: Path, path: str = "", *, is_exact: bool = True) -> dict[str, int]:
    """Return the changes between two trees, name by name; times count to the second unless ``is_exact``."""
    found: dict[str, int] = {}
    before = {entry.name for entry in old.iterdir()} if old.is_dir() and not old.is_symlink() else set()
    for name in sorted(before | {entry.name for entry in new.iterdir()}):
        place = f"{path}/{name}"
        left, right = old / name, new / name
        if not os.path.lexists(right):
            found[place] = DELETED
            continue
        info = right.lstat()
        below = compared(left, right, place, is_exact=is_exact) if stat.S_ISDIR(info.st_mode) else {}
        if name not in before:
            found[place] = ADDED
        elif differs(left.lstat(), info, 1 if is_exact else 10**9) or below:
            found[place] = MODIFIED
        found |= below
    return found


def differs(left: os.stat_result, right: os.stat_result, grain_ns: int) -> bool:
    keys = ("st_mode", "st_uid", "st_gid", "st_rdev")
    if any(getattr(left, key) != getattr(right, key) for key in keys):
        return True
    is_folder = stat.S_ISDIR(right.st_mode)
    if is_folder:
        return False
    return left.st_size != right.st_size or left.st_mtime_ns // grain_ns != right.st_mtime_ns // grain_ns


def scramble(top: Path, chance: random.Random, steps: int) -> None:
    """Do things to a tree, few names so that they meet."""
    for _ in range(steps):
        place = top / "/".join(chance.choices("abc", k=chance.randint(1, 3)))
        try:
            change(place, chance)
        except (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, OSError):
            continue


def change(place: Path, chance: random.Random) -> None:
    action = chance.randrange(9)
    if action == 0:
        place.mkdir(parents=True)
    elif action == 1:
        place.write_text(str(chance.random()))
    elif action == 2:
        shutil.rmtree(place) if place.is_dir() and not place.is_symlink() else place.unlink()
    elif action == 3:
        place.symlink_to("/nowhere/that/is")  # what is written through it must reach nothing
    elif action == 4:
        place.chmod(chance.choice((0o700, 0o755)))
    elif action == 5:
        os.chown(place, chance.randrange(2), 0, follow_symlinks=False)
    elif action == 6:
        place.rename(place.with_name(chance.choice("abc")))
    elif action == 7:
        shutil.rmtree(place)
        place.mkdir()
    else:
        os.link(place, place.with_name("link"))


@pytest.mark.parametrize("seed", range(60))
def test_the_changes_are_those_between_the_mounted_trees(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    layers: list[Path] = []
    for number in range(4):
        upper, work = tmp_path / f"upper{number}", tmp_path / f"work{number}"
        upper.mkdir()
        work.mkdir()
        if not layers:
            scramble(upper, chance, 40)
        else:
            options = f"lowerdir={':'.join(map(str, layers))},upperdir={upper},workdir={work}"
            with overlay(tmp_path / "merged", options) as merged:
                scramble(merged, chance, 25)
        layers.insert(0, upper)
    upper, *lower = layers
    base = tmp_path / "base"
    with (
        overlay(tmp_path / "merged", f"lowerdir={':'.join(map(str, layers))}") as new,
        overlay(base, f"lowerdir={':'.join(map(str, lower))}") as old,
    ):
        wanted = compared(old, new)
    found = find_changes(upper, lower)
    assert {item.path: item.kind for item in found} == wanted
    assert [item.path for item in found] == sorted((item.path for item in found), key=lambda path: path.split("/"))


def test_times_are_compared_as_docker_does(tmp_path: Path) -> None:
    for name, when in (("upper", 7_000_000_000), ("lower", 7_500_000_000)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
        os.utime(tmp_path / name / "file", ns=(when, when))
    assert find_changes(tmp_path / "upper", [tmp_path / "lower"]) == []
    os.utime(tmp_path / "upper/file", ns=(7_000_000_001, 7_000_000_001))
    assert [item.kind for item in find_changes(tmp_path / "upper", [tmp_path / "lower"])] == [MODIFIED]


def test_a_link_in_a_layer_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "upper/etc").mkdir(parents=True)
    (tmp_path / "upper/etc/passwd").write_text("x")
    (tmp_path / "lower").mkdir()
    (tmp_path / "lower/etc").symlink_to("/etc")
    kinds = {item.path: item.kind for item in find_changes(tmp_path / "upper", [tmp_path / "lower"])}
    assert kinds == {"/etc": MODIFIED, "/etc/passwd": ADDED}


def test_names_need_not_be_text(tmp_path: Path) -> None:
    (tmp_path / "upper").mkdir()
    (tmp_path / "upper" / os.fsdecode(b"caf\xe9")).write_text("x")
    assert [item.path for item in find_changes(tmp_path / "upper", [])] == ["/caf\ufffd"]
