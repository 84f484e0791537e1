"""An engine for tests of the window: it does at once what it is asked, tells events, and fails on demand."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from desktop.backend import Backend
from desktop.enginecontrol import Tell
from desktop.pages.images.presenter import PullStep
from engine.errors import Conflict, NotFound, NotSupported, PortsideError, Unavailable
from engine.model.container import ContainerCreateRequest
from engine.model.image import ImageSummary
from engine.model.inspect import ContainerSummary, PortSummary
from engine.model.mount import MountPoint
from engine.model.network import IPAM, EndpointSettings, IPAMConfig, NetworkCreateRequest, NetworkInspect
from engine.model.system import Event, EventActor, Platform, SystemVersion
from engine.model.volume import Volume, VolumeCreateRequest

ENDPOINT = "unix:///run/portside/engine.sock"


def container(
    name: str,
    image: str = "nginx:1.27-alpine",
    state: str = "running",
    status: str = "Up 3 minutes",
    ports: tuple[tuple[int, int], ...] = (),
    age_s: int = 200,
    number: int = 0,
) -> ContainerSummary:
    """Return one row of the list."""
    seed = f"{number:x}{name}".encode().hex()
    return ContainerSummary(
        id=(seed * 8)[:64],
        names=[f"/{name}"],
        image=image,
        image_id=image_id(image),
        command="sh",
        created=int(time.time()) - age_s,
        ports=[PortSummary(ip="0.0.0.0", private_port=inside, public_port=out, type="tcp") for out, inside in ports],
        state=state,
        status=status,
    )


def image_id(name: str) -> str:
    """Return an image's ID."""
    return "sha256:" + (name.encode().hex() * 8)[:64]


def image(name: str, size: int = 48_000_000, age_s: int = 86_400 * 3) -> ImageSummary:
    """Return one row of the list of images; ``name`` "" for one without."""
    tags = [name] if name else []
    return ImageSummary(id=image_id(name or f"none{size}"), repo_tags=tags, size=size, created=int(time.time()) - age_s)


def network(name: str, subnet: str = "", driver: str = "bridge", age_s: int = 90_000) -> NetworkInspect:
    """Return one row of the list of networks."""
    made = NetworkInspect(id=(name.encode().hex() * 64)[:64], name=name, driver=driver, created=_stamp(age_s))
    if subnet:
        made.ipam = IPAM(config=[IPAMConfig(subnet=subnet)])
    return made


def volume(name: str, age_s: int = 90_000) -> Volume:
    """Return one row of the list of volumes."""
    return Volume(name=name, created_at=_stamp(age_s), mountpoint=f"/var/lib/portside/volumes/{name}/_data")


def _stamp(age_s: int) -> str:
    return datetime.fromtimestamp(time.time() - age_s, UTC).isoformat()


