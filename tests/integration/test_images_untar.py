"""Unpacking layers: what is in the archive is on the disk, and nothing of it gets out of its folder."""

from __future__ import annotations

import asyncio
import errno
import gzip
import hashlib
import os
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import zstandard

from engine.errors import InvalidArgument, Unavailable
from engine.images.unpacking import run_untar
from tests.integration.images_world import head, tar_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="unpacking needs root")


class Yard:
    """A folder to unpack into, next to one that must stay as it is."""

    def __init__(self, folder: Path) -> None:
        """Make them."""
        self.folder = folder
        self.outside = folder / "outside"
        self.outside.mkdir()
        (self.outside / "secret").write_text("untouched")
        self.number = 0

    async def unpack(self, data: bytes, lower: list[Path] | None = None) -> Path:
        """Unpack an archive; return where it went. It must have the digest that was calculated."""
        self.number += 1
        blob, target = self.folder / f"blob{self.number}", self.folder / f"layer{self.number}"
        blob.write_bytes(data)
        target.mkdir()
        result = await run_untar(blob, target, lower or [])
        if not data.startswith((b"\x1f\x8b", b"\x28\xb5", b"BZ", b"\xfd7")):
            assert result.diff_id == f"sha256:{hashlib.sha256(data).hexdigest()}"
        return target

    async def refuse(self, data: bytes) -> str:
        """Unpack an archive that is to be refused; return the message."""
        with pytest.raises(InvalidArgument) as caught:
            await self.unpack(data)
        return caught.value.message

    def check_outside(self) -> None:
        """Nothing outside may have changed."""
        assert sorted(entry.name for entry in self.outside.iterdir()) == ["secret"]
        assert (self.outside / "secret").read_text() == "untouched"


def run(*words: str) -> bytes:
    """Run a program and return what it wrote."""
    return subprocess.run(words, capture_output=True, check=True).stdout


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return Yard(tmp_path)


async def test_everything_of_a_member_is_kept(yard: Yard) -> None:
    target = await yard.unpack(
        tar_of(
            [
                head("d", tarfile.DIRTYPE, mode=0o1777, uid=3, gid=4, mtime=1_000_000),
                head("d/link", tarfile.SYMTYPE, "../nowhere"),
                head("dev", tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666),
                head("blk", tarfile.BLKTYPE, devmajor=7, devminor=9, mode=0o660),
                head("pipe", tarfile.FIFOTYPE, mode=0o600),
                ("d/file", b"x" * 70_000),
                head("d/hard", tarfile.LNKTYPE, "d/file"),
                head("suid", tarfile.REGTYPE, mode=0o4755, uid=100_000, gid=200_000, mtime=12.5),
            ]
        )
    )
    folder = (target / "d").stat()
    assert (stat.S_IMODE(folder.st_mode), folder.st_uid, folder.st_gid) == (0o1777, 3, 4)
    assert folder.st_mtime == 1_000_000
    assert (target / "d/link").readlink() == Path("../nowhere")
    assert (target / "dev").stat().st_rdev == os.makedev(1, 3)
    assert stat.S_ISBLK((target / "blk").stat().st_mode)
    assert stat.S_ISFIFO((target / "pipe").stat().st_mode)
    assert (target / "d/hard").stat().st_ino == (target / "d/file").stat().st_ino
    special = (target / "suid").stat()
    assert (stat.S_IMODE(special.st_mode), special.st_uid, special.st_gid) == (0o4755, 100_000, 200_000)
    assert special.st_mtime == 12.5


async def test_both_kinds_of_whiteouts_become_overlayfs_marks(yard: Yard) -> None:
    target = await yard.unpack(
        tar_of([("etc/.wh.passwd", b""), ("var/.wh..wh..opq", b""), ("var/new", b"n"), (".wh..wh.plnk", b"")])
    )
    mark = (target / "etc/passwd").stat()
    assert stat.S_ISCHR(mark.st_mode)
    assert mark.st_rdev == 0
    assert os.getxattr(target / "var", "trusted.overlay.opaque") == b"y"
    assert sorted(entry.name for entry in target.iterdir()) == ["etc", "var"]


