"""Plays a session to an engine and writes down what it answers, without what differs from one run to the next.

After each section the state is asked for (containers, images, volumes, networks) and the events of the section.
Identifiers become ``<name>`` of what kept them, times ``<time>``, sizes ``<number>``; what a reader would call the
same is then the same text.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import socket
import tarfile
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tests.contract.transcript import Step, kept_value
from tests.engine_process import EngineProcess

TIMEOUT_S = 20.0
STATE = ("/containers/json?all=1", "/images/json", "/volumes", "/networks")
BRIDGE = "198.18.7.1/24"
"""The default bridge's address on every side, so that addresses can be compared."""
COMPARED_HEADERS = (
    "content-type",
    "api-version",
    "docker-experimental",
    "ostype",
    "cache-control",
    "pragma",
    "location",
)

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
_ZERO_TIME = "0001-01-01T00:00:00Z"
_HASHES = (
    (re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])"), "<hash>"),
    (re.compile(r"(?<![0-9a-f])[0-9a-f]{12}(?![0-9a-f])"), "<short>"),
)
_AGE = re.compile(r"(?:About a|Less than a|\d+) (?:second|minute)s?")
_RANDOM_NAME = re.compile(r"(/?)[a-z]+_[a-z]+\d?")
_MAC = re.compile(r"(?<![0-9a-f:])(?:[0-9a-f]{2}:){5}[0-9a-f]{2}(?![0-9a-f:])")
_NUMBERS = frozenset(
    {"Pid", "Size", "VirtualSize", "SizeRw", "SizeRootFs", "SharedSize", "LayersSize", "SpaceReclaimed", "PublicPort"}
    | {"Created", "CreatedAt", "time", "timeNano", "current", "total", "NCPU", "MemTotal"}
    | {"NFd", "NGoroutines", "NEventsListener"}
)
_UNORDERED = {"/system/df": "Name", "/networks": "Name", "/volumes": "Name", "/images/json": "Id"}


@dataclass
class Answer:
    """What came for one request: ``body`` is JSON, or a picture of a stream or an archive."""

    step: str
    operation: str
    status: int
    headers: dict[str, str]
    body: Any

    def as_json(self) -> dict[str, Any]:
        """Return it for a recording."""
        return {"step": self.step, "status": self.status, "headers": self.headers, "body": self.body}


