"""``--security-opt`` and tmpfs options as texts."""

from __future__ import annotations

import pytest

from engine.errors import InvalidArgument
from engine.runtime.apparmor import profile_text
from engine.runtime.security import SecurityOptions, parse_security_options
from engine.runtime.tmpfs import merged_options, split_options


def test_security_options() -> None:
    options = ["no-new-privileges", "seccomp={}", "apparmor:mine", "writable-cgroups", "label=disable"]
    assert parse_security_options(options) == SecurityOptions(True, "{}", "mine", True, ("disable",))
    assert parse_security_options(["no-new-privileges:false"], no_new_privileges=True).no_new_privileges is False
    assert parse_security_options([]) == SecurityOptions()
    assert parse_security_options(['seccomp={"a": "b=c:d"}']).seccomp == '{"a": "b=c:d"}'


@pytest.mark.parametrize(
    ("asked", "merged"),
    [
        ("", ["noexec", "nosuid", "nodev", "rprivate"]),
        ("exec,size=1m", ["nosuid", "nodev", "rprivate", "exec", "size=1m"]),
        ("size=1m,size=2m,ro,rw", ["noexec", "nosuid", "nodev", "rprivate", "size=2m", "rw"]),
        ("shared,defaults", ["noexec", "nosuid", "nodev", "shared"]),
        (
            "uid=5,mode=0700,nr_inodes=1k",
            ["noexec", "nosuid", "nodev", "rprivate", "uid=5", "mode=0700", "nr_inodes=1k"],
        ),
    ],
)
def test_tmpfs_options(asked: str, merged: list[str]) -> None:
    assert merged_options(split_options(asked)) == merged


@pytest.mark.parametrize("asked", ["colour=red", "size", "tmpcopyup", ""])
def test_bad_tmpfs_options(asked: str) -> None:
    with pytest.raises(InvalidArgument, match=r"invalid tmpfs option \["):
        merged_options([asked])


def test_apparmor_profile_confines_and_is_named() -> None:
    text = profile_text("mine")
    assert "profile mine flags=(attach_disconnected,mediate_deleted) {" in text
    assert "deny mount," in text
    assert "ptrace (trace,read,tracedby,readby) peer=mine," in text
    assert "deny @{PROC}/sysrq-trigger rwklx," in text
    assert text.count("{") == text.count("}")
