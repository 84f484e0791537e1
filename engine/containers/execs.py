"""Execs: further processes in a running container. They live in memory, as Docker's do; the process itself,
held by its own conmon, goes on when the engine ends."""

from __future__ import annotations

import asyncio
import base64
import secrets
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from engine.containers.announce import ContainerEvents
from engine.containers.attach import DEFAULT_DETACH_KEYS, AttachOptions, ClientStream, parse_detach_keys, serve
from engine.containers.container import Container
from engine.containers.failures import EXIT_NOT_EXECUTABLE, EXIT_UNKNOWN, exec_error, exit_code_of
from engine.containers.launcher import Launcher
from engine.containers.manager import ContainerManager
from engine.errors import Conflict, InvalidArgument, NotFound, PortsideError
from engine.model.execution import ExecCreateRequest, ExecInspect, ExecProcessConfig
from engine.runtime import conmon
from engine.runtime.conmon import AttachSocket, Conmon, Launch
from engine.runtime.inotify import Inotify

_ATTACH_TIMEOUT_S = 10.0
_CREATE_TIMEOUT_S = 30.0
_KEEP_ENDED_S = 300.0
_EXIT_TIMEOUT_S = 5.0
_LOG = "runtime.log"


@dataclass
class Exec:
    """One exec and its outcome."""

    id: str
    container: Container
    request: ExecCreateRequest
    detach_keys: bytes
    pid: int = 0
    exit_code: int | None = None
    running: bool = False
    started: bool = False
    ended_s: float = 0.0
    folder: Path | None = None
    exited: asyncio.Event = field(default_factory=asyncio.Event)


