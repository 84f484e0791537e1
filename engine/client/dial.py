"""Byte streams to an engine, and the interface that a new way of reaching one fills in.

Owns sockets and the translation of their errors into sentences that name the socket and the way out.
Knows nothing of HTTP. A ``Dialer`` for SSH or named pipes returns a ``ByteStream`` like the ones here.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections import deque
from typing import TYPE_CHECKING, Protocol

from engine.errors import Forbidden, InvalidArgument, NotSupported, PortsideError, Unavailable

if TYPE_CHECKING:
    from engine.client.endpoint import Endpoint, TlsFiles

CONNECT_TIMEOUT_S = 10.0
READ_HIGH_BYTES = 1024 * 1024
UNIX_PATH_MAX_BYTES = 107
START_HINT = "start the engine (sudo systemctl start portside, or run portsided)"


class ByteStream(Protocol):
    """A connection: bytes in order both ways, each direction closed on its own."""

    async def read(self) -> bytes:
        """Return what came next, ``b""`` at the end; raises Unavailable when the connection broke."""

    async def write(self, data: bytes) -> None:
        """Send bytes, waiting while the other side is slow; raises Unavailable when it has gone."""

    async def close_write(self) -> None:
        """End our direction and keep reading; raises NotSupported where the transport has no half-close."""

    def close(self) -> None:
        """Drop the connection at once; never raises."""

    @property
    def at_eof(self) -> bool:
        """Whether the other side has ended or broken the connection."""


class Dialer(Protocol):
    """A way to reach one engine."""

    async def dial(self) -> ByteStream:
        """Connect; raises Unavailable or Forbidden with the way out."""


class SocketStream(asyncio.Protocol):
    """A ByteStream over an asyncio transport with bounded buffers both ways."""

    def __init__(self, name: str) -> None:
        """``name`` is the endpoint, for messages."""
        self._name = name
        self._transport: asyncio.Transport | None = None
        self._blocks: deque[bytes] = deque()
        self._buffered_bytes = 0
        self._eof = False
        self._lost = False
        self._error: Exception | None = None
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Queue bytes; stop reading while too many are queued."""
        self._blocks.append(data)
        self._buffered_bytes += len(data)
        if self._buffered_bytes > READ_HIGH_BYTES and self._transport is not None:
            self._transport.pause_reading()
        self._readable.set()

    def eof_received(self) -> bool:
        """Note the other side's end; the connection stays for what is still to be sent."""
        self._eof = True
        self._readable.set()
        return self._transport is not None and self._transport.can_write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake whoever reads or writes."""
        self._eof = self._lost = True
        self._error = exc
        self._readable.set()
        self._writable.set()

    def pause_writing(self) -> None:
        """Hold writers back."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let writers go on."""
        self._writable.set()

    @property
    def at_eof(self) -> bool:
        """Whether the other side has ended or broken the connection."""
        return self._eof

    async def read(self) -> bytes:
        """Return everything that has come, ``b""`` at the end; raises Unavailable when the connection broke."""
        while not self._blocks:
            if self._error is not None:
                raise Unavailable(f"the connection to {self._name} broke: {self._error}") from self._error
            if self._eof:
                return b""
            self._readable.clear()
            await self._readable.wait()
        data = self._blocks[0] if len(self._blocks) == 1 else b"".join(self._blocks)
        self._blocks.clear()
        was_paused = self._buffered_bytes > READ_HIGH_BYTES
        self._buffered_bytes = 0
        if was_paused and not self._lost and self._transport is not None:
            self._transport.resume_reading()
        return data

    async def write(self, data: bytes) -> None:
        """Send bytes; waits while the other side is slow. Raises Unavailable when it has gone."""
        transport = self._transport
        if self._lost or transport is None or transport.is_closing():
            raise Unavailable(f"the connection to {self._name} was closed") from self._error
        transport.write(data)
        if not self._writable.is_set():
            await self._writable.wait()
            if self._lost:
                raise Unavailable(f"the connection to {self._name} was closed") from self._error

    async def close_write(self) -> None:
        """End our direction; raises NotSupported over TLS, where asyncio has no half-close."""
        transport = self._transport
        if self._lost or transport is None or transport.is_closing():
            return
        if not transport.can_write_eof():
            raise NotSupported(f"standard input cannot be ended over TLS: {self._name}")
        transport.write_eof()

    def close(self) -> None:
        """Drop the connection at once."""
        if self._transport is not None and not self._lost:
            self._transport.abort()


