"""A bare client of the Engine API over a unix socket: what is measured is the engine, not a client."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterable
from typing import Any


class Wire(http.client.HTTPConnection):
    """One kept connection to an engine."""

    def __init__(self, path: str, timeout_s: float = 300) -> None:
        """``path`` is the socket's."""
        super().__init__("engine", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Send a request with JSON and return the answer's; raises RuntimeError for a status of 400 and above."""
        data = None if body is None else json.dumps(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        return self._answer(method, path, data, headers)

    def upload(self, path: str, data: bytes | Iterable[bytes]) -> Any:
        """POST raw bytes."""
        return self._answer("POST", path, data, {"Content-Type": "application/x-tar"})

    def _answer(self, method: str, path: str, data: Any, headers: dict[str, str]) -> Any:
        self.request(method, path, body=data, headers=headers)
        response = self.getresponse()
        content = response.read()
        if response.status >= http.client.BAD_REQUEST:
            raise RuntimeError(f"{method} {path}: {response.status} {content[:500]!r}")
        try:
            return json.loads(content)
        except ValueError:
            return content
