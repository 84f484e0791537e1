"""``portside cp`` in all its forms, next to the stock docker command line on the same engine."""

from __future__ import annotations

import io
import itertools
import os
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine_process import DOCKER, EngineProcess
from tests.integration.archives_world import ask, file, folder, link, tar

PORTSIDE = (sys.executable, "-m", "engine.cli")


@pytest.fixture(scope="module")
def box(engine: EngineProcess) -> Iterator[str]:
    engine.docker("run", "-d", "--name", "box", "--user", "1000:1000", "busybox", "sleep", "1000")
    yield "box"
    engine.docker("rm", "-f", "box")


def run(
    engine: EngineProcess, *words: str, program: tuple[str, ...] = PORTSIDE, stdin: bytes = b"", cwd: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    environment = {
        **os.environ,
        "DOCKER_HOST": engine.url,
        "DOCKER_CONFIG": str(engine.folder / "docker"),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    return subprocess.run(
        [*program, *words], input=stdin, capture_output=True, timeout=60, env=environment, cwd=cwd, check=False
    )


def tree(top: Path) -> dict[str, tuple[str, str]]:
    """Return what is beneath a folder: kind and content by path."""
    found = {}
    for path in sorted([top, *top.rglob("*")]):
        kind = stat.filemode(path.lstat().st_mode)
        content = os.readlink(path) if path.is_symlink() else path.read_text() if path.is_file() else ""  # noqa: PTH115
        found[str(path.relative_to(top.parent))] = (kind, content)
    return found


def make_source(top: Path) -> None:
    (top / "dir/inner").mkdir(parents=True)
    (top / "dir/file").write_text("file")
    (top / "dir/inner/deep").write_text("deep")
    (top / "dir/inner/deep").chmod(0o751)
    (top / "single").write_text("single")
    (top / "to-dir").symlink_to("dir")
    (top / "to-file").symlink_to("dir/file")


TARGETS = ("here", "here/", "here/.", "new", "new/", "there", "link-here", "no/where")
CASES: list[tuple[str, bool, tuple[str, ...]]] = [
    (source, follow, TARGETS) for source in ("dir", "dir/", "dir/.", "single") for follow in (False,)
]
CASES += [
    (source, follow, TARGETS) for source in ("to-dir", "to-dir/", "to-dir/.", "to-file") for follow in (False, True)
]
CASES += [(source, False, ("here", "new")) for source in ("missing", "single/")]


@pytest.mark.parametrize(("source", "follow", "targets"), CASES)
def test_every_form_as_docker_does_it(
    engine: EngineProcess, box: str, tmp_path: Path, source: str, follow: bool, targets: tuple[str, ...]
) -> None:
    flags = ["-L"] if follow else []

    def outcome(program: tuple[str, ...], target: str, top: Path) -> dict[str, object]:
        (top / "in/here").mkdir(parents=True)
        make_source(top)
        (top / "in/there").write_text("a file")
        (top / "in/link-here").symlink_to("here")
        inside = f"/{next(_numbers)}"
        members = [
            folder("here"),
            file("there", b"a file"),
            link("link-here", "here"),
            folder("src"),
            folder("src/dir"),
        ]
        members += [file("src/dir/file", b"file"), folder("src/dir/inner"), file("src/dir/inner/deep", b"deep")]
        members += [file("src/single", b"single"), link("src/to-dir", "dir"), link("src/to-file", "dir/file")]
        assert ask(engine, "PUT", box, "/", tar(folder(inside))).status == 200
        assert ask(engine, "PUT", box, inside, tar(*members)).status == 200
        into = run(engine, "cp", *flags, source, f"{box}:{inside}/{target}", program=program, cwd=top)
        out = run(engine, "cp", *flags, f"{box}:{inside}/src/{source}", f"in/{target}", program=program, cwd=top)
        seen = ask(engine, "GET", box, f"{inside}/.")
        return {
            "into": (into.returncode, _plain(into.stderr, top, inside)),
            "in the container": {
                name: (oct(member.mode), member.linkname, seen.content(name) if member.isreg() else b"")
                for name, member in seen.members.items()
            },
            "out": (out.returncode, _plain(out.stderr, top, inside)),
            "here": tree(top / "in"),
        }

    for number, target in enumerate(targets):
        docker = outcome((DOCKER,), target, tmp_path / f"{number}d" / "top")
        assert outcome(PORTSIDE, target, tmp_path / f"{number}p" / "top") == docker, target


_numbers = itertools.count()


def _plain(output: bytes, top: Path, inside: str) -> str:
    """Return an error without what differs, and without the log that docker's command writes between."""
    text = output.decode().replace(str(top), "TOP").replace(inside, "/INSIDE").partition("Hint: ")[0]
    return "\n".join(line for line in text.splitlines() if not line.startswith("time="))


def test_streams(engine: EngineProcess, box: str, tmp_path: Path) -> None:
    into = run(engine, "cp", "-", f"{box}:/tmp", stdin=tar(folder("s"), file("s/x", b"streamed")))
    assert (into.returncode, into.stdout, into.stderr) == (0, b"", b"")
    out = run(engine, "cp", f"{box}:/tmp/s", "-")
    with tarfile.open(fileobj=io.BytesIO(out.stdout)) as archive:
        assert archive.getnames() == ["s", "s/x"]
    refused = run(engine, "cp", "-", f"{box}:/tmp/s/x", stdin=tar())
    assert refused.stderr.decode().startswith('destination "box:/tmp/s/x" must be a directory')
    assert refused.returncode == 1


def test_owner_and_quiet(engine: EngineProcess, box: str, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    done = run(engine, "cp", "-a", str(tmp_path / "mine"), f"{box}:/tmp/")
    assert (done.returncode, done.stderr) == (0, b"")
    assert engine.docker("exec", box, "stat", "-c", "%u:%g", "/tmp/mine").stdout == "1000:1000\n"
    told = run(engine, "cp", "--quiet=false", str(tmp_path / "mine"), f"{box}:/tmp/")
    assert told.stderr == b"Successfully copied 2.05kB to box:/tmp/\n"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["", "x"], "source can not be empty"),
        (["x", ""], "destination can not be empty"),
        (["one", "two"], "must specify at least one container source"),
        (["one:/x", "two:/y"], "copying between containers is not supported"),
        (["nobody:/x", "."], "Error response from daemon: No such container: nobody"),
        (["box:/nothing", "."], "Error response from daemon: Could not find the file /nothing in container box"),
        (["box:/bin", "/no/such/dir/x"], 'invalid output path: directory "/no/such/dir" does not exist'),
        (["box:/bin/sh", "/dev/null"], 'invalid output path: "/dev/null" must be a directory or a regular file'),
        (["/no/such/file", "box:/"], "lstat /no/such"),
    ],
)
def test_what_cannot_be(engine: EngineProcess, box: str, words: list[str], text: str) -> None:
    done = run(engine, "cp", *words)
    assert done.returncode == 1
    assert done.stderr.decode().startswith(text)


def test_a_container_cannot_write_beside_the_target(engine: EngineProcess, box: str, tmp_path: Path) -> None:
    """Links that an archive brings are not followed here: not absolute ones either, as docker's command does."""
    outside, target = tmp_path / "outside", tmp_path / "target"
    outside.mkdir()
    target.mkdir()
    (target / "evil").mkdir()
    (target / "evil/way").symlink_to(outside)
    assert ask(engine, "PUT", box, "/tmp", tar(folder("evil"), folder("evil/way"), file("evil/way/x"))).status == 200
    done = run(engine, "cp", f"{box}:/tmp/evil", str(target))
    assert done.returncode == 1
    assert not list(outside.iterdir())