@pytest.mark.parametrize("name", ["../outside/evil", "../../../../etc/evil", "a/../../outside/evil", ".."])
async def test_names_that_lead_out_are_refused(yard: Yard, name: str) -> None:
    message = await yard.refuse(tar_of([(name, b"evil")]))
    assert "is outside of the layer" in message
    yard.check_outside()


async def test_absolute_names_and_links_mean_the_layers_own_root(yard: Yard) -> None:
    outside = str(yard.outside)
    target = await yard.unpack(
        tar_of(
            [
                ("/abs", b"1"),
                head("hard", tarfile.LNKTYPE, "/abs"),
                head("trap", tarfile.SYMTYPE, outside),
                head("up", tarfile.SYMTYPE, "../../../.." + outside),
            ]
        )
    )
    assert (target / "abs").read_bytes() == b"1"
    assert (target / "hard").read_bytes() == b"1"
    yard.check_outside()


@pytest.mark.parametrize(
    "evil",
    [
        [("trap/evil", b"e")],
        [("trap/secret", b"e")],
        [("trap/.wh.secret", b"")],
        [("trap/.wh..wh..opq", b"")],
        [head("trap/secret", tarfile.LNKTYPE, "trap/secret2")],
        [head("grab", tarfile.LNKTYPE, "trap/secret"), ("grab", b"e")],
        [head("trap/dev", tarfile.CHRTYPE, devmajor=1, devminor=1)],
        [head("trap", tarfile.DIRTYPE, mode=0o777), ("trap/evil", b"e")],
    ],
)
@pytest.mark.parametrize("depth", [0, 9])
async def test_a_planted_link_leads_nowhere_outside(yard: Yard, evil: list[Any], depth: int) -> None:
    link = str(yard.outside) if not depth else "/".join([".."] * depth) + str(yard.outside)
    with suppress(InvalidArgument):  # refused or done in the layer's own root: both are well
        await yard.unpack(tar_of([head("trap", tarfile.SYMTYPE, link), *evil]))
    yard.check_outside()


async def test_a_link_that_a_lower_layer_planted_is_not_followed(yard: Yard) -> None:
    lower = await yard.unpack(tar_of([head("trap", tarfile.SYMTYPE, str(yard.outside))]))
    with pytest.raises(InvalidArgument, match="no such file"):
        await yard.unpack(tar_of([head("grab", tarfile.LNKTYPE, "trap/secret")]), [lower])
    target = await yard.unpack(tar_of([("trap/evil", b"e")]), [lower])
    assert (target / "trap/evil").read_bytes() == b"e"
    yard.check_outside()


async def test_hard_links_reach_into_lower_layers(yard: Yard) -> None:
    bottom = await yard.unpack(
        tar_of([head("a", tarfile.DIRTYPE, mode=0o750, uid=7), ("a/f", b"old"), ("a/gone", b"g")])
    )
    middle = await yard.unpack(tar_of([("a/.wh.gone", b""), ("b/.wh..wh..opq", b"")]))
    target = await yard.unpack(tar_of([head("c", tarfile.LNKTYPE, "a/f")]), [middle, bottom])
    assert (target / "c").read_bytes() == b"old"
    assert (target / "a/f").stat().st_ino == (target / "c").stat().st_ino
    with pytest.raises(InvalidArgument, match="hard link '/c' to '/a/gone': no such file"):
        await yard.unpack(tar_of([head("c", tarfile.LNKTYPE, "a/gone")]), [middle, bottom])


