"""Users and groups, out of the contents of passwd and group."""

from __future__ import annotations

import pytest

from engine.errors import InvalidArgument
from engine.runtime.users import ResolvedUser, resolve_in

PASSWD = b"""# comment
root:x:0:0:root:/root:/bin/sh

web:x:1001:1002:Web,,,:/srv:/bin/sh
web:x:7:7::/second:/bin/sh
short:x:5
1003:x:9:9::/nine:/bin/sh
"""
GROUP = b"""root:x:0:
web:x:1002:
extra:x:1003:web,other
more:x:1004:other,web
wheel:x:10:
"""


@pytest.mark.parametrize(
    ("user_spec", "group_add", "found"),
    [
        ("", [], ResolvedUser(0, 0, (0,), "/root")),
        ("root", [], ResolvedUser(0, 0, (0,), "/root")),
        ("web", [], ResolvedUser(1001, 1002, (1002, 1003, 1004), "/srv")),
        ("1001", [], ResolvedUser(1001, 1002, (1002, 1003, 1004), "/srv")),
        ("web:wheel", [], ResolvedUser(1001, 10, (10,), "/srv")),
        ("web:77", [], ResolvedUser(1001, 77, (77,), "/srv")),
        ("4711", [], ResolvedUser(4711, 0, (0,), "")),
        ("4711:web", [], ResolvedUser(4711, 1002, (1002,), "")),
        (":wheel", [], ResolvedUser(0, 10, (10,), "/root")),
        ("short", [], ResolvedUser(5, 0, (0,), "")),
        ("1003", [], ResolvedUser(1003, 0, (0,), "")),
        ("web", ["wheel", "99", "10"], ResolvedUser(1001, 1002, (1002, 1003, 1004, 10, 99), "/srv")),
    ],
)
def test_users(user_spec: str, group_add: list[str], found: ResolvedUser) -> None:
    assert resolve_in(PASSWD, GROUP, user_spec, group_add) == found


@pytest.mark.parametrize(
    ("user_spec", "group_add", "text"),
    [
        ("nobody", [], "unable to find user nobody: no matching entries in passwd file"),
        ("web:nobody", [], "unable to find group nobody: no matching entries in group file"),
        ("web", ["nobody"], "Unable to find group nobody: no matching entries in group file"),
        ("99999999999", [], "uids and gids must be in range 0-2147483647"),
        ("-1", [], "uids and gids must be in range 0-2147483647"),
        ("0:2147483648", [], "uids and gids must be in range 0-2147483647"),
        ("9" * 5000, [], "uids and gids must be in range 0-2147483647"),
    ],
)
def test_unknown_users(user_spec: str, group_add: list[str], text: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        resolve_in(PASSWD, GROUP, user_spec, group_add)
    assert raised.value.message == text


def test_images_without_the_files() -> None:
    assert resolve_in(None, None, "") == ResolvedUser(0, 0, (0,), "")
    assert resolve_in(None, None, "5:6") == ResolvedUser(5, 6, (6,), "")
    with pytest.raises(InvalidArgument, match="unable to find user web"):
        resolve_in(None, None, "web")


def test_files_that_are_no_text() -> None:
    assert resolve_in(b"\xff\xfe:x:1:1\nweb:x:3:" + b"9" * 5000, b"::::", "web").uid == 3
