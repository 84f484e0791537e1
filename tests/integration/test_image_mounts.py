"""Images mounted in containers (``--mount type=image``): read-only, parts of them, counted as used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.engine_process import EngineProcess
from tests.integration.archives_world import ask, file, folder, link, tar


@pytest.fixture(scope="module")
def data(engine: EngineProcess) -> Iterator[str]:
    """An image with files and a link that wants to lead out."""
    content = tar(folder("sub"), file("sub/inner", b"inner"), file("top", b"top"), link("out", "/etc"))
    engine.docker("import", "-", "data:1", stdin=content)
    yield "data:1"
    engine.docker("rmi", "data:1")


def create(engine: EngineProcess, name: str, *mounts: dict[str, Any], version: str = "v1.51") -> tuple[int, Any]:
    body = {"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": {"Mounts": list(mounts)}}
    status, answer = engine.api("POST", f"/{version}/containers/create?name={name}", body)
    return status, answer


def test_an_image_in_a_container(engine: EngineProcess, data: str) -> None:
    words = ["--mount", f"type=image,src={data},dst=/image"]
    words += ["--mount", f"type=image,src={data},dst=/part,image-subpath=sub"]
    engine.docker("run", "-d", "--name", "reader", *words, "busybox", "sleep", "1000")
    assert engine.docker("exec", "reader", "cat", "/image/sub/inner", "/part/inner").stdout == "innerinner"
    assert not [point for point in engine.mounts() if "/subpaths/" in point]
    refused = engine.docker("exec", "reader", "touch", "/image/new", check=False)
    assert "Read-only file system" in refused.stderr
    _, shown = engine.api("GET", "/containers/reader/json")
    assert [(item["Type"], item["Name"], item["RW"]) for item in shown["Mounts"]] == [("image", data, False)] * 2
    assert ask(engine, "GET", "reader", "/image/top").content("top") == b"top"
    answer = ask(engine, "PUT", "reader", "/part", tar(file("new")))
    assert (answer.status, answer.message) == (400, "mounted volume is marked read-only")
    engine.docker("stop", "-t", "0", "reader")
    assert ask(engine, "GET", "reader", "/part/inner").content("inner") == b"inner"
    assert ask(engine, "GET", "reader", "/image/top").content("top") == b"top"
    engine.docker("start", "reader")
    assert engine.docker("exec", "reader", "ls", "/part").stdout == "inner\n"
    engine.docker("rm", "-f", "reader")


def test_it_counts_as_used(engine: EngineProcess, data: str) -> None:
    status, answer = create(engine, "holder", {"Type": "image", "Source": data, "Target": "/image"})
    assert status == 201
    assert answer["Warnings"] == ["Image mount is an experimental feature"]
    refused = engine.docker("rmi", data, check=False)
    assert refused.returncode == 1
    assert "container" in refused.stderr
    engine.docker("rm", "holder")


def test_what_cannot_be(engine: EngineProcess, data: str) -> None:
    mount = {"Type": "image", "Source": data, "Target": "/image"}
    status, answer = create(engine, "old", mount, version="v1.47")
    assert (status, answer) == (400, {"message": 'Mount type "Image" needs API v1.48 or newer'})
    status, answer = create(engine, "none", {**mount, "Source": "no-such-image"})
    assert (status, answer) == (400, {"message": "No such image: no-such-image:latest"})
    status, answer = create(engine, "up", {**mount, "ImageOptions": {"Subpath": "../x"}})
    assert status == 400
    for subpath in ("missing", "out"):
        assert create(engine, "bad", {**mount, "ImageOptions": {"Subpath": subpath}})[0] == 201
        status, answer = engine.api("POST", "/containers/bad/start")
        assert status == 400
        assert "cannot access path" in answer["message"]
        engine.docker("rm", "bad")
