"""The Volume operations over HTTP, raw and through the stock docker CLI."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, UnixConnector, web

from engine.server.app import build_app
from engine.server.http import Route
from engine.server.volumes import VolumesApi
from tests.integration.test_volumes import Engine


class Server:
    """An engine that has volumes only, on a socket."""

    def __init__(self, engine: Engine, socket: Path) -> None:
        """Prepare."""
        self.engine = engine
        self.socket = socket

    async def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Return status and decoded body."""
        async with ClientSession(connector=UnixConnector(str(self.socket))) as session:
            answer = await session.request(method, f"http://engine{path}", json=body)
            text = await answer.text()
            return answer.status, json.loads(text) if text else None

    async def docker(self, *words: str) -> tuple[int, str]:
        """Run the docker CLI."""
        process = await asyncio.create_subprocess_exec(
            "docker",
            *words,
            env={"PATH": os.environ["PATH"], "DOCKER_HOST": f"unix://{self.socket}", "HOME": str(self.socket.parent)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(process.communicate(), 30)
        return process.returncode or 0, output.decode()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    engine = Engine(tmp_path)

    async def ping(_: web.Request) -> web.StreamResponse:
        return web.Response(text="OK")

    routes = [*VolumesApi(engine.manager).routes(), Route("GET", "/_ping", ping), Route("HEAD", "/_ping", ping)]
    runner = web.AppRunner(build_app(routes))
    await runner.setup()
    socket = tmp_path / "engine.sock"
    await web.UnixSite(runner, str(socket)).start()
    yield Server(engine, socket)
    await runner.cleanup()
    engine.database.close()


async def test_create_inspect_list_remove(server: Server) -> None:
    status, made = await server.call("POST", "/v1.51/volumes/create", {"Name": "data", "Labels": {"a": "b"}})
    assert status == 201
    assert made == {
        "CreatedAt": made["CreatedAt"],
        "Driver": "local",
        "Labels": {"a": "b"},
        "Mountpoint": str(server.engine.folder / "volumes/data/_data"),
        "Name": "data",
        "Options": None,
        "Scope": "local",
    }
    assert made["CreatedAt"].endswith("Z")
    assert "." not in made["CreatedAt"]
    assert await server.call("GET", "/volumes/data") == (200, made)
    assert await server.call("GET", "/volumes") == (200, {"Volumes": [made], "Warnings": None})
    assert await server.call("DELETE", "/volumes/data") == (204, None)
    assert await server.call("GET", "/volumes/data") == (404, {"message": "get data: no such volume"})
    assert await server.call("DELETE", "/volumes/data?force=1") == (204, None)


async def test_errors(server: Server) -> None:
    status, answer = await server.call("POST", "/volumes/create", {"Name": "a/b"})
    assert status == 400
    assert answer["message"].startswith('create a/b: "a/b" includes invalid characters for a local volume name')
    assert (await server.call("POST", "/volumes/create", {"Name": 5}))[0] == 400
    assert (await server.call("POST", "/volumes/create", {"Name": "ok", "Driver": "flocker"}))[0] == 404
    assert (await server.call("POST", "/volumes/create", {"Name": "ok"}))[0] == 201
    assert (await server.call("POST", "/v1.41/volumes/create", {"Name": "ok", "ClusterVolumeSpec": {}}))[0] == 201
    assert (await server.call("POST", "/volumes/create", {"ClusterVolumeSpec": {}}))[0] == 503
    assert (await server.call("PUT", "/volumes/ok?version=1", {}))[0] == 503
    assert await server.call("GET", '/volumes?filters={"colour":["red"]}') == (
        400,
        {"message": "invalid filter 'colour'"},
    )
    assert await server.call("GET", "/volumes?filters=broken") == (
        400,
        {"message": "error reading volume filters: invalid filter"},
    )
    server.engine.users.volumes["ok"] = ["c1"]
    assert await server.call("DELETE", "/volumes/ok") == (409, {"message": "remove ok: volume is in use - [c1]"})


async def test_prune_by_version(server: Server) -> None:
    for name in ("one", "two"):
        await server.call("POST", "/volumes/create", {"Name": name})
    assert await server.call("POST", "/v1.51/volumes/prune") == (200, {"VolumesDeleted": [], "SpaceReclaimed": 0})
    status, report = await server.call("POST", "/v1.41/volumes/prune")
    assert (status, report["VolumesDeleted"]) == (200, ["one", "two"])


@pytest.mark.skipif(shutil.which("docker") is None, reason="no docker CLI")
async def test_docker_cli(server: Server) -> None:
    assert await server.docker("volume", "create", "--label", "tier=db", "data") == (0, "data\n")
    assert await server.docker("volume", "create", "data") == (0, "data\n")
    code, output = await server.docker("volume", "inspect", "data")
    assert code == 0
    assert json.loads(output)[0]["Labels"] == {"tier": "db"}
    assert await server.docker("volume", "ls", "-q", "-f", "label=tier=db") == (0, "data\n")
    code, output = await server.docker("volume", "create", "-o", "size=1g", "bad")
    assert (code, output.splitlines()[0]) == (
        1,
        "Error response from daemon: create bad: quota size requested but no quota support",
    )
    code, output = await server.docker("volume", "rm", "missing")
    assert (code, output) == (1, "Error response from daemon: get missing: no such volume\n")
    assert await server.docker("volume", "rm", "-f", "missing") == (0, "missing\n")
    code, output = await server.docker("volume", "prune", "-f", "--all")
    assert code == 0
    assert "Deleted Volumes:\ndata\n" in output