class UnixDialer:
    """Reaches an engine over a unix socket."""

    def __init__(self, path: str) -> None:
        """``path`` is the socket's; longer ones than the kernel takes are reached through their folder."""
        self.path = path

    async def dial(self) -> ByteStream:
        """Connect; raises Unavailable or Forbidden naming the socket and the way out."""
        name = f"unix://{self.path}"
        loop = asyncio.get_running_loop()
        folder = -1
        try:
            address = self.path
            if len(os.fsencode(address)) > UNIX_PATH_MAX_BYTES:
                folder = os.open(os.path.dirname(address), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)  # noqa: PTH120
                address = f"/proc/self/fd/{folder}/{os.path.basename(address)}"  # noqa: PTH119
            _, stream = await loop.create_unix_connection(lambda: SocketStream(name), address)
        except (OSError, ValueError) as error:
            raise unix_error(self.path, error) from error
        finally:
            if folder >= 0:
                os.close(folder)
        return stream


class TcpDialer:
    """Reaches an engine over TCP, with TLS when the endpoint has its files."""

    def __init__(self, host: str, port: int, tls: TlsFiles | None) -> None:
        """Certificates are read at the first connection."""
        self._host = host
        self._port = port
        self._tls = tls
        self._context: ssl.SSLContext | None = None

    async def dial(self) -> ByteStream:
        """Connect within ``CONNECT_TIMEOUT_S``; raises Unavailable, or Forbidden when certificates do not match."""
        name = f"tcp://{self._host}:{self._port}"
        if self._tls is not None and self._context is None:
            self._context = await asyncio.to_thread(tls_context, self._tls)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                transport, stream = await loop.create_connection(
                    lambda: SocketStream(name), self._host, self._port, ssl=self._context
                )
        except TimeoutError as error:
            raise Unavailable(
                f"cannot connect to the engine at {name}: no answer in {CONNECT_TIMEOUT_S:.0f} s"
            ) from error
        except ssl.SSLError as error:
            raise Forbidden(
                f"cannot connect to the engine at {name}: {error.reason or error}",
                hint="check ca.pem, cert.pem and key.pem: both sides must trust the same CA",
            ) from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise Unavailable(
                f"cannot connect to the engine at {name}: {reason}",
                hint="is the engine running there and the port right?",
            ) from error
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return stream


def dialer_for(endpoint: Endpoint) -> Dialer:
    """Return the way to an endpoint."""
    if endpoint.scheme == "unix":
        return UnixDialer(endpoint.path)
    return TcpDialer(endpoint.host, endpoint.port, endpoint.tls)


def tls_context(tls: TlsFiles) -> ssl.SSLContext:
    """Read certificates (blocks on files); raises InvalidArgument naming the file that is missing or wrong."""
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=tls.ca)
        if not tls.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if tls.cert is not None and tls.key is not None and (tls.verify or tls.cert.exists()):
            context.load_cert_chain(tls.cert, tls.key)
    except OSError as error:
        names = ", ".join(str(file) for file in (tls.ca, tls.cert, tls.key) if file is not None)
        raise InvalidArgument(f"could not read the TLS files ({names}): {error}") from error
    return context


def unix_error(path: str, error: OSError | ValueError) -> PortsideError:
    """Return a failed connect as a kind: the socket, the reason and the way out."""
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.EACCES, errno.EPERM):
        group = _group_of(path)
        return Forbidden(
            f"permission denied on {path}",
            hint=f"join the group {group} (sudo usermod -aG {group} $USER, then log in again) or use sudo",
        )
    if number == errno.ENOENT:
        return Unavailable(
            f"cannot connect to the engine at unix://{path}: there is no such socket",
            hint=f"{START_HINT}, or name another engine with -H or PORTSIDE_HOST",
        )
    if number == errno.ECONNREFUSED:
        return Unavailable(
            f"cannot connect to the engine at unix://{path}: connection refused",
            hint=f"the socket is there but no engine listens on it: {START_HINT}",
        )
    if number == errno.EAGAIN:
        return Unavailable(
            f"the engine at unix://{path} has too many connections waiting", hint="try again in a moment"
        )
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return Unavailable(f"cannot connect to the engine at unix://{path}: {reason}")


def _group_of(path: str) -> str:
    """Return the name of the group that may use a socket, ``portside`` where that cannot be seen."""
    import grp

    try:
        status = os.stat(path)  # noqa: PTH116 - the caller has a string
        return grp.getgrgid(status.st_gid).gr_name if status.st_gid and status.st_mode & 0o060 else "portside"
    except (OSError, KeyError):
        return "portside"
