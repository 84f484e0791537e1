"""conmon: the small process that holds a container's terminal, log, attach socket and exit code.

It outlives the engine. What is known of its protocol (2.1.6, API version 1): a byte on the start pipe
starts it, the sync pipe answers with one JSON line ``{"data": PID}``, or ``{"data": -1, "message": …}``
with the runtime's own error; ``attach`` in the bundle is a SOCK_SEQPACKET socket, ``ctl`` a FIFO.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from engine.errors import Internal, NotFound, Unavailable
from engine.runtime.spawner import Spawner

STDIN_PACKET_BYTES = 8 * 1024
"""What one packet to conmon's attach socket may hold; above that the kernel answers EMSGSIZE."""

STDOUT, STDERR = 2, 3
"""First byte of a packet from conmon; a terminal's output comes as stdout."""


class _Answer(msgspec.Struct):
    data: int = -1
    message: str = ""


@dataclass(frozen=True)
class Launch:
    """One conmon to be started. ``log_path`` None keeps no log."""

    container_id: str
    name: str
    bundle: Path
    exit_dir: Path
    runtime: Path
    runtime_arguments: Sequence[str]
    log_path: Path | None = None
    terminal: bool = False
    stdin: bool = False
    leave_stdin_open: bool = False
    exec_spec: Path | None = None
    no_new_keyring: bool = False
    extra: Sequence[str] = field(default_factory=tuple)

    def argv(self, conmon: Path) -> list[str]:
        """Return conmon's command line."""
        is_exec = self.exec_spec is not None
        prefix = "exec." if is_exec else ""
        words = [str(conmon), "--api-version", "1", "-c", self.container_id, "-u", self.container_id]
        words += ["-n", self.name, "-r", str(self.runtime), "-b", str(self.bundle)]
        for argument in self.runtime_arguments:
            words += ["--runtime-arg", argument]
        words += ["-p", str(self.bundle / f"{prefix}pidfile"), "-P", str(self.bundle / "conmon.pid")]
        words += ["-l", f"k8s-file:{self.log_path}" if self.log_path else "none"]
        words += ["--exit-dir", str(self.exit_dir), "--persist-dir", str(self.bundle)]
        words += ["--full-attach", "--no-sync-log", "--log-level", "error"]
        if self.terminal:
            words.append("-t")
        if self.stdin:
            words.append("-i")
        if self.leave_stdin_open:
            words.append("--leave-stdin-open")
        if is_exec:
            words += ["-e", "--exec-attach", "--exec-process-spec", str(self.exec_spec)]
        return [*words, *self.extra]


class Conmon:
    """A conmon that was started and has not yet been told to go on.

    ``start`` runs the runtime's create (or the exec's process) and returns the PID inside. Whatever
    happens, ``close`` releases the pipes; a conmon that was never told to go on then ends by itself.
    """

    def __init__(self, spawner: Spawner, sync_read: int, start_write: int, attach_read: int) -> None:
        """Own the engine's ends of the pipes."""
        self._spawner = spawner
        self._sync_read = sync_read
        self._start_write = start_write
        self._attach_read = attach_read

    async def begin(self) -> None:
        """Let conmon run; for an exec this makes the attach socket."""
        os.write(self._start_write, b"\0")

    async def wait_attachable(self, timeout_s: float) -> None:
        """Wait until an exec's attach socket exists."""
        await _read_line(self._attach_read, timeout_s)

    async def pid(self, timeout_s: float) -> int:
        """Return the PID of the container's (or exec's) process.

        Raises Internal with the runtime's message when it could not be made.
        """
        line = await _read_line(self._sync_read, timeout_s)
        self._spawner.reap()
        if not line:
            raise Internal("conmon ended before the container was made")
        answer = msgspec.json.decode(line, type=_Answer)
        if answer.data < 0:
            raise Internal(runtime_message(answer.message) or "the runtime gave no reason")
        return answer.data

    def close(self) -> None:
        """Close the pipes."""
        for descriptor in (self._sync_read, self._start_write, self._attach_read):
            if descriptor >= 0:
                os.close(descriptor)
        self._sync_read = self._start_write = self._attach_read = -1


def runtime_message(message: str) -> str:
    """Return what a runtime says of a failure without its log decoration (``level=error msg="…"``)."""
    text = message.strip()
    for marker in ('msg="', "error executing hook"):
        if marker in text and marker.startswith("msg"):
            text = text.split(marker, 1)[1].rsplit('"', 1)[0].replace('\\"', '"').replace("\\\\", "\\")
    return text.strip()


