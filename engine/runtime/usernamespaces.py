"""User namespaces: which IDs of the host a container's are, and folders that are shown with their IDs shifted.

Mappings come from /etc/subuid and /etc/subgid as ``dockerd --userns-remap`` reads them. Files lie on the disk with the
IDs that containers see; an idmapped mount (kernel 5.12, overlay on it 5.19) shows them to a namespace with the host's.
Knows no container.
"""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from engine.errors import InvalidArgument, NotSupported, Unavailable
from engine.runtime import syscalls

_SUBUID, _SUBGID = Path("/etc/subuid"), Path("/etc/subgid")
_DEFAULT_USER = "dockremap"
_FIRST_FREE, _DEFAULT_COUNT = 100000, 65536
_UNSHARE = ("/usr/bin/unshare", "--user", "--net", "/bin/sh", "-c", "echo; exec cat")


@dataclass(frozen=True)
class IdRange:
    """``count`` IDs from ``inside`` on in a namespace, which are those from ``outside`` on of the host."""

    inside: int
    outside: int
    count: int


@dataclass(frozen=True)
class IdMap:
    """The IDs of a user namespace."""

    uids: tuple[IdRange, ...]
    gids: tuple[IdRange, ...]

    @property
    def root(self) -> tuple[int, int]:
        """The user and group of the host that are root inside."""
        return self.uids[0].outside, self.gids[0].outside


def read_map(asked: str, *, makes_default: bool = False) -> IdMap | None:
    """Return the mapping of ``userns-remap`` (default, user, user:group; names or numbers), None for root itself.

    ``makes_default`` makes the user that ``default`` stands for, and its ranges, as dockerd does, where they are not
    there. Raises InvalidArgument with moby's texts.
    """
    if makes_default and asked.partition(":")[0] == "default":
        _make_default()
    user, group = _names(asked)
    if user == "root":
        return None
    uids = _ranges(_SUBUID.read_text() if _SUBUID.exists() else "", user, _uid_of(user))
    gids = _ranges(_SUBGID.read_text() if _SUBGID.exists() else "", group, _gid_of(group))
    for found, kind, name in ((uids, "uid", user), (gids, "gid", group)):
        if not found:
            raise InvalidArgument(
                f'Can\'t create ID mappings: no sub{kind} ranges found for "{name}"',
                hint=f"add a line such as {name}:100000:65536 to /etc/sub{kind}",
            )
    return IdMap(uids, gids)


def _make_default() -> None:
    if _uid_of(_DEFAULT_USER) is None:
        command = ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/bin/false", _DEFAULT_USER]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
            failure = done.stderr.strip() if done.returncode else ""
        except (OSError, subprocess.TimeoutExpired) as error:
            failure = str(error)
        if failure:
            raise InvalidArgument(f'Error during "{_DEFAULT_USER}" user creation: {failure}')
    for path in (_SUBUID, _SUBGID):
        text = path.read_text() if path.exists() else ""
        if not _ranges(text, _DEFAULT_USER, None):
            line = f"{_DEFAULT_USER}:{free_start(text)}:{_DEFAULT_COUNT}\n"
            path.write_text(text + ("" if text.endswith("\n") or not text else "\n") + line)


def free_start(text: str) -> int:
    """Return the first ID behind all ranges of subuid or subgid, and not among those of users."""
    ends = [_FIRST_FREE]
    for line in text.splitlines():
        words = line.strip().split(":")
        if len(words) == 3 and words[1].isdigit() and words[2].isdigit():
            ends.append(int(words[1]) + int(words[2]))
    return max(ends)


def _names(asked: str) -> tuple[str, str]:
    words = asked.split(":")
    if len(words) > 2:
        raise InvalidArgument(f'Invalid user/group specification in --userns-remap: "{asked}"')
    user = _DEFAULT_USER if words[0] == "default" else words[0]
    if user.isdigit():
        try:
            found = pwd.getpwuid(int(user)).pw_name
        except (KeyError, OverflowError):
            raise InvalidArgument(f"Uid {user} has no entry in /etc/passwd") from None
        return found, _group(words[1]) if len(words) > 1 else _group(user)
    if _uid_of(user) is None:
        hint = f"useradd --system {user}" if words[0] == "default" else ""
        raise InvalidArgument(f'Error during uid lookup for "{user}": no such user', hint=hint)
    return user, _group(words[1] if len(words) > 1 else user)