class FakeEngine:
    """EngineDoor, ContainerActions, Logs and StatsDoor in one."""

    endpoint = ENDPOINT

    def __init__(
        self, containers: list[ContainerSummary] | None = None, images: list[ImageSummary] | None = None
    ) -> None:
        """Begin with these."""
        self.containers_: dict[str, ContainerSummary] = {item.id: item for item in containers or []}
        self.images_: dict[str, ImageSummary] = {item.id: item for item in images or []}
        self.volumes_: dict[str, Volume] = {}
        self.networks_: dict[str, NetworkInspect] = {}
        self.failure: PortsideError | None = None
        self.action_failure: PortsideError | None = None
        self.installed = True
        self.serves_stats = False
        self.usage: dict[str, tuple[float, int]] = {}
        self.shells: list[FakeShell] = []
        self.samples: list[dict[str, Any]] = []
        self.log: list[tuple[bytes, bool]] = [(b"hello\n", False), (b"world\n", False)]
        self.calls: list[tuple[str, str]] = []
        self.lists = 0
        self.pull_steps: list[PullStep] = []
        self.pull_waits = False
        self.hangs = False
        self.requests: list[ContainerCreateRequest] = []
        self._queues: list[asyncio.Queue[Event | None]] = []

    def have(self, volumes: Iterable[Volume] = (), networks: Iterable[NetworkInspect] = ()) -> FakeEngine:
        """Have these too; return itself."""
        self.volumes_ |= {item.name: item for item in volumes}
        self.networks_ |= {item.id: item for item in networks}
        return self

    def place(self, name: str, networks: dict[str, str] | None = None, volumes: Iterable[str] = ()) -> None:
        """Put a container on networks (its address on each, by name) and let it use volumes."""
        item = next(item for item in self.containers_.values() if item.names == [f"/{name}"])
        on = {network: EndpointSettings(ip_address=address) for network, address in (networks or {}).items()}
        item.network_settings.networks = on
        item.mounts = [MountPoint(type="volume", name=volume, destination="/data") for volume in volumes]

    def backend(self) -> Backend:
        """Return it as the window takes it."""
        return Backend(
            door=self,
            containers=self,
            logs=self,
            stats=self,
            images=FakeImages(self),
            volumes=FakeVolumes(self),
            networks=FakeNetworks(self),
            control=FakeControl(self),
            is_ours=True,
            aclose=self.aclose,
        )

    async def aclose(self) -> None:
        """Nothing is open."""

    def tell(self, kind: str, action: str, object_id: str) -> None:
        """Send an event."""
        for queue in self._queues:
            queue.put_nowait(Event(type=kind, action=action, actor=EventActor(id=object_id), time=int(time.time())))

    def put(self, item: ContainerSummary, action: str = "start") -> None:
        """Change or add a container, and tell it."""
        self.containers_[item.id] = item
        self.tell("container", action, item.id)

    def die(self, failure: PortsideError) -> None:
        """Do not answer any more."""
        self.failure = failure
        for queue in self._queues:
            queue.put_nowait(None)

    def come_back(self) -> None:
        """Answer again."""
        self.failure = None

    async def version(self) -> SystemVersion:
        """EngineDoor."""
        if self.hangs:
            await asyncio.sleep(3600)
        if self.failure is not None:
            raise self.failure
        return SystemVersion(platform=Platform(name="Portside Engine"), version="0.1.0")

    async def containers(self, ids: list[str] | None = None) -> list[ContainerSummary]:
        """EngineDoor."""
        self.lists += ids is None
        return [item for key, item in self.containers_.items() if ids is None or key in ids]

    async def images(self) -> list[ImageSummary]:
        """EngineDoor."""
        return list(self.images_.values())

    async def volumes(self) -> list[Volume]:
        """EngineDoor."""
        return list(self.volumes_.values())

    async def networks(self) -> list[NetworkInspect]:
        """EngineDoor."""
        return list(self.networks_.values())

    @asynccontextmanager
    async def events(self) -> AsyncIterator[AsyncIterator[Event]]:
        """EngineDoor."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._queues.append(queue)

        async def read() -> AsyncIterator[Event]:
            while (event := await queue.get()) is not None:
                yield event
            raise Unavailable("the connection to the engine broke: connection reset by peer")

        try:
            yield read()
        finally:
            self._queues.remove(queue)

    async def _act(self, verb: str, ref: str) -> ContainerSummary:
        self.calls.append((verb, ref))
        if self.action_failure is not None:
            raise self.action_failure
        if ref not in self.containers_:
            raise NotFound(f"No such container: {ref}")
        return self.containers_[ref]

    def _became(self, item: ContainerSummary, state: str, status: str, action: str) -> None:
        changed = container(item.names[0].lstrip("/"), item.image, state, status)
        changed.id, changed.ports, changed.created = item.id, item.ports, item.created
        self.put(changed, action)

    async def start(self, ref: str) -> None:
        """ContainerActions."""
        self._became(await self._act("start", ref), "running", "Up Less than a second", "start")

    async def stop(self, ref: str) -> None:
        """ContainerActions."""
        self._became(await self._act("stop", ref), "exited", "Exited (0) Less than a second ago", "die")

    async def restart(self, ref: str) -> None:
        """ContainerActions."""
        self._became(await self._act("restart", ref), "running", "Up Less than a second", "start")

    async def pause(self, ref: str) -> None:
        """ContainerActions."""
        self._became(await self._act("pause", ref), "paused", "Up 3 minutes (Paused)", "pause")

    async def unpause(self, ref: str) -> None:
        """ContainerActions."""
        self._became(await self._act("unpause", ref), "running", "Up 3 minutes", "unpause")

    async def kill(self, ref: str) -> None:
        """ContainerActions."""
        self._became(await self._act("kill", ref), "exited", "Exited (137) Less than a second ago", "die")

    async def rename(self, ref: str, name: str) -> None:
        """ContainerActions."""
        item = await self._act(f"rename to {name}", ref)
        item.names = [f"/{name}"]
        self.put(item, "rename")

    async def remove(self, ref: str, *, force: bool = False, volumes: bool = False) -> None:
        """ContainerActions."""
        await self._act("remove with volumes" if volumes else "remove", ref)
        del self.containers_[ref]
        self.tell("container", "destroy", ref)

    async def logs(self, container_id: str, *, timestamps: bool) -> AsyncIterator[tuple[bytes, bool]]:
        """Logs."""
        self.calls.append(("logs with times" if timestamps else "logs", container_id))
        for data, is_error in self.log:
            yield (b"2026-11-24T12:00:00Z " + data if timestamps else data), is_error
        await asyncio.sleep(3600)

    async def inspect(self, container_id: str) -> bytes:
        """Logs."""
        item = self.containers_[container_id]
        return json.dumps(inspection(item)).encode()

    async def shell(self, container_id: str, rows: int, columns: int) -> FakeShell:
        """Logs."""
        self.calls.append(("shell", container_id))
        if self.action_failure is not None:
            raise self.action_failure
        self.shells.append(FakeShell(rows, columns))
        return self.shells[-1]

    async def top(self, container_id: str) -> tuple[list[str], list[list[str]]]:
        """Logs."""
        self.calls.append(("top", container_id))
        return ["UID", "PID", "PPID", "CMD"], [
            ["root", "71", "1", "nginx: master process"],
            ["101", "9", "71", "worker"],
        ]

    @asynccontextmanager
    async def stats(self, container_id: str) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """StatsDoor."""
        if not self.serves_stats:
            raise NotSupported("page not found")

        async def read() -> AsyncIterator[dict[str, Any]]:
            percent, memory = self.usage.get(container_id, (0.4, 12 * 1024 * 1024))
            yield {
                "cpu_stats": {"cpu_usage": {"total_usage": 10**9 + int(percent * 10**7)}, "system_cpu_usage": 2 * 10**9,
                              "online_cpus": 1},
                "precpu_stats": {"cpu_usage": {"total_usage": 10**9}, "system_cpu_usage": 10**9},
                "memory_stats": {"usage": memory, "stats": {}},
            }  # fmt: skip
            for sample in self.samples:
                yield sample
            await asyncio.sleep(3600)

        yield read()


class FakeShell:
    """A Shell that writes what it is told and notes what is typed."""

    def __init__(self, rows: int, columns: int) -> None:
        """Begin with a prompt."""
        self.size = (rows, columns)
        self.typed = b""
        self.is_closed = False
        self.code: int | None = 0
        self._output: asyncio.Queue[bytes] = asyncio.Queue()
        self.show(b"/ # ")

    def show(self, data: bytes) -> None:
        """Write; ``b""`` ends the shell."""
        self._output.put_nowait(data)

    async def read(self) -> bytes:
        """Shell."""
        return await self._output.get()

    async def write(self, data: bytes) -> None:
        """Shell."""
        self.typed += data

    async def resize(self, rows: int, columns: int) -> None:
        """Shell."""
        self.size = (rows, columns)

    async def exit_code(self) -> int | None:
        """Shell."""
        return self.code

    async def aclose(self) -> None:
        """Shell."""
        self.is_closed = True


class FakeControl:
    """EngineControl of a FakeEngine."""

    def __init__(self, engine: FakeEngine) -> None:
        """Start and stop ``engine``."""
        self._engine = engine

    def is_installed(self) -> bool:
        """EngineControl."""
        return self._engine.installed

    async def start(self, tell: Tell) -> None:
        """EngineControl."""
        self._engine.calls.append(("start engine", ""))
        tell("systemd is starting it")
        if self._engine.action_failure is not None:
            raise self._engine.action_failure
        self._engine.come_back()

    async def stop(self) -> None:
        """EngineControl."""
        self._engine.calls.append(("stop engine", ""))
        self._engine.die(gone())


def gone() -> PortsideError:
    """Return what the client raises when there is no socket."""
    error = Unavailable(f"cannot connect to the engine at {ENDPOINT}: there is no such socket")
    error.__cause__ = FileNotFoundError(2, "No such file or directory")
    return error


class FakeImages:
    """ImageActions of a FakeEngine."""

    def __init__(self, engine: FakeEngine) -> None:
        """Act on ``engine``."""
        self._engine = engine

    async def pull(self, name: str) -> AsyncIterator[PullStep]:
        """ImageActions."""
        self._engine.calls.append(("pull", name))
        try:
            for step in self._engine.pull_steps:
                yield step
                await asyncio.sleep(0)
            if self._engine.action_failure is not None:
                raise self._engine.action_failure
            if self._engine.pull_waits:
                await asyncio.sleep(3600)
        except asyncio.CancelledError:
            self._engine.calls.append(("pull cancelled", name))
            raise
        made = image(name if ":" in name else f"{name}:latest")
        self._engine.images_[made.id] = made
        self._engine.tell("image", "pull", name)

    async def remove(self, ref: str, *, force: bool) -> None:
        """ImageActions."""
        self._engine.calls.append(("remove image", ref))
        found = [item for item in self._engine.images_.values() if ref in item.repo_tags or ref == item.id]
        if any(one.image_id == item.id for item in found for one in self._engine.containers_.values()):
            raise Conflict(f'conflict: unable to remove repository reference "{ref}" (must force)')
        for item in found:
            del self._engine.images_[item.id]
        self._engine.tell("image", "delete", ref)

    async def prune(self) -> tuple[int, int]:
        """ImageActions."""
        gone = [item for item in self._engine.images_.values() if not item.repo_tags]
        for item in gone:
            del self._engine.images_[item.id]
        self._engine.tell("image", "prune", "")
        return len(gone), sum(item.size for item in gone)

    async def run(self, request: ContainerCreateRequest, name: str) -> str:
        """ImageActions."""
        self._engine.requests.append(request)
        if self._engine.action_failure is not None:
            raise self._engine.action_failure
        made = container(name or "made_up", request.image, status="Up Less than a second")
        self._engine.put(made)
        return made.id


def inspection(item: ContainerSummary) -> dict[str, Any]:
    """Return what an inspection tells of a container."""
    name = item.names[0].lstrip("/")
    return {
        "Id": item.id,
        "Name": f"/{name}",
        "Created": "2026-11-24T11:58:02.120314512Z",
        "Path": "/docker-entrypoint.sh",
        "Args": ["nginx", "-g", "daemon off;"],
        "State": {
            "Status": item.state, "Running": item.state == "running", "Pid": 41_872, "ExitCode": 0,
            "StartedAt": "2026-11-24T11:58:03.004112Z", "FinishedAt": "0001-01-01T00:00:00Z",
            "Health": {"Status": "healthy", "FailingStreak": 0},
        },
        "Image": item.image_id,
        "RestartCount": 0,
        "HostConfig": {
            "RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0}, "Memory": 268_435_456,
            "NanoCpus": 1_500_000_000, "PidsLimit": 200, "NetworkMode": "bridge", "AutoRemove": False,
            "ReadonlyRootfs": True, "CapAdd": ["NET_BIND_SERVICE"],
        },
        "Config": {
            "Image": item.image, "User": "101", "WorkingDir": "/usr/share/nginx/html",
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/bin", "NGINX_VERSION=1.27.3", "TZ=Europe/Berlin"],
            "Labels": {"maintainer": "web team", "org.opencontainers.image.source": "https://git.example.com/web"},
        },
        "NetworkSettings": {
            "Networks": {"bridge": {"IPAddress": "172.17.0.2"}},
            "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "443/tcp": None},
        },
        "Mounts": [
            {"Type": "volume", "Name": "site", "Destination": "/usr/share/nginx/html", "RW": False},
            {"Type": "bind", "Source": "/etc/nginx/conf.d", "Destination": "/etc/nginx/conf.d", "RW": False},
        ],
    }  # fmt: skip


class FakeVolumes:
    """VolumeActions of a FakeEngine."""

    def __init__(self, engine: FakeEngine) -> None:
        """Act on ``engine``."""
        self._engine = engine

    async def create(self, request: VolumeCreateRequest) -> None:
        """VolumeActions."""
        self._engine.calls.append(("create volume", request.name))
        if self._engine.action_failure is not None:
            raise self._engine.action_failure
        self._engine.volumes_[request.name] = Volume(name=request.name)
        self._engine.tell("volume", "create", request.name)

    async def remove(self, name: str) -> None:
        """VolumeActions."""
        self._engine.calls.append(("remove volume", name))
        if self._engine.action_failure is not None:
            raise self._engine.action_failure
        del self._engine.volumes_[name]
        self._engine.tell("volume", "destroy", name)

    async def sizes(self) -> dict[str, int]:
        """VolumeActions."""
        self._engine.calls.append(("measure", ""))
        return {name: 1_000_000 * (place + 1) for place, name in enumerate(self._engine.volumes_)}

    async def inspect(self, name: str) -> bytes:
        """VolumeActions."""
        return json.dumps({"Name": name, "Mountpoint": f"/var/lib/portside/volumes/{name}/_data"}).encode()


class FakeNetworks:
    """NetworkActions of a FakeEngine."""

    def __init__(self, engine: FakeEngine) -> None:
        """Act on ``engine``."""
        self._engine = engine

    async def _act(self, verb: str, *words: str) -> None:
        self._engine.calls.append((verb, " ".join(words)))
        if self._engine.action_failure is not None:
            raise self._engine.action_failure

    async def create(self, request: NetworkCreateRequest) -> None:
        """NetworkActions."""
        await self._act("create network", request.name)
        made = NetworkInspect(id=f"id-{request.name}", name=request.name, driver=request.driver)
        made.internal = request.internal
        if request.ipam is not None:
            made.ipam = request.ipam
        self._engine.networks_[made.id] = made
        self._engine.tell("network", "create", made.id)

    async def remove(self, ref: str) -> None:
        """NetworkActions."""
        await self._act("remove network", ref)
        del self._engine.networks_[ref]
        self._engine.tell("network", "destroy", ref)

    async def connect(self, ref: str, container: str) -> None:
        """NetworkActions."""
        await self._act("connect", ref, container)

    async def disconnect(self, ref: str, container: str) -> None:
        """NetworkActions."""
        await self._act("disconnect", ref, container)

    async def inspect(self, ref: str) -> bytes:
        """NetworkActions."""
        return json.dumps({"Id": ref}).encode()
