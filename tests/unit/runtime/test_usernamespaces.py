"""The ranges of IDs that a user namespace gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import InvalidArgument
from engine.runtime import usernamespaces
from engine.runtime.usernamespaces import IdMap, IdRange, read_map


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """subuid and subgid of this test."""
    found = tmp_path / "subuid", tmp_path / "subgid"
    monkeypatch.setattr(usernamespaces, "_SUBUID", found[0])
    monkeypatch.setattr(usernamespaces, "_SUBGID", found[1])
    return found


def test_ranges_follow_each_other_inside(files: tuple[Path, Path]) -> None:
    files[0].write_text("nobody:100000:1000\nother:5:5\nnobody:300000:65536\n\nbroken\nnobody:x:1\nnobody:7:0\n")
    files[1].write_text("nogroup:200000:65536\n")
    mapping = read_map("nobody:nogroup")
    assert mapping == IdMap((IdRange(0, 100000, 1000), IdRange(1000, 300000, 65536)), (IdRange(0, 200000, 65536),))
    assert mapping.root == (100000, 200000)


def test_ranges_may_be_named_by_number(files: tuple[Path, Path]) -> None:
    files[0].write_text("65534:100000:65536\n")
    files[1].write_text("65534:100000:65536\n")
    assert read_map("65534:65534") == IdMap((IdRange(0, 100000, 65536),), (IdRange(0, 100000, 65536),))


def test_root_is_not_remapped() -> None:
    assert read_map("root") is None
    assert read_map("0") is None


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ("a:b:c", 'Invalid user/group specification in --userns-remap: "a:b:c"'),
        ("no-such-user", 'Error during uid lookup for "no-such-user"'),
        ("nobody:no-such-group", 'Error during gid lookup for "no-such-group"'),
        ("99999999999", "Uid 99999999999 has no entry in /etc/passwd"),
        ("nobody:4294967290", "Gid 4294967290 has no entry in /etc/group"),
        ("nobody:nogroup", 'Can\'t create ID mappings: no subuid ranges found for "nobody"'),
        ("", 'Error during uid lookup for ""'),
    ],
)
def test_what_is_refused(files: tuple[Path, Path], asked: str, text: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        read_map(asked)
    assert text in raised.value.message


def test_the_default_user_gets_a_free_range(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usernamespaces, "_uid_of", lambda name: 500)
    monkeypatch.setattr(usernamespaces, "_gid_of", lambda name: 501)
    files[0].write_text("somebody:100000:65536\nother:300000:1")
    mapping = IdMap((IdRange(0, 300001, 65536),), (IdRange(0, 100000, 65536),))
    for _ in range(2):  # it keeps them
        assert read_map("default", makes_default=True) == mapping
    assert files[0].read_text() == "somebody:100000:65536\nother:300000:1\ndockremap:300001:65536\n"


def test_a_default_user_that_cannot_be_made(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usernamespaces, "_uid_of", lambda name: None)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InvalidArgument, match='Error during "dockremap" user creation'):
        read_map("default", makes_default=True)
    with pytest.raises(InvalidArgument, match="dockremap"):
        read_map("default")
