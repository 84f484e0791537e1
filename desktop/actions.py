"""What the pages do, over the client. Without Qt."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from desktop.pages.containers.reading import Shell
from desktop.pages.images.presenter import PullStep
from engine.client import EngineClient
from engine.client.streams import HijackedStream
from engine.errors import NotFound, PortsideError
from engine.model.container import ContainerCreateRequest
from engine.model.execution import ExecCreateRequest
from engine.model.network import NetworkCreateRequest
from engine.model.volume import VolumeCreateRequest, VolumeUsage

_TAIL_LINES = "10000"
_SHELL = ("/bin/sh", "-c", "exec $(command -v bash || command -v zsh || command -v ash || echo sh) -i")
"""The best shell that is there; /bin/sh finds it."""


class ClientActions:
    """ContainerActions, ImageActions and Logs over one client."""

    def __init__(self, client: EngineClient) -> None:
        """Use ``client``."""
        self._client = client

    async def start(self, ref: str) -> None:
        """Start a container."""
        await self._client.containers.start(ref)

    async def stop(self, ref: str) -> None:
        """Stop a container."""
        await self._client.containers.stop(ref)

    async def restart(self, ref: str) -> None:
        """Restart a container."""
        await self._client.containers.restart(ref)

    async def pause(self, ref: str) -> None:
        """Freeze a container."""
        await self._client.containers.pause(ref)

    async def unpause(self, ref: str) -> None:
        """Let a frozen container go on."""
        await self._client.containers.unpause(ref)

    async def kill(self, ref: str) -> None:
        """End a container at once."""
        await self._client.containers.kill(ref)

    async def rename(self, ref: str, name: str) -> None:
        """Give a container another name."""
        await self._client.containers.rename(ref, name)

    async def remove(self, ref: str, *, force: bool = False, volumes: bool = False) -> None:
        """Remove a container."""
        await self._client.containers.remove(ref, force=force, volumes=volumes)

    async def logs(self, container_id: str, *, timestamps: bool) -> AsyncIterator[tuple[bytes, bool]]:
        """Yield what a container wrote and whether to stderr, from the last 10,000 lines on, and go on following."""
        stream = self._client.containers.logs(container_id, follow=True, tail=_TAIL_LINES, timestamps=timestamps)
        async with stream:
            async for output in stream:
                yield output.data, output.stream == "stderr"

    @asynccontextmanager
    async def stats(self, container_id: str) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """Open the stream of a container's stats."""
        async with self._client.containers.stats(container_id) as stream:
            yield stream

    async def shell(self, container_id: str, rows: int, columns: int) -> Shell:
        """Start the best shell that a container has on a terminal of this size."""
        return await ClientShell.start(self._client, container_id, rows, columns)

    async def top(self, container_id: str) -> tuple[list[str], list[list[str]]]:
        """Return the columns and rows of what runs in a container."""
        answer = await self._client.containers.top(container_id)
        return list(answer.titles or ()), [list(row) for row in answer.processes or ()]

    async def inspect(self, container_id: str) -> bytes:
        """Return a container's configuration as JSON."""
        return await self._client.containers.inspect_raw(container_id)


