"""The paths of ``cp`` taken apart as Docker does."""

from __future__ import annotations

import pytest

from engine.cli.copy_paths import CopyEnd, keep_ending, plan_copy, rebased, renaming, split_argument, split_entry
from engine.cli.failures import CommandError


@pytest.mark.parametrize(
    ("argument", "container", "path"),
    [
        ("box:/x", "box", "/x"),
        ("box:x:y", "box", "x:y"),
        ("/abs:x", "", "/abs:x"),
        ("./file:x", "", "./file:x"),
        ("plain", "", "plain"),
        ("-", "", "-"),
        (":x", "", "x"),
    ],
)
def test_arguments(argument: str, container: str, path: str) -> None:
    assert split_argument(argument) == (container, path)


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("/a/b", ("/a", "b")),
        ("/a/b/", ("/a", "b")),
        ("/a/b/.", ("/a/b", ".")),
        ("/a", ("/", "a")),
        ("/", ("/", "/")),
        ("/.", ("/", ".")),
        ("a", (".", "a")),
        (".", (".", ".")),
        ("a/../b", (".", "b")),
    ],
)
def test_entries(path: str, parts: tuple[str, str]) -> None:
    assert split_entry(path) == parts


def test_endings_are_kept() -> None:
    assert keep_ending("/a", "a/") == "/a/"
    assert keep_ending("/a", "a/.") == "/a/."
    assert keep_ending("/", "/.") == "/."
    assert rebased("/link/", "/target") == ("/target/", "link")
    assert rebased("/same", "/x/same") == ("/x/same", "")


@pytest.mark.parametrize(
    ("source", "target", "planned"),
    [
        (CopyEnd("/s/file"), CopyEnd("/t", is_folder=True), ("/t", "file", "file")),
        (CopyEnd("/s/file"), CopyEnd("/t/there"), ("/t", "file", "there")),
        (CopyEnd("/s/file"), CopyEnd("/t/new", exists=False), ("/t", "file", "new")),
        (CopyEnd("/s/dir", is_folder=True), CopyEnd("/t/new", exists=False), ("/t", "dir", "new")),
        (CopyEnd("/s/dir/.", is_folder=True), CopyEnd("/t/new/", exists=False), ("/t", ".", "new")),
        (CopyEnd("/s/real", rebase="link"), CopyEnd("/t", is_folder=True), ("/t", "link", "link")),
    ],
)
def test_plans(source: CopyEnd, target: CopyEnd, planned: tuple[str, str, str]) -> None:
    assert plan_copy(source, target) == planned


def test_plans_that_make_no_sense() -> None:
    with pytest.raises(CommandError, match="cannot copy directory"):
        plan_copy(CopyEnd("/s", is_folder=True), CopyEnd("/t"))
    with pytest.raises(CommandError, match="no such directory"):
        plan_copy(CopyEnd("/s"), CopyEnd("/t/new/", exists=False))


@pytest.mark.parametrize(
    ("old", "new", "name", "wanted"),
    [
        ("dir", "other", b"dir/dir/x", b"other/dir/x"),
        (".", "new", b"./.hidden", b"new/.hidden"),
        (".", "new", b".", b"new"),
        ("/", "new", b"/bin", b"new/bin"),
        ("dir", "other", b"elsewhere", b"elsewhere"),
    ],
)
def test_renaming(old: str, new: str, name: bytes, wanted: bytes) -> None:
    assert renaming(old, new)(name) == wanted