class ExecManager:
    """The execs of all containers."""

    def __init__(
        self, manager: ContainerManager, launcher: Launcher, events: ContainerEvents, inotify: Inotify
    ) -> None:
        """Execs run in containers of ``manager``."""
        self._manager = manager
        self._launcher = launcher
        self._events = events
        self._inotify = inotify
        self._execs: dict[str, Exec] = {}

    def create(self, container_ref: str, request: ExecCreateRequest) -> str:
        """Prepare an exec and return its ID; raises Conflict unless the container runs unpaused."""
        container = self._manager.get(container_ref)
        if not request.cmd:
            raise InvalidArgument("No exec command specified")
        if request.detach_keys:
            keys = parse_detach_keys(
                request.detach_keys, describe=lambda text: f"Invalid escape keys ({text}) provided"
            )
        else:
            keys = DEFAULT_DETACH_KEYS
        self._require_ready(container)
        self._forget_old()
        item = Exec(secrets.token_hex(32), container, request, keys)
        self._execs[item.id] = item
        container.exec_ids.append(item.id)
        self._publish(item, f"exec_create: {_shown(request)}")
        return item.id

    def _require_ready(self, container: Container) -> None:
        container.require_running()
        if container.record.state.status == "paused":
            raise Conflict(f"Container {container.name} is paused, unpause the container before exec")

    def _publish(self, item: Exec, action: str, **more: str) -> None:
        self._events.publish(item.container.record, action, time_ns=None, execID=item.id, **more)

    def _forget_old(self) -> None:
        limit = time.monotonic() - _KEEP_ENDED_S
        for item in list(self._execs.values()):
            if (item.ended_s and item.ended_s < limit) or item.container.removed.is_set():
                del self._execs[item.id]

    def get(self, exec_id: str) -> Exec:
        """Return an exec; raises NotFound with moby's text."""
        item = self._execs.get(exec_id)
        if item is None or item.container.removed.is_set():
            raise NotFound(f"No such exec instance: {exec_id}")
        return item

    def ready(self, exec_id: str) -> Exec:
        """Return an exec whose container runs unpaused; raises Conflict otherwise."""
        item = self.get(exec_id)
        self._require_ready(item.container)
        return item

    async def start(
        self,
        item: Exec,
        client: ClientStream | None,
        console_size: tuple[int, int] | None,
        *,
        framed: bool | None = None,
    ) -> None:
        """Run an exec; with a ``client`` until its output ends, without one until it has begun.

        ``console_size`` is rows, columns. ``framed`` puts headers before its output; by itself one without a
        terminal has them. Raises InvalidArgument when the program cannot be started, Conflict when it was.
        """
        if item.ended_s:
            raise Conflict(f"exec command {item.id} has already run")
        if item.started:
            raise Conflict(f"exec command {item.id} is already running")
        item.started = True
        socket: AttachSocket | None = None
        request = item.request
        self._publish(item, f"exec_start: {_shown(request)}")  # also of one that then fails, as moby
        try:
            process, socket = await self._launch(item, attach=client is not None)
            try:
                if console_size and request.tty:
                    with suppress(NotFound):
                        conmon.resize(self._folder(item), *console_size)
                await process.begin()
                item.pid = await process.pid(_CREATE_TIMEOUT_S)
            finally:
                process.close()
        except BaseException as error:
            if socket is not None:
                socket.close()
            message = error.message if isinstance(error, PortsideError) else str(error)
            message = _logged(item.folder) or message
            code = exit_code_of(message)
            await self._end(item, EXIT_NOT_EXECUTABLE if code == EXIT_UNKNOWN else code)
            if isinstance(error, OSError):  # its file system goes when the container ends: users cannot be looked up
                raise Conflict(f"container {item.container.id} is not running") from error
            if isinstance(error, PortsideError) and not isinstance(error, (Conflict, NotFound, InvalidArgument)):
                raise exec_error(message, (request.cmd or [""])[0]) from error
            raise
        item.running = not item.exited.is_set()  # one that is short has ended before its start was told
        if client is None or socket is None:
            return
        try:
            options = AttachOptions(
                stdin=request.attach_stdin,
                stdout=request.attach_stdout,
                stderr=request.attach_stderr,
                framed=not request.tty if framed is None else framed,
                detach_keys=item.detach_keys if request.tty else b"",
                close_stdin=not request.tty,
            )
            left = await serve(socket, client, options)
            if left:
                self._publish(item, "exec_detach")
            else:
                # The output has ended; its exit code follows within a moment unless it closed its output early.
                with suppress(TimeoutError):
                    await asyncio.wait_for(item.exited.wait(), _EXIT_TIMEOUT_S)
        finally:
            socket.close()

    async def _launch(self, item: Exec, *, attach: bool) -> tuple[Conmon, AttachSocket | None]:
        record = item.container.record
        folder = self._launcher.paths.execs(record.id) / item.id[:16]
        exits = folder / "exits"
        exits.mkdir(mode=0o700, parents=True)
        item.folder = folder
        spec = folder / "process.json"
        spec.write_bytes(msgspec.json.encode(await self._launcher.exec_process(record, item.request)))
        runtime = self._launcher.runtime(record)
        wanted = Launch(
            container_id=record.id,
            name=record.name,
            bundle=folder,
            exit_dir=exits,
            runtime=runtime.binary.path,
            # Of an exec with a terminal conmon 2.1.6 does not pass on why it failed.
            runtime_arguments=[*runtime.arguments, f"--log={folder / _LOG}", "--log-format=json"]
            if item.request.tty
            else runtime.arguments,
            terminal=item.request.tty,
            stdin=item.request.attach_stdin,
            exec_spec=spec,
        )
        self._inotify.watch_file(exits / record.id, lambda: self._exited(item))
        process = await conmon.launch(runtime.spawner, self._launcher.conmon, wanted)
        try:
            await process.begin()
            await process.wait_attachable(_ATTACH_TIMEOUT_S)
            return process, AttachSocket.connect(folder) if attach else None
        except BaseException:
            process.close()
            raise

    def _folder(self, item: Exec) -> Path:
        if item.folder is None:
            raise InvalidArgument("exec process is not started")
        return item.folder

    def _exited(self, item: Exec) -> None:
        folder = item.folder
        if folder is None or item.ended_s:
            return
        text = (folder / "exits" / item.container.id).read_text()
        self._finish(item, int(text or "255"))
        self._publish(item, "exec_die", exitCode=str(item.exit_code))

    def _finish(self, item: Exec, exit_code: int) -> None:
        item.exit_code = exit_code
        item.running = False
        item.ended_s = time.monotonic()
        item.exited.set()
        with suppress(ValueError):
            item.container.exec_ids.remove(item.id)
        if item.folder is not None:
            shutil.rmtree(item.folder, ignore_errors=True)

    async def _end(self, item: Exec, exit_code: int) -> None:
        if not item.ended_s:
            self._finish(item, exit_code)

    def resize(self, exec_id: str, rows: int, columns: int) -> None:
        """Set the size of an exec's terminal."""
        item = self.get(exec_id)
        if not item.started or item.ended_s:
            raise InvalidArgument("exec process is not started")
        conmon.resize(self._folder(item), rows, columns)

    def inspect(self, exec_id: str) -> ExecInspect:
        """Return what the API shows of an exec; raises Conflict when its container does not run."""
        item = self.get(exec_id)
        request = item.request
        command = request.cmd or []
        config = ExecProcessConfig(tty=request.tty, entrypoint=command[0], arguments=command[1:])
        config.privileged = request.privileged
        if request.user:
            config.user = request.user
        return ExecInspect(
            id=item.id,
            running=item.running,
            exit_code=item.exit_code,
            process_config=config,
            open_stdin=request.attach_stdin,
            open_stdout=request.attach_stdout,
            open_stderr=request.attach_stderr,
            container_id=item.container.id,
            pid=item.pid,
            detach_keys=base64.b64encode(item.detach_keys).decode() if request.detach_keys else "",
        )

    async def run(
        self, container: Container, request: ExecCreateRequest, timeout_s: float, max_output_bytes: int
    ) -> tuple[int, bytes]:
        """Run an exec to its end for a health check; return its exit code and the beginning of its output.

        Raises TimeoutError with the output so far after ``timeout_s``; then its process is killed.
        """
        exec_id = self.create(container.id, request)
        item = self.get(exec_id)
        sink = _Collector(max_output_bytes)
        try:
            async with asyncio.timeout(timeout_s):
                await self.start(item, sink, None)
                await item.exited.wait()
        except TimeoutError:
            self._launcher.kill_process(container.record, item.pid)
            raise TimeoutError(bytes(sink.data)) from None
        return item.exit_code if item.exit_code is not None else -1, bytes(sink.data)


def _shown(request: ExecCreateRequest) -> str:
    """Return a command as moby's events show it: a space after the program also when nothing follows."""
    words = request.cmd or [""]
    return f"{words[0]} {' '.join(words[1:])}"


def _logged(folder: Path | None) -> str:
    """Return the last error in a runtime's log, "" when there is none."""
    if folder is None:
        return ""
    found = ""
    with suppress(OSError, msgspec.DecodeError):
        for line in (folder / _LOG).read_bytes().splitlines():
            entry = msgspec.json.decode(line, type=_LogEntry)
            found = entry.msg if entry.level == "error" else found
    return found


class _LogEntry(msgspec.Struct):
    level: str = ""
    msg: str = ""


class _Collector:
    """A client that types nothing and keeps the beginning of what it is sent."""

    def __init__(self, limit: int) -> None:
        self.closed = asyncio.Event()
        self.data = bytearray()
        self._limit = limit

    async def read(self) -> bytes:
        return b""

    async def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while len(rest) >= 8:
            size = int.from_bytes(rest[4:8], "big")
            room = self._limit - len(self.data)
            if room > 0:
                self.data += rest[8 : 8 + min(size, room)]
            rest = rest[8 + size :]