class Player:
    """Plays steps to one engine; ``version`` is the API version in each path (``1.51``)."""

    def __init__(self, engine: EngineProcess, version: str) -> None:
        """Nothing is sent yet."""
        self._engine = engine
        self._version = version
        self._kept: dict[str, str] = {}

    def play(self, steps: list[Step]) -> list[tuple[Answer, Any]]:
        """Send all steps; return each answer, and its body as it came."""
        answers: list[tuple[Answer, Any]] = []
        begun = time.time()
        for at, step in enumerate(steps):
            answers.append(self._send(step))
            if at + 1 == len(steps) or steps[at + 1].section != step.section:
                answers += self._look(step.section, begun)
                begun = time.time()
        return answers

    def _look(self, section: str, begun: float) -> list[tuple[Answer, Any]]:
        """Ask for the state and for the events since ``begun``."""
        targets = [*STATE, f"/events?since={begun:.9f}&until={time.time():.9f}"]
        looked = [Step(f"{section} (afterwards)", number, "GET", target) for number, target in enumerate(targets, 1)]
        answers = [self._send(step) for step in looked]
        answers[-1][0].step = f"{section} (afterwards) / {len(looked)}: GET /events"
        return answers

    def _fill(self, text: str) -> str:
        return _PLACEHOLDER.sub(lambda found: self._kept.get(found[1], found[0]), text)

    def _send(self, step: Step) -> tuple[Answer, Any]:
        target = quote(self._fill(step.target), safe="/?&=:%,+;@!*'()-._~")
        if not re.match(r"/v\d", target):
            target = f"/v{self._version}{target}"
        body = step.body if "Content-Type" in step.headers else self._fill(step.body.decode()).encode()
        status, headers, content = self._exchange(step, target, body)
        parsed = _parse(headers, content)
        for name, path in step.keeps.items():
            try:
                self._kept[name] = kept_value(parsed, path)
            except KeyError:
                self._kept.pop(name, None)
        kept = {name: headers[name] for name in COMPARED_HEADERS if name in headers}
        operation = f"{step.method} {re.sub(r'^/v[0-9.]+', '', step.target.partition('?')[0])}"
        normal = _without_chance(operation, self._normal(parsed))
        key = _UNORDERED.get(operation.removeprefix("GET "))
        if key and isinstance(normal, (list, dict)):
            _sort(normal, key)
        return Answer(step.name, operation, status, kept, normal), parsed

    def _exchange(self, step: Step, target: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        fields = {"Host": "x", "Connection": "close", **step.headers}
        if body or step.method in ("POST", "PUT"):
            fields["Content-Length"] = str(len(body))
        if body:
            fields.setdefault("Content-Type", "application/json")
        head = f"{step.method} {target} HTTP/1.1\r\n" + "".join(
            f"{name}: {value}\r\n" for name, value in fields.items()
        )
        received = bytearray()
        is_endless = False
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TIMEOUT_S)
            connection.connect(str(self._engine.socket))
            connection.sendall(f"{head}\r\n".encode() + body)
            try:
                if step.stdin is not None:  # clients send their input when the connection is theirs
                    while b"\r\n\r\n" not in received:
                        received += connection.recv(65536)
                    connection.sendall(step.stdin)
                    connection.shutdown(socket.SHUT_WR)
                while block := connection.recv(65536):
                    received += block
            except TimeoutError:
                is_endless = True
            except ConnectionResetError:
                pass
        first, _, content = bytes(received).partition(b"\r\n\r\n")
        lines = first.decode(errors="replace").split("\r\n")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        if headers.get("transfer-encoding") == "chunked":
            content = dechunk(content)
        if is_endless:
            content += b"<the answer did not end>"
        words = lines[0].split(" ")
        return int(words[1]) if len(words) > 1 else 0, headers, content

    def _normal(self, value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {self._text(str(name)): self._normal(item, name) for name, item in value.items()}
        if isinstance(value, list):
            items = [self._normal(item, key) for item in value]
            return sorted(items, key=_destination) if key == "Mounts" else items
        if isinstance(value, str):
            if key == "execDuration":
                return "<number>"
            if key == "Status" and value.startswith("Up "):
                return _AGE.sub("<age>", value)
            if key == "HostPort" and value.isdigit() and int(value) >= 32768:
                return "<port>"
            if key in ("Name", "Names", "name") and (found := _RANDOM_NAME.fullmatch(value)):
                return f"{found[1]}<random>"
            return self._text(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and key in _NUMBERS and value > 0:
            return "<number>"
        return value

    def _text(self, text: str) -> str:
        for name, value in self._kept.items():
            if len(value) >= 12:
                text = text.replace(value, f"<{name}>")
                short = value.removeprefix("sha256:")[:12]
                text = text.replace(short, f"<{name}>") if re.fullmatch(r"[0-9a-f]{12}", short) else text
        text = text.replace(str(self._engine.folder), "<folder>")
        text = _TIME.sub(lambda found: found[0] if found[0] == _ZERO_TIME else "<time>", text)
        for pattern, name in _HASHES:
            text = pattern.sub(name, text)
        return _MAC.sub("<mac>", text)


def _without_chance(operation: str, body: Any) -> Any:
    """Return an answer without what differs from one run to the next on one engine as well."""
    if operation.endswith("/top") and isinstance(body, dict):  # processes have numbers, and times of their own
        rows = body.get("Processes")
        return {**body, "Processes": len(rows[0])} if isinstance(rows, list) else body
    if operation.endswith("/stats") and isinstance(body, dict) and "cpu_stats" in body:
        return _only_shape(body)
    if operation == "GET /events" and isinstance(body, list):
        # die and stop of one stop come in either order, as do volumes and networks: each object's own come by name
        return sorted(body, key=_event_key)
    if operation.endswith("/changes") and isinstance(body, list):
        return sorted(body, key=str)
    return body


def _only_shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _only_shape(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_only_shape(value[0])] if value else []
    return "<number>" if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _event_key(event: Any) -> tuple[str, ...]:
    actor = event.get("Actor", {}) if isinstance(event, dict) else {}
    return (str(event.get("Type")), str(actor.get("ID")), str(event.get("Action")), str(actor.get("Attributes")))


def _destination(mount: Any) -> str:
    """Return what a container's mounts are sorted by: Docker's come in the order of a map."""
    return str(mount.get("Destination", mount.get("Target", ""))) if isinstance(mount, dict) else ""


def _sort(value: Any, key: str) -> None:
    """Sort the lists in an answer whose order is a map's."""
    lists = [value] if isinstance(value, list) else [item for item in value.values() if isinstance(item, list)]
    for items in lists:
        items.sort(key=lambda item: str(item.get(key)) if isinstance(item, dict) else str(item))


def _parse(headers: dict[str, str], content: bytes) -> Any:
    kind = headers.get("content-type", "").partition(";")[0].strip()
    if "application/json" in kind or "x-ndjson" in kind:
        try:
            return json.loads(content)
        except ValueError:
            return _parse_stream(content)
    if kind == "application/x-tar" or content[257:262] == b"ustar":  # an export has no type of its own
        return _parse_tar(content)
    if "docker.multiplexed-stream" in kind or (content[:1] in (b"\0", b"\1", b"\2") and content[1:4] == b"\0\0\0"):
        return demultiplex(content)
    return content.decode(errors="replace")


def _parse_stream(content: bytes) -> Any:
    items = []
    for line in content.splitlines():
        if line.strip():
            try:
                items.append(json.loads(line))
            except ValueError:
                return content.decode(errors="replace")
    return items


def _parse_tar(content: bytes) -> Any:
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            members = []
            for member in archive:
                file = archive.extractfile(member) if member.isreg() else None
                data = hashlib.sha256(file.read()).hexdigest()[:8] if file else member.linkname
                members.append(
                    f"{member.name} {member.type.decode()} {member.mode & 0o7777:o} {member.uid}:{member.gid} {data}"
                )
            return members
    except tarfile.TarError:
        return f"no archive: {content[:100]!r}"


def demultiplex(content: bytes) -> dict[str, str]:
    """Return what frames of attach and logs hold, by stream."""
    names = {0: "stdin", 1: "stdout", 2: "stderr", 3: "system"}
    streams: dict[str, bytes] = {}
    while len(content) >= 8:
        size = int.from_bytes(content[4:8], "big")
        name = names.get(content[0], f"stream {content[0]}")
        streams[name] = streams.get(name, b"") + content[8 : 8 + size]
        content = content[8 + size :]
    return {name: data.decode(errors="replace") for name, data in streams.items()}


def dechunk(data: bytes) -> bytes:
    """Return the content of a chunked body."""
    content = bytearray()
    while data:
        head, _, rest = data.partition(b"\r\n")
        try:
            size = int(head.split(b";")[0] or b"0", 16)
        except ValueError:
            return bytes(content) + b"<no chunk>"
        if not size:
            break
        content += rest[:size]
        data = rest[size + 2 :]
    return bytes(content)
