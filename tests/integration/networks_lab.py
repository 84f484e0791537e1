"""A host of its own for tests of networks: a fresh network namespace that the test's main thread is in.

Containers are played by sockets that are opened inside their namespaces; no process is started for them.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from engine.containers.interfaces import Sandbox
from engine.errors import NotFound
from engine.model.container import PortBinding, PortMap
from engine.model.network import IPAM, EndpointSettings, IPAMConfig, NetworkCreateRequest
from engine.model.record import ContainerRecord
from engine.networks.manager import NetworkManager, read_host
from engine.networks.settings import NetworkSettings
from engine.runtime import netns, syscalls
from engine.store.database import Database

T = TypeVar("T")
TIMEOUT_S = 3.5


class Journal:
    """An event sink that remembers."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, dict[str, str]]] = []

    def publish(
        self,
        kind: str,
        action: str,
        actor_id: str,
        attributes: dict[str, str] | None = None,
        *,
        time_ns: int | None = None,
    ) -> None:
        self.events.append((kind, action, attributes or {}))


@contextmanager
def own_host() -> Iterator[None]:
    """Put this thread into a network namespace of its own, loopback up; back at the end."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.unshare(netns.CLONE_NEWNET)
        ip("link set lo up")
        yield
    finally:
        syscalls.setns(own, netns.CLONE_NEWNET)
        os.close(own)


def ip(arguments: str) -> str:
    """Run ip(8)."""
    return run(["ip", *arguments.split()])


def run(argv: list[str], stdin: str = "") -> str:
    """Run a command, which must succeed."""
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


def within(path: Path | None, work: Callable[[], T]) -> T:
    """Run ``work`` inside a network namespace; None is the host's."""
    if path is None:
        return work()
    with netns.inside(path):
        return work()