def _group(asked: str) -> str:
    if asked.isdigit():
        try:
            return grp.getgrgid(int(asked)).gr_name
        except (KeyError, OverflowError):
            raise InvalidArgument(f"Gid {asked} has no entry in /etc/group") from None
    if _gid_of(asked) is None:
        raise InvalidArgument(f'Error during gid lookup for "{asked}": no such group')
    return asked


def _uid_of(name: str) -> int | None:
    with suppress(KeyError):
        return pwd.getpwnam(name).pw_uid
    return None


def _gid_of(name: str) -> int | None:
    with suppress(KeyError):
        return grp.getgrnam(name).gr_gid
    return None


def _ranges(text: str, name: str, number: int | None) -> tuple[IdRange, ...]:
    """Return the ranges of a name or number, one after the other inside, as moby numbers them."""
    found: list[IdRange] = []
    inside = 0
    for line in text.splitlines():
        words = line.strip().split(":")
        if len(words) != 3 or not (words[1].isdigit() and words[2].isdigit()):
            continue
        if words[0] == name or (number is not None and words[0] == str(number)):
            count = int(words[2])
            if count:
                found.append(IdRange(inside, int(words[1]), count))
                inside += count
    return tuple(found)


@dataclass
class Namespaces:
    """A user namespace and a network namespace that belongs to it, held by descriptors until ``close``."""

    user: int
    network: int

    def close(self) -> None:
        """Let go; what processes are in lives on."""
        for descriptor in (self.user, self.network):
            if descriptor >= 0:
                os.close(descriptor)
        self.user = self.network = -1


def make_namespaces(mapping: IdMap) -> Namespaces:
    """Make a user namespace with these IDs and a network namespace that it owns (blocking, some milliseconds).

    A process of its own enters them, since no thread of ours can. Raises Unavailable when the kernel refuses.
    """
    stdin, hold = os.pipe2(os.O_CLOEXEC)
    ready, stdout = os.pipe2(os.O_CLOEXEC)
    pid = 0
    try:
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        try:
            actions = [(os.POSIX_SPAWN_DUP2, source, target) for target, source in enumerate((stdin, stdout, null))]
            pid = os.posix_spawn(_UNSHARE[0], list(_UNSHARE), {"PATH": os.defpath}, file_actions=actions)
        finally:
            os.close(null)
        os.close(stdout)
        stdout = -1
        if os.read(ready, 1) != b"\n":
            raise Unavailable("this host does not allow user namespaces", hint="see /proc/sys/user/max_user_namespaces")
        for name, ranges in (("uid_map", mapping.uids), ("gid_map", mapping.gids)):
            Path(f"/proc/{pid}/{name}").write_text(_table(ranges))
        user = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        return Namespaces(user, os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        raise Unavailable(f"a user namespace cannot be made: {error.strerror}") from error
    finally:
        for descriptor in (stdin, hold, ready, stdout):
            if descriptor >= 0:
                os.close(descriptor)
        if pid:
            os.waitpid(pid, 0)


def _table(ranges: Sequence[IdRange]) -> str:
    return "".join(f"{item.inside} {item.outside} {item.count}\n" for item in ranges)


@contextmanager
def acting_as(owner: tuple[int, int] | None) -> Iterator[None]:
    """Have this thread make files as a user and group of the host, with all of root's rights; None changes nothing.

    Root itself has no place on an idmapped mount.
    """
    if owner is None:
        yield
        return
    syscalls.set_file_ids(*owner)
    try:
        yield
    finally:
        syscalls.set_file_ids(0, 0)


def show_idmapped(source: Path, target: Path, user_namespace: int) -> None:
    """Mount ``source`` at ``target``, an empty folder, with its IDs shifted as in a user namespace (blocking).

    Raises NotSupported where the kernel or the file system has no such mounts.
    """
    try:
        syscalls.mount_idmapped(str(source), str(target), user_namespace)
    except OSError as error:
        raise NotSupported(
            f"userns-remap needs idmapped mounts, which {source} does not have: {error.strerror}",
            hint="use a kernel from 5.19 on and a file system such as ext4, xfs or btrfs",
        ) from error
