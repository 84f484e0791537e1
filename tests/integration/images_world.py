"""The images of an engine without the engine: managers on real folders, events recorded, an API on a socket."""

from __future__ import annotations

import asyncio
import io
import json
import os
import tarfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, UnixConnector, web

from engine.images.archives import ImageArchives
from engine.images.listing import ImageListing
from engine.images.manager import ImageManager
from engine.images.pull import Puller
from engine.images.removal import ImageRemover
from engine.model.system import AuthConfig
from engine.registry.hosts import RegistrySettings
from engine.server.app import build_app
from engine.server.http import Route
from engine.server.images import ImagesApi
from engine.store.database import Database
from engine.wire.references import parse_reference


class FakeEvents:
    """Remembers what was announced."""

    def __init__(self) -> None:
        """Begin empty."""
        self.seen: list[tuple[str, str, dict[str, str]]] = []

    def publish(
        self,
        kind: str,
        action: str,
        actor_id: str,
        attributes: dict[str, str] | None = None,
        *,
        time_ns: int | None = None,
    ) -> None:
        """Remember an event."""
        assert kind == "image"
        self.seen.append((action, actor_id, attributes or {}))

    def actions(self) -> list[str]:
        """Return what happened, in order, and forget it."""
        found = [action for action, _, _ in self.seen]
        self.seen.clear()
        return found


class FakeUsers:
    """Containers that are said to use images."""

    def __init__(self) -> None:
        """Nobody yet."""
        self.containers: list[tuple[str, str, bool, str]] = []

    def add(self, image_id: str, *, is_running: bool = False) -> str:
        """Let a container use an image; return its ID."""
        container_id = f"{len(self.containers) + 1:064x}"
        self.containers.append((container_id, f"c{len(self.containers)}", is_running, image_id))
        return container_id

    def containers_using(self, image_id: str) -> list[tuple[str, str, bool]]:
        """Return (ID, name, whether it runs)."""
        return [(key, name, running) for key, name, running, used in self.containers if used == image_id]


class ImagesWorld:
    """Everything about images under one folder. ``reopen`` is what the next start of an engine does."""

    def __init__(self, folder: Path, settings: RegistrySettings | None = None) -> None:
        """Open or make it."""
        self.folder = folder
        self.settings = settings or RegistrySettings(certificate_folders=(), connect_timeout_s=2, read_timeout_s=2)
        folder.mkdir(parents=True, exist_ok=True)
        self.database = Database(folder / "engine.db")
        self.events = FakeEvents()
        self.users = FakeUsers()
        self.images = ImageManager(self.database, folder, self.events)
        self.images.users = self.users
        self.archives = ImageArchives(self.images)
        self.listing = ImageListing(self.images)
        self.remover = ImageRemover(self.images)
        self.puller = Puller(self.images, lambda: self.settings, "amd64", 3)

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    async def reopen(self) -> ImagesWorld:
        """Close and open again, and sweep as a start does."""
        self.close()
        world = ImagesWorld(self.folder, self.settings)
        world.users.containers = self.users.containers
        await world.images.sweep()
        return world

    async def load(self, archive: bytes) -> list[dict[str, Any]]:
        """Load an archive; return the progress."""
        seen: list[dict[str, Any]] = []

        async def progress(item: dict[str, Any]) -> None:
            seen.append(item)

        await self.archives.load(blocks_of(archive), progress)
        return seen

    async def pull(self, name: str, platform: str = "", credentials: AuthConfig | None = None) -> list[dict[str, Any]]:
        """Pull a reference; return the progress."""
        seen: list[dict[str, Any]] = []

        async def progress(item: dict[str, Any]) -> None:
            seen.append(item)

        await self.puller.pull(parse_reference(name), platform, credentials, progress)
        return seen

    async def save(self, *names: str) -> bytes:
        """Return the archive of some images."""
        return b"".join([block async for block in self.archives.save(self.archives.plan(list(names)))])

    def content(self) -> tuple[int, int]:
        """Return how many blobs and unpacked layers lie on the disk."""
        return len(self.images.blobs.all()), len(list(self.images.layers.root.iterdir()))

    def leftovers(self) -> list[str]:
        """Return what lies on the disk and belongs to nothing."""
        known = {layer.folder for layer in self.images.layers.all()}
        found = [entry.name for entry in self.images.layers.root.iterdir() if entry.name not in known]
        return found + [entry.name for entry in (self.folder / "ingest").iterdir()]

    def layer(self, name: str, number: int = -1) -> Path:
        """Return where a layer of an image is unpacked, the topmost unless ``number`` says otherwise."""
        record = self.images.table.find(name)
        layer = self.images.layers.get(record.layers[number])
        assert layer is not None
        return self.images.layers.path(layer)

    @asynccontextmanager
    async def served(self) -> AsyncIterator[ImagesServer]:
        """Serve the Image operations on a socket."""

        async def ping(_: web.Request) -> web.StreamResponse:
            return web.Response(text="OK")

        api = ImagesApi(self.images, self.archives, self.listing, self.puller)
        routes = [*api.routes(), Route("GET", "/_ping", ping), Route("HEAD", "/_ping", ping)]
        runner = web.AppRunner(build_app(routes), handler_cancellation=True, shutdown_timeout=1)
        await runner.setup()
        socket = self.folder / "s.sock"
        await web.UnixSite(runner, str(socket)).start()
        try:
            yield ImagesServer(socket)
        finally:
            await runner.cleanup()


class ImagesServer:
    """A client of the operations."""

    def __init__(self, socket: Path) -> None:
        """Reach ``socket``."""
        self.socket = socket

    async def call(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Return status and body."""
        async with (
            ClientSession(connector=UnixConnector(str(self.socket))) as session,
            session.request(method, f"http://engine{path}", data=body, headers=headers) as answer,
        ):
            return answer.status, await answer.read()

    async def json(self, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
        """Return status and decoded body."""
        status, data = await self.call(method, path, body)
        return status, json.loads(data) if data else None

    async def stream(self, method: str, path: str, body: bytes | None = None) -> tuple[int, list[dict[str, Any]]]:
        """Return status and the objects of a progress stream."""
        status, data = await self.call(method, path, body)
        return status, [json.loads(line) for line in data.splitlines()]

    async def docker(self, *words: str, stdin: bytes | None = None) -> tuple[int, str]:
        """Run the stock docker CLI; return its exit code and all it wrote."""
        process = await asyncio.create_subprocess_exec(
            "docker",
            *words,
            env={"PATH": os.environ["PATH"], "DOCKER_HOST": f"unix://{self.socket}", "HOME": str(self.socket.parent)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(process.communicate(stdin), 60)
        return process.returncode or 0, output.decode(errors="replace")


async def blocks_of(data: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    """Yield bytes in blocks, as a request's body comes."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


def tar_of(members: Iterable[tarfile.TarInfo | tuple[str, bytes]], **options: Any) -> bytes:
    """Return a tar of members: (name, content) for files, heads for everything else."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", **options) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return output.getvalue()


def head(name: str, kind: bytes, link: str = "", **fields: Any) -> tarfile.TarInfo:
    """Return a tar head."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    for key, value in fields.items():
        setattr(info, key, value)
    return info
