"""Where the engine listens: unix sockets with a group, TCP with TLS and clients' certificates, systemd's sockets."""

from __future__ import annotations

import asyncio
import errno
import grp
import logging
import os
import socket
import ssl
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.config import EngineConfig
from engine.errors import Conflict, InvalidArgument, Unavailable

log = logging.getLogger(__name__)

_BACKLOG = 1024
"""Clients that may wait for a connection: beyond it a unix socket refuses them (EAGAIN)."""

ACCEPTED_AT_ONCE = 16
"""asyncio's ``backlog``, and how often it tries again, with a log entry each, when descriptors run out."""

_COMPLAIN_EVERY_S = 10.0
_FIRST_SYSTEMD_FD = 3


@dataclass(frozen=True)
class Listener:
    """A listening socket; ``context`` is TLS's, ``path`` and ``inode`` are those of a unix socket of ours."""

    socket: socket.socket
    context: ssl.SSLContext | None = None
    path: Path | None = None
    inode: int = 0


def open_listeners(config: EngineConfig) -> list[Listener]:
    """Return listeners for every host of the settings.

    Raises Conflict when another engine serves a socket, InvalidArgument or Unavailable when one cannot be
    opened; what was opened before is closed again.
    """
    opened: list[Listener] = []
    try:
        for host in config.hosts:
            scheme, _, rest = host.partition("://")
            if scheme == "unix":
                opened.append(_open_unix(Path(rest), config.group))
            elif scheme == "tcp":
                context = _tls_context(config)
                opened.append(Listener(_open_tcp(rest), context))
            else:
                opened += [Listener(item) for item in _systemd_sockets()]
    except BaseException:
        close_listeners(opened)
        raise
    return opened


def _open_unix(path: Path, group: str) -> Listener:
    try:
        path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        _clear_stale(path)
    except OSError as error:
        raise Unavailable(f"socket {path}: {error.strerror}", hint="choose another --host") from error
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    before = os.umask(0o177)
    try:
        server.bind(str(path))
    except OSError as error:
        server.close()
        raise Unavailable(f"socket {path}: {error.strerror}", hint="choose another --host") from error
    finally:
        os.umask(before)
    opened = Listener(server, path=path, inode=path.lstat().st_ino)
    _give_to_group(path, group)
    server.listen(_BACKLOG)
    server.setblocking(False)
    return opened


def _clear_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise Conflict(f"{path} is there and is no socket", hint="move it away or choose another --host")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise Unavailable(f"socket {path}: {error}") from error
    raise Conflict(f"another engine listens on {path}", hint="stop it or choose another --host")


def _give_to_group(path: Path, group: str) -> None:
    try:
        gid = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError:
        log.warning("there is no group %s: only root may use %s (groupadd --system %s)", group, path, group)
        path.chmod(0o600)
        return
    try:
        os.chown(path, -1, gid)
    except PermissionError:
        log.warning("%s stays with its owner: not allowed to give it to group %s", path, group)
    path.chmod(0o660)


def _open_tcp(address: str) -> socket.socket:
    name, _, port = address.rpartition(":")
    name = name.strip("[]") or "0.0.0.0"
    family = socket.AF_INET6 if ":" in name else socket.AF_INET
    server = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind((name, int(port)))
    except (OSError, OverflowError) as error:
        server.close()
        raise Unavailable(f"tcp://{address}: {error}", hint="choose another --host") from error
    server.listen(_BACKLOG)
    server.setblocking(False)
    return server


def _tls_context(config: EngineConfig) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_cert_chain(str(config.tls_cert), str(config.tls_key))
        context.load_verify_locations(str(config.tls_ca))
    except (OSError, ssl.SSLError) as error:
        raise InvalidArgument(
            f"TLS files {config.tls_cert}, {config.tls_key}, {config.tls_ca}: {error}",
            hint="give a PEM certificate with its key and the CA of the clients' certificates",
        ) from error
    return context


def _systemd_sockets() -> list[socket.socket]:
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        raise InvalidArgument("fd:// was asked for but systemd passed no sockets")
    count = int(os.environ.get("LISTEN_FDS", "0"))
    sockets = [socket.socket(fileno=number) for number in range(_FIRST_SYSTEMD_FD, _FIRST_SYSTEMD_FD + count)]
    for item in sockets:
        item.set_inheritable(False)
        item.setblocking(False)
    return sockets


def restore_backlogs(listeners: list[Listener]) -> None:
    """Let as many clients wait as we want, after asyncio has set a backlog of its own."""
    for item in listeners:
        item.socket.listen(_BACKLOG)


class OutOfDescriptors:
    """An exception handler of the loop that says now and then, not for each try, that no client can be taken."""

    def __init__(self) -> None:
        """Nothing has been said yet."""
        self._said = -_COMPLAIN_EVERY_S

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Handle what the loop reports."""
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in (errno.EMFILE, errno.ENFILE):
            loop.default_exception_handler(context)
        elif loop.time() - self._said >= _COMPLAIN_EVERY_S:
            self._said = loop.time()
            log.error("clients wait: %s (raise the limit of open files)", error.strerror)


def close_listeners(listeners: list[Listener]) -> None:
    """Close sockets and remove those that we made from the file system, but not what took their place."""
    for item in listeners:
        item.socket.close()
        if item.path is None:
            continue
        try:
            if item.path.lstat().st_ino == item.inode:
                item.path.unlink()
        except FileNotFoundError:
            continue


def notify_ready() -> None:
    """Tell systemd that the engine serves (sd_notify), where it asks for that."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.connect("\0" + address[1:] if address.startswith("@") else address)
            sender.sendall(b"READY=1")
        except OSError as error:
            log.warning("systemd was not told that the engine is ready: %s", error)