async def test_the_last_of_duplicates_counts(yard: Yard) -> None:
    target = await yard.unpack(
        tar_of(
            [
                ("f", b"1"),
                ("f", b"22"),
                head("d", tarfile.DIRTYPE, mode=0o700),
                ("d/kept", b"k"),
                head("d", tarfile.DIRTYPE, mode=0o755),
                head("x", tarfile.DIRTYPE),
                ("x/inner", b""),
                ("x", b"now a file"),
                ("y", b"a file"),
                head("y", tarfile.DIRTYPE, mode=0o755),
                ("y/inner", b"i"),
                head("s", tarfile.SYMTYPE, "f"),
                ("s", b"own"),
                ("./f2", b"a"),
                (".//f2", b"b"),
            ]
        )
    )
    assert (target / "f").read_bytes() == b"22"
    assert (target / "d/kept").read_bytes() == b"k"
    assert (target / "d").stat().st_mode & 0o777 == 0o755
    assert (target / "x").read_bytes() == b"now a file"
    assert (target / "y/inner").read_bytes() == b"i"
    assert (target / "s").read_bytes() == b"own"
    assert (target / "f2").read_bytes() == b"b"


async def test_the_size_is_that_of_what_is_there_in_the_end(yard: Yard) -> None:
    blob, target = yard.folder / "b", yard.folder / "t"
    blob.write_bytes(
        tar_of(
            [
                ("f", b"x" * 1000),
                ("f", b"x" * 100),
                head("h", tarfile.LNKTYPE, "f"),
                head("l", tarfile.SYMTYPE, "twelve chars"),
                ("d/a", b"x" * 500),
                head("d", tarfile.SYMTYPE, "x"),
            ]
        )
    )
    target.mkdir()
    assert (await run_untar(blob, target)).size == 100 + 12 + 1


async def test_names_need_not_be_utf8(yard: Yard) -> None:
    name = b"caf\xe9/\xff\xfe".decode(errors="surrogateescape")
    target = await yard.unpack(
        tar_of([(name, b"x")], format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape")
    )
    assert os.listdir(os.fsencode(target / "x").removesuffix(b"/x") + b"/caf\xe9") == [b"\xff\xfe"]  # noqa: PTH208


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
async def test_long_names_and_large_numbers(yard: Yard, form: int) -> None:
    name = "/".join(["n" * 120] * 3)
    target = await yard.unpack(
        tar_of(
            [(name, b"x"), head("l", tarfile.SYMTYPE, "t" * 300), head("o", tarfile.REGTYPE, uid=2**30, gid=2**31)],
            format=form,
        )
    )
    assert (target / name).read_bytes() == b"x"
    assert len(str((target / "l").readlink())) == 300
    assert (target / "o").stat().st_uid == 2**30


async def test_xattrs_are_set_but_for_overlayfs_own(yard: Yard) -> None:
    capability = "\x01\x00\x00\x02\x00\x20" + "\x00" * 14
    target = await yard.unpack(
        tar_of(
            [
                head(
                    "f",
                    tarfile.REGTYPE,
                    pax_headers={
                        "SCHILY.xattr.user.mine": "yes",
                        "SCHILY.xattr.security.capability": capability,
                        "SCHILY.xattr.trusted.overlay.opaque": "y",
                    },
                ),
            ],
            format=tarfile.PAX_FORMAT,
        )
    )
    assert os.getxattr(target / "f", "user.mine") == b"yes"
    assert os.getxattr(target / "f", "security.capability") == capability.encode("latin-1")
    with pytest.raises(OSError, match="No data") as caught:
        os.getxattr(target / "f", "trusted.overlay.opaque")
    assert caught.value.errno == errno.ENODATA


@pytest.mark.parametrize("form", ["gnu", "pax --sparse-version=0.0", "pax --sparse-version=0.1", "posix"])
async def test_sparse_files_of_gnu_tar(yard: Yard, form: str) -> None:
    source = yard.folder / "source"
    source.mkdir()
    with (source / "holes").open("wb") as file:
        for number in range(40):
            file.seek(number * 100_000)
            file.write(b"data%d" % number)
        file.truncate(5_000_000)
    (source / "zz-after").write_bytes(b"after")
    kind, *more = form.split()
    packed = run("tar", f"--format={kind}", *more, "-cS", "-C", str(source), ".")
    assert len(packed) < 500_000
    target = await yard.unpack(packed)
    assert (target / "holes").read_bytes() == (source / "holes").read_bytes()
    assert (target / "holes").stat().st_blocks < 4000
    assert (target / "zz-after").read_bytes() == b"after"


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.ZstdCompressor().compress, lambda data: data])
async def test_compressions_give_the_digest_of_what_is_inside(yard: Yard, compress: Callable[[bytes], bytes]) -> None:
    plain = tar_of([("f", os.urandom(300_000)), ("g", b"g" * 3_000_000)])
    blob, target = yard.folder / "b", yard.folder / "t"
    blob.write_bytes(compress(plain))
    target.mkdir()
    result = await run_untar(blob, target)
    assert result.diff_id == f"sha256:{hashlib.sha256(plain).hexdigest()}"
    assert result.size == 3_300_000


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"this is no archive at all" * 100, "invalid tar header"),
        (tar_of([("f", b"x" * 5000)])[:3000], "unexpected EOF"),
        (tar_of([("f", b"x")])[:300], "unexpected EOF"),
        (gzip.compress(tar_of([("f", os.urandom(5000))]))[:2000], ""),
        (b"\x1f\x8b" + b"\xff" * 3000, ""),
        (b"\x28\xb5\x2f\xfd" + b"\xff" * 3000, ""),
        (tar_of([head("v", b"V")]), "unhandled tar header type"),
    ],
)
async def test_damaged_archives_are_named_so(yard: Yard, data: bytes, message: str) -> None:
    refused = await yard.refuse(data)
    assert refused.startswith("failed to register layer: ")
    assert message in refused
    assert len(refused) > len("failed to register layer: ")


