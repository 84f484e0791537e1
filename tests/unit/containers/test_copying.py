"""Paths and modes of copies as Docker has them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec
import pytest

from engine.containers.copying import absolute, base_name, encode_result, go_mode, resolved


@pytest.mark.parametrize(
    ("mode", "shown"),
    [
        (stat.S_IFREG | 0o644, 0o644),
        (stat.S_IFREG | 0o4755, 1 << 23 | 0o755),
        (stat.S_IFREG | 0o2755, 1 << 22 | 0o755),
        (stat.S_IFDIR | 0o1777, 1 << 31 | 1 << 20 | 0o777),
        (stat.S_IFLNK | 0o777, 1 << 27 | 0o777),
        (stat.S_IFBLK | 0o600, 1 << 26 | 0o600),
        (stat.S_IFCHR | 0o600, 1 << 26 | 1 << 21 | 0o600),
        (stat.S_IFIFO | 0o600, 1 << 25 | 0o600),
        (stat.S_IFSOCK | 0o600, 1 << 24 | 0o600),
    ],
)
def test_modes(mode: int, shown: int) -> None:
    assert go_mode(mode) == shown


@pytest.mark.parametrize(
    ("path", "found", "name"),
    [
        ("/a/b", "/a/b", "b"),
        ("a/b/", "/a/b/", "b"),
        ("/a/b/.", "/a/b/.", "."),
        ("/a/./b//c", "/a/b/c", "c"),
        ("/a/../../b", "/b", "b"),
        ("/", "/", "/"),
        (".", "/.", "."),
        ("/..", "/", "/"),
        ("//x", "/x", "x"),
    ],
)
def test_paths(path: str, found: str, name: str) -> None:
    assert absolute(path) == found
    assert base_name(absolute(path)) == name


def test_links_are_resolved_beneath_the_root(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "up").symlink_to("../../../a")
    (tmp_path / "abs").symlink_to("/a/b")
    (tmp_path / "a/b/back").symlink_to("../..")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "broken").symlink_to("a/none/x")
    root = os.open(tmp_path, os.O_PATH)
    try:
        assert resolved(root, "/up/b") == "/a/b"
        assert resolved(root, "abs/../b") == "/a/b"
        assert resolved(root, "/a/b/back/abs/x") == "/a/b/x"
        assert resolved(root, "/broken") == "/a/none/x"
        assert resolved(root, "/../../a") == "/a"
        with pytest.raises(OSError, match="too many links"):
            resolved(root, "/loop/x")
    finally:
        os.close(root)


@pytest.mark.parametrize("text", ["plain", 'quote " and \\ back', "line\nend\0", "ü€😀", "\udcff\udcfe"])
def test_results_are_json(text: str) -> None:
    line = encode_result({"stat": {"name": text, "size": 2**40}, "done": True, "gone": False})
    found = msgspec.json.decode(line)
    shown = text.encode(errors="surrogateescape").decode(errors="replace")
    assert found == {"stat": {"name": shown, "size": 2**40}, "done": True, "gone": False}
