"""Where an engine is: ``unix://``, ``tcp://`` with or without TLS, and how the user names it.

Owns the reading of ``-H``, ``PORTSIDE_HOST`` and ``DOCKER_HOST`` and of Docker's TLS variables. It dials
nothing: ``dial.py`` does. SSH hosts and named pipes come later as further schemes with dialers of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from engine.errors import InvalidArgument, NotSupported

DEFAULT_ENDPOINT = "unix:///run/portside/engine.sock"
DEFAULT_TCP_PORT = 2375
DEFAULT_TLS_PORT = 2376


@dataclass(frozen=True)
class TlsFiles:
    """PEM files of a TLS client; ``verify`` false accepts any server (Docker's ``--tls`` without ``--tlsverify``)."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    verify: bool = True


@dataclass(frozen=True)
class Endpoint:
    """One engine's address. ``path`` is set for ``unix``, ``host`` and ``port`` for ``tcp``."""

    scheme: str
    path: str = ""
    host: str = ""
    port: int = 0
    tls: TlsFiles | None = None

    def __str__(self) -> str:
        """Return the address as a user writes it."""
        if self.scheme == "unix":
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp://{host}:{self.port}"


def parse_endpoint(text: str, tls: TlsFiles | None = None) -> Endpoint:
    """Read an address as Docker's ``-H`` takes it; raises InvalidArgument, or NotSupported for ssh and npipe."""
    text = text.strip()
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "tcp", text
    if scheme == "unix":
        if not rest:
            raise InvalidArgument(f"no socket path in {text!r}", hint="write unix:///path/to/engine.sock")
        return Endpoint("unix", path=rest)
    if scheme in ("tcp", "http", "https"):
        return _tcp_endpoint(text, rest, tls if tls is not None or scheme != "https" else TlsFiles())
    if scheme in ("ssh", "npipe", "fd"):
        raise NotSupported(f"{scheme}:// is not supported yet: {text}", hint="use unix:// or tcp:// with TLS")
    raise InvalidArgument(
        f"unable to parse docker host `{text}`", hint="write unix:///path/to/engine.sock or tcp://host:port"
    )


def _tcp_endpoint(text: str, rest: str, tls: TlsFiles | None) -> Endpoint:
    try:
        parts = urlsplit(f"tcp://{rest}")
        port = parts.port
    except ValueError as error:
        raise InvalidArgument(f"invalid host {text!r}: {error}") from error
    if not parts.hostname:
        raise InvalidArgument(f"no host name in {text!r}", hint="write tcp://host:port")
    if parts.path not in ("", "/") or parts.query or parts.username:
        raise InvalidArgument(f"{text!r} may only hold a host and a port", hint="write tcp://host:port")
    default_port = DEFAULT_TCP_PORT if tls is None else DEFAULT_TLS_PORT
    return Endpoint("tcp", host=unquote(parts.hostname), port=port or default_port, tls=tls)


def resolve_endpoint(host: str | None, environ: Mapping[str, str], tls: TlsFiles | None = None) -> Endpoint:
    """Return the engine that is meant: ``host`` (``-H``), PORTSIDE_HOST, DOCKER_HOST, then the local engine's socket.

    TLS comes from ``tls`` or from DOCKER_TLS_VERIFY and DOCKER_CERT_PATH as in the docker CLI; it
    applies to ``tcp`` only.
    """
    text = host or environ.get("PORTSIDE_HOST") or environ.get("DOCKER_HOST") or DEFAULT_ENDPOINT
    if tls is None:
        tls = _tls_from_environment(environ)
    return parse_endpoint(text, tls)


def _tls_from_environment(environ: Mapping[str, str]) -> TlsFiles | None:
    verify = environ.get("DOCKER_TLS_VERIFY", "") != ""
    if not verify and not environ.get("DOCKER_TLS"):
        return None
    return tls_from_folder(certificate_folder(environ), verify=verify)


def certificate_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder of ca.pem, cert.pem and key.pem: DOCKER_CERT_PATH, DOCKER_CONFIG or ``~/.docker``."""
    folder = environ.get("DOCKER_CERT_PATH") or environ.get("DOCKER_CONFIG")
    return Path(folder) if folder else Path(environ.get("HOME") or "~").expanduser() / ".docker"


def tls_from_folder(folder: Path, *, verify: bool) -> TlsFiles:
    """Return the three files of Docker's certificate folder, without looking whether they exist."""
    return TlsFiles(
        ca=folder / "ca.pem" if verify else None, cert=folder / "cert.pem", key=folder / "key.pem", verify=verify
    )