class Lab:
    """One engine's networks on a host of their own."""

    def __init__(self, folder: Path, settings: NetworkSettings) -> None:
        self.folder = folder
        self.settings = settings
        self.records: dict[str, ContainerRecord] = {}
        self.paths: dict[str, Path] = {}
        self.journal = Journal()
        self.database = Database(folder / "engine.db")
        self.instance = f"portside-{secrets.token_hex(3)}"
        self.bridge = self.instance.replace("portside-", "psd-")
        self.manager = self.make_manager()

    def make_manager(self) -> NetworkManager:
        host = read_host(self.instance, self.bridge, self.folder)
        return NetworkManager(self.database, host, self.settings, self.journal, self.find)

    def find(self, container_ref: str) -> ContainerRecord:
        for record in self.records.values():
            if container_ref in (record.id, record.name):
                return record
        raise NotFound(f"No such container: {container_ref}")

    def record(
        self,
        name: str,
        *,
        mode: str = "bridge",
        ports: PortMap | None = None,
        networks: dict[str, EndpointSettings] | None = None,
    ) -> ContainerRecord:
        """Make a container's record; ``networks`` for one on several, the first of which is its mode."""
        record = ContainerRecord(id=secrets.token_hex(32), name=name, created_ns=1)
        record.host_config.network_mode = next(iter(networks)) if networks else mode
        record.networks = networks or ({} if mode.startswith("container:") else {mode: EndpointSettings()})
        record.host_config.port_bindings = ports or {}
        record.config.hostname = name
        self.records[record.id] = record
        return record

    async def start(self, record: ContainerRecord) -> Sandbox:
        sandbox = self.manager.reserve(record)
        record.networks = sandbox.endpoints
        record.ports = sandbox.ports
        await self.manager.connect(sandbox)
        record.state.status = "running"
        if sandbox.netns_path is not None:
            self.paths[record.id] = sandbox.netns_path
        return sandbox

    async def stop(self, record: ContainerRecord) -> None:
        await self.manager.release(record.id)
        record.state.status = "exited"

    async def run(self, name: str, **options: Any) -> ContainerRecord:
        record = self.record(name, **options)
        await self.start(record)
        return record

    def namespace(self, record: ContainerRecord) -> Path:
        return self.paths[record.id]

    def address(self, record: ContainerRecord, network: str = "bridge") -> str:
        return record.networks[network].ip_address

    async def network(self, name: str, *subnets: str, **parts: Any) -> str:
        """Make a network and return its ID."""
        if subnets:
            parts["ipam"] = IPAM(config=[IPAMConfig(subnet=subnet) for subnet in subnets])
        return await self.manager.administration.create(NetworkCreateRequest(name=name, **parts))

    def files(self, record: ContainerRecord) -> Path:
        """Return the folder of a container's files, written anew."""
        folder = self.folder / record.id
        folder.mkdir(exist_ok=True)
        self.manager.write_files(record, Sandbox(record.id, None), folder)
        return folder

    @asynccontextmanager
    async def serving(self, where: Path | None, port: int, *, host: str = "0.0.0.0") -> AsyncIterator[list[str]]:
        """A TCP server that answers with the caller's address and what it was sent; yields the callers."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = await asyncio.to_thread(within, where, lambda: _listen(family, host, port))
        callers: list[str] = []

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            peer = str(writer.get_extra_info("peername")[0])
            callers.append(peer)
            data = await reader.read()
            writer.write(f"{peer} ".encode() + data)
            writer.close()

        server = await asyncio.start_server(answer, sock=listener)
        try:
            yield callers
        finally:
            server.close()
            await server.wait_closed()

    async def ask(self, where: Path | None, host: str, port: int, data: bytes = b"x") -> bytes:
        """Return what a TCP server at ``host`` answers to a caller in a namespace; OSError when it does not."""
        return await asyncio.to_thread(within, where, lambda: _ask(host, port, data))

    async def is_reachable(self, where: Path | None, host: str, port: int) -> bool:
        try:
            return bool(await self.ask(where, host, port))
        except OSError:
            return False


def _listen(family: int, host: str, port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(32)
    return listener


def _ask(host: str, port: int, data: bytes) -> bytes:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as caller:
        caller.settimeout(TIMEOUT_S)
        caller.connect((host, port))
        sender = caller.dup()
        with sender:
            sender.settimeout(TIMEOUT_S)
            sender.sendall(data) if len(data) < 65536 else None
            if len(data) < 65536:
                caller.shutdown(socket.SHUT_WR)
            answer = b""
            while block := caller.recv(65536):
                answer += block
            return answer


def published(*places: str) -> PortMap:
    """Return port bindings for ``HOST:PORT:CONTAINERPORT/PROTOCOL`` with an empty host or port for the default."""
    ports: PortMap = {}
    for place in places:
        host, port, inner = place.rsplit(":", 2)
        found = ports.setdefault(inner, [])
        assert found is not None
        found.append(PortBinding(host_ip=host, host_port=port))
    return ports


@asynccontextmanager
async def lab(folder: Path, settings: NetworkSettings | None = None) -> AsyncIterator[Lab]:
    """A host with an engine's networks in place; nothing of them may be left at the end."""
    with own_host():
        built = Lab(folder, settings or NetworkSettings())
        await built.manager.restore([])
        try:
            yield built
        finally:
            for record in list(built.records.values()):
                await built.manager.release(record.id)
            await built.manager.aclose()
            built.database.close()
        assert f"{built.bridge}" not in run(["nft", "list", "ruleset"])
        left = [line for line in ip("-o link").splitlines() if built.bridge in line or " br-" in line]
        assert not left


@contextmanager
def neighbour(name: str = "lan") -> Iterator[Path]:
    """A machine on a network with the host: host 192.0.2.1 and 2001:db8::1, neighbour .2, which routes through it."""
    with netns.new_namespace() as fd:
        path = netns.path_of(fd)
    try:
        run(["ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(path)])
        run(["sysctl", "-qw", f"net.ipv6.conf.{name}.accept_dad=0"])
        for command in ("address add 192.0.2.1/24 dev", "-6 address add 2001:db8::1/64 nodad dev", "link set up dev"):
            ip(f"{command} {name}")
        inner = ["nsenter", f"--net={path}", "ip"]
        run(["nsenter", f"--net={path}", "sysctl", "-qw", "net.ipv6.conf.eth0.accept_dad=0"])
        for command in (
            "link set lo up",
            "address add 192.0.2.2/24 dev eth0",
            "-6 address add 2001:db8::2/64 dev eth0 nodad",
            "link set up dev eth0",
            "route add default via 192.0.2.1",
        ):
            run([*inner, *command.split()])
        yield path
    finally:
        os.close(fd)
