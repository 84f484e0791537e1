"""Where a plugin is: sockets and spec files on the host, in the order in which dockerd looks.

``<sockets>/NAME.sock`` or ``<sockets>/NAME/NAME.sock``, then ``NAME.spec`` (an address) and ``NAME.json``
(``Name``, ``Addr``, ``TLSConfig``) in the folders of specs, also one folder deeper. Nothing is kept: a plugin that was
started a moment ago is found. Source: docs.docker.com/engine/extend/plugin_api.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from engine.errors import InvalidArgument

SOCKETS = Path("/run/docker/plugins")
SPECS = (Path("/etc/docker/plugins"), Path("/usr/lib/docker/plugins"))
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.:/-]*")


class TlsConfig(msgspec.Struct, rename="pascal"):
    """Files of a plugin over TLS."""

    insecure_skip_verify: bool = False
    ca_file: str = msgspec.field(name="CAFile", default="")
    cert_file: str = ""
    key_file: str = ""


class _Spec(msgspec.Struct, rename="pascal"):
    name: str = ""
    addr: str = ""
    tls_config: TlsConfig | None = msgspec.field(name="TLSConfig", default=None)


@dataclass(frozen=True)
class PluginAddress:
    """A plugin's place: a socket's path, or host and port with or without TLS."""

    name: str
    socket: Path | None = None
    url: str = ""
    tls: TlsConfig | None = None


class PluginPlaces:
    """Looks plugins up by name (blocking, a few reads of folders)."""

    def __init__(self, sockets: Path = SOCKETS, specs: Sequence[Path] = SPECS) -> None:
        """Look in ``sockets``, then in ``specs``."""
        self._sockets = sockets
        self._specs = tuple(specs)

    def find(self, name: str) -> PluginAddress | None:
        """Return a plugin's address, None when there is none by that name.

        Raises InvalidArgument for a spec file that cannot be understood.
        """
        if not _NAME.fullmatch(name) or ".." in name:
            return None
        for path in (self._sockets / f"{name}.sock", self._sockets / name / f"{name}.sock"):
            if _is_socket(path):
                return PluginAddress(name, socket=path)
        for folder in self._specs:
            for place in (folder, folder / name):
                for suffix, read in ((".spec", _read_spec), (".json", _read_json)):
                    path = place / f"{name}{suffix}"
                    if path.is_file():
                        return read(name, path)
        return None


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return False


def _read_spec(name: str, path: Path) -> PluginAddress:
    return _address(name, _text(path).strip(), None, path)


def _read_json(name: str, path: Path) -> PluginAddress:
    try:
        spec = msgspec.json.decode(_text(path).encode(), type=_Spec)
    except msgspec.DecodeError as error:
        raise InvalidArgument(f"plugin {name}: {path} is not a plugin's description: {error}") from error
    return _address(spec.name or name, spec.addr, spec.tls_config, path)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"plugin {path.stem}: {path} cannot be read: {error}") from error


def _address(name: str, text: str, tls: TlsConfig | None, path: Path) -> PluginAddress:
    parts = urlsplit(text)
    if parts.scheme == "unix" and parts.path:
        return PluginAddress(name, socket=Path(parts.path))
    if parts.scheme in ("tcp", "http", "https") and parts.netloc:
        scheme = "https" if tls is not None or parts.scheme == "https" else "http"
        return PluginAddress(name, url=f"{scheme}://{parts.netloc}", tls=tls)
    raise InvalidArgument(
        f"plugin {name}: {path}: unknown address {text!r}", hint="give unix:///path.sock or tcp://host:port"
    )
