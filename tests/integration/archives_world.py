"""What tests of container archives share: requests with raw bodies, and tar archives good and bad."""

from __future__ import annotations

import base64
import http.client
import io
import json
import socket
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from tests.engine_process import EngineProcess


@dataclass(frozen=True)
class Answer:
    """An answer to a request about an archive."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> str:
        """The error's text."""
        return str(json.loads(self.body)["message"])

    @property
    def stat(self) -> dict[str, Any]:
        """What the path is."""
        found: dict[str, Any] = json.loads(base64.b64decode(self.headers["x-docker-container-path-stat"]))
        return found

    @property
    def members(self) -> dict[str, tarfile.TarInfo]:
        """The members of the archive by name."""
        with tarfile.open(fileobj=io.BytesIO(self.body), errors="surrogateescape") as archive:
            return {member.name: member for member in archive}

    def content(self, name: str) -> bytes:
        """Return the content of a member."""
        with tarfile.open(fileobj=io.BytesIO(self.body)) as archive:
            file = archive.extractfile(name)
            assert file is not None
            return file.read()


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("x", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self._path)


@contextmanager
def connection(engine: EngineProcess) -> Iterator[http.client.HTTPConnection]:
    """Give a connection to an engine."""
    found = _Connection(str(engine.socket))
    try:
        yield found
    finally:
        found.close()


def target(container: str, path: str, **query: str) -> str:
    """Return the operation's target."""
    return f"/v1.51/containers/{container}/archive?{urlencode({'path': path, **query}, errors='surrogateescape')}"


def ask(
    engine: EngineProcess,
    method: str,
    container: str,
    path: str,
    data: bytes | None = None,
    headers: dict[str, str] | None = None,
    **query: str,
) -> Answer:
    """Send one request about a container's archive."""
    with connection(engine) as client:
        client.request(method, target(container, path, **query), body=data, headers=headers or {})
        response = client.getresponse()
        found = {key.lower(): value for key, value in response.getheaders()}
        return Answer(response.status, found, response.read())


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """Return an archive of the members."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return output.getvalue()


def file(name: str, content: bytes = b"x", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    """Return a file for ``tar``."""
    return entry(name, tarfile.REGTYPE, **fields), content


def link(name: str, to: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    """Return a link for ``tar``."""
    return entry(name, kind, linkname=to), b""


def folder(name: str, **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    """Return a folder for ``tar``."""
    return entry(name, tarfile.DIRTYPE, **{"mode": 0o755, **fields}), b""


def entry(name: str, kind: bytes, **fields: Any) -> tarfile.TarInfo:
    """Return a member's head."""
    member = tarfile.TarInfo(name)
    member.type = kind
    for key, value in fields.items():
        setattr(member, key, value)
    return member
