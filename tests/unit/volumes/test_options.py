"""A volume's options as the arguments of a mount."""

from __future__ import annotations

import pytest

from engine.runtime import syscalls
from engine.volumes.options import MountCall, mount_call, needs_mount


@pytest.mark.parametrize(
    ("options", "call"),
    [
        (
            {"type": "tmpfs", "device": "tmpfs", "o": "size=1m,uid=5,noexec"},
            MountCall("tmpfs", "tmpfs", syscalls.MS_NOEXEC, "size=1m,uid=5", 0),
        ),
        (
            {"type": "none", "device": "/x", "o": "bind,ro,rw"},
            MountCall("/x", "none", syscalls.MS_BIND, "", 0),
        ),
        (
            {"type": "none", "device": "/x", "o": "rbind,rslave"},
            MountCall("/x", "none", syscalls.MS_BIND | syscalls.MS_REC, "", syscalls.MS_SLAVE | syscalls.MS_REC),
        ),
        (
            {"type": "nfs", "device": ":/export", "o": "addr=192.0.2.1,vers=4"},
            MountCall(":/export", "nfs", 0, "addr=192.0.2.1,vers=4", 0),
        ),
        (
            {"type": "nfs4", "device": ":/export", "o": "addr=localhost,soft"},
            MountCall(":/export", "nfs4", 0, "addr=127.0.0.1,soft", 0),
        ),
        (
            {"type": "cifs", "device": "//localhost/share", "o": "username=u"},
            MountCall("//127.0.0.1/share", "cifs", 0, "username=u", 0),
        ),
        ({"type": "ext4", "device": "/dev/x"}, MountCall("/dev/x", "ext4", 0, "", 0)),
    ],
)
def test_mount_calls(options: dict[str, str], call: MountCall, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(host: str, port: None, **_: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        assert host == "localhost"
        return [(2, 1, 6, "", ("127.0.0.1", 0))]

    monkeypatch.setattr("engine.volumes.options.socket.getaddrinfo", resolve)
    assert mount_call(options) == call


def test_what_is_a_mount_of_its_own() -> None:
    assert not needs_mount(None)
    assert not needs_mount({})
    assert needs_mount({"type": "tmpfs", "device": "tmpfs"})