async def launch(spawner: Spawner, conmon: Path, wanted: Launch, *, fresh_mounts: bool = False) -> Conmon:
    """Start a conmon for a container or an exec; the caller closes it.

    Raises Unavailable when conmon cannot be started.
    """
    is_exec = wanted.exec_spec is not None
    sync_read, sync_write = os.pipe2(os.O_CLOEXEC)
    start_read, start_write = os.pipe2(os.O_CLOEXEC)
    attach_read, attach_write = os.pipe2(os.O_CLOEXEC) if is_exec else (-1, -1)
    env = {"_OCI_SYNCPIPE": "3", "_OCI_STARTPIPE": "4", "PATH": os.environ.get("PATH", os.defpath)}
    for name in ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"):
        if name in os.environ:
            env[name] = os.environ[name]
    fds = {3: sync_write, 4: start_read}
    if is_exec:
        fds[5] = attach_write
        env["_OCI_ATTACHPIPE"] = "5"
    started = Conmon(spawner, sync_read, start_write, attach_read)
    try:
        await spawner.spawn(wanted.argv(conmon), env=env, fds=fds, fresh_mounts=fresh_mounts)
    except BaseException:
        started.close()
        raise
    finally:
        os.close(sync_write)
        os.close(start_read)
        if is_exec:
            os.close(attach_write)
    return started


async def _read_line(descriptor: int, timeout_s: float) -> bytes:
    loop = asyncio.get_running_loop()
    os.set_blocking(descriptor, False)
    data = bytearray()
    ended: asyncio.Future[None] = loop.create_future()

    def readable() -> None:
        try:
            block = os.read(descriptor, 65536)
        except BlockingIOError:
            return
        data.extend(block)
        if (not block or b"\n" in block) and not ended.done():
            ended.set_result(None)

    loop.add_reader(descriptor, readable)
    try:
        await asyncio.wait_for(ended, timeout_s)
    except TimeoutError:
        raise Unavailable(f"conmon did not answer within {timeout_s:g} s") from None
    finally:
        loop.remove_reader(descriptor)
    # An exec that ends at once has sent its exit code behind its PID already.
    return bytes(data).partition(b"\n")[0]


class AttachSocket:
    """A connection to conmon's attach socket: packets of output, and stdin."""

    def __init__(self, connection: socket.socket) -> None:
        """Own ``connection``, which does not block."""
        self._socket = connection
        self._loop = asyncio.get_running_loop()

    @classmethod
    def connect(cls, bundle: Path) -> AttachSocket:
        """Connect to the socket of a container or exec in ``bundle``.

        The path is reached through /proc/self/fd, since it may be longer than the 107 bytes that a
        socket's address holds. Raises NotFound when there is no socket or nobody behind it.
        """
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        try:
            folder = os.open(bundle, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                connection.connect(f"/proc/self/fd/{folder}/attach")
            finally:
                os.close(folder)
        except OSError as error:
            connection.close()
            raise NotFound(f"no attach socket in {bundle.name}: {error.strerror}") from error
        connection.setblocking(False)
        return cls(connection)

    async def read(self) -> tuple[int, bytes]:
        """Return the next packet as (STDOUT or STDERR, data); ``(0, b"")`` when the output has ended."""
        try:
            packet = await self._loop.sock_recv(self._socket, 65536)
        except ConnectionResetError:
            return 0, b""
        return (packet[0], packet[1:]) if packet else (0, b"")

    def read_nowait(self) -> tuple[int, bytes] | None:
        """Return the next packet when one is there, else None."""
        try:
            packet = self._socket.recv(65536)
        except BlockingIOError:
            return None
        except ConnectionResetError:
            return 0, b""
        return (packet[0], packet[1:]) if packet else (0, b"")

    async def write(self, data: bytes) -> None:
        """Send stdin; raises BrokenPipeError when nobody reads it any more."""
        view = memoryview(data)
        for start in range(0, len(view), STDIN_PACKET_BYTES):
            await self._loop.sock_sendall(self._socket, view[start : start + STDIN_PACKET_BYTES])

    def close_write(self) -> None:
        """Tell conmon that no more stdin comes."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


def resize(bundle: Path, rows: int, columns: int) -> None:
    """Set the size of the terminal behind ``bundle``; raises NotFound when there is none."""
    _control(bundle, f"1 {rows} {columns}\n")


def reopen_log(bundle: Path) -> None:
    """Make conmon close its log and open the path anew, after the file was renamed."""
    _control(bundle, "2 0 0\n")


def _control(bundle: Path, line: str) -> None:
    try:
        descriptor = os.open(bundle / "ctl", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENXIO):
            raise NotFound(f"no process holds the terminal of {bundle.name}") from error
        raise Internal(f"control file of {bundle.name}: {error.strerror}") from error
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


@asynccontextmanager
async def launched(
    spawner: Spawner, conmon: Path, wanted: Launch, *, fresh_mounts: bool = False
) -> AsyncIterator[Conmon]:
    """Start a conmon and close its pipes at the end."""
    process = await launch(spawner, conmon, wanted, fresh_mounts=fresh_mounts)
    try:
        yield process
    finally:
        process.close()