async def test_a_failure_may_be_about_a_name_that_is_not_utf8(yard: Yard) -> None:
    name = b"\xff\xfe" * 150
    data = tar_of(
        [(name.decode(errors="surrogateescape"), b"x")],
        format=tarfile.GNU_FORMAT,
        encoding="utf-8",
        errors="surrogateescape",
    )
    message = await yard.refuse(data)
    assert message.startswith("failed to register layer: File name too long: /\\udcff\\udcfe")


async def test_an_unpacker_dies_with_its_engine(yard: Yard) -> None:
    blob, target = yard.folder / "blob", yard.folder / "target"
    target.mkdir()
    os.mkfifo(blob)  # nobody writes to it: the unpacker waits
    script = "import asyncio, pathlib\nfrom engine.images.unpacking import run_untar\nprint('ready', flush=True)\n"
    script += f"asyncio.run(run_untar(pathlib.Path({str(blob)!r}), pathlib.Path({str(target)!r})))"
    engine = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    needle = str(target).encode()

    def unpackers() -> list[str]:
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                command = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
                if b"engine.images.untar" in command and needle in command:
                    found.append(entry.name)
        return found

    for _ in range(400):
        if unpackers():
            break
        await asyncio.sleep(0.05)
    assert len(unpackers()) == 1
    await asyncio.sleep(0.5)
    engine.kill()
    await engine.wait()
    for _ in range(100):
        if not unpackers():
            break
        await asyncio.sleep(0.05)
    assert unpackers() == []


async def test_a_hundred_thousand_files(yard: Yard) -> None:
    members = [(f"d{number % 100}/f{number}", b"") for number in range(100_000)]
    target = await yard.unpack(tar_of(members))
    assert sum(len(list(folder.iterdir())) for folder in target.iterdir()) == 100_000


async def test_a_full_disk_is_said_so(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=200k", "none", str(small))
    try:
        blob = tmp_path / "blob"
        blob.write_bytes(tar_of([("f", b"x" * 1_000_000)]))
        (small / "layer").mkdir()
        with pytest.raises(Unavailable, match="No space left on device") as caught:
            await run_untar(blob, small / "layer")
        assert str(small) in caught.value.message
    finally:
        run("umount", str(small))
