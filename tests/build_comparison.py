"""Building the same thing with two engines and taking the results apart, so that they can be compared."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from tests.build_cases import FIXED_TIME, Case
from tests.engine_process import EngineProcess

DOCKER_20 = "/usr/bin/docker"
_IDENTIFIER = re.compile(r"\b[0-9a-f]{64}\b|\b[0-9a-f]{12}\b")
# The interval while a container starts came with Docker 25.
_START_INTERVAL = re.compile(r'(HEALTHCHECK &\{\[.*\] "\S+" "\S+" "\S+") "0s"( \')')
_CHOWN = re.compile(r"(--chown=[\w:]+?) ?((?:dir|file|multi):)")
_BASE = """FROM busybox
RUN mkdir -p /etc /tmp /owned/in /real /home/app && chmod 1777 /tmp \\
 && echo root:x:0:0:root:/root:/bin/sh > /etc/passwd && echo app:x:1000:50::/home/app:/bin/sh >> /etc/passwd \\
 && echo root:x:0: > /etc/group && echo staff:x:50: >> /etc/group && echo o > /owned/in/f \\
 && chown -R 7:8 /owned && chmod 711 /owned && ln -s real /linked && ln -s /real /abs && ln -s /real/target /tofile
"""


def write_context(folder: Path, case: Case) -> None:
    """Write a case's context, everything with the same old time."""
    folder.mkdir()
    (folder / "Dockerfile").write_text(case.text)
    for name, content in case.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data, mode = content if isinstance(content, tuple) else (content, 0o644)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        path.chmod(mode)
    for name, target in case.links.items():
        (folder / name).symlink_to(target)
    for path in [*folder.rglob("*"), folder]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
        os.utime(path, (FIXED_TIME, FIXED_TIME), follow_symlinks=False)


def build(
    engine: EngineProcess, folder: Path, *words: str, docker: str = DOCKER_20, buildkit: str = "0"
) -> subprocess.CompletedProcess[str]:
    """Run ``docker build`` on a context."""
    environment = {**os.environ, "DOCKER_BUILDKIT": buildkit, "DOCKER_HOST": engine.url}
    environment["DOCKER_CONFIG"] = str(engine.folder / "docker")
    return subprocess.run(
        [docker, "build", *words, str(folder)],
        capture_output=True, text=True, errors="replace", timeout=120, env=environment, check=False,
    )  # fmt: skip


def build_base(engine: EngineProcess, folder: Path) -> None:
    """Give an engine the image that all cases begin with."""
    write_context(folder, Case("base", _BASE))
    done = build(engine, folder, "-t", "base", "--network", "none")
    assert done.returncode == 0, done.stdout + done.stderr


def shown(done: subprocess.CompletedProcess[str]) -> tuple[int, list[str], list[str]]:
    """Return what a build printed, without identifiers and without lines that only one of the builders has."""
    text = _IDENTIFIER.sub("ID", done.stdout.replace("\x1b[0m", "")).replace("found in:\n    ", "found in: ")
    # A step that touches no file needs no container here; what an earlier case has built may be cached.
    left_out = (" ---> Running in", "Removing intermediate", "Sending", " ---> Using cache")
    lines = [line for line in text.splitlines() if not line.startswith(left_out)]
    errors = [_IDENTIFIER.sub("ID", line) for line in done.stderr.splitlines() if line and "DEPRECATED" not in line]
    return done.returncode, lines, errors


def configuration(engine: EngineProcess, image: str) -> dict[str, Any]:
    """Return an image's configuration, what is empty left out."""
    status, found = engine.api("GET", f"/images/{image}/json")
    assert status == 200, found
    config = {key: value for key, value in found["Config"].items() if value}
    for key in ("Image", "Hostname", "Domainname", "OnBuild") if not found["Config"].get("OnBuild") else ("Image",):
        config.pop(key, None)
    return {"config": config, "os": found["Os"], "architecture": found["Architecture"], "author": found["Author"]}


def history(engine: EngineProcess, image: str) -> list[tuple[str, bool]]:
    """Return the steps of an image, newest first: the line and whether it has a size."""
    status, found = engine.api("GET", f"/images/{image}/history")
    assert status == 200, found
    return [(_today(item["CreatedBy"]), item["Size"] > 0) for item in found]


def _today(line: str) -> str:
    """Return a history's line without what has changed since Docker 20.10."""
    line = _START_INTERVAL.sub(r"\1\2", line)
    return _CHOWN.sub(r"\1 \2", line)


def layers(engine: EngineProcess, image: str) -> list[dict[str, tuple[object, ...]]]:
    """Return what is in each layer of an image: names with type, mode, owner, size, link, and old times."""
    target = engine.folder / "saved.tar"
    engine.docker("save", "-o", str(target), image)
    found: list[dict[str, tuple[object, ...]]] = []
    with tarfile.open(target) as saved:
        manifest = json.load(_member(saved, "manifest.json"))
        for name in manifest[0]["Layers"]:
            with tarfile.open(fileobj=io.BytesIO(_member(saved, name).read())) as layer:
                found.append({_name(member): _facts(layer, member) for member in layer})
    target.unlink()
    return found


def differing(
    ours: list[dict[str, tuple[object, ...]]], theirs: list[dict[str, tuple[object, ...]]]
) -> list[tuple[int, str, object, object]]:
    """Return what differs between layers: the layer's number, the path, and both sides."""
    found: list[tuple[int, str, object, object]] = []
    for number in range(max(len(ours), len(theirs))):
        one, other = (side[number] if number < len(side) else {} for side in (ours, theirs))
        found += [
            (number, name, one.get(name), other.get(name))
            for name in sorted({*one, *other})
            if one.get(name) != other.get(name)
        ]
    return found


def _member(tar: tarfile.TarFile, name: str) -> Any:
    found = tar.extractfile(name)
    assert found is not None
    return found


def _name(member: tarfile.TarInfo) -> str:
    return member.name.strip("/").removeprefix("./")


def _facts(layer: tarfile.TarFile, member: tarfile.TarInfo) -> tuple[object, ...]:
    if Path(member.name).name.startswith(".wh."):
        return ("whiteout",)
    content = b""
    if member.isreg():
        file = layer.extractfile(member)
        content = file.read() if file else b""
        content = content if len(content) < 4096 else b"%d" % len(content)
    time = int(member.mtime) if member.mtime <= FIXED_TIME and not member.isdir() else "new"
    link = member.linkname.strip("/") if member.islnk() else member.linkname
    return (member.type, oct(member.mode & 0o7777), member.uid, member.gid, link, content, time)