class ClientShell:
    """A Shell: one exec with a terminal."""

    def __init__(self, client: EngineClient, exec_id: str, stream: HijackedStream) -> None:
        """Made by ``start``."""
        self._client = client
        self._exec_id = exec_id
        self._stream = stream

    @classmethod
    async def start(cls, client: EngineClient, container_id: str, rows: int, columns: int) -> ClientShell:
        """Start it; raises NotFound or Conflict when the container is gone or does not run."""
        request = ExecCreateRequest(
            cmd=list(_SHELL), tty=True, attach_stdin=True, attach_stdout=True, attach_stderr=True,
            env=["TERM=xterm-256color", "COLORTERM=truecolor"], console_size=[rows, columns],
        )  # fmt: skip
        exec_id = await client.exec.create(container_id, request)
        stream = await client.exec.start(exec_id, is_tty=True, console_size=(rows, columns))
        return cls(client, exec_id, stream)

    async def read(self) -> bytes:
        """Return what it wrote next, ``b""`` when it has ended."""
        output = await self._stream.read()
        return output.data if output is not None else b""

    async def write(self, data: bytes) -> None:
        """Type."""
        await self._stream.write(data)

    async def resize(self, rows: int, columns: int) -> None:
        """Give its terminal another size; one that has ended needs none."""
        with suppress(PortsideError):
            await self._client.exec.resize(self._exec_id, height=rows, width=columns)

    async def exit_code(self) -> int | None:
        """Return its exit code, None as long as it is not known."""
        return (await self._client.exec.inspect(self._exec_id)).exit_code

    async def aclose(self) -> None:
        """Leave it: its terminal hangs up."""
        await self._stream.aclose()


class ImageClientActions:
    """ImageActions over one client."""

    def __init__(self, client: EngineClient) -> None:
        """Use ``client``."""
        self._client = client

    async def pull(self, name: str) -> AsyncGenerator[PullStep, None]:
        """Pull an image; closing the generator gives it up."""
        repository, _, tag = name.rpartition(":")
        if not repository or "/" in tag:
            repository, tag = name, "latest"
        if "@" in name:
            repository, _, tag = name.partition("@")
        async with self._client.images.pull(repository, tag=tag) as stream:
            async for item in stream:
                detail = item.progress_detail
                yield PullStep(item.id, item.status, detail.current if detail else 0, detail.total if detail else 0)

    async def remove(self, ref: str, *, force: bool) -> None:
        """Delete an image or one of its names."""
        await self._client.images.remove(ref, force=force)

    async def prune(self) -> tuple[int, int]:
        """Delete images without a name that nothing uses; return how many names and layers, and the bytes freed."""
        report = await self._client.images.prune()
        return len(report.images_deleted or ()), report.space_reclaimed

    async def run(self, request: ContainerCreateRequest, name: str) -> str:
        """Create and start a container; one that does not start is removed again."""
        made = await self._client.containers.create(request, name=name)
        try:
            await self._client.containers.start(made.id)
        except PortsideError:
            with suppress(NotFound):
                await self._client.containers.remove(made.id, force=True)
            raise
        return made.id


class VolumeClientActions:
    """VolumeActions over one client."""

    def __init__(self, client: EngineClient) -> None:
        """Use ``client``."""
        self._client = client

    async def create(self, request: VolumeCreateRequest) -> None:
        """Make a volume."""
        await self._client.volumes.create(request)

    async def remove(self, name: str) -> None:
        """Remove a volume."""
        await self._client.volumes.remove(name)

    async def sizes(self) -> dict[str, int]:
        """Return the bytes of each volume by name, as the engine measures them now."""
        usage = await self._client.system.df(["volume"])
        return {
            item.name: item.usage_data.size
            for item in usage.volumes or ()
            if isinstance(item.usage_data, VolumeUsage) and item.usage_data.size >= 0
        }

    async def inspect(self, name: str) -> bytes:
        """Return the engine's own JSON of a volume."""
        return await self._client.volumes.inspect_raw(name)


class NetworkClientActions:
    """NetworkActions over one client."""

    def __init__(self, client: EngineClient) -> None:
        """Use ``client``."""
        self._client = client

    async def create(self, request: NetworkCreateRequest) -> None:
        """Make a network."""
        await self._client.networks.create(request)

    async def remove(self, ref: str) -> None:
        """Remove a network."""
        await self._client.networks.remove(ref)

    async def connect(self, ref: str, container: str) -> None:
        """Connect a container."""
        await self._client.networks.connect(ref, container)

    async def disconnect(self, ref: str, container: str) -> None:
        """Take a container off a network."""
        await self._client.networks.disconnect(ref, container)

    async def inspect(self, ref: str) -> bytes:
        """Return the engine's own JSON of a network."""
        return await self._client.networks.inspect_raw(ref)
